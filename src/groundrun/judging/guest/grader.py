"""The grader: runs a problem's tests against a candidate that lives in another jail, and hands the results back.

It holds what the candidate must never see, tests and expected values, and trusts nothing that the candidate sends (`proxy`). It is
a fresh process for each candidate, so that no candidate can spoil the next one's grading. Each test has globals of its own. Names that
tests use and the *reference* defines, helpers of the problem such as `encode_cyclic`, come from the reference executed here, never from
the candidate.

Payload and report are JSON. Payload: `{"name", "tests", "reference", "allowed", "watched", "inspect"}`, where a test is
`{"kind": "code", "source", "call"}` or `{"kind": "call", "arguments", "keywords", "expected", "oracle"}`. Report: `{"passed", "failures",
"lost", "used", "mutated", "returned"}`: true, false, or null (not reached, because the candidate was gone) for each test; why, for
the first few that failed; and what a reference needed, when calibrating.
"""

from __future__ import annotations

import json
import os
import sys
import types
from typing import Any

from groundrun.engine.guest.job import GuestJob
from groundrun.judging.guest.checks import Result, clean, run_test
from groundrun.judging.guest.proxy import Candidate, EntryPoint, Refused

MAX_EXPLAINED = 20
STARTED = b"{}"  # a grader that ends with nothing at all never met the candidate: our fault


def main(job: GuestJob) -> None:
    """Grade one candidate."""
    job.report(STARTED)
    task = json.loads(job.payload)
    sys.path.insert(0, os.getcwd())
    candidate = Candidate(job.channel, name=task["name"], allowed=task["allowed"], watched=task["watched"], inspect=task["inspect"])
    helpers = _load_reference(task["reference"], task["name"])
    passed: list[bool | None] = [None] * len(task["tests"])
    failures: list[dict[str, Any]] = []
    if not candidate.wait():
        failures.append(_failure(-1, candidate, None))
    else:
        for number, test in enumerate(task["tests"]):
            candidate.begin()
            entry = EntryPoint(candidate)
            result = run_test(test, entry, {**helpers, "__name__": "test", "__builtins__": __builtins__, task["name"]: entry})
            passed[number] = result.passed and candidate.failure is None
            if not passed[number] and len(failures) < MAX_EXPLAINED:
                failures.append(_failure(number, candidate, result))
            if candidate.gone:
                break
    report = {
        "passed": passed,
        "failures": failures,
        "lost": candidate.gone,
        "used": sorted(candidate.used),
        "mutated": sorted(candidate.mutated, key=str),
        "returned": sorted(candidate.returned, key=str),
    }
    job.report(json.dumps(report).encode())
    os._exit(0)  # threads that a test left behind must not keep a finished grading alive


def _load_reference(source: str | None, name: str) -> dict[str, Any]:
    if source is None:
        return {}
    module = types.ModuleType("reference")
    sys.modules["reference"] = module
    exec(compile(source, "<reference>", "exec", dont_inherit=True), module.__dict__)
    return {key: value for key, value in module.__dict__.items() if key != name and not key.startswith("__")}


def _failure(number: int, candidate: Candidate, result: Result | None) -> dict[str, Any]:
    error = result.error if result is not None and not isinstance(result.error, Refused) else None
    by_candidate = error is not None and error is candidate.raised
    inert = candidate.failure is not None
    return {
        "test": number,
        "refused": clean(candidate.failure or ""),
        "message": clean(candidate.detail if inert or result is None else result.message),
        "type": clean(type(error).__name__) if error is not None and not inert else None,
        "by_candidate": by_candidate,
        "line": candidate.raised_line if by_candidate else None,
        "output": clean(candidate.output),
    }
