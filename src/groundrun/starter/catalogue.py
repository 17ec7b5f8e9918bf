"""The starter set: problems of ours with authored candidates, so that the whole of groundrun can be seen at work offline.

Each problem is one TOML file in `problems/`: the text, visible and hidden tests, a reference, and candidates. No model wrote a
candidate: each was *authored* to be right in its own way, subtly wrong, crashing, endless, hungry or cheating, and carries
the verdict it must get. So a demo on this set is also a check: a verdict other than the authored one is a defect of
the host's guards or of the judge.

What the set doesn't promise: that a score on it says anything about a model.
"""

from __future__ import annotations

from enum import StrEnum
from importlib.resources import files

import msgspec

from groundrun.records import Completion, Outcome, Problem


class Idea(StrEnum):
    """What a candidate was authored to be."""

    RIGHT = "right"
    WRONG = "wrong"
    CRASH = "crash"
    ENDLESS = "endless"
    SLOW = "slow"
    MEMORY = "memory"
    CHEAT = "cheat"


class Kind(StrEnum):
    """What a problem asks for: a function, a class whose objects stay behind as handles, a program with text in and out, several files."""

    FUNCTION = "function"
    CLASS = "class"
    STDIO = "stdio"
    FILES = "files"


class Candidate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An authored answer. `passes` is the verdict it must get, `outcome` how it must end where that is part of its idea."""

    label: str
    idea: Idea
    passes: bool
    source: str
    outcome: Outcome | None = None


class StarterProblem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A problem and its candidates, in the order of the file. `files` are texts that lie beside every program of the problem."""

    title: str
    kind: Kind
    problem: Problem
    candidates: tuple[Candidate, ...]
    files: dict[str, str] = {}

    def completions(self) -> list[Completion]:
        """The candidates as completions: sample n is candidate n."""
        return [
            Completion(task_id=self.problem.task_id, text=candidate.source, solution=candidate.source, sample=number, model="authored")
            for number, candidate in enumerate(self.candidates)
        ]


def load_starter() -> tuple[StarterProblem, ...]:
    """All problems of the starter set, in the order of their names."""
    folder = files("groundrun.starter").joinpath("problems")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return tuple(_with_files(msgspec.toml.decode(folder.joinpath(name).read_bytes(), type=StarterProblem)) for name in names)


def _with_files(starter: StarterProblem) -> StarterProblem:
    files = {path: text.encode() for path, text in starter.files.items()}
    return msgspec.structs.replace(starter, problem=msgspec.structs.replace(starter.problem, files=files))
