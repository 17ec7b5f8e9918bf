"""Equal programs: two runs that agree are enough, and a program that answers twice differently is not copied."""

from __future__ import annotations

import msgspec
import pytest

from groundrun.benchmarks.memory import VerdictMemory, unite
from groundrun.benchmarks.metrics import measure
from groundrun.records import Outcome, TestVerdict, Verdict

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


def test_runs_that_agree_are_one_verdict() -> None:
    again = msgspec.structs.replace(PASSED, reason="in other words")
    assert unite([PASSED, again]) == PASSED
    assert unite([FAILED]) == FAILED


@pytest.mark.parametrize("order", [(PASSED, FAILED, PASSED), (FAILED, PASSED, PASSED), (PASSED, PASSED, FAILED)])
def test_runs_that_disagree_are_flaky_and_fail(order: tuple[Verdict, ...]) -> None:
    united = unite(order)
    assert (united.passed, united.flaky, united.outcome) == (False, True, Outcome.RAISED)
    assert united.reason.startswith("flaky: 2 of 3 runs passed; ")


def test_two_ways_to_fail_are_flaky_too() -> None:
    slow = msgspec.structs.replace(FAILED, outcome=Outcome.CPU_LIMIT)
    assert unite([slow, FAILED]) == msgspec.structs.replace(slow, flaky=True, reason="flaky: 0 of 2 runs passed; ")


def test_repeated_runs_are_copied_at_once_unless_they_disagreed() -> None:
    memory = VerdictMemory()
    memory.learn("x", PASSED, runs=3)
    assert memory.recall("T", "x", 1) == msgspec.structs.replace(PASSED, sample=1)
    memory.learn("y", unite([PASSED, FAILED]), runs=2)
    assert memory.recall("T", "y", 1) is None
    assert memory.learn("y", msgspec.structs.replace(PASSED, sample=1), runs=2).flaky


def run_of(base: bool | None, plus: bool | None, inputs: str = "") -> Verdict:
    """What a run of a program with two tests gave; `inputs` are those of the first."""
    tests = (TestVerdict(name="base", passed=base, inputs=inputs), TestVerdict(name="plus", passed=plus))
    return msgspec.structs.replace(PASSED, passed=bool(base and plus), tests=tests)


@pytest.mark.parametrize("first", [run_of(True, False), run_of(True, True)])
def test_a_test_is_passed_only_if_every_run_passed_it(first: Verdict) -> None:
    """So that a score by some tests alone needs all runs too."""
    for runs in ([first, run_of(False, False)], [run_of(False, False), first]):
        united = unite(runs)
        assert united.flaky
        assert [test.passed for test in united.tests] == [False, False]
        assert measure([united], subsets=("base",)).subsets[0].passed == 0
    assert unite([first, first]) == first


def test_runs_that_fail_different_tests_are_flaky_and_pass_none() -> None:
    united = unite([run_of(True, False), run_of(False, True)])
    assert united.flaky and united.reason == "flaky: 0 of 2 runs passed; "
    assert [test.passed for test in united.tests] == [False, False]
    memory = VerdictMemory()
    memory.learn("x", run_of(True, False))
    assert memory.learn("x", run_of(False, True)).flaky


def test_what_a_run_did_not_reach_is_not_passed() -> None:
    """And an input counts as the worst of its runs; where they have not the same inputs, those of the run that tells are kept."""
    united = unite([run_of(None, None, "+.."), run_of(True, True, "+++"), run_of(False, None, "-+x")])
    assert [(test.passed, test.inputs) for test in united.tests] == [(False, "-.."), (None, "")]
    assert unite([run_of(True, True, "++"), run_of(False, True, "+-+")]).tests[0].inputs == "+-+"
