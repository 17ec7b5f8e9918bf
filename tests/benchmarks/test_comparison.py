"""Comparing two runs: numbers that are known, symmetry, what is left out, what is refused, and how often an interval is right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from math import comb

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrun.benchmarks.comparison import (
    Comparison,
    Contestant,
    Gap,
    compare,
    estimate_mean,
    find_mcnemar_p,
    find_permutation_p,
    list_changes,
    pick_verdicts,
    score_tasks,
)
from groundrun.benchmarks.metrics import measure
from groundrun.benchmarks.store import RunConfig
from groundrun.errors import UsageError
from groundrun.records import CpuSource, Isolation, Limits, MemoryGuard, Outcome, Rung, Verdict

ISOLATION = Isolation(rung=Rung.NAMESPACES, memory_guard=MemoryGuard.CGROUP2, cpu_guard=CpuSource.CGROUP)
CONFIG = RunConfig(
    benchmark="tiny 1", dataset_sha256="0", limits=Limits(), judge="1", isolation=ISOLATION, source="samples", model="m", python="3"
)


def verdict(task: int, passed: bool | None, *, sample: int = 0, protected: bool = True) -> Verdict:
    outcome = Outcome.OK if passed else Outcome.RAISED
    return Verdict(task_id=f"T/{task}", passed=passed, protected=protected, reason="", sample=sample, outcome=outcome)


def run(verdicts: Sequence[Verdict], *, name: str = "run", config: RunConfig = CONFIG) -> Contestant:
    return Contestant(name=name, config=config, tasks=score_tasks(verdicts))


def single(passed: Sequence[bool | None]) -> list[Verdict]:
    return [verdict(task, each) for task, each in enumerate(passed)]


def against(a: Sequence[bool | None], b: Sequence[bool | None], *, seed: int = 0) -> Comparison:
    return compare(run(single(a), name="a"), run(single(b), name="b"), seed=seed, resamples=200)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 5, 1.0),
        (0, 5, 2 / 32),
        (0, 6, 2 / 64),
        (1, 9, 2 * 11 / 1024),
        (2, 8, 2 * 56 / 1024),
        (10, 0, 2 / 1024),
    ],
)
def test_mcnemar_against_closed_cases(only_a: int, only_b: int, p: float) -> None:
    """Tails of the binomial that can be counted by hand."""
    assert find_mcnemar_p(only_a, only_b) == pytest.approx(p, rel=1e-12)


@pytest.mark.unit
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_doubled_smaller_tail(only_a: int, only_b: int) -> None:
    """In exact fractions; and it doesn't matter which run is A."""
    total = only_a + only_b
    tail = sum(Fraction(comb(total, each), 2**total) for each in range(max(only_a, only_b), total + 1))
    assert find_mcnemar_p(only_a, only_b) == pytest.approx(float(min(Fraction(1), 2 * tail)), rel=1e-9)
    assert find_mcnemar_p(only_a, only_b) == find_mcnemar_p(only_b, only_a)


@pytest.mark.unit
def test_counts_and_scores_of_a_small_case() -> None:
    """One task of each kind, and two that only B passes."""
    found = against([True, False, True, False, False], [True, False, False, True, True])
    assert (found.both, found.neither, found.only_a, found.only_b) == (1, 1, ("T/2",), ("T/3", "T/4"))
    assert (found.a.score.value, found.b.score.value) == (0.4, 0.6)
    assert found.difference.value == pytest.approx(0.2)
    assert found.difference.low <= 0.2 <= found.difference.high
    assert found.mcnemar_p == 1.0
    assert found.permutation_p is None


@pytest.mark.unit
@given(
    st.lists(
        st.tuples(st.lists(st.booleans(), min_size=1, max_size=3), st.lists(st.booleans(), min_size=1, max_size=3)), min_size=1, max_size=12
    )
)
def test_exchanging_the_runs_changes_signs_only(tasks: list[tuple[list[bool], list[bool]]]) -> None:
    """The p values are the very same; the interval is mirrored."""
    runs = [
        run([verdict(task, passed, sample=n) for task, both in enumerate(tasks) for n, passed in enumerate(both[side])]) for side in (0, 1)
    ]
    there = compare(runs[0], runs[1], resamples=50, flips=50)
    back = compare(runs[1], runs[0], resamples=50, flips=50)
    assert (there.mcnemar_p, there.permutation_p) == (back.mcnemar_p, back.permutation_p)
    assert (there.only_a, there.only_b, there.a, there.b) == (back.only_b, back.only_a, back.b, back.a)
    assert there.difference.value == pytest.approx(-back.difference.value)
    assert (there.difference.low, there.difference.high) == pytest.approx((-back.difference.high, -back.difference.low))


