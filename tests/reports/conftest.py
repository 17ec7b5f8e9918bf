"""Run folders without running anything: written as the runner writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from groundrun.benchmarks.metrics import measure
from groundrun.benchmarks.store import Gold, RunConfig, RunFolder, RunMetrics, StoredCompletion
from groundrun.records import CpuSource, Isolation, Limits, MemoryGuard, Rung, Verdict

ISOLATION = Isolation(
    rung=Rung.LANDLOCK, memory_guard=MemoryGuard.RLIMIT_AS, cpu_guard=CpuSource.WAIT4, landlock_abi=2, missing=("No disk guard.",)
)
WriteRun = Callable[..., Path]


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """A function that writes a run folder of (source, verdict) pairs; a source without a verdict is one that was not judged yet."""

    def write(
        samples: Sequence[tuple[str, Verdict | tuple[str, int]]],
        *,
        model: str = "some model",
        benchmark: str = "toy 1",
        finished: bool = True,
        gold: Gold | None = None,
        name: str = "run",
    ) -> Path:
        config = RunConfig(
            benchmark=benchmark,
            dataset_sha256="ab" * 32,
            limits=Limits(),
            judge="1",
            isolation=ISOLATION,
            source="samples",
            model=model,
            python="CPython 3.11",
            versions={"groundrun": "0"},
        )
        with RunFolder(tmp_path / name, config) as folder:
            verdicts = []
            for source, found in samples:
                task_id, sample = (found.task_id, found.sample) if isinstance(found, Verdict) else found
                folder.add_completion(StoredCompletion(task_id=task_id, text=source, solution=source, sample=sample, rule="solution"))
                if isinstance(found, Verdict):
                    folder.add_verdict(found)
                    verdicts.append(found)
            if finished:
                total = gold or Gold(passed=1, total=1, protected=1)
                folder.write_metrics(RunMetrics(metrics=measure(verdicts), gold=total))
        return tmp_path / name

    return write
