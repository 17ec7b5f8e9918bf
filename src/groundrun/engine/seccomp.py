"""The system calls that a program is refused, compiled to one short decision tree.

Two filters act on a program. The *base* is installed once in the zygote and inherited by every child for free; it refuses
what no program needs: new namespaces, mounts, tracing, kernel interfaces with a history of holes, exotic socket families, what
is counted for the whole host or for the user across namespaces (asynchronous contexts, inotify), and any call newer than
this table (ENOSYS, as an older kernel would answer). The *tail* is a few instructions installed in the child itself, for what
depends on the run: fork refused, signals to itself only.

What it promises: the architecture is checked first, 32-bit and x32 calls included; at rung `landlock` it also refuses what
landlock can't see (modes, owners, times, attributes, foreign processes, sockets). What it doesn't: judge what lies behind a
pointer; clone3 hides its flags there and is therefore refused as unknown, so that libc falls back to clone.
"""

from __future__ import annotations

import errno
import os
import platform
import struct
from enum import Enum

import msgspec

from groundrun.engine.syscalls import AARCH64, LAST_KNOWN, X86_64
from groundrun.errors import RungUnavailable
from groundrun.records import Rung

_LD, _JEQ, _JGE, _JSET, _JA, _RET, _AND = 0x20, 0x15, 0x35, 0x45, 0x05, 0x06, 0x54
_NR, _ARCH = 0, 4
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_ARCHES = {"x86_64": (0xC000003E, X86_64), "aarch64": (0xC00000B7, AARCH64)}

SELF_PID = 0x5E1F51D0  # a constant in tail filters that the child replaces by its own pid
_BAD_CLONE = 0x7E020080 | 0x0000A000  # CLONE_NEWNS|CGROUP|UTS|IPC|USER|PID|NET, CLONE_NEWTIME; CLONE_PARENT (a child of the zygote), PTRACE
_CLONE_THREAD = 0x00010000
_IOCTLS = (0x5412, 0x541C, 0x8901, 0x8902)  # TIOCSTI, TIOCLINUX; FIOSETOWN, SIOCSPGRP: signals by way of a descriptor
# F_SETOWN, F_SETSIG, F_SETOWN_EX: the same; F_SETLEASE blocks and F_NOTIFY watches foreign files; F_SETPIPE_SZ: memory nobody owns
_PLAIN_IOCTLS = (0x541B, 0x5421, 0x5450, 0x5451, 0x5401, 0x5413)  # FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, TCGETS, TIOCGWINSZ
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_FCNTLS = (8, 10, 15, 1024, 1026, 1031)
_BUFFER_OPTIONS = (7, 8, 32, 33)  # SO_SNDBUF, SO_RCVBUF and their FORCE kin, whatever the level: other levels lose little
_STREAM, _SEQPACKET, _TYPE_MASK = 1, 5, 0xF
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_OPEN_FOR_NOTHING = 3  # access mode that needs no right to read or write, and still gives a descriptor for ioctl


class Insn(msgspec.Struct, frozen=True):
    """One instruction of classic BPF."""

    code: int
    jt: int
    jf: int
    k: int


class _Check(Enum):
    """Rules that look at an argument."""

    CLONE = "clone"
    SOCKET = "socket"
    SOCKETPAIR = "socketpair"
    STREAM_PAIR = "socketpair that can't be turned to another address"
    IOCTL = "ioctl"
    FCNTL = "fcntl"
    PLAIN_IOCTL = "ioctl, the few that need nothing of the file"
    PRCTL = "prctl"
    SOCKET_BUFFERS = "setsockopt, except for larger buffers"
    FIRST_IS_ZERO = "first argument is 0: the caller itself"
    BOTH_ARE_ZERO = "first and second argument are 0: the caller itself"
    OPEN = "open"
    OPENAT = "openat"
    OPEN_WITHOUT_TRUNCATING = "open, truncation seen through a read-only open"
    OPENAT_WITHOUT_TRUNCATING = "openat, the same"


_ALWAYS_REFUSED = """
    mount umount2 pivot_root chroot unshare fsopen fsconfig fsmount fspick move_mount open_tree open_tree_attr mount_setattr
    ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd
    kexec_load kexec_file_load init_module finit_module delete_module create_module query_module get_kernel_syms reboot
    bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key
    open_by_handle_at name_to_handle_at swapon swapoff syslog acct quotactl quotactl_fd nfsservctl lookup_dcookie
    fanotify_init fanotify_mark iopl ioperm modify_ldt vm86 vm86old uselib ustat sysfs _sysctl personality
    settimeofday clock_settime clock_adjtime adjtimex stime sethostname setdomainname vhangup
    move_pages migrate_pages set_mempolicy_home_node memfd_secret vmsplice listmount statmount
    lsm_set_self_attr cachestat map_shadow_stack sync syncfs
    io_setup inotify_init inotify_init1
""".split()

