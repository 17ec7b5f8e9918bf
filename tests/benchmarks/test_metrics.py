"""pass@k against the definition, and what must stand beside it."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrun.benchmarks.metrics import bootstrap_interval, estimate_pass_at_k, measure, wilson_interval
from groundrun.records import Outcome, Verdict

pytestmark = pytest.mark.unit


def verdict(task_id: str, passed: bool | None, *, sample: int = 0, protected: bool = True, flaky: bool = False) -> Verdict:
    outcome = Outcome.OK if passed else Outcome.RAISED
    return Verdict(task_id=task_id, passed=passed, protected=protected, reason="", sample=sample, outcome=outcome, flaky=flaky)


def test_example_samples_of_human_eval() -> None:
    """The published sanity check: three of six pass, and the product rounds to just below one half."""
    assert estimate_pass_at_k(6, 3, 1) == 0.4999999999999999


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_mean_over_all_draws(samples: int, data: st.DataObject) -> None:
    passed, k = data.draw(st.integers(0, samples)), data.draw(st.integers(1, samples))
    draws = list(itertools.combinations([True] * passed + [False] * (samples - passed), k))
    assert math.isclose(estimate_pass_at_k(samples, passed, k), sum(map(any, draws)) / len(draws), abs_tol=1e-12)


@pytest.mark.parametrize(("samples", "passed", "k"), [(1, 2, 1), (1, 0, 2), (3, 1, 0), (3, -1, 1)])
def test_pass_at_k_refuses_what_has_no_meaning(samples: int, passed: int, k: int) -> None:
    with pytest.raises(ValueError, match="1 <= k <= samples"):
        estimate_pass_at_k(samples, passed, k)


def test_mean_over_tasks_not_over_samples() -> None:
    found = measure([verdict("a", True), verdict("b", False), verdict("b", False, sample=1), verdict("b", False, sample=2)])
    assert found.estimates[0].value == 0.5
    assert (found.tasks, found.samples, found.passed) == (2, 4, 1)


def test_k_only_where_every_task_has_that_many() -> None:
    verdicts = [verdict(task, True, sample=sample) for task, n in (("a", 10), ("b", 9)) for sample in range(n)]
    found = measure(verdicts, ks=(1, 9, 10))
    assert [estimate.name for estimate in found.estimates] == ["pass@1", "pass@9"]
    assert found.left_out == ("pass@10 was left out: a task has only 9 samples with an answer",)
    single = measure([verdict("a", True)], ks=(2,))
    assert single.left_out == ("pass@2 was left out: a task has only 1 sample with an answer",)


def test_masked_samples_are_left_out_and_told() -> None:
    found = measure([verdict("a", True), verdict("a", None, sample=1), verdict("b", None)], task_ids=["a", "b", "c"])
    assert found.estimates[0].value == 1.0
    assert (found.tasks, found.masked, found.masked_share) == (1, 2, 2 / 3)
    assert (found.masked_tasks, found.missing_tasks, found.complete) == (("b",), ("c",), False)
    assert found.outcomes == {"masked": 2, "ok": 1}


def test_unprotected_passes_are_a_number_of_their_own() -> None:
    found = measure([verdict("a", True), verdict("b", True, protected=False), verdict("c", False)])
    assert found.estimates[0].value == pytest.approx(1 / 3)
    assert found.with_unprotected[0].value == pytest.approx(2 / 3)
    assert found.unprotected == 1
    assert measure([verdict("a", True)]).with_unprotected == ()


def test_nothing_measured_is_no_estimate() -> None:
    found = measure([], task_ids=["a"])
    assert (found.estimates, found.missing_tasks, found.masked_share) == ((), ("a",), 0.0)


def test_find_by_name() -> None:
    found = measure([verdict("a", True)])
    assert found.find("pass@1") is found.estimates[0]
    assert found.find("pass@10") is None


@given(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=1, max_size=30), st.integers(0, 5))
def test_interval_is_seeded_and_inside_the_values(values: list[float], seed: int) -> None:
    low, high = bootstrap_interval(values, seed=seed, resamples=50)
    assert min(values) <= low <= high <= max(values)
    assert (low, high) == bootstrap_interval(values, seed=seed, resamples=50)


@pytest.mark.quality
def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Of 200 samples of 60 coin tosses with p = 0.4, about 95 % of the intervals hold 0.4; the percentile method may be a little short."""
    import random

    toss = random.Random(7)
    covered = 0
    for trial in range(200):
        values = [float(toss.random() < 0.4) for _ in range(60)]
        low, high = bootstrap_interval(values, seed=trial, resamples=200)
        covered += low <= 0.4 <= high
    assert 180 <= covered <= 199


@pytest.mark.parametrize(("passed", "low", "high"), [(True, 164 / (164 + 3.8414588), 1.0), (False, 0.0, 3.8414588 / (164 + 3.8414588))])
def test_a_perfect_or_zero_score_is_not_certain(passed: bool, low: float, high: float) -> None:
    """At 0 and 1 Wilson's interval is n / (n + z²) away from the other end; 1.96² is 3.8414588."""
    (found,) = measure([verdict(f"T/{number}", passed) for number in range(164)], ks=(1,)).estimates
    assert [found.low, found.high] == pytest.approx([low, high])
    assert found.low <= found.value <= found.high


def test_equal_shares_inside_are_not_certain_either() -> None:
    halves = [verdict(task, passed, sample=sample) for task in "abcd" for sample, passed in enumerate([True, False])]
    (found,) = measure(halves, ks=(1,)).estimates
    assert (found.value, found.low, found.high) == (0.5, *wilson_interval(0.5, 4))
    assert found.low < 0.2 and found.high > 0.8


def test_wilson_interval_of_a_known_table() -> None:
    """81 of 263, Newcombe (1998), Statistics in Medicine 17, table I, method 3: 0.2553 to 0.3662."""
    assert list(wilson_interval(81 / 263, 263)) == pytest.approx([0.2553, 0.3662], abs=5e-5)


@given(st.integers(1, 500), st.data())
def test_wilson_interval_holds_its_share(trials: int, data: st.DataObject) -> None:
    share = data.draw(st.integers(0, trials)) / trials
    low, high = wilson_interval(share, trials)
    assert 0.0 <= low <= share <= high <= 1.0
    assert low < high


@pytest.mark.parametrize(("share", "trials"), [(0.5, 0), (-0.1, 3), (1.1, 3)])
def test_wilson_interval_refuses_what_has_no_meaning(share: float, trials: int) -> None:
    with pytest.raises(ValueError, match="at least one trial"):
        wilson_interval(share, trials)


def test_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        bootstrap_interval([])
