"""`groundrun eval` on HumanEval+ and MBPP+: versions, the compat mode, and the score of the base tests beside the headline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from groundrun.cli.entry import carry_out

pytestmark = pytest.mark.exec

PROBLEM = {"prompt": "def double(x):\n", "entry_point": "double", "canonical_solution": "    return 2 * x\n", "atol": 0}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [PROBLEM | {"task_id": f"HumanEval/{n}", "base_input": [[1], [2]], "plus_input": [[3], [0.5], [-1]]} for n in range(2)]
    (tmp_path / "HumanEvalPlus-v0.1.9.jsonl").write_text("\n".join(map(json.dumps, rows)))
    samples = [{"task_id": "HumanEval/0", "completion": "    return x + x\n"}, {"task_id": 1, "completion": "    return abs(x) * 2\n"}]
    (tmp_path / "samples.jsonl").write_text("\n".join(map(json.dumps, samples)))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    status = carry_out([*map(str, arguments), "--json"])
    out = capsys.readouterr()
    return status, json.loads(out.out) if out.out else out.err


@pytest.mark.parametrize("compat", [(), ("--compat", "evalplus")])
def test_base_tests_have_a_score_of_their_own(data: Path, capsys: pytest.CaptureFixture[str], compat: tuple[str, ...]) -> None:
    arguments = ("eval", "humaneval_plus", "--data", data, "--samples", data / "samples.jsonl", "--out", data / "run", *compat)
    status, answer = run(capsys, *arguments, "--gate", "pass@1>=0.5")
    metrics = answer["summary"]["metrics"]
    assert status == 0
    assert [each["value"] for each in metrics["estimates"]] == [0.5]
    assert [(each["name"], each["estimates"][0]["value"]) for each in metrics["subsets"]] == [("base", 1.0)]
    assert answer["summary"]["config"]["compat"] == (compat[1] if compat else "")
    verdicts = [json.loads(line) for line in (data / "run" / "verdicts.jsonl").read_text().splitlines()]
    letters = {each["task_id"]: [test["inputs"] for test in each["tests"]] for each in verdicts}
    assert letters == {"HumanEval/0": ["++", "+++"], "HumanEval/1": ["++", "++-"]}
    other = () if compat else ("--compat", "evalplus")
    status, answer = run(capsys, *arguments[: len(arguments) - len(compat)], *other)
    assert status == 2
    assert "compat" in answer


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("humaneval_plus", "--dataset-version", "v9"), "has no version 'v9': known are v0.1.10, v0.1.9"),
        (("humaneval", "--compat", "evalplus"), "humaneval has one version and no compat mode"),
        (("mbpp_plus", "--model", "oracle"), "mbpp_plus"),
    ],
)
def test_what_is_not_there_is_said(data: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], why: str) -> None:
    model = () if "--model" in arguments else ("--model", "oracle")
    status, said = run(capsys, "eval", *arguments, *model, "--data", data, "--out", data / "run")
    assert status == 2
    assert why in said