_REFUSED_AT_LANDLOCK = """
    chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat
    utime utimes utimensat futimesat setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat
    file_setattr socket connect bind listen
    shmget shmat shmctl msgget msgsnd msgrcv msgctl semget semop semctl semtimedop mq_open mq_unlink
    pidfd_open pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo
    sched_setscheduler sched_setparam sched_setattr ioprio_set
    inotify_add_watch
""".split()

_UNBOUNDED_MEMORY = ("memfd_create", "shmget", "semget", "msgget")  # memory that counts against no process: only a cgroup sees it

_UNKNOWN_TO_US = ("clone3", "openat2")

_CHECKS = {
    "clone": _Check.CLONE,
    "socket": _Check.SOCKET,
    "socketpair": _Check.SOCKETPAIR,
    "ioctl": _Check.IOCTL,
    "fcntl": _Check.FCNTL,
    "prctl": _Check.PRCTL,
    "prlimit64": _Check.FIRST_IS_ZERO,
    "open": _Check.OPEN,
    "openat": _Check.OPENAT,
}
_CHECKS_AT_LANDLOCK = {
    "ioctl": _Check.PLAIN_IOCTL,
    "sched_setaffinity": _Check.FIRST_IS_ZERO,
    "setpriority": _Check.BOTH_ARE_ZERO,
    "socketpair": _Check.STREAM_PAIR,
}
_CHECKS_BEFORE_ABI_3 = {"open": _Check.OPEN_WITHOUT_TRUNCATING, "openat": _Check.OPENAT_WITHOUT_TRUNCATING}


def this_machine() -> tuple[int, dict[str, int]]:
    """Audit number and call table of this architecture. Raises RungUnavailable on any other than x86-64 and aarch64."""
    machine = platform.machine()
    if machine not in _ARCHES:
        raise RungUnavailable("namespaces", f"no system call table for {machine}", "use x86-64 or aarch64, or ask for isolation='none'")
    return _ARCHES[machine]


def build_base(rung: Rung, *, landlock_abi: int, memory_cgroup: bool) -> bytes:
    """The filter of the zygote and all its children, as an array of struct sock_filter.

    `memory_cgroup`: whether one bounds the slot; without it, memory that belongs to no process is refused.
    """
    arch, table = this_machine()
    rules: dict[int, int | _Check] = {}

    def add(names: list[str] | tuple[str, ...], rule: int | _Check) -> None:
        rules.update({table[name]: rule for name in names if name in table})

    for name, check in _CHECKS.items():
        add((name,), check)
    add(_ALWAYS_REFUSED, _ERRNO | errno.EPERM)
    if not memory_cgroup:
        add(_UNBOUNDED_MEMORY, _ERRNO | errno.EPERM)
        add(("setsockopt",), _Check.SOCKET_BUFFERS)
    add(_UNKNOWN_TO_US, _ERRNO | errno.ENOSYS)
    if rung is Rung.LANDLOCK:
        for name, check in _CHECKS_AT_LANDLOCK.items():
            add((name,), check)
        add(_REFUSED_AT_LANDLOCK, _ERRNO | errno.EPERM)
        add(("setns",), _ERRNO | errno.EPERM)
        if landlock_abi < 3:  # truncation is invisible to landlock: refuse it by path and through a read-only open
            add(("truncate",), _ERRNO | errno.EPERM)
            for name, check in _CHECKS_BEFORE_ABI_3.items():
                add((name,), check)
    head = [
        Insn(_LD, 0, 0, _ARCH),
        Insn(_JEQ, 1, 0, arch),
        Insn(_RET, 0, 0, _KILL),
        Insn(_LD, 0, 0, _NR),
    ]
    return _pack(head + _tree(_segments(rules)))


def build_tail(rung: Rung, *, may_fork: bool, signals_are_scoped: bool) -> bytes:
    """What depends on the run, or what the child itself needs on its way in; may be empty. SELF_PID stands for the child's pid."""
    _, table = this_machine()
    rules: list[Insn] = []

    def on(name: str, body: list[Insn]) -> None:
        if name in table:
            rules.extend([Insn(_JEQ, 0, len(body), table[name]), *body])

    if not may_fork:
        refuse = Insn(_RET, 0, 0, _ERRNO | errno.EAGAIN)
        on("fork", [refuse])
        on("vfork", [refuse])
        on("clone", [_load(0), Insn(_JSET, 1, 0, _CLONE_THREAD), refuse, Insn(_RET, 0, 0, _ALLOW)])
    if rung is Rung.LANDLOCK and not (may_fork and signals_are_scoped):
        refuse = Insn(_RET, 0, 0, _ERRNO | errno.EPERM)
        allow = Insn(_RET, 0, 0, _ALLOW)
        for name in ("kill", "tkill", "tgkill"):
            zero = [Insn(_JEQ, 1, 0, 0)] if name == "kill" and not may_fork else []
            body = [_load(0), *zero, Insn(_JEQ, 0, 1, SELF_PID), allow, refuse]
            on(name, body)
    if rung is Rung.LANDLOCK:  # every child stays in the group that is killed as one, and dies when the zygote does
        refuse, allow = Insn(_RET, 0, 0, _ERRNO | errno.EPERM), Insn(_RET, 0, 0, _ALLOW)
        on("prctl", [_load(0), *_one_of((_PR_SET_PDEATHSIG,), refuse, allow)])
        for name in ("setsid", "setpgid"):
            on(name, [Insn(_RET, 0, 0, _ERRNO | errno.EPERM)])
    if not rules:
        return b""
    return _pack([Insn(_LD, 0, 0, _NR), *rules, Insn(_RET, 0, 0, _ALLOW)])


