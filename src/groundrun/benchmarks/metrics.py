"""Scores of a run: unbiased pass@k, its interval, and everything that must stand beside it to be honest.

pass@k of a task with n samples of which c passed is 1 when n - c < k, else 1 - prod_{i=n-c+1..n} (1 - k/i)
(Chen et al. 2021, "Evaluating Large Language Models Trained on Code", section 2.1); a score is the mean over tasks.

Promises: pure functions; masked samples (our faults) are left out and their share is told, never counted as 0; a k is
given only where every scored task has at least k samples, and what was left out is said in words; passes of problems that need one
shared process (`protected=False`) don't enter the headline and give a second row of estimates of their own.
An interval is the bootstrap's over tasks, except where all tasks have the same value: resampling equal values gives a point, which
claims a certainty that nobody has. There, by our choice, it is the score interval of Wilson (1927, "Probable inference, the law of
succession, and statistical inference", JASA 22) with the tasks as its trials; no mean of values in [0, 1] varies more than such trials.
Does not promise an interval for sampling noise inside a task.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import NormalDist

import msgspec

from groundrun.records import Verdict

LEVEL = 0.95
RESAMPLES = 1000


class Tally(msgspec.Struct, kw_only=True):
    """What the samples of one task came to. `passed` counts protected passes, `unprotected` the others."""

    task_id: str
    samples: int = 0
    passed: int = 0
    unprotected: int = 0
    masked: int = 0
    flaky: int = 0

    @property
    def scored(self) -> int:
        """Samples with an answer, right or wrong."""
        return self.samples - self.masked

    def add(self, verdict: Verdict) -> None:
        """Count one verdict."""
        self.samples += 1
        self.masked += verdict.passed is None
        self.passed += verdict.passed is True and verdict.protected
        self.unprotected += verdict.passed is True and not verdict.protected
        self.flaky += verdict.flaky


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """One pass@k with its interval over tasks: bootstrap percentile, or Wilson's where all tasks have the same value."""

    k: int
    value: float
    low: float
    high: float

    @property
    def name(self) -> str:
        """`pass@k`, as gates and reports spell it."""
        return f"pass@{self.k}"


class Subset(msgspec.Struct, frozen=True, kw_only=True):
    """Scores that count only the tests called `name`; protected passes only, as in the headline."""

    name: str
    passed: int
    estimates: tuple[Estimate, ...]


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of a run. Shares and values are between 0 and 1.

    `estimates` counts protected passes only; `with_unprotected` counts all passes and is empty when there are no others.
    `missing_tasks` have no sample at all, `masked_tasks` none that has an answer: neither is in a mean, so a score over
    fewer tasks than the benchmark has is not comparable, and `complete` is then False. `subsets` are the benchmark's
    (`Benchmark.subsets`): of HumanEval+ `base`, whose score is HumanEval's.
    """

    tasks: int
    samples: int
    passed: int
    estimates: tuple[Estimate, ...]
    with_unprotected: tuple[Estimate, ...] = ()
    subsets: tuple[Subset, ...] = ()
    unprotected: int = 0
    masked: int = 0
    masked_share: float = 0.0
    flaky: int = 0
    outcomes: dict[str, int] = {}
    missing_tasks: tuple[str, ...] = ()
    masked_tasks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    level: float = LEVEL
    resamples: int = RESAMPLES
    seed: int = 0

    @property
    def complete(self) -> bool:
        """True when every task of the benchmark is in the mean."""
        return not self.missing_tasks and not self.masked_tasks

    def find(self, name: str) -> Estimate | None:
        """The headline estimate called `name`, such as `pass@1`; None when it was left out."""
        return next((estimate for estimate in self.estimates if estimate.name == name), None)


def estimate_pass_at_k(samples: int, passed: int, k: int) -> float:
    """Unbiased chance that one of k draws without replacement passes. Raises ValueError unless passed <= samples >= k >= 1."""
    if not 0 <= passed <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs 1 <= k <= samples and 0 <= passed <= samples, not samples={samples}, passed={passed}")
    if samples - passed < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(samples - passed + 1, samples + 1))


def bootstrap_interval(values: Sequence[float], *, seed: int = 0, level: float = LEVEL, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Percentile interval of the mean of `values`, drawn with replacement. The same seed gives the same interval."""
    if not values:
        raise ValueError("an interval needs at least one value")
    draw = random.Random(seed)
    size = len(values)
    means = sorted(math.fsum(draw.choices(values, k=size)) / size for _ in range(resamples))
    tail = (1.0 - level) / 2.0
    return _percentile(means, tail), _percentile(means, 1.0 - tail)


