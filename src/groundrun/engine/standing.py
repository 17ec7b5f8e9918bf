"""A run that serves many: a job that stays in its slot and is handed one partner's channel after another, with a report for each.

What it costs to start a process is then paid once for a row of partners. What it may use of the processor for each is bounded by the kernel
as that of a run of its own would be (`Lane.renew`), and of the wall clock by the host. What it used for each isn't asked: that would cost
another exchange, and nothing needs it. It is handed to nobody once it died, once it served `MOST`, or once it wrote much.

For processes that are ours, such as the graders of one problem: what one partner sent can be in the memory that serves the next.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import time

import msgspec

from groundrun.engine.classification import EndedBy, KernelFacts
from groundrun.engine.exchange import Exchange
from groundrun.engine.guest.job import REPORT_BYTES
from groundrun.engine.job import Job
from groundrun.engine.lane import Lane, gather
from groundrun.errors import EngineError, WorkerDied
from groundrun.records import Cost, CpuSource, Execution, Limits, Outcome

MOST = 256
MOST_WRITTEN = 1 << 20  # bytes on its standard output
_FOREVER_S = 1e6
_LINGER_S = 5.0  # from the end of its channel to its own
_HEAD = struct.Struct("<I")


class Standing:
    """One such run, in `lane`. Raises EngineError when it can't be started; from then on the lane is its own until `close`."""

    def __init__(self, job: Job, limits: Limits, lane: Lane) -> None:
        self.job = job
        self._limits, self.lane = limits, lane
        self._served = 0
        self._began = 0.0
        self._facts: KernelFacts | None = None
        self._exchange = Exchange(job)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            life = msgspec.structs.replace(limits, cpu_s=_FOREVER_S, wall_s=_FOREVER_S)
            lane.begin(msgspec.structs.replace(job, guest=job.standing), life, self._exchange, theirs.fileno())
        except BaseException:
            self.abandon()
            raise
        finally:
            theirs.close()

    def fits(self, job: Job) -> bool:
        """Whether it can serve a partner of that job."""
        small = os.fstat(self._exchange.stdout).st_size + os.fstat(self._exchange.stderr).st_size <= MOST_WRITTEN
        return self._facts is None and self._served < MOST and small and (job is self.job or job == self.job)

    def begin(self, channel: int) -> None:
        """Hand over a partner's channel, whose limits begin now. Raises EngineError when it has ended since the last one."""
        self._served += 1
        self._began = time.monotonic()
        if self.lane.renew(Limits(cpu_s=self._limits.cpu_s, wall_s=_FOREVER_S)) is None:
            raise WorkerDied("standing run", "it ended while it waited")
        try:
            socket.send_fds(self._control, [b"\1"], [channel])
        except OSError as error:
            raise WorkerDied("standing run", str(error)) from error

    def finish(self) -> Execution:
        """Wait until the partner is served, or the run has ended; what came of it for this partner alone."""
        report = self._read()
        if report is None:  # it is out of time, or its end is on its way
            late = time.monotonic() - self._began >= self._limits.wall_s
            self.lane.cancel(0.0 if late else _LINGER_S)
            self._facts = self.lane.finish()
            check_ours(self.job, self._facts)
            ended = gather(self.job, self._limits, self._exchange, self._facts, self.lane)
            return msgspec.structs.replace(ended, outcome=Outcome.WALL_LIMIT) if ended.outcome is Outcome.CANCELLED else ended
        cost = Cost(wall_s=time.monotonic() - self._began, cpu_source=CpuSource.NOTHING)
        return Execution(outcome=Outcome.OK, isolation=self.lane.isolation, cost=cost, exit_code=0, report=report)

    def close(self) -> None:
        """Let it end, so that its lane can be used otherwise. Raises EngineError when the lane can't."""
        try:
            self._control.close()
            if self._facts is None:
                self.lane.cancel(0.25)
                self._facts = self.lane.finish()
        finally:
            self._exchange.close()

    def abandon(self) -> None:
        """Close its descriptors only: its lane is gone, or belongs to another process."""
        self._control.close()
        self._exchange.close()

    def _read(self) -> bytes | None:
        """The report, None when it ends before it gave one, or gives none in time."""
        self._control.settimeout(self._limits.wall_s)
        try:
            size = _HEAD.unpack(_receive(self._control, _HEAD.size))[0]
            return _receive(self._control, size) if size <= REPORT_BYTES else None
        except (OSError, EOFError, EngineError):
            return None


def check_ours(job: Job, facts: KernelFacts) -> None:
    """Raises WorkerDied for a grader that was killed from outside: not by itself, its candidate or a limit, so that it is no verdict."""
    ours = job.guest.startswith("groundrun.judging.")
    if ours and facts.ended_by is EndedBy.ITSELF and not facts.oom_kills and facts.wait_status & 0x7F == signal.SIGKILL:
        raise WorkerDied("grader", "something outside killed it")


def _receive(control: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = control.recv(size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
