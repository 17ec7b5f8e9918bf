"""Verdicts: does a completion solve its problem?

Which judge decides follows from the kinds of the problem's tests; how strictly, from its calibration. The candidate's faults are
data, its grader's death included. Our faults are an `EngineError`, which whoever keeps score turns into a mask.
"""

from __future__ import annotations

import concurrent.futures

import msgspec

from groundrun.engine import Engine
from groundrun.judging.calibration import Calibration, graded_tests, plan_calibration, stdio_tests
from groundrun.judging.grading import Findings, grade
from groundrun.judging.stdio import run_stdio
from groundrun.judging.steps import Plan, acarry_out, carry_out, submit
from groundrun.records import Completion, Cost, Evidence, Limits, Problem, StdioTest, TestVerdict, Verdict


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
    graded, stdio = graded_tests(problem), stdio_tests(problem)
    parts: list[Findings] = []
    if graded:
        parts.append((yield from grade(problem, source, graded, calibration.mode(), limits)))
    if stdio or not graded:
        parts.append((yield from run_stdio(problem, source, stdio, limits)))
    return _conclude(problem, completion, parts, protected=calibration.protected or not graded)


def _conclude(problem: Problem, completion: Completion, parts: list[Findings], *, protected: bool) -> Verdict:
    passed = all(part.all_passed() for part in parts)
    telling = next((part for part in parts if not part.all_passed()), parts[0])
    return Verdict(
        task_id=problem.task_id,
        sample=completion.sample,
        passed=passed,
        score=1.0 if passed else 0.0,
        protected=protected,
        reason=telling.reason,
        outcome=telling.outcome,
        tests=_name_tests(problem, parts),
        evidence=None if passed else _show(problem, telling),
        cost=_add([part.cost for part in parts]),
        isolation=telling.isolation,
    )


def _name_tests(problem: Problem, parts: list[Findings]) -> tuple[TestVerdict, ...]:
    """Results in the problem's own order, visible tests first; each kind's results are taken in turn."""
    graded = iter(parts[0].passed if graded_tests(problem) else ())
    stdio = iter(parts[-1].passed if stdio_tests(problem) else ())
    return tuple(
        TestVerdict(name=test.name, passed=next(stdio if isinstance(test, StdioTest) else graded), hidden=hidden)
        for tests, hidden in ((problem.visible, False), (problem.hidden, True))
        for test in tests
    )


def _show(problem: Problem, findings: Findings) -> Evidence | None:
    failure = findings.failure
    if failure is None or failure.test < 0:  # nothing was asked of it yet, so it can't tell about a hidden test
        unasked = all(each is None for each in findings.passed) and findings.report is not None
        return Evidence(message=findings.reason, exception=findings.exception if unasked else None, hidden=False)
    of_stdio = findings.report is None
    kind = [
        (test, hidden)
        for tests, hidden in ((problem.visible, False), (problem.hidden, True))
        for test in tests
        if isinstance(test, StdioTest) is of_stdio
    ]
    test, hidden = kind[failure.test]
    message = " -- ".join(part for part in (failure.refused, failure.message) if part)
    return Evidence(test=test.name, message=message, exception=failure.exception(), stdout=failure.output, hidden=hidden)


def _add(costs: list[Cost]) -> Cost:
    peaks = [cost.memory_peak_bytes for cost in costs if cost.memory_peak_bytes is not None]
    return msgspec.structs.replace(
        costs[0],
        cpu_s=sum(cost.cpu_s for cost in costs),
        wall_s=sum(cost.wall_s for cost in costs),
        memory_peak_bytes=max(peaks, default=None),
    )