def wilson_interval(share: float, trials: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Score interval of a share of `trials` (Wilson 1927). Raises ValueError without a trial or with a share outside 0 to 1."""
    if trials < 1 or not 0.0 <= share <= 1.0:
        raise ValueError(f"a score interval needs a share from 0 to 1 and at least one trial, not share={share}, trials={trials}")
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    scale = 1.0 + z * z / trials
    middle = (share + z * z / (2.0 * trials)) / scale
    reach = z * math.sqrt(share * (1.0 - share) / trials + z * z / (4.0 * trials * trials)) / scale
    # In exact arithmetic the share is inside; rounding can leave it out by one last digit at 0 and 1.
    return max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach))


def measure(
    verdicts: Iterable[Verdict],
    *,
    task_ids: Iterable[str] = (),
    subsets: Sequence[str] = (),
    ks: Sequence[int] = (1, 10, 100),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Metrics:
    """The metrics of a stream of verdicts. `task_ids` and `subsets` are the benchmark's; tasks without a sample are named."""
    tallies: dict[str, Tally] = {}
    partial: dict[str, dict[str, Tally]] = {name: {} for name in subsets}
    outcomes: Counter[str] = Counter()
    for verdict in verdicts:
        tallies.setdefault(verdict.task_id, Tally(task_id=verdict.task_id)).add(verdict)
        for name, counted in partial.items():
            counted.setdefault(verdict.task_id, Tally(task_id=verdict.task_id)).add(_narrow(verdict, name))
        outcomes["masked" if verdict.passed is None else verdict.outcome.value] += 1
    scored = _in_order(tallies)
    fewest = min((tally.scored for tally in scored), default=0)
    only = f"only {fewest} sample{'' if fewest == 1 else 's'} with an answer"
    kept = [k for k in ks if 1 <= k <= fewest]
    samples, masked = sum(tally.samples for tally in tallies.values()), sum(tally.masked for tally in tallies.values())
    unprotected = sum(tally.unprotected for tally in scored)
    return Metrics(
        tasks=len(scored),
        samples=samples,
        passed=sum(tally.passed for tally in scored),
        estimates=tuple(_estimate(scored, k, seed, resamples) for k in kept),
        with_unprotected=tuple(_estimate(scored, k, seed, resamples, unprotected=True) for k in kept) if unprotected else (),
        subsets=tuple(_subset(name, _in_order(counted), kept, seed, resamples) for name, counted in partial.items()),
        unprotected=unprotected,
        masked=masked,
        masked_share=masked / samples if samples else 0.0,
        flaky=sum(tally.flaky for tally in tallies.values()),
        outcomes=dict(sorted(outcomes.items())),
        missing_tasks=tuple(task_id for task_id in task_ids if task_id not in tallies),
        masked_tasks=tuple(tally.task_id for tally in tallies.values() if not tally.scored),
        left_out=tuple(f"pass@{k} was left out: a task has {only}" for k in ks if k not in kept),
        resamples=resamples,
        seed=seed,
    )


def _in_order(tallies: dict[str, Tally]) -> list[Tally]:
    """Those that have an answer, in an order that doesn't depend on which came first: the bootstrap draws by place."""
    return [tallies[task_id] for task_id in sorted(tallies) if tallies[task_id].scored]


def _narrow(verdict: Verdict, name: str) -> Verdict:
    """The verdict, had there been only the tests of that name."""
    if verdict.passed is None:
        return verdict
    found = [test.passed for test in verdict.tests if test.name == name]
    return msgspec.structs.replace(verdict, passed=bool(found) and all(each is True for each in found))


def _subset(name: str, scored: Sequence[Tally], ks: Sequence[int], seed: int, resamples: int) -> Subset:
    return Subset(
        name=name,
        passed=sum(tally.passed for tally in scored),
        estimates=tuple(_estimate(scored, k, seed, resamples) for k in ks),
    )


def _estimate(scored: Sequence[Tally], k: int, seed: int, resamples: int, *, unprotected: bool = False) -> Estimate:
    values = [estimate_pass_at_k(tally.scored, tally.passed + (tally.unprotected if unprotected else 0), k) for tally in scored]
    value = math.fsum(values) / len(values)
    alike = min(values) == max(values)
    low, high = wilson_interval(value, len(values)) if alike else bootstrap_interval(values, seed=seed, resamples=resamples)
    return Estimate(k=k, value=value, low=low, high=high)


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between the two nearest order statistics."""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
