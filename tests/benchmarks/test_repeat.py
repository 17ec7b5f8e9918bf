"""Every program several times: programs that answer by chance are found, and our faults are not mistaken for chance."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from groundrun.benchmarks import runner
from groundrun.benchmarks.dataset import Benchmark, Dataset
from groundrun.benchmarks.store import read_verdicts
from groundrun.engine import Engine
from groundrun.errors import ResumeRefused, UsageError, WorkerDied
from groundrun.judging import Calibration
from groundrun.records import CodeTest, Completion, Outcome, Problem, Verdict
from groundrun.reports.evaluation import render_summary

pytestmark = pytest.mark.exec

BENCHMARK = Benchmark(name="tiny", version="1", address="none", licence="none", folder="tiny", files=("tiny.jsonl",), sha256="0")
TEST = CodeTest(source="def check(candidate):\n    assert candidate(2) == 3\n", call="check")
PROBLEM = Problem(task_id="T/0", prompt="", entry_point="add_one", reference="def add_one(x):\n    return x + 1\n", hidden=(TEST,))
DATASET = Dataset(benchmark=BENCHMARK, problems=(PROBLEM,), sha256="0", path="tiny")
RIGHT = "def add_one(x):\n    return x + 1\n"
BY_CHANCE = "import os\n\ndef add_one(x):\n    return x + os.urandom(1)[0] % 2\n"


def completions(*solutions: str) -> list[Completion]:
    return [Completion(task_id="T/0", text=text, solution=text, sample=number) for number, text in enumerate(solutions)]


class Judge:
    """Stands in for the judge and counts its runs; the answer is a function of how many there were of this program."""

    def __init__(self, decide: Callable[[int], bool | Exception]) -> None:
        self.runs: Counter[str] = Counter()
        self._decide = decide

    async def __call__(self, engine: Engine, problem: Problem, completion: Completion, calibration: Calibration | None = None) -> Verdict:
        source = completion.solution or ""
        self.runs[source] += 1
        answer = self._decide(self.runs[source])
        await asyncio.sleep(0)
        if isinstance(answer, Exception):
            raise answer
        outcome = Outcome.OK if answer else Outcome.RAISED
        return Verdict(task_id="T/0", passed=answer, protected=True, reason="", sample=completion.sample, outcome=outcome)


def test_a_program_that_answers_by_chance_is_found(tmp_path: Path, engine: Engine) -> None:
    """24 runs, each right with one half: all alike once in eight million times."""
    summary = runner.evaluate(DATASET, completions(RIGHT, BY_CHANCE), engine, tmp_path, repeat=24)
    found = {verdict.sample: verdict for verdict in read_verdicts(tmp_path)}
    assert (found[0].passed, found[0].flaky) == (True, False)
    assert (found[1].passed, found[1].flaky) == (False, True)
    assert " of 24 runs passed; " in found[1].reason
    assert (summary.metrics.passed, summary.metrics.flaky, summary.flaky_tasks) == (1, 1, ("T/0",))
    assert "flaky     1, of T/0: " in render_summary(summary)


def test_every_program_runs_so_often_before_it_is_copied(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge(lambda count: True)
    monkeypatch.setattr(runner, "ajudge", judge)
    with Engine(workers=1, isolation="none") as alone:
        summary = runner.evaluate(DATASET, completions(*[RIGHT] * 6), alone, tmp_path, repeat=3)
    assert 3 <= judge.runs[RIGHT] <= 6  # two samples are in flight at once
    assert judge.runs[RIGHT] + 3 * summary.copied == 18
    assert summary.metrics.passed == 6


def test_our_fault_never_makes_a_program_flaky(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice in a row it masks the sample; once it is tried again."""
    monkeypatch.setattr(runner, "ajudge", Judge(lambda count: WorkerDied("jail") if count in (2, 3) else True))
    summary = runner.evaluate(DATASET, completions(RIGHT), engine, tmp_path / "twice", repeat=3)
    (verdict,) = read_verdicts(tmp_path / "twice")
    assert (verdict.passed, verdict.flaky, summary.metrics.masked, summary.flaky_tasks) == (None, False, 1, ())
    monkeypatch.setattr(runner, "ajudge", Judge(lambda count: WorkerDied("jail") if count == 2 else True))
    runner.evaluate(DATASET, completions(RIGHT), engine, tmp_path / "once", repeat=3)
    (verdict,) = read_verdicts(tmp_path / "once")
    assert (verdict.passed, verdict.flaky) == (True, False)


def test_a_run_goes_on_only_with_the_same_number(tmp_path: Path, engine: Engine) -> None:
    runner.evaluate(DATASET, completions(RIGHT), engine, tmp_path, repeat=2)
    with pytest.raises(ResumeRefused, match="repeat 2, now it is 1"):
        runner.evaluate(DATASET, completions(RIGHT), engine, tmp_path)
    assert runner.evaluate(DATASET, completions(RIGHT), engine, tmp_path, repeat=2).judged == 0
    with pytest.raises(UsageError, match="repeat must be at least 1, not 0"):
        runner.evaluate(DATASET, completions(RIGHT), engine, tmp_path, repeat=0)
