"""What this host allows: cores, landlock, rungs; and the lanes that follow from them.

A rung is not believed but tried: a lane of it is started and runs an empty program. The answer is kept for the process.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

import msgspec

from groundrun.engine.bare import BareLane
from groundrun.engine.cgroups import Delegation, find_cpu_quota, find_delegation
from groundrun.engine.classification import EndedBy
from groundrun.engine.exchange import Exchange
from groundrun.engine.exhaustion import host_may_refuse
from groundrun.engine.flavour import BARE_FLAVOUR, Flavour
from groundrun.engine.interpreter import Interpreter, describe_interpreter, find_unreachable, find_unreadable
from groundrun.engine.job import COUNTING_GUEST, Job
from groundrun.engine.lane import Lane
from groundrun.engine.lanes import COUNTING, GRADER, MakeLane
from groundrun.engine.refusals import explain_landlock, read_facts
from groundrun.engine.warden import NATIVE, Setup, WardenLane, memory_guard
from groundrun.errors import EngineError, HostRefused, NativeMissing, RungUnavailable, RuntimeUnreachable, WorkerDied
from groundrun.records import Isolation, Limits, Program, Rung

_MAP_NEEDED = 1_000_000_000 + (1 << 31)
_FOR_ANOTHER_UID = ("SETUID", "SETGID")
_FOR_ITS_FILES_AND_PROCESSES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL")


def count_cores() -> int:
    """Cores that affinity and the cgroups' CPU quota really give, at least 1."""
    return max(int(min(len(os.sched_getaffinity(0)), find_cpu_quota())), 1)


@cache
def probe_landlock() -> int:
    """The version of landlock's interface that the kernel has; where it has none, the errno of its answer, negative."""
    return int(_library().gr_landlock_abi())


def _library() -> ctypes.CDLL:
    path = NATIVE / "guest.so"
    if not path.exists() or not (NATIVE / "warden").exists():
        raise NativeMissing(str(NATIVE))
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise NativeMissing(str(NATIVE), str(error).removeprefix(f"{path}: ")) from error


def choose_rung(isolation: Rung | None, require: Rung | None, *, python: str, landlock_abi: int | None) -> Rung:
    """The rung to use: the one asked for, or the best that works, never `none` by itself.

    Raises RungUnavailable, naming what is refused and how to allow it, and NativeMissing when nothing was compiled.
    """
    if isolation is not None:
        if require is not None and _strength(isolation) < _strength(require):
            raise RungUnavailable(require.value, f"isolation '{isolation.value}' was asked for", "ask for one or the other")
        if isolation is not Rung.NONE:
            try_rung(isolation, python=python, landlock_abi=landlock_abi)
        return isolation
    least = _strength(require) if require is not None else _strength(Rung.LANDLOCK)
    for rung in (Rung.NAMESPACES, Rung.LANDLOCK):
        try:
            try_rung(rung, python=python, landlock_abi=landlock_abi)
        except (RungUnavailable, NativeMissing):
            if _strength(rung) <= least:
                raise
        else:
            return rung
    return Rung.NONE


def make_lane_maker(rung: Rung, *, python: str, landlock_abi: int | None, hash_seed: int = 0) -> MakeLane:
    """A function that makes lanes of that rung: its arguments are the lane's role (`engine.lanes`), and its flavour."""
    if rung is Rung.NONE:
        return lambda _, __=BARE_FLAVOUR: BareLane(python, hash_seed)
    setup = msgspec.structs.replace(find_setup(rung, python, landlock_abi), hash_seed=hash_seed)
    others = {
        GRADER: msgspec.structs.replace(setup, guests=("groundrun.judging.guest.grader",)),
        COUNTING: msgspec.structs.replace(setup, guests=(COUNTING_GUEST,)),
    }

    def make(role: str, flavour: Flavour = BARE_FLAVOUR) -> Lane:
        try:
            return WardenLane(msgspec.structs.replace(others.get(role, setup), flavour=flavour))
        except (RungUnavailable, RuntimeUnreachable) as refusal:  # which the host gave before, when it was tried
            raise WorkerDied("lane", f"it can't be started any more: {refusal}") from refusal

    return make


def try_rung(rung: Rung, *, python: str, landlock_abi: int | None) -> Isolation:
    """Run an empty program on that rung: the guards it has here. Raises HostRefused and kin, with the reason."""
    return find_setup(rung, python, landlock_abi).isolation


@host_may_refuse()
def find_setup(rung: Rung, python: str, landlock_abi: int | None) -> Setup:
    """What lanes of that rung are made of here, tried once. Raises HostRefused and kin, with the reason."""
    found = _try(os.getpid(), rung, python, landlock_abi)
    if isinstance(found, HostRefused):
        raise found
    return found


