"""Instructions of native executables: counted alike every time, in a jail that shows a program no more than itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from groundrun.engine.exchange import Exchange
from groundrun.engine.hardware import PAGE_FAULTS, HardwareMeter, probe_hardware
from groundrun.engine.host import find_setup
from groundrun.engine.job import Job
from groundrun.engine.lane import gather
from groundrun.engine.native_cost import EXECUTABLE, NativeCounter, probe_native
from groundrun.engine.warden import WardenLane
from groundrun.errors import CounterUnavailable, HostRefused, UsageError
from groundrun.records import Counter, Execution, Limits, Outcome, Program, Rung

pytestmark = pytest.mark.exec
LIMITS = Limits(cpu_s=60, wall_s=120)
LOOP = """
#include <stdio.h>
#include <stdlib.h>
int main(int count, char **words) {
    volatile long sum = 0;
    long n = count > 1 ? atol(words[1]) : 1000;
    for (long i = 0; i < n; i++) sum += i;
    char line[64];
    while (fgets(line, sizeof line, stdin)) fputs(line, stdout);
    printf("%ld\\n", sum);
    return count > 2 ? 3 : 0;
}
"""
PAGES = """
#include <stdlib.h>
int main(int count, char **words) {
    long n = atol(words[1]);
    volatile char *place = malloc((n + 1) * 4096);
    while (n--) place[n * 4096] = 1;
}
"""
LOOK = """
import os
print(sorted(name for name in os.listdir("/proc") if not name.isdigit()), len([name for name in os.listdir("/proc") if name.isdigit()]))
me = int(os.readlink("/proc/self"))
print([pid for pid in range(1, 300) if pid != me and os.path.exists(f"/proc/{pid}")])
for name in ("sys", "kcore", "meminfo", "keys", "sysrq-trigger", "1/maps", "1/environ"):
    if os.path.exists(f"/proc/{name}"): print("seen", name)
for name in ("mem", "oom_score_adj", "uid_map", "clear_refs", "attr/current"):
    try:
        os.open(f"/proc/self/{name}", os.O_WRONLY)
        print("open", name)
    except OSError: pass
