"""The text about a run of mutants."""

from __future__ import annotations

import pytest

from groundrun.benchmarks.mutation import Kills, MutationScore, Survivor, TaskKills
from groundrun.models import Mutation
from groundrun.models.mutations import Operator
from groundrun.reports.mutation import render_mutation

pytestmark = pytest.mark.unit


def survivor(task_id: str, sample: int, before: str = "a < b") -> Survivor:
    """A mutant that passed."""
    return Survivor(task_id=task_id, sample=sample, mutation=Mutation(operator=Operator.RELATIONAL, line=5, before=before, after="a <= b"))


def test_report() -> None:
    """Rate, operators, what is left out, survivors."""
    kills = Kills(name="relational operator", mutants=8, killed=5, low=0.25, high=0.875)
    score = MutationScore(
        overall=Kills(name="all", mutants=8, killed=5, low=0.25, high=0.875),
        operators=(kills,),
        tasks=(TaskKills(task_id="t/0", mutants=8, killed=5), TaskKills(task_id="t/1", mutants=0, killed=0, masked=1)),
        survivors=(survivor("t/0", 1), survivor("t/0", 2), survivor("t/1", 0)),
        masked=1,
        wanted=10,
        fewer=("t/0", "t/1"),
        unsound=("t/2",),
    )
    assert render_mutation(score, shown=2).split("\n") == [
        "kill rate   62.5 %   95 % interval 25.0 % to 87.5 %: 5 of 8 mutants of 1 task killed",
        "  relational operator    62.5 %   95 % interval 25.0 % to 87.5 %: 5 of 8",
        "masked    1 mutant: our faults, left out",
        "warning   the mutants of 1 task whose reference did not pass are left out: t/2",
        "note      2 tasks have fewer than 10 mutants: t/0, t/1",
        "survivors 3 in 2 tasks: each is equivalent to its reference, or a gap in the tests",
        "  t/0, mutant 1, relational operator: line 5: a < b -> a <= b",
        "  t/1, mutant 0, relational operator: line 5: a < b -> a <= b",
        "  and 1 more: --json lists all",
    ]


def test_nothing_to_show() -> None:
    """No rate without a mutant, and no list without a survivor."""
    text = render_mutation(MutationScore(overall=None, operators=(), tasks=(), survivors=()))
    assert text == "kill rate none: no mutant has a verdict that counts"


def test_terminal_escapes_do_not_pass() -> None:
    """Data sets are other people's text."""
    score = MutationScore(overall=None, operators=(), tasks=(), survivors=(survivor("t/\x1b[2J", 0, before="\x1b]0;x"),))
    assert "\x1b" not in render_mutation(score)
