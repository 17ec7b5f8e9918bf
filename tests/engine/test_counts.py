"""Counts of what a program executed: the same number every time, whatever the host does meanwhile; and who counted it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.loaded import keep_busy

from groundrun.engine import Engine, Job
from groundrun.engine.exchange import read_counts
from groundrun.engine.job import COUNTING_GUEST
from groundrun.errors import UsageError
from groundrun.records import Counter, Counts, Execution, Limits, Outcome, Program

pytestmark = pytest.mark.exec
LIMITS = Limits(cpu_s=30, wall_s=120)
LOOP = """
def f(n):
    odd = 0
    for i in range(n):
        if i % 2:
            odd += 1
    return odd
f(1000)
"""
MIXED = """
import dataclasses, heapq, json, re, statistics, threading
class Base:
    def __init__(self): self.seen = []
class Sub(Base):
    def __init__(self):
        super().__init__()
        self.seen.append(1)
def numbers(n):
    for i in range(n):
        got = yield i
async def one(): return 1
async def two(): return await one() + await one()
def drive(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
@dataclasses.dataclass
class Point:
    x: int
    y: int = 0
threads = [threading.Thread(target=lambda: [i for i in range(100)]) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
while len(threads) > 1: threads.pop()
with open("note", "w") as file: file.write("x")
try: {}["missing"]
except KeyError: pass
print(Sub().seen, sum(numbers(20)), drive(two()), Point(1), {k: 1 for k in "abc"}, [*map(str, range(3))], sorted("cab", key=ord))
print(heapq.nsmallest(3, range(50, 0, -1)), json.dumps({"a": [1, None]}), re.sub("a+", "b", "caat"), statistics.mean([1, 2, 4]))
"""

OWN = (
    MIXED[MIXED.index("class Base") : MIXED.index("@dataclasses")]
    + """
def add(a, b): return a + b
print(Sub().seen, sum(numbers(20)), drive(two()), {k: 1 for k in "abc"}, [*map(str, range(3))], sorted("cab", key=lambda c: -ord(c)))
print(max(*[1, 2]), add(b=1, a=2), [x for x in range(9) if x % 2 and x > 3 or x == 0], next((x for x in range(9) if x > 5), None))
try: {}["missing"]
except (ValueError, KeyError): pass
while True:
    try: break
    finally: add(1, 1)
"""
)


def count(engine: Engine, source: str, **fields: object) -> Counts:
    execution = engine.run(Job(program=Program(source), cost="counts", limits=LIMITS, **fields))  # type: ignore[arg-type]
    assert execution.outcome is Outcome.OK, execution.stderr
    assert execution.cost.counts is not None
    return execution.cost.counts


def find_python(version: str) -> str:
    """An interpreter of that minor version, on PATH or where pyenv keeps them; skips, naming it, when this machine has none."""
    kept = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob(f"versions/{version}.*/bin/python{version}")
    for path in (shutil.which(f"python{version}"), *map(str, sorted(kept))):
        asked = [path or "", "-c", "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False).stdout.split() if path else []
        if answer[:1] == [version]:
            return answer[1]
    pytest.skip(f"python{version} is not on this machine")


@pytest.fixture(scope="module", params=["3.11", "3.12", "3.13"])
def versioned(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine under another interpreter; skips, naming it, where this machine has none."""
    with Engine(workers=1, python=find_python(request.param)) as made:
        yield made


def test_a_loop_is_counted_event_by_event(versioned: Engine) -> None:
    counts = count(versioned, LOOP)
    assert counts.jumps == 1000
    assert counts.branches == 2001
    assert (counts.calls, counts.starts) == (2, 2)
    assert counts.events == 3005
    assert counts.counter is (Counter.SETTRACE if counts.python == "3.11" else Counter.MONITORING)


def test_the_same_number_again_and_again(versioned: Engine) -> None:
    first = count(versioned, MIXED)
    assert all(count(versioned, MIXED) == first for _ in range(4))
    assert first.events > 500


def test_what_ran_before_does_not_matter(versioned: Engine) -> None:
    first = count(versioned, MIXED)
    for source in ("import decimal, unittest, asyncio", "import re\nre.compile('a+')", "1 / 0"):
        versioned.run(source, cost="counts")
        versioned.run(source)
    assert count(versioned, MIXED) == first


def test_load_does_not_matter(versioned: Engine) -> None:
    calm = count(versioned, LOOP)
    with keep_busy(4):
        assert all(count(versioned, LOOP) == calm for _ in range(3))


def test_every_hash_seed_gives_the_same_number() -> None:
    found = []
    for seed in (0, 1, 12345):
        with Engine(workers=1, hash_seed=seed) as engine:
            assert engine.run("print(hash('a'))").text == engine.run("print(hash('a'))").text
            found.append(count(engine, MIXED))
    assert found[0] == found[1] == found[2]


def test_every_rung_gives_the_same_number(each_engine: Engine, engine: Engine) -> None:
    assert count(each_engine, LOOP) == count(engine, LOOP)


def test_the_substitute_counts_what_sys_monitoring_counts() -> None:
    with Engine(workers=1, python=find_python("3.12")) as both:
        for source, hidden_calls in ((LOOP, 0), (OWN, 0), (f"{OWN}for _ in range(7): add(*(1, 2))\n", 7)):
            monitored, traced = count(both, source), count(both, source, payload=b"settrace")
            assert (monitored.counter, traced.counter) == (Counter.MONITORING, Counter.SETTRACE)
            assert (traced.jumps, traced.branches, traced.starts) == (monitored.jumps, monitored.branches, monitored.starts)
            assert (traced.calls or 0) - (monitored.calls or 0) == hidden_calls  # 3.12 reports no call f(*args) of a Python function


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [("import sys; sys.exit(3)", Outcome.EXITED), ("1 / 0", Outcome.RAISED), ("raise SystemExit", Outcome.OK), ("pass", Outcome.OK)],
)
def test_however_a_program_ends_it_is_counted(engine: Engine, ending: str, outcome: Outcome) -> None:
    execution = engine.run(f"for i in range(100): pass\n{ending}", cost="counts")
    assert execution.outcome is outcome
    assert execution.cost.counts is not None
    assert (execution.cost.counts.jumps, execution.cost.counts.branches) == (100, 101)
    assert execution.report == b""


def test_threads_and_exit_handlers_count(versioned: Engine) -> None:
    late = "import atexit\natexit.register(lambda: [None for _ in range(300)])\n"
    threads = "import threading\nthreading.Thread(target=lambda: [None for _ in range(500)]).start()\n"
    assert 0 <= (count(versioned, late).jumps or 0) - 300 < 20
    assert 0 <= (count(versioned, threads).jumps or 0) - 500 < 20


def test_imports_of_the_standard_library_do_not_count(engine: Engine) -> None:
    assert count(engine, "import unittest.mock\nimport decimal").events < 20


def test_a_module_of_the_program_counts(engine: Engine) -> None:
    job = Job(program=Program("import helper", files={"helper.py": b"for i in range(200): pass\n"}), cost="counts")
    counts = engine.run(job).cost.counts
    assert counts is not None
    assert counts.jumps == 200


def test_children_do_not_count_and_do_not_answer(engine: Engine) -> None:
    source = "import os\npid = os.fork()\nif pid == 0:\n    for i in range(1000): pass\nelse:\n    os.waitpid(pid, 0)\n"
    job = Job(program=Program(source), cost="counts", limits=Limits(cpu_s=30, wall_s=120, processes=4))
    counts = engine.run(job).cost.counts
    assert counts is not None
    assert counts.jumps is not None
    assert counts.jumps < 10


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos._exit(0)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "import sys\nif hasattr(sys, 'monitoring'): sys.monitoring.free_tool_id(4)\nsys.settrace(None)",
    ],
)
def test_without_an_end_or_a_counter_there_is_no_count(versioned: Engine, source: str) -> None:
    assert versioned.run(source, cost="counts").cost.counts is None


