"""A run folder read into one record, `Report`: everything that a page, a table or `groundrun report --json` tells about a run.

Promises: works for an unfinished run (scores are then computed from the verdicts that are there, and `finished` is False) and without the
data set's problems; equal programs of a problem with the same answer are one `Shown` with all their sample numbers; at most `most` of
these are kept whole, the first of every problem before the second of any, and `left_out` says how many are not; texts of
candidates and data are cut to bounds. Anchors are plain ASCII and unique.
Does not promise texts that are safe to show: whoever shows one makes it printable and escapes it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from groundrun.benchmarks.inventory import Key
from groundrun.benchmarks.metrics import Metrics, measure
from groundrun.benchmarks.store import (
    METRICS,
    Gold,
    RunConfig,
    StoredCompletion,
    read_completions,
    read_config,
    read_metrics,
    read_verdicts,
)
from groundrun.records import Cost, Problem, Verdict
from groundrun.reports.excerpts import LONGEST_SOURCE, LONGEST_TEXT, ProblemView, cut_evidence, view_problem
from groundrun.reports.phrases import shorten
from groundrun.reports.states import State, find_state, name_failure

MOST_SHOWN = 2000
_TOP = 8
RESERVED = ("main", "score", "trust", "failures", "costs", "problems", "candidates", "run", "filter", "theme", "words", "shown", "unfold")
"""Names of a page's own places, which no task may take."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A program and what came of it. `samples` are all that wrote this very program; the verdict is that of the first."""

    samples: tuple[int, ...]
    state: State
    source: str
    flaky: bool = False
    label: str = ""
    anchor: str = ""
    rule: str = ""
    verdict: Verdict | None = None


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One sample in the grid; `anchor` is that of its program, or of its problem where the program was left out."""

    sample: int
    state: State
    flaky: bool
    anchor: str


class ProblemReport(msgspec.Struct, frozen=True, kw_only=True):
    """A problem of the run. `passed` counts samples with a protected pass, `unprotected` other passes, `scored` all with an answer."""

    task_id: str
    anchor: str
    passed: int
    unprotected: int
    scored: int
    marks: tuple[Mark, ...]
    programs: tuple[Shown, ...]
    left_out: int = 0
    problem: ProblemView | None = None


class CostPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What judging one program took, by the kernel's numbers."""

    passed: bool
    cost: Cost


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run. `gold` is None until the run came to its end. `failures` counts why samples failed, most frequent first.

    `programs` counts different ones, `left_out` those of them that are not in `problems`; `expected` are the samples of the source.
    """

    config: RunConfig
    metrics: Metrics
    gold: Gold | None
    finished: bool
    expected: int | None
    states: dict[State, int]
    failures: tuple[tuple[str, int], ...]
    programs: int
    left_out: int
    costs: tuple[CostPoint, ...]
    rules: dict[str, int]
    problems: tuple[ProblemReport, ...]
    problems_known: bool


class _Group(msgspec.Struct, kw_only=True):
    """Samples of a task with one program and one answer."""

    samples: list[int]
    state: State
    flaky: bool
    completion: StoredCompletion | None
    verdict: Verdict | None


def gather(folder: Path, problems: Sequence[Problem] = (), *, labels: Mapping[Key, str] | None = None, most: int = MOST_SHOWN) -> Report:
    """Read a run folder. `labels` name samples beyond their numbers. Raises `BadInput` for what is no run folder or is damaged."""
    config = read_config(folder)
    verdicts = {(verdict.task_id, verdict.sample): verdict for verdict in read_verdicts(folder)}
    completions = {(completion.task_id, completion.sample): completion for completion in read_completions(folder)}
    known = {problem.task_id: problem for problem in problems}
    stored = read_metrics(folder) if (folder / METRICS).exists() else None
    finished = stored is not None and stored.metrics.samples == len(verdicts) == len(completions)
    metrics = stored.metrics if stored and finished else measure(verdicts.values(), task_ids=known, ks=(1, 10, 100), seed=config.seed)
    groups = _group(known, completions, verdicts)
    kept = _choose(groups, most)
    anchors = _Anchors()
    reports = tuple(
        _report_problem(task_id, found, kept[task_id], known.get(task_id), labels or {}, anchors) for task_id, found in groups.items()
    )
    every = [group for found in groups.values() for group in found]
    states = Counter(dict.fromkeys(State, 0))
    for group in every:
        states[group.state] += len(group.samples)
    return Report(
        config=config,
        metrics=metrics,
        gold=stored.gold if stored and finished else None,
        finished=finished,
        expected=config.samples.count if config.samples else None,
        states={state: states[state] for state in State if states[state]},
        failures=tuple(_count_failures(every).most_common(_TOP)),
        programs=len(every),
        left_out=sum(report.left_out for report in reports),
        costs=tuple(
            CostPoint(passed=bool(group.verdict.passed), cost=group.verdict.cost)
            for group in every
            if group.verdict is not None and group.verdict.passed is not None
        ),
        rules=dict(Counter(completion.rule for completion in completions.values() if completion.rule)),
        problems=reports,
        problems_known=bool(known),
    )


def _group(
    known: Mapping[str, Problem], completions: Mapping[Key, StoredCompletion], verdicts: Mapping[Key, Verdict]
) -> dict[str, list[_Group]]:
    keys = sorted({*completions, *verdicts}, key=lambda key: key[1])
    tasks: dict[str, dict[tuple[object, ...], _Group]] = {}
    for key in keys:
        completion, verdict = completions.get(key), verdicts.get(key)
        source = completion.solution or completion.text if completion else None
        state, flaky = find_state(verdict), bool(verdict and verdict.flaky)
        found = tasks.setdefault(key[0], {})
        identity = (source, state, flaky) if completion else (key[1],)
        if identity in found:
            found[identity].samples.append(key[1])
        else:
            found[identity] = _Group(samples=[key[1]], state=state, flaky=flaky, completion=completion, verdict=verdict)
    named = [task_id for task_id in known if task_id in tasks]
    rest = sorted((task_id for task_id in tasks if task_id not in known), key=_natural)
    return {task_id: list(tasks[task_id].values()) for task_id in (*named, *rest)}


def _choose(groups: Mapping[str, Sequence[_Group]], most: int) -> dict[str, int]:
    """How many programs of each task are kept whole."""
    kept = dict.fromkeys(groups, 0)
    left = most
    while left > 0:
        open_tasks = [task_id for task_id, found in groups.items() if kept[task_id] < len(found)]
        if not open_tasks:
            break
        for task_id in open_tasks[:left]:
            kept[task_id] += 1
        left -= len(open_tasks[:left])
    return kept


def _report_problem(
    task_id: str, groups: Sequence[_Group], kept: int, problem: Problem | None, labels: Mapping[Key, str], anchors: _Anchors
) -> ProblemReport:
    anchor = anchors.take(task_id)
    programs, marks = [], []
    for place, group in enumerate(groups):
        own = anchors.take(f"{task_id}-{group.samples[0]}") if place < kept else anchor
        marks += [Mark(sample=sample, state=group.state, flaky=group.flaky, anchor=own) for sample in group.samples]
        if place < kept:
            programs.append(_show(group, own, labels.get((task_id, group.samples[0]), "")))
    verdicts = [(group.verdict, len(group.samples)) for group in groups if group.verdict and group.verdict.passed is not None]
    return ProblemReport(
        task_id=task_id,
        anchor=anchor,
        passed=sum(number for verdict, number in verdicts if verdict.passed and verdict.protected),
        unprotected=sum(number for verdict, number in verdicts if verdict.passed and not verdict.protected),
        scored=sum(number for _, number in verdicts),
        marks=tuple(sorted(marks, key=lambda mark: mark.sample)),
        programs=tuple(programs),
        left_out=len(groups) - kept,
        problem=view_problem(problem) if problem else None,
    )


def _show(group: _Group, anchor: str, label: str) -> Shown:
    completion, verdict = group.completion, group.verdict
    if verdict is not None:
        verdict = msgspec.structs.replace(verdict, reason=shorten(verdict.reason, LONGEST_TEXT), evidence=cut_evidence(verdict.evidence))
    return Shown(
        samples=tuple(group.samples),
        state=group.state,
        flaky=group.flaky,
        source=shorten((completion.solution or completion.text) if completion else "", LONGEST_SOURCE),
        label=label,
        anchor=anchor,
        rule=completion.rule if completion else "",
        verdict=verdict,
    )


def _count_failures(groups: Iterable[_Group]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for group in groups:
        if group.verdict is not None and group.verdict.passed is False:
            counts[name_failure(group.verdict)] += len(group.samples)
    return counts


class _Anchors:
    """Plain names for places in a page, each given once."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter(RESERVED)

    def take(self, text: str) -> str:
        """A name of letters, digits, dots, hyphens and underscores that was not given before."""
        plain = re.sub(r"[^A-Za-z0-9._]+", "-", text)[:80].strip("-") or "task"
        name = plain
        while name in self._taken:
            self._taken[plain] += 1
            name = f"{plain}_{self._taken[plain]}"
        self._taken[name] += 1
        return name


def _natural(text: str) -> list[tuple[int, str]]:
    """Sort key in which task 10 comes after task 9."""
    digits = [part.lstrip("0") for part in re.split(r"([0-9]+)", text)]
    return [(len(part) if place % 2 else 0, part) for place, part in enumerate(digits)]
