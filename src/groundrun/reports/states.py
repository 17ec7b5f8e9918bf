"""What a candidate came to, in one word: the verdict and the way in which the program ended, for readers.

Pure functions. Promises that exactly one state holds for each sample, so that their counts add up to the samples; that a sample is
flaky is said beside its state and is no state of its own.
"""

from __future__ import annotations

from enum import StrEnum

from groundrun.records import Outcome, Verdict
from groundrun.reports.phrases import shorten


class State(StrEnum):
    """What a candidate came to. The value serializes; `name_plainly()` and `describe()` are for people."""

    PASSED = "passed"
    UNPROTECTED = "unprotected"
    WRONG = "wrong"
    CRASHED = "crashed"
    LIMIT = "limit"
    MASKED = "masked"
    PENDING = "pending"

    def name_plainly(self) -> str:
        """Two or three words for a heading."""
        return _NAMES[self]

    def describe(self) -> str:
        """One sentence for people."""
        return _SENTENCES[self]


_NAMES = {
    State.PASSED: "passed",
    State.UNPROTECTED: "passed, unprotected",
    State.WRONG: "wrong answer",
    State.CRASHED: "crashed",
    State.LIMIT: "hit a limit",
    State.MASKED: "masked",
    State.PENDING: "not judged yet",
}
_SENTENCES = {
    State.PASSED: "Every test passed, and the expected answers stayed out of the candidate's process.",
    State.UNPROTECTED: "Every test passed, but in one process with the candidate, which could have cheated. Not in the headline.",
    State.WRONG: "The program came to its end, and a test did not accept what it gave.",
    State.CRASHED: "An exception, an exit or a signal ended it, or its source does not compile.",
    State.LIMIT: "It was stopped at a limit: processor time, wall time, memory, output, processes or disk.",
    State.MASKED: "A fault of ours, not the candidate's. Left out of every score, never counted as 0.",
    State.PENDING: "Recorded, but the run stopped before it was judged.",
}


def find_state(verdict: Verdict | None) -> State:
    """The state that a verdict stands for; `pending` without one."""
    if verdict is None:
        return State.PENDING
    if verdict.passed is None:
        return State.MASKED
    if verdict.passed:
        return State.PASSED if verdict.protected else State.UNPROTECTED
    if verdict.outcome.is_limit:
        return State.LIMIT
    return State.WRONG if verdict.outcome is Outcome.OK else State.CRASHED


def name_failure(verdict: Verdict) -> str:
    """Why a candidate did not pass, short enough to be counted: the exception where there is one, else the outcome or the reason."""
    exception = verdict.evidence.exception if verdict.evidence else None
    if verdict.outcome in (Outcome.OK, Outcome.RAISED):
        return shorten(exception.type if exception else verdict.reason, 120)
    return verdict.outcome.value.replace("_", " ")
