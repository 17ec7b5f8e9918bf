"""The report on a comparison: every number with its meaning, and nothing that a candidate wrote reaches the terminal as it is."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from groundrun.benchmarks.comparison import Comparison, Gap, Interval, LeftOut, Pair, Side
from groundrun.records import Evidence, Outcome, TestVerdict, Verdict
from groundrun.reports.comparison import LINES, Answer, Exhibit, find_failing, render_comparison

pytestmark = pytest.mark.unit

SCORE = Interval(value=0.5, low=0.25, high=0.75)
COMPARISON = Comparison(
    benchmark="tiny 1",
    a=Side(name="runs/a", model="left\x1b[2J", samples=4, score=SCORE),
    b=Side(name="runs/b", model="right", samples=4, score=SCORE),
    difference=Interval(value=0.0, low=-0.25, high=0.25),
    both=1,
    neither=1,
    only_a=("T/1",),
    only_b=("T/2",),
    mcnemar_p=1.0,
    permutation_p=None,
    pairs=tuple(Pair(task_id=f"T/{number}", a=1.0, b=1.0) for number in range(4)),
)
PASSED = Verdict(task_id="T/1", passed=True, protected=True, reason="every test passed", outcome=Outcome.OK)
FAILED = Verdict(
    task_id="T/1",
    passed=False,
    protected=True,
    reason="a test failed\x1b]0;title\x07",
    outcome=Outcome.OK,
    tests=(TestVerdict(name="first", passed=True), TestVerdict(name="second", passed=False, inputs="++-.")),
    evidence=Evidence(test="second", message="got \u202e3"),
)
EXHIBIT = Exhibit(
    task_id="T/1", a=Answer(verdict=PASSED, program="\n\nprint(1)\n"), b=Answer(verdict=FAILED, program="print('\x1b[31m\x9b2J')\n")
)


def show(comparison: Comparison, *exhibits: Exhibit, width: int = 100, whole: bool = False) -> str:
    """The report as a terminal of so many columns would get it."""
    out = io.StringIO()
    Console(file=out, width=width, height=50, force_terminal=True, color_system=None, highlight=False).print(
        render_comparison(comparison, exhibits, whole=whole)
    )
    return out.getvalue()


def test_numbers_are_these_lines() -> None:
    """Both scores with intervals, the difference, the counts, the p."""
    assert show(COMPARISON).rstrip().splitlines()[:7] == [
        "tiny 1, 4 tasks in both runs",
        r"A         left\x1b[2J, 4 samples, runs/a",
        "B         right, 4 samples, runs/b",
        "pass@1 A    50.0 %   95 % interval 25.0 % to 75.0 %",
        "pass@1 B    50.0 %   95 % interval 25.0 % to 75.0 %",
        "B - A         +0.0   95 % interval -25.0 to +25.0, in percentage points",
        "tasks     1 passed by both, 1 by neither, 1 only by A, 1 only by B",
    ]
    assert "McNemar   p = 1.0000, exact, two-sided" in show(COMPARISON)


def test_what_qualifies_the_numbers_stands_beside_them() -> None:
    """Other settings, tasks left out, several samples, tasks not shown."""
    left_out = tuple(LeftOut(task_id=f"T/{number}", why=Gap.MASKED) for number in range(9))
    shown = show(
        msgspec.structs.replace(COMPARISON, warnings=("the limit cpu_s differs",), left_out=left_out, permutation_p=0.00001), width=200
    )
    assert "warning   the limit cpu_s differs" in shown
    assert "left out  9 tasks, every sample of one run is masked: T/0, T/1, T/2, T/3, T/4 and 4 more" in shown
    assert "sign flip p = 1.0e-05" in shown and "at least half of them passed" in shown
    assert "2 more discordant tasks, not shown (--all)" in shown


def test_programs_stand_side_by_side() -> None:
    """With verdict, reason, first failing test and input."""
    lines = show(COMPARISON, EXHIBIT).splitlines()
    (row,) = (line for line in lines if "print(1)" in line)
    assert r"print('\x1b[31m\x9b2J')" in row
    assert any("T/1: only A passed" in line for line in lines)
    assert any("A, sample 0: passed (ok)" in line and "B, sample 0: failed (ok)" in line for line in lines)
    assert any("first failing test: second, input 2" in line for line in lines)
    assert "1 more discordant task, not shown" in lines[-1]


def test_several_samples_have_their_share_beside_the_task() -> None:
    """Because the two programs that are shown are one sample of several."""
    pairs = (Pair(task_id="T/1", a=2 / 3, b=0.0),)
    title = "T/1: only A passed (samples that passed: A 66.7 %, B 0.0 %)"
    assert title in show(msgspec.structs.replace(COMPARISON, pairs=pairs, permutation_p=0.5), EXHIBIT)
    assert title not in show(COMPARISON, EXHIBIT)


def test_nothing_hostile_passes() -> None:
    """No control character but line ends, no format character: of the model's name, reason, message or program."""
    shown = show(COMPARISON, EXHIBIT)
    assert not set(shown) & set("\x1b\x07\x9b\u202e")
    assert {letter for letter in shown if letter < " "} == {"\n"}


@pytest.mark.parametrize("width", [40, 80, 133])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Long lines and wide characters are folded."""
    program = "x = '" + "長い" * 200 + "'\n" + "y" * 3000
    exhibit = msgspec.structs.replace(EXHIBIT, b=Answer(verdict=FAILED, program=program))
    console = Console(width=width, height=50)
    assert max(console.measure(line).maximum for line in show(COMPARISON, exhibit, width=width).splitlines() if "│" in line) <= width


def test_long_programs_are_cut_unless_asked_for() -> None:
    """And say how much is missing."""
    program = "".join(f"line_{number} = 0\n" for number in range(LINES + 5))
    exhibit = msgspec.structs.replace(EXHIBIT, a=Answer(verdict=PASSED, program=program))
    assert "... 5 more lines" in show(COMPARISON, exhibit)
    assert f"line_{LINES}" not in show(COMPARISON, exhibit)
    assert f"line_{LINES + 4}" in show(COMPARISON, exhibit, whole=True)


def test_failing_test_may_be_unknown() -> None:
    """A crash before any test has none."""
    assert find_failing(FAILED) == "second, input 2"
    assert find_failing(PASSED) == ""
    assert find_failing(msgspec.structs.replace(FAILED, tests=(TestVerdict(name="only", passed=False),))) == "only"
