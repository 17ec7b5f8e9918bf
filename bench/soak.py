"""Long runs: is anything lost, doubled, leaked or left behind?

python -m bench.soak --programs 10000 --kills 20 --isolation namespaces
python -m bench.soak --programs 100000 --kills 0 --hostile 50

`soak` streams programs that each print their own number while wardens, the engine's own children, are killed at random; every
number must come back once and once only, and this process's memory and its number of descriptors must stay flat. With `--hostile N`
one program in N misbehaves instead, each kind in turn (`HOSTILE`), and must end in an outcome of its kind. `leave_abruptly` kills
a process that has an engine at work with SIGKILL and looks from outside for what it left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.remnants import find_belongings, find_descendants, find_remnants, find_wardens, wait_until
from groundrun.engine import Engine
from groundrun.records import Execution, Limits, Outcome

MEBIBYTE = 1 << 20
GROWTH_MIB = 50
SETTLED = 200  # programs after which caches are filled and memory is compared from
GONE_S = 20.0
MORE_DESCRIPTORS = 64  # that may be open at a time beyond those of the settled engine: of results on their way
LIMITS = Limits(cpu_s=0.25, wall_s=0.5, memory_bytes=128 * MEBIBYTE, output_bytes=1 << 20, processes=16, disk_bytes=8 * MEBIBYTE)
HOSTILE: dict[str, tuple[str, frozenset[Outcome]]] = {
    "loops": ("while True: pass", frozenset({Outcome.CPU_LIMIT, Outcome.WALL_LIMIT})),
    "sleeps": ("import time\ntime.sleep(60)", frozenset({Outcome.WALL_LIMIT})),
    "hogs": ("x = b'x' * (1 << 30)", frozenset({Outcome.MEMORY_LIMIT})),
    "floods": ("while True: print('x' * 65536)", frozenset({Outcome.OUTPUT_LIMIT, Outcome.DISK_LIMIT})),
    "fills": ("open('f', 'wb').write(bytes(1 << 26))", frozenset({Outcome.DISK_LIMIT})),
    "forks": (
        "import os, time\nfor _ in range(64):\n    if os.fork() == 0:\n        time.sleep(60)\n",
        frozenset({Outcome.PROCESS_LIMIT}),
    ),
    "crashes": ("import ctypes\nctypes.string_at(0)", frozenset({Outcome.SIGNALLED})),
    "kills": ("import os, signal\nos.kill(-1, signal.SIGKILL)\nos.kill(0, signal.SIGKILL)", frozenset({Outcome.SIGNALLED, Outcome.RAISED})),
    "stays": ("import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\n", frozenset({Outcome.OK})),
    "nests": (
        "def f(): f()\nimport sys\nsys.setrecursionlimit(10**9)\nf()",
        frozenset({Outcome.SIGNALLED, Outcome.MEMORY_LIMIT, Outcome.CPU_LIMIT, Outcome.WALL_LIMIT}),
    ),
}
VICTIM = """
import sys, time
from groundrun.engine import Engine
engine = Engine(isolation=sys.argv[1], workers=2)
runs = [engine.submit("while True: pass") for _ in range(8)]
while engine.stats().running < 2 or not all(run.running() for run in runs[:2]):
    time.sleep(0.01)
