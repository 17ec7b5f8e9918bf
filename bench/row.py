"""One row of one round: a contestant checks every task in a process of its own, and the laps are written down.

python -m bench.row ORDER RESULT

Everything that a contestant prepares once (imports, workers, calibration, recorded outputs) is outside the clock, and so are
the first few checks, which warm it. The clock covers `passes` times all tasks in a closed loop of `workers` checks at once.
The result is JSON: either laps and processor time, or `missing`, the sentence why this contestant can't run here.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from pathlib import Path

from bench.lineup import Check, Missing
from bench.meter import join_cgroup, read_cpu_s, read_page_faults
from bench.ours import OURS
from bench.peers import PEERS
from bench.task import Order, Task, read_order

WARMING = 8


def time_check(check: Check, task: Task) -> tuple[bool, float]:
    """Whether the solution passed, and the seconds that it took to know."""
    started = time.perf_counter()
    passed = check(task)
    return passed, time.perf_counter() - started


def carry_out(order: Order) -> dict[str, object]:
    """Run the contestant of an order and describe what came of it."""
    if order.cgroup is not None:
        join_cgroup(order.cgroup)
    try:
        with (OURS | PEERS)[order.contestant](order.tasks, order.workers) as lineup:
            timed = functools.partial(time_check, lineup.check)
            list(lineup.pool.map(timed, lineup.tasks[:WARMING]))
            tasks = list(lineup.tasks) * order.passes
            faults = read_page_faults()
            cpu_s, started = read_cpu_s(order.cpu_file), time.perf_counter()
            laps = list(lineup.pool.map(timed, tasks))
            wall_s, cpu_s = time.perf_counter() - started, read_cpu_s(order.cpu_file) - cpu_s
            ended = read_page_faults()
    except Missing as error:
        return {"missing": str(error)}
    return {
        "wall_s": wall_s,
        "cpu_s": cpu_s if order.cpu_file is not None or lineup.waits else None,
        "page_faults": None if faults is None or ended is None else ended - faults,
        "latencies_s": [seconds for _, seconds in laps],
        "passed": sum(passed for passed, _ in laps),
        "failed": sorted({task.task_id for task, (passed, _) in zip(tasks, laps, strict=True) if not passed}),
    }


if __name__ == "__main__":
    result = carry_out(read_order(Path(sys.argv[1])))
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")
