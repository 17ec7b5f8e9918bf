"""One whole command of one turn: run to its end, timed, all its processor time counted.

python -m bench.whole ORDER RESULT

ORDER is JSON: `command`, `env`, `cwd`, `output` (a file for both of its streams), `cgroup` and `cpu_file` (null where the host delegates
none), `waits` (whether the command waits for all its processes, so that getrusage would do), `timeout_s`.
RESULT is JSON: `status`, `began` (seconds since the epoch), `wall_s`, `cpu_s` (null where nothing could measure all of it).

A command past its time is killed with everything in its session, and has the status null; it is killed too when whoever ordered it is gone.
Does not clean up after a command that ended by itself: whoever orders gives every turn folders of its own.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.meter import join_cgroup, read_cpu_s

LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to run, and how it is to be measured."""

    command: list[str]
    env: dict[str, str]
    cwd: str
    output: str
    cgroup: str | None
    cpu_file: str | None
    waits: bool
    timeout_s: float


def carry_out(order: Order) -> dict[str, object]:
    """Run the command of an order and describe what it took."""
    if order.cgroup is not None:
        join_cgroup(order.cgroup)
    with open(order.output, "wb") as output:
        cpu_s, began, started = read_cpu_s(order.cpu_file), time.time(), time.perf_counter()
        with subprocess.Popen(
            order.command, env=order.env, cwd=order.cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        ) as process:
            ended = False
            try:
                ended = wait_for(process.pid, order.timeout_s)
            finally:
                wall_s = time.perf_counter() - started
                if not ended:
                    os.killpg(process.pid, signal.SIGKILL)
        cpu_s = read_cpu_s(order.cpu_file) - cpu_s
    measured = order.cpu_file is not None or order.waits
    return {"status": process.returncode if ended else None, "began": began, "wall_s": wall_s, "cpu_s": cpu_s if measured else None}


def wait_for(pid: int, seconds: float) -> bool:
    """Whether a child ended in time, and while this process's own parent was there. The child's status is left to be collected."""
    parent, deadline = os.getppid(), time.monotonic() + seconds
    handle = os.pidfd_open(pid)
    try:
        while not select.select([handle], [], [], LOOK_EVERY_S)[0]:
            if time.monotonic() > deadline or os.getppid() != parent:
                return False
        return True
    finally:
        os.close(handle)


if __name__ == "__main__":
    found = carry_out(Order(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
