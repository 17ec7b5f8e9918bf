"""Text in, text out: run the program once for each test and compare what it printed.

The expected output is never in the program's jail. A checker is a Python program of the problem's author, run in a jail of its own with
the problem's files and `input.txt`, `output.txt` and `expected.txt` beside it; it exits with 0 for right and 1 for wrong. Anything else,
an uncaught exception included, makes us try it on what the reference prints, or without a reference on the expected output itself: a
checker that accepts that was broken by what the candidate printed, which is the candidate's failure; one that doesn't is broken itself, an
`EngineError`.
"""

from __future__ import annotations

from groundrun.engine import Job
from groundrun.errors import EngineError, UsageError
from groundrun.judging.comparison import Comparison, equal_by_float, equal_by_token, equal_exactly
from groundrun.judging.grading import GRADER_CPU_S, Failure, Findings, add_costs
from groundrun.judging.steps import Plan
from groundrun.records import Cost, Execution, Limits, Outcome, Problem, Program, StdioTest

_SHOWN = 500  # characters of an output in evidence
_WRONG = ("the output of a test is not the expected one", "the checker of a test refused the output")
_FILES = ("input.txt", "output.txt", "expected.txt")


def run_stdio(problem: Problem, source: str, tests: tuple[StdioTest, ...], limits: Limits) -> Plan[Findings]:
    """Run a program on every test, up to the first that ends at a limit: what follows would only end there again."""
    program = Program(source, language=problem.language, files=problem.files)
    passed: list[bool | None] = [None] * len(tests)
    reason, failure, outcome = "every test passed", None, Outcome.OK
    cost, isolation = Cost(), None
    for number, test in enumerate(tests):
        (execution,) = yield Job(program=program, stdin=_data(test.stdin), limits=limits)
        if execution.outcome in (Outcome.NOT_RUN, Outcome.CANCELLED):
            raise EngineError(f"a program was not run: {execution.outcome.describe()} Run it again")
        cost, isolation = add_costs([cost, execution.cost]), execution.isolation
        right = execution.outcome is Outcome.OK
        if right:
            right = yield from _compare(problem, test, execution.text, limits)
        passed[number] = right
        if not right and failure is None:
            failure, outcome = _failure(number, test, execution), execution.outcome
            reason = execution.outcome.describe() if outcome is not Outcome.OK else _WRONG[test.comparison == Comparison.CHECKER]
        if execution.outcome.is_limit:
            break
    if isolation is None:
        raise UsageError(f"problem {problem.task_id!r} has no tests to run")
    return Findings(passed=tuple(passed), reason=reason, outcome=outcome, cost=cost, isolation=isolation, failure=failure)


def _compare(problem: Problem, test: StdioTest, output: str, limits: Limits) -> Plan[bool]:
    try:
        comparison = Comparison(test.comparison)
    except ValueError:
        names = ", ".join(kind.value for kind in Comparison)
        raise UsageError(f"test {test.name!r} asks for comparison {test.comparison!r}: use one of {names}") from None
    if comparison is Comparison.EXACT:
        return equal_exactly(output, test.expected)
    if comparison is Comparison.TOKEN:
        return equal_by_token(output, test.expected)
    if comparison is Comparison.FLOAT:
        return equal_by_float(output, test.expected, tolerance=test.tolerance)
    if test.checker is None:
        raise UsageError(f"test {test.name!r} asks for a checker and has none: set StdioTest.checker")
    said = yield from _ask_checker(problem, test, test.checker, output)
    if said is None:
        known = test.expected
        if problem.reference is not None:
            (execution,) = yield Job(program=Program(problem.reference, files=problem.files), stdin=_data(test.stdin), limits=limits)
            known = execution.text
        if (yield from _ask_checker(problem, test, test.checker, known)) is not True:
            raise EngineError(f"the checker of test {test.name!r} doesn't accept a known right output either: mend the problem")
    return said is True


def _ask_checker(problem: Problem, test: StdioTest, checker: str, output: str) -> Plan[bool | None]:
    """True for right, False for wrong, None when it said neither."""
    files = {**problem.files, **dict(zip(_FILES, map(_data, (test.stdin, output, test.expected)), strict=True))}
    limits = Limits(cpu_s=GRADER_CPU_S, wall_s=3 * GRADER_CPU_S + 10, memory_bytes=2 << 30)
    (execution,) = yield Job(program=Program(checker, files=files), limits=limits)
    if execution.outcome in (Outcome.NOT_RUN, Outcome.CANCELLED):
        raise EngineError(f"a checker was not run: {execution.outcome.describe()} Run it again")
    if execution.outcome is Outcome.OK:
        return True
    return False if execution.outcome is Outcome.EXITED and execution.exit_code == 1 else None


def _failure(number: int, test: StdioTest, execution: Execution) -> Failure:
    error = execution.exception
    if error is not None:
        message = error.message[:_SHOWN]
    elif execution.outcome is Outcome.OK:
        refused = test.comparison == Comparison.CHECKER
        message = "the checker refused the output" if refused else f"expected {test.expected[:_SHOWN]!r}"
    else:
        message = execution.outcome.describe()
    return Failure(
        test=number,
        refused="",
        message=message,
        type=None if error is None else error.type,
        by_candidate=error is not None,
        line=None if error is None else error.line,
        output=execution.text[:_SHOWN],
    )


def _data(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
