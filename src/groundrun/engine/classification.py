"""From what the kernel and the program's own process said about a run to its `Execution`. Pure.

What the kernel said decides first: who ended the run, what it used, what it was refused. Only then does the program's own
account tell `raised` from `exited`, and a caught limit (MemoryError, ENOSPC) from an ordinary error.
"""

from __future__ import annotations

import errno
import os
import signal
from enum import IntEnum

import msgspec

from groundrun.engine.exchange import Ending
from groundrun.records import CpuSource, ExceptionInfo, Limits, Outcome


class EndedBy(IntEnum):
    """Who ended a run; numbers are those of the native part."""

    ITSELF = 0
    CPU = 1
    WALL = 2
    CANCEL = 3
    DISK = 4


class KernelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen from outside: `wait_status` as of wait(2), times in seconds, sizes in bytes, counts of refusals."""

    wait_status: int
    ended_by: EndedBy = EndedBy.ITSELF
    cpu_s: float = 0.0
    wall_s: float = 0.0
    cpu_source: CpuSource = CpuSource.NOTHING
    memory_peak_bytes: int | None = None
    oom_kills: int = 0
    process_refusals: int = 0
    fork_refused: bool = False


_ENDED = {
    EndedBy.CPU: Outcome.CPU_LIMIT,
    EndedBy.WALL: Outcome.WALL_LIMIT,
    EndedBy.CANCEL: Outcome.CANCELLED,
    EndedBy.DISK: Outcome.DISK_LIMIT,
}


def classify(facts: KernelFacts, ending: Ending, *, limits: Limits, written: int) -> Outcome:
    """The outcome of a run. `written` is the size in bytes of the longer of its two output streams."""
    if facts.ended_by is not EndedBy.ITSELF:
        return _ENDED[facts.ended_by]
    if facts.cpu_s > limits.cpu_s:
        return Outcome.CPU_LIMIT
    if facts.oom_kills:
        return Outcome.MEMORY_LIMIT
    if written > limits.output_bytes:
        return Outcome.OUTPUT_LIMIT
    if os.WIFSIGNALED(facts.wait_status):
        number = os.WTERMSIG(facts.wait_status)
        return {int(signal.SIGXFSZ): Outcome.DISK_LIMIT, int(signal.SIGXCPU): Outcome.CPU_LIMIT}.get(number, Outcome.SIGNALLED)
    code = os.WEXITSTATUS(facts.wait_status)
    if code == 0:
        return Outcome.OK
    if ending.exception is not None:
        return classify_exception(ending.exception, facts)
    return Outcome.PROCESS_LIMIT if facts.process_refusals else Outcome.EXITED


def classify_exception(exception: ExceptionInfo, facts: KernelFacts) -> Outcome:
    """What an exception amounts to: a limit that was met, or just `raised`."""
    number = exception.errno
    if exception.type in ("MemoryError", "numpy._core._exceptions._ArrayMemoryError", "numpy.core._exceptions._ArrayMemoryError"):
        return Outcome.MEMORY_LIMIT
    if number == errno.ENOMEM:
        return Outcome.MEMORY_LIMIT
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Outcome.DISK_LIMIT
    refused = facts.process_refusals > 0 or facts.fork_refused
    if (refused and number == errno.EAGAIN) or (exception.type == "RuntimeError" and "start new thread" in exception.message):
        return Outcome.PROCESS_LIMIT
    return Outcome.PROCESS_LIMIT if facts.process_refusals else Outcome.RAISED