@cache
def _try(pid: int, rung: Rung, python: str, landlock_abi: int | None) -> Setup | HostRefused:
    """A setup under which an empty program ran. Cgroups that can be made but not used are done without, and then announced as missing.

    A refusal is kept as the answer; a fault of ours is raised, and tried again the next time.
    """
    try:
        delegation = find_delegation()
        try:
            return _run_nothing(make_setup(rung, python=python, landlock_abi=landlock_abi, delegation=delegation))
        except EngineError:
            if delegation == Delegation():
                raise
            return _run_nothing(make_setup(rung, python=python, landlock_abi=landlock_abi, delegation=Delegation()))
    except HostRefused as error:
        return error


def _run_nothing(setup: Setup) -> Setup:
    lane = WardenLane(setup)
    job = Job(program=Program(""))
    exchange = Exchange(job)
    try:
        lane.begin(job, Limits(), exchange, -1)
        facts = lane.finish()
    finally:
        exchange.close()
        lane.close()
    if facts.wait_status or facts.ended_by is not EndedBy.ITSELF:
        raise WorkerDied("empty program", f"wait status {facts.wait_status}, ended by {facts.ended_by.name.lower()}")
    return msgspec.structs.replace(setup, isolation=lane.isolation)


def make_setup(rung: Rung, *, python: str, landlock_abi: int | None, delegation: Delegation) -> Setup:
    """Everything that lanes of that rung have in common on this host. Raises HostRefused and kin."""
    abi = probe_landlock()
    if abi < 1:
        found = explain_landlock(-abi)
        raise RungUnavailable(rung.value, found.cause, f"{found.remedy}, or ask for 'none'", found.code.value)
    if landlock_abi is not None:
        abi = min(abi, landlock_abi)
    if abi < 1:
        raise RungUnavailable(rung.value, "landlock_abi=0 was asked for", "ask for 1 or more, or for 'none'")
    interpreter = describe_interpreter(python)
    private, why_not = _private_uid(rung, interpreter)
    missing = _missing(rung, abi, delegation, why_not)
    isolation = Isolation(
        rung=rung, memory_guard=memory_guard(delegation), cpu_guard=delegation.cpu_source, landlock_abi=abi, missing=missing
    )
    return Setup(rung=rung, interpreter=interpreter, delegation=delegation, landlock_abi=abi, private_uid=private, isolation=isolation)


def _private_uid(rung: Rung, interpreter: Interpreter) -> tuple[bool, str]:
    """Whether programs can have a uid of their own, and if not, why."""
    if os.geteuid() != 0:
        return False, "programs run under the user's own uid"
    if not _maps_high_uids():
        return False, "this container maps too few uids for a private one"
    needed = _FOR_ANOTHER_UID if rung is Rung.NAMESPACES else (*_FOR_ANOTHER_UID, *_FOR_ITS_FILES_AND_PROCESSES)
    held = read_facts().capabilities
    if lacking := [f"CAP_{name}" for name in needed if name not in held]:
        return False, f"programs run under the user's own uid, because this root lacks {' and '.join(lacking)}"
    if rung is Rung.NAMESPACES:
        if blocked := find_unreadable(interpreter):
            raise RuntimeUnreachable(*blocked)
        return True, ""
    if blocked := find_unreachable(interpreter):
        return False, f"programs run under the user's own uid, because {blocked[0]} can't be passed by another: {blocked[1]}"
    return True, ""


def _maps_high_uids() -> bool:
    try:
        lines = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return False
    return any(int(start) == 0 and int(count) > _MAP_NEEDED for start, _, count in (line.split() for line in lines))


def _missing(rung: Rung, abi: int, delegation: Delegation, why_not_private: str) -> tuple[str, ...]:
    """In sentences, the guards that this rung or host can't give."""
    lacks = []
    if not delegation.memory:
        lacks.append("total memory: no memory cgroup is delegated; each process is bounded alone, socket buffers by their number")
    if not delegation.cpu:
        lacks.append(
            "processor time of children that nobody waits for: no cgroup is delegated; fork is refused unless Limits.processes asks for it"
        )
    if rung is Rung.LANDLOCK:
        lacks.append("disk: bytes are measured every 50 ms instead of capped; inodes, and files unlinked while open, aren't bounded")
        lacks.append("names and sizes of files outside can be seen by stat")
        if why_not_private:
            lacks.append(f"private uid: {why_not_private}")
            if not delegation.pids:
                lacks.append("threads: their number is not bounded")
        if abi < 6:
            lacks.append("landlock older than 6: signals and unix sockets are refused by seccomp alone")
    return tuple(lacks)


def _strength(rung: Rung) -> int:
    return [Rung.NONE, Rung.LANDLOCK, Rung.NAMESPACES].index(rung)
