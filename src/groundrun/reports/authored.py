"""The report on authored candidates: was every verdict the one that the candidate was written to get?

A glyph is one candidate: a full circle passed, an empty one did not, and what should have been otherwise is marked. Columns are what
the candidates were authored to be, so a good report has full circles in the first column and nowhere else. Where a terminal is
narrow, headings are cut to two letters and told below.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from groundrun.benchmarks.inventory import Key
from groundrun.records import Completion, Verdict
from groundrun.reports.phrases import make_printable
from groundrun.starter import Candidate, Idea, StarterProblem

GLYPHS = {"passed": "●", "failed": "○", "unexpected": "✗", "masked": "?"}
ASCII_GLYPHS = {"passed": "+", "failed": "-", "unexpected": "X", "masked": "?"}
_WIDE = 81
"""Columns that the table needs with its headings in full."""
_STYLES = {"passed": "green", "failed": "dim", "unexpected": "bold red", "masked": "bold yellow"}


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate with the verdict that it got; `verdict` is None when it has none."""

    problem: str
    candidate: Candidate
    verdict: Verdict | None

    @property
    def as_authored(self) -> bool:
        """Whether passing, and the outcome where it belongs to the idea, are what was authored."""
        verdict, wanted = self.verdict, self.candidate
        return verdict is not None and verdict.passed is wanted.passes and wanted.outcome in (None, verdict.outcome)

    @property
    def state(self) -> str:
        """The name of the glyph to show."""
        if self.verdict is None or self.verdict.passed is None:
            return "masked"
        return ("passed" if self.verdict.passed else "failed") if self.as_authored else "unexpected"

    def explain(self) -> str:
        """One line about a verdict that is not the authored one."""
        wanted = "pass" if self.candidate.passes else "fail"
        if self.candidate.outcome:
            wanted += f" with {self.candidate.outcome.value}"
        got = f"{self.verdict.outcome.value}, {self.verdict.reason}" if self.verdict else "no verdict"
        return f"{self.problem}, {self.candidate.label!r} should {wanted}: {make_printable(' '.join(got.split()))}"


def match_verdicts(problems: Sequence[StarterProblem], verdicts: Iterable[Verdict]) -> list[Judged]:
    """Every candidate with its verdict, in the order of the set."""
    found = {(verdict.task_id, verdict.sample): verdict for verdict in verdicts}
    return [
        Judged(problem=problem.title, candidate=candidate, verdict=found.get((problem.problem.task_id, number)))
        for problem in problems
        for number, candidate in enumerate(problem.candidates)
    ]


def label_candidates(problems: Sequence[StarterProblem], completions: Iterable[Completion]) -> dict[Key, str]:
    """What each completion is called, for those that are the set's own candidates; a model's answers get no name."""
    candidates = {
        (problem.problem.task_id, number): candidate for problem in problems for number, candidate in enumerate(problem.candidates)
    }
    labels = {}
    for completion in completions:
        key = (completion.task_id, completion.sample)
        candidate = candidates.get(key)
        if candidate is not None and candidate.source == completion.text:
            labels[key] = f"{candidate.idea.value}: {candidate.label}"
    return labels


def render_authored(judged: Sequence[Judged], *, unicode: bool = True, width: int = _WIDE) -> RenderableType:
    """The table of glyphs, one row a problem, one column an idea, and a line for each verdict that is not as authored."""
    glyphs = GLYPHS if unicode else ASCII_GLYPHS
    narrow = width < _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 1 if narrow else 2, 0, 0))
    table.add_column("problem", no_wrap=True)
    for idea in Idea:
        table.add_column(idea.value[:2] if narrow else idea.value, no_wrap=True)
    rows: dict[str, dict[Idea, Text]] = {}
    for each in judged:
        cell = rows.setdefault(each.problem, {idea: Text() for idea in Idea})[each.candidate.idea]
        cell.append(glyphs[each.state], _STYLES[each.state])
    for problem, cells in rows.items():
        table.add_row(problem, *(cells[idea] for idea in Idea))
    legend = Text("  ".join(f"{glyphs[state]} {state}" for state in GLYPHS), "dim")
    wrong = [Text(f"not as authored: {each.explain()}", "red") for each in judged if not each.as_authored]
    headings = [Text("  ".join(f"{idea.value[:2]} {idea.value}" for idea in Idea), "dim")] if narrow else []
    return Group(table, legend, *headings, *wrong)
