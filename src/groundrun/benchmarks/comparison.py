"""Is B better than A? Two runs of one benchmark, compared task by task.

A task's value is the share of its samples that passed, masked ones (our faults) left out; the mean of the values is pass@1. Both runs
answer the same tasks, so everything here works on the pairs of values and not on the two scores.

* The interval of a score, and of the difference B - A, is the bootstrap's over tasks: percentiles of the means of tasks drawn with
  replacement, the same draws for A, B and their difference (Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapters 13
  and 16; paired, on two systems' answers to one test set: Koehn 2004, "Statistical Significance Tests for Machine Translation
  Evaluation", EMNLP).
* `mcnemar_p` asks whether the tasks that only one of them passes are divided as a fair coin would (McNemar 1947, "Note on the sampling
  error of the difference between correlated proportions", Psychometrika 12; the exact binomial form). With several samples a
  task counts as passed when at least half of them passed: our choice.
* `permutation_p`, with several samples, asks the same of the values themselves, by exchanging A and B in random tasks
  (Fisher's randomization; the share counts the observed one, Phipson & Smyth 2010, so that it is never 0).

Promises: pure functions; the same seed gives the same numbers; exchanging A and B changes signs and sides and nothing else. Tasks that
can't be compared are named and left out of everything. Runs of other data are refused; other settings are told in sentences.
Does not promise an interval for the noise of sampling inside a task, nor more than its test says: a p is no chance that B is better.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from groundrun.benchmarks.metrics import LEVEL, RESAMPLES, bootstrap_interval, wilson_interval
from groundrun.benchmarks.store import RunConfig
from groundrun.errors import UsageError
from groundrun.records import Verdict

FLIPS = 10_000
"""Random exchanges of a permutation test: a p near 0.05 is then known to about 0.002."""
_ROUNDING = 1e-9  # two sums of the same shares may differ by this much


class TaskScore(msgspec.Struct, frozen=True, kw_only=True):
    """One task in one run: of `scored` samples with an answer, `passed` passed; `masked` more have none."""

    task_id: str
    passed: int
    scored: int
    masked: int
    protected: bool

    @property
    def value(self) -> float:
        """The share that passed."""
        return self.passed / self.scored


class Contestant(msgspec.Struct, frozen=True, kw_only=True):
    """A run as a comparison takes it: its folder's name, its settings, and its tasks by id."""

    name: str
    config: RunConfig
    tasks: Mapping[str, TaskScore]


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over tasks and the interval around it."""

    value: float
    low: float
    high: float


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one run came to on the tasks that are compared."""

    name: str
    model: str
    samples: int
    score: Interval


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """The values of one task in both runs."""

    task_id: str
    a: float
    b: float

    @property
    def passed(self) -> tuple[bool, bool]:
        """Whether the task counts as passed by A, and by B."""
        return self.a >= 0.5, self.b >= 0.5


class Gap(StrEnum):
    """Why a task can't be compared."""

    ONLY_A = "only A has samples of it"
    ONLY_B = "only B has samples of it"
    MASKED = "every sample of one run is masked"
    PROTECTION = "it was judged with protection in one run and without in the other"


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A task that can't be compared."""

    task_id: str
    why: Gap


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """B against A. `only_a` and `only_b` name the discordant tasks; `both` and `neither` count the others.

    `permutation_p` is None where every task has one sample in both runs: it would be `mcnemar_p`.
    """

    benchmark: str
    a: Side
    b: Side
    difference: Interval
    both: int
    neither: int
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    mcnemar_p: float
    permutation_p: float | None
    pairs: tuple[Pair, ...]
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    level: float = LEVEL
    resamples: int = RESAMPLES
    flips: int = FLIPS
    seed: int = 0


def counts_as_pass(verdict: Verdict, *, allow_unprotected: bool = False) -> bool:
    """Whether a verdict is a pass of the headline; without protection only where that is allowed."""
    return verdict.passed is True and (verdict.protected or allow_unprotected)


