"""Test code and calls: the two jobs of one grading, and reading what the grader says.

A `Mode` says how strict the grading is. `Findings` are what it found, whoever the candidate was.
"""

from __future__ import annotations

import builtins
from typing import Any

import msgspec

from groundrun.engine import Job
from groundrun.errors import EngineError, UsageError
from groundrun.judging.reading import needs_reference, texts_of
from groundrun.judging.steps import Pair, Plan
from groundrun.records import CallTest, CodeTest, Cost, ExceptionInfo, Execution, Isolation, Limits, Outcome, Problem, Program

JUDGE_VERSION = "1"
SERVER = "groundrun.engine.guest.server"
GRADER = "groundrun.judging.guest.grader"
SHARED = "groundrun.judging.guest.shared"
GRADER_CPU_S = 20.0  # the least a grader gets; references that need more are given ten times what they needed
GRADER_MEMORY_BYTES = 2 << 30
MAX_PATIENCE_S = 30.0  # what a candidate's wall limit is stretched by, at most, because it waits while the grader works
_OURS = (Outcome.NOT_RUN, Outcome.CANCELLED, Outcome.TOOLCHAIN_MISSING)


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """How one grading is done. `allowed`: operations on handles, None for all; `watched`: arguments written back; `inspect`: note needs."""

    protected: bool = True
    allowed: tuple[str, ...] | None = ()
    watched: tuple[int | str, ...] = ()
    inspect: bool = False
    grader_cpu_s: float = 0.0


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a test failed, as the grader reports it. `refused`, if not empty, is an inert failure in words that may be shown.

    `test` is -1 when the candidate failed before the first one.
    """

    test: int
    refused: str
    message: str
    type: str | None
    by_candidate: bool
    line: int | None
    output: str

    def exception(self) -> ExceptionInfo | None:
        """What was raised, if that is what happened."""
        return None if self.type is None else ExceptionInfo(type=self.type, message=self.message, line=self.line)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a grader hands back; see `guest.grader`."""

    passed: tuple[bool | None, ...]
    failures: tuple[Failure, ...]
    lost: bool
    used: tuple[str, ...]
    mutated: tuple[int | str, ...]
    returned: tuple[int | str, ...]


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What one grading, or one run with text in and out, found. `reason` says nothing that only a hidden test knows."""

    passed: tuple[bool | None, ...]
    reason: str
    outcome: Outcome
    cost: Cost
    isolation: Isolation
    exception: ExceptionInfo | None = None
    failure: Failure | None = None
    report: Report | None = None
    grader_cpu_s: float = 0.0

    def all_passed(self) -> bool:
        """True when every test was reached and passed."""
        return all(each is True for each in self.passed)


def grade(problem: Problem, source: str, tests: tuple[CodeTest | CallTest, ...], mode: Mode, limits: Limits) -> Plan[Findings]:
    """Grade a program by test code and calls. A grader that dies is tried once more, so that one hiccup of the host decides nothing."""
    if problem.entry_point is None and mode.protected:
        raise UsageError(f"problem {problem.task_id!r} names no entry point, so its tests can't call a program in another process")
    program = Program(source, files=problem.files, entry_point=problem.entry_point)
    payload = _payload(problem, tests, mode)
    if not mode.protected:
        (execution,) = yield Job(program=program, limits=limits, guest=SHARED, payload=payload)
        return _find(execution, execution, len(tests))
    cpu_s = max(GRADER_CPU_S, 10 * mode.grader_cpu_s)
    patient = msgspec.structs.replace(limits, wall_s=limits.wall_s + min(10 * mode.grader_cpu_s, MAX_PATIENCE_S))
    generous = Limits(
        cpu_s=cpu_s, wall_s=patient.wall_s + 2 * cpu_s, memory_bytes=max(GRADER_MEMORY_BYTES, limits.memory_bytes), output_bytes=16 << 20
    )
    candidate = Job(program=program, limits=patient, guest=SERVER)
    grader = Job(program=Program("", files=problem.files), limits=generous, guest=GRADER, payload=payload)
    for _ in range(2):
        done = yield Pair(candidate, grader)
        findings = _find(done[0], done[1], len(tests))
        if findings.report is not None:
            return findings
    if not done[1].report:  # it ended before it met the candidate: did the candidate do that?
        canary = msgspec.structs.replace(candidate, program=Program("", files=problem.files, entry_point=problem.entry_point))
        innocent = yield Pair(canary, grader)
        if not innocent[1].report:
            raise EngineError(f"a grader ended before it began: {done[1].outcome.describe()} {_tail(done[1])}")
    return findings


def _payload(problem: Problem, tests: tuple[CodeTest | CallTest, ...], mode: Mode) -> bytes:
    needed = problem.reference is not None and needs_reference(problem.reference, texts_of(tests), problem.entry_point)
    return msgspec.json.encode(
        {
            "name": problem.entry_point or "",
            "tests": [_plain(test) for test in tests],
            "reference": problem.reference if needed else None,
            "allowed": mode.allowed,
            "watched": mode.watched,
            "inspect": mode.inspect,
        }
    )


def _plain(test: CodeTest | CallTest) -> dict[str, Any]:
    if isinstance(test, CodeTest):
        return {"kind": "code", "source": test.source, "call": test.call}
    return {"kind": "call", "arguments": test.arguments, "keywords": test.keywords, "expected": test.expected, "oracle": test.oracle}


def _find(candidate: Execution, grader: Execution, count: int) -> Findings:
    if grader.outcome in _OURS or candidate.outcome in (Outcome.NOT_RUN, Outcome.TOOLCHAIN_MISSING):
        raise EngineError(
            f"a grading was not carried out (candidate {candidate.outcome.value}, grader {grader.outcome.value}): run it again"
        )
    report = _read(grader, count)
    outcome = Outcome.OK if candidate.outcome is Outcome.CANCELLED else candidate.outcome
    passed = report.passed if report is not None else (None,) * count
    failure = report.failures[0] if report is not None and report.failures else None
    complete = all(each is True for each in passed)
    if complete and outcome is Outcome.WALL_LIMIT:
        outcome = Outcome.OK  # it waited for a slow grader after its last answer
    if failure is not None and failure.by_candidate and not failure.refused and outcome is Outcome.OK:
        outcome = Outcome.MEMORY_LIMIT if failure.type == "MemoryError" else Outcome.RAISED
    if complete and (outcome.is_limit or outcome is Outcome.SIGNALLED):
        passed = (False,) * count
        complete = False
    return Findings(
        passed=passed,
        reason="every test passed" if complete else _reason(candidate, grader, outcome, report, failure),
        outcome=outcome,
        cost=candidate.cost,
        isolation=candidate.isolation,
        exception=candidate.exception,
        failure=failure,
        report=report,
        grader_cpu_s=grader.cost.cpu_s,
    )


def _tail(execution: Execution) -> str:
    return execution.stderr[-300:].decode("utf-8", "replace")


def _read(grader: Execution, count: int) -> Report | None:
    if grader.outcome is not Outcome.OK:
        return None
    try:
        report = msgspec.json.decode(grader.report, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return report if len(report.passed) == count else None


def _reason(candidate: Execution, grader: Execution, outcome: Outcome, report: Report | None, failure: Failure | None) -> str:
    if outcome.is_limit:
        return outcome.describe()
    if candidate.exception is not None and candidate.outcome is Outcome.RAISED:
        kind = candidate.exception.type  # the candidate's own words, so only a name that we know may be repeated
        return f"the program raised {kind if hasattr(builtins, kind) else 'an exception'} outside of any call"
    if report is None:
        return f"the grader couldn't finish reading or comparing what the candidate gave: {grader.outcome.describe()}"
    if failure is None:
        return outcome.describe()
    if failure.refused:
        return f"{failure.refused}: {outcome.describe()}" if report.lost and outcome is not Outcome.OK else failure.refused
    if failure.by_candidate:
        return f"the candidate raised {failure.type}"
    return "a test failed"
