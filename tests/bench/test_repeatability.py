"""What the bench of repeatability finds: equal counts, unequal ones, and the programs that can be run at all."""

from __future__ import annotations

import sys

import pytest
from bench.repeatability import Subject, measure, show, starter_subjects

from groundrun.engine import Job
from groundrun.records import Program

pytestmark = pytest.mark.exec


def subject(name: str, source: str) -> Subject:
    return Subject(name=name, job=Job(program=Program(source)))


def test_equal_unequal_and_drawing_programs_are_told_apart() -> None:
    steady = subject("steady", "for i in range(1000): pass")
    restless = subject("restless", "import time\nfor i in range(time.time_ns() % 100_000): pass")
    drawing = subject("drawing", "import random\nfor i in range(random.randrange(100_000)): pass")
    row, found = measure("some", [steady, restless, drawing], python=sys.executable, runs=4, first={})
    assert (row.n, row.identical, row.differing, row.drawing) == (3, 1, ("restless",), ("drawing",))
    assert found["steady"].jumps == 1000
    assert "differs: restless" in show(row)
    again, _ = measure("some", [steady], python=sys.executable, runs=2, first=found)
    assert again.against_first_median == 0.0


def test_a_program_that_fails_is_not_measured() -> None:
    with pytest.raises(RuntimeError, match="broken ended as raised"):
        measure("some", [subject("broken", "1 / 0")], python=sys.executable, runs=2, first={})


def test_every_problem_of_the_starter_set_is_a_subject() -> None:
    subjects = starter_subjects()
    assert len(subjects) > 40
    row, found = measure("starter", subjects[::8], python=sys.executable, runs=2, first={})
    assert row.differing == ()
    assert all(counts.events > 0 for counts in found.values())
