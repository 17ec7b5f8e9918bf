"""Leaving guards out, for the controls of the attacks and for nothing else.

`weakened` changes functions of the engine, the judge and the report in this process, and points the engine at a copy of a test build of the
native part in which the guards' words are written down (`native/weak.h`). So it works only in a process of its own (`controlled`), in a
disposable world; the engine itself has no switch, and the installed binaries have no place for one: `NotWeakenable`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Any

import msgspec

from groundrun.attacks.guards import Guard
from groundrun.attacks.scene import Scene
from groundrun.attacks.weak_judge import WEAK_GUESTS, WEAK_HOST
from groundrun.engine import exchange, host, lane, policy, seccomp, warden
from groundrun.engine.cgroups import Delegation, find_delegation
from groundrun.engine.policy import Rule, View
from groundrun.engine.syscalls import LAST_KNOWN
from groundrun.errors import UsageError
from groundrun.records import ExceptionInfo

Replace = Callable[[Any, str, Any], None]
_MARK = b"groundrun guards left out:"
_ROOM = 1024

NATIVE_GUARDS = frozenset(
    {
        Guard.READ_ONLY_ROOT, Guard.USER_NAMESPACE, Guard.PID_NAMESPACE, Guard.NET_NAMESPACE, Guard.IPC_NAMESPACE, Guard.UTS_NAMESPACE,
        Guard.CAPABILITIES, Guard.BOUNDING_SET, Guard.NO_NEW_PRIVILEGES, Guard.UNDUMPABLE, Guard.OWN_SESSION, Guard.CLOSED_DESCRIPTORS,
        Guard.LANDLOCK_DOMAIN, Guard.PROCESSOR_CLOCK, Guard.WALL_CLOCK, Guard.DISK_BYTES, Guard.DISK_INODES, Guard.MEASURED_FOLDER,
        Guard.SINGLE_USE, Guard.WIPED_FOLDER, Guard.GROUP_KILL, Guard.FAMILY_HUNT, Guard.DEAD_BEFORE_COLLECTION, Guard.COLLECT_BENEATH,
        Guard.COLLECT_WHOLE, Guard.EARLY_FOLDER,
        *(guard for guard in Guard if guard.name.startswith("RLIMIT_")),
    }
)  # fmt: skip

REFUSED: dict[Guard, frozenset[str]] = {
    Guard.REFUSED_MOUNTS: frozenset(
        "mount umount2 pivot_root chroot fsopen fsconfig fsmount fspick move_mount open_tree open_tree_attr mount_setattr listmount"
        " statmount".split()
    ),
    Guard.REFUSED_NAMESPACES: frozenset("unshare setns clone clone3".split()),
    Guard.REFUSED_TRACING: frozenset(
        "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd prctl".split()
    ),
    Guard.REFUSED_CLOCKS: frozenset("settimeofday clock_settime clock_adjtime adjtimex stime sethostname setdomainname vhangup".split()),
    Guard.REFUSED_FOREIGN_PIDS: frozenset(
        "prlimit64 pidfd_open pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo sched_setscheduler sched_setparam sched_setattr"
        " ioprio_set sched_setaffinity setpriority move_pages migrate_pages".split()
    ),
    Guard.REFUSED_SOCKETS: frozenset("socket socketpair connect bind listen".split()),
    Guard.REFUSED_DESCRIPTOR_TRICKS: frozenset("open openat openat2 ioctl fcntl truncate".split()),
    Guard.REFUSED_METADATA: frozenset(
        "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes utimensat futimesat setxattr lsetxattr fsetxattr"
        " setxattrat removexattr lremovexattr fremovexattr removexattrat file_setattr".split()
    ),
    Guard.REFUSED_SEGMENTS: frozenset(
        "shmget shmat shmctl msgget msgsnd msgrcv msgctl semget semop semctl semtimedop mq_open mq_unlink".split()
    ),
    Guard.REFUSED_SHARED_COUNTS: frozenset("io_setup inotify_init inotify_init1 inotify_add_watch sync syncfs".split()),
    Guard.REFUSED_UNOWNED_MEMORY: frozenset("memfd_create setsockopt".split()),
}
"""Which calls each part of the base filter is about. What stands in none of them is REFUSED_INTERFACES."""


class NotWeakenable(UsageError):
    """The binaries are the ones that are installed: no guard of theirs can be left out."""

    def __init__(self, folder: str) -> None:
        super().__init__(f"the native part in {folder} has no list of guards to leave out: build it with --define GROUNDRUN_WEAK")


@contextlib.contextmanager
def weakened(off: Set[Guard], scene: Scene, native: Path, *, as_caller: bool = False) -> Iterator[None]:
    """The engine of this process without the guards `off`. `native` is a folder with a weak build. Raises NotWeakenable.

    as_caller: without a private user, programs have the user of this process, not that of the scene.
    """
    with contextlib.ExitStack() as stack:

        def replace(place: Any, name: str, value: Any) -> None:
            stack.callback(setattr, place, name, getattr(place, name))
            setattr(place, name, value)

        stack.callback(host._try.cache_clear)
        host._try.cache_clear()
        room = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="groundrun-weak-")))
        room.chmod(0o755)
        binaries = copy_native(native, room / "native", off)
        for module in (host, warden):
            replace(module, "NATIVE", binaries)
        _weaken_view(off, scene, replace)
        if Guard.PRIVATE_USER in off:
            _weaken_user(None if as_caller else scene.owner, replace)
        _weaken_filters(off, replace)
        _weaken_limits(off, replace)
        _weaken_exchange(off, replace)
        for guard in off & WEAK_HOST.keys():
            WEAK_HOST[guard](off, replace)
        if chosen := off & WEAK_GUESTS.keys():
            roots = _copy_guests(room, chosen)
            for module in (policy, warden):
                replace(module, "guest_roots", lambda: roots)
        yield


def copy_native(native: Path, folder: Path, off: Set[Guard]) -> Path:
    """A copy of a weak build in which the guards are written down as left out. Raises NotWeakenable where there is no list."""
    words = "".join(f" {_native_word(guard)}" for guard in sorted(off & NATIVE_GUARDS)).encode()
    folder.mkdir()
    for name in ("warden", "guest.so"):
        data = (native / name).read_bytes()
        if _MARK not in data:
            raise NotWeakenable(str(native))
        space = _MARK.ljust(_ROOM, b"\0")
        (folder / name).write_bytes(data.replace(space, (_MARK + words).ljust(_ROOM, b"\0")))
        (folder / name).chmod(0o755)
    return folder


def _native_word(guard: Guard) -> str:
    return guard.name if guard.name.startswith("RLIMIT_") else guard.value


def _copy_guests(room: Path, off: Set[Guard]) -> dict[str, str]:
    """The guests' folders with weaker definitions after the real ones."""
    roots = {}
    for name, folder in policy.guest_roots().items():
        roots[name] = str(room / name)
        shutil.copytree(folder, roots[name], ignore=shutil.ignore_patterns("__pycache__"))
    for guard in sorted(off):
        for module, source in WEAK_GUESTS[guard].items():
            package, _, file = module.rpartition(".")
            with open(f"{roots[package]}/{file}.py", "a", encoding="utf-8") as code:
                code.write(f"\n\n{source}")
    return roots


