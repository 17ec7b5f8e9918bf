"""What was already decided about identical programs in this run, so that n equal samples cost two runs and not n.

The key is the task and the program's bytes; everything else that can matter (tests, judge, limits, interpreter, rung, compat
mode, hash seed) is the same throughout one run folder, which refuses to go on with another.

Promises: an answer is copied only after two separate runs of the same program agreed on it; when they differ, the program is
nondeterministic: every further sample runs by itself and is marked `flaky`. Our faults and wall limits are never copied.
Memory is flat: the `CAPACITY` most recently seen programs are remembered, which only costs runs, never answers.
Does not promise to notice a program that fails once in a thousand runs.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import msgspec

from groundrun.records import Outcome, Verdict

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

    def learn(self, source: str, verdict: Verdict) -> Verdict:
        """Remember a verdict that a run gave; the same verdict, marked `flaky` when an equal program was answered otherwise."""
        if verdict.passed is None or verdict.outcome is Outcome.WALL_LIMIT:
            return verdict
        key = _key(verdict.task_id, source)
        entry = self._entries.setdefault(key, _Entry(verdict))
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
        if entry.verdict is not verdict:
            entry.flaky |= (entry.verdict.passed, entry.verdict.outcome) != (verdict.passed, verdict.outcome)
            entry.confirmed = True
        return msgspec.structs.replace(verdict, flaky=True) if entry.flaky else verdict


def _key(task_id: str, source: str) -> bytes:
    return hashlib.blake2b(f"{task_id}\0{source}".encode("utf-8", "backslashreplace"), digest_size=16).digest()
