"""`groundrun check`: one program against test files as people write them, each test with its result, and why the first one failed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from groundrun.benchmarks.limits import replace_limits
from groundrun.cli.options import EngineChoice, common_options, engine_options, limit_options, print_json, tell
from groundrun.errors import BadInput, UsageError
from groundrun.records import FileTest, Limits, Problem
from groundrun.reports.phrases import make_printable, name_guards

if TYPE_CHECKING:
    from groundrun.judging import Calibration
    from groundrun.judging.grading import Failure, Findings

_RESULTS = {"+": "passed", "-": "failed", ".": "not reached"}
_STYLES = ("auto", "unittest", "pytest")


@click.command("check")
@click.argument("program", metavar="PROGRAM", type=click.Path())
@click.option("--tests", "files", metavar="PATH", multiple=True, required=True, help="A test file; may be given again.")
@click.option("--reference", metavar="PATH", help="A program known to be right: says what the tests need, and which of them count.")
@click.option("--style", type=click.Choice(_STYLES), default="auto", show_default=True, help="How the test files are written.")
@click.option("--module", metavar="NAME", default="solution", show_default=True, help="What the test files import the program as.")
@limit_options
@engine_options
@common_options
def check_verb(
    program: str,
    files: tuple[str, ...],
    reference: str | None,
    style: str,
    module: str,
    limits: dict[str, float],
    chosen: EngineChoice,
    as_json: bool,
) -> int:
    """Judge one program by unittest or pytest files.

    PROGRAM is Python and never sees the files. It runs in a jail of its own; the tests run in another, where `import solution`
    reaches it. So it can't read what is expected of it, skip a test or end the run early. Tests that need more than calls and plain
    data, such as mocks of the program's own functions, need --reference, which shows that; they are then judged in one shared
    process, and the answer says so. A file counts as pytest's when it imports pytest or has test functions outside of classes. Exit
    status 1 when a test failed.
    """
    from groundrun.judging import calibrate
    from groundrun.judging.calibration import graded_tests
    from groundrun.judging.grading import grade
    from groundrun.judging.reading import choose_style
    from groundrun.judging.steps import carry_out

    source = _read_source(program)
    tests = []
    for path in files:
        text = _read_source(path)
        tests.append(FileTest(text, style=choose_style(text) if style == "auto" else style, module=module, name=Path(path).name))
    problem = Problem(task_id=program, prompt="", reference=None if reference is None else _read_source(reference), visible=tuple(tests))
    held = replace_limits(Limits(), limits)
    with chosen.make(workers=1, limits=held) as engine:
        calibration = calibrate(engine, problem)
        if reference is not None and not calibration.passed:
            raise UsageError(f"{reference} can't be the reference, {calibration.reason}: check it by itself, without --reference")
        findings = carry_out(engine, grade(problem, source, graded_tests(problem), calibration.mode(), held))
    hint = _advise(calibration, findings) if reference is None else ""
    if as_json:
        print_json(_describe(problem, calibration, findings, hint))
    else:
        _show(problem, calibration, findings, hint)
    return 0 if findings.all_passed() else 1


def _advise(calibration: Calibration, findings: Findings) -> str:
    """What a reference would change, when it would."""
    if findings.all_passed() or findings.failure is None:
        return ""
    if calibration.protected:
        return "judged by plain data only: if the tests need more of a program, one known to be right (--reference) will show it"
    return "a program known to be right (--reference) will show which tests count"


def _list_parts(findings: Findings, number: int) -> tuple[tuple[str, str], ...]:
    report = findings.report
    return report.parts[number] if report is not None and number < len(report.parts) else ()


def _show(problem: Problem, calibration: Calibration, findings: Findings, hint: str) -> None:
    counts = dict.fromkeys(_RESULTS, 0)
    for number, test in enumerate(problem.visible):
        assert isinstance(test, FileTest)
        click.echo(_one_line(f"{test.name} ({test.style})"))
        for name, mark in _list_parts(findings, number):
            counts[mark] += 1
            click.echo(_one_line(f"  {mark} {name}"))
    if findings.failure is not None:
        failure = findings.failure
        click.echo()
        click.echo(_one_line(f"first failure: {_name(problem, failure)}"))
        _show_indented(_explain(failure))
        if failure.output:
            click.echo("  it printed:")
            _show_indented(failure.output)
    tally = ", ".join(f"{number} {_RESULTS[mark]}" for mark, number in counts.items() if number) or "no test ran"
    click.echo()
    click.echo(_one_line(f"{'passed' if findings.all_passed() else 'failed'}: {tally}; {findings.reason}"))
    guard = "protected: the program never saw the tests" if calibration.protected else f"NOT PROTECTED: {calibration.reason}"
    click.echo(_one_line(f"{guard}; {findings.cost.cpu_s:.3f} s CPU; {name_guards(findings.isolation)}"))
    if hint:
        tell(f"hint: {hint}")


def _one_line(text: str) -> str:
    return make_printable(text).replace("\n", " ")


def _show_indented(text: str) -> None:
    """What a program had a hand in: each line further in than any line of ours, so that none can be taken for a result."""
    for line in text.splitlines():
        click.echo(make_printable(f"    {line}"))


def _name(problem: Problem, failure: Failure) -> str:
    if failure.test < 0:
        return "before the first test"
    name = problem.visible[failure.test].name
    return f"{name}::{failure.part}" if failure.part else name


def _explain(failure: Failure) -> str:
    kind = f"{failure.type}: " if failure.type else ""
    return " -- ".join(text for text in (failure.refused, f"{kind}{failure.message}") if text)


def _describe(problem: Problem, calibration: Calibration, findings: Findings, hint: str) -> dict[str, object]:
    failure = findings.failure
    return {
        "passed": findings.all_passed(),
        "reason": findings.reason,
        "protected": calibration.protected,
        "protection": calibration.reason,
        "hint": hint,
        "outcome": findings.outcome,
        "files": [
            {
                "name": test.name,
                "style": test.style if isinstance(test, FileTest) else "",
                "passed": passed,
                "tests": [{"name": name, "result": _RESULTS[mark]} for name, mark in _list_parts(findings, number)],
            }
            for number, (test, passed) in enumerate(zip(problem.visible, findings.passed, strict=True))
        ],
        "failure": None
        if failure is None
        else {"test": _name(problem, failure), "message": _explain(failure), "line": failure.line, "stdout": failure.output},
        "cost": findings.cost,
        "isolation": findings.isolation,
    }


def _read_source(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadInput(path, (error.strerror or str(error)).lower()) from None
    except UnicodeDecodeError as error:
        raise BadInput(path, f"byte {error.start} is not UTF-8", hint="save the source as UTF-8") from None