@pytest.mark.unit
def test_scores_are_those_of_the_run() -> None:
    """pass@1 of a comparison is pass@1 of the metrics, also with masked samples and passes without protection."""
    verdicts = [
        verdict(0, True),
        verdict(0, None, sample=1),
        verdict(0, False, sample=2),
        verdict(1, True, protected=False),
        verdict(1, True, sample=1, protected=False),
        verdict(2, False),
    ]
    found = compare(run(verdicts), run(verdicts))
    assert found.a.score.value == measure(verdicts, ks=(1,)).estimates[0].value
    assert (found.a.samples, found.difference.value) == (5, 0.0)
    allowed = Contestant(name="a", config=CONFIG, tasks=score_tasks(verdicts, allow_unprotected=True))
    assert compare(allowed, allowed).a.score.value == measure(verdicts, ks=(1,)).with_unprotected[0].value


@pytest.mark.unit
def test_what_cannot_be_compared_is_named_and_left_out() -> None:
    """Tasks of one run only, masked ones, and those that were judged in two ways."""
    a = [verdict(0, True), verdict(1, True), verdict(2, None), verdict(3, True), verdict(4, False)]
    b = [verdict(0, False), verdict(2, True), verdict(3, True, protected=False), verdict(4, True), verdict(10, True)]
    found = compare(run(a), run(b))
    assert [pair.task_id for pair in found.pairs] == ["T/0", "T/4"]
    assert {left.task_id: left.why for left in found.left_out} == {
        "T/1": Gap.ONLY_A,
        "T/2": Gap.MASKED,
        "T/3": Gap.PROTECTION,
        "T/10": Gap.ONLY_B,
    }
    assert [left.task_id for left in found.left_out] == ["T/1", "T/2", "T/3", "T/10"]
    with pytest.raises(UsageError, match="no task with a verdict in common"):
        compare(run([verdict(0, None)]), run([verdict(0, True)]))


@pytest.mark.unit
def test_a_masked_verdict_says_nothing_about_protection() -> None:
    """It is written before its task is known."""
    masked = [verdict(0, None, protected=False), verdict(0, True, sample=1)]
    assert compare(run(masked), run([verdict(0, True)])).left_out == ()


@pytest.mark.unit
@pytest.mark.parametrize(("field", "value", "says"), [("dataset_sha256", "1", "sha256 1"), ("benchmark", "tiny 2", "tiny 2")])
def test_other_data_are_refused(field: str, value: str, says: str) -> None:
    """A difference between two benchmarks is no difference between two models."""
    other = msgspec.structs.replace(CONFIG, **{field: value})
    with pytest.raises(UsageError, match=says):
        compare(run(single([True])), run(single([True]), config=other))


@pytest.mark.unit
def test_other_settings_are_told() -> None:
    """One sentence each, and none where nothing differs."""
    other = msgspec.structs.replace(
        CONFIG, judge="2", limits=Limits(cpu_s=3.0), isolation=msgspec.structs.replace(ISOLATION, rung=Rung.LANDLOCK), repeat=3
    )
    assert compare(run(single([True])), run(single([True]), config=other)).warnings == (
        "the version of the judge differs: 1 in A, 2 in B",
        "the limit cpu_s differs: 10.0 in A, 3.0 in B",
        "the number of runs of each program differs: 1 in A, 3 in B",
        "the isolation differs: namespaces in A, landlock in B",
    )
    assert list_changes(CONFIG, CONFIG, names=("A", "B")) == ()


@pytest.mark.unit
def test_several_samples_count_as_passed_from_one_half_on() -> None:
    """And have a permutation test of their own."""
    a = [verdict(0, passed, sample=number) for number, passed in enumerate([True, False])]
    b = [verdict(0, passed, sample=number) for number, passed in enumerate([True, False, False])]
    found = compare(run(a), run(b))
    assert found.only_a == ("T/0",)
    assert found.permutation_p == 1.0  # one task: both signs are as extreme


