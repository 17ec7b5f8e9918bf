"""Workers: one thread each, which drives a lane for programs and, when something is judged, a second one for the grader.

A worker runs one task at a time. What goes wrong on our side is retried on a fresh lane; a program that takes its worker
down twice is run alone between two known-good canaries, so that a fault of the host is told from a program that is fatal:
the first is an `EngineError`, the second that program's own outcome.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from groundrun.engine.exchange import Exchange
from groundrun.engine.job import Job
from groundrun.engine.lane import Lane, gather
from groundrun.errors import EngineError
from groundrun.records import ExceptionInfo, Execution, Limits, Outcome, Program

MakeLane = Callable[[str], Lane]
_CANARY = Job(program=Program("print(6 * 7)"), limits=Limits(cpu_s=10, wall_s=60))
_LINGER_S = 0.25  # what a function server needs to notice the end of its channel, generously
_FATAL = "the program took its worker down three times while known-good programs before and after it ran well"


class EngineStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the engine was made: `faults` are ours and reached a caller, `restarts` were mended silently."""

    workers: int
    finished: int
    running: int
    waiting: int
    restarts: int
    faults: int


class Run(concurrent.futures.Future[Any]):
    """A future whose `cancel` also ends a run that has started; its result is then an execution with outcome `cancelled`."""

    def __init__(self, jobs: tuple[Job, ...]) -> None:
        super().__init__()
        self.jobs = jobs
        self.worker: Worker | None = None

    def cancel(self) -> bool:
        """Cancel a waiting run, or end a running one. False only when it had finished."""
        if super().cancel():
            return True
        worker = self.worker
        if worker is None or self.done():
            return False
        worker.cancel(self)
        return True


class _Gate:
    """Many may pass at once, or one alone."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inside = 0
        self._alone = False

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        with self._condition:
            self._condition.wait_for(lambda: not self._alone)
            self._inside += 1
        try:
            yield
        finally:
            with self._condition:
                self._inside -= 1
                self._condition.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._condition:
            self._condition.wait_for(lambda: not self._alone)
            self._alone = True
            self._condition.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._condition:
                self._alone = False
                self._condition.notify_all()


class Worker:
    """One thread and its lanes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lanes: dict[str, Lane] = {}
        self._current: Run | None = None
        self._guard = threading.Lock()
        self.restarts = 0
        self.thread = threading.Thread(target=self._serve, name="groundrun-worker", daemon=True)

    def cancel(self, run: Run) -> None:
        """End `run` if it is what this worker is running."""
        with self._guard:
            if self._current is run:
                for lane in self._lanes.values():
                    lane.cancel()

    def abandon(self) -> None:
        """In a forked child: close inherited descriptors without touching the parent's processes."""
        for lane in self._lanes.values():
            lane.abandon()

    def _serve(self) -> None:
        try:
            while (run := self._pool.waiting.get()) is not None:
                if run.set_running_or_notify_cancel():
                    self._carry_out(run)
                del run
        finally:
            self._close_lanes()

    def _carry_out(self, run: Run) -> None:
        run.worker = self
        with self._guard:
            self._current = run
        try:
            result = self._insist(run.jobs)
        except BaseException as error:
            outcome: tuple[Any, BaseException | None] = (None, error)
            self._pool.count(fault=isinstance(error, EngineError))
        else:
            outcome = (result if len(run.jobs) > 1 else result[0], None)
            self._pool.count(fault=False)
        with self._guard:
            self._current = None
        run.worker = None
        if outcome[1] is not None:
            run.set_exception(outcome[1])
        else:
            run.set_result(outcome[0])

    def _insist(self, jobs: tuple[Job, ...]) -> tuple[Execution, ...]:
        for _ in range(2):
            with self._pool.gate.shared():
                try:
                    return self._attempt(jobs)
                except EngineError:
                    self._restart()
        with self._pool.gate.alone():
            self._attempt((_CANARY,))
            try:
                return self._attempt(jobs)
            except EngineError as error:
                self._restart()
                canary = self._attempt((_CANARY,))[0]
                if canary.outcome is not Outcome.OK:
                    raise error
                info = ExceptionInfo(type="WorkerLost", message=f"{_FATAL}: {error}")
                return tuple(Execution(outcome=Outcome.SIGNALLED, isolation=canary.isolation, signal=9, exception=info) for _ in jobs)

    def _attempt(self, jobs: tuple[Job, ...]) -> tuple[Execution, ...]:
        """Run one job, or two that are joined by a socket, each in a lane of its own."""
        lanes = [self._lane(name) for name, _ in zip(("program", "grader"), jobs, strict=False)]
        limits = [job.limits or self._pool.limits for job in jobs]
        ends: tuple[socket.socket, ...] = socket.socketpair() if len(jobs) > 1 else ()
        exchanges: list[Exchange] = []
        try:
            exchanges.extend(Exchange(job) for job in jobs)
            for number, lane in enumerate(lanes):
                lane.begin(jobs[number], limits[number], exchanges[number], ends[number].fileno() if ends else -1)
            for end in ends:
                end.close()
            facts = [lanes[-1].finish()]
            if len(lanes) > 1:  # the grader has decided: whatever its candidate still does can't matter
                lanes[0].cancel(_LINGER_S)
                facts.insert(0, lanes[0].finish())
            return tuple(gather(*each) for each in zip(jobs, limits, exchanges, facts, [lane.isolation for lane in lanes], strict=True))
        except OSError as error:
            raise EngineError(f"the host refused what a run needs: {error}") from error
        finally:
            for end in ends:
                end.close()
            for exchange in exchanges:
                exchange.close()

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._pool.make_lane(name)
            with self._guard:
                self._lanes[name] = lane
        return lane

    def _restart(self) -> None:
        self.restarts += 1
        self._close_lanes()

    def _close_lanes(self) -> None:
        with self._guard:
            lanes, self._lanes = list(self._lanes.values()), {}
        for lane in lanes:
            lane.close()


