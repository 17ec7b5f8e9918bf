"""How well a benchmark's tests tell a right program from a nearly right one: the kill rate of a run of mutants.

A mutant is *killed* when it did not pass, whatever stopped it: a wrong answer, an exception, a limit. The kill rate is the share of
mutants with a verdict that were killed; DeMillo, Lipton and Sayward 1978 (Hints on test data selection, IEEE Computer 11(4)) call
it mutation score once equivalent mutants are taken out, which nobody can do in general. So the rate is a lower bound of that score,
and a survivor is an equivalent mutant or a gap in the tests.

Promises: pure functions of what a run folder holds; masked verdicts (our faults) are left out and counted, and so are the mutants of
tasks whose own reference did not pass, since there a failure says nothing. A pass counts as one whether it was protected or not.
Intervals are the bootstrap's over tasks, since mutants of one task resemble each other; Wilson's with the tasks as trials where all
tasks have the same share (`metrics` has the reasons).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from statistics import quantiles

import msgspec

from groundrun.benchmarks.metrics import LEVEL, RESAMPLES, wilson_interval
from groundrun.models import Mutation, read_mutation
from groundrun.records import Completion, Verdict


class Kills(msgspec.Struct, frozen=True, kw_only=True):
    """How many mutants of a group were killed: of one task, one operator, or all. The interval is of the rate."""

    name: str
    mutants: int
    killed: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """The share that was killed."""
        return self.killed / self.mutants


class TaskKills(msgspec.Struct, frozen=True, kw_only=True):
    """How many mutants of one task were killed; `masked` ones are not among `mutants`."""

    task_id: str
    mutants: int
    killed: int
    masked: int = 0


class Survivor(msgspec.Struct, frozen=True, kw_only=True):
    """A mutant that passed every test: equivalent to the reference, or proof of a gap in the tests."""

    task_id: str
    sample: int
    mutation: Mutation


class MutationScore(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of mutants says about a benchmark's tests.

    `overall` is None when no mutant has a verdict that counts. `fewer` are the tasks with fewer mutants than the `wanted` ones of each,
    `unsound` those whose reference did not pass: their mutants are left out.
    """

    overall: Kills | None
    operators: tuple[Kills, ...]
    tasks: tuple[TaskKills, ...]
    survivors: tuple[Survivor, ...]
    masked: int = 0
    wanted: int = 0
    fewer: tuple[str, ...] = ()
    unsound: tuple[str, ...] = ()
    level: float = LEVEL
    seed: int = 0


class _Mutant(msgspec.Struct, frozen=True):
    task_id: str
    sample: int
    mutation: Mutation
    passed: bool | None


def measure_mutation(
    completions: Iterable[Completion],
    verdicts: Iterable[Verdict],
    *,
    task_ids: Collection[str] = (),
    wanted: int = 0,
    unsound: Collection[str] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> MutationScore:
    """Score the verdicts of mutants. Which mutation a sample is, its own first line says; others are no mutants and are left out.

    task_ids: the benchmark's tasks; wanted: mutants asked for of each; unsound: tasks whose reference failed.
    """
    mutations = {(each.task_id, each.sample): found for each in completions if (found := read_mutation(each.text)) is not None}
    every = [
        _Mutant(verdict.task_id, verdict.sample, mutation, verdict.passed)
        for verdict in verdicts
        if (mutation := mutations.get((verdict.task_id, verdict.sample))) is not None
    ]
    mutants = [each for each in every if each.task_id not in unsound]
    decided = [each for each in mutants if each.passed is not None]
    made: dict[str, list[_Mutant]] = {task_id: [] for task_id in task_ids if task_id not in unsound}
    for each in mutants:
        made.setdefault(each.task_id, []).append(each)
    kinds: dict[str, list[_Mutant]] = defaultdict(list)
    for each in decided:
        kinds[each.mutation.operator.value].append(each)
    return MutationScore(
        overall=_count("all", decided, seed, resamples) if decided else None,
        operators=tuple(_count(name, kinds[name], seed, resamples) for name in sorted(kinds, key=lambda name: (-len(kinds[name]), name))),
        tasks=tuple(_count_task(task_id, of_task) for task_id, of_task in made.items()),
        survivors=tuple(
            Survivor(task_id=each.task_id, sample=each.sample, mutation=each.mutation)
            for task_id in made
            for each in sorted(made[task_id], key=lambda each: each.sample)
            if each.passed
        ),
        masked=len(mutants) - len(decided),
        wanted=wanted,
        fewer=tuple(task_id for task_id, of_task in made.items() if len(of_task) < wanted),
        unsound=tuple(sorted(unsound)),
        seed=seed,
    )


def _count(name: str, mutants: Sequence[_Mutant], seed: int, resamples: int) -> Kills:
    tasks: dict[str, list[bool]] = defaultdict(list)
    for each in mutants:
        tasks[each.task_id].append(not each.passed)
    groups = [(sum(killed), len(killed)) for killed in tasks.values()]
    killed, total = sum(group[0] for group in groups), len(mutants)
    alike = len({group_killed / size for group_killed, size in groups}) == 1
    low, high = wilson_interval(killed / total, len(groups)) if alike else _bootstrap(groups, seed, resamples)
    return Kills(name=name, mutants=total, killed=killed, low=low, high=high)


def _bootstrap(groups: Sequence[tuple[int, int]], seed: int, resamples: int) -> tuple[float, float]:
    """Percentile interval of a ratio of sums: whole tasks are drawn, with as many mutants as each has."""
    draw = random.Random(seed)
    rates = []
    for _ in range(resamples):
        drawn = draw.choices(groups, k=len(groups))
        rates.append(sum(killed for killed, _ in drawn) / sum(size for _, size in drawn))
    cuts = quantiles(rates, n=round(2.0 / (1.0 - LEVEL)), method="inclusive")
    return cuts[0], cuts[-1]


def _count_task(task_id: str, mutants: Sequence[_Mutant]) -> TaskKills:
    masked = sum(each.passed is None for each in mutants)
    killed = sum(each.passed is False for each in mutants)
    return TaskKills(task_id=task_id, mutants=len(mutants) - masked, killed=killed, masked=masked)
