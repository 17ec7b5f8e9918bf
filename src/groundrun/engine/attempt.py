"""One try at a run: one job, or two that are joined by a socket, each in a lane of its own."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from typing import Protocol

from groundrun.engine.classification import EndedBy, KernelFacts
from groundrun.engine.exchange import Exchange
from groundrun.engine.exhaustion import host_may_refuse
from groundrun.engine.job import Job
from groundrun.engine.lane import Lane, gather
from groundrun.engine.remains import find_temporary
from groundrun.engine.standing import Standing, check_ours
from groundrun.errors import DiskFull, EngineError
from groundrun.records import Execution, Limits, Outcome, Rung

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LINGER_S = 0.25  # what a function server needs to notice the end of its channel, generously


class Watcher(Protocol):
    """Stays with each attempt at a run of one job, in the worker's thread."""

    def open(self) -> int:
        """A descriptor for the guest of a new attempt, as its channel."""

    def begin(self, lane: Lane) -> None:
        """The run has begun."""

    def watch(self, lane: Lane) -> None:
        """Return when the run is over."""

    def close(self) -> None:
        """Read what is to be known of the attempt and close the descriptor; safe to call twice."""


class Attempt:
    """Started when made; then `finish`, `gather` and, whatever happens, `close`. Raises EngineError: the lanes are then to be replaced.

    standing: who serves as the second job of a pair, in a lane that is then not among `lanes`.
    """

    @host_may_refuse()
    def __init__(
        self,
        jobs: Sequence[Job],
        limits: Sequence[Limits],
        lanes: Sequence[Lane],
        standing: Standing | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self._jobs, self._limits, self._lanes, self._standing, self._watcher = jobs, limits, lanes, standing, watcher
        self._served: tuple[Execution, ...] = ()
        self._exchanges: list[Exchange] = []
        self._facts: list[KernelFacts] = []
        ends: list[socket.socket] = []
        try:
            ends.extend(socket.socketpair() if len(jobs) > 1 else ())
            channels = [end.fileno() for end in ends] or [watcher.open() if watcher else -1]
            self._exchanges.extend(Exchange(job) for job in jobs[: len(lanes)])
            for number, lane in enumerate(lanes):
                lane.begin(jobs[number], limits[number], self._exchanges[number], channels[number])
            if standing is not None:
                standing.begin(ends[-1].fileno())
            if watcher:
                watcher.begin(lanes[0])
        except BaseException:
            self.close()
            raise
        finally:
            for end in ends:
                end.close()

    @host_may_refuse()
    def finish(self) -> None:
        """Wait until nothing of the run is alive."""
        if self._watcher:
            self._watcher.watch(self._lanes[0])
        if self._standing is not None:
            self._served = (self._standing.finish(),)
        facts = [self._lanes[-1].finish()] if self._standing is None else []
        if len(self._jobs) > 1:  # the grader has decided: whatever its candidate still does can't matter
            if not self._lanes[0].wait(_LINGER_S):
                self._lanes[0].cancel()
            facts.insert(0, self._lanes[0].finish())
            if self._standing is None:
                check_ours(self._jobs[1], facts[1])
        self._facts = facts

    def gather(self) -> tuple[Execution, ...]:
        """What came back."""
        try:
            each = zip(self._jobs, self._limits, self._exchanges, self._facts, self._lanes, strict=False)
            found = tuple(gather(*parts) for parts in each)
            for execution, facts, limits in zip(found, self._facts, self._limits, strict=False):
                check_room(execution, facts, limits)
            return found + self._served
        except OSError as error:
            raise EngineError(f"what a run left can't be read: {error}") from error

    def close(self) -> None:
        """Close the run's descriptors."""
        if self._watcher:
            self._watcher.close()
        for exchange in self._exchanges:
            exchange.close()


def check_room(execution: Execution, facts: KernelFacts, limits: Limits) -> None:
    """Raises DiskFull for a program that met a full disk where its folder lies on one of the host's, and that disk is what was full."""
    rung, met = execution.isolation.rung, execution.exception.errno if execution.exception else None
    if rung is Rung.NAMESPACES or met not in _FULL or execution.outcome is not Outcome.DISK_LIMIT or facts.ended_by is not EndedBy.ITSELF:
        return
    folder = find_temporary(rung.value)
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < limits.disk_bytes:
        raise DiskFull(folder, free, limits.disk_bytes)