def _weaken_view(off: Set[Guard], scene: Scene, replace: Replace) -> None:
    def choose_view(interpreter: Any) -> View:
        view = policy.choose_view(interpreter)
        package = str(policy._PACKAGE)
        if Guard.VIEW in off:
            folder = str(scene.folder)
            view = msgspec.structs.replace(view, binds=(*view.binds, (folder, folder), ("/proc", "/proc")))
        if Guard.HIDDEN_PACKAGE in off:
            shown = any(package.startswith(f"{where}/") for _, where in view.binds)
            binds = view.binds if shown else (*view.binds, (package, package))
            view = msgspec.structs.replace(view, hidden=(), binds=binds)
        return view

    def choose_rules(rung: Any, view: View, *, abi: int, writable: tuple[str, ...]) -> tuple[Rule, ...]:
        rules = policy.choose_rules(rung, view, abi=abi, writable=writable)
        everything = policy._ALL_BY_ABI[min(abi, 5)]
        return (*rules, Rule("/", everything)) if Guard.LANDLOCK_FILES in off else rules

    def encode_ruleset(rung: Any, *, abi: int) -> bytes:
        attributes = policy.encode_ruleset(rung, abi=abi)
        return attributes[:16] if Guard.LANDLOCK_SCOPES in off else attributes

    def program_environment(folder: str, temporary: str | None = None, *, hash_seed: int = 0) -> dict[str, str]:
        made = policy.program_environment(folder, temporary, hash_seed=hash_seed)
        taken = {name: value for name, value in os.environ.items() if name.startswith("GROUNDRUN") and name not in made}
        return taken | made if Guard.CLEAN_ENVIRONMENT in off else made

    replace(warden, "choose_view", choose_view)
    replace(warden, "choose_rules", choose_rules)
    replace(warden, "encode_ruleset", encode_ruleset)
    replace(warden, "program_environment", program_environment)


def _weaken_user(uid: int | None, replace: Replace) -> None:
    if uid is None:
        replace(host, "_private_uid", lambda rung, interpreter: (False, "left out"))
    else:
        replace(warden._uids, "take", lambda: uid)
        replace(warden._uids, "give_back", lambda uid: None)


