"""Grading in one shared process, for problems whose tests really need it: candidate and tests see each other.

Nothing that this reports can be believed against a hostile candidate, which may read the tests, patch them, or write the report
itself. Such verdicts say `protected=False`, and are counted apart. Payload and report are the grader's.
"""

from __future__ import annotations

import json
import os
import sys
import types
from typing import Any

from groundrun.engine.guest.job import GuestJob
from groundrun.judging.guest.checks import Result, clean, run_test
from groundrun.judging.guest.grader import MAX_EXPLAINED, STARTED

FILE = "<candidate>"


def main(job: GuestJob) -> None:
    """Execute the candidate's source, then each test in the same globals."""
    job.report(STARTED)
    task = json.loads(job.payload)
    sys.path.insert(0, os.getcwd())
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module
    exec(compile(job.source, FILE, "exec", dont_inherit=True), module.__dict__)
    passed: list[bool] = []
    failures: list[dict[str, Any]] = []
    for number, test in enumerate(task["tests"]):
        result = run_test(test, module.__dict__.get(task["name"]), module.__dict__)
        passed.append(result.passed)
        if not result.passed and len(failures) < MAX_EXPLAINED:
            failures.append(_failure(number, result))
    report = {"passed": passed, "failures": failures, "lost": False, "used": [], "mutated": [], "returned": []}
    job.report(json.dumps(report).encode())


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
