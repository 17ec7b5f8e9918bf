"""The runner with a judge that the tests steer: what is asked, stored, masked, copied and gone on with."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from groundrun.benchmarks import runner
from groundrun.benchmarks.dataset import Benchmark, Dataset
from groundrun.benchmarks.samples import SampleSet
from groundrun.benchmarks.store import read_completions, read_config, read_verdicts
from groundrun.engine import Engine
from groundrun.errors import BadInput, ResumeRefused, UsageError, WorkerDied
from groundrun.judging import Calibration, acalibrate
from groundrun.models import Oracle, Replay
from groundrun.records import CodeTest, Completion, Limits, Outcome, Problem, Verdict

pytestmark = pytest.mark.exec

ROOT = Path(__file__).parents[2]
BENCHMARK = Benchmark(name="tiny", version="1", address="none", licence="none", folder="tiny", files=("tiny.jsonl",), sha256="0")
TESTS = "def check(candidate):\n    assert candidate(2) == 3\n"


def problem(number: int) -> Problem:
    prompt = f"def add_one(x):\n    '''Problem {number}.'''\n"
    hidden = (CodeTest(source=TESTS, call="check"),)
    return Problem(task_id=f"T/{number}", prompt=prompt, entry_point="add_one", reference=prompt + "    return x + 1\n", hidden=hidden)


DATASET = Dataset(benchmark=BENCHMARK, problems=tuple(problem(number) for number in range(3)), sha256="0", path="tiny")
RIGHT, WRONG = "def add_one(x):\n    return x + 1\n", "def add_one(x):\n    return x\n"


def completions(*solutions: str, task: int = 0) -> list[Completion]:
    return [Completion(task_id=f"T/{task}", text=text, solution=text, sample=number) for number, text in enumerate(solutions)]


class Desk:
    """Stands in for the judge: answers by a function, counts the runs of each program."""

    def __init__(self, decide: Callable[[Completion], bool | Exception]) -> None:
        self.decide = decide
        self.runs: Counter[str] = Counter()

    async def ajudge(self, engine: Engine, problem: Problem, completion: Completion, calibration: Calibration | None = None) -> Verdict:
        self.runs[completion.solution or ""] += 1
        await asyncio.sleep(0)
        answer = self.decide(completion)
        if isinstance(answer, Exception):
            raise answer
        outcome = Outcome.OK if answer else Outcome.RAISED
        return Verdict(task_id=completion.task_id, passed=answer, protected=True, reason="", sample=completion.sample, outcome=outcome)


def steer(monkeypatch: pytest.MonkeyPatch, decide: Callable[[Completion], bool | Exception]) -> Desk:
    desk = Desk(decide)
    monkeypatch.setattr(runner, "ajudge", desk.ajudge)
    return desk


class Watcher:
    def __init__(self) -> None:
        self.begun: list[tuple[int, int]] = []
        self.verdicts: list[Verdict] = []
        self.notes: list[str] = []

    def begin(self, *, total: int, done: int) -> None:
        self.begun.append((total, done))

    def advance(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_the_real_judge_from_samples_to_scores(tmp_path: Path, engine: Engine) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(
        '{"task_id": "T/0", "completion": "    return x + 1\\n"}\n'
        '{"task_id": "T/1", "solution": "def add_one(x):\\n    return x\\n"}\n'
        "broken\n"
    )
    watcher = Watcher()
    samples = SampleSet(path, DATASET.problems, skip_bad=True)
    summary = runner.evaluate(DATASET, samples, engine, tmp_path / "run", progress=watcher)
    assert {verdict.task_id: verdict.passed for verdict in read_verdicts(tmp_path / "run")} == {"T/0": True, "T/1": False}
    assert (summary.judged, summary.resumed, summary.metrics.missing_tasks) == (2, 0, ("T/2",))
    assert (summary.gold.passed, summary.gold.total, summary.gold.failed) == (2, 2, ())
    assert summary.metrics.estimates[0].value == pytest.approx(0.5)
    assert summary.rules == {"completion": 1, "solution": 1}
    assert summary.skipped[0].startswith(f"{path}:3: ")
    assert watcher.begun == [(2, 0)]
    assert len(watcher.verdicts) == 2
    again = runner.evaluate(DATASET, samples, engine, tmp_path / "run")
    assert (again.judged, again.resumed, again.metrics, again.gold) == (0, 2, summary.metrics, summary.gold)


def test_the_oracle_passes_everything(tmp_path: Path, engine: Engine) -> None:
    summary = runner.evaluate(DATASET, Oracle(), engine, tmp_path, n=2)
    assert summary.metrics.estimates[0].value == 1.0
    assert (summary.metrics.samples, summary.metrics.complete) == (6, True)
    assert summary.config.source == "model:oracle"


def test_a_reference_that_fails_lowers_the_gold_rate(tmp_path: Path, engine: Engine) -> None:
    broken = Problem(task_id="T/9", prompt="", entry_point="add_one", reference=WRONG, hidden=(CodeTest(source=TESTS, call="check"),))
    dataset = Dataset(benchmark=BENCHMARK, problems=(problem(0), broken), sha256="0")
    summary = runner.evaluate(dataset, Oracle(), engine, tmp_path)
    assert (summary.gold.passed, summary.gold.total, summary.gold.failed) == (1, 2, ("T/9",))


def test_problems_without_a_reference_are_not_in_the_gold_rate(tmp_path: Path, engine: Engine) -> None:
    bare = Problem(task_id="T/8", prompt="", entry_point="add_one", hidden=(CodeTest(source=TESTS, call="check"),))
    dataset = Dataset(benchmark=BENCHMARK, problems=(problem(0), bare), sha256="0")
    both = [*completions(RIGHT), Completion(task_id="T/8", text=RIGHT, solution=RIGHT)]
    summary = runner.evaluate(dataset, both, engine, tmp_path)
    assert (summary.gold.passed, summary.gold.total) == (1, 1)
    assert summary.metrics.passed == 2


def test_replies_are_extracted_and_the_rule_is_kept(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    steer(monkeypatch, lambda completion: completion.solution == RIGHT)
    reply = Completion(task_id="T/0", text=f"Sure:\n```python\n{RIGHT}```")
    summary = runner.evaluate(DATASET, [reply], engine, tmp_path)
    assert (summary.metrics.passed, summary.rules) == (1, {"fence": 1})


def test_equal_programs_run_twice_and_not_more(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = steer(monkeypatch, lambda completion: completion.solution == RIGHT)
    many = completions(*[RIGHT, WRONG] * 50)
    summary = runner.evaluate(DATASET, many, engine, tmp_path, ks=(1, 10))
    # Equal programs that are in flight at once all run; the window is twice the workers.
    assert all(2 <= runs <= 2 * engine.workers + 2 for runs in desk.runs.values())
    assert summary.copied == 100 - desk.runs.total()
    assert summary.metrics.estimates[0].value == pytest.approx(0.5)
    assert Counter(verdict.sample for verdict in read_verdicts(tmp_path)) == Counter(range(100))


def test_a_program_with_two_answers_is_flaky_and_never_copied(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = steer(monkeypatch, lambda completion: completion.sample % 2 == 0)
    summary = runner.evaluate(DATASET, completions(*[RIGHT] * 20), engine, tmp_path, ks=(1,))
    assert desk.runs[RIGHT] == 20
    assert summary.metrics.flaky == 19
    assert summary.metrics.estimates[0].value == pytest.approx(0.5)


def test_a_fault_is_tried_again_then_masked_then_judged_anew(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = steer(monkeypatch, lambda completion: WorkerDied("worker") if completion.sample == 1 else True)
    three = completions(RIGHT, WRONG, RIGHT + "\n")
    summary = runner.evaluate(DATASET, three, engine, tmp_path, ks=(1,))
    assert desk.runs[WRONG] == 2
    assert (summary.metrics.masked, summary.metrics.estimates[0].value) == (1, 1.0)
    (masked,) = [verdict for verdict in read_verdicts(tmp_path) if verdict.passed is None]
    assert masked.reason == "masked, our fault: the engine's worker ended unexpectedly"
    steer(monkeypatch, lambda completion: False)
    summary = runner.evaluate(DATASET, three, engine, tmp_path, ks=(1,))
    assert (summary.judged, summary.resumed, summary.metrics.masked) == (1, 2, 0)
    assert sorted(verdict.sample for verdict in read_verdicts(tmp_path)) == [0, 1, 2]


def test_a_fault_that_passes_is_no_mask(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = steer(monkeypatch, lambda completion: WorkerDied("worker") if desk.runs[RIGHT] == 1 else True)
    assert runner.evaluate(DATASET, completions(RIGHT), engine, tmp_path).metrics.masked == 0


def test_references_that_cannot_run_mask_their_samples(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(engine: Engine, problem: Problem) -> Calibration:
        if problem.task_id == "T/1":
            raise WorkerDied("worker")
        return await acalibrate(engine, problem)

    monkeypatch.setattr(runner, "acalibrate", fail)
    summary = runner.evaluate(DATASET, Oracle(), engine, tmp_path)
    assert (summary.gold.masked, summary.metrics.masked_tasks) == (("T/1",), ("T/1",))


def test_a_model_is_asked_once_for_each_sample(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    class Asked(Oracle):
        async def complete(self, problem: Problem, sample: int) -> Completion:
            asked.append((problem.task_id, sample))
            return await super().complete(problem, sample)

    steer(monkeypatch, lambda completion: WorkerDied("worker") if completion.task_id == "T/1" else True)
    runner.evaluate(DATASET, Asked(), engine, tmp_path)
    steer(monkeypatch, lambda completion: True)
    summary = runner.evaluate(DATASET, Asked(), engine, tmp_path, n=2)
    assert Counter(asked) == Counter([(f"T/{task}", sample) for task in range(3) for sample in range(2)])
    assert (summary.judged, summary.resumed) == (4, 2)


def test_a_model_that_fails_ends_the_run_and_keeps_the_rest(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    steer(monkeypatch, lambda completion: True)
    with pytest.raises(BadInput, match="was not recorded"):
        runner.evaluate(DATASET, Replay(completions(RIGHT)), engine, tmp_path)
    assert [completion.task_id for completion in read_completions(tmp_path)] == ["T/0"]


def test_n_takes_the_first_samples(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    steer(monkeypatch, lambda completion: True)
    assert runner.evaluate(DATASET, completions(RIGHT, WRONG, RIGHT), engine, tmp_path, n=2).metrics.samples == 2


def test_limits_reach_the_problem_and_guard_the_folder(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(cpu_s=3)
    assert engine.limits == Limits()
    seen: list[Limits | None] = []

    async def look(engine: Engine, problem: Problem, completion: Completion, calibration: Calibration | None = None) -> Verdict:
        seen.append(problem.limits)
        return Verdict(task_id=problem.task_id, passed=True, protected=True, reason="")

    monkeypatch.setattr(runner, "ajudge", look)
    runner.evaluate(DATASET, completions(RIGHT), engine, tmp_path, limits={"cpu_s": 3})
    assert seen == [limits]
    with pytest.raises(ResumeRefused, match="limits"):
        runner.evaluate(DATASET, completions(RIGHT), engine, tmp_path)


def test_a_limit_that_is_given_leaves_the_problem_its_others(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """run.json keeps the engine's with it, and which were given: also one that is the engine's own changes problems."""
    own = Limits(cpu_s=60.0, wall_s=200.0, memory_bytes=4 << 30)
    seen: list[Limits | None] = []

    async def look(engine: Engine, problem: Problem, completion: Completion, calibration: Calibration | None = None) -> Verdict:
        seen.append(problem.limits)
        return Verdict(task_id=problem.task_id, passed=True, protected=True, reason="")

    monkeypatch.setattr(runner, "ajudge", look)
    dataset = msgspec.structs.replace(DATASET, problems=(msgspec.structs.replace(problem(0), limits=own),))
    summary = runner.evaluate(dataset, completions(RIGHT), engine, tmp_path, limits={"cpu_s": engine.limits.cpu_s})
    assert seen == [msgspec.structs.replace(own, cpu_s=engine.limits.cpu_s)]
    assert (summary.config.limits, summary.config.limits_given) == (engine.limits, ("cpu_s",))
    with pytest.raises(ResumeRefused, match="limits_given"):
        runner.evaluate(dataset, completions(RIGHT), engine, tmp_path)


@pytest.mark.parametrize(("given", "says"), [({"cpu": 1.0}, "no limit 'cpu': known are cpu_s, "), ({"cpu_s": -1.0}, "greater than 0")])
def test_what_is_no_limit_is_refused_before_a_folder_is_made(tmp_path: Path, engine: Engine, given: dict[str, float], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        runner.evaluate(DATASET, completions(RIGHT), engine, tmp_path / "run", limits=given)
    assert not (tmp_path / "run").exists()


def sample_file(path: Path, *solutions: str, task: int = 0) -> SampleSet:
    path.parent.mkdir(exist_ok=True)
    rows = ({"task_id": f"T/{task}", "solution": text, "sample": number} for number, text in enumerate(solutions))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return SampleSet(path, DATASET.problems)


def refused(tmp_path: Path, engine: Engine, source: SampleSet, n: int | None = None) -> str:
    """The refusal of a run with other samples, which leaves the folder as it was."""
    run = tmp_path / "run"
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.name != "lock"}
    with pytest.raises(ResumeRefused) as caught:
        runner.evaluate(DATASET, source, engine, run, n=n)
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.name != "lock"} == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_other_samples_are_refused_with_both_sources(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    steer(monkeypatch, lambda completion: True)
    old = sample_file(tmp_path / "m1" / "s.jsonl", RIGHT, WRONG)
    runner.evaluate(DATASET, old, engine, tmp_path / "run")
    edited = refused(tmp_path, engine, sample_file(tmp_path / "m2" / "s.jsonl", RIGHT, RIGHT))
    assert "sample 1 of T/0: 'program " in edited and "m1/s.jsonl'" in edited and "m2/s.jsonl'" in edited
    smaller = refused(tmp_path, engine, sample_file(tmp_path / "m3" / "s.jsonl", RIGHT))
    assert "m1/s.jsonl (2 samples, sha256 " in smaller and "m3/s.jsonl (1 sample, sha256 " in smaller
    assert "m1/s.jsonl (1 sample," in refused(tmp_path, engine, old, n=1)


def test_as_many_samples_of_another_task_are_refused(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal counts are not equal samples."""
    steer(monkeypatch, lambda completion: True)
    runner.evaluate(DATASET, sample_file(tmp_path / "s.jsonl", RIGHT), engine, tmp_path / "run")
    assert f"not in {tmp_path}/t.jsonl" in refused(tmp_path, engine, sample_file(tmp_path / "t.jsonl", RIGHT, task=1))