def _weaken_filters(off: Set[Guard], replace: Replace) -> None:
    known = frozenset().union(*REFUSED.values())
    gone = frozenset().union(*(names for guard, names in REFUSED.items() if guard in off))
    interfaces = Guard.REFUSED_INTERFACES in off

    def keep(names: Any) -> list[str]:
        return [name for name in names if name not in gone and not (interfaces and name not in known)]

    for name in ("_ALWAYS_REFUSED", "_REFUSED_AT_LANDLOCK", "_UNBOUNDED_MEMORY", "_UNKNOWN_TO_US"):
        replace(seccomp, name, keep(getattr(seccomp, name)))
    for name in ("_CHECKS", "_CHECKS_AT_LANDLOCK", "_CHECKS_BEFORE_ABI_3"):
        checks = getattr(seccomp, name)
        replace(seccomp, name, {each: checks[each] for each in keep(checks)})
    build_base, build_tail, segments = seccomp.build_base, seccomp.build_tail, seccomp._segments

    def weak_segments(rules: Any) -> Any:
        return [*segments(rules)[:-1], (LAST_KNOWN + 1, seccomp._ALLOW)]

    def weak_base(rung: Any, *, landlock_abi: int, memory_cgroup: bool) -> bytes:
        memory_cgroup = memory_cgroup or Guard.REFUSED_UNOWNED_MEMORY in off
        built = build_base(rung, landlock_abi=landlock_abi, memory_cgroup=memory_cgroup)
        if Guard.REFUSED_ARCHITECTURES in off:
            refusal = struct.pack("=HBBI", seccomp._RET, 0, 0, seccomp._KILL)
            built = built.replace(refusal, struct.pack("=HBBI", seccomp._RET, 0, 0, seccomp._ALLOW))
        return built

    def weak_tail(rung: Any, *, may_fork: bool, signals_are_scoped: bool) -> bytes:
        fork_refused = not may_fork and Guard.REFUSED_FORK not in off
        on = {
            "fork": fork_refused, "vfork": fork_refused, "clone": fork_refused,
            "kill": Guard.REFUSED_SIGNALS not in off, "tkill": Guard.REFUSED_SIGNALS not in off, "tgkill": Guard.REFUSED_SIGNALS not in off,
            "setsid": Guard.REFUSED_SESSIONS not in off, "setpgid": Guard.REFUSED_SESSIONS not in off,
            "prctl": Guard.REFUSED_SESSIONS not in off,
        }  # fmt: skip
        arch, table = seccomp.this_machine()
        held = {name: number for name, number in table.items() if on.get(name, True)}
        this_machine = seccomp.this_machine
        seccomp.this_machine = lambda: (arch, held)
        try:
            return build_tail(rung, may_fork=may_fork, signals_are_scoped=signals_are_scoped)
        finally:
            seccomp.this_machine = this_machine

    if Guard.REFUSED_UNKNOWN in off:
        replace(seccomp, "_segments", weak_segments)
    replace(seccomp, "build_base", weak_base)
    replace(seccomp, "build_tail", weak_tail)


def _weaken_limits(off: Set[Guard], replace: Replace) -> None:
    """The cgroups that a lane is given; what is announced as missing stays what it was, so that a win isn't excused by it."""
    found = find_delegation()
    missing = host._missing
    left: dict[str, Any] = {}
    if Guard.CGROUP_MEMORY in off:
        left |= {"memory": None, "memory_guard": Delegation().memory_guard}
    if Guard.CGROUP_PIDS in off:
        left["pids"] = None
    if Guard.CGROUP_CPU in off:
        left |= {"cpu": None, "cpu_file": ""}
    replace(host, "find_delegation", lambda: msgspec.structs.replace(found, **left))
    replace(host, "_missing", lambda rung, abi, _, why: missing(rung, abi, found, why))


def _weaken_exchange(off: Set[Guard], replace: Replace) -> None:
    if Guard.BOUNDED_OUTPUT in off:
        replace(lane, "read_output", lambda descriptor, limit: exchange.read_output(descriptor, 1 << 40))
    if Guard.RAW_OUTPUT in off:
        replace(lane, "read_output", _decode_output)
    if Guard.CHECKED_ENDING in off:
        replace(exchange, "Ending", _BelievedEnding)
    if Guard.COLLECT_WANTED in off:
        make = exchange.Exchange.__init__

        def want_everything(self: Any, job: Any) -> None:
            make(self, job)
            self._wanted = _Everything()

        replace(exchange.Exchange, "__init__", want_everything)


def _decode_output(descriptor: int, limit: int) -> tuple[bytes, int]:
    data, size = exchange.read_output(descriptor, limit)
    return data.decode("utf-8", "replace").encode(), size


class _BelievedEnding:
    """What a program says of its end, taken at its word."""

    def __init__(self, data: bytes) -> None:
        said: dict[str, Any] = json.loads(data) if data else {"kind": ""}
        self.kind = said["kind"]
        self.exception: ExceptionInfo | None = None
        if self.kind == "raised":
            fields = ("type", "message", "traceback", "line", "errno")
            self.exception = ExceptionInfo(**{name: said[name] for name in fields if name in said})


class _Everything:
    def __contains__(self, name: object) -> bool:
        return True
