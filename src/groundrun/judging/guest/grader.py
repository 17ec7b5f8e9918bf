"""The grader: runs a problem's tests against a candidate that lives in another jail, and hands the results back.

It holds what the candidate must never see, tests and expected values, and trusts nothing that the candidate sends (`proxy`). It is
a fresh process for each candidate, so that no candidate can spoil the next one's grading; for tests that keep no state there is one that
serves a row of them (`standing`). Each test has globals of its own. Names that
tests use and the *reference* defines, helpers of the problem such as `encode_cyclic`, come from the reference executed here, never from
the candidate.

Payload and report are JSON. Payload: `{"name", "tests", "reference", "allowed", "watched", "inspect", "notice", "brief"}`, where a test is
`{"kind": "code", "source", "call"}`, `{"kind": "call", "arguments", "keywords", "expected", "oracle"}` or `{"kind": "file", "source",
"style", "module", "counted"}` (see `testfile`). Report: `{"passed", "parts", "failures", "lost", "used", "mutated", "returned",
"missing"}`: true, false, or null (not reached, because the candidate was gone) for each test; pairs of name and mark for the tests in
each file; why, for the first few that failed; what a reference needed, when calibrating; a library that the files need and that isn't here.
"""

from __future__ import annotations

import json
import os
import sys
import types
from typing import Any

from groundrun.engine.guest.job import GuestJob
from groundrun.engine.guest.transport import encode, send_frame
from groundrun.judging.guest.checks import Result, clean, run_test
from groundrun.judging.guest.handles import NOT_PLAIN, EntryPoint
from groundrun.judging.guest.module import install_module
from groundrun.judging.guest.proxy import Candidate, Declined, Refused
from groundrun.judging.guest.testfile import Watch, find_missing, grade_file

MAX_EXPLAINED = 20
STARTED = b"{}"  # a grader that ends with nothing at all never met the candidate: our fault


def main(job: GuestJob) -> None:
    """Grade one candidate."""
    job.report(STARTED)
    sys.path.insert(0, os.getcwd())
    report = grade_candidate(json.loads(job.payload), job.channel)
    job.report(json.dumps(report).encode())
    os._exit(0)  # threads that a test left behind must not keep a finished grading alive


def grade_candidate(task: dict[str, Any], channel: int) -> dict[str, Any]:
    """The report on the candidate at the other end of a channel."""
    settings = {each: task[each] for each in ("name", "allowed", "watched", "inspect", "notice", "brief")}
    candidate = Candidate(channel, **settings)
    helpers = _load_reference(task["reference"], task["name"])
    passed: list[bool | None] = [None] * len(task["tests"])
    parts: list[list[tuple[str, str]]] = [[(name, ".") for name in test.get("counted", ())] for test in task["tests"]]
    failures: list[dict[str, Any]] = []
    missing = find_missing(task["tests"])
    if missing:
        candidate.gone = True
    elif not candidate.wait():
        failures.append(_failure(-1, candidate, None))
    else:
        for number, test in enumerate(task["tests"]):
            candidate.begin()
            if test["kind"] == "file":
                candidate.refusal = Declined
                install_module(candidate, test["module"], known=bool(test["counted"]))
                passed[number], parts[number] = grade_file(test, number, _Watch(number, candidate, failures), lenient=task["inspect"])
                candidate.refusal = Refused
            else:
                entry = EntryPoint(candidate)
                result = run_test(test, entry, {**helpers, "__name__": "test", "__builtins__": __builtins__, task["name"]: entry})
                passed[number] = result.passed and candidate.failure is None
                if not passed[number] and len(failures) < MAX_EXPLAINED:
                    failures.append(_failure(number, candidate, result))
            if candidate.gone:
                break
    return {
        "passed": passed,
        "parts": parts,
        "failures": failures,
        "missing": missing,
        "lost": candidate.gone,
        "used": sorted(candidate.kinds.used),
        "mutated": sorted(candidate.mutated, key=str),
        "returned": sorted(candidate.returned, key=str),
    }


class _Watch(Watch):
    """What a test file does to the candidate. A failure noted between two tests is the next one's."""

    guarded = True

    def __init__(self, number: int, candidate: Candidate, failures: list[dict[str, Any]]) -> None:
        super().__init__(self._note)
        self._number, self._candidate, self._failures = number, candidate, failures

    def is_spoiled(self, *, passed: bool) -> bool:
        candidate = self._candidate
        if passed and candidate.peeked and candidate.failure is None:
            candidate.failure, candidate.detail = NOT_PLAIN, "repr"
        return candidate.failure is not None

    def is_over(self) -> bool:
        return self._candidate.gone

    def begin(self) -> None:
        self._candidate.begin()

    def _note(self, part: str, result: Result) -> None:
        if len(self._failures) < MAX_EXPLAINED or not part:
            self._failures.append({**_failure(self._number, self._candidate, result), "part": clean(part)})


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
        "refused": clean(candidate.failure or (NOT_PLAIN if error is not None and not by_candidate and candidate.lacks(error) else "")),
        "message": clean(candidate.detail if inert or result is None else result.message),
        "type": clean(type(error).__name__) if error is not None and not inert else None,
        "by_candidate": by_candidate,
        "line": candidate.raised_line if by_candidate else None,
        "output": clean(candidate.output),
        "lost": candidate.gone,
    }


_REHEARSED = """
def check(candidate):
    assert candidate([1.0, 2.0], 0.5) == False
    assert candidate("text", third=[1]) == ["text", 1]
    assert candidate() is None
"""


def rehearse() -> None:
    """Grade answers that were given in advance, and leave nothing: what a zygote does before its children do it."""
    import _socket

    ours, theirs = _socket.socketpair()
    send_frame(theirs.fileno(), encode((0, "ready", True, b"", ())))
    for number, value in enumerate((False, ["text", 1], None), start=1):
        send_frame(theirs.fileno(), encode((number, "value", value, b"", ((), (), ()))))
    task = {
        "name": "f",
        "tests": [{"kind": "code", "source": _REHEARSED, "call": "check"}],
        "reference": None,
        "allowed": (),
        "watched": (),
    }
    settings = {"inspect": False, "notice": False, "brief": False}
    json.dumps(grade_candidate(json.loads(json.dumps({**task, **settings})), ours.fileno())).encode()
    ours.close()
    theirs.close()
