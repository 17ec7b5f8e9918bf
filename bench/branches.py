"""What a branch of a session costs against what it has to copy: memory, and files.

python -m bench.branches [--rung namespaces] [--times 15] [--json]

For each size: a session is filled, then branched `times` times, each branch closed before the next is made. Printed are the median and the
fastest of `Session.branch()` as the caller sees it, and the median of the first cell in the branch after it, which puts the files
of the branch in place and pays for the first pages that it changes.

Promises nothing about the machine: other work shows in the medians, less in the fastest. What a branch costs the cells of its session later
(each page that either changes is copied once) is not measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from groundrun.engine import Engine, Session
from groundrun.errors import GroundrunError
from groundrun.records import Limits

MEBIBYTE = 1 << 20
LIMITS = Limits(cpu_s=60, wall_s=120, memory_bytes=4096 * MEBIBYTE, disk_bytes=2048 * MEBIBYTE, processes=16)
HEAP_MIB = (0, 16, 64, 256, 1024)
OBJECTS = (10_000, 100_000, 1_000_000)
FILE_MIB = (1, 16, 64, 256)
FILES = (10, 100, 1000)


def list_rows() -> Iterator[tuple[str, str]]:
    """Name of a row, and the cell that fills the session."""
    yield "bare", "pass"
    for size in HEAP_MIB[1:]:
        yield f"{size} MiB in one block", f"x = bytearray({size} << 20)\nfor at in range(0, len(x), 4096): x[at] = 1"
    for count in OBJECTS:
        yield f"{count:,} objects", f"x = [[number] for number in range({count})]"
    for size in FILE_MIB:
        yield (
            f"a file of {size} MiB",
            f"f = open('data', 'wb')\nfor _ in range({size}): f.write(bytes(range(256)) * 4096) and None\nf.close()",
        )
    for count in FILES:
        yield f"{count:,} files of 1 KiB", f"for number in range({count}):\n    with open(f'{{number}}', 'wb') as f: f.write(bytes(1024))"


def measure(session: Session, times: int) -> dict[str, float]:
    """Milliseconds of `times` branches and of their first cells."""
    made, first = [], []
    for _ in range(times):
        branch, took = _time(session.branch)
        with branch:
            made.append(took)
            first.append(_time(lambda: branch.run("1"))[1])  # noqa: B023
    return {"branch_ms": statistics.median(made), "fastest_ms": min(made), "first_cell_ms": statistics.median(first)}


def _time(call: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = call()
    return result, 1e3 * (time.perf_counter() - started)


def main() -> int:
    """Read the options, measure, print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--rung", choices=("namespaces", "landlock"), default="namespaces")
    options.add_argument("--times", type=int, default=15)
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    rows = []
    try:
        with Engine(isolation=given.rung, workers=1) as engine:
            if not given.json:
                print(f"rung {given.rung}, {given.times} branches each; milliseconds")
                print(f"{'what the session holds':26} {'branch':>8} {'fastest':>8} {'first cell':>11}")
            for name, fill in list_rows():
                with engine.session(limits=LIMITS) as session:
                    cell = session.run(fill)
                    if cell.outcome.value != "ok":
                        print(f"{name}: left out, {cell.outcome.describe()}", file=sys.stderr)
                        continue
                    row = {"name": name, "rung": given.rung, **measure(session, given.times)}
                rows.append(row)
                if not given.json:
                    print(f"{name:26} {row['branch_ms']:8.2f} {row['fastest_ms']:8.2f} {row['first_cell_ms']:11.2f}", flush=True)
    except GroundrunError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if given.json:
        print(json.dumps({"rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
