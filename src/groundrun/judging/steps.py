"""Judging as a plan: a generator that yields what is to be run next and receives what came of it.

So the order of a judgement is written once, without caring whether somebody waits for it, awaits it, or left a future.

No time limit is decided while other programs run beside: a candidate may first use a quarter more processor time than its limit; one that
ends in that band, or that the wall clock cut while it was computing, is run once more, alone, and that decides. (Band and shares are ours.)
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Generator
from typing import Any, TypeVar

import msgspec

from groundrun.engine import Engine, Job
from groundrun.records import Execution, Limits, Outcome

T = TypeVar("T")


_BAND = 1.25  # times the limit: what contention adds to processor time on shared caches, generously
_COMPUTING = 0.5  # of the CPU limit used when the wall clock struck: it was computing, not sleeping


class Pair(msgspec.Struct, frozen=True):
    """A candidate and its grader, to be run at once in two jails."""

    candidate: Job
    grader: Job


class Alone(msgspec.Struct, frozen=True):
    """A step to be run while nothing else of the engine does."""

    step: Job | Pair


Step = Job | Pair | Alone
Plan = Generator[Step, tuple[Execution, ...], T]


def carry_out(engine: Engine, plan: Plan[T]) -> T:
    """Run a plan to its end and give its result. Raises EngineError when the engine does."""
    plan = _decide_limits(engine, plan)
    try:
        step = next(plan)
        while True:
            run = _start(engine, step)
            try:
                done = run.result()
            except BaseException:
                run.cancel()
                raise
            step = plan.send(_as_tuple(done))
    except StopIteration as end:
        result: T = end.value
        return result


async def acarry_out(engine: Engine, plan: Plan[T]) -> T:
    """`carry_out` for asyncio."""
    import asyncio

    plan = _decide_limits(engine, plan)
    try:
        step = next(plan)
        while True:
            step = plan.send(_as_tuple(await asyncio.wrap_future(_start(engine, step))))
    except StopIteration as end:
        result: T = end.value
        return result


def _start(engine: Engine, step: Step) -> concurrent.futures.Future[Any]:
    alone = isinstance(step, Alone)
    inner = step.step if isinstance(step, Alone) else step
    if isinstance(inner, Pair):
        return engine.submit_pair(inner.candidate, inner.grader, alone=alone)
    return engine.submit(inner, alone=alone)


def _as_tuple(done: Any) -> tuple[Execution, ...]:
    return done if isinstance(done, tuple) else (done,)


def _decide_limits(engine: Engine, plan: Plan[T]) -> Plan[T]:
    """The same plan, with every step near a time limit run again alone."""
    try:
        step = next(plan)
        while True:
            inner = step.step if isinstance(step, Alone) else step
            job = inner.candidate if isinstance(inner, Pair) else inner
            limits = job.limits or engine.limits
            patient = msgspec.structs.replace(job, limits=msgspec.structs.replace(limits, cpu_s=limits.cpu_s * _BAND))
            done = yield Pair(patient, inner.grader) if isinstance(inner, Pair) else patient
            if _is_near(done[0], limits):
                done = yield Alone(inner)
            step = plan.send(done)
    except StopIteration as end:
        result: T = end.value
        return result


def _is_near(execution: Execution, limits: Limits) -> bool:
    used = execution.cost.cpu_s
    if execution.outcome is Outcome.WALL_LIMIT:
        return used >= _COMPUTING * limits.cpu_s
    return used > limits.cpu_s and execution.outcome is not Outcome.CPU_LIMIT


def submit(engine: Engine, plan: Plan[T]) -> concurrent.futures.Future[T]:
    """Start a plan; its steps are queued one after the other by the engine's own threads. Cancelling ends the step that runs."""
    promise = _Promise[T](engine, _decide_limits(engine, plan))
    promise.go_on(None)
    return promise


class _Promise(concurrent.futures.Future[T]):
    """The result of a plan. `_step` is the future of the step that runs now."""

    def __init__(self, engine: Engine, plan: Plan[T]) -> None:
        super().__init__()
        self._engine, self._plan = engine, plan
        self._step: concurrent.futures.Future[Any] | None = None
        self._guard = threading.Lock()

    def cancel(self) -> bool:
        """Cancel the plan, and the step that runs."""
        with self._guard:
            cancelled = super().cancel()
            step = self._step
        if cancelled and step is not None:
            step.cancel()
        return cancelled

    def go_on(self, done: concurrent.futures.Future[Any] | None) -> None:
        """Take the next step with what the last one gave."""
        if self.cancelled():
            return
        try:
            if done is None:
                step = next(self._plan)
            else:
                step = self._plan.send(_as_tuple(done.result()))
            with self._guard:
                if self.cancelled():
                    return
                following = self._step = _start(self._engine, step)
        except StopIteration as end:
            self._settle(end.value, None)
        except BaseException as error:
            self._settle(None, error)
        else:
            following.add_done_callback(self.go_on)

    def _settle(self, value: Any, error: BaseException | None) -> None:
        with self._guard:
            if self.cancelled():
                return
            if error is not None:
                self.set_exception(error)
            else:
                self.set_result(value)