print("maps" if "[stack]" in open("/proc/self/maps").read() else "no maps")
"""


def compile_c(source: str, folder: Path) -> bytes:
    (folder / "main.c").write_text(source)
    try:
        subprocess.run(["cc", "-O1", "-o", str(folder / "main"), str(folder / "main.c")], check=True, capture_output=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("cc is not on this machine")
    return (folder / "main").read_bytes()


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return compile_c(LOOP, tmp_path_factory.mktemp("loop"))


@pytest.fixture(scope="module")
def callgrind() -> Iterator[NativeCounter]:
    try:
        made = NativeCounter(counter="callgrind", isolation="namespaces", limits=LIMITS)
    except HostRefused as refusal:
        pytest.skip(str(refusal))
    with made:
        yield made


@pytest.fixture(scope="module")
def shown() -> Iterator[WardenLane]:
    """A lane such as callgrind gets, for Python programs."""
    try:
        setup = find_setup(Rung.NAMESPACES, sys.executable, None)
        lane = WardenLane(msgspec.structs.replace(setup, processes_shown=True))
    except HostRefused as refusal:
        pytest.skip(str(refusal))
    yield lane
    lane.close()


def run(lane: WardenLane, job: Job) -> Execution:
    exchange = Exchange(job)
    try:
        lane.begin(job, LIMITS, exchange, -1)
        return gather(job, LIMITS, exchange, lane.finish(), lane)
    finally:
        exchange.close()


def test_the_same_number_again_and_again(callgrind: NativeCounter, loop: bytes) -> None:
    executions = [callgrind.count(loop, argv=("100000",), stdin=b"a line\n") for _ in range(4)]
    for execution in executions:
        assert execution.outcome is Outcome.OK
        assert execution.stdout == b"a line\n4999950000\n"
        assert execution.stderr == b""
    counts = [execution.cost.counts for execution in executions]
    assert counts[0] is not None
    assert counts[0].counter is Counter.CALLGRIND
    assert all(each == counts[0] for each in counts)


def test_more_work_is_more_instructions(callgrind: NativeCounter, loop: bytes) -> None:
    few, many = (callgrind.count(loop, argv=(n,)).cost.counts for n in ("100000", "300000"))
    assert few is not None
    assert many is not None
    assert (many.events - few.events) % 200_000 < 1000  # a whole number of instructions a round, and a digit or two more to print
    assert many.events - few.events >= 600_000


def test_status_and_limits_are_the_programs_own(callgrind: NativeCounter, loop: bytes) -> None:
    execution = callgrind.count(loop, argv=("10", "fail"))
    assert (execution.outcome, execution.exit_code) == (Outcome.EXITED, 3)
    assert execution.cost.counts is not None
    endless = callgrind.count(loop, argv=("1000000000000",), limits=Limits(cpu_s=0.5, wall_s=60))
    assert endless.outcome is Outcome.CPU_LIMIT
    assert endless.cost.counts is None


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\ntrue\n", b"\x7fELF and nothing behind it"])
def test_what_is_no_executable_is_refused(callgrind: NativeCounter, content: bytes) -> None:
    with pytest.raises(UsageError, match="ELF"):
        callgrind.count(content)


def test_the_guard_that_is_missing_is_announced(callgrind: NativeCounter, loop: bytes) -> None:
    assert any("no /proc" in each for each in callgrind.count(loop).isolation.missing)


def test_a_lane_that_shows_processes_shows_the_programs_own(shown: WardenLane) -> None:
    execution = run(shown, Job(program=Program(LOOK)))
    assert execution.stderr == b""
    assert execution.text.splitlines() == ["['self', 'thread-self'] 1", "[]", "maps"]


def test_every_other_lane_has_no_proc() -> None:
    try:
        lane = WardenLane(find_setup(Rung.NAMESPACES, sys.executable, None))
    except HostRefused as refusal:
        pytest.skip(str(refusal))
    try:
        assert run(lane, Job(program=Program("import os\nprint(os.path.exists('/proc'))"))).text == "False\n"
    finally:
        lane.close()


def test_landlock_can_not_run_callgrind() -> None:
    try:
        with pytest.raises(CounterUnavailable, match="namespaces"):
            NativeCounter(counter="callgrind", isolation="landlock")
    except HostRefused as refusal:
        pytest.skip(str(refusal))


def test_python_counters_are_not_for_executables() -> None:
    with pytest.raises(UsageError, match="callgrind"):
        NativeCounter(counter="settrace")


def test_the_probe_says_what_is_missing(loop: bytes) -> None:
    found = probe_native()
    assert set(found) == {Counter.CALLGRIND, Counter.HARDWARE}
    if found[Counter.HARDWARE]:
        with pytest.raises(CounterUnavailable, match="hardware"):
            NativeCounter(counter="hardware")
    else:
        with NativeCounter(counter="hardware", limits=LIMITS) as counter:
            counts = counter.count(loop, argv=("1000000",)).cost.counts
            assert counts is not None
            assert counts.events > 1_000_000


@pytest.mark.parametrize("rung", ["namespaces", "landlock"])
def test_counters_from_outside_start_with_the_executable(rung: str, tmp_path: Path) -> None:
    """With an event that every host has, page faults, because few virtual machines have instructions."""
    if refused := probe_hardware(PAGE_FAULTS):
        pytest.skip(refused)
    executable = compile_c(PAGES, tmp_path)
    source = (
        f"import os, sys\ndata = open({EXECUTABLE!r}, 'rb').read()\n"
        "with open(os.open('made', os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o755), 'wb') as file: file.write(data)\n"
        "os.execv('./made', ['made', sys.argv[1]])\n"
    )
    try:
        lane = WardenLane(find_setup(Rung(rung), sys.executable, None))
    except HostRefused as refusal:
        pytest.skip(str(refusal))
    found = []
    try:
        for pages in ("10", "5010", "10"):
            meter = HardwareMeter(lane.pid, PAGE_FAULTS)
            try:
                execution = run(lane, Job(program=Program(source, files={EXECUTABLE: executable}), argv=(pages,)))
                assert execution.outcome is Outcome.OK, execution.stderr
                found.append(meter.read())
            finally:
                meter.close()
    finally:
        lane.close()
    assert 4900 <= found[1] - found[0] <= 5200  # the stack and the loader take a few more or less
    assert abs(found[2] - found[0]) < 50
    assert 10 <= found[0] < 400  # the zygote's child alone takes more on its way in


def test_no_descriptor_stays_open(callgrind: NativeCounter, loop: bytes) -> None:
    callgrind.count(loop)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        callgrind.count(loop)
    assert len(os.listdir("/proc/self/fd")) == before
