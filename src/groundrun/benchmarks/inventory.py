"""Which recorded samples a run judges, so that the verdicts of two different files never meet in one run folder.

An inventory holds the key of every sample and a digest of its program; `origin` is what run.json keeps of it.

Promises: a folder goes on with the same set (the name of the file may differ), or with one that holds everything the folder has
recorded, unchanged, and is no smaller; anything else is `ResumeRefused` before a record is written, and names both sources.
Does not promise to notice a change in samples of an interrupted run that were never recorded: they have no verdict yet, so they are
judged as the present file has them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from groundrun.errors import BadInput, ResumeRefused
from groundrun.records import Completion

Key = tuple[str, int]


class SampleOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run's recorded samples came from: the file's name, how many count, and the SHA-256 of the set (task, sample, program)."""

    name: str
    count: int
    sha256: str

    def describe(self) -> str:
        """The origin in one phrase."""
        return f"{self.name} ({self.count} sample{'' if self.count == 1 else 's'}, sha256 {self.sha256[:12]})"


class Inventory:
    """The samples of one source. `programs` holds the digest of each program by (task, sample)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.programs: dict[Key, bytes] = {}

    def add(self, completion: Completion) -> None:
        """Take a sample in. Raises `BadInput` when its number is taken."""
        key = (completion.task_id, completion.sample)
        if key in self.programs:
            raise BadInput(key[0], f"sample {key[1]} is there twice", hint="number the samples from 0")
        self.programs[key] = digest_program(completion)

    def refuse_change(self, completion: Completion) -> None:
        """Raise `BadInput` when this is not the sample that was taken in: the file changed meanwhile."""
        key = (completion.task_id, completion.sample)
        if self.programs.get(key) != digest_program(completion):
            raise BadInput(self.name, f"sample {key[1]} of {key[0]} changed while it was read", hint="run the same command again")

    @property
    def origin(self) -> SampleOrigin:
        """What run.json keeps. The order of the samples doesn't matter."""
        total = hashlib.sha256()
        for (task_id, sample), digest in sorted(self.programs.items()):
            total.update(f"{task_id}\0{sample}\0".encode("utf-8", "backslashreplace") + digest)
        return SampleOrigin(name=self.name, count=len(self.programs), sha256=total.hexdigest())

    def refuse_other(self, folder: str, before: SampleOrigin | None, recorded: Mapping[Key, bytes]) -> None:
        """Raise `ResumeRefused` unless a folder made from `before`, with the `recorded` programs, can go on with these samples."""
        now = self.origin
        if before is not None and before.sha256 == now.sha256:
            return
        if before is not None and now.count < before.count:
            raise ResumeRefused(folder, "samples from", before.describe(), now.describe())
        for key, digest in recorded.items():
            found = self.programs.get(key)
            if found != digest:
                stored = f"program {digest.hex()[:12]} of {before.name if before else 'an earlier source'}"
                present = f"program {found.hex()[:12]} of {self.name}" if found else f"not in {self.name}"
                raise ResumeRefused(folder, f"sample {key[1]} of {key[0]}:", stored, present)


def digest_program(completion: Completion) -> bytes:
    """Sixteen bytes that stand for a program; surrogates as a run folder holds them, so that a stored line gives the same."""
    source = completion.text if completion.solution is None else completion.solution
    return hashlib.blake2b(source.encode("utf-8", "backslashreplace"), digest_size=16).digest()
