"""Workers: one thread each, which drives a lane for programs and, when something is judged, a second one for the grader.

A worker runs one task at a time. What goes wrong on our side is retried on a fresh lane; a program that takes its worker
down twice is run alone between two known-good canaries, so that a fault of the host is told from a program that is fatal:
the first is an `EngineError`, the second that program's own outcome.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from groundrun.engine.attempt import Attempt, Watcher
from groundrun.engine.job import Job
from groundrun.engine.lane import Lane
from groundrun.errors import EngineClosed, EngineError
from groundrun.records import ExceptionInfo, Execution, Limits, Outcome, Program

MakeLane = Callable[[str], Lane]
_CANARY = Job(program=Program("print(6 * 7)"), limits=Limits(cpu_s=10, wall_s=60))
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

    def __init__(self, jobs: tuple[Job, ...], *, alone: bool = False, watcher: Watcher | None = None) -> None:
        super().__init__()
        self.watcher = watcher
        self.jobs = jobs
        self.alone = alone
        self.worker: Worker | None = None
        self.unwanted = False

    def cancel(self) -> bool:
        """Cancel a waiting run, or end a running one. False only when it had finished."""
        if super().cancel():
            return True
        if self.done():
            return False
        self.unwanted = True  # whoever begins it looks here right afterwards
        worker = self.worker
        if worker is not None:
            worker.cancel(self)
        return True


class _Gate:
    """Many may pass at once, or one alone."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inside = 0
        self._alone = False

    def enter(self, *, wait: bool = True) -> bool:
        """Pass, after whoever wants to be alone; without waiting: False when somebody does."""
        with self._condition:
            if self._alone and not wait:
                return False
            self._condition.wait_for(lambda: not self._alone)
            self._inside += 1
        return True

    def leave(self) -> None:
        with self._condition:
            self._inside -= 1
            if self._alone:
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
    """One thread and its lanes.

    The next run is begun before the last one's result is handed over, so that the lanes don't wait for whoever waits for it; but only once
    the last one is over: a run taken earlier would wait behind a long one while another worker is idle.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lanes: dict[str, Lane] = {}
        self._current: Run | None = None
        self._guard = threading.Lock()
        self.restarts = 0
        self.thread = threading.Thread(target=self._serve, name="groundrun-worker", daemon=True)

    def cancel(self, run: Run | None = None) -> None:
        """End `run` if it is what this worker is running; without one, whatever it is running."""
        with self._guard:
            if self._current is not None and run in (None, self._current):
                for lane in self._lanes.values():
                    lane.cancel()

    def abandon(self) -> None:
        """In a forked child: close inherited descriptors without touching the parent's processes."""
        for lane in self._lanes.values():
            lane.abandon()

    def _serve(self) -> None:
        begun: tuple[Run, Attempt | None] | None = None
        try:
            while True:
                if begun is None:
                    run = self._pool.waiting.get()
                    if run is None:
                        return
                    begun = (run, None) if self._pool.admit(run) else None
                else:
                    begun = self._carry_out(*begun)
        finally:
            self._close_lanes()

    def _carry_out(self, run: Run, attempt: Attempt | None) -> tuple[Run, Attempt | None] | None:
        """Bring one run to its end; what was begun meanwhile."""
        following = None
        result: tuple[Execution, ...] = ()
        fault: BaseException | None = None
        try:
            try:
                if attempt is None and run.alone:
                    with self._pool.gate.alone():
                        result = self._try(run.jobs, run)
                else:
                    if attempt is None:
                        self._pool.gate.enter()
                        attempt = self._begin(run)
                    attempt.finish()
            except EngineError:
                self._put_away(attempt)
                attempt = None
                result = self._insist(run)
            else:
                if attempt is not None:  # read and closed first: what it holds is charged to the cgroup of the next one
                    result = attempt.gather()
                    attempt.close()
                following = self._look_ahead()
        except BaseException as error:
            fault = error
        if attempt is not None:
            attempt.close()
            self._pool.gate.leave()
        run.worker = None
        self._pool.count(fault=isinstance(fault, EngineError))
        if fault is not None:
            run.set_exception(fault)
        else:
            run.set_result(result if len(run.jobs) > 1 else result[0])
        return following

    def _begin(self, run: Run) -> Attempt:
        """Start a run in lanes that are alive, inside the gate; leaves the gate when it can't."""
        try:
            attempt = self._attempt(run.jobs, run)
        except BaseException:
            self._pool.gate.leave()
            raise
        return attempt

    def _look_ahead(self) -> tuple[Run, Attempt | None] | None:
        with self._guard:
            self._current = None
        if not self._pool.gate.enter(wait=False):
            return None
        try:
            run = self._pool.waiting.get_nowait()
        except queue.Empty:
            run = None
        else:
            if run is None:
                self._pool.waiting.put(None)
            elif not self._pool.admit(run):
                run = None
        if run is None or run.alone:
            self._pool.gate.leave()
            return None if run is None else (run, None)
        try:
            return run, self._begin(run)
        except EngineError:
            self._restart()
        except BaseException as error:
            self._pool.count(fault=False)
            run.set_exception(error)
            return None
        return run, None

    def _put_away(self, attempt: Attempt | None) -> None:
        if attempt is not None:
            attempt.close()
            self._pool.gate.leave()
        self._restart()

    def _insist(self, run: Run) -> tuple[Execution, ...]:
        """After a first fault: once more; then alone between two canaries. Raises EngineError when the fault is the host's or ours."""
        self._pool.gate.enter()
        try:
            return self._try(run.jobs, run)
        except EngineError:
            self._restart()
        finally:
            self._pool.gate.leave()
        with self._pool.gate.alone():
            try:
                self._try((_CANARY,))
                return self._try(run.jobs, run)
            except EngineError as error:
                self._restart()
                canary = self._try((_CANARY,))[0]
                if canary.outcome is not Outcome.OK:
                    raise error
                info = ExceptionInfo(type="WorkerLost", message=f"{_FATAL}: {error}")
                return tuple(Execution(outcome=Outcome.SIGNALLED, isolation=canary.isolation, signal=9, exception=info) for _ in run.jobs)

    def _try(self, jobs: tuple[Job, ...], run: Run | None = None) -> tuple[Execution, ...]:
        attempt = self._attempt(jobs, run)
        try:
            attempt.finish()
            return attempt.gather()
        finally:
            attempt.close()

    def _attempt(self, jobs: tuple[Job, ...], run: Run | None) -> Attempt:
        lanes = [self._lane(name) for name, _ in zip(("program", "grader"), jobs, strict=False)]
        limits = [job.limits or self._pool.limits for job in jobs]
        try:
            attempt = Attempt(jobs, limits, lanes, run.watcher if run is not None else None)
        except EngineError:
            raise
        except BaseException:
            self._close_lanes()  # one of them may have begun
            raise
        with self._guard:
            self._current = run
        if run is not None:
            run.worker = self
            if run.unwanted or self._pool.closing:
                self.cancel(run)
        return attempt

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
        self.closing = False
        self.waiting: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self.gate = _Gate()
        self._count = threading.Lock()
        self._submitted = self._finished = self._faults = 0
        self._workers = [Worker(self) for _ in range(workers)]
        for worker in self._workers:
            worker.thread.start()

    def submit(self, run: Run) -> None:
        """Queue a run. Raises EngineClosed when the pool is closing."""
        with self._count:
            if self.closing:
                raise EngineClosed
            self._submitted += 1
            self.waiting.put(run)

    def admit(self, run: Run) -> bool:
        """Whether a run that was waiting is still wanted; it then counts as running."""
        if run.set_running_or_notify_cancel():
            return True
        self.count(fault=False)
        return False

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
        with self._count:
            self.closing = True
        with contextlib.suppress(queue.Empty):
            while True:
                run = self.waiting.get_nowait()
                if run is not None:
                    run.cancel()
                    self.admit(run)
        for worker in self._workers:
            worker.cancel()
            self.waiting.put(None)
        for worker in self._workers:
            if worker.thread is not threading.current_thread():
                worker.thread.join(timeout=30)

    def abandon(self) -> None:
        """In a forked child: let go of the parent's processes."""
        for worker in self._workers:
            worker.abandon()