def test_the_same_samples_go_on_under_another_name(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    steer(monkeypatch, lambda completion: True)
    first = runner.evaluate(DATASET, sample_file(tmp_path / "s.jsonl", RIGHT), engine, tmp_path / "run")
    again = runner.evaluate(DATASET, sample_file(tmp_path / "t.jsonl", RIGHT), engine, tmp_path / "run")
    assert (again.judged, again.config) == (0, first.config)


def test_samples_that_were_added_are_calibrated_and_judged(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one sample of another task taken away and one added, no verdict may come from a problem that was never calibrated."""
    steer(monkeypatch, lambda completion: True)
    runner.evaluate(DATASET, completions(RIGHT), engine, tmp_path)
    summary = runner.evaluate(DATASET, completions(RIGHT) + completions(WRONG, task=1), engine, tmp_path, ks=(1,))
    assert (summary.judged, summary.resumed, summary.metrics.masked, summary.gold.total) == (1, 1, 0, 2)
    assert summary.config.samples is not None and summary.config.samples.count == 2
    assert read_config(tmp_path).samples == summary.config.samples


def test_some_verdicts_settle_nothing(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four answers are there and six are asked for: the problem of the others must be calibrated."""
    steer(monkeypatch, lambda completion: WorkerDied("worker") if completion.task_id == "T/2" else True)
    assert runner.evaluate(DATASET, Oracle(), engine, tmp_path, n=2).metrics.masked == 2
    steer(monkeypatch, lambda completion: True)
    summary = runner.evaluate(DATASET, Oracle(), engine, tmp_path, n=2)
    assert (summary.resumed, summary.judged, summary.metrics.masked, summary.metrics.complete) == (4, 2, 0, True)


def test_fewer_samples_of_a_model_than_the_folder_has_are_refused(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others would enter the score; the folder stays as it is, and goes on with more."""
    steer(monkeypatch, lambda completion: completion.sample == 0)
    assert runner.evaluate(DATASET, Oracle(), engine, tmp_path, n=3).metrics.passed == 3
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "lock"}
    for fewer in (1, None):
        with pytest.raises(ResumeRefused, match="was made with n 3, now it is 1: use the same settings or another --out"):
            runner.evaluate(DATASET, Oracle(), engine, tmp_path, n=fewer)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "lock"} == before
    more = runner.evaluate(DATASET, Oracle(), engine, tmp_path, n=4)
    assert (more.resumed, more.judged, more.metrics.samples) == (9, 3, 12)


def test_a_file_that_changes_while_it_is_judged_is_bad_input(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    steer(monkeypatch, lambda completion: True)
    path = tmp_path / "s.jsonl"
    samples = sample_file(path, RIGHT)

    def edit(engine: Engine) -> str:
        path.write_text(path.read_text().replace("x + 1", "x + 2"))
        return "edited"

    monkeypatch.setattr(runner, "_ask_interpreter", edit)
    with pytest.raises(BadInput, match="sample 0 of T/0 changed while it was read"):
        runner.evaluate(DATASET, samples, engine, tmp_path / "run")


def test_a_model_that_answers_something_else_is_bad_input(tmp_path: Path, engine: Engine) -> None:
    class Confused(Oracle):
        async def complete(self, problem: Problem, sample: int) -> Completion:
            return await super().complete(problem, 7)

    with pytest.raises(BadInput, match=r"asked for sample 0 of (T/\d), it answered sample 7 of \1"):
        runner.evaluate(DATASET, Confused(), engine, tmp_path)


def test_a_lone_surrogate_fails_its_sample_and_no_other(tmp_path: Path, engine: Engine) -> None:
    """The real judge: Python can't compile such a text, which is the candidate's fault and no mask."""
    samples = sample_file(tmp_path / "s.jsonl", RIGHT, f"{RIGHT}x = '\ud800'\n")
    summary = runner.evaluate(DATASET, samples, engine, tmp_path / "run", ks=(1,))
    assert {verdict.sample: verdict.passed for verdict in read_verdicts(tmp_path / "run")} == {0: True, 1: False}
    assert runner.evaluate(DATASET, samples, engine, tmp_path / "run", ks=(1,)).metrics == summary.metrics


@pytest.mark.parametrize(
    ("source", "problem"),
    [([Completion(task_id="T/77", text="")], "not in the benchmark"), (completions(RIGHT) * 2, "sample 0 is there twice")],
)
def test_completions_that_do_not_fit(tmp_path: Path, engine: Engine, source: list[Completion], problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        runner.evaluate(DATASET, source, engine, tmp_path)


def test_inside_a_loop_the_other_face_is_named(tmp_path: Path, engine: Engine) -> None:
    async def inside() -> None:
        runner.evaluate(DATASET, Oracle(), engine, tmp_path)

    with pytest.raises(UsageError, match="await aevaluate"):
        asyncio.run(inside())
    with pytest.raises(UsageError, match="n must be at least 1"):
        runner.evaluate(DATASET, Oracle(), engine, tmp_path, n=0)


def test_cancelling_keeps_what_was_reached(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    many = completions(*[f"{RIGHT}# {number}\n" for number in range(40)])

    async def interrupt() -> None:
        stuck = asyncio.Event()

        async def judge(engine: Engine, problem: Problem, completion: Completion, calibration: Calibration | None = None) -> Verdict:
            if completion.sample >= 5:
                stuck.set()
                await asyncio.Event().wait()
            return Verdict(task_id=problem.task_id, passed=True, protected=True, reason="", sample=completion.sample)

        monkeypatch.setattr(runner, "ajudge", judge)
        task = asyncio.create_task(runner.aevaluate(DATASET, many, engine, tmp_path))
        waiting = asyncio.create_task(stuck.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupt())
    assert [verdict.sample for verdict in read_verdicts(tmp_path)] == list(range(5))
    steer(monkeypatch, lambda completion: True)
    summary = runner.evaluate(DATASET, many, engine, tmp_path)
    assert (summary.judged, summary.resumed) == (35, 5)
    assert sorted(completion.sample for completion in read_completions(tmp_path)) == list(range(40))


SLOW = """
import sys
from pathlib import Path
from groundrun.benchmarks.runner import evaluate
from groundrun.engine import Engine
from groundrun.records import Completion
from tests.benchmarks.test_runner import DATASET, RIGHT
many = [Completion(task_id="T/0", text=f"{RIGHT}# {n}\\n", solution=f"{RIGHT}# {n}\\n", sample=n) for n in range(200)]
with Engine(workers=2) as engine:
    try:
        print(evaluate(DATASET, many, engine, Path(sys.argv[1])).metrics.samples)
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_or_killed_nothing_is_lost_or_doubled(tmp_path: Path, number: signal.Signals) -> None:
    """The same command again brings every sample to exactly one verdict."""
    run = tmp_path / "run"
    command = [sys.executable, "-c", SLOW, str(run)]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and (not (run / "verdicts.jsonl").exists() or (run / "verdicts.jsonl").stat().st_size < 2000):
            time.sleep(0.02)
        os.kill(first.pid, number)
        told, _ = first.communicate(timeout=30)
    finally:
        first.kill()
    assert told == ("interrupted\n" if number is signal.SIGINT else "")
    reached = list(read_verdicts(run))
    assert 0 < len(reached) < 200
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=True)
    assert second.stdout == "200\n"
    assert list(read_verdicts(run))[: len(reached)] == reached
    assert sorted(verdict.sample for verdict in read_verdicts(run)) == list(range(200))
    assert all(verdict.passed for verdict in read_verdicts(run))
