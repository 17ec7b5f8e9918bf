"""Grading in one shared process, for problems whose tests really need it: candidate and tests see each other.

Nothing that this reports can be believed against a hostile candidate, which may read the tests, patch them, or write the report
itself. Such verdicts say `protected=False`, and are counted apart. Payload and report are the grader's.
"""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from groundrun.engine.guest.job import GuestJob
from groundrun.judging.guest.checks import Result, clean, run_test
from groundrun.judging.guest.grader import MAX_EXPLAINED, STARTED
from groundrun.judging.guest.testfile import Watch, find_missing, grade_file

FILE = "<candidate>"


def main(job: GuestJob) -> None:
    """Execute the candidate's source, then each test in the same globals; a test file imports it instead."""
    job.report(STARTED)
    task = json.loads(job.payload)
    missing = find_missing(task["tests"])
    names = [test["module"] for test in task["tests"] if test["kind"] == "file"] or ["candidate"]
    module = types.ModuleType(names[0])
    passed: list[bool] = []
    parts: list[list[tuple[str, str]]] = [[] for _ in task["tests"]]
    failures: list[dict[str, Any]] = []
    if not missing:
        sys.path.insert(0, os.getcwd())
        sys.modules.update(dict.fromkeys(names, module))
        exec(compile(job.source, FILE, "exec", dont_inherit=True), module.__dict__)
    for number, test in enumerate([] if missing else task["tests"]):
        if test["kind"] == "file":
            right, parts[number] = grade_file(test, number, Watch(_collect(number, failures)), lenient=task["inspect"])
        else:
            result = run_test(test, module.__dict__.get(task["name"]), module.__dict__)
            right = result.passed
            if not right and len(failures) < MAX_EXPLAINED:
                failures.append(_failure(number, result))
        passed.append(right)
    passed = passed or [False] * len(task["tests"])
    report = {"passed": passed, "parts": parts, "failures": failures, "missing": missing}
    job.report(json.dumps({**report, "lost": False, "used": [], "mutated": [], "returned": []}).encode())


def _collect(number: int, failures: list[dict[str, Any]]) -> Callable[[str, Result], None]:
    """What notes the failures of a file's tests."""

    def explain(part: str, result: Result) -> None:
        if len(failures) < MAX_EXPLAINED or not part:
            failures.append({**_failure(number, result), "part": clean(part)})

    return explain


def _failure(number: int, result: Result) -> dict[str, Any]:
    step, line = result.error.__traceback__ if result.error is not None else None, None
    while step is not None:
        if step.tb_frame.f_code.co_filename == FILE:
            line = step.tb_lineno
        step = step.tb_next
    return {
        "test": number,
        "refused": "",
        "message": clean(result.message),
        "type": clean(type(result.error).__name__) if result.error is not None else None,
        "by_candidate": line is not None,
        "line": line,
        "output": "",
    }
