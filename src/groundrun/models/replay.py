"""A model that answers from what another one has already written.

Promises that sample i of a problem is the recorded completion i, unchanged, and that a missing one is an error that names it,
never an empty answer that would score 0. Does not read files: `benchmarks.samples` does, line by line, and the runner takes such a
file without holding all of it; this class holds what it is given, for programs and tests that have their completions in memory.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from groundrun.errors import BadInput
from groundrun.records import Completion, Problem


class Replay:
    """Answers with recorded completions, found by task and sample number."""

    def __init__(self, completions: Iterable[Completion], *, name: str = "replay") -> None:
        self.name = name
        self._recorded: dict[tuple[str, int], Completion] = {}
        for completion in completions:
            key = (completion.task_id, completion.sample)
            if key in self._recorded:
                raise BadInput(name, f"sample {completion.sample} of {completion.task_id} is there twice", hint="number the samples from 0")
            self._recorded[key] = completion

    async def complete(self, problem: Problem, sample: int) -> Completion:
        """The recorded completion. Raises `BadInput` when there is none."""
        found = self._recorded.get((problem.task_id, sample))
        if found is None:
            raise BadInput(
                self.name, f"sample {sample} of {problem.task_id} was not recorded", hint="ask for fewer samples or fewer problems"
            )
        return msgspec.structs.replace(found, model=found.model or self.name)
