"""The table for a terminal: states, problems that are not solved, and what is wrong with a score."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from groundrun.records import Outcome, Verdict
from groundrun.reports.gathering import gather
from groundrun.reports.states import State
from groundrun.reports.table import ASCII_GLYPHS, GLYPHS, render_table

pytestmark = pytest.mark.unit
WriteRun = Callable[..., Path]


def show(run: Path, **settings: object) -> list[str]:
    """The lines of the table, without spaces at their ends."""
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(render_table(gather(run), **settings))  # type: ignore[arg-type]
    output = console.file
    assert isinstance(output, io.StringIO)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_the_table_is_this_text(write_run: WriteRun) -> None:
    """Scores, states with shares, problems, and the checks that are not fine."""
    samples = [("a", Verdict(task_id="t/1", passed=True, protected=True, reason="", outcome=Outcome.OK))]
    samples += [("b", Verdict(task_id="t/2\x1b[2J", passed=False, protected=True, reason="", outcome=Outcome.RAISED, flaky=True))]
    assert show(write_run(samples, model="m\x1b[31m")) == [
        r"toy 1, m\x1b[31m",
        "pass@1      50.0 %  95 % interval 0.0 % to 100.0 %",
        "●  passed   1  50.0 %",
        "!  crashed  1  50.0 %",
        "problem     passed  samples",
        r"t/2\x1b[2J  0 of 1  !~",
        "1 problem more: every sample passed",
        "Repeatability: 1 sample of equal programs ended differently when run again: flaky.",
        "Isolation: Rung landlock, landlock 2, memory per process, CPU by wait4. Missing: No disk guard.",
    ]


def test_rows_are_bounded_and_counted(write_run: WriteRun) -> None:
    """So are the marks of one problem."""
    samples = [(f"{number}", Verdict(task_id=f"t/{number}", passed=False, protected=True, reason="")) for number in range(5)]
    samples += [(f"{number}", Verdict(task_id="t/0", sample=number, passed=False, protected=True, reason="")) for number in range(1, 30)]
    lines = show(write_run(samples), rows=2, unicode=False)
    assert "3 problems more with samples that did not pass" in lines
    assert f"t/0      0 of 30  {'!' * 24} and 6 more" in lines


def test_every_state_has_a_sign_of_its_own() -> None:
    """In both alphabets."""
    for glyphs in (GLYPHS, ASCII_GLYPHS):
        assert set(glyphs) == set(State) and len(set(glyphs.values())) == len(State)
    assert "".join(ASCII_GLYPHS.values()).isascii()
