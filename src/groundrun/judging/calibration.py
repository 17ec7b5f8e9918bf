"""What a problem's own reference needs, found before any candidate runs: whether it can be judged protected, and how strictly.

The reference goes the same way as every candidate, first in the strictest mode. What it needs beyond that is what candidates get:

1. plain data only, arguments never written back, no iterators of more than some thousand items, which may have no end;
2. arguments written back at the positions that the reference mutates or returns, when the tests don't pass without;
3. handles, with exactly the operations on them that the tests used on the reference's objects, each in its place (`guest.kinds`);
4. plain data with iterators of any length;
5. one shared process, `protected=False`; at once when tests evaluate text, because that could be the candidate's (`reading`).

Tests that may look at an argument after the call (`reading.looks_back`) see what a shared process would show them: a candidate that
passes and changed or returned an argument is graded again with everything written back, and must pass that way too. Not so if the
reference doesn't.

Without a reference, or when it fails in every mode, candidates are judged in the strictest mode and the calibration says so. A
differential test can't do without: what the reference says to it (`truths`) is found here, checked against itself, and never sent to a
candidate.
"""

from __future__ import annotations

import msgspec

from groundrun.engine import Engine
from groundrun.errors import UsageError
from groundrun.judging.differential import Truth, find_truth
from groundrun.judging.grading import Findings, GradedTest, Mode, grade, needs_entry
from groundrun.judging.guest.kinds import Use, merge
from groundrun.judging.reading import evaluates_text, looks_back, texts_of
from groundrun.judging.stdio import run_stdio
from groundrun.judging.steps import Plan, acarry_out, carry_out
from groundrun.records import CallTest, CodeTest, DifferentialTest, FileTest, Limits, Problem, StdioTest

