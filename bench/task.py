"""One program of the race in every form that a contestant needs, and how it is read from the order of a row.

`program` is the solution followed by its test and the call `check(entry_point)`: contestants that run whole programs get this text.
The others get `solution`, `check` and `entry_point` apart, or `inputs` (one list of arguments a call) for those that compare
what a function returns with recorded values.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One problem's reference solution and its test."""

    task_id: str
    solution: str
    check: str
    entry_point: str
    inputs: list[list[Any]] | None = None
    tolerance: float = 0.0

    @property
    def program(self) -> str:
        """The text that runs the test and fails with an exception when the solution is wrong."""
        return f"{self.solution}\n{self.check}\ncheck({self.entry_point})\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one row process has to do. `cgroup` and `cpu_file` are None where the host delegates no processor accounting."""

    contestant: str
    workers: int
    passes: int
    tasks: list[Task]
    cgroup: str | None
    cpu_file: str | None


def read_order(path: Path) -> Order:
    """The order that the race left in a file."""
    found = json.loads(path.read_text(encoding="utf-8"))
    tasks = [Task(**task) for task in found.pop("tasks")]
    return Order(tasks=tasks, **found)
