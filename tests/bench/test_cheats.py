"""Cheats against harnesses: each way of judging is really tried, in namespaces that are thrown away."""

from __future__ import annotations

import subprocess
import sys

import pytest
from bench.cheats import INPUTS, NAMESPACES, choose_cheats, try_harness, try_judge, write_check

from groundrun.attacks.puzzles import BALANCED, BIGGER_HALF

pytestmark = [pytest.mark.attack, pytest.mark.exec]
SOME = ("exit_at_import", "equal_object", "kill_everything", "kill_itself")


def _can_unshare() -> bool:
    try:
        return subprocess.run(["unshare", *NAMESPACES, "true"], capture_output=True, timeout=20).returncode == 0
    except OSError:
        return False


def test_checks_and_inputs_agree_with_the_references() -> None:
    for problem in (BIGGER_HALF, BALANCED):
        names: dict[str, object] = {}
        exec(f"{problem.reference}\n{write_check(problem)}\ncheck({problem.entry_point})", names)
        assert len(INPUTS[problem.task_id]) == write_check(problem).count("assert ")


def test_an_exit_status_is_fooled_and_the_judge_is_not() -> None:
    if not _can_unshare():
        pytest.skip("unshare: this host refuses the namespaces in which cheats are let loose")
    cheats = [cheat for cheat in choose_cheats() if cheat.name in SOME]
    assert len(cheats) == len(SOME)
    said = try_harness("status", cheats)
    assert (said["exit_at_import"], said["equal_object"], said["kill_itself"]) == ("FOOLED", "FOOLED", "ok")
    assert try_judge(cheats) == dict.fromkeys(SOME, "ok")


def test_a_harness_is_never_let_loose_outside() -> None:
    done = subprocess.run([sys.executable, "-m", "bench.cheated", "status"], input="[]", capture_output=True, text=True, timeout=30)
    assert (done.returncode, "first process of a namespace only" in done.stderr) == (2, True)