def score_tasks(verdicts: Iterable[Verdict], *, allow_unprotected: bool = False) -> dict[str, TaskScore]:
    """The tasks of a run. A masked verdict doesn't say how its task is judged, so it has no part in `protected`."""
    samples: Counter[str] = Counter()
    scored: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    unprotected: set[str] = set()
    for verdict in verdicts:
        samples[verdict.task_id] += 1
        if verdict.passed is None:
            continue
        scored[verdict.task_id] += 1
        passed[verdict.task_id] += counts_as_pass(verdict, allow_unprotected=allow_unprotected)
        if not verdict.protected:
            unprotected.add(verdict.task_id)
    return {
        task_id: TaskScore(
            task_id=task_id,
            passed=passed[task_id],
            scored=scored[task_id],
            masked=total - scored[task_id],
            protected=task_id not in unprotected,
        )
        for task_id, total in samples.items()
    }


def compare(
    a: Contestant, b: Contestant, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL, flips: int = FLIPS
) -> Comparison:
    """Compare B with A. Raises UsageError for runs of different data, or without a task in common."""
    _refuse_other_data(a, b)
    gaps = {task_id: gap for task_id in {**a.tasks, **b.tasks} if (gap := _find_gap(a.tasks.get(task_id), b.tasks.get(task_id)))}
    task_ids = sorted((task_id for task_id in a.tasks if task_id in b.tasks and task_id not in gaps), key=_natural)
    if not task_ids:
        raise UsageError(f"{a.name} and {b.name} have no task with a verdict in common: name two runs of the same benchmark")
    pairs = tuple(Pair(task_id=task_id, a=a.tasks[task_id].value, b=b.tasks[task_id].value) for task_id in task_ids)
    differences = [pair.b - pair.a for pair in pairs]
    only_a = tuple(pair.task_id for pair in pairs if pair.passed == (True, False))
    only_b = tuple(pair.task_id for pair in pairs if pair.passed == (False, True))
    single = all(run.tasks[task_id].scored == 1 for run in (a, b) for task_id in task_ids)

    def take(run: Contestant, values: list[float]) -> Side:
        samples = sum(run.tasks[task_id].scored for task_id in task_ids)
        score = estimate_mean(values, low=0.0, seed=seed, resamples=resamples, level=level)
        return Side(name=run.name, model=run.config.model, samples=samples, score=score)

    return Comparison(
        benchmark=a.config.benchmark,
        a=take(a, [pair.a for pair in pairs]),
        b=take(b, [pair.b for pair in pairs]),
        difference=estimate_mean(differences, low=-1.0, seed=seed, resamples=resamples, level=level),
        both=sum(pair.passed == (True, True) for pair in pairs),
        neither=sum(pair.passed == (False, False) for pair in pairs),
        only_a=only_a,
        only_b=only_b,
        mcnemar_p=find_mcnemar_p(len(only_a), len(only_b)),
        permutation_p=None if single else find_permutation_p(differences, seed=seed, flips=flips),
        pairs=pairs,
        left_out=tuple(LeftOut(task_id=task_id, why=gaps[task_id]) for task_id in sorted(gaps, key=_natural)),
        warnings=list_changes(a.config, b.config, names=("A", "B")),
        level=level,
        resamples=resamples,
        flips=flips,
        seed=seed,
    )


def estimate_mean(values: Sequence[float], *, low: float, seed: int, resamples: int, level: float) -> Interval:
    """The mean of values between `low` and 1 with its percentile interval. The draws depend on the seed and the number of values only.

    Where all values are v, resampling gives a point. There, by our choice, the interval is what the unseen could move the mean
    to: with at most a share q of tasks that are otherwise, q the upper score limit of none in so many trials (Wilson 1927), it lies
    between v - q (v - low) and v + q (1 - v).
    """
    value = math.fsum(values) / len(values)
    if min(values) != max(values):
        under, over = bootstrap_interval(values, seed=seed, level=level, resamples=resamples)
        return Interval(value=value, low=under, high=over)
    unseen = wilson_interval(0.0, len(values), level=level)[1]
    return Interval(value=value, low=value - unseen * (value - low), high=value + unseen * (1.0 - value))


