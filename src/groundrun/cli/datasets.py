"""The benchmarks that `eval` knows by name, and the starter set as one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from groundrun.benchmarks.dataset import Benchmark, Dataset, digest_of
from groundrun.benchmarks.evalplus import load_humaneval_plus, load_mbpp_plus
from groundrun.benchmarks.humaneval import load_humaneval
from groundrun.benchmarks.mbpp import load_mbpp, load_mbpp_sanitized, load_mbpp_test
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


LOADERS: dict[str, Callable[[Path | None], Dataset]] = {
    "humaneval": load_humaneval,
    "humaneval_plus": load_humaneval_plus,
    "mbpp": load_mbpp,
    "mbpp_plus": load_mbpp_plus,
    "mbpp_sanitized": load_mbpp_sanitized,
    "mbpp_test": load_mbpp_test,
    "starter": load_starter_dataset,
}
VERSIONED = {"humaneval_plus": load_humaneval_plus, "mbpp_plus": load_mbpp_plus}


def load_benchmark(name: str, data: Path | None = None, *, version: str | None = None, compat: str = "") -> Dataset:
    """The data set of a benchmark that `LOADERS` knows. version, compat: only of benchmarks that have several.

    Raises UsageError for a name, version or compat that isn't known, and what the loader raises.
    """
    if name not in LOADERS:
        raise UsageError(f"no benchmark {name!r}: known are {', '.join(sorted(LOADERS))}")
    if name in VERSIONED:
        return VERSIONED[name](data, version=version, compat=compat)
    if version is not None or compat:
        asked = f"version {version!r}" if version is not None else f"compat {compat!r}"
        raise UsageError(f"{name} has one version and no compat mode, so no {asked}: {', '.join(VERSIONED)} have")
    return LOADERS[name](data)
