"""What a program that imports numpy costs: in its flavour, and where it imports numpy itself, against a program that prints a number.

python -m bench.flavours [--isolation namespaces] [--python PATH] [--programs 200] [--rounds 5] [--json]

The kinds take turns, round after round, on one engine with one worker; a row is the median of its rounds, a ratio the median of the ratios
within each round. `program_ms` is what `Execution.cost` says: the program from its fork on, by the kernel's account. `total_ms` is
everything: what the fork cost the zygote, slots, jail, warden, and this process's own part. Faults are minor page faults of all of it.
Does not promise a quiet machine: processor time also depends on what else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.remnants import find_descendants
from groundrun.engine import Engine, Job
from groundrun.errors import GroundrunError
from groundrun.records import Outcome, Program

BARE = "print(45)\n"
NUMPY = "import numpy as np\nprint(np.arange(10).sum())\n"
RANDOM = "import numpy as np\nprint(45 if np.random.default_rng(1).random() < 1 else 0)\n"
KINDS: dict[str, tuple[str, str | None]] = {
    "bare": (BARE, None),
    "numpy in its flavour": (NUMPY, None),
    "numpy.random in its flavour": (RANDOM, None),
    "numpy imported by the program": (NUMPY, "bare"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind: processor time and faults per execution, and each as a multiple of the bare one's."""

    kind: str
    flavour: str
    program_ms: float
    total_ms: float
    faults: float
    program_ratio: float
    total_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """Per execution, in one round."""

    program_s: float
    total_s: float
    faults: float


def read_usage() -> tuple[float, int]:
    """Seconds of processor time and minor faults so far: of this process and all below it, the dead ones included."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    seconds, faults = own.ru_utime + own.ru_stime, own.ru_minflt
    for pid in find_descendants(os.getpid()):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # over since: its parent counts it
            continue
        faults += int(fields[7]) + int(fields[8])
        seconds += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return seconds, faults


def time_lap(engine: Engine, source: str, flavour: str | None, programs: int) -> tuple[Lap, str]:
    """Run a program that often; what each cost, and the flavour that it ran in. Raises RuntimeError when one doesn't print 45."""
    job = Job(program=Program(source), flavour=flavour)
    ran = engine.run(job).flavour  # warm by now
    seconds, faults = read_usage()
    costs = []
    for done in (engine.run(job) for _ in range(programs)):
        if done.outcome is not Outcome.OK or done.text != "45\n" or done.flavour != ran:
            raise RuntimeError(f"a program printed {done.text!r} and ended as {done.outcome.value} in {done.flavour}: {done.exception}")
        costs.append(done.cost.cpu_s)
    after, more = read_usage()
    return Lap(program_s=statistics.median(costs), total_s=(after - seconds) / programs, faults=(more - faults) / programs), ran


def measure(engine: Engine, *, programs: int, rounds: int) -> list[Row]:
    """Every kind in turn, `rounds` times."""
    laps: dict[str, list[Lap]] = {kind: [] for kind in KINDS}
    flavours = {}
    for _ in range(rounds):
        for kind, (source, flavour) in KINDS.items():
            lap, flavours[kind] = time_lap(engine, source, flavour, programs)
            laps[kind].append(lap)
    rows = []
    for kind, found in laps.items():
        pairs = list(zip(found, laps["bare"], strict=True))
        rows.append(
            Row(
                kind=kind,
                flavour=flavours[kind],
                program_ms=_median(1000 * lap.program_s for lap in found),
                total_ms=_median(1000 * lap.total_s for lap in found),
                faults=_median(lap.faults for lap in found),
                program_ratio=_median(lap.program_s / bare.program_s for lap, bare in pairs),
                total_ratio=_median(lap.total_s / bare.total_s for lap, bare in pairs),
            )
        )
    return rows


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 3)


def main() -> int:
    """Read the options, measure, print; 3 when it can't be measured."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--isolation", default="namespaces", choices=["namespaces", "landlock"])
    options.add_argument("--python", help="interpreter or virtual environment with numpy")
    options.add_argument("--programs", type=int, default=200, help="of each kind in each round")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    try:
        with Engine(workers=1, isolation=given.isolation, python=given.python) as engine:
            rows = measure(engine, programs=given.programs, rounds=given.rounds)
            warm = engine.stats().flavours
    except (GroundrunError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    if given.json:
        zygotes = {each.name: each.resident_bytes for each in warm}
        print(json.dumps({"isolation": given.isolation, "rows": [asdict(row) for row in rows], "resident_bytes": zygotes}))
        return 0
    print(f"{'kind':<31}{'flavour':<11}{'program ms':>11}{'ratio':>7}{'total ms':>10}{'ratio':>7}{'faults':>8}")
    for row in rows:
        numbers = f"{row.program_ms:>11.2f}{row.program_ratio:>7.2f}{row.total_ms:>10.2f}{row.total_ratio:>7.2f}{row.faults:>8.0f}"
        print(f"{row.kind:<31}{row.flavour:<11}{numbers}")
    for each in warm:
        print(f"{each.zygotes} zygote of {each.name}: {each.resident_bytes / (1 << 20):.1f} MiB resident")
    return 0


if __name__ == "__main__":
    sys.exit(main())