def find_mcnemar_p(only_a: int, only_b: int) -> float:
    """Two-sided exact p of McNemar's test: min(1, 2 P(X <= min(only_a, only_b))), X binomial of all discordant pairs and 1/2."""
    total = only_a + only_b
    tail = sum(math.comb(total, count) for count in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / (1 << total))


def find_permutation_p(differences: Sequence[float], *, seed: int = 0, flips: int = FLIPS) -> float:
    """Two-sided p of the sign-flip test: (1 + flips with |sum| >= |observed sum|) / (1 + flips).

    Differences of one size are flipped together: the number of them that keep their sign is binomial, the bits of one random number.
    """
    sizes = sorted(Counter(round(abs(difference), 12) for difference in differences if difference).items())
    observed = abs(math.fsum(differences)) - _ROUNDING
    draw = random.Random(seed)
    extreme = sum(
        abs(math.fsum(size * (2 * draw.getrandbits(count).bit_count() - count) for size, count in sizes)) >= observed for _ in range(flips)
    )
    return (1 + extreme) / (1 + flips)


def pick_verdicts(verdicts: Iterable[Verdict], wanted: Callable[[Verdict], bool]) -> dict[str, Verdict]:
    """Of each task the first sample whose verdict is wanted."""
    found: dict[str, Verdict] = {}
    for verdict in verdicts:
        if wanted(verdict) and (verdict.task_id not in found or verdict.sample < found[verdict.task_id].sample):
            found[verdict.task_id] = verdict
    return found


def list_changes(before: RunConfig, after: RunConfig, *, names: tuple[str, str]) -> tuple[str, ...]:
    """The settings that may make verdicts differ, and do differ between two runs: a phrase each, with both values."""
    limits = [(f"the limit {name}", getattr(before.limits, name), getattr(after.limits, name)) for name in before.limits.__struct_fields__]
    settings: list[tuple[str, object, object]] = [
        ("the data", before.dataset_sha256[:12], after.dataset_sha256[:12]),
        ("the version of the judge", before.judge, after.judge),
        *limits,
        ("what was asked of limits", before.limits_given or "nothing", after.limits_given or "nothing"),
        ("the compat mode", before.compat or "none", after.compat or "none"),
        ("the number of runs of each program", before.repeat, after.repeat),
        ("the isolation", before.isolation.rung.value, after.isolation.rung.value),
        ("the memory guard", before.isolation.memory_guard.value, after.isolation.memory_guard.value),
        ("the interpreter", before.python, after.python),
        ("the hash seed", before.hash_seed, after.hash_seed),
        ("the references' hash seed", before.reference_hash_seed, after.reference_hash_seed),
    ]
    return tuple(f"{what} differs: {old} in {names[0]}, {new} in {names[1]}" for what, old, new in settings if old != new)


def _refuse_other_data(a: Contestant, b: Contestant) -> None:
    if a.config.benchmark != b.config.benchmark:
        raise UsageError(
            f"{a.name} is a run of {a.config.benchmark}, {b.name} of {b.config.benchmark}: name two runs of the same benchmark and version"
        )
    mine, other = (f"sha256 {run.config.dataset_sha256[:16]}" for run in (a, b))
    if mine != other:
        raise UsageError(
            f"{a.name} was judged on data with {mine}, {b.name} with {other}: judge one of them again on the other's data (groundrun judge)"
        )


def _find_gap(a: TaskScore | None, b: TaskScore | None) -> Gap | None:
    if a is None or b is None:
        return Gap.ONLY_B if a is None else Gap.ONLY_A
    if not a.scored or not b.scored:
        return Gap.MASKED
    return Gap.PROTECTION if a.protected is not b.protected else None


def _natural(task_id: str) -> list[tuple[int, str]]:
    """`T/2` before `T/10`."""
    return [(int(digits or 0), text) for text, digits in re.findall(r"(\D*)(\d*)", task_id)]