class Pool:
    """The workers of one engine in one process."""

    def __init__(self, *, workers: int, limits: Limits, make_lane: MakeLane) -> None:
        self.limits, self.make_lane = limits, make_lane
        self.waiting: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self.gate = _Gate()
        self._count = threading.Lock()
        self._submitted = self._finished = self._faults = 0
        self._workers = [Worker(self) for _ in range(workers)]
        for worker in self._workers:
            worker.thread.start()

    def submit(self, run: Run) -> None:
        """Queue a run."""
        with self._count:
            self._submitted += 1
        self.waiting.put(run)

    def count(self, *, fault: bool) -> None:
        """Note that a run ended."""
        with self._count:
            self._finished += 1
            self._faults += fault

    def stats(self) -> EngineStats:
        """Counts so far."""
        waiting = self.waiting.qsize()
        with self._count:
            running = max(self._submitted - self._finished - waiting, 0)
            restarts = sum(worker.restarts for worker in self._workers)
            return EngineStats(
                workers=len(self._workers),
                finished=self._finished,
                running=running,
                waiting=waiting,
                restarts=restarts,
                faults=self._faults,
            )

    def close(self) -> None:
        """Cancel what waits, end what runs, stop the workers and everything they started."""
        with contextlib.suppress(queue.Empty):
            while True:
                run = self.waiting.get_nowait()
                if run is not None:
                    run.cancel()
                    run.set_running_or_notify_cancel()
        for worker in self._workers:
            current = worker._current
            if current is not None:
                worker.cancel(current)
            self.waiting.put(None)
        for worker in self._workers:
            if worker.thread is not threading.current_thread():
                worker.thread.join(timeout=30)

    def abandon(self) -> None:
        """In a forked child: let go of the parent's processes."""
        for worker in self._workers:
            worker.abandon()
