"""A score never stands without what qualifies it."""

from __future__ import annotations

import msgspec
import pytest

from groundrun.benchmarks.metrics import measure
from groundrun.benchmarks.runner import Summary
from groundrun.benchmarks.store import Gold, RunConfig
from groundrun.records import CpuSource, Isolation, Limits, MemoryGuard, Outcome, Rung, Verdict
from groundrun.reports.evaluation import render_summary

pytestmark = pytest.mark.unit

ISOLATION = Isolation(rung=Rung.LANDLOCK, memory_guard=MemoryGuard.RLIMIT_AS, cpu_guard=CpuSource.WAIT4, landlock_abi=2)
CONFIG = RunConfig(
    benchmark="humaneval 1",
    dataset_sha256="0",
    limits=Limits(),
    judge="1",
    isolation=ISOLATION,
    source="samples",
    model="m\x1b[2J",
    python="3",
)


def verdicts(*passed: bool | None, protected: bool = True) -> list[Verdict]:
    """One verdict a task."""
    return [
        Verdict(task_id=f"t{number}", passed=each, protected=protected, reason="", outcome=Outcome.OK if each else Outcome.RAISED)
        for number, each in enumerate(passed)
    ]


def summarize(found: list[Verdict], **changes: object) -> str:
    """The report on these verdicts, of a benchmark with as many tasks."""
    summary = Summary(
        folder="runs/x",
        config=CONFIG,
        metrics=measure(found, task_ids=[f"t{number}" for number in range(len(found))], ks=(1, 10)),
        gold=Gold(passed=len(found), total=len(found), protected=len(found)),
        rules={},
        judged=len(found),
        resumed=0,
        copied=0,
    )
    return render_summary(msgspec.structs.replace(summary, **changes))


def test_plain_run_is_this_text() -> None:
    """Score, interval, what was left out, outcomes, guards, folder; and no escape of the model's name."""
    lines = summarize(verdicts(True, True, True, True)).splitlines()
    assert lines == [
        r"humaneval 1, m\x1b[2J: 4 of 4 samples of 4 tasks passed",
        "pass@1     100.0 %   95 % interval 51.0 % to 100.0 %",
        "note      pass@10 was left out: a task has only 1 sample with an answer",
        "outcomes  ok 4",
        "samples   4 judged now (0 copied from an equal program), 0 from before",
        "guards    isolation landlock, landlock 2, memory per process, CPU by wait4",
        "folder    runs/x",
    ]


def test_masked_verdicts_are_told() -> None:
    """With their share, beside a score that leaves them out."""
    shown = summarize(verdicts(True, None))
    assert "pass@1     100.0 %" in shown
    assert "masked    1 (50.0 %): our faults" in shown


def test_unprotected_passes_are_a_row_of_their_own() -> None:
    """They don't enter the first row."""
    shown = summarize(verdicts(True, False, protected=False))
    assert "pass@1       0.0 %   95 %" in shown
    assert "pass@1      50.0 %   counting passes judged without protection: 1" in shown


def test_failed_references_and_other_data_are_warnings() -> None:
    """Both mean that the score says little about the model."""
    config = msgspec.structs.replace(CONFIG, dataset_warning="x is not the official humaneval 1")
    shown = summarize(verdicts(True), gold=Gold(passed=163, total=164, protected=163, failed=("HumanEval/32",)), config=config)
    assert "warning   1 of 164 references did not pass here: HumanEval/32" in shown
    assert "warning   x is not the official humaneval 1" in shown


def test_long_lists_are_cut() -> None:
    """Five names, and how many more."""
    shown = summarize(verdicts(True), skipped=tuple(f"line {number}" for number in range(7)))
    assert "warning   7 bad samples were left out: line 0, line 1, line 2, line 3, line 4 and 2 more" in shown


def test_one_sample_is_singular() -> None:
    """So is one task."""
    assert summarize(verdicts(True)).startswith(r"humaneval 1, m\x1b[2J: 1 of 1 sample of 1 task passed")


def test_no_text_ends_a_line_or_reaches_the_terminal() -> None:
    """Names of tasks, of the benchmark, of what was left out, and reasons come from data."""
    hostile = "a\x1b[2J\u202e\npass@1  100.0 %"
    plain = summarize(verdicts(True, None))
    text = summarize(
        verdicts(True, None),
        config=msgspec.structs.replace(CONFIG, benchmark=hostile, model=hostile, dataset_warning=hostile),
        gold=Gold(passed=0, total=2, protected=0, failed=(hostile,), masked=(hostile,), remarks={hostile: hostile}),
        flaky_tasks=(hostile,),
        skipped=(hostile,),
        folder=hostile,
        metrics=msgspec.structs.replace(measure(verdicts(True, None)), flaky=1, missing_tasks=(hostile,), left_out=(hostile,)),
    )
    assert not {"\x1b", "\u202e"} & set(text)
    heads = [line.split("  ")[0] for line in text.splitlines()]
    assert heads.count("pass@1") == [line.split("  ")[0] for line in plain.splitlines()].count("pass@1") == 1
    assert text.count("x1b[2J") >= 10