def test_a_recursion_without_end_is_counted_or_not_at_all(versioned: Engine) -> None:
    source = "def f(): f()\ntry: f()\nexcept RecursionError: print('deep')\nfor i in range(10): pass\n"
    executions = [versioned.run(source, cost="counts") for _ in range(2)]
    assert [execution.text for execution in executions] == ["deep\n", "deep\n"]
    one, other = (execution.cost.counts for execution in executions)
    assert one == other
    assert one is None or one.counter is Counter.MONITORING


def test_counting_does_not_change_what_a_program_does(each_engine: Engine) -> None:
    def essence(execution: Execution) -> tuple[object, ...]:
        return execution.outcome, execution.exit_code, execution.stdout, execution.stderr, execution.exception

    for source in (MIXED, "import sys\nprint(sys.argv, __name__, __file__)", "def f(): 1 / 0\nf()", "x = '\\d'\nprint(x)", "x ="):
        plain, counted = each_engine.run(source), each_engine.run(source, cost="counts")
        if b"/slot" not in plain.stdout + plain.stderr and b"groundrun-" not in plain.stdout + plain.stderr:
            assert essence(plain) == essence(counted)
        else:
            assert plain.outcome is counted.outcome


def test_without_asking_nothing_is_counted(engine: Engine) -> None:
    execution = engine.run("print(__import__('sys').gettrace())")
    assert execution.cost.counts is None
    assert execution.text == "None\n"


def test_what_can_not_be_counted_is_refused(engine: Engine) -> None:
    with pytest.raises(UsageError, match="only 'counts' is"):
        engine.run("", cost="instructions")
    with pytest.raises(UsageError, match="whole programs"):
        engine.run(Job(program=Program(""), guest="groundrun.engine.guest.server", cost="counts"))


@pytest.mark.parametrize(
    "said", [b"", b"GRC1", b"GRC1settrace 3.11 1 2 3", b"GRC1settrace 3.11 -1 2 3 4", b"GRC1callgrind 3.11 1 2 3 4", b"x" * 999]
)
def test_a_forged_report_is_no_count(said: bytes) -> None:
    assert read_counts(said) is None


def test_the_report_is_read_as_written() -> None:
    found = read_counts(b"GRC1sys.monitoring 3.13 1 20 300 4000")
    assert found == Counts(counter=Counter.MONITORING, events=4321, python="3.13", jumps=1, branches=20, calls=300, starts=4000)


def test_the_counting_guest_is_found_by_its_file() -> None:
    assert (
        Path(sys.modules["groundrun.engine.job"].__file__ or "").parent.joinpath("guest", f"{COUNTING_GUEST.rsplit('.', 1)[1]}.py").exists()
    )
