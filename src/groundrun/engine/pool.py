"""Workers: one thread each, which drives a lane for programs and, when something is judged, a second one for the grader.

A worker runs one task at a time. What goes wrong on our side is retried on a fresh lane; a program that takes its worker
down twice is run alone between two known-good canaries, so that a fault of the host is told from a program that is fatal:
the first is an `EngineError`, the second that program's own outcome.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import queue
import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from groundrun.engine.attempt import Attempt, Watcher
from groundrun.engine.exhaustion import host_may_refuse
from groundrun.engine.job import COUNTING_GUEST, Job
from groundrun.engine.lanes import COUNTING, GRADER, PROGRAM, FlavourStats, Lanes, MakeLane, Warmth
from groundrun.engine.standing import Standing
from groundrun.engine.tree import Tree
from groundrun.errors import DiskFull, EngineClosed, EngineError, HostExhausted
from groundrun.records import ExceptionInfo, Execution, Limits, Outcome, Program, Rung

_CANARY = Job(program=Program("print(6 * 7)"), limits=Limits(cpu_s=10, wall_s=60))
_FATAL = "the program took its worker down three times while known-good programs before and after it ran well"


class EngineStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the engine was made: `faults` are ours and reached a caller, `restarts` were mended silently.

    `cold_imports`: runs whose program itself imported what a flavour could have held, because that flavour could not be had.
    `flavours`: what is warm now.
    `sessions`: slots of sessions that are open now.
    """

    workers: int
    finished: int
    running: int
    waiting: int
    restarts: int
    faults: int
    cold_imports: int = 0
    flavours: tuple[FlavourStats, ...] = ()
    sessions: int = 0


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

    def __init__(self, pool: Pool, core: int | None) -> None:
        self._pool = pool
        self._core = core
        self.lanes = Lanes(pool.make_lane, pool.warmth)
        self._standing: Standing | None = None
        self._current: Run | None = None
        self._guard = threading.Lock()
        self.restarts = 0
        self.thread = threading.Thread(target=self._serve, name="groundrun-worker", daemon=True)

    def cancel(self, run: Run | None = None) -> None:
        """End `run` if it is what this worker is running; without one, whatever it is running."""
        with self._guard:
            if self._current is not None and run in (None, self._current):
                self.lanes.cancel()

    def abandon(self) -> None:
        """In a forked child: close inherited descriptors without touching the parent's processes."""
        if self._standing is not None:
            self._standing.abandon()
        self.lanes.abandon()

    def _serve(self) -> None:
        begun: tuple[Run, Attempt | None] | None = None
        if self._core is not None:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, {self._core})  # of this thread and of the lanes that it starts
        try:
            while True:
                if begun is None:
                    try:
                        run = self._pool.waiting.get(timeout=self.lanes.patience())
                    except queue.Empty:
                        self.lanes.retire(idle=True)
                        continue
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
            except DiskFull:
                raise
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
        self.lanes.retire(idle=following is None)
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
        except HostExhausted:  # not for what the program is, but for what its run needs: no canary can tell
            self._restart()
            raise
        except EngineError:
            self._restart()
        finally:
            self._pool.gate.leave()
        canary_job = self._canary(run.jobs[0])
        with self._pool.gate.alone():
            try:
                self._try((canary_job,))
                return self._try(run.jobs, run)
            except HostExhausted:
                self._restart()
                raise
            except EngineError as error:
                self._restart()
                canary = self._try((canary_job,))[0]
                if canary.outcome is not Outcome.OK:
                    raise error
                info = ExceptionInfo(type="WorkerLost", message=f"{_FATAL}: {error}")
                return tuple(Execution(outcome=Outcome.SIGNALLED, isolation=canary.isolation, signal=9, exception=info) for _ in run.jobs)

    def _canary(self, job: Job) -> Job:
        """A known-good program for the lane that `job` runs in."""
        return msgspec.structs.replace(_CANARY, flavour=self._pool.warmth.choose(job, PROGRAM).flavour.name)

    def _try(self, jobs: tuple[Job, ...], run: Run | None = None) -> tuple[Execution, ...]:
        attempt = self._attempt(jobs, run)
        try:
            attempt.finish()
            return attempt.gather()
        finally:
            attempt.close()

    @host_may_refuse()
    def _attempt(self, jobs: tuple[Job, ...], run: Run | None) -> Attempt:
        limits = [job.limits or self._pool.limits for job in jobs]
        standing = self._stand(jobs[1], limits[1]) if len(jobs) > 1 else None
        counted = jobs[0].guest == COUNTING_GUEST  # in a zygote that did nothing else, so that what it has imported never varies
        roles = (COUNTING,) if counted else (PROGRAM,) if standing is not None else (PROGRAM, GRADER)
        lanes = self.lanes.take(jobs, roles=roles, kept=standing.lane if standing is not None else None)
        try:
            attempt = Attempt(jobs, limits, lanes, standing, run.watcher if run is not None else None)
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

    def _stand(self, job: Job, limits: Limits) -> Standing | None:
        """Who serves as the second of a pair, None for a run of its own; one that serves another job makes way."""
        standing = self._standing
        if standing is not None and not self.lanes.has(standing.lane):
            standing.abandon()
            standing = self._standing = None
        if standing is not None and not (job.standing and standing.fits(job)):
            self._standing = None
            standing.close()
        if job.standing and self._standing is None:
            (lane,) = self.lanes.take((job,), roles=(GRADER,))
            if lane.isolation.rung is not Rung.NONE:
                self._standing = Standing(job, limits, lane)
        return self._standing

    def _restart(self) -> None:
        self.restarts += 1
        self._close_lanes()

    def _close_lanes(self) -> None:
        standing, self._standing = self._standing, None
        if standing is not None:
            standing.abandon()
        self.lanes.close()


def _choose_cores(workers: int) -> list[int | None]:
    """A core for each worker where there are as many of both: what a run wakes one after another then stays in one cache.

    Fewer workers are left to the kernel: those of another process might choose the same.
    """
    cores = sorted(os.sched_getaffinity(0))
    return list(cores) if workers == len(cores) else [None] * workers


class Pool:
    """The workers of one engine in one process."""

    def __init__(self, *, workers: int, limits: Limits, make_lane: MakeLane, warmth: Warmth) -> None:
        self.limits, self.make_lane, self.warmth = limits, make_lane, warmth
        self.closing = False
        self.waiting: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self.gate = _Gate()
        self._count = threading.Lock()
        self._submitted = self._finished = self._faults = 0
        self._trees: set[Tree] = set()
        self._workers = [Worker(self, core) for core in _choose_cores(workers)]
        for worker in self._workers:
            worker.thread.start()

    def submit(self, run: Run) -> None:
        """Queue a run. Raises EngineClosed when the pool is closing."""
        with self._count:
            if self.closing:
                raise EngineClosed
            self._submitted += 1
            self.waiting.put(run)

    def adopt(self, tree: Tree) -> None:
        """Close this session's slot with the pool. Raises EngineClosed when the pool is closing."""
        with self._count:
            if self.closing:
                raise EngineClosed
            self._trees.add(tree)

    def dismiss(self, tree: Tree) -> None:
        """Forget a slot that has ended."""
        with self._count:
            self._trees.discard(tree)

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
                cold_imports=sum(worker.lanes.cold_imports for worker in self._workers),
                flavours=self.warmth.describe([each for worker in self._workers for each in worker.lanes.resident()]),
                sessions=len(self._trees),
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
        for tree in list(self._trees):
            tree.shut("its engine was closed")
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
        for tree in self._trees:
            tree.abandon()