time.sleep(0.5)
print("up", flush=True)
runs[0].result()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What came of a soak. `faults` are runs that ended as our fault: reported, neither lost nor doubled.

    `oddities` names what a wrong one gave, the first few; `more_descriptors` were open at the most beyond those of the settled engine.
    """

    programs: int
    hostile: int
    seconds: float
    per_s: float
    right: int
    lost: int
    doubled: int
    wrong: int
    faults: int
    kills: int
    restarts: int
    growth_mib: float
    more_descriptors: int
    oddities: list[str]
    left_behind: list[str]

    @property
    def ok(self) -> bool:
        """Nothing lost, doubled, wrong or left behind; memory flat."""
        bad = self.lost or self.doubled or self.wrong or self.left_behind
        flat = self.growth_mib < GROWTH_MIB and self.more_descriptors <= MORE_DESCRIPTORS
        return not bad and self.right + self.faults == self.programs and flat


def write_program(number: int, hostile: int) -> str:
    """The program of that number: one in `hostile` misbehaves, none for 0."""
    kind = find_kind(number, hostile)
    return f"print({number})" if kind is None else f"{HOSTILE[kind][0]}\n# {number}"


def find_kind(number: int, hostile: int) -> str | None:
    """How that program misbehaves, None for not at all."""
    return list(HOSTILE)[number // hostile % len(HOSTILE)] if hostile and number % hostile == hostile - 1 else None


def describe_wrong(number: int, execution: Execution, hostile: int) -> str:
    """What is wrong with a result, empty for nothing."""
    kind, outcome = find_kind(number, hostile), execution.outcome
    if kind is not None:
        return "" if outcome in HOSTILE[kind][1] else f"{kind}: {outcome.value}"
    return "" if outcome is Outcome.OK and execution.text == f"{number}\n" else f"{number}: {outcome.value}, {execution.text[:40]!r}"


def soak(*, programs: int, kills: int, isolation: str, workers: int | None = None, seed: int = 0, hostile: int = 0) -> Account:
    """Stream that many programs, killing a warden at `kills` random moments."""
    chance = random.Random(seed)
    moments = set(chance.sample(range(programs // 10, programs), kills))
    seen: Counter[int] = Counter()
    wrong = faults = killed = 0
    before_mib = most_mib = 0.0
    before_open = most_open = 0
    oddities: list[str] = []
    began = time.monotonic()
    limits = LIMITS if hostile else Limits()
    with Engine(isolation=isolation, workers=workers, limits=limits) as engine:
        for count, done in enumerate(engine.stream(write_program(number, hostile) for number in range(programs))):
            seen[done.index] += 1
            odd = "" if done.execution is None else describe_wrong(done.index, done.execution, hostile)
            faults += done.execution is None
            wrong += bool(odd)
            if odd and len(oddities) < 20:
                oddities.append(odd)
            if count in moments:
                killed += kill_one(chance)
            if count == min(SETTLED, programs // 2):
                before_mib = most_mib = resident_mib()
                before_open = most_open = count_descriptors()
            elif count % 100 == 0:
                most_mib = max(most_mib, resident_mib())
                most_open = max(most_open, count_descriptors())
        processes = find_descendants(os.getpid())
        restarts = engine.stats().restarts
    seconds = time.monotonic() - began
    most_mib = max(most_mib, resident_mib())
    wait_until(lambda: not find_remnants(processes, os.getpid()), seconds=GONE_S)
    return Account(
        programs=programs,
        hostile=sum(find_kind(number, hostile) is not None for number in range(programs)),
        seconds=round(seconds, 1),
        per_s=round(programs / seconds, 1),
        right=len(seen) - wrong - faults,
        lost=programs - len(seen),
        doubled=sum(times - 1 for times in seen.values()),
        wrong=wrong,
        faults=faults,
        kills=killed,
        restarts=restarts,
        growth_mib=round(most_mib - before_mib, 1),
        more_descriptors=most_open - before_open,
        oddities=oddities,
        left_behind=find_remnants(processes, os.getpid()),
    )


def kill_one(chance: random.Random) -> int:
    """Kill one of this process's wardens; how many were killed."""
    wardens = find_wardens(os.getpid())
    if not wardens:
        return 0
    os.kill(chance.choice(wardens), signal.SIGKILL)
    return 1


def count_descriptors() -> int:
    """Open descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def resident_mib() -> float:
    """This process's resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE


@contextlib.contextmanager
def start_victim(isolation: str) -> Iterator[subprocess.Popen[str]]:
    """A process of its own with an engine at work; killed at the end whatever happens."""
    with subprocess.Popen([sys.executable, "-c", VICTIM, isolation], stdout=subprocess.PIPE, text=True) as victim:
        try:
            assert victim.stdout is not None
            if victim.stdout.readline() != "up\n":
                raise RuntimeError(f"the process that was to be killed did not start (status {victim.wait()})")
            yield victim
        finally:
            victim.kill()


def leave_abruptly(isolation: str) -> tuple[list[str], list[str]]:
    """Kill a process with an engine at work by SIGKILL: what it had before, and what is left of it afterwards."""
    with start_victim(isolation) as victim:
        processes = find_descendants(victim.pid)
        had = [f"process {pid}" for pid in processes] + find_belongings(victim.pid)
        victim.kill()
        victim.wait()
        wait_until(lambda: not find_remnants(processes, victim.pid), seconds=GONE_S)
        return had, find_remnants(processes, victim.pid)


def main() -> int:
    """Read the options, run both, print JSON; 1 when anything is wrong."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--programs", type=int, default=10_000)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--isolation", default="namespaces", choices=["namespaces", "landlock"])
    options.add_argument("--workers", type=int)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument(
        "--hostile", type=int, default=0, help="one program in so many misbehaves; limits are then 0.25 s CPU and 0.5 s wall"
    )
    given = options.parse_args()
    shared = {"isolation": given.isolation, "workers": given.workers, "seed": given.seed, "hostile": given.hostile}
    account = soak(programs=given.programs, kills=given.kills, **shared)
    had, left = leave_abruptly(given.isolation)
    print(json.dumps({**asdict(account), "ok": account.ok, "killed_process_had": len(had), "killed_process_left": left}, indent=2))
    return 0 if account.ok and not left else 1


if __name__ == "__main__":
    sys.exit(main())
