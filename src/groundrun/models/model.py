"""What a model is to the rest of the house: something that answers a problem.

Promises only the shape: `complete` is awaited once for each sample, in any order and many at a time, and must not block.
A model that can't answer raises; what it answers is data, however bad. Live models (HTTP, local, command) follow this protocol.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from groundrun.records import Completion, Problem


@runtime_checkable
class Model(Protocol):
    """Writes programs. `name` is what a run folder and a report call it."""

    @property
    def name(self) -> str:
        """What a run folder and a report call this model."""

    async def complete(self, problem: Problem, sample: int) -> Completion:
        """Sample number `sample` (from 0) for a problem. `solution` is None when the text still has to be extracted from."""


@runtime_checkable
class FiniteModel(Model, Protocol):
    """A model with only so many answers to a problem: a run asks it for those there are."""

    def available(self, problem: Problem, at_most: int) -> int:
        """How many samples it can give for a problem, counted up to `at_most`."""
