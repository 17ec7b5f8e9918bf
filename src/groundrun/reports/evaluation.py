"""The report on a run, in plain text: the score with its interval and, right beside it, everything that qualifies it."""

from __future__ import annotations

from collections.abc import Iterator

from groundrun.benchmarks.runner import Summary
from groundrun.reports.phrases import count, make_printable, name_guards, percent

_SHOWN = 5


def render_summary(summary: Summary) -> str:
    """Lines about a run, without a line end at the end. No text in them can end a line or reach the terminal as a command."""
    return "\n".join(make_printable(line).replace("\n", " ") for line in _lines(summary))


def _lines(summary: Summary) -> Iterator[str]:
    metrics, config = summary.metrics, summary.config
    counts = f"{metrics.passed} of {count(metrics.samples, 'sample')} of {count(metrics.tasks, 'task')} passed"
    yield f"{config.benchmark}, {config.model}: {counts}"
    level = f"{100 * metrics.level:.0f} % interval"
    for estimate in metrics.estimates:
        yield f"{estimate.name:<10}{percent(estimate.value):>8}   {level} {percent(estimate.low)} to {percent(estimate.high)}"
    for subset in metrics.subsets:
        for estimate in subset.estimates:
            interval = f"{level} {percent(estimate.low)} to {percent(estimate.high)}"
            yield f"{estimate.name:<10}{percent(estimate.value):>8}   {interval}, by the {subset.name} tests alone"
    for estimate in metrics.with_unprotected:
        yield f"{estimate.name:<10}{percent(estimate.value):>8}   counting passes judged without protection: {metrics.unprotected}"
    for left_out in metrics.left_out:
        yield f"note      {left_out}"
    yield "outcomes  " + ", ".join(f"{name} {count}" for name, count in sorted(metrics.outcomes.items(), key=lambda item: -item[1]))
    yield from _qualifications(summary)
    yield f"samples   {summary.judged} judged now ({summary.copied} copied from an equal program), {summary.resumed} from before"
    yield f"guards    {name_guards(config.isolation)}"
    yield f"folder    {summary.folder}"


def _qualifications(summary: Summary) -> Iterator[str]:
    metrics, gold = summary.metrics, summary.gold
    if metrics.masked:
        share = percent(metrics.masked_share)
        yield f"masked    {metrics.masked} ({share}): our faults, left out of the score; the same command judges them again"
    if metrics.flaky:
        where = f", of {_some(summary.flaky_tasks)}" if summary.flaky_tasks else ""
        yield f"flaky     {metrics.flaky}{where}: equal programs that ended differently"
    if gold.passed < gold.total:
        failed = (*gold.failed, *gold.masked)
        yield f"warning   {gold.total - gold.passed} of {count(gold.total, 'reference')} did not pass here: {_some(failed)}"
    for task_id, reason in list(gold.remarks.items())[:_SHOWN]:
        yield f"reference {task_id}: {reason}"
    if len(gold.remarks) > _SHOWN:
        yield f"reference {len(gold.remarks) - _SHOWN} more remarks are in metrics.json"
    if metrics.missing_tasks:
        absent = count(len(metrics.missing_tasks), "task")
        yield f"warning   {absent} without a sample, so the score is not comparable: {_some(metrics.missing_tasks)}"
    if summary.config.dataset_warning:
        yield f"warning   {summary.config.dataset_warning}"
    if summary.skipped:
        yield f"warning   {_count_bad(len(summary.skipped))} left out: {_some(summary.skipped)}"


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _count_bad(number: int) -> str:
    return "1 bad sample was" if number == 1 else f"{number} bad samples were"
