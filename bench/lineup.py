"""What a contestant brings to the race: how it checks a task, and the pool that keeps the workers busy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass

from bench.task import Task

Check = Callable[[Task], bool]
"""True when the task's solution passed its test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineup:
    """A contestant that is ready. `waits`: all its processes are gone, and waited for, when `check` returns."""

    tasks: Sequence[Task]
    check: Check
    pool: Executor
    waits: bool = False


Contestant = Callable[[Sequence[Task], int], AbstractContextManager[Lineup]]
"""Prepares a contestant for these tasks and that many checks at once. Raises Missing."""


class Missing(Exception):
    """This contestant can't run here; the message is a sentence that says why and what to do."""
