"""Whose fault it is that a test file came to nothing, where no reference has shown that the file is good.

A file that can't be read, imports what isn't there, asks for a fixture that nobody defines or ends the process fails every program. So one
that failed in such a way is tried once more with a program that has every name and exits when it is used, which no test can swallow: ending
in the same place, the file never came as far as to ask a program anything. A program can't bring that about, whatever it raises: what the
other one does decides. Not found are faults that come after the first call, and files that run for ever: those count as the candidate's.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from groundrun.records import FileTest

if TYPE_CHECKING:
    from groundrun.judging.grading import Failure, Findings, GradedTest

ANY_PROGRAM = """
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return _end

def _end(*arguments, **keywords):
    raise SystemExit
"""
_UNREADABLE = ("SyntaxError", "IndentationError", "TabError")
_UNFOUND = ("FixtureLookupError", "ImportError", "ModuleNotFoundError", "NameError")
_FRAMEWORKS = {"_pytest", "iniconfig", "packaging", "pluggy", "pygments", "pytest"}
_TAKEN = sys.stdlib_module_names | _FRAMEWORKS | {"__main__", "groundrun"}


def is_taken(module: str) -> bool:
    """Whether a name means a module that a test file, its framework or the grader may need itself."""
    return module.partition(".")[0] in _TAKEN


def suspects_file(findings: Findings, tests: tuple[GradedTest, ...], *, inspect: bool) -> bool:
    """Whether a failure could be that of a test file. `inspect`: of a reference, which settles all but whether the file can be read."""
    if not any(isinstance(test, FileTest) for test in tests):
        return False
    failure = findings.failure
    if findings.report is None:
        return not inspect and not findings.grader.is_limit
    if failure is None or failure.test < 0 or failure.refused or failure.by_candidate or not isinstance(tests[failure.test], FileTest):
        return False
    kinds = _UNREADABLE if inspect else (*_UNREADABLE, *_UNFOUND)
    return failure.type in kinds or (not failure.part and not inspect)


def name_fault(findings: Findings, other: Findings) -> str:
    """What is wrong with the file, in one line, when a program and the one of any names ended in the same place; else nothing."""
    if findings.report is None:
        return f"it ends the process that runs tests: {other.grader.describe()}" if other.report is None else ""
    failure = findings.failure
    others = () if other.report is None else other.report.failures
    if failure is None or not any(_place(failure) == _place(each) and not each.refused for each in others):
        return ""
    return " ".join(f"{f'{failure.type}: ' if failure.type else ''}{failure.message}".split())[:300]


def _place(failure: Failure) -> tuple[object, ...]:
    return failure.test, failure.part, failure.type, failure.message, failure.line