REFERENCE_PASSES = "the reference passes"
_GENEROUS_S = 6.0  # of grader time taken for granted while nothing is known; ten times that is its limit


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How a problem is judged. `passed`: its reference passes that way; `reason` says why not, or what it needed.

    `mutates`: arguments that the reference changes in place; `writes_back`: those whose changes tests see; `again`: candidates that change
    or return others are graded twice; `operations`: what tests may do with objects that stay behind; `counted`, for each graded test, the
    tests of its file that the reference passes, which are the ones that count. `grader_cpu_s` is the grader's time for the reference;
    `truths` are what it says to the differential tests, in their order.
    """

    protected: bool
    passed: bool
    reason: str
    mutates: tuple[int | str, ...] = ()
    writes_back: tuple[int | str, ...] = ()
    again: bool = False
    operations: tuple[Use, ...] = ()
    counted: tuple[tuple[str, ...], ...] = ()
    grader_cpu_s: float = 0.0
    truths: tuple[Truth, ...] = ()

    @property
    def reference_s(self) -> float:
        """Processor time of the reference on its differential tests."""
        return sum(sum(truth.seconds) for truth in self.truths)

    def mode(self) -> Mode:
        """The mode in which candidates are graded."""
        return Mode(
            protected=self.protected,
            watched=self.writes_back,
            again=self.again,
            allowed=self.operations,
            counted=self.counted,
            grader_cpu_s=self.grader_cpu_s,
        )


def calibrate(engine: Engine, problem: Problem) -> Calibration:
    """Run the problem's reference. Raises EngineError for our faults, UsageError when the problem can't be judged at all."""
    return carry_out(engine, plan_calibration(problem, problem.limits or engine.limits))


async def acalibrate(engine: Engine, problem: Problem) -> Calibration:
    """`calibrate` for asyncio."""
    return await acarry_out(engine, plan_calibration(problem, problem.limits or engine.limits))


def graded_tests(problem: Problem) -> tuple[GradedTest, ...]:
    """The tests that call the entry point or import the module, visible ones first."""
    return tuple(test for test in (*problem.visible, *problem.hidden) if isinstance(test, (CodeTest, CallTest, FileTest)))


def stdio_tests(problem: Problem) -> tuple[StdioTest, ...]:
    """The tests with text in and out, visible ones first."""
    return tuple(test for test in (*problem.visible, *problem.hidden) if isinstance(test, StdioTest))


def differential_tests(problem: Problem) -> tuple[DifferentialTest, ...]:
    """The tests that compare with the reference, visible ones first."""
    return tuple(test for test in (*problem.visible, *problem.hidden) if isinstance(test, DifferentialTest))


def plan_calibration(problem: Problem, limits: Limits) -> Plan[Calibration]:
    """The runs of a calibration, in order."""
    tests = graded_tests(problem)
    if problem.reference is None and not differential_tests(problem):
        protected = not evaluates_text(texts_of(tests))
        again = protected and looks_back(tests, problem.entry_point)
        return Calibration(protected=protected, passed=False, reason="the problem has no reference to calibrate with", again=again)
    if problem.reference is None:
        raise UsageError(f"problem {problem.task_id!r} has a differential test, which needs a reference")
    found = Calibration(protected=True, passed=True, reason=REFERENCE_PASSES)
    if tests:
        found = yield from _calibrate_grading(problem, problem.reference, tests, limits)
    truths: list[Truth] = []
    for test in differential_tests(problem):
        truth = yield from find_truth(problem, test)
        truths.append(truth)
        found = msgspec.structs.replace(found, truths=tuple(truths))
        if found.passed and truth.refused:
            numbers = ", ".join(map(str, truth.refused))
            found = msgspec.structs.replace(
                found, passed=False, reason=f"the reference fails test {test.name!r} on its own inputs {numbers}"
            )
        if found.passed and truth.left_out:
            numbers = ", ".join(map(str, truth.left_out))
            reason = f"{found.reason}; test {test.name!r} leaves out inputs too large to cross: {numbers}"
            found = msgspec.structs.replace(found, reason=reason)
    stdio = stdio_tests(problem)
    if stdio or not (tests or truths):
        findings = yield from run_stdio(problem, problem.reference, stdio, limits)
        if found.passed and not findings.all_passed():
            found = msgspec.structs.replace(found, passed=False, reason=f"the reference fails: {findings.reason}")
    return found


def _calibrate_grading(problem: Problem, reference: str, tests: tuple[GradedTest, ...], limits: Limits) -> Plan[Calibration]:
    strict = ""
    risky = evaluates_text(texts_of(tests))
    if risky or (problem.entry_point is None and needs_entry(tests)):
        strict = "its tests evaluate text" if risky else "it names no entry point"
    else:
        plain = Mode(inspect=True, grader_cpu_s=_GENEROUS_S)
        for change in ({"brief": True}, {"allowed": None}, {}):
            mode = msgspec.structs.replace(plain, **change)
            findings = yield from grade(problem, reference, tests, mode, limits)
            strict = strict or findings.reason
            touched: tuple[int | str, ...] = ()
            mutates, found = _touched(findings)
            while not findings.all_passed() and found != touched:  # a test may get further now, and call in another way
                touched = found
                findings = yield from grade(problem, reference, tests, msgspec.structs.replace(mode, watched=touched), limits)
                mutates, more = _touched(findings)
                found = tuple(sorted({*found, *more}, key=str))
            used = findings.report.used if findings.report is not None else ()
            mode = msgspec.structs.replace(mode, watched=touched)
            if findings.all_passed() and mode.allowed is None:  # handles that can less may look different to the tests
                used, names = merge(used)
                mutates, touched = _rename(mutates, names), _rename(touched, names)
                mode = msgspec.structs.replace(mode, allowed=used, watched=touched)
                findings = yield from grade(problem, reference, tests, mode, limits)
            if findings.all_passed():
                return Calibration(
                    protected=True,
                    passed=True,
                    reason=REFERENCE_PASSES,
                    mutates=mutates,
                    writes_back=touched,
                    again=(yield from _passes_again(problem, reference, tests, mode, limits, findings)),
                    operations=used,
                    counted=_counted(findings),
                    grader_cpu_s=findings.grader_cpu_s,
                )
    findings = yield from grade(problem, reference, tests, Mode(protected=False, inspect=True), limits)
    if findings.all_passed():
        reason = f"the reference passes only in one shared process: {strict}"
        return Calibration(protected=False, passed=True, reason=reason, counted=_counted(findings))
    return Calibration(protected=not risky, passed=False, reason=f"the reference fails: {findings.reason}")


def _passes_again(
    problem: Problem, reference: str, tests: tuple[GradedTest, ...], mode: Mode, limits: Limits, findings: Findings
) -> Plan[bool]:
    """Whether tests look back at arguments and the reference passes with all of them written back, as it does when it touches no others."""
    if not looks_back(tests, problem.entry_point):
        return False
    if findings.report is not None and findings.report.touched() <= set(mode.watched or ()):
        return True
    again = yield from grade(problem, reference, tests, msgspec.structs.replace(mode, watched=None), limits)
    return again.all_passed()


def _rename(places: tuple[int | str, ...], names: dict[str, str]) -> tuple[int | str, ...]:
    """Arguments of methods, `kind:place`, with the kinds that have a new name."""
    found: set[int | str] = set()
    for place in places:
        kind, colon, own = place.rpartition(":") if isinstance(place, str) else ("", "", place)
        found.add(f"{names.get(kind, kind)}:{own}" if colon else place)
    return tuple(sorted(found, key=str))


def _counted(findings: Findings) -> tuple[tuple[str, ...], ...]:
    parts = findings.report.parts if findings.report is not None else ()
    return tuple(tuple(name for name, _ in pairs) for pairs in parts)


def _touched(findings: Findings) -> tuple[tuple[int | str, ...], tuple[int | str, ...]]:
    if findings.report is None:
        return (), ()
    mutated, returned = findings.report.mutated, findings.report.returned
    return mutated, tuple(sorted({*mutated, *returned}, key=str))
