"""The words of the attack suite: what an attack is, what came of it, and how the suite's answer is written.

An attack is a program that tries one forbidden thing and tells what it saw. Its own words never clear it: what counts is what its
canaries look like from outside, and what it brought home. So an attack can fail to be refused, but it can't pass by lying.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import msgspec

from groundrun.attacks.guards import Guard
from groundrun.attacks.scene import Scene
from groundrun.records import MEBIBYTE, Completion, Execution, Limits, Problem

SMALL = Limits(cpu_s=1.0, wall_s=4.0, memory_bytes=256 * MEBIBYTE, output_bytes=64 << 10, disk_bytes=8 * MEBIBYTE)


class Family(StrEnum):
    """What an attack is after."""

    CHEAT = "cheat"
    FILES = "files"
    DISK = "disk"
    PROCESSES = "processes"
    NETWORK = "network"
    KERNEL = "kernel"
    LEAK = "leak"
    RESOURCES = "resources"
    OUTPUT = "output"
    PAGE = "page"


class Ruling(StrEnum):
    """What came of an attack: nothing; something, within a soft guard that the isolation announces; or a success."""

    CONTAINED = "contained"
    BOUNDED = "bounded"
    FOOLED = "fooled"


class Aftermath(msgspec.Struct, frozen=True, kw_only=True):
    """What is known once an attack is over.

    `said` is what the program reported, `later` what a job after it saw on the same worker, `seen` what the watch noticed meanwhile.
    """

    execution: Execution
    scene: Scene
    said: dict[str, Any]
    later: dict[str, Any]
    seen: tuple[str, ...]

    def done(self, name: str) -> bool:
        """Whether an attempt of the program went through, by its own report. Raises LookupError when it was never made."""
        if name not in self.said:
            raise LookupError(f"the attempt {name!r} was never made: {self.execution.stderr[-300:].decode('utf-8', 'replace')}")
        return "done" in self.said[name]

    def went_through(self, *names: str) -> list[str]:
        """Those of the attempts that went through; all that were made when none is named."""
        every = names or tuple(name for name, told in self.said.items() if isinstance(told, dict))
        return [f"{name} went through" for name in every if self.done(name)]

    def number(self, name: str) -> int:
        """The last count that the program told under that name, 0 without one."""
        told = self.said.get(name, 0)
        return told if isinstance(told, int) else 0


def nothing(aftermath: Aftermath) -> Iterable[str]:
    """The inspection of attacks whose only prey is the scene."""
    return ()


class Attack(msgspec.Struct, frozen=True, kw_only=True):
    """A program against the engine.

    tries: one sentence. guards, at_landlock: the smallest set of guards that stops it, on the two rungs, where it can be shown: without the
    set the attack wins, without a part of it it doesn't (`controls`). unproven: why no set can be shown anywhere.
    source: the program, after the prelude. inspect: what it won, in phrases.
    soft: words of `Isolation.missing`; with an announcement that holds one of them, a win of `inspect` is *bounded*.
    earlier, later: programs before and after it on the same worker. paired: it has a channel to a second, idle program.
    watched: the scene is probed while it runs. unguarded: it also proves itself on rung `none`, where it must win.
    machine: it makes sense on that architecture only. needs, needs_limit: its controls need a kernel that knows the system call of that
    number, and a hard limit on that resource which is not 0.
    as_caller: in its controls, the user that a program has without a private one is the engine's own, not that of the canaries.
    chances: how often its controls try it: a race isn't won each time.
    """

    name: str
    family: Family
    tries: str
    source: str
    guards: tuple[Guard, ...] = ()
    at_landlock: tuple[Guard, ...] = ()
    unproven: str = ""
    inspect: Callable[[Aftermath], Iterable[str]] = nothing
    soft: tuple[str, ...] = ()
    limits: Limits = SMALL
    collect: tuple[str, ...] = ()
    earlier: str = ""
    later: str = ""
    paired: bool = False
    watched: bool = False
    unguarded: bool = False
    machine: str = ""
    needs: int = 0
    needs_limit: int = -1
    as_caller: bool = False
    chances: int = 1


class Cheat(msgspec.Struct, frozen=True, kw_only=True):
    """A wrong solution that wants to be judged right, or not to be judged at all."""

    name: str
    tries: str
    guards: tuple[Guard, ...]
    problem: Problem
    source: str
    family: Family = Family.CHEAT
    unproven: str = ""

    def completion(self) -> Completion:
        """The cheat as a model's answer."""
        return Completion(task_id=self.problem.task_id, text=self.source, solution=self.source, model="attack")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One attack's outcome. `detail` says what it won, or how it ended."""

    name: str
    family: Family
    verdict: Ruling
    detail: str


class SuiteResult(msgspec.Struct, frozen=True, kw_only=True):
    """The whole suite's answer, as `groundrun attack --json` prints it: pairs are (how many, of how many).

    `not_run` says of each attack that could not be tried on this host why: it is in no count.
    """

    contained: tuple[int, int]
    bounded: tuple[int, int]
    fooled: tuple[int, int]
    attacks: tuple[Result, ...]
    not_run: tuple[str, ...] = ()


def add_up(results: Iterable[Result], not_run: Iterable[str] = ()) -> SuiteResult:
    """Count the verdicts."""
    attacks = tuple(results)
    counts = [(sum(each.verdict is ruling for each in attacks), len(attacks)) for ruling in Ruling]
    return SuiteResult(contained=counts[0], bounded=counts[1], fooled=counts[2], attacks=attacks, not_run=tuple(not_run))