@pytest.mark.unit
@pytest.mark.parametrize(
    ("differences", "exact"), [([0.5] * 6, 2 / 64), ([1.0, 0.5, 0.25], 2 / 8), ([1.0, -1.0], 1.0), ([0.0, 0.0], 1.0), ([1 / 3] * 3, 2 / 8)]
)
def test_permutation_p_is_near_the_exact_share(differences: list[float], exact: float) -> None:
    """Counted over all signs by hand; ten thousand flips know it to a few tenths of a percent."""
    assert find_permutation_p(differences, flips=10_000) == pytest.approx(exact, abs=0.012)


@pytest.mark.unit
def test_equal_values_do_not_claim_certainty() -> None:
    """The more tasks agree, the less room is left; the ends stay possible values."""
    few, many = (estimate_mean([0.0] * size, low=-1.0, seed=0, resamples=100, level=0.95) for size in (5, 500))
    assert few.low < many.low < 0.0 < many.high < few.high
    top = estimate_mean([1.0] * 5, low=-1.0, seed=0, resamples=100, level=0.95)
    assert -1.0 < top.low < top.high == 1.0
    score = measure(single([True] * 5), ks=(1,)).estimates[0]
    same = estimate_mean([1.0] * 5, low=0.0, seed=0, resamples=100, level=0.95)
    assert (same.low, same.high) == pytest.approx((score.low, score.high))


@pytest.mark.unit
def test_the_order_of_the_verdicts_does_not_matter() -> None:
    """A run's verdicts come as programs end."""
    a, b = single([True, False, True, True, False, False]), single([False, False, True, True, True, True])
    assert compare(run(a), run(b)) == compare(run(a[::-1]), run(b[::-1]))


@pytest.mark.unit
def test_first_fitting_sample_is_picked() -> None:
    """Of each task, by its number."""
    verdicts = [verdict(0, True, sample=2), verdict(0, True, sample=1), verdict(0, False, sample=0), verdict(1, False)]
    picked = pick_verdicts(verdicts, lambda each: each.passed is True)
    assert {task_id: each.sample for task_id, each in picked.items()} == {"T/0": 1}


def draw_pairs(draw: random.Random, tasks: int) -> list[tuple[bool, bool]]:
    """Tasks of unlike difficulty, so that the two answers go together; B is a little better."""
    pairs = []
    for _ in range(tasks):
        ease = draw.betavariate(0.8, 0.8)
        pairs.append((draw.random() < ease, draw.random() < min(1.0, ease + 0.1)))
    return pairs


@pytest.mark.quality
def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """400 simulated pairs of runs of 120 tasks; the standard error of a share of 0.95 is then 0.011."""
    draw = random.Random(7)
    population = draw_pairs(draw, 100_000)
    truth = sum(b - a for a, b in population) / len(population)
    covered = 0
    for seed in range(400):
        values = [float(b - a) for a, b in draw.choices(population, k=120)]
        interval = estimate_mean(values, low=-1.0, seed=seed, resamples=200, level=0.95)
        covered += interval.low <= truth <= interval.high
    assert 0.91 <= covered / 400 <= 0.98


@pytest.mark.quality
def test_pairing_narrows_the_interval() -> None:
    """What tasks have in common falls out of the difference: it is narrower than two scores apart would be."""
    pairs = draw_pairs(random.Random(3), 300)
    found = against([a for a, _ in pairs], [b for _, b in pairs])
    apart = ((found.a.score.high - found.a.score.low) ** 2 + (found.b.score.high - found.b.score.low) ** 2) ** 0.5
    assert found.difference.high - found.difference.low < 0.95 * apart


@pytest.mark.quality
def test_p_values_are_small_as_rarely_as_they_say() -> None:
    """Between equals, p <= 0.05 in at most 5 % of runs (both tests are exact or cautious), up to the noise of 400 runs."""
    draw = random.Random(11)
    small = [0, 0]
    for seed in range(400):
        eases = [draw.random() for _ in range(60)]
        a, b = ([sum(draw.random() < ease for _ in range(4)) / 4 for ease in eases] for _ in range(2))
        only = [sum(x >= 0.5 > y for x, y in zip(*sides, strict=True)) for sides in ((a, b), (b, a))]
        small[0] += find_mcnemar_p(*only) <= 0.05
        small[1] += find_permutation_p([y - x for x, y in zip(a, b, strict=True)], seed=seed, flips=400) <= 0.05
    assert small[0] <= 32 and small[1] <= 32
    assert small[1] >= 8  # and the permutation test is not simply silent
