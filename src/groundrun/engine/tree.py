"""The slot that a session shares with its branches: its lane, its trunk, whose turn it is, and the kernel's account.

One branch at a time runs, under `lock`: they share the kernel's limits and the paths of their files. Limits that the kernel holds are those
of the slot: what goes over them takes every branch along. The slot ends with the last of its sessions, or with the engine.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
from collections.abc import Callable
from typing import NoReturn

from groundrun.engine.classification import EndedBy, KernelFacts
from groundrun.engine.exchange import Exchange
from groundrun.engine.guest.frames import to_text
from groundrun.engine.job import Job
from groundrun.engine.lane import Lane, Usage
from groundrun.engine.line import Line, Lost
from groundrun.errors import EngineError, SessionEnded, WorkerDied
from groundrun.records import CpuSource, Isolation, Limits, Rung

START_S = 60.0
SERVICE_S = 60.0  # for the trunk to move or remove files
_LINGER_S = 0.25  # for a process that closed its channel to end by itself
_FOREVER_S = 1e9
_UNMEASURED = "processor time of a session that may fork: no cgroup is delegated, so the limit of wall time alone bounds it from outside"
_WHY = {
    EndedBy.CPU: "it used more processor time than it had, which ended its slot and all branches in it",
    EndedBy.WALL: "it took more time than it had, which ended its slot and all branches in it",
    EndedBy.CANCEL: "it was ended from outside",
    EndedBy.DISK: "it wrote more to its disk than allowed, which ended its slot and all branches in it",
}


class Over(Exception):
    """The slot has ended; `facts` of the tree say how."""


class Tree:
    """One slot with the processes of a session and its branches. Every method but `shut` and `abandon` needs `lock`."""

    def __init__(self, lane: Lane, job: Job, limits: Limits, *, idle_s: float, on_end: Callable[[Tree], None]) -> None:
        self.lock = threading.RLock()
        self.lane, self.limits = lane, limits
        self.pid = os.getpid()
        self.ended: str | None = None
        self.facts: KernelFacts | None = None
        self.in_place = 1
        self.members: set[int] = set()
        self.lines: set[Line] = set()
        self.forks = False
        self.shutting = False
        self._idle_s, self._on_end = idle_s, on_end
        self._numbers = itertools.count(1)
        self._exchange = Exchange(job)
        self._trunk: Line | None = None
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                self._trunk = Line(ours, os.dup(self._exchange.stdout), os.dup(self._exchange.stderr))
                begin = Limits(
                    cpu_s=_FOREVER_S,  # rlimits of a whole life; the limits of a cell are renewed with each
                    wall_s=_FOREVER_S,
                    memory_bytes=limits.memory_bytes,
                    output_bytes=limits.output_bytes,
                    processes=limits.processes,
                    disk_bytes=limits.disk_bytes,
                )
                lane.begin(job, begin, self._exchange, theirs.fileno())
        except BaseException:
            self.close("it could not be started")
            raise

    def start(self) -> tuple[Line, int]:
        """The line of the first interpreter and its pid: a fork of the trunk, or the trunk where fork is refused."""
        assert self._trunk is not None
        number = next(self._numbers)
        self.members.add(number)
        line, theirs = self.make_line()
        try:
            with theirs:
                self.allow(START_S, START_S)
                said = self._trunk.ask(
                    b"fork", b"%d" % number, b"plain", within_s=START_S, descriptors=(theirs.fileno(), line.stdout, line.stderr)
                )
            if said[0] == b"forked":
                self.forks = True
                pid = read_pid(line.hear(within_s=START_S))
            else:
                self.drop_line(line)
                line, pid = self._trunk, read_number(said[-1])
            self.rest()
        except (Lost, Over) as error:
            self._give_up(error)
        return line, pid

    def _give_up(self, error: Exception) -> NoReturn:
        with contextlib.suppress(EngineError):
            self.end("it could not be started")
        how = f"wait status {self.facts.wait_status}" if self.facts is not None else str(error)
        raise WorkerDied("session", f"its first process did not answer ({how}); is Limits.memory_bytes large enough?") from error

    @property
    def isolation(self) -> Isolation:
        """The guards in force."""
        isolation = self.lane.isolation
        if self.measured or isolation.rung is Rung.NONE:
            return isolation
        return Isolation(
            rung=isolation.rung,
            memory_guard=isolation.memory_guard,
            cpu_guard=CpuSource.NOTHING,
            landlock_abi=isolation.landlock_abi,
            missing=(*isolation.missing, _UNMEASURED),
        )

    @property
    def measured(self) -> bool:
        """Whether the kernel's account covers every process: without a cgroup it is that of the trunk alone."""
        return self.lane.isolation.cpu_guard is CpuSource.CGROUP or not self.forks

    def make_line(self) -> tuple[Line, socket.socket]:
        """A line that goes with the tree, and the other side's socket."""
        line, theirs = Line.make()
        self.lines.add(line)
        return line, theirs

    def drop_line(self, line: Line) -> None:
        """Hang up."""
        self.lines.discard(line)
        line.close()

    def next_number(self) -> int:
        """Of the next branch."""
        return next(self._numbers)

    def allow(self, cpu_s: float, wall_s: float) -> Usage:
        """Let so much be used from now on; the account so far. Raises Over."""
        if self.ended is not None:
            raise Over(self.ended)
        try:
            usage = self.lane.renew(Limits(cpu_s=cpu_s if self.measured else _FOREVER_S, wall_s=wall_s))
            if usage is None:
                self._conclude(self.lane.finish())
        except EngineError:
            self.close("the engine lost its slot")
            raise
        if usage is None:
            raise Over(self.ended)
        return usage

    def rest(self) -> Usage:
        """Between two cells: what still runs has a cell's processor time, and the time that a session may lie idle. Raises Over."""
        return self.allow(self.limits.cpu_s, self._idle_s)

    def place(self, number: int) -> None:
        """Put the files of that branch in place. Raises SessionEnded when that is no longer possible."""
        if self.in_place == number:
            return
        said = self._serve(b"place", b"%d" % self.in_place, b"%d" % number)
        if said[0] != b"ok":
            self.end(f"its files could not be put in place ({tell(said)}), and those of its branches are mixed up now")
            raise SessionEnded(self.ended or "")
        self.in_place = number

    def carry(self, *request: bytes, most: int = 0) -> list[bytes]:
        """Let the trunk read or write a file of the branch in place. Raises SessionEnded."""
        said = self._serve(*request)
        if most and len(said) > 1 and len(said[1]) > most:
            self.end("its trunk said nonsense")
            raise SessionEnded(self.ended or "")
        return said

    def bury(self, number: int, pid: int, *, patience_s: float) -> int | None:
        """Make sure that a branch's process is gone and remove its files: its wait status, None if it had to be killed. Raises Over."""
        said = self._ask_trunk(b"end", b"%d" % pid, b"%d" % int(patience_s * 1000))
        status = None
        if said[0] == b"ended":
            status = read_number(said[-1])
        elif said[0] != b"killed":
            self.end("a process of it could not be ended")
            raise Over(self.ended)
        self.members.discard(number)
        if self.members:
            self._ask_trunk(b"forget", b"%d" % number, b"1" if self.in_place == number else b"0")
            if self.in_place == number:
                self.in_place = 0
        return status

    def end(self, why: str, *, linger_s: float = 0.0) -> None:
        """End the slot, after a moment in which it may end by itself."""
        if self.ended is None:
            try:
                self.lane.cancel(linger_s)
                self._conclude(self.lane.finish())
            except EngineError:
                self.close("the engine lost its slot")
                raise
            if self.facts is None or self.facts.ended_by is EndedBy.CANCEL:
                self.ended = why

    def leave(self, number: int) -> None:
        """One session is closed; the last one takes the slot along."""
        self.members.discard(number)
        if not self.members:
            self.close("it was closed")

    def close(self, why: str) -> None:
        """End everything. Safe to call twice."""
        self.ended = self.ended or why
        self.lane.close()
        self._let_go()
        self._on_end(self)

    def shut(self, why: str) -> None:
        """`close` from any thread, also while a cell runs, whose result then says so."""
        self.shutting = True
        self.lane.cancel()
        if self.lock.acquire(timeout=30):
            try:
                self.close(why)
            finally:
                self.lock.release()

    def abandon(self) -> None:
        """In a forked child: the slot is the parent's."""
        self.ended = "it belongs to another process"
        self.lane.abandon()
        self._let_go()

    def _let_go(self) -> None:
        for line in (*self.lines, *([self._trunk] if self._trunk is not None else ())):
            line.close()
        self.lines.clear()
        self._exchange.close()

    def _conclude(self, facts: KernelFacts) -> None:
        self.facts = facts
        self.ended = _WHY.get(facts.ended_by, "its first process ended, which ended its slot and all branches in it")
        self.lane.close()

    def _ask_trunk(self, *request: bytes) -> list[bytes]:
        """Raises Over, because nothing can go on without the trunk."""
        if self._trunk is None or self.ended is not None:
            raise Over(self.ended)
        try:
            return self._trunk.ask(*request, within_s=SERVICE_S)
        except Lost as error:
            self.end(f"its trunk was lost: {error}", linger_s=_LINGER_S)
            raise Over(self.ended) from error

    def _serve(self, *request: bytes) -> list[bytes]:
        try:
            self.allow(SERVICE_S, SERVICE_S)
            said = self._ask_trunk(*request)
            self.rest()
        except Over:
            raise SessionEnded(self.ended or "") from None
        return said


def read_number(data: bytes) -> int:
    """A small whole number. Raises Lost."""
    if not 0 < len(data) < 10 or not data.isdigit():
        raise Lost("it said something else where a number belongs")
    return int(data)


def read_pid(said: list[bytes]) -> int:
    """The pid of a process that is ready. Raises Lost."""
    if said[0] != b"ready" or len(said) < 2:
        raise Lost("it was not ready")
    return read_number(said[1])


def tell(said: list[bytes]) -> str:
    """The reason of a refusal, as text that can be written anywhere."""
    try:
        return to_text(said[1])[:500].encode("utf-8", "replace").decode()
    except (IndexError, ValueError):
        return "no reason was given"
