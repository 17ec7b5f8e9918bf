"""The grader of a differential test: asks the candidate for every input, and compares with what the reference said.

It holds inputs and expected values (`truth`), which the candidate never sees, and compares on decoded plain data; a special oracle gets
the arguments as they were before the candidate could change them. Requests are sent ahead of the answers, so that candidate and
grader work at the same time.

Payload: 4 bytes length, that much JSON, the pickle of `truth`. JSON: `{"name", "start", "tolerance", "sticky", "oracle", "walls", "stop"}`:
the first input to ask for; how close floats must be; whether a tolerance, once float results asked for one, stays for the inputs
that follow; the source of the oracle or null; seconds on the wall for each input, or null; whether to stop at the first failure.
Report: `{"results", "failure", "reached", "stopped", "before_s"}`: a letter for each answered input from the start (`+` or `-`), why the
first failed, whether the candidate got as far as being asked, whether the grader stopped asking by itself, and the seconds on the wall from
the beginning to the last answer. After a failure, which decides, what else the candidate can do is asked for `AFTER_FAILURE_S` at most.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import pickle
import select
import sys
import time
from collections.abc import Callable
from typing import Any

from groundrun.engine.guest.job import GuestJob
from groundrun.judging.guest.checks import clean, show
from groundrun.judging.guest.grader import STARTED
from groundrun.judging.guest.proxy import Candidate, Refused

RELATIVE = 1e-7
GC_THRESHOLD = (200_000, 20, 20)  # long lists of results are data, not garbage
FLOAT_TOLERANCE = 1e-6
Agree = Callable[[Any, Any], bool]


def main(job: GuestJob) -> None:
    """Grade one candidate on the inputs from `start` on."""
    job.report(STARTED)
    size = int.from_bytes(job.payload[:4], "little")
    task = json.loads(job.payload[4 : 4 + size])
    inputs, expected, digests = pickle.loads(memoryview(job.payload)[4 + size :])
    gc.set_threshold(*GC_THRESHOLD)
    sys.path.insert(0, os.getcwd())
    began = time.monotonic()
    candidate = Candidate(job.channel, name=task["name"])
    if candidate.wait():
        grading = _Grading(candidate, inputs, expected, digests, task)
        grading.carry_out(began)
        report = {
            "results": "".join(grading.results),
            "failure": grading.failure,
            "reached": True,
            "stopped": grading.stopped,
            "before_s": grading.before_s,
        }
    else:
        report = {"results": "", "failure": _explain(candidate, -1), "reached": False, "stopped": False, "before_s": 0.0}
    job.report(json.dumps(report).encode())
    os._exit(0)  # nothing that an oracle left behind may keep a finished grading alive


class _Grading:
    """The answers so far."""

    def __init__(
        self,
        candidate: Candidate,
        inputs: list[tuple[Any, ...]],
        expected: list[Any],
        digests: dict[int, tuple[int, bytes]],
        task: dict[str, Any],
    ) -> None:
        self._candidate, self._inputs, self._expected, self._digests = candidate, inputs, expected, digests
        self._start, self._walls, self._stop = task["start"], task["walls"], task["stop"]
        self._rule = Rule(task["tolerance"], sticky=task["sticky"])
        self._oracle = load_oracle(task["oracle"], self._rule.agree)
        for value in expected[: self._start]:
            self._rule.settle(value)
        self.results: list[str] = []
        self.failure: dict[str, Any] | None = None
        self.before_s = 0.0
        self.stopped = False
        self._ends = math.inf

    def carry_out(self, began: float) -> None:
        """Ask and compare until the inputs, the candidate or the time after a failure come to their end."""
        candidate = self._candidate
        for number, answer in enumerate(candidate.ask_all(self._inputs[self._start :], self._wait), self._start):
            if answer is None:
                self.stopped = candidate.failure in (TOO_LONG, ENOUGH)
                if candidate.failure == TOO_LONG:
                    self._note("-", number, "")
                return
            self.before_s = time.monotonic() - began
            right, message = self._compare(number, answer)
            self._note("+" if right else "-", number, message)
            if self._stop and not right:
                self.stopped = True
                return

    def _wait(self, number: int, since: float) -> None:
        """Wait for the answer of a call that began at `since`; give the candidate up when its time is over."""
        if self._walls is None and self._ends == math.inf:
            return  # reading waits as well, and costs one system call less
        ends = self._ends if self._walls is None else min(self._ends, since + self._walls[self._start + number])
        if self._candidate.reader.is_ready():
            return
        if not select.select([self._candidate.channel], [], [], max(ends - time.monotonic(), 0.0))[0]:
            self._candidate.give_up(ENOUGH if ends == self._ends else TOO_LONG)

    def _compare(self, number: int, answer: Any) -> tuple[bool, str]:
        if self._candidate.failure is not None or answer.error is not None:
            return False, "" if answer.error is None else f"raised {type(answer.error).__name__}: {answer.error}"
        expected = self._expected[number]
        if number in self._digests:
            length, digest = self._digests[number]
            right = type(answer.value) is str and len(answer.value) == length and digest_of(answer.value) == digest
            return right, "" if right else f"gave {show(answer.value)}, expected another string of {length} characters"
        try:
            if self._oracle is None:
                right = self._rule.agree(answer.value, expected)
            else:
                right = bool(self._oracle(self._inputs[number], answer.value, expected))
                self._rule.settle(expected)
            right = right and self._candidate.failure is None  # an oracle may have swallowed a refusal
        except (Refused, Exception) as error:
            return False, f"comparing it raised {type(error).__name__}"
        return right, "" if right else f"gave {show(answer.value)}, expected {show(expected)}"

    def _note(self, letter: str, number: int, message: str) -> None:
        self.results.append(letter)
        if letter == "-" and self.failure is None:
            self._ends = time.monotonic() + AFTER_FAILURE_S
            arguments = ", ".join(map(show, self._inputs[number]))
            self.failure = _explain(self._candidate, number, f"{self._candidate.name}({arguments}) {message}".rstrip())


TOO_LONG = "a call took longer than allowed by the clock on the wall"
ENOUGH = "enough is known"
AFTER_FAILURE_S = 0.25


class Rule:
    """When two values agree. `sticky`: a tolerance that float results asked for stays, as in the published harness of EvalPlus."""

    def __init__(self, tolerance: float, *, sticky: bool = False) -> None:
        self._tolerance, self._sticky = tolerance, sticky

    def settle(self, expected: Any) -> float:
        """The tolerance for this expected value."""
        tolerance = self._tolerance
        if tolerance == 0 and _is_floats(expected):
            tolerance = FLOAT_TOLERANCE
            if self._sticky:
                self._tolerance = tolerance
        return tolerance

    def agree(self, got: Any, expected: Any) -> bool:
        """Equal, or of one type and shape and close."""
        tolerance = self.settle(expected)
        if got == expected:
            return True
        return tolerance != 0 and type(got) is type(expected) and _are_close(got, expected, tolerance)


def _is_floats(value: Any) -> bool:
    """A float, or a list or tuple of floats that is not empty."""
    return isinstance(value, float) or (isinstance(value, (list, tuple)) and bool(value) and all(isinstance(each, float) for each in value))


def _are_close(got: Any, expected: Any, tolerance: float) -> bool:
    """Numbers within the tolerance; sequences of one length, item by item. Nothing else is close."""
    if isinstance(got, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(got) == len(expected) and all(_are_close(a, b, tolerance) for a, b in zip(got, expected, strict=True))
    if not (isinstance(got, (int, float, complex)) and isinstance(expected, (int, float, complex))):
        return False
    if got == expected:
        return True
    reach = abs(expected)
    return math.isfinite(reach) and abs(got - expected) <= tolerance + RELATIVE * reach


def load_oracle(source: str | None, agree: Agree) -> Callable[..., bool] | None:
    """The special oracle of a test, None where results are to agree."""
    if source is None:
        return None
    namespace: dict[str, Any] = {"__name__": "oracle", "agree": agree}
    exec(compile(source, "<oracle>", "exec", dont_inherit=True), namespace)
    oracle: Callable[..., bool] = namespace["oracle"]
    return oracle


def digest_of(text: str) -> bytes:
    """Sixteen bytes that stand for a string."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _explain(candidate: Candidate, number: int, message: str = "") -> dict[str, Any]:
    """Why an input failed, in the words of a grader's report."""
    error = candidate.raised
    inert = candidate.failure is not None
    return {
        "test": number,
        "refused": clean(candidate.failure or ""),
        "message": clean(" -- ".join(part for part in (message, candidate.detail if inert else "") if part)),
        "type": clean(type(error).__name__) if error is not None and not inert else None,
        "by_candidate": error is not None,
        "line": candidate.raised_line if error is not None else None,
        "output": clean(candidate.output),
    }
