"""Equal programs: two runs that agree are enough, and a program that answers twice differently is not copied."""

from __future__ import annotations

import msgspec
import pytest

from groundrun.benchmarks.memory import VerdictMemory
from groundrun.records import Outcome, Verdict

pytestmark = pytest.mark.unit

PASSED = Verdict(task_id="T", passed=True, protected=True, reason="", outcome=Outcome.OK)
FAILED = msgspec.structs.replace(PASSED, passed=False, outcome=Outcome.RAISED)


def test_copied_after_two_runs_agreed() -> None:
    memory = VerdictMemory()
    assert memory.recall("T", "x", 0) is None
    memory.learn("x", PASSED)
    assert memory.recall("T", "x", 1) is None
    memory.learn("x", msgspec.structs.replace(PASSED, sample=1))
    assert memory.recall("T", "x", 2) == msgspec.structs.replace(PASSED, sample=2)
    assert memory.recall("T", "y", 2) is None
    assert memory.recall("U", "x", 2) is None


def test_two_answers_make_it_flaky_for_good() -> None:
    memory = VerdictMemory()
    assert not memory.learn("x", PASSED).flaky
    assert memory.learn("x", FAILED).flaky
    assert memory.recall("T", "x", 2) is None
    assert memory.learn("x", msgspec.structs.replace(PASSED, sample=2)).flaky


@pytest.mark.parametrize(
    "verdict", [msgspec.structs.replace(PASSED, passed=None), msgspec.structs.replace(FAILED, outcome=Outcome.WALL_LIMIT)]
)
def test_our_faults_and_wall_limits_are_never_copied(verdict: Verdict) -> None:
    memory = VerdictMemory()
    for sample in range(3):
        assert memory.learn("x", msgspec.structs.replace(verdict, sample=sample)).passed is verdict.passed
        assert memory.recall("T", "x", sample) is None


def test_forgetting_costs_runs_not_answers() -> None:
    memory = VerdictMemory(capacity=1)
    for sample in range(2):
        memory.learn("x", msgspec.structs.replace(PASSED, sample=sample))
    memory.learn("y", PASSED)
    assert memory.recall("T", "x", 2) is None
