"""Finding and reading HumanEval; the data are stand-ins except where they are recorded."""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import pytest

from groundrun.benchmarks.humaneval import HUMANEVAL, load_humaneval
from groundrun.errors import BadInput, DatasetMissing
from groundrun.records import CodeTest

pytestmark = pytest.mark.unit

ROW = {
    "task_id": "HumanEval/0",
    "prompt": "def one():\n",
    "entry_point": "one",
    "canonical_solution": "    return 1\n",
    "test": "def check(c): ...",
}
LINE = msgspec.json.encode(ROW) + b"\n"


def test_a_problem_hides_its_tests(tmp_path: Path) -> None:
    (tmp_path / "HumanEval.jsonl").write_bytes(LINE)
    dataset = load_humaneval(tmp_path)
    (problem,) = dataset.problems
    assert problem.reference == "def one():\n    return 1\n"
    assert problem.hidden == (CodeTest(source="def check(c): ...", call="check"),)
    assert (problem.visible, problem.entry_point) == ((), "one")
    assert "is not the official humaneval" in dataset.warning


@pytest.mark.parametrize("place", ["HumanEval.jsonl.gz", "humaneval/HumanEval.jsonl.gz"])
@pytest.mark.parametrize("given", [True, False])
def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, given: bool) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_bytes(gzip.compress(LINE))
    monkeypatch.setenv("GROUNDRUN_DATA", "" if given else str(tmp_path))
    assert load_humaneval(tmp_path if given else None).path == str(tmp_path / place)
    assert load_humaneval(tmp_path / place).problems


def test_missing_names_the_address_and_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetMissing, match=f"is not in {tmp_path}: download {HUMANEVAL.address}"):
        load_humaneval(tmp_path)
    monkeypatch.delenv("GROUNDRUN_DATA", raising=False)
    with pytest.raises(DatasetMissing, match="GROUNDRUN_DATA is not set"):
        load_humaneval()


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"{}\n", ":1: not a problem"), (LINE * 2, "one of them twice"), (b"", "no problems"), (b"\x1f\x8bx", "can't be read")],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=problem):
        load_humaneval(path)


@pytest.mark.parity
def test_the_official_file(recorded: Path) -> None:
    dataset = load_humaneval(recorded)
    assert (len(dataset.problems), dataset.warning) == (164, "")
