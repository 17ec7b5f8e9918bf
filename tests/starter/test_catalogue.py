"""The starter set is complete, varied, and says the truth about its references."""

from __future__ import annotations

from collections import Counter

import pytest

from groundrun.engine import Engine
from groundrun.judging import calibrate
from groundrun.records import CallTest, CodeTest, Outcome, StdioTest
from groundrun.starter import Idea, StarterProblem, load_starter

PROBLEMS = load_starter()


@pytest.mark.unit
def test_set_is_large_and_varied() -> None:
    """At least twelve problems, of each kind of test, with candidates of each idea."""
    assert len(PROBLEMS) >= 12
    kinds = Counter(type(test) for each in PROBLEMS for test in (*each.problem.visible, *each.problem.hidden))
    assert kinds.keys() == {CallTest, CodeTest, StdioTest}
    ideas = Counter(candidate.idea for each in PROBLEMS for candidate in each.candidates)
    assert ideas.keys() == set(Idea)
    comparisons = {test.comparison for each in PROBLEMS for test in each.problem.hidden if isinstance(test, StdioTest)}
    assert comparisons >= {"token", "float", "exact"}


@pytest.mark.unit
@pytest.mark.parametrize("each", PROBLEMS, ids=lambda each: each.problem.task_id)
def test_problem_is_complete(each: StarterProblem) -> None:
    """Visible and hidden tests, a reference, and four to six candidates of which some pass and some do not."""
    assert each.problem.visible and each.problem.hidden
    assert each.problem.reference
    assert 4 <= len(each.candidates) <= 6
    assert {candidate.passes for candidate in each.candidates} == {True, False}
    assert len({candidate.label for candidate in each.candidates}) == len(each.candidates)
    for candidate in each.candidates:
        assert candidate.passes is (candidate.idea is Idea.RIGHT)
        compile(candidate.source, candidate.label, "exec")
        if candidate.idea is Idea.ENDLESS:
            assert candidate.outcome is Outcome.CPU_LIMIT
        if candidate.idea is Idea.MEMORY:
            assert candidate.outcome is Outcome.MEMORY_LIMIT
    names = [test.name for test in (*each.problem.visible, *each.problem.hidden)]
    assert len(set(names)) == len(names)


@pytest.mark.unit
def test_task_ids_differ() -> None:
    """Each problem has its own."""
    assert len({each.problem.task_id for each in PROBLEMS}) == len(PROBLEMS)


@pytest.mark.exec
@pytest.mark.parametrize("each", PROBLEMS, ids=lambda each: each.problem.task_id)
def test_reference_passes_protected(each: StarterProblem, engine: Engine) -> None:
    """No starter problem needs the expected answers in the candidate's process."""
    calibration = calibrate(engine, each.problem)
    assert calibration.passed, calibration.reason
    assert calibration.protected
