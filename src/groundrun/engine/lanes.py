"""The lanes of one worker: started when a job first needs them, retired when they lie idle, bounded in memory.

A lane serves one role (`program`, `grader`, or `counting` for counted programs) in one flavour. Those of flavour `bare` stay as long
as the worker; the others go when they were not used for a while, and the longest unused goes first when together they keep more memory
than the worker may. What the workers of an engine learn about flavours (how large one is, that one can't be imported) they share, so that
nothing is found out twice.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

import msgspec

from groundrun.engine.flavour import BARE_FLAVOUR, Catalogue, Choice, Flavour
from groundrun.engine.job import Job
from groundrun.engine.lane import Lane
from groundrun.errors import FlavourUnavailable
from groundrun.records import BARE

PROGRAM, GRADER, COUNTING = "program", "grader", "counting"
_Key = tuple[str, str]


class MakeLane(Protocol):
    """What starts a lane."""

    def __call__(self, role: str, flavour: Flavour = BARE_FLAVOUR, /) -> Lane:
        """A lane that is ready. Raises FlavourUnavailable when the modules can't be imported."""


class FlavourStats(msgspec.Struct, frozen=True, kw_only=True):
    """The warm zygotes of one flavour. `resident_bytes`: of all of them, as each was when it had warmed up, pages that they share included.

    `refused` says why there is none, if one was tried.
    """

    name: str
    zygotes: int
    resident_bytes: int
    refused: str = ""


class Warmth:
    """What the workers of an engine may keep warm, and what they found out about it."""

    def __init__(self, catalogue: Catalogue, *, idle_s: float, worker_bytes: int) -> None:
        self.idle_s, self.worker_bytes = idle_s, worker_bytes
        self.sizes: dict[str, int] = {}
        self._catalogue = catalogue
        self._refused: dict[str, FlavourUnavailable] = {}
        self._done_without: frozenset[str] = frozenset()
        self._guard = threading.Lock()

    def choose(self, job: Job, role: str) -> Choice:
        """The flavour for a job. Raises FlavourUnavailable when the job or its user insists on one that can't be had."""
        choice = self._catalogue.choose(job, scanned=role == PROGRAM, without=self._done_without)
        if error := self._refused.get(choice.flavour.name):
            raise error
        return choice

    def refuse(self, error: FlavourUnavailable, *, for_good: bool) -> None:
        """Remember that a flavour can't be had. Programs are run without it from now on, or, `for_good`, not run at all."""
        with self._guard:
            self._refused[error.flavour] = error
            if not for_good:
                self._done_without |= {error.flavour}

    def describe(self, resident: list[tuple[str, int]]) -> tuple[FlavourStats, ...]:
        """Statistics from the flavour and size of each warm zygote."""
        names = dict.fromkeys([name for name, _ in resident] + list(self._refused))
        found = []
        for name in sorted(names, key=lambda name: (name != BARE, name)):
            sizes = [size for each, size in resident if each == name]
            refused = str(self._refused.get(name, ""))
            found.append(FlavourStats(name=name, zygotes=len(sizes), resident_bytes=sum(sizes), refused=refused))
        return tuple(found)


class _Warm:
    __slots__ = ("lane", "resident", "used")

    def __init__(self, lane: Lane) -> None:
        self.lane, self.resident, self.used = lane, lane.measure(), time.monotonic()


