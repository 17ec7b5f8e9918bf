"""Long runs: is anything lost, doubled, leaked or left behind?

python -m bench.soak --programs 10000 --kills 20 --isolation namespaces

`soak` streams programs that each print their own number while wardens, the engine's own children, are killed at random; every
number must come back once and once only, and the memory of this process must stay flat. `leave_abruptly` kills a process that
has an engine at work with SIGKILL and looks from outside for what it left behind.
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
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.remnants import find_belongings, find_descendants, find_remnants, find_wardens, wait_until
from groundrun.engine import Engine
from groundrun.records import Outcome

MEBIBYTE = 1 << 20
GROWTH_MIB = 50
SETTLED = 200  # programs after which caches are filled and memory is compared from
GONE_S = 20.0
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
    """What came of a soak. `faults` are runs that ended as our fault: reported, neither lost nor doubled."""

    programs: int
    right: int
    lost: int
    doubled: int
    wrong: int
    faults: int
    kills: int
    restarts: int
    growth_mib: float
    left_behind: list[str]

    @property
    def ok(self) -> bool:
        """Nothing lost, doubled, wrong or left behind; memory flat."""
        bad = self.lost or self.doubled or self.wrong or self.left_behind
        return not bad and self.right + self.faults == self.programs and self.growth_mib < GROWTH_MIB


def soak(*, programs: int, kills: int, isolation: str, workers: int | None = None, seed: int = 0) -> Account:
    """Stream that many programs, killing a warden at `kills` random moments."""
    chance = random.Random(seed)
    moments = set(chance.sample(range(programs // 10, programs), kills))
    seen: Counter[int] = Counter()
    wrong = faults = killed = 0
    before_mib = most_mib = 0.0
    with Engine(isolation=isolation, workers=workers) as engine:
        for count, done in enumerate(engine.stream(f"print({number})" for number in range(programs))):
            seen[done.index] += 1
            if done.execution is None:
                faults += 1
            elif done.execution.outcome is not Outcome.OK or done.execution.text != f"{done.index}\n":
                wrong += 1
            if count in moments:
                killed += kill_one(chance)
            if count == min(SETTLED, programs // 2):
                before_mib = most_mib = resident_mib()
            elif count % 100 == 0:
                most_mib = max(most_mib, resident_mib())
        processes = find_descendants(os.getpid())
        restarts = engine.stats().restarts
    most_mib = max(most_mib, resident_mib())
    wait_until(lambda: not find_remnants(processes, os.getpid()), seconds=GONE_S)
    return Account(
        programs=programs,
        right=len(seen) - wrong - faults,
        lost=programs - len(seen),
        doubled=sum(times - 1 for times in seen.values()),
        wrong=wrong,
        faults=faults,
        kills=killed,
        restarts=restarts,
        growth_mib=round(most_mib - before_mib, 1),
        left_behind=find_remnants(processes, os.getpid()),
    )


def kill_one(chance: random.Random) -> int:
    """Kill one of this process's wardens; how many were killed."""
    wardens = find_wardens(os.getpid())
    if not wardens:
        return 0
    os.kill(chance.choice(wardens), signal.SIGKILL)
    return 1


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
    given = options.parse_args()
    account = soak(programs=given.programs, kills=given.kills, isolation=given.isolation, workers=given.workers, seed=given.seed)
    had, left = leave_abruptly(given.isolation)
    print(json.dumps({**asdict(account), "ok": account.ok, "killed_process_had": len(had), "killed_process_left": left}, indent=2))
    return 0 if account.ok and not left else 1


if __name__ == "__main__":
    sys.exit(main())
