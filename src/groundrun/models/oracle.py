"""The baseline that can't be beaten: answers every problem with its own reference solution.

Promises that a score below 100 with this model is a fault of the environment or the data, never of a model.
Does not see tests: only `Problem.reference`.
"""

from __future__ import annotations

from groundrun.errors import BadInput
from groundrun.records import Completion, Problem


class Oracle:
    """Answers with the reference."""

    name = "oracle"

    async def complete(self, problem: Problem, sample: int) -> Completion:
        """The reference, whole. Raises `BadInput` for a problem that has none."""
        if problem.reference is None:
            raise BadInput(problem.task_id, "this problem has no reference solution", hint="the oracle needs one: choose another model")
        return Completion(task_id=problem.task_id, text=problem.reference, solution=problem.reference, sample=sample, model=self.name)
