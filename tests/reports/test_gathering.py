"""A run folder becomes one record: states that add up, equal programs once, bounds, anchors, and runs that stopped half way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrun.errors import BadInput
from groundrun.records import CallTest, Evidence, ExceptionInfo, Outcome, Problem, Verdict
from groundrun.reports.gathering import gather
from groundrun.reports.phrases import make_printable, number_ranges, seconds, shorten, size
from groundrun.reports.states import State, find_state, name_failure
from groundrun.reports.strips import tell_inputs

pytestmark = pytest.mark.unit
WriteRun = Callable[..., Path]


def verdict(task_id: str = "t", sample: int = 0, passed: bool | None = True, **more: object) -> Verdict:
    """One verdict, protected unless it says otherwise."""
    fields = {"protected": True, "reason": "because", "outcome": Outcome.OK, **more}
    return Verdict(task_id=task_id, sample=sample, passed=passed, **fields)  # type: ignore[arg-type]


def test_each_verdict_has_one_state() -> None:
    """Verdict and outcome decide together."""
    found = [
        find_state(each)
        for each in (
            verdict(),
            verdict(protected=False),
            verdict(passed=False),
            verdict(passed=False, outcome=Outcome.RAISED),
            verdict(passed=False, outcome=Outcome.COMPILE_ERROR),
            verdict(passed=False, outcome=Outcome.WALL_LIMIT),
            verdict(passed=None),
            None,
        )
    ]
    crashed = [State.CRASHED, State.CRASHED]
    assert found == [State.PASSED, State.UNPROTECTED, State.WRONG, *crashed, State.LIMIT, State.MASKED, State.PENDING]
    assert {state.describe() for state in State} and len({state.name_plainly() for state in State}) == len(State)


def test_equal_programs_with_equal_answers_are_one(write_run: WriteRun) -> None:
    """With all their numbers; one that ended differently stands apart."""
    samples = [("same", verdict(sample=number)) for number in (0, 1, 3)]
    samples += [("same", verdict(sample=2, passed=False, flaky=True)), ("other", verdict(sample=4))]
    report = gather(write_run(samples))
    programs = report.problems[0].programs
    assert [(shown.samples, shown.state, shown.flaky) for shown in programs] == [
        ((0, 1, 3), State.PASSED, False),
        ((2,), State.WRONG, True),
        ((4,), State.PASSED, False),
    ]
    assert [mark.sample for mark in report.problems[0].marks] == [0, 1, 2, 3, 4]
    assert report.programs == 3 and report.states == {State.PASSED: 4, State.WRONG: 1}
    assert report.metrics.flaky == 1


def test_unfinished_runs_are_scored_from_what_is_there(write_run: WriteRun) -> None:
    """And say so; what has no verdict is pending."""
    run = write_run([("a", verdict()), ("b", verdict(sample=1, passed=False)), ("c", ("t", 2))], finished=False)
    report = gather(run)
    assert not report.finished and report.gold is None
    assert report.states == {State.PASSED: 1, State.WRONG: 1, State.PENDING: 1}
    assert report.metrics.estimates[0].value == 0.5
    assert gather(write_run([("a", verdict())], name="done")).finished


def test_old_scores_are_not_those_of_a_run_that_goes_on(write_run: WriteRun, tmp_path: Path) -> None:
    """metrics.json of an earlier, shorter pass is not believed."""
    run = write_run([("a", verdict())])
    longer = write_run([("a", verdict()), ("b", verdict(sample=1, passed=False))], name="longer")
    (longer / "metrics.json").write_bytes((run / "metrics.json").read_bytes())
    report = gather(longer)
    assert not report.finished and report.metrics.samples == 2


def test_what_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    """In one sentence with the path."""
    with pytest.raises(BadInput, match=r"run\.json"):
        gather(tmp_path)


def test_programs_beyond_the_bound_are_counted(write_run: WriteRun) -> None:
    """Every problem keeps its first program before any keeps its second; marks of the others lead to their problem."""
    run = write_run([(f"{task}{number}", verdict(task, number)) for task in ("b", "a") for number in range(3)])
    report = gather(run, most=3)
    assert [(problem.task_id, len(problem.programs), problem.left_out) for problem in report.problems] == [("a", 2, 1), ("b", 1, 2)]
    assert report.left_out == 3 and report.programs == 6
    assert [mark.anchor for mark in report.problems[1].marks] == ["b-0", "b", "b"]
    assert sum(report.states.values()) == 6


def test_problems_come_in_the_order_of_the_data(write_run: WriteRun) -> None:
    """Without data: 10 after 9."""
    run = write_run([("x", verdict(task)) for task in ("t/10", "t/9", "t/1")])
    assert [problem.task_id for problem in gather(run).problems] == ["t/1", "t/9", "t/10"]
    data = [
        Problem(task_id=task, prompt="p", hidden=(CallTest(arguments="(1,)", name="one"),)) for task in ("t/10", "t/1", "absent", "t/9")
    ]
    report = gather(run, data)
    assert [problem.task_id for problem in report.problems] == ["t/10", "t/1", "t/9"]
    view = report.problems[0].problem
    assert view is not None and view.tests[0].hidden and view.tests[0].text == "arguments  (1,)\nexpected   None"
    assert report.problems_known


def test_long_texts_are_cut(write_run: WriteRun) -> None:
    """Of a program, a message and a test alike, and it is said."""
    evidence = Evidence(message="m" * 100_000, exception=ExceptionInfo(type="E" * 50_000, message="x"), stdout="o" * 100_000)
    run = write_run([("s" * 1_000_000, verdict(passed=False, evidence=evidence, reason="r" * 100_000))])
    shown = gather(run).problems[0].programs[0]
    assert shown.verdict and shown.verdict.evidence and shown.verdict.evidence.exception
    texts = (shown.source, shown.verdict.reason, shown.verdict.evidence.message, shown.verdict.evidence.exception.type)
    assert all(len(text) < 41_000 and "characters left out" in text for text in texts)


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (verdict(passed=False, outcome=Outcome.CPU_LIMIT), "cpu limit"),
        (verdict(passed=False, evidence=Evidence(exception=ExceptionInfo(type="KeyError", message=""))), "KeyError"),
        (verdict(passed=False, reason="a test failed"), "a test failed"),
    ],
)
def test_failures_have_short_names(found: Verdict, name: str) -> None:
    """The exception, the limit, or the reason."""
    assert name_failure(found) == name


def test_anchors_are_plain_and_unique(write_run: WriteRun) -> None:
    """Tasks whose names differ only in signs, or are a place's own, get different ones."""
    run = write_run([("x", verdict(task)) for task in ("a/b", "a b", "a-b", "main", "<i>", "é")])
    report = gather(run)
    anchors = [problem.anchor for problem in report.problems] + [mark.anchor for problem in report.problems for mark in problem.marks]
    assert len(set(anchors)) == len(anchors) == 12
    assert "main" not in anchors and all(anchor.isascii() and not set(anchor) & set("<> /\"'") for anchor in anchors)


