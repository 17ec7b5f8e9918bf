"""What decides how far a score can be trusted, as a list of checks that are fine or not, each with its sentence.

Pure functions. Promises that every check is there whether it is fine or not, so that a reader sees what was looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from groundrun.records import MemoryGuard, Rung
from groundrun.reports.gathering import Report
from groundrun.reports.phrases import count, name_guards, percent
from groundrun.reports.states import State

_SHOWN = 5


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `fine` is None where nothing is known."""

    name: str
    fine: bool | None
    text: str


def list_checks(report: Report) -> tuple[Check, ...]:
    """All checks, what is wrong first."""
    return tuple(sorted(_checks(report), key=lambda check: check.fine is True))


def _checks(report: Report) -> Iterator[Check]:
    metrics, config = report.metrics, report.config
    yield _check_end(report)
    yield Check(
        name="Our own faults",
        fine=not metrics.masked,
        text=f"{count(metrics.masked, 'sample')} ({percent(metrics.masked_share)}) masked: left out of the score, never counted as 0."
        if metrics.masked
        else "No sample was masked: every answer is the candidate's own.",
    )
    yield _check_gold(report)
    yield Check(
        name="Protection",
        fine=not metrics.unprotected,
        text=f"{count(metrics.unprotected, 'pass', 'passes')} judged in one process with the candidate: kept out of the headline."
        if metrics.unprotected
        else "Every pass was judged with the expected answers out of the candidate's process.",
    )
    yield Check(
        name="Repeatability",
        fine=not metrics.flaky,
        text=f"{count(metrics.flaky, 'sample')} of equal programs ended differently when run again: flaky."
        if metrics.flaky
        else "No equal programs were seen to end differently.",
    )
    absent = (*metrics.missing_tasks, *metrics.masked_tasks)
    if absent:
        text = f"{count(len(absent), 'task')} without an answer, so the score is not comparable: {_some(absent)}."
    elif report.problems_known:
        text = f"All {count(metrics.tasks, 'task')} of the benchmark are in the score."
    else:
        text = f"{count(metrics.tasks, 'task')} in the score; the benchmark's data were not at hand to tell whether that is all."
    yield Check(name="Completeness", fine=False if absent else True if report.problems_known else None, text=text)
    yield Check(
        name="Data", fine=not config.dataset_warning, text=config.dataset_warning or "The data are the official ones, by their checksum."
    )
    weak = config.isolation.rung is Rung.NONE or config.isolation.memory_guard is MemoryGuard.NOTHING
    missing = " ".join(f"Missing: {sentence.rstrip('.')}." for sentence in config.isolation.missing)
    guards = name_guards(config.isolation).replace("isolation", "Rung", 1)
    yield Check(name="Isolation", fine=not (weak or missing), text=f"{guards}. {missing}".strip())


def _check_end(report: Report) -> Check:
    if report.finished:
        return Check(name="The run", fine=True, text="It came to its end.")
    done = sum(report.states.values()) - report.states.get(State.PENDING, 0)
    known = f"{done} of {count(report.expected, 'sample')}" if report.expected else count(done, "sample")
    return Check(name="The run", fine=False, text=f"It is unfinished: {known} judged. The scores are of what is there and will change.")


def _check_gold(report: Report) -> Check:
    gold = report.gold
    if gold is None:
        return Check(name="References", fine=None, text="Nothing is known of the reference solutions yet.")
    if not gold.total:
        return Check(name="References", fine=None, text="The problems have no reference solutions that could have been tried here.")
    failed = (*gold.failed, *gold.masked)
    if failed:
        return Check(
            name="References", fine=False, text=f"{len(failed)} of {count(gold.total, 'reference')} did not pass here: {_some(failed)}."
        )
    return Check(
        name="References", fine=True, text=f"All {count(gold.total, 'reference')} passed here, {gold.protected} of them protected."
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
