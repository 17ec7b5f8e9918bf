"""The processor's own counters, read from outside: events of whatever the processes of a lane execute, from each execve on.

perf_event_open(2) on a process that exists counts nothing of it here: the counter is inherited by its children and starts when one of
them executes a program, so that neither the zygote nor the child's way into its slot is in the number. These are kernel numbers.

Not promised: that a host has them (virtual machines often don't, containers often refuse), or that two processors agree; an interrupt
can add a handful of instructions. Only root can look into a jail from outside.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import time
from pathlib import Path

import msgspec

_NUMBERS = {"x86_64": 298, "aarch64": 241}
_ATTRIBUTE_BYTES = 112  # PERF_ATTR_SIZE_VER5
_DISABLED, _INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HYPERVISOR, _ENABLE_ON_EXEC = 1 << 0, 1 << 1, 1 << 5, 1 << 6, 1 << 12
_CLOSE_ON_EXEC = 8
_TRIES, _PAUSE_S = 250, 0.002


class Event(msgspec.Struct, frozen=True):
    """What to count: type and config of struct perf_event_attr."""

    kind: int
    config: int


INSTRUCTIONS = Event(0, 1)
PAGE_FAULTS = Event(1, 2)  # by the kernel, not the processor: every host has it


def probe_hardware(event: Event = INSTRUCTIONS) -> str:
    """Why this host doesn't count the event for us, empty when it does."""
    if os.geteuid() != 0:
        return "only root can count below a jail"
    try:
        os.close(_open(os.getpid(), event))
    except OSError as error:
        return f"perf_event_open is refused: {error.strerror}"
    return ""


class HardwareMeter:
    """Counts below a process, from when it is made: what its descendants, present and to come, execute. Raises OSError."""

    def __init__(self, root: int, event: Event = INSTRUCTIONS) -> None:
        self._descriptors: list[int] = []
        for _ in range(_TRIES):  # a process forked between the two looks would be counted twice
            try:
                family = _find_family(root)
                for pid in family:
                    self._descriptors.append(_open(pid, event))
                if _find_family(root) == family:
                    return
            except (FileNotFoundError, ProcessLookupError):
                pass
            except OSError:
                self.close()
                raise
            self.close()
            time.sleep(_PAUSE_S)
        raise ProcessLookupError(f"the processes below {root} don't hold still")

    def read(self) -> int:
        """The events so far; those of a process count when it has ended and was waited for."""
        return sum(int(struct.unpack("=Q", os.read(descriptor, 8))[0]) for descriptor in self._descriptors)

    def close(self) -> None:
        """Stop counting."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def _open(pid: int, event: Event) -> int:
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(0, f"no system call number for {platform.machine()}")
    flags = _DISABLED | _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HYPERVISOR | _ENABLE_ON_EXEC
    attribute = struct.pack("=IIQQQQQ", event.kind, _ATTRIBUTE_BYTES, event.config, 0, 0, 0, flags).ljust(_ATTRIBUTE_BYTES, b"\0")
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    got = library.syscall(
        ctypes.c_long(number), attribute, ctypes.c_int(pid), ctypes.c_int(-1), ctypes.c_int(-1), ctypes.c_ulong(_CLOSE_ON_EXEC)
    )
    if got < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(got)


def _find_family(root: int) -> list[int]:
    """A process and all its descendants."""
    family, at = [root], 0
    while at < len(family):
        for task in Path(f"/proc/{family[at]}/task").glob("*/children"):
            family += map(int, task.read_text().split())
        at += 1
    return family
