"""Judging as a plan: a generator that yields what is to be run next and receives what came of it.

So the order of a judgement is written once, without caring whether somebody waits for it, awaits it, or left a future.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Generator
from typing import Any, TypeVar

import msgspec

from groundrun.engine import Engine, Job
from groundrun.records import Execution

T = TypeVar("T")


class Pair(msgspec.Struct, frozen=True):
    """A candidate and its grader, to be run at once in two jails."""

    candidate: Job
    grader: Job


Step = Job | Pair
Plan = Generator[Step, tuple[Execution, ...], T]


def carry_out(engine: Engine, plan: Plan[T]) -> T:
    """Run a plan to its end and give its result. Raises EngineError when the engine does."""
    try:
        step = next(plan)
        while True:
            step = plan.send(engine.run_pair(step.candidate, step.grader) if isinstance(step, Pair) else (engine.run(step),))
    except StopIteration as end:
        result: T = end.value
        return result


async def acarry_out(engine: Engine, plan: Plan[T]) -> T:
    """`carry_out` for asyncio."""
    try:
        step = next(plan)
        while True:
            if isinstance(step, Pair):
                done: tuple[Execution, ...] = await engine.arun_pair(step.candidate, step.grader)
            else:
                done = (await engine.arun(step),)
            step = plan.send(done)
    except StopIteration as end:
        result: T = end.value
        return result


def submit(engine: Engine, plan: Plan[T]) -> concurrent.futures.Future[T]:
    """Start a plan; its steps are queued one after the other by the engine's own threads. Cancelling ends the step that runs."""
    promise = _Promise[T](engine, plan)
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
                result = done.result()
                step = self._plan.send(result if isinstance(result, tuple) else (result,))
            with self._guard:
                if self.cancelled():
                    return
                if isinstance(step, Pair):
                    self._step = self._engine.submit_pair(step.candidate, step.grader)
                else:
                    self._step = self._engine.submit(step)
                following = self._step
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
