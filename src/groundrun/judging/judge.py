"""Verdicts: does a completion solve its problem?

Which judge decides follows from the kinds of the problem's tests; how strictly, from its calibration. The candidate's faults are
data, its grader's death included. Our faults are an `EngineError`, which whoever keeps score turns into a mask.
"""

from __future__ import annotations

import concurrent.futures

import msgspec

from groundrun.engine import Engine
from groundrun.judging.calibration import Calibration, differential_tests, graded_tests, plan_calibration, stdio_tests
from groundrun.judging.differential import differ
from groundrun.judging.grading import Findings, add_costs, grade
from groundrun.judging.stdio import run_stdio
from groundrun.judging.steps import Plan, acarry_out, carry_out, submit
from groundrun.records import Completion, Evidence, Limits, Problem, Test, TestVerdict, Verdict


def judge(engine: Engine, problem: Problem, completion: Completion, calibration: Calibration | None = None) -> Verdict:
    """Judge one completion. Its whole program is `solution`, or `text` where nothing was extracted.

    calibration: of this problem; without one the reference is run first, each time. Raises EngineError for our faults.
    """
    return carry_out(engine, _plan(problem, completion, calibration, problem.limits or engine.limits))


async def ajudge(engine: Engine, problem: Problem, completion: Completion, calibration: Calibration | None = None) -> Verdict:
    """`judge` for asyncio; cancelling the task ends the program."""
    return await acarry_out(engine, _plan(problem, completion, calibration, problem.limits or engine.limits))


def submit_judge(
    engine: Engine, problem: Problem, completion: Completion, calibration: Calibration | None = None
) -> concurrent.futures.Future[Verdict]:
    """`judge` without waiting."""
    return submit(engine, _plan(problem, completion, calibration, problem.limits or engine.limits))


def _plan(problem: Problem, completion: Completion, calibration: Calibration | None, limits: Limits) -> Plan[Verdict]:
    if calibration is None:
        calibration = yield from plan_calibration(problem, limits)
    source = completion.text if completion.solution is None else completion.solution
    parts: list[_Part] = []
    if graded := graded_tests(problem):
        parts.append(_Part(graded, (yield from grade(problem, source, graded, calibration.mode(), limits))))
    for test, truth in zip(differential_tests(problem), calibration.truths, strict=True):
        if parts and parts[-1].findings.outcome.is_limit:  # what follows would only end there again
            break
        parts.append(_Part((test,), (yield from differ(problem, source, test, truth, limits))))
    stdio = stdio_tests(problem)
    if stdio or not parts:
        parts.append(_Part(stdio, (yield from run_stdio(problem, source, stdio, limits))))
    return _conclude(problem, completion, parts, protected=calibration.protected or not graded)


class _Part(msgspec.Struct, frozen=True):
    """Tests that were judged together, and what came of them."""

    tests: tuple[Test, ...]
    findings: Findings


def _conclude(problem: Problem, completion: Completion, parts: list[_Part], *, protected: bool) -> Verdict:
    tests = _name_tests(problem, parts)
    passed = all(test.passed is True for test in tests)
    telling = next((part for part in parts if not part.findings.all_passed()), parts[0])
    findings = telling.findings
    return Verdict(
        task_id=problem.task_id,
        sample=completion.sample,
        passed=passed,
        score=1.0 if passed else 0.0,
        protected=protected,
        reason=findings.reason,
        outcome=findings.outcome,
        tests=tests,
        evidence=None if passed else _show(problem, telling),
        cost=add_costs([part.findings.cost for part in parts]),
        isolation=findings.isolation,
    )


def _name_tests(problem: Problem, parts: list[_Part]) -> tuple[TestVerdict, ...]:
    """Results in the problem's own order, visible tests first; a test that was not reached has none, one that is there twice has two."""
    results: dict[int, list[tuple[bool | None, str]]] = {}
    for part in parts:
        inputs = part.findings.inputs or ("",) * len(part.tests)
        for test, passed, letters in zip(part.tests, part.findings.passed, inputs, strict=True):
            results.setdefault(id(test), []).append((passed, letters))
    verdicts = []
    for tests, hidden in ((problem.visible, False), (problem.hidden, True)):
        for test in tests:
            known = results.get(id(test))
            passed, letters = known.pop(0) if known else (None, "")
            verdicts.append(TestVerdict(name=test.name, passed=passed, hidden=hidden, inputs=letters))
    return tuple(verdicts)


def _show(problem: Problem, part: _Part) -> Evidence | None:
    findings, failure = part.findings, part.findings.failure
    if failure is None or failure.test < 0:  # nothing was asked of it yet, so it can't tell about a hidden test
        unasked = failure is not None or (findings.report is not None and all(each is None for each in findings.passed))
        return Evidence(message=findings.reason, exception=findings.exception if unasked else None, hidden=False)
    test = part.tests[failure.test]
    message = " -- ".join(text for text in (failure.refused, failure.message) if text)
    hidden = not any(test is each for each in problem.visible)
    name = f"{test.name}::{failure.part}" if failure.part else test.name
    return Evidence(test=name, message=message, exception=failure.exception(), stdout=failure.output, hidden=hidden)
