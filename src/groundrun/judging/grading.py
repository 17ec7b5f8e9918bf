"""Test code and calls: the two jobs of one grading, and reading what the grader says.

A `Mode` says how strict the grading is. `Findings` are what it found, whoever the candidate was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from groundrun.engine import Job
from groundrun.errors import EngineError, UsageError
from groundrun.judging.blame import ANY_PROGRAM, is_taken, name_fault, suspects_file
from groundrun.judging.guest.kinds import Use
from groundrun.judging.reading import holds_tests, keeps_no_state, needs_reference, texts_of
from groundrun.judging.steps import Pair, Plan
from groundrun.records import CallTest, CodeTest, Cost, ExceptionInfo, Execution, FileTest, Isolation, Limits, Outcome, Problem, Program

JUDGE_VERSION = "3"
SERVER = "groundrun.engine.guest.server"
GRADER = "groundrun.judging.guest.grader"
STANDING = "groundrun.judging.guest.standing"
FILES = "groundrun.judging.guest.files"
SHARED = "groundrun.judging.guest.shared"
GRADER_CPU_S = 20.0  # the least a grader gets; references that need more are given ten times what they needed
GRADER_MEMORY_BYTES = 2 << 30
MAX_PATIENCE_S = 30.0  # what a candidate's wall limit is stretched by, at most, because it waits while the grader works
FILE_STYLES = ("unittest", "pytest")
GradedTest = CodeTest | CallTest | FileTest
_FELT = (Outcome.OUTPUT_LIMIT, Outcome.DISK_LIMIT, Outcome.PROCESS_LIMIT)  # limits that a program meets as an exception
_OURS = (Outcome.NOT_RUN, Outcome.CANCELLED, Outcome.TOOLCHAIN_MISSING)


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """How one grading is done. `allowed`: operations on handles, `watched`: arguments written back; None for all of them.

    `again`: who passes and changed or returned other arguments than those must also pass with all of them written back. `inspect`: note
    what a reference needs; `brief`: without long iterators. `counted`: for each test, the names of the tests in its file that the
    reference passed; empty when that is not known.
    """

    protected: bool = True
    allowed: tuple[Use, ...] | None = ()
    watched: tuple[int | str, ...] | None = ()
    again: bool = False
    inspect: bool = False
    brief: bool = False
    counted: tuple[tuple[str, ...], ...] = ()
    grader_cpu_s: float = 0.0


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a test failed, as the grader reports it. `refused`, if not empty, is an inert failure in words that may be shown.

    `test` is -1 when the candidate failed before the first one. `part` names a test within a file. `lost`: the candidate was gone by then.
    """

    test: int
    refused: str
    message: str
    type: str | None
    by_candidate: bool
    line: int | None
    output: str
    part: str = ""
    lost: bool = False

    def exception(self) -> ExceptionInfo | None:
        """What was raised, if that is what happened."""
        return None if self.type is None else ExceptionInfo(type=self.type, message=self.message, line=self.line)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a grader hands back; see `guest.grader`."""

    passed: tuple[bool | None, ...]
    failures: tuple[Failure, ...]
    lost: bool
    used: tuple[Use, ...]
    mutated: tuple[int | str, ...]
    returned: tuple[int | str, ...]
    parts: tuple[tuple[tuple[str, str], ...], ...] = ()
    missing: str = ""

    def touched(self) -> set[int | str]:
        """The arguments that were changed or returned, as far as that was asked for."""
        return {*self.mutated, *self.returned}


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What one grading, or one run with text in and out, found. `reason` says nothing that only a hidden test knows.

    `inputs`, where tests have inputs, holds a `TestVerdict.inputs` for each. `grader` is how the tests' process ended.
    """

    passed: tuple[bool | None, ...]
    reason: str
    outcome: Outcome
    cost: Cost
    isolation: Isolation
    inputs: tuple[str, ...] = ()
    exception: ExceptionInfo | None = None
    failure: Failure | None = None
    report: Report | None = None
    grader_cpu_s: float = 0.0
    grader: Outcome = Outcome.OK

    def all_passed(self) -> bool:
        """True when every test was reached and passed."""
        return all(each is True for each in self.passed)


def needs_entry(tests: tuple[GradedTest, ...]) -> bool:
    """Whether tests call the entry point; test files import the module instead."""
    return not all(isinstance(test, FileTest) for test in tests)


