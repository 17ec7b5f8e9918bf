"""The glyphs tell the truth about authored candidates."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from groundrun.records import Completion, Outcome, Problem, Verdict
from groundrun.reports.authored import Judged, label_candidates, match_verdicts, render_authored
from groundrun.starter import Candidate, Idea, Kind, StarterProblem

pytestmark = pytest.mark.unit

RIGHT = Candidate(label="good", idea=Idea.RIGHT, passes=True, source="")
ENDLESS = Candidate(label="turning", idea=Idea.ENDLESS, passes=False, source="", outcome=Outcome.CPU_LIMIT)
CHEAT = Candidate(label="sly", idea=Idea.CHEAT, passes=False, source="")
PROBLEM = StarterProblem(title="Sum", kind=Kind.FUNCTION, problem=Problem(task_id="t", prompt=""), candidates=(RIGHT, ENDLESS, CHEAT))


def verdict(passed: bool | None, *, sample: int = 0, outcome: Outcome = Outcome.OK) -> Verdict:
    """A verdict as the judge would give it."""
    return Verdict(task_id="t", passed=passed, protected=True, reason="said\x1b[31m so\nand so", sample=sample, outcome=outcome)


@pytest.mark.parametrize(
    ("candidate", "got", "state"),
    [
        (RIGHT, verdict(True), "passed"),
        (RIGHT, verdict(False), "unexpected"),
        (RIGHT, verdict(None), "masked"),
        (RIGHT, None, "masked"),
        (CHEAT, verdict(False), "failed"),
        (CHEAT, verdict(True), "unexpected"),
        (ENDLESS, verdict(False, outcome=Outcome.CPU_LIMIT), "failed"),
        (ENDLESS, verdict(False, outcome=Outcome.WALL_LIMIT), "unexpected"),
    ],
)
def test_state_follows_from_verdict_and_intention(candidate: Candidate, got: Verdict | None, state: str) -> None:
    """A masked verdict is never as authored, nor is the right answer for the wrong reason."""
    judged = Judged(problem="Sum", candidate=candidate, verdict=got)
    assert judged.state == state
    assert judged.as_authored is (state in ("passed", "failed"))


def test_report_is_this_text() -> None:
    """One row a problem, one column an idea, and a line for what went wrong."""
    judged = match_verdicts([PROBLEM], [verdict(True), verdict(False, sample=1, outcome=Outcome.CPU_LIMIT), verdict(True, sample=2)])
    out = io.StringIO()
    Console(file=out, width=100, color_system=None, soft_wrap=True).print(render_authored(judged))
    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        "problem  right  wrong  crash  endless  slow  memory  cheat",
        "Sum      ●                    ○                      ✗",
        "● passed  ○ failed  ✗ unexpected  ? masked",
        r"not as authored: Sum, 'sly' should fail: ok, said\x1b[31m so and so",
    ]


def test_report_can_be_plain_characters() -> None:
    """For a terminal that has no others."""
    out = io.StringIO()
    Console(file=out, width=100, color_system=None).print(render_authored(match_verdicts([PROBLEM], []), unicode=False))
    assert out.getvalue().isascii()
    assert out.getvalue().count("no verdict") == 3


def test_narrow_report_keeps_its_columns() -> None:
    """Headings are two letters, told below; no cell is cut at 50 columns."""
    titled = msgspec.structs.replace(PROBLEM, title="A title of twenty-six char")
    judged = match_verdicts([titled], [verdict(True), verdict(False, sample=1, outcome=Outcome.CPU_LIMIT), verdict(False, sample=2)])
    out = io.StringIO()
    Console(file=out, width=50, color_system=None).print(render_authored(judged, width=50))
    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        "problem                    ri wr cr en sl me ch",
        "A title of twenty-six char ●        ○        ○",
        "● passed  ○ failed  ✗ unexpected  ? masked",
        "ri right  wr wrong  cr crash  en endless  sl slow",
        "me memory  ch cheat",
    ]


def test_only_the_sets_own_candidates_get_their_names() -> None:
    """An answer of a model under the same number is not taken for one."""
    own, other = (Completion(task_id="t", text=text, sample=1) for text in ("", "something else"))
    assert label_candidates([PROBLEM], [own]) == {("t", 1): "endless: turning"}
    assert label_candidates([PROBLEM], [other]) == {}
