"""The reference solutions of recorded benchmarks go through the protected judge."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from groundrun.engine import Engine
from groundrun.judging import Calibration
from groundrun.judging.calibration import plan_calibration
from groundrun.judging.steps import submit
from groundrun.records import CodeTest, Problem

pytestmark = pytest.mark.parity


def _rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _calibrate_all(engine: Engine, problems: list[Problem]) -> dict[str, Calibration]:
    waiting = {problem.task_id: submit(engine, plan_calibration(problem, engine.limits)) for problem in problems}
    return {name: future.result(timeout=50) for name, future in waiting.items()}


def test_every_humaneval_reference_passes_protected_with_plain_data(engine: Engine, recorded: Path) -> None:
    problems = [
        Problem(
            task_id=row["task_id"],
            prompt=row["prompt"],
            entry_point=row["entry_point"],
            reference=row["prompt"] + row["canonical_solution"],
            hidden=(CodeTest(source=row["test"], call="check"),),
        )
        for row in _rows(recorded / "humaneval" / "HumanEval.jsonl.gz")
    ]
    found = _calibrate_all(engine, problems)
    assert len(found) == 164
    assert [name for name, each in found.items() if not (each.passed and each.protected)] == []
    assert [name for name, each in found.items() if each.operations or each.writes_back] == []
    assert [name for name, each in found.items() if each.mutates] == ["HumanEval/70", "HumanEval/120", "HumanEval/149"]


def test_nearly_every_mbpp_reference_passes_protected(engine: Engine, recorded: Path) -> None:
    problems = []
    for row in _rows(recorded / "mbpp" / "mbpp.jsonl.gz")[::6]:
        defined = set(re.findall(r"^def +(\w+)", row["code"], re.MULTILINE))
        called = [name for name in re.findall(r"\w+", row["test_list"][0]) if name in defined]
        tests = tuple(CodeTest(row["test_setup_code"] + "\n" + test) for test in row["test_list"])
        problems.append(
            Problem(task_id=str(row["task_id"]), prompt=row["text"], entry_point=called[0], reference=row["code"], hidden=tests)
        )
    found = _calibrate_all(engine, problems)
    assert [name for name, each in found.items() if not each.passed] == []
    assert sum(not each.protected for each in found.values()) <= 2
