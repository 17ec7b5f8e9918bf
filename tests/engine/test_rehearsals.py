"""What guests do in a zygote before their children do it: it works, which the zygote itself would not say, and leaves nothing."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import pytest

from groundrun.engine.job import GUESTS

pytestmark = pytest.mark.unit
REHEARSED = [name for name in GUESTS if hasattr(import_module(name), "rehearse")]


def test_the_guests_of_every_judgement_rehearse() -> None:
    assert {name.rpartition(".")[2] for name in REHEARSED} == {"server", "grader", "standing"}


@pytest.mark.parametrize("name", REHEARSED)
def test_a_rehearsal_works_and_leaves_nothing(name: str) -> None:
    rehearse = import_module(name).rehearse
    rehearse()  # what it imports stays
    before = list(sys.argv), sys.stdout, list(sys.path), set(sys.modules), set(os.listdir("/proc/self/fd"))
    rehearse()
    assert (list(sys.argv), sys.stdout, list(sys.path), set(sys.modules), set(os.listdir("/proc/self/fd"))) == before


def test_the_rehearsed_tests_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rehearsal whose test fails early would warm half of the way."""
    grader = import_module("groundrun.judging.guest.grader")
    reports: list[dict[str, object]] = []
    grade = grader.grade_candidate

    def note(task: dict[str, object], channel: int) -> dict[str, object]:
        reports.append(grade(task, channel))
        return reports[-1]

    monkeypatch.setattr(grader, "grade_candidate", note)
    grader.rehearse()
    assert [report["passed"] for report in reports] == [[True]]