def _one_of(values: tuple[int, ...], then: Insn, otherwise: Insn) -> list[Insn]:
    """Compare what was loaded with each value."""
    tests = [Insn(_JEQ, len(values) - number, 0, value) for number, value in enumerate(values)]
    return [*tests, otherwise, then]


def _load(argument: int) -> Insn:
    return Insn(_LD, 0, 0, 16 + 8 * argument)


def _segments(rules: dict[int, int | _Check]) -> list[tuple[int, int | _Check]]:
    """Ranges of call numbers with one rule each, by their first number; neighbours with the same rule are one."""
    every = [rules.get(number, _ALLOW) for number in range(LAST_KNOWN + 1)] + [_ERRNO | errno.ENOSYS]
    return [(number, rule) for number, rule in enumerate(every) if number == 0 or every[number - 1] != rule]


def _tree(segments: list[tuple[int, int | _Check]]) -> list[Insn]:
    if len(segments) == 1:
        return _leaf(segments[0][1])
    middle = len(segments) // 2
    low, high = _tree(segments[:middle]), _tree(segments[middle:])
    if len(low) < 256:
        return [Insn(_JGE, len(low), 0, segments[middle][0]), *low, *high]
    return [Insn(_JGE, 0, 1, segments[middle][0]), Insn(_JA, 0, 0, len(low)), *low, *high]


def _leaf(rule: int | _Check) -> list[Insn]:
    allow, refuse = Insn(_RET, 0, 0, _ALLOW), Insn(_RET, 0, 0, _ERRNO | errno.EPERM)
    no_family = Insn(_RET, 0, 0, _ERRNO | errno.EAFNOSUPPORT)
    match rule:
        case _Check.CLONE:
            return [_load(0), Insn(_JSET, 0, 1, _BAD_CLONE), refuse, allow]
        case _Check.SOCKET:
            # not unix: a socket of the host's in a bound folder would answer, whatever the network namespace
            return [_load(0), *_one_of((_AF_INET, _AF_INET6), allow, no_family)]
        case _Check.SOCKETPAIR:
            return [_load(0), *_one_of((_AF_UNIX,), allow, no_family)]
        case _Check.STREAM_PAIR:
            kind = [_load(1), Insn(_AND, 0, 0, _TYPE_MASK), *_one_of((_STREAM, _SEQPACKET), allow, refuse)]
            return [_load(0), Insn(_JEQ, 1, 0, _AF_UNIX), no_family, *kind]
        case _Check.IOCTL:
            return [_load(1), *_one_of(_IOCTLS, refuse, allow)]
        case _Check.PLAIN_IOCTL:
            return [_load(1), *_one_of(_PLAIN_IOCTLS, allow, Insn(_RET, 0, 0, _ERRNO | errno.ENOTTY))]
        case _Check.PRCTL:
            return [_load(0), *_one_of((_PR_SET_DUMPABLE,), refuse, allow)]
        case _Check.FCNTL:
            return [_load(1), *_one_of(_FCNTLS, refuse, allow)]
        case _Check.SOCKET_BUFFERS:
            return [_load(2), *_one_of(_BUFFER_OPTIONS, refuse, allow)]
        case _Check.FIRST_IS_ZERO:
            return [_load(0), *_one_of((0,), allow, refuse)]
        case _Check.BOTH_ARE_ZERO:
            return [_load(0), Insn(_JEQ, 1, 0, 0), refuse, _load(1), *_one_of((0,), allow, refuse)]
        case _Check.OPEN | _Check.OPENAT:
            mode = [_load(1 if rule is _Check.OPEN else 2), Insn(_AND, 0, 0, os.O_ACCMODE)]
            return [*mode, *_one_of((_OPEN_FOR_NOTHING,), refuse, allow)]
        case _Check.OPEN_WITHOUT_TRUNCATING | _Check.OPENAT_WITHOUT_TRUNCATING:
            flags = _load(1 if rule is _Check.OPEN_WITHOUT_TRUNCATING else 2)
            bad = (_OPEN_FOR_NOTHING, _OPEN_FOR_NOTHING | os.O_TRUNC, os.O_RDONLY | os.O_TRUNC)
            return [flags, Insn(_AND, 0, 0, os.O_ACCMODE | os.O_TRUNC), *_one_of(bad, refuse, allow)]
        case _:
            return [Insn(_RET, 0, 0, rule)]


def _pack(program: list[Insn]) -> bytes:
    return b"".join(struct.pack("=HBBI", insn.code, insn.jt, insn.jf, insn.k) for insn in program)
