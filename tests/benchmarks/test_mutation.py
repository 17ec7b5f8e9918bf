"""Kill rates: what counts, what is left out, and the interval."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrun.benchmarks.metrics import wilson_interval
from groundrun.benchmarks.mutation import MutationScore, measure_mutation
from groundrun.models.mutations import Operator
from groundrun.records import Completion, Verdict

pytestmark = pytest.mark.unit

Result = tuple[str, Operator, bool | None]


def score(results: list[Result], *, task_ids: tuple[str, ...] = (), wanted: int = 0, unsound: tuple[str, ...] = ()) -> MutationScore:
    """The score of mutants given as (task, operator, whether it passed), numbered in order in each task."""
    numbers: dict[str, int] = {}
    completions, verdicts = [], []
    for task_id, operator, passed in results:
        sample = numbers[task_id] = numbers.get(task_id, -1) + 1
        text = f"# mutant {sample}, {operator.value}: line 2: a -> b\npass\n"
        completions.append(Completion(task_id=task_id, text=text, solution=text, sample=sample))
        verdicts.append(Verdict(task_id=task_id, passed=passed, protected=sample % 2 == 0, reason="", sample=sample))
    return measure_mutation(completions, reversed(verdicts), task_ids=task_ids, wanted=wanted, unsound=unsound)


def test_rates_by_operator_and_task() -> None:
    """Killed is whatever did not pass, protected or not; masked ones are in no rate."""
    found = score(
        [
            ("a", Operator.CONSTANT, False),
            ("a", Operator.CONSTANT, True),
            ("a", Operator.RETURN, False),
            ("b", Operator.CONSTANT, False),
            ("b", Operator.RETURN, None),
        ],
        task_ids=("a", "b", "c"),
        wanted=3,
    )
    assert found.overall is not None
    assert (found.overall.killed, found.overall.mutants, found.overall.rate, found.masked) == (3, 4, 0.75, 1)
    assert [(kills.name, kills.killed, kills.mutants) for kills in found.operators] == [("constant", 2, 3), ("return value", 1, 1)]
    assert [(task.task_id, task.killed, task.mutants, task.masked) for task in found.tasks] == [
        ("a", 2, 3, 0),
        ("b", 1, 1, 1),
        ("c", 0, 0, 0),
    ]
    (survivor,) = found.survivors
    assert (survivor.task_id, survivor.sample, survivor.mutation.describe()) == ("a", 1, "constant: line 2: a -> b")
    assert found.fewer == ("b", "c")


def test_tasks_with_a_failing_reference_are_left_out() -> None:
    """A mutant that fails there shows nothing."""
    found = score([("a", Operator.CONSTANT, False), ("b", Operator.CONSTANT, True)], task_ids=("a", "b"), unsound=("a",))
    assert found.overall is not None
    assert (found.overall.killed, found.overall.mutants, found.unsound) == (0, 1, ("a",))
    assert [task.task_id for task in found.tasks] == ["b"]


def test_nothing_to_count() -> None:
    """No rate is made up."""
    assert score([]).overall is None
    assert score([("a", Operator.CONSTANT, None)]).overall is None


def test_other_samples_are_no_mutants() -> None:
    """A completion without the header is not counted, whatever its verdict."""
    found = measure_mutation(
        [Completion(task_id="a", text="x = 1\n")], [Verdict(task_id="a", passed=True, protected=True, reason="")], task_ids=("a",)
    )
    assert (found.overall, found.survivors) == (None, ())


def test_interval_where_all_tasks_are_alike() -> None:
    """Wilson's, with the tasks as trials: two mutants of one task tell no more than one."""
    found = score([(task, Operator.CONSTANT, False) for task in ("a", "b", "c", "a", "b", "c")])
    assert found.overall is not None
    assert (found.overall.low, found.overall.high) == wilson_interval(1.0, 3)


def test_interval_draws_whole_tasks() -> None:
    """Mutants that live and die together in their task widen it."""
    together = score([(f"t{number % 20}", Operator.CONSTANT, number % 20 < 10) for number in range(200)]).overall
    apart = score([(f"t{number % 20}", Operator.CONSTANT, number // 20 < 5 + number % 2) for number in range(200)]).overall
    assert together is not None
    assert apart is not None
    assert together.high - together.low > 2 * (apart.high - apart.low) > 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(Operator)), st.sampled_from([True, False, None])), max_size=30))
def test_sums_agree(results: list[Result]) -> None:
    """Operators, tasks and survivors add up to the whole, and the rate lies in its interval."""
    found = score(results)
    decided = [result for result in results if result[2] is not None]
    assert len(found.survivors) == sum(result[2] is True for result in decided)
    assert sum(kills.mutants for kills in found.operators) == sum(task.mutants for task in found.tasks) == len(decided)
    if found.overall is None:
        assert not decided
    else:
        assert sum(kills.killed for kills in found.operators) == found.overall.killed == len(decided) - len(found.survivors)
        assert 0 <= found.overall.low <= found.overall.high <= 1
