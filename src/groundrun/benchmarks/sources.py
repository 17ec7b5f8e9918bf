"""Where a run's completions come from: a model, a file of samples, an earlier run, or the caller's own list.

Promises: recorded completions are read once before anything starts, so that a mistake in them costs nothing, and each becomes a
whole program by one rule, the same whoever asks.
Does not promise anything of a model's answers; they are made programs as they come.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from groundrun.benchmarks.dataset import Dataset
from groundrun.benchmarks.inventory import Inventory
from groundrun.benchmarks.rejudgement import EarlierRun
from groundrun.benchmarks.samples import SampleSet
from groundrun.benchmarks.store import StoredCompletion
from groundrun.errors import BadInput
from groundrun.models import Model, extract
from groundrun.records import Completion, Problem

Recorded = SampleSet | EarlierRun | Sequence[Completion]
Source = Model | Recorded


def take_inventory(dataset: Dataset, source: Recorded, n: int | None) -> Inventory:
    """The samples that count. Raises `BadInput` for a task that is not in the data, or a sample that is there twice."""
    problems = {problem.task_id: problem for problem in dataset.problems}
    inventory = Inventory("completions given by the caller")
    if isinstance(source, SampleSet | EarlierRun):
        inventory.name = _text(os.fspath(source.path))
    for completion in source:
        if completion.task_id not in problems:
            raise BadInput(completion.task_id, "this task is not in the benchmark")
        if n is None or completion.sample < n:
            inventory.add(make_program(completion, problems))
    return inventory


def make_program(completion: Completion, problems: Mapping[str, Problem]) -> StoredCompletion:
    """A completion with its whole program, as a run folder holds it; one that came from a run folder is left as it is."""
    if isinstance(completion, StoredCompletion) and completion.solution is not None:
        return completion
    problem = problems[completion.task_id]
    solution, rule = completion.solution, "solution"
    if solution is None:
        extraction = extract(completion.text, prompt=problem.prompt, entry_point=problem.entry_point)
        solution, rule = extraction.source, extraction.rule.value
    return StoredCompletion(
        task_id=completion.task_id, text=completion.text, solution=solution, sample=completion.sample, model=completion.model, rule=rule
    )


def describe_source(source: Source) -> str:
    """What run.json calls it: `model:NAME`, `run:NAME` or `samples`."""
    if isinstance(source, Model):
        return f"model:{source.name}"
    return f"run:{_text(source.name)}" if isinstance(source, EarlierRun) else "samples"


def name_model(source: Source) -> str:
    """What reports call the model behind it; an earlier run keeps its own."""
    if isinstance(source, Model):
        return source.name
    if isinstance(source, EarlierRun):
        return source.config.model
    return _text(source.path.name) if isinstance(source, SampleSet) else "samples"


def _text(path: str) -> str:
    """A path as text that JSON can hold, also where its bytes are no UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
