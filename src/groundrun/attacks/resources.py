"""Attacks on memory, and on whoever reads the results. None holds more than 400 MB."""

from __future__ import annotations

import msgspec

from groundrun.attacks.attack import SMALL, Aftermath, Attack, Family
from groundrun.attacks.guards import Guard
from groundrun.records import MEBIBYTE, Outcome

_TIGHT = msgspec.structs.replace(SMALL, memory_bytes=64 * MEBIBYTE)
_MANY = msgspec.structs.replace(_TIGHT, processes=16)
_DEEPEST = 60_000  # levels of repr, of which 8 MiB of stack hold a third
_ALLOWED_MB = 128  # twice the limit: an interpreter of its own comes on top for each process


def _held(aftermath: Aftermath) -> list[str]:
    held = aftermath.number("held_mb")
    return [f"it held {held} MB where 64 are allowed"] if held > _ALLOWED_MB else []


def _stopped(aftermath: Aftermath) -> list[str]:
    outcome = aftermath.execution.outcome
    problems = _held(aftermath)
    return problems if outcome is Outcome.MEMORY_LIMIT else [*problems, f"it ended as {outcome.value}"]


def _ended(aftermath: Aftermath) -> list[str]:
    return ["it ended as if nothing had happened"] if aftermath.execution.outcome is Outcome.OK else []


def _computed(aftermath: Aftermath) -> list[str]:
    outcome = aftermath.execution.outcome
    return [] if outcome is Outcome.CPU_LIMIT else [f"it ended as {outcome.value}"]


def _shallow(aftermath: Aftermath) -> list[str]:
    depth = aftermath.number("depth")
    return [*_ended(aftermath), *([f"its stack grew to {depth} levels"] if depth > _DEEPEST else [])]


ATTACKS = (
    Attack(
        name="memory",
        family=Family.RESOURCES,
        tries="Hold five times the memory allowed, in one process.",
        guards=(Guard.CGROUP_MEMORY, Guard.RLIMIT_AS),
        inspect=_stopped,
        limits=_TIGHT,
        source="""
kept = []
for n in range(20):
    kept.append(bytearray(b"x") * (16 << 20))
    say(held_mb=16 * (n + 1))
""",
    ),
    Attack(
        name="memory_of_children",
        family=Family.RESOURCES,
        tries="Hold five times the memory allowed, in eight processes that each hold less.",
        guards=(Guard.CGROUP_MEMORY,),
        inspect=_held,
        soft=("total memory",),
        limits=_MANY,
        source="""
import signal
reading, writing = os.pipe()
for n in range(8):
    if os.fork() == 0:
        kept = bytearray(b"x") * (40 << 20)
        os.write(writing, b"x")
        time.sleep(1)
        os._exit(0)
held, until = 0, time.monotonic() + 1
os.set_blocking(reading, False)
while time.monotonic() < until:
    try:
        held += len(os.read(reading, 8))
    except BlockingIOError:
        time.sleep(0.02)
    say(held_mb=40 * held)
""",
    ),
    Attack(
        name="memory_files",
        family=Family.RESOURCES,
        tries="Hold five times the memory allowed in anonymous files, which no address space shows.",
        guards=(Guard.CGROUP_MEMORY, Guard.REFUSED_UNOWNED_MEMORY),
        inspect=_held,
        soft=("memfd", "anonymous files"),
        limits=_TIGHT,
        source="""
held, kept = 0, []
for n in range(80):
    descriptor = os.memfd_create("x")
    held += os.write(descriptor, b"x" * (4 << 20))
    kept.append(descriptor)
    say(held_mb=held >> 20)
""",
    ),
    Attack(
        name="memory_segments",
        family=Family.RESOURCES,
        tries="Hold five times the memory allowed in shared memory segments that nobody has attached.",
        guards=(Guard.CGROUP_MEMORY, Guard.REFUSED_UNOWNED_MEMORY),
        inspect=_held,
        soft=("shared memory",),
        limits=_TIGHT,
        source="""
libc.shmat.restype = ctypes.c_void_p
held = 0
for n in range(20):
    segment = system_call(number("shmget"), 0, 16 << 20, 0o1600)
    place = libc.shmat(segment, None, 0)
    ctypes.memset(place, 1, 16 << 20)
    libc.shmdt(ctypes.c_void_p(place))
    held += 16
    say(held_mb=held)
""",
    ),
    Attack(
        name="memory_in_flight",
        family=Family.RESOURCES,
        tries="Hold memory in pipes and sockets that nobody reads.",
        guards=(Guard.CGROUP_MEMORY, Guard.REFUSED_UNOWNED_MEMORY),
        inspect=_held,
        limits=_TIGHT,
        source="""
import socket
held, kept = 0, []
for n in range(110):
    try:
        left, right = socket.socketpair()
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            left.setsockopt(socket.SOL_SOCKET, option, 1 << 26)
        left.setblocking(False)
        kept += [left, right]
        while held < 200 << 20:
            held += left.send(bytes(1 << 18))
    except BlockingIOError:
        say(held_mb=held >> 20)
    except OSError:
        break
    if held >= 200 << 20:
        say(held_mb=held >> 20)
        break
""",
    ),
    Attack(
        name="deep_recursion",
        family=Family.RESOURCES,
        tries="Recurse without end, in Python and in C.",
        guards=(Guard.RLIMIT_STACK,),
        at_landlock=(Guard.RLIMIT_STACK,),
        inspect=_shallow,
        source="""
import threading
sys.setrecursionlimit(10 ** 9)
depth = 0
class Deep:
    def __repr__(self):
        global depth
        depth += 1
        if not depth % 2000:
            say(depth=depth)
        return repr(self)
repr(Deep())
""",
    ),
    Attack(
        name="big_number",
        family=Family.RESOURCES,
        tries="Stay inside one long operation that no Python code can interrupt.",
        guards=(Guard.PROCESSOR_CLOCK, Guard.RLIMIT_CPU),
        inspect=_computed,
        limits=msgspec.structs.replace(SMALL, cpu_s=0.5),
        source="x = 7 ** (10 ** 9)\n",
    ),
)
