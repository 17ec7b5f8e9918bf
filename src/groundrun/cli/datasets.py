"""The benchmarks that `eval` knows by name, and the starter set as one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from groundrun.benchmarks.dataset import Benchmark, Dataset, digest_of
from groundrun.benchmarks.humaneval import load_humaneval
from groundrun.errors import UsageError
from groundrun.starter import StarterProblem, load_starter


def starter_dataset(problems: tuple[StarterProblem, ...]) -> Dataset:
    """The starter set as a data set: its checksum is of what the package holds, so it is always the official one."""
    digest = digest_of(msgspec.json.encode(problems))
    benchmark = Benchmark(
        name="starter", version="1", address="part of the package", licence="Apache-2.0", folder="starter", files=(), sha256=digest
    )
    return Dataset(benchmark=benchmark, problems=tuple(each.problem for each in problems), sha256=digest, path="the package")


def load_starter_dataset(data: Path | None = None) -> Dataset:
    """The problems that come with the package. Raises UsageError when other data are named."""
    if data is not None:
        raise UsageError("the starter problems come with groundrun: leave --data out")
    return starter_dataset(load_starter())


LOADERS: dict[str, Callable[[Path | None], Dataset]] = {"humaneval": load_humaneval, "starter": load_starter_dataset}
