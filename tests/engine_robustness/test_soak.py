"""A short soak and an abrupt end, each in a process of its own; `python -m bench.soak` is the long one."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
from bench.soak import GROWTH_MIB, HOSTILE, MORE_DESCRIPTORS, leave_abruptly
from tests.engine_robustness.conftest import ROOT

pytestmark = pytest.mark.exec
PROGRAMS = 300


@cache
def hold_soak(rung: str) -> dict[str, Any]:
    """One soak a rung in a process of its own, because it kills wardens of its process at random."""
    command = [
        sys.executable,
        "-m",
        "bench.soak",
        "--programs",
        str(PROGRAMS),
        "--kills",
        "1",
        "--isolation",
        rung,
        "--workers",
        "2",
        "--hostile",
        "30",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_killed_warden_costs_nothing(rung: str) -> None:
    """Every program comes back once, as it must, although a worker was killed; memory stays flat."""
    found = hold_soak(rung)
    counts = {name: found[name] for name in ("right", "lost", "doubled", "wrong", "faults", "kills", "restarts")}
    assert counts == {"right": PROGRAMS, "lost": 0, "doubled": 0, "wrong": 0, "faults": 0, "kills": 1, "restarts": 1}
    assert found["hostile"] == len(HOSTILE) == 10
    assert (found["oddities"], found["growth_mib"] < GROWTH_MIB, found["more_descriptors"] <= MORE_DESCRIPTORS) == ([], True, True)


def test_killed_warden_leaves_nothing(rung: str) -> None:
    """Once the engine is closed, no process, cgroup or folder of the killed worker is there."""
    assert hold_soak(rung)["left_behind"] == []


def test_killed_parent_leaves_nothing(rung: str) -> None:
    """No process, cgroup, folder or mount, although both workers were at work and more was waiting."""
    had, left = leave_abruptly(rung)
    assert len([word for word in had if word.startswith("process")]) >= 2 * 3  # a warden, a zygote and a program each
    assert left == []
