"""An earlier run as a source, and the list of what judging again changed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from groundrun.benchmarks import runner
from groundrun.benchmarks.dataset import Benchmark, Dataset
from groundrun.benchmarks.rejudgement import Answer, EarlierRun, list_changed, read_answers
from groundrun.benchmarks.store import read_completions, read_config, read_verdicts
from groundrun.engine import Engine
from groundrun.errors import BadInput, ResumeRefused
from groundrun.models import Oracle
from groundrun.records import CodeTest, Completion, Outcome, Problem

BENCHMARK = Benchmark(name="tiny", version="1", address="none", licence="none", folder="tiny", files=("tiny.jsonl",), sha256="0")
TEST = CodeTest(source="def check(candidate):\n    assert candidate(2) == 3\n", call="check")
RIGHT = "def add_one(x):\n    return x + 1\n"
PROBLEMS = tuple(Problem(task_id=f"T/{number}", prompt="", entry_point="add_one", reference=RIGHT, hidden=(TEST,)) for number in range(3))
DATASET = Dataset(benchmark=BENCHMARK, problems=PROBLEMS, sha256="0", path="tiny")
PASSED = Answer(passed=True, outcome=Outcome.OK, protected=True, reason="every test passed")
FAILED = msgspec.structs.replace(PASSED, passed=False, reason="a test failed")


@pytest.mark.exec
def test_everything_but_the_verdicts_is_taken_over(tmp_path: Path, engine: Engine) -> None:
    """Text, program, rule, number; the model keeps its name, and the new run knows the old one."""
    replies = [Completion(task_id=f"T/{number}", text=f"Sure:\n```python\n{RIGHT}```\nDone.", sample=4, model="m") for number in range(2)]
    first = runner.evaluate(DATASET, replies, engine, tmp_path / "first", model="a model", seed=5)
    before = (tmp_path / "first" / "completions.jsonl").read_bytes()
    again = runner.evaluate(DATASET, EarlierRun(tmp_path / "first"), engine, tmp_path / "again", seed=5)
    assert sorted((tmp_path / "again" / "completions.jsonl").read_bytes().splitlines()) == sorted(before.splitlines())
    assert (tmp_path / "first" / "completions.jsonl").read_bytes() == before
    assert again.config.source == "run:first"
    assert again.config.samples and again.config.samples.name == str(tmp_path / "first")
    assert (again.config.model, again.config.seed, again.rules, again.metrics) == ("a model", 5, first.rules, first.metrics)
    assert again.rules == {"fence": 2}


class Stopper:
    """Interrupts a run after its first verdict."""

    def begin(self, *, total: int, done: int) -> None:
        pass

    def advance(self, verdict: object) -> None:
        raise asyncio.CancelledError

    def note(self, message: str) -> None:
        pass


@pytest.mark.exec
def test_an_interrupted_run_gives_what_it_has(tmp_path: Path, engine: Engine) -> None:
    """And judging it again is itself gone on with, until the old run has more."""
    with pytest.raises(asyncio.CancelledError):
        runner.evaluate(DATASET, Oracle(), engine, tmp_path / "first", n=4, progress=Stopper())
    stored = len(list(read_completions(tmp_path / "first")))
    assert 1 <= stored < 12
    with pytest.raises(asyncio.CancelledError):
        runner.evaluate(DATASET, EarlierRun(tmp_path / "first"), engine, tmp_path / "again", progress=Stopper())
    again = runner.evaluate(DATASET, EarlierRun(tmp_path / "first"), engine, tmp_path / "again")
    assert (again.judged + again.resumed, again.metrics.passed) == (stored, stored)
    assert again.config.model == read_config(tmp_path / "first").model == "oracle"
    runner.evaluate(DATASET, Oracle(), engine, tmp_path / "first", n=4)
    assert runner.evaluate(DATASET, EarlierRun(tmp_path / "first"), engine, tmp_path / "again").metrics.passed == 12


@pytest.mark.exec
def test_a_run_that_is_still_written_gives_what_it_had(tmp_path: Path, engine: Engine) -> None:
    """Each time it is iterated; opened again, it gives what has come since, and judging goes on with that."""
    runner.evaluate(DATASET, Oracle(), engine, tmp_path / "first", n=2)
    file, torn = tmp_path / "first" / "completions.jsonl", b'{"task_id":"T/'
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:4]) + torn)
    live = EarlierRun(tmp_path / "first")
    seen = iter(live)
    next(seen)
    file.write_bytes(b"".join(lines))
    assert len([*seen]) == 3 and len([*live]) == 4
    assert runner.evaluate(DATASET, live, engine, tmp_path / "again").metrics.samples == 4
    later = runner.evaluate(DATASET, EarlierRun(tmp_path / "first"), engine, tmp_path / "again")
    assert (later.resumed, later.judged) == (4, 2)


@pytest.mark.exec
def test_another_run_does_not_go_into_the_same_folder(tmp_path: Path, engine: Engine) -> None:
    for name in ("one", "two"):
        runner.evaluate(DATASET, Oracle(), engine, tmp_path / name)
    runner.evaluate(DATASET, EarlierRun(tmp_path / "one"), engine, tmp_path / "again")
    with pytest.raises(ResumeRefused, match=r"run:one.*run:two"):
        runner.evaluate(DATASET, EarlierRun(tmp_path / "two"), engine, tmp_path / "again")
    with pytest.raises(ResumeRefused, match="cpu_s"):
        runner.evaluate(DATASET, EarlierRun(tmp_path / "one"), engine, tmp_path / "again", limits={"cpu_s": 1.0})


@pytest.mark.unit
def test_what_is_no_run_is_one_clear_line(tmp_path: Path) -> None:
    """A file, nothing at all, another folder, and a run that has no completion yet."""
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "nothing", tmp_path):
        with pytest.raises(BadInput, match=rf"^{place}: this is no run folder: it has no run.json"):
            EarlierRun(place)
    config = msgspec.json.encode(
        {
            "benchmark": "tiny 1",
            "dataset_sha256": "0",
            "limits": {},
            "judge": "1",
            "isolation": {"rung": "none", "memory_guard": "nothing", "cpu_guard": "nothing"},
            "source": "samples",
            "model": "m",
            "python": "3",
        }
    )
    (tmp_path / "run.json").write_bytes(config)
    with pytest.raises(BadInput, match="holds no completions yet"):
        EarlierRun(tmp_path)


@pytest.mark.exec
def test_answers_are_read_by_sample(tmp_path: Path, engine: Engine) -> None:
    wrong = Completion(task_id="T/0", text="", solution="def add_one(x):\n    return x\n", sample=1)
    runner.evaluate(DATASET, [Completion(task_id="T/0", text=RIGHT, solution=RIGHT), wrong], engine, tmp_path)
    answers = read_answers(read_verdicts(tmp_path))
    assert {key: answer.passed for key, answer in answers.items()} == {("T/0", 0): True, ("T/0", 1): False}


@pytest.mark.unit
def test_changes_are_listed_with_their_causes() -> None:
    """What is the same is not listed; what was not there is counted."""
    slow = msgspec.structs.replace(FAILED, outcome=Outcome.CPU_LIMIT)
    masked = msgspec.structs.replace(FAILED, passed=None, outcome=Outcome.NOT_RUN)
    before = {("a", 0): PASSED, ("b", 0): slow, ("c", 0): masked, ("d", 0): PASSED, ("e", 0): FAILED}
    after = {
        ("a", 0): msgspec.structs.replace(PASSED, reason="other words"),
        ("b", 0): PASSED,
        ("c", 0): PASSED,
        ("d", 0): msgspec.structs.replace(FAILED, flaky=True),
        ("e", 0): slow,
        ("f", 0): PASSED,
    }
    found = list_changed(before, after, settings=("the limit cpu_s differs: 1 in A, 2 in B",))
    assert (found.compared, found.new) == (5, 1)
    assert {change.task_id: change.why for change in found.changes} == {
        "b": ("the limit cpu_s differs: 1 in A, 2 in B", "before it ran into the cpu limit"),
        "c": ("it was masked before: our fault",),
        "d": ("the program is flaky: its runs disagree", "the limit cpu_s differs: 1 in A, 2 in B"),
        "e": ("the limit cpu_s differs: 1 in A, 2 in B", "now it ran into the cpu limit"),
    }
    assert [change.flipped for change in found.changes] == [True, True, True, False]


@pytest.mark.unit
def test_without_a_cause_it_says_so() -> None:
    """And what can be tried."""
    (change,) = list_changed({("a", 0): PASSED}, {("a", 0): FAILED}).changes
    assert change.why == ("no setting changed: the program may be nondeterministic, which --repeat can show",)
