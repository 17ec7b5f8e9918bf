"""An earlier run as a source of completions, and what judging them again changed.

Promises: text, program, rule, sample number and model of every stored completion come out as they went in, without sampling and
without extracting again; an interrupted run gives what it has stored, and one that is still written what it had stored when it was
opened here. A change is listed once for each sample, with every
cause that is known; a sample that had no verdict before is counted, and is no change.
Does not promise a cause: where nothing that is recorded differs, it says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from groundrun.benchmarks.inventory import Key
from groundrun.benchmarks.store import COMPLETIONS, StoredCompletion, read_completions, read_config
from groundrun.errors import BadInput
from groundrun.records import Outcome, Verdict


class EarlierRun:
    """The completions of a run folder, to be iterated any number of times. Raises `BadInput` for what is no run folder, or an empty one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = read_config(path)
        self.name = path.resolve().name
        self._count = sum(1 for _ in read_completions(path))
        if not self._count:
            raise BadInput(str(path / COMPLETIONS), "it holds no completions yet", hint="let the run come further first")

    def __iter__(self) -> Iterator[StoredCompletion]:
        return itertools.islice(read_completions(self.path), self._count)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared of a verdict, and its reason. `passed` is None where it was masked."""

    passed: bool | None
    outcome: Outcome
    protected: bool
    reason: str
    flaky: bool = False

    def differs(self, other: Answer) -> bool:
        """Whether the two say something else. Reasons are wording."""
        return (self.passed, self.outcome, self.protected) != (other.passed, other.outcome, other.protected)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A sample whose verdict is another one now, and why as far as is known."""

    task_id: str
    sample: int
    before: Answer
    after: Answer
    why: tuple[str, ...]

    @property
    def flipped(self) -> bool:
        """Whether passing changed, and not only how it failed or was judged."""
        return self.before.passed is not self.after.passed


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What judging again changed. `compared` samples have a verdict in both runs, `new` ones only now."""

    compared: int
    new: int
    settings: tuple[str, ...]
    changes: tuple[Change, ...]


def read_answers(verdicts: Iterable[Verdict]) -> dict[Key, Answer]:
    """What every sample was told."""
    return {
        (each.task_id, each.sample): Answer(
            passed=each.passed, outcome=each.outcome, protected=each.protected, reason=each.reason, flaky=each.flaky
        )
        for each in verdicts
    }


def list_changed(before: Mapping[Key, Answer], after: Mapping[Key, Answer], *, settings: tuple[str, ...] = ()) -> Changes:
    """Every sample with another answer now. settings: what is set otherwise now, in phrases (`comparison.list_changes`)."""
    common = sorted(before.keys() & after.keys())
    return Changes(
        compared=len(common),
        new=len(after.keys() - before.keys()),
        settings=settings,
        changes=tuple(
            Change(task_id=key[0], sample=key[1], before=before[key], after=after[key], why=_explain(before[key], after[key], settings))
            for key in common
            if before[key].differs(after[key])
        ),
    )


def _explain(before: Answer, after: Answer, settings: tuple[str, ...]) -> tuple[str, ...]:
    if before.passed is None or after.passed is None:
        return (f"it was masked {'before' if before.passed is None else 'now'}: our fault",)
    why: list[str] = []
    if before.flaky or after.flaky:
        why.append("the program is flaky: its runs disagree")
    why.extend(settings)
    for when, answer in (("before", before), ("now", after)):
        if answer.outcome.is_limit and before.outcome is not after.outcome:
            why.append(f"{when} it ran into the {answer.outcome.value.replace('_', ' ')}")
    return tuple(why) or ("no setting changed: the program may be nondeterministic, which --repeat can show",)
