"""Retries, canaries and the gate: what becomes of faults of ours, and of a program that forces them."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import CancelledError

import pytest

from groundrun.engine.classification import KernelFacts
from groundrun.engine.exchange import Exchange
from groundrun.engine.flavour import Catalogue
from groundrun.engine.job import Job
from groundrun.engine.lanes import Warmth
from groundrun.engine.pool import Pool, Run
from groundrun.errors import WorkerDied
from groundrun.records import CpuSource, Isolation, Limits, MemoryGuard, Outcome, Program, Rung

pytestmark = pytest.mark.unit

ISOLATION = Isolation(rung=Rung.NONE, memory_guard=MemoryGuard.NOTHING, cpu_guard=CpuSource.NOTHING)


class FragileLane:
    """A lane that dies for programs whose source says so; `deaths` is shared by all lanes of a test."""

    flavour = "bare"

    def __init__(self, deaths: list[str], gate: threading.Event | None = None) -> None:
        self.isolation = ISOLATION
        self._deaths, self._gate = deaths, gate

    def begin(self, job: Job, limits: Limits, exchange: Exchange, channel: int) -> None:
        self._source = job.program.source

    def finish(self) -> KernelFacts:
        if self._gate is not None:
            self._gate.wait(10)
        if self._source.startswith("fatal") or (self._source.startswith("once") and self._deaths.count(self._source) < 1):
            self._deaths.append(self._source)
            raise WorkerDied("lane", self._source)
        if self._source.startswith("host is ill") or ("host is ill" in self._deaths):
            self._deaths.append("host is ill")
            raise WorkerDied("lane", "whatever runs")
        return KernelFacts(wait_status=0)

    def measure(self) -> int:
        return 0

    def cancel(self, grace_s: float = 0.0) -> None: ...

    def close(self) -> None: ...

    def abandon(self) -> None: ...

    def wait(self, timeout_s: float) -> bool:
        return True

    def renew(self, limits: Limits) -> None: ...

    def interrupt(self, pid: int) -> None: ...


def submit(pool: Pool, source: str) -> Run:
    run = Run((Job(program=Program(source)),))
    pool.submit(run)
    return run


def make_pool(deaths: list[str], *, gate: threading.Event | None = None) -> Pool:
    warmth = Warmth(Catalogue({}, python=sys.executable), idle_s=60, worker_bytes=0)
    return Pool(workers=2, limits=Limits(), make_lane=lambda *_: FragileLane(deaths, gate), warmth=warmth)


def test_a_passing_fault_is_retried_and_nobody_sees_it() -> None:
    deaths: list[str] = []
    pool = make_pool(deaths)
    assert submit(pool, "once").result(10).outcome is Outcome.OK
    assert deaths == ["once"]
    stats = pool.stats()
    assert (stats.finished, stats.faults, stats.restarts) == (1, 0, 1)
    pool.close()


def test_a_program_that_kills_every_worker_while_canaries_live_is_its_own_fault() -> None:
    deaths: list[str] = []
    pool = make_pool(deaths)
    execution = submit(pool, "fatal program").result(10)
    assert execution.outcome is Outcome.SIGNALLED
    assert execution.exception.type == "WorkerLost"
    assert len(deaths) == 3
    assert submit(pool, "fine").result(10).outcome is Outcome.OK
    assert pool.stats().faults == 0
    pool.close()


def test_when_the_canary_dies_too_it_is_our_fault() -> None:
    deaths: list[str] = []
    pool = make_pool(deaths)
    with pytest.raises(WorkerDied):
        submit(pool, "host is ill").result(10)
    assert pool.stats().faults == 1
    pool.close()


def test_waiting_runs_can_be_cancelled_and_closing_cancels_the_rest() -> None:
    gate = threading.Event()
    pool = make_pool([], gate=gate)
    runs = [submit(pool, f"fine {number}") for number in range(6)]
    assert runs[5].cancel()
    closer = threading.Thread(target=pool.close)
    closer.start()
    gate.set()
    closer.join(20)
    assert not closer.is_alive()
    for run in runs:
        try:
            assert run.result(10).outcome is Outcome.OK
        except CancelledError:
            assert run.cancelled()
    assert runs[5].cancelled()
