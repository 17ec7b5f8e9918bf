"""The report on a run for a terminal: what samples came to, and a line for each problem that not every sample solved.

Promises: no control character of a candidate or of data reaches the terminal; a state is a letter or a sign of its own, not only a
colour; what is not shown is counted. Does not promise every problem: `groundrun report --json` and the page have them.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from groundrun.reports.checks import list_checks
from groundrun.reports.gathering import ProblemReport, Report
from groundrun.reports.phrases import count, make_printable, percent
from groundrun.reports.states import State

ROWS = 40
"""Problems that are shown unless more are asked for."""
_MARKS = 24
GLYPHS = {
    State.PASSED: "●",
    State.UNPROTECTED: "◐",
    State.WRONG: "✗",
    State.CRASHED: "!",
    State.LIMIT: "◷",
    State.MASKED: "?",
    State.PENDING: "·",
}
ASCII_GLYPHS = {
    State.PASSED: "+",
    State.UNPROTECTED: "u",
    State.WRONG: "x",
    State.CRASHED: "!",
    State.LIMIT: "L",
    State.MASKED: "?",
    State.PENDING: ".",
}
_STYLES = {
    State.PASSED: "green",
    State.UNPROTECTED: "blue",
    State.WRONG: "red",
    State.CRASHED: "red",
    State.LIMIT: "yellow",
    State.MASKED: "bold yellow",
    State.PENDING: "dim",
}


def render_table(report: Report, *, unicode: bool = True, rows: int = ROWS) -> RenderableType:
    """The scores, the states with their shares, up to `rows` problems, and every check that is not fine."""
    glyphs = GLYPHS if unicode else ASCII_GLYPHS
    unsolved = [problem for problem in report.problems if problem.passed < len(problem.marks)]
    parts: list[RenderableType] = [_head(report), _states(report, glyphs)]
    if unsolved:
        parts.append(_problems(unsolved[:rows], glyphs))
    solved = len(report.problems) - len(unsolved)
    if solved:
        parts.append(Text(f"{count(solved, 'problem')} more: every sample passed", "dim"))
    if len(unsolved) > rows:
        parts.append(Text(f"{count(len(unsolved) - rows, 'problem')} more with samples that did not pass", "dim"))
    notes = [check for check in list_checks(report) if check.fine is False]
    parts += [Text(make_printable(f"{check.name}: {check.text}"), "yellow") for check in notes]
    return Group(*parts)


def _head(report: Report) -> Text:
    metrics = report.metrics
    lines = [f"{report.config.benchmark}, {report.config.model}"]
    level = f"{100 * metrics.level:.0f} % interval"
    lines += [
        f"{estimate.name:<9} {percent(estimate.value):>8}  {level} {percent(estimate.low)} to {percent(estimate.high)}"
        for estimate in metrics.estimates
    ]
    for subset in metrics.subsets:
        for part in subset.estimates:
            interval = f"{level} {percent(part.low)} to {percent(part.high)}"
            lines.append(f"{part.name:<9} {percent(part.value):>8}  {interval}, {subset.name} tests alone")
    for estimate in metrics.with_unprotected:
        unprotected = count(metrics.unprotected, "unprotected pass", "unprotected passes")
        lines.append(f"{estimate.name:<9} {percent(estimate.value):>8}  counting {unprotected}")
    return Text(make_printable("\n".join(lines)))


def _states(report: Report, glyphs: dict[State, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    total = sum(report.states.values())
    for _ in range(2):
        table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    for state, number in report.states.items():
        table.add_row(Text(glyphs[state], _STYLES[state]), state.name_plainly(), f"{number}", percent(number / total))
    return table


def _problems(problems: Sequence[ProblemReport], glyphs: dict[State, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("problem", overflow="fold")
    table.add_column("passed", justify="right", no_wrap=True)
    table.add_column("samples", overflow="fold")
    for problem in problems:
        marks = Text()
        for mark in problem.marks[:_MARKS]:
            marks.append(glyphs[mark.state], _STYLES[mark.state])
            if mark.flaky:
                marks.append("~", "bold yellow")
        if len(problem.marks) > _MARKS:
            marks.append(f" and {len(problem.marks) - _MARKS} more", "dim")
        table.add_row(Text(make_printable(problem.task_id)), f"{problem.passed} of {problem.scored}", marks)
    return table
