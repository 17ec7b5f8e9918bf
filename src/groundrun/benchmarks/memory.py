"""What was already decided about identical programs in this run, so that n equal samples cost two runs and not n.

The key is the task and the program's bytes; everything else that can matter (tests, judge, limits, interpreter, rung, compat
mode, hash seed) is the same throughout one run folder, which refuses to go on with another.

Promises: an answer is copied only after two separate runs of the same program agreed on it; when they differ, the program is
nondeterministic: every further sample runs by itself and is marked `flaky`. Our faults and wall limits are never copied.
Memory is flat: the `CAPACITY` most recently seen programs are remembered, which only costs runs, never answers.
Does not promise to notice a program that fails once in a thousand runs.

`unite` makes one verdict of several runs of a program. By our choice a program whose runs disagree solves a problem only if every
run did, and passes a test only if it did in every run; it is marked `flaky` either way, also where the runs disagree about a test
and all failed. A wall limit is an answer like any other there, so a host that is too busy can mark a program.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from groundrun.records import Outcome, TestVerdict, Verdict

CAPACITY = 4096


class _Entry(msgspec.Struct):
    verdict: Verdict
    confirmed: bool = False
    flaky: bool = False


class VerdictMemory:
    """Verdicts by task and program."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def recall(self, task_id: str, source: str, sample: int) -> Verdict | None:
        """The answer for a program that two runs agreed on, made out to this sample; None when it has to run."""
        entry = self._entries.get(_key(task_id, source))
        if entry is None or not entry.confirmed or entry.flaky:
            return None
        return msgspec.structs.replace(entry.verdict, sample=sample)

    def learn(self, source: str, verdict: Verdict, *, runs: int = 1) -> Verdict:
        """Remember a verdict that so many runs gave; the same verdict, marked `flaky` when an equal program was answered otherwise."""
        if verdict.passed is None or verdict.outcome is Outcome.WALL_LIMIT:
            return verdict
        key = _key(verdict.task_id, source)
        entry = self._entries.setdefault(key, _Entry(verdict, confirmed=runs > 1, flaky=verdict.flaky))
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
        if entry.verdict is not verdict:
            entry.flaky |= verdict.flaky or _answer(entry.verdict) != _answer(verdict)
            entry.confirmed = True
        return msgspec.structs.replace(verdict, flaky=True) if entry.flaky else verdict


def unite(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict of one or more runs of a program that all have an answer: the first that did not pass, else the first.

    Its tests, and their inputs, are those of all runs together: failed where a run failed, else not reached where a run did not reach it.
    """
    telling = next((each for each in verdicts if not each.passed), verdicts[0])
    if len({_answer(each) for each in verdicts}) == 1:
        return telling
    passed = sum(each.passed is True for each in verdicts)
    reason = f"flaky: {passed} of {len(verdicts)} runs passed; {telling.reason}"
    tests = tuple(_unite_test(test, [each.tests[number] for each in verdicts]) for number, test in enumerate(telling.tests))
    return msgspec.structs.replace(telling, flaky=True, reason=reason, tests=tests)


def _unite_test(telling: TestVerdict, results: Sequence[TestVerdict]) -> TestVerdict:
    """One test in all runs. Inputs that not every run has alike (parts of a file that a program adds to) are those of the telling run."""
    found = {each.passed for each in results}
    passed = False if False in found else None if None in found else True
    inputs = telling.inputs
    if all(len(each.inputs) == len(inputs) for each in results):
        columns = zip(*(each.inputs for each in results), strict=True)
        inputs = "".join(next((mark for mark in "-." if mark in marks), marks[0]) for marks in columns)
    return msgspec.structs.replace(telling, passed=passed, inputs=inputs)


def _answer(verdict: Verdict) -> tuple[bool | None, Outcome, tuple[bool | None, ...]]:
    return verdict.passed, verdict.outcome, tuple(test.passed for test in verdict.tests)


def _key(task_id: str, source: str) -> bytes:
    return hashlib.blake2b(f"{task_id}\0{source}".encode("utf-8", "backslashreplace"), digest_size=16).digest()
