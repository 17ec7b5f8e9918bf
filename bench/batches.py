"""What a batch costs beside one process that makes the same calls in a plain loop.

python -m bench.batches [--json] [--rounds 15] [--isolation RUNG]

Both sides run in the same kind of slot of one engine with one worker, turn about, and their clocks cover everything from the program's text
to the last result: encoding arguments, the process, reading the answers. The plain loop throws its results away. `work_us` is what a call
was calibrated to do; `ratio` and `overhead_us` (of one call) compare medians over the rounds on the wall's clock, `cpu_ratio` the
kernel's account of the processes. `value_us` is what decoding one value takes afterwards, outside of all others.

Does not promise a calm machine: on a busy one the medians of short batches tremble.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from groundrun.engine import Engine
from groundrun.records import Outcome, Program

CALLS = 1000
WORKS_US = (0, 50, 500)
FUNCTION = "def work(x):\n    for _ in range({turns}):\n        pass\n    return x\n"
LOOP = "for number in range({calls}):\n    work(number)\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One amount of work a call."""

    work_us: int
    calls: int
    loop_ms: float
    batch_ms: float
    ratio: float
    overhead_us: float
    cpu_ratio: float
    value_us: float


def calibrate() -> float:
    """Turns of an empty loop in a microsecond."""
    namespace: dict[str, Callable[[int], int]] = {}
    exec(FUNCTION.format(turns=200_000), namespace)
    laps = []
    for _ in range(7):
        started = time.perf_counter()
        namespace["work"](0)
        laps.append(time.perf_counter() - started)
    return 200_000 / (min(laps) * 1e6)


def compare(engine: Engine, work_us: int, *, turns: int, rounds: int, calls: int = CALLS) -> Row:
    """The batch and the loop, turn about; the first turn warms both."""
    source = FUNCTION.format(turns=turns)
    program, loop = Program(source, entry_point="work"), Program(source + LOOP.format(calls=calls))
    loops, batches, loops_cpu, batches_cpu, values = [], [], [], [], []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        execution = engine.run(loop)
        looped = time.perf_counter()
        batch = engine.call_many(program, [(number,) for number in range(calls)])
        batched = time.perf_counter()
        results = [call.value() for call in batch.calls]
        decoded = time.perf_counter()
        if execution.outcome is not Outcome.OK or results != list(range(calls)):
            raise RuntimeError(f"a side failed: loop {execution.outcome}, {len(results)} results")
        loops.append(looped - started)
        batches.append(batched - looped)
        values.append(decoded - batched)
        loops_cpu.append(execution.cost.cpu_s)
        batches_cpu.append(batch.cost.cpu_s)
    loop_s, batch_s, loop_cpu_s, batch_cpu_s, value_s = (
        statistics.median(each[1:]) for each in (loops, batches, loops_cpu, batches_cpu, values)
    )
    return Row(
        work_us=work_us,
        calls=calls,
        loop_ms=loop_s * 1e3,
        batch_ms=batch_s * 1e3,
        ratio=batch_s / loop_s,
        overhead_us=(batch_s - loop_s) / calls * 1e6,
        cpu_ratio=batch_cpu_s / loop_cpu_s,
        value_us=value_s / calls * 1e6,
    )


def measure(*, rounds: int, isolation: str | None = None, calls: int = CALLS) -> tuple[str, list[Row]]:
    """The rung, and a row for each amount of work."""
    speed = calibrate()
    with Engine(workers=1, isolation=isolation) as engine:
        rows = [compare(engine, work, turns=round(work * speed), rounds=rounds, calls=calls) for work in WORKS_US]
        return engine.isolation.rung.value, rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--isolation")
    options = parser.parse_args()
    rung, rows = measure(rounds=options.rounds, isolation=options.isolation)
    if options.json:
        print(json.dumps({"rung": rung, "rows": [asdict(row) for row in rows]}))
        return
    print(f"{CALLS} calls in one process, rung {rung}")
    print("  work a call     loop    batch   ratio   overhead a call   processor   value")
    for row in rows:
        print(
            f"{row.work_us:>10} us {row.loop_ms:>7.1f}ms{row.batch_ms:>7.1f}ms{row.ratio:>7.2f}x"
            f"{row.overhead_us:>14.1f} us{row.cpu_ratio:>11.2f}x{row.value_us:>6.1f}us"
        )


if __name__ == "__main__":
    main()
