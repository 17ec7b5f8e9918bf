"""Sessions: a stateful Python interpreter in a jail, which runs one cell after another and can be branched.

    with engine.session() as session:
        session.run("import math; x = 6")
        before = session.branch()
        print(session.run("x * 7").value)

A cell is Python source; its value is the representation of its last expression, as in a notebook. Its limits are kept twice: at a limit
the cell gets an exception and the session goes on; a cell that ignores it is ended by the kernel a moment later, with the whole slot.

`branch()` is undo and the base of tree search, **not a security boundary**: a branch has memory and files of its own but lies in the slot
of its session, so each can kill the other, and the kernel's limits on processor time, memory, disk and processes hold for all together.
They take turns: one runs at a time. What can't be had twice (threads, children, pipes, deleted files that are still open) refuses a branch,
with the reason. `branch(isolated=True)` runs the cells again in a new slot, which is a boundary.

Promises: every call ends; what a cell does to its own process, or to what this file hears from it, ends at most that slot and comes back
as a `Cell`. Doesn't promise that anything but `cost` and what ended the slot is true: the rest is the cell's own word.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from groundrun.engine.cell import MAX_VALUE, Cell, Replay, Step, digest_cell, read_answer
from groundrun.engine.classification import EndedBy, KernelFacts, classify
from groundrun.engine.exchange import Ending
from groundrun.engine.guest.frames import MAX_FRAME, to_bytes
from groundrun.engine.job import SESSION_GUEST, Job, as_job
from groundrun.engine.lane import Usage
from groundrun.engine.line import Line, Lost
from groundrun.engine.tree import Over, Tree, read_pid, tell
from groundrun.errors import BranchRefused, EngineError, FileRefused, SessionEnded, UsageError
from groundrun.records import Cost, CpuSource, ExceptionInfo, Isolation, Limits, Outcome, Program, Rung

if TYPE_CHECKING:
    from groundrun.engine.engine import Engine
    from groundrun.engine.pool import Pool

GRACE_S = 0.5  # that a cell has to notice its limit before the kernel ends the slot
IDLE_S = 3600.0
MAX_SOURCE = MAX_FRAME // 2
_KILL_S = 30.0  # far more than the warden needs
_WATCH_S = 0.1
_INSIST_S = 1.0  # between two interrupts that somebody asked for once: the first may have come before the cell began
_BRANCH_S = 60.0
_PART = MAX_FRAME // 2


class _Ticket:
    """One call of `run`."""

    unwanted = False


class Session:
    """One interpreter of a slot; see the module's docstring. Made by `Engine.session` and `branch`.

    Threads may share it; cells of a slot take turns. Closing the last session of a slot ends the slot; so does closing the engine.
    In a forked child a session is the parent's: SessionEnded.
    """

    def __init__(self, engine: Engine, tree: Tree, line: Line, *, number: int, pid: int, steps: list[Step], idle_s: float) -> None:
        self._engine, self._tree, self._line, self._number, self._pid = engine, tree, line, number, pid
        self._steps, self._idle_s = steps, idle_s
        self._count = sum(step.files is None for step in steps)
        self._ended: str | None = None
        self._guard = threading.RLock()
        self._running: _Ticket | None = None
        self._interrupted_at = 0.0
        self._settled = False
        self.replay: Replay | None = None

    @classmethod
    def open(cls, engine: Engine, pool: Pool, *, limits: Limits, files: Mapping[str, bytes], idle_s: float) -> Session:
        """A session in a slot of its own. Raises UsageError at rung `none`, and EngineError when it can't be started."""
        if not 0 < idle_s < math.inf:
            raise UsageError(f"idle_s must be a number greater than 0, not {idle_s!r}")
        job = as_job(Job(program=Program("", files=dict(files)), guest=SESSION_GUEST))
        lane = pool.make_lane("program")
        if lane.isolation.rung is Rung.NONE:
            lane.close()
            raise UsageError("rung 'none' can't hold a session: it needs isolation 'namespaces' or 'landlock'")
        tree = Tree(lane, job, limits, idle_s=idle_s, on_end=pool.dismiss)
        with tree.lock:
            try:
                pool.adopt(tree)
                line, pid = tree.start()
            except BaseException:
                tree.close("it could not be started")
                raise
        return cls(engine, tree, line, number=1, pid=pid, steps=[Step(files=dict(files))] if files else [], idle_s=idle_s)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import asyncio

        await asyncio.to_thread(self.close)

    @property
    def alive(self) -> bool:
        """Whether another cell can run, as far as is known: a slot that ended while it was idle shows at the next call."""
        return self._ended is None and self._tree.ended is None

    @property
    def isolation(self) -> Isolation:
        """The guards in force."""
        return self._tree.isolation

    @property
    def limits(self) -> Limits:
        """Time and output for each cell; memory, processes and disk for the slot, branches included."""
        return self._tree.limits

    @property
    def cells(self) -> tuple[str, ...]:
        """The sources of the cells that made the present state."""
        return tuple(step.source for step in self._steps if step.files is None)

    def run(self, source: str, *, cpu_s: float | None = None, wall_s: float | None = None, output_bytes: int | None = None) -> Cell:
        """Run one cell and wait. The keywords replace the session's limits. Raises SessionEnded, or EngineError for our faults."""
        return self._run(_Ticket(), source, cpu_s, wall_s, output_bytes)

    def _run(self, ticket: _Ticket, source: str, cpu_s: float | None, wall_s: float | None, output_bytes: int | None) -> Cell:
        data = to_bytes(source)
        if len(data) > MAX_SOURCE:
            raise UsageError(f"a cell of {len(data)} bytes is too long: at most {MAX_SOURCE}; put data into a file by write_files")
        limits = msgspec.structs.replace(
            self.limits,
            cpu_s=self.limits.cpu_s if cpu_s is None else cpu_s,
            wall_s=self.limits.wall_s if wall_s is None else wall_s,
            output_bytes=self.limits.output_bytes if output_bytes is None else output_bytes,
        )
        with self._turn():
            self._count += 1
            cell = self._execute(ticket, self._count, source, data, limits)
            if not cell.ended:
                self._steps.append(Step(source=source, limits=limits, digest=digest_cell(cell)))
            return cell

    async def arun(self, source: str, *, cpu_s: float | None = None, wall_s: float | None = None, output_bytes: int | None = None) -> Cell:
        """`run` for asyncio; cancelling the task interrupts the cell."""
        import asyncio

        ticket = _Ticket()
        work = asyncio.ensure_future(asyncio.to_thread(self._run, ticket, source, cpu_s, wall_s, output_bytes))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self._cancel(ticket)
            await asyncio.wait({work})
            work.exception()
            raise

    def interrupt(self) -> bool:
        """KeyboardInterrupt in the cell that runs, from another thread. False when none does."""
        with self._guard:
            return self._running is not None and self._cancel(self._running)

    def _cancel(self, ticket: _Ticket) -> bool:
        with self._guard:
            ticket.unwanted = True
            if self._running is not ticket:
                return False
            self._interrupted_at = time.monotonic()
            self._tree.lane.interrupt(self._pid)
            return True

    def branch(self, *, isolated: bool = False) -> Session:
        """An independent copy: of memory and files in the same slot, or, isolated, by running the cells again in a new one.

        Raises BranchRefused with the reason, and SessionEnded. An isolated one can be made of a session that has ended, up to the
        cell that ended it, and says in `replay` which cells gave something else this time.
        """
        if isolated:
            return self._run_again()
        with self._turn():
            if not self._tree.forks:
                raise BranchRefused("its processes may not fork here unless Limits(processes=...) asks for it")
            line, theirs = self._tree.make_line()
            number = self._tree.next_number()
            try:
                with theirs:
                    pid = self._fork(line, theirs, number)
            except BaseException:
                self._tree.drop_line(line)
                raise
            self._tree.members.add(number)
            return Session(self._engine, self._tree, line, number=number, pid=pid, steps=list(self._steps), idle_s=self._idle_s)

    async def abranch(self, *, isolated: bool = False) -> Session:
        """`branch` for asyncio."""
        import asyncio

        return await asyncio.to_thread(self.branch, isolated=isolated)

    def write_files(self, files: Mapping[str, bytes]) -> None:
        """Write files below the working folder: relative path to content. Raises FileRefused, UsageError for a path that leads out."""
        as_job(Job(program=Program("", files=dict(files)), guest=SESSION_GUEST))
        with self._turn():
            for path, data in files.items():
                if len(data) > self.limits.disk_bytes:
                    raise FileRefused(path, f"its {len(data)} bytes are more than Limits.disk_bytes allows, {self.limits.disk_bytes}")
                for at in range(0, max(len(data), 1), _PART):
                    said = self._tree.carry(b"write", to_bytes(path), b"more" if at else b"new", bytes(data[at : at + _PART]))
                    if said[0] != b"ok":
                        raise FileRefused(path, tell(said))
            self._steps.append(Step(files=dict(files)))

    def read_file(self, path: str, *, limit: int = 16 << 20) -> bytes:
        """A file below the working folder, as the session's own processes may read it, links not followed. Raises FileRefused.

        Its content, and whether it is there, is the program's own word. `limit`: larger files are refused.
        """
        as_job(Job(program=Program("", files={path: b""}), guest=SESSION_GUEST))
        with self._turn():
            parts: list[bytes] = []
            size = 0
            while True:
                most = min(_PART, limit + 1 - size)
                said = self._tree.carry(b"read", to_bytes(path), b"%d" % size, b"%d" % most, most=most)
                if said[0] != b"ok":
                    raise FileRefused(path, tell(said))
                part = said[1] if len(said) > 1 else b""
                size += len(part)
                parts.append(part)
                if size > limit:
                    raise FileRefused(path, f"it is larger than {limit} bytes")
                if not part:
                    return b"".join(parts)

    def close(self) -> None:
        """End this session; the last one of a slot ends the slot. Safe to call twice."""
        if os.getpid() != self._tree.pid:
            return
        with self._tree.lock:
            if self._ended is None:
                self._ended = "it was closed"
                if self._tree.ended is None and len(self._tree.members) > 1:
                    with contextlib.suppress(Over, EngineError):
                        self._tree.bury(self._number, self._pid, patience_s=0)
            self._tree.drop_line(self._line)
            self._tree.leave(self._number)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        self._check()
        with self._tree.lock:
            self._check()
            self._settled = False
            try:
                self._tree.place(self._number)
                yield
            except Exception:
                raise
            except BaseException:  # Ctrl-C: what was asked and not answered can't be told from what comes next
                if not self._settled:
                    self._tree.close("it was interrupted from outside")
                raise

    def _check(self) -> None:
        if os.getpid() != self._tree.pid:
            raise SessionEnded("it belongs to another process")
        if why := self._ended or self._tree.ended:
            raise SessionEnded(why)

    def _execute(self, ticket: _Ticket, number: int, source: str, data: bytes, limits: Limits) -> Cell:
        try:
            before = self._tree.allow(limits.cpu_s + GRACE_S, limits.wall_s + GRACE_S)
        except Over:
            raise SessionEnded(self._tree.ended or "") from None
        deadline = time.monotonic() + limits.wall_s
        late = False
        with self._guard:
            self._running, self._interrupted_at = ticket, time.monotonic() - _INSIST_S if ticket.unwanted else 0.0
        insisted = 0.0

        def watch() -> None:
            nonlocal late, insisted
            now = time.monotonic()
            late = late or now >= deadline
            with self._guard:
                asked = max(self._interrupted_at, insisted)
                if late or (asked and now >= asked + _INSIST_S):
                    insisted = now
                    self._tree.lane.interrupt(self._pid)

        try:
            said = self._line.ask(
                b"run", data, b"%d" % number, str(limits.cpu_s).encode(), b"%d" % MAX_VALUE,
                within_s=limits.wall_s + GRACE_S + _KILL_S, watch=watch, every_s=min(_WATCH_S, limits.wall_s),
            )  # fmt: skip
            value, ending, status = read_answer(said)
            after = self._tree.rest()
        except Lost as lost:
            return self._lose(number, source, limits, before, lost)
        except Over:
            return self._describe(number, source, limits, before, None, Ending(b""), None)
        except KeyboardInterrupt:
            self._settle()
            raise
        finally:
            with self._guard:
                self._running = None
                interrupted = self._interrupted_at > 0
        facts = self._facts(before, after, wait_status=status << 8 if said[0] == b"exited" else 0 if said[0] == b"ok" else 1 << 8)
        if said[0] == b"stopped":
            facts = msgspec.structs.replace(facts, ended_by=EndedBy.CPU)
        elif late:
            facts = msgspec.structs.replace(facts, ended_by=EndedBy.WALL)
        elif interrupted and ending.exception is not None and ending.exception.type == "KeyboardInterrupt":
            facts = msgspec.structs.replace(facts, ended_by=EndedBy.CANCEL)
        return self._describe(number, source, limits, before, facts, ending, value, exited=said[0] == b"exited")

    def _settle(self) -> None:
        """After Ctrl-C: interrupt the cell as well, and take its answer, so that the session can go on."""
        self._tree.lane.interrupt(self._pid)
        with contextlib.suppress(Lost, Over):
            self._line.hear(within_s=GRACE_S)
            self._line.take_output(1)
            self._tree.rest()
            self._settled = True

    def _facts(self, before: Usage, after: Usage, *, wait_status: int) -> KernelFacts:
        measured = self._tree.measured
        return KernelFacts(
            wait_status=wait_status,
            cpu_s=after.cpu_s - before.cpu_s if measured else 0.0,
            wall_s=after.wall_s - before.wall_s,
            cpu_source=self._tree.isolation.cpu_guard if measured else CpuSource.NOTHING,
            memory_peak_bytes=after.memory_peak_bytes,
            oom_kills=after.oom_kills - before.oom_kills,
            process_refusals=after.process_refusals - before.process_refusals,
            fork_refused=not self._tree.forks,
        )

    def _lose(self, number: int, source: str, limits: Limits, before: Usage, lost: Lost) -> Cell:
        """The cell of a session whose process is gone or can't be believed."""
        facts: KernelFacts | None = None
        exception: ExceptionInfo | None = ExceptionInfo(type="SessionLost", message=f"the cell's process no longer answers: {lost}")
        try:
            if not self._tree.forks:
                self._tree.end("its process was lost", linger_s=0.25)
                raise Over
            after = self._tree.rest()
            status = self._tree.bury(self._number, self._pid, patience_s=0.5)
            after = self._tree.rest()
            facts = self._facts(before, after, wait_status=9 if status is None else status)
            self._ended = "a cell ended its process, or made it unable to answer"
            exception = exception if status is None else None
        except Over:
            self._ended = self._tree.ended
            ended = self._tree.facts
            if ended is None or ended.ended_by is not EndedBy.CANCEL or self._tree.shutting:
                exception = None
        return self._describe(number, source, limits, before, facts, Ending(b""), None, exception=exception)

    def _describe(
        self,
        number: int,
        source: str,
        limits: Limits,
        before: Usage,
        facts: KernelFacts | None,
        ending: Ending,
        value: str | None,
        *,
        exited: bool = False,
        exception: ExceptionInfo | None = None,
    ) -> Cell:
        """`facts` None: those of the slot's end."""
        if facts is None:
            whole = self._tree.facts
            if whole is None:
                raise SessionEnded(self._tree.ended or "")
            measured = self._tree.measured
            facts = msgspec.structs.replace(
                whole,
                cpu_s=max(whole.cpu_s - before.cpu_s, 0.0) if measured else 0.0,
                wall_s=whole.wall_s - before.wall_s,
                cpu_source=whole.cpu_source if measured else CpuSource.NOTHING,
            )
        stdout, stderr, written = self._line.take_output(limits.output_bytes)
        ended = self._ended is not None or self._tree.ended is not None
        code = number_of_signal = None
        if exception is not None:
            outcome, number_of_signal = Outcome.SIGNALLED, 9
        else:
            outcome = classify(facts, ending, limits=limits, written=written)
            if ended or exited:
                code = facts.wait_status >> 8 & 0xFF if facts.wait_status & 0x7F == 0 else None
                number_of_signal = facts.wait_status & 0x7F or None
                outcome = Outcome.EXITED if outcome is Outcome.OK else outcome  # a cell that ran to its end leaves its process
        return Cell(
            number=number,
            source=source,
            outcome=outcome,
            isolation=self.isolation,
            value=value,
            stdout=stdout,
            stderr=stderr,
            exception=exception or ending.exception,
            exit_code=code,
            signal=number_of_signal,
            truncated=written > limits.output_bytes,
            ended=ended,
            cost=Cost(cpu_s=facts.cpu_s, wall_s=facts.wall_s, cpu_source=facts.cpu_source, memory_peak_bytes=facts.memory_peak_bytes),
        )

    def _fork(self, line: Line, theirs: socket.socket, number: int) -> int:
        """Have the session's process fork; the branch's pid."""
        tree = self._tree
        try:
            tree.allow(_BRANCH_S, _BRANCH_S)
            try:
                said = self._line.ask(
                    b"fork", b"%d" % number, b"copy", within_s=_BRANCH_S, descriptors=(theirs.fileno(), line.stdout, line.stderr)
                )
            except Lost as lost:
                if not tree.forks:
                    tree.end(f"its process was lost: {lost}")
                else:
                    tree.bury(self._number, self._pid, patience_s=0.5)
                self._ended = f"its process was lost when it was to be branched: {lost}"
                raise SessionEnded(self._ended) from lost
            if said[0] != b"forked":
                tree.rest()
                raise BranchRefused(tell(said))
            theirs.close()  # so that the branch's end shows
            try:
                first = line.hear(within_s=_BRANCH_S)
                tree.rest()
                if first[0] == b"refused":
                    raise BranchRefused(tell(first))
                return read_pid(first)
            except Lost as lost:
                raise BranchRefused(f"the branch was lost while it was made: {lost}") from lost
        except Over:
            raise SessionEnded(tree.ended or "") from None

    def _run_again(self) -> Session:
        if os.getpid() != self._tree.pid:
            raise SessionEnded("it belongs to another process")
        if self._ended == "it was closed":
            raise SessionEnded(self._ended)
        steps = list(self._steps)
        again = self._engine.session(limits=self.limits, idle_s=self._idle_s)
        differing = []
        try:
            for step in steps:
                if step.files is not None:
                    again.write_files(step.files)
                    continue
                limits = step.limits
                cell = again.run(step.source, cpu_s=limits.cpu_s, wall_s=limits.wall_s, output_bytes=limits.output_bytes)
                if digest_cell(cell) != step.digest:
                    differing.append(cell.number)
                if cell.ended:
                    raise SessionEnded(f"cell {cell.number}, run again, ended it: {cell.outcome.describe()}")
        except BaseException:
            again.close()
            raise
        again.replay = Replay(cells=sum(step.files is None for step in steps), differing=tuple(differing))
        return again
