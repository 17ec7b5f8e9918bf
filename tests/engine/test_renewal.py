"""Limits that count anew during a run, and interrupts, on the real rungs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import pytest

from groundrun.engine.exchange import Exchange
from groundrun.engine.host import choose_rung, make_lane_maker
from groundrun.engine.job import Job
from groundrun.engine.lane import Lane, gather
from groundrun.records import Execution, Limits, Outcome, Program, Rung

pytestmark = pytest.mark.exec
MANY = Limits(cpu_s=30, wall_s=60)


@pytest.fixture(params=[Rung.NAMESPACES, Rung.LANDLOCK])
def lane(request: pytest.FixtureRequest) -> Iterator[Lane]:
    rung = choose_rung(request.param, None, python=sys.executable, landlock_abi=None)
    made = make_lane_maker(rung, python=sys.executable, landlock_abi=None, hash_seed=0)("program")
    yield made
    made.close()


def start(lane: Lane, source: str) -> tuple[Job, Exchange]:
    job = Job(program=Program(source))
    exchange = Exchange(job)
    lane.begin(job, MANY, exchange, -1)
    return job, exchange


def end(lane: Lane, job: Job, exchange: Exchange) -> Execution:
    try:
        return gather(job, MANY, exchange, lane.finish(), lane)
    finally:
        exchange.close()


def test_a_renewed_limit_counts_from_then_on(lane: Lane) -> None:
    running = start(lane, "while True: pass")
    assert lane.renew(Limits(cpu_s=5, wall_s=60)) is not None
    time.sleep(0.3)
    used = lane.renew(Limits(cpu_s=0.2, wall_s=60))
    assert used is not None
    assert used.cpu_s > 0.05
    execution = end(lane, *running)
    assert execution.outcome is Outcome.CPU_LIMIT
    assert execution.cost.cpu_s >= used.cpu_s + 0.19
    assert execution.cost.cpu_s < 5


def test_the_wall_is_renewed_too(lane: Lane) -> None:
    running = start(lane, "import time\ntime.sleep(60)")
    assert lane.renew(Limits(cpu_s=1, wall_s=0.1)) is not None
    assert end(lane, *running).outcome is Outcome.WALL_LIMIT
    assert lane.renew(MANY) is None  # nothing runs


def test_a_run_that_is_over_has_nothing_to_renew(lane: Lane) -> None:
    running = start(lane, "print('over')")
    while lane.renew(MANY) is not None:
        time.sleep(0.01)
    assert lane.renew(MANY) is None
    execution = end(lane, *running)
    assert (execution.outcome, execution.text) == (Outcome.OK, "over\n")
    assert end(lane, *start(lane, "print('next')")).text == "next\n"


def test_an_interrupt_reaches_the_process_it_names(lane: Lane) -> None:
    source = """
import os, signal, time
print(os.getpid(), flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""
    running = start(lane, source)
    exchange = running[1]
    while not (said := os.pread(exchange.stdout, 100, 0)).endswith(b"\n"):
        time.sleep(0.01)
    lane.interrupt(1)  # never the slot's init
    lane.interrupt(int(said))
    execution = end(lane, *running)
    assert (execution.outcome, execution.text) == (Outcome.OK, f"{int(said)}\ninterrupted\n")