def grade(problem: Problem, source: str, tests: tuple[GradedTest, ...], mode: Mode, limits: Limits) -> Plan[Findings]:
    """Grade a program by test code, calls and test files.

    A grader that dies is tried once more, so that one hiccup of the host decides nothing. Raises UsageError for tests that can't be run.
    """
    if problem.entry_point is None and mode.protected and needs_entry(tests):
        raise UsageError(f"problem {problem.task_id!r} names no entry point, so its tests can't call a program in another process")
    findings = yield from _grade(problem, source, tests, mode, limits)
    report = findings.report
    if report is not None and (mode.protected or mode.inspect):  # what a shared process says is the candidate's word
        _check_files(problem, tests, report, inspect=mode.inspect)
    if mode.protected and (mode.inspect or problem.reference is None) and suspects_file(findings, tests, inspect=mode.inspect):
        other = yield from _grade(problem, ANY_PROGRAM, tests, mode, limits)
        if fault := name_fault(findings, other):
            names = ", ".join(repr(test.name) for test in tests if isinstance(test, FileTest))
            raise UsageError(f"test file {names} of problem {problem.task_id!r} fails with any program ({fault}): mend the file")
    if mode.again and report is not None and findings.all_passed() and not report.touched() <= set(mode.watched or ()):
        everything = msgspec.structs.replace(mode, watched=None, again=False)
        second = yield from _grade(problem, source, tests, everything, limits)
        if not second.all_passed():
            findings = msgspec.structs.replace(second, reason=f"{second.reason}, once what it did to arguments was done to the test's own")
    return findings


def _check_files(problem: Problem, tests: tuple[GradedTest, ...], report: Report, *, inspect: bool) -> None:
    if report.missing:
        raise UsageError(
            f"problem {problem.task_id!r} is judged by tests that need {report.missing}, which the interpreter that programs run under"
            f" doesn't have: install {report.missing} into it, or name another one (python=..., --python)"
        )
    explained = {failure.test for failure in report.failures}
    for number, test in enumerate(tests):
        if inspect and isinstance(test, FileTest) and not report.parts[number] and not explained & {number, -1} and not report.lost:
            raise UsageError(f"the test file {test.name!r} of problem {problem.task_id!r} ran no test, or skipped all: mend the problem")


def _grade(problem: Problem, source: str, tests: tuple[GradedTest, ...], mode: Mode, limits: Limits) -> Plan[Findings]:
    program = Program(source, files=problem.files, entry_point=problem.entry_point)
    payload = _payload(problem, tests, mode)
    if not mode.protected:
        (execution,) = yield Job(program=program, limits=limits, guest=SHARED, payload=payload, scan="\n".join((source, *texts_of(tests))))
        return _find(execution, execution, len(tests), protected=False)
    cpu_s = max(GRADER_CPU_S, 10 * mode.grader_cpu_s)
    patient = msgspec.structs.replace(limits, wall_s=limits.wall_s + min(10 * mode.grader_cpu_s, MAX_PATIENCE_S))
    generous = Limits(
        cpu_s=cpu_s, wall_s=patient.wall_s + 2 * cpu_s, memory_bytes=max(GRADER_MEMORY_BYTES, limits.memory_bytes), output_bytes=16 << 20
    )
    modules = dict.fromkeys(test.module for test in tests if isinstance(test, FileTest))
    candidate = Job(program=program, limits=patient, guest=SERVER, payload="\n".join(modules).encode())
    may_stand = not (modules or mode.inspect or problem.files) and keeps_no_state((*texts_of(tests), problem.reference or ""))
    guest, standing = FILES if modules else GRADER, STANDING if may_stand else ""
    scan = scan_grader(source, *texts_of(tests))
    own = Program("", files=problem.files)
    grader = Job(program=own, limits=generous, guest=guest, payload=payload, standing=standing, scan=scan)
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


def scan_grader(source: str, *texts: str) -> str:
    """A text that imports what a grader will: what its tests do, and numpy where the candidate has it and may hand over its numbers."""
    return "\n".join((*texts, "import numpy" if "numpy" in source else ""))


def _payload(problem: Problem, tests: tuple[GradedTest, ...], mode: Mode) -> bytes:
    calling = texts_of(tuple(test for test in tests if not isinstance(test, FileTest)))
    needed = problem.reference is not None and needs_reference(problem.reference, calling, problem.entry_point)
    counted = mode.counted or ((),) * len(tests)
    return msgspec.json.encode(
        {
            "name": problem.entry_point or "",
            "tests": [_plain(test, names) for test, names in zip(tests, counted, strict=True)],
            "reference": problem.reference if needed else None,
            "allowed": mode.allowed,
            "watched": mode.watched,
            "inspect": mode.inspect,
            "notice": mode.inspect or mode.again,
            "brief": mode.brief,
        }
    )


