"""`groundrun eval --model mutant`: those mutants there are, the kill rate, going on, another seed."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from groundrun.benchmarks.mutation import MutationScore
from groundrun.benchmarks.store import read_completions, read_config
from groundrun.cli.entry import carry_out
from groundrun.models import read_mutation

pytestmark = pytest.mark.exec

# Task 1 has a test that tells every mutant, task 2 one that tells none; task 3 has nothing to change.
ROWS = [
    {"text": "", "code": "def f(a):\n    return a + 1", "task_id": 1, "test_list": ["assert f(3) == 4"]},
    {"text": "", "code": "def f(a):\n    return a + 1", "task_id": 2, "test_list": ["assert callable(f) and f(3) != 'x'"]},
    {"text": "", "code": "def f(a):\n    pass", "task_id": 3, "test_list": ["assert f(3) is None"]},
]


def evaluate(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    """The exit status of the verb and what it printed."""
    data = folder / "mbpp.jsonl"
    data.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in ROWS))
    status = carry_out(["eval", "mbpp", "--model", "mutant", "--data", str(data), "--out", str(folder / "run"), *options])
    return status, capsys.readouterr().out


def test_as_many_as_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Six mutants were asked for: fewer are judged, and it is said; a survivor is described; the same command goes on."""
    status, text = evaluate(tmp_path, capsys, "--n", "6", "--seed", "3")
    assert status == 0
    config = read_config(tmp_path / "run")
    assert (config.source, config.seed) == ("model:mutant-3", 3)
    completions = list(read_completions(tmp_path / "run"))
    number = len(completions) // 2
    assert 2 <= number <= 6
    assert sorted((each.task_id, each.sample) for each in completions) == [
        (task, at) for task in ("Mbpp/1", "Mbpp/2") for at in range(number)
    ]
    assert all(read_mutation(each.text) for each in completions)
    assert f"{number} of {2 * number} mutants of 2 tasks killed" in text
    assert f"survivors {number} in 1 task: each is equivalent to its reference, or a gap in the tests" in text
    assert "  Mbpp/2, mutant 0, " in text
    assert "fewer than 6 mutants: " in text
    status, text = evaluate(tmp_path, capsys, "--n", "6", "--seed", "3")
    assert "samples   0 judged now" in text
    assert f"{number} of {2 * number} mutants of 2 tasks killed" in text


def test_json_has_every_survivor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its operator, line and change."""
    status, text = evaluate(tmp_path, capsys, "--n", "2", "--json")
    found = msgspec.convert(json.loads(text)["mutation"], MutationScore)
    assert status == 0
    assert [(survivor.task_id, survivor.sample) for survivor in found.survivors] == [("Mbpp/2", 0), ("Mbpp/2", 1)]
    assert all(survivor.mutation.line == 2 for survivor in found.survivors)
    assert found.fewer == ("Mbpp/3",)


def test_seeds_do_not_mix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another seed is another model, so its mutants need another folder."""
    assert evaluate(tmp_path, capsys, "--seed", "1")[0] == 0
    assert evaluate(tmp_path, capsys, "--seed", "2")[0] == 2
