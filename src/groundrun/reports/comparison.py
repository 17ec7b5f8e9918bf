"""The report on a comparison, for a terminal: scores, difference, and the problems that only one of the runs solved, side by side.

What candidates wrote, their programs, reasons and failures, is shown only through `make_printable`. Wide characters are counted as the
terminal shows them, so that columns stay columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from groundrun.benchmarks.comparison import Comparison, Interval, Side
from groundrun.records import Verdict
from groundrun.reports.phrases import count, make_printable, percent

LINES = 30
"""Lines of a program, and MESSAGE characters of a failure, that are shown unless everything is asked for."""
MESSAGE = 300
_COLUMN = 400  # characters of one line of a program: one endless line shall not hide the rest


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What one run answered to a task: the verdict that stands for its side, and the program."""

    verdict: Verdict
    program: str


class Exhibit(msgspec.Struct, frozen=True, kw_only=True):
    """A task that only one of the runs solved, with the answers of both."""

    task_id: str
    a: Answer
    b: Answer


def render_comparison(comparison: Comparison, exhibits: Sequence[Exhibit], *, whole: bool = False) -> RenderableType:
    """Everything about a comparison; the programs of `exhibits` in two columns, cut to `LINES` unless `whole`."""
    heads = Text("\n".join(_list_lines(comparison)))
    parts: list[RenderableType] = [heads]
    pairs = {pair.task_id: pair for pair in comparison.pairs}
    for exhibit in exhibits:
        title = f"{make_printable(exhibit.task_id)}: only {'A' if exhibit.task_id in comparison.only_a else 'B'} passed"
        if comparison.permutation_p is not None:
            pair = pairs[exhibit.task_id]
            title += f" (samples that passed: A {percent(pair.a)}, B {percent(pair.b)})"
        parts.extend((Text(""), _render_exhibit(exhibit, title=title, whole=whole)))
    left = len(comparison.only_a) + len(comparison.only_b) - len(exhibits)
    if left:
        parts.extend((Text(""), Text(f"{count(left, 'more discordant task')}, not shown (--all)")))
    return Group(*parts)


def find_failing(verdict: Verdict) -> str:
    """The first test that failed, and which of its inputs; empty when none is known."""
    test = next((each for each in verdict.tests if each.passed is False), None)
    if test is None:
        return ""
    place = test.inputs.find("-")
    return test.name if place < 0 else f"{test.name}, input {place}"


def _list_lines(comparison: Comparison) -> Iterator[str]:
    level = f"{100 * comparison.level:.0f} % interval"
    yield f"{make_printable(comparison.benchmark)}, {count(len(comparison.pairs), 'task')} in both runs"
    sides = (("A", comparison.a), ("B", comparison.b))
    for letter, side in sides:
        yield f"{letter}         {_name(side)}"
    for letter, side in sides:
        yield f"pass@1 {letter}  {percent(side.score.value):>8}   {level} {_span(side.score)}"
    low, high = (_points(end) for end in (comparison.difference.low, comparison.difference.high))
    yield f"B - A     {_points(comparison.difference.value):>8}   {level} {low} to {high}, in percentage points"
    yield (
        f"tasks     {comparison.both} passed by both, {comparison.neither} by neither, "
        f"{len(comparison.only_a)} only by A, {len(comparison.only_b)} only by B"
    )
    yield f"McNemar   p = {_p(comparison.mcnemar_p)}, exact, two-sided, on the tasks that only one of them passed"
    if comparison.permutation_p is not None:
        yield f"sign flip p = {_p(comparison.permutation_p)}, two-sided, on the share of samples that passed in each task"
        yield "note      with several samples a task counts as passed when at least half of them passed"
    for warning in comparison.warnings:
        yield f"warning   {make_printable(warning)}"
    for why in sorted({left.why for left in comparison.left_out}):
        tasks = [left.task_id for left in comparison.left_out if left.why is why]
        shown = make_printable(", ".join(tasks[:5])) + (f" and {len(tasks) - 5} more" if len(tasks) > 5 else "")
        yield f"left out  {count(len(tasks), 'task')}, {why.value}: {shown}"


def _render_exhibit(exhibit: Exhibit, *, title: str, whole: bool) -> RenderableType:
    table = Table(expand=True, title=Text(title), title_justify="left")
    for letter, answer in (("A", exhibit.a), ("B", exhibit.b)):
        table.add_column(Text(_describe(letter, answer.verdict), overflow="fold"), ratio=1, overflow="fold")
    failed = [Text(_explain(answer.verdict, whole=whole), overflow="fold") for answer in (exhibit.a, exhibit.b)]
    table.add_row(*failed, end_section=True)
    table.add_row(*(Text(_cut(answer.program, whole=whole), overflow="fold") for answer in (exhibit.a, exhibit.b)))
    return table


def _describe(letter: str, verdict: Verdict) -> str:
    flaky = ", flaky" if verdict.flaky else ""
    return f"{letter}, sample {verdict.sample}: {'passed' if verdict.passed else 'failed'} ({verdict.outcome.value}{flaky})"


def _explain(verdict: Verdict, *, whole: bool) -> str:
    """The reason, the first failing test, and what it said."""
    parts = [verdict.reason, f"first failing test: {failing}" if (failing := find_failing(verdict)) else ""]
    if verdict.evidence and verdict.evidence.message not in verdict.reason:
        parts.append(verdict.evidence.message)
    text = make_printable("\n".join(filter(None, parts)))
    return text if whole or len(text) <= MESSAGE else f"{text[:MESSAGE]} ..."


def _cut(program: str, *, whole: bool) -> str:
    lines = make_printable(program).expandtabs(4).strip("\n").rstrip().split("\n")
    if whole:
        return "\n".join(lines)
    shown = [line if len(line) <= _COLUMN else f"{line[:_COLUMN]} ..." for line in lines[:LINES]]
    rest = len(lines) - LINES
    return "\n".join([*shown, f"... {count(rest, 'more line')}"] if rest > 0 else shown)


def _name(side: Side) -> str:
    return f"{make_printable(side.model)}, {count(side.samples, 'sample')}, {make_printable(side.name)}"


def _span(interval: Interval) -> str:
    return f"{percent(interval.low)} to {percent(interval.high)}"


def _points(difference: float) -> str:
    """A difference of two shares, in percentage points with their sign."""
    return f"{100 * difference:+.1f}"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}"
