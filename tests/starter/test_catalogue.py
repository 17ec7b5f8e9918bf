"""The starter set is complete, varied, and says the truth about its references."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import PurePosixPath

import pytest

from groundrun.engine import Engine
from groundrun.judging import calibrate
from groundrun.records import CallTest, CodeTest, Outcome, StdioTest, Test
from groundrun.starter import Idea, Kind, StarterProblem, load_starter

PROBLEMS = load_starter()
OUTCOMES = {Idea.ENDLESS: Outcome.CPU_LIMIT, Idea.SLOW: Outcome.CPU_LIMIT, Idea.MEMORY: Outcome.MEMORY_LIMIT}


@pytest.mark.unit
def test_set_is_large_and_varied() -> None:
    """At least 48 problems, ten of each kind, with each type of test, each way to compare outputs, and candidates of each idea."""
    assert len(PROBLEMS) >= 48
    kinds = Counter(each.kind for each in PROBLEMS)
    assert kinds.keys() == set(Kind)
    assert min(kinds.values()) >= 10
    types = {type(test) for each in PROBLEMS for test in _tests(each)}
    assert types >= {CallTest, CodeTest, StdioTest}
    ideas = {candidate.idea for each in PROBLEMS for candidate in each.candidates}
    assert ideas == set(Idea)
    comparisons = {test.comparison for each in PROBLEMS for test in each.problem.hidden if isinstance(test, StdioTest)}
    assert comparisons == {"token", "float", "exact", "checker"}


@pytest.mark.unit
def test_majorities_differ() -> None:
    """Where most candidates are wrong, and where at least half are right, a vote among them says different things."""
    rights = [sum(candidate.passes for candidate in each.candidates) / len(each.candidates) for each in PROBLEMS]
    assert sum(share < 1 / 2 for share in rights) >= 12
    assert sum(share >= 1 / 2 for share in rights) >= 8
    assert any(share > 1 / 2 for share in rights)


@pytest.mark.unit
@pytest.mark.parametrize("each", PROBLEMS, ids=lambda each: each.problem.task_id)
def test_problem_is_complete(each: StarterProblem) -> None:
    """Visible and hidden tests, each with its own name, and a reference."""
    assert each.problem.visible and each.problem.hidden
    assert each.problem.reference
    names = [test.name for test in _tests(each)]
    assert len(set(names)) == len(names)


@pytest.mark.unit
@pytest.mark.parametrize("each", PROBLEMS, ids=lambda each: each.problem.task_id)
def test_candidates_are_as_their_ideas_say(each: StarterProblem) -> None:
    """Four to eight candidates, of which some pass and some do not; no two have one label or are one program."""
    assert 4 <= len(each.candidates) <= 8
    assert {candidate.passes for candidate in each.candidates} == {True, False}
    assert len({candidate.label for candidate in each.candidates}) == len(each.candidates)
    assert len({ast.dump(ast.parse(candidate.source)) for candidate in each.candidates}) == len(each.candidates)
    for candidate in each.candidates:
        assert candidate.passes is (candidate.idea is Idea.RIGHT)
        compile(candidate.source, candidate.label, "exec")
        if candidate.idea in OUTCOMES:
            assert candidate.outcome is OUTCOMES[candidate.idea]


@pytest.mark.unit
@pytest.mark.parametrize("each", PROBLEMS, ids=lambda each: each.problem.task_id)
def test_files_are_text(each: StarterProblem) -> None:
    """Files lie beside the programs of the problems of that kind and of no others: UTF-8, on relative paths that stay inside."""
    assert bool(each.files) is (each.kind is Kind.FILES)
    assert {path: data.decode() for path, data in each.problem.files.items()} == each.files
    for path, text in each.files.items():
        assert text.replace("\n", "").isprintable()
        assert not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts


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


def _tests(each: StarterProblem) -> tuple[Test, ...]:
    return (*each.problem.visible, *each.problem.hidden)