@given(st.text())
def test_printable_texts_have_nothing_hidden(text: str) -> None:
    """Making them printable again changes nothing, and all plain letters stay."""
    shown = make_printable(text)
    assert make_printable(shown) == shown
    assert not set(shown) & set("\x00\x1b\x7f\x9b\u200b\u202e\u2028\ud800\r")
    assert [letter for letter in shown if letter in "abc<>&\n\t"].count("<") == text.count("<")


def test_numbers_are_told_as_people_write_them() -> None:
    """Times, sizes, runs of numbers, inputs, cuts."""
    assert [seconds(each) for each in (0.00296, 0.0994, 0.25, 0.9999, 1.254, 12.04)] == [
        "3.0 ms",
        "99.4 ms",
        "250 ms",
        "1.00 s",
        "1.25 s",
        "12.0 s",
    ]
    assert [size(each) for each in (0, 1023, 1024, 1_887_436, 1 << 40)] == ["0 B", "1023 B", "1.0 KiB", "1.8 MiB", "1.0 TiB"]
    assert number_ranges([0, 2, 3, 4, 8, 9]) == "0, 2 to 4, 8, 9"
    assert tell_inputs("++-+-.") == "3 of 6 inputs passed, failed 3, 5, 1 not reached"
    assert shorten("abcdefghij", 8) == "abcdef\n[… 2 characters left out …]\nij"