def _plain(test: GradedTest, counted: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(test, CodeTest):
        return {"kind": "code", "source": test.source, "call": test.call}
    if isinstance(test, FileTest):
        if test.style not in FILE_STYLES:
            raise UsageError(f"test file {test.name!r} is of style {test.style!r}: use one of {', '.join(FILE_STYLES)}")
        if not all(part.isidentifier() for part in test.module.split(".")):
            raise UsageError(f"test file {test.name!r} imports {test.module!r}, which is not the name of a module")
        if is_taken(test.module):
            raise UsageError(
                f"test file {test.name!r} imports the program as {test.module!r}, a module that tests may need: choose another name"
            )
        if not holds_tests(test.source):
            raise UsageError(f"test file {test.name!r} defines no function or method whose name begins with 'test'")
        return {"kind": "file", "source": test.source, "style": test.style, "module": test.module, "counted": counted}
    return {"kind": "call", "arguments": test.arguments, "keywords": test.keywords, "expected": test.expected, "oracle": test.oracle}


def _find(candidate: Execution, grader: Execution, count: int, *, protected: bool = True) -> Findings:
    if grader.outcome in _OURS or candidate.outcome in (Outcome.NOT_RUN, Outcome.TOOLCHAIN_MISSING):
        raise EngineError(
            f"a grading was not carried out (candidate {candidate.outcome.value}, grader {grader.outcome.value}): run it again"
        )
    report = _read(grader, count)
    if report is not None and not protected:  # the candidate may have written it, and must have no say in the reason
        told = tuple(msgspec.structs.replace(failure, refused="") for failure in report.failures)
        report = msgspec.structs.replace(report, failures=told)
    outcome: Outcome = Outcome.OK if candidate.outcome is Outcome.CANCELLED else candidate.outcome
    passed = report.passed if report is not None else (None,) * count
    failure = report.failures[0] if report is not None and report.failures else None
    complete = all(each is True for each in passed)
    if complete and outcome is Outcome.WALL_LIMIT:
        outcome = Outcome.OK  # it waited for a slow grader after its last answer
    if failure is not None and not failure.lost:  # how the program ended later doesn't matter
        outcome = _tell(failure, outcome)
    if complete and (outcome.is_limit or outcome is Outcome.SIGNALLED):
        passed = (False,) * count
        complete = False
    return Findings(
        passed=passed,
        reason="every test passed" if complete else _reason(candidate, grader, outcome, report, failure),
        outcome=outcome,
        cost=candidate.cost,
        isolation=candidate.isolation,
        inputs=tuple("".join(mark for _, mark in pairs) for pairs in report.parts) if report is not None else (),
        exception=candidate.exception,
        failure=failure,
        report=report,
        grader_cpu_s=grader.cost.cpu_s,
        grader=grader.outcome,
    )


def _tell(failure: Failure, outcome: Outcome) -> Outcome:
    """The outcome of a program whose first failure was not its end."""
    if not failure.by_candidate or failure.refused:
        return Outcome.OK
    if failure.type == "MemoryError":
        return Outcome.MEMORY_LIMIT
    return outcome if outcome in _FELT else Outcome.RAISED


def _tail(execution: Execution) -> str:
    return execution.stderr[-300:].decode("utf-8", "replace")


def _read(grader: Execution, count: int) -> Report | None:
    if grader.outcome is not Outcome.OK:
        return None
    try:
        report = msgspec.json.decode(grader.report, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    marked = {mark for pairs in report.parts for _, mark in pairs} <= set("+-.")
    return report if len(report.passed) == len(report.parts) == count and marked else None


def _reason(candidate: Execution, grader: Execution, outcome: Outcome, report: Report | None, failure: Failure | None) -> str:
    if outcome.is_limit:
        return outcome.describe()
    if candidate.exception is not None and candidate.outcome is Outcome.RAISED and (failure is None or failure.lost):
        return describe_outside(candidate.exception)
    if report is None:
        return f"the grader couldn't finish reading or comparing what the candidate gave: {grader.outcome.describe()}"
    if failure is None:
        return outcome.describe()
    if failure.refused:
        return f"{failure.refused}: {outcome.describe()}" if report.lost and outcome is not Outcome.OK else failure.refused
    if failure.by_candidate:
        error = failure.exception()
        return f"the candidate raised {error.known_type if error else 'an exception'}"
    return "a test failed"


def describe_outside(error: ExceptionInfo) -> str:
    """What a source raised while it was executed."""
    return f"the program raised {error.known_type} outside of any call"


def add_costs(costs: Sequence[Cost]) -> Cost:
    """The costs of runs one after the other: times are summed, of memory the largest peak. There must be at least one."""
    peaks = [cost.memory_peak_bytes for cost in costs if cost.memory_peak_bytes is not None]
    return msgspec.structs.replace(
        costs[-1],
        cpu_s=sum(cost.cpu_s for cost in costs),
        wall_s=sum(cost.wall_s for cost in costs),
        memory_peak_bytes=max(peaks, default=None),
    )