class Lanes:
    """Used by its worker's thread alone, but for `cancel`, `abandon` and `resident`."""

    def __init__(self, make_lane: MakeLane, warmth: Warmth) -> None:
        self._make_lane, self._warmth = make_lane, warmth
        self._warm: dict[_Key, _Warm] = {}
        self._held: set[_Key] = set()
        self._guard = threading.Lock()
        self.cold_imports = 0

    def take(self, jobs: tuple[Job, ...], *, roles: tuple[str, ...] = (PROGRAM, GRADER), kept: Lane | None = None) -> list[Lane]:
        """A lane for each job that has a role, in the flavour that it needs. They are held until the next call, and so is `kept`."""
        self._held = {key for key, warm in self._warm.items() if warm.lane is kept}
        return [self._take(role, job) for role, job in zip(roles, jobs, strict=False)]

    def has(self, lane: Lane) -> bool:
        """Whether it wasn't retired."""
        return any(warm.lane is lane for warm in self._warm.values())

    def _take(self, role: str, job: Job) -> Lane:
        while True:
            choice = self._warmth.choose(job, role)
            try:
                lane = self._get(role, choice.flavour)
            except FlavourUnavailable as error:
                self._warmth.refuse(error, for_good=choice.flavour.registered and not isinstance(error, _TooLarge))
                if choice.asked:
                    raise
            else:
                self.cold_imports += not choice.covered
                return lane

    def _get(self, role: str, flavour: Flavour) -> Lane:
        key = (role, flavour.name)
        self._held.add(key)
        warm = self._warm.get(key)
        if warm is not None:
            warm.used = time.monotonic()
            return warm.lane
        if flavour.modules:
            self._check_size(flavour.name)
            self._make_room(self._warmth.sizes.get(flavour.name, 0))
        warm = _Warm(self._make_lane(role, flavour))
        with self._guard:
            self._warm[key] = warm
        if flavour.modules:
            self._warmth.sizes[flavour.name] = warm.resident
            try:
                self._check_size(flavour.name)
            except FlavourUnavailable:
                self._held.discard(key)
                self._close(key)
                raise
            self._make_room(0)
        return warm.lane

    def _check_size(self, name: str) -> None:
        size, most = self._warmth.sizes.get(name, 0), self._warmth.worker_bytes
        if size > most:
            raise _TooLarge(name, f"its zygote keeps {size} bytes, and flavour_memory_bytes allows {most} for each worker: allow more")

    def _make_room(self, needed: int) -> None:
        """Retire what was used longest ago until what is kept, and is needed, is no more than allowed; never what is held."""
        while True:
            kept = {key: warm for key, warm in self._warm.items() if key[1] != BARE}
            if needed + sum(warm.resident for warm in kept.values()) <= self._warmth.worker_bytes:
                return
            idle = [key for key in kept if key not in self._held]
            if not idle:
                return
            self._close(min(idle, key=lambda key: kept[key].used))

    def retire(self, *, idle: bool) -> None:
        """Close what was not used for a while; `idle`: nothing runs, so nothing is held."""
        if idle:
            self._held.clear()
        last = time.monotonic() - self._warmth.idle_s
        for key in [key for key, warm in self._warm.items() if key[1] != BARE and key not in self._held and warm.used <= last]:
            self._close(key)

    def patience(self) -> float | None:
        """Seconds until something is to be retired if the worker stays idle; None for nothing."""
        used = [warm.used for key, warm in self._warm.items() if key[1] != BARE]
        return max(min(used) + self._warmth.idle_s - time.monotonic(), 0.0) if used else None

    def close(self) -> None:
        """End everything."""
        with self._guard:
            warm, self._warm = list(self._warm.values()), {}
        for each in warm:
            each.lane.close()

    def _close(self, key: _Key) -> None:
        with self._guard:
            warm = self._warm.pop(key)
        warm.lane.close()

    def cancel(self) -> None:
        """End what runs; from any thread."""
        with self._guard:
            for warm in self._warm.values():
                warm.lane.cancel()

    def abandon(self) -> None:
        """In a forked child: close inherited descriptors without touching the parent's processes."""
        for warm in self._warm.values():
            warm.lane.abandon()

    def resident(self) -> list[tuple[str, int]]:
        """Flavour and resident bytes of each warm zygote."""
        with self._guard:
            return [(warm.lane.flavour, warm.resident) for warm in self._warm.values()]


class _TooLarge(FlavourUnavailable):
    """Raised for a flavour that could be had if there were more memory: its programs can run without it."""
