"""The compiled filters decide as the policy says, for every call number; checked with a small interpreter of classic BPF."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from groundrun.engine import seccomp, syscalls
from groundrun.records import Rung

pytestmark = pytest.mark.unit

ALLOW, KILL = 0x7FFF0000, 0x80000000
ARCH = seccomp.this_machine()[0]
TABLE = seccomp.this_machine()[1]


def decide(program: bytes, number: int, *arguments: int, arch: int = ARCH) -> int:
    """What the kernel would return for one call."""
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, arch, 0, *[*arguments, *[0] * 6][:6])
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = at = 0
    while True:
        operation, jump_true, jump_false, constant = code[at]
        at += 1
        match operation:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, constant)[0]
            case 0x15:
                at += jump_true if accumulator == constant else jump_false
            case 0x35:
                at += jump_true if accumulator >= constant else jump_false
            case 0x45:
                at += jump_true if accumulator & constant else jump_false
            case 0x54:
                accumulator &= constant
            case 0x05:
                at += constant
            case 0x06:
                return int(constant)
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")


def refused(code: int) -> int:
    return 0x00050000 | code


BASE = {rung: seccomp.build_base(rung, landlock_abi=7, memory_cgroup=True) for rung in (Rung.NAMESPACES, Rung.LANDLOCK)}


def test_every_name_of_the_policy_has_a_number() -> None:
    """A name that no table knows would refuse nothing; these three exist on 32-bit machines only."""
    policy = {
        *seccomp._ALWAYS_REFUSED,
        *seccomp._REFUSED_AT_LANDLOCK,
        *seccomp._UNBOUNDED_MEMORY,
        *seccomp._UNKNOWN_TO_US,
        *seccomp._CHECKS,
    }
    assert policy - syscalls.X86_64.keys() - syscalls.AARCH64.keys() == {"stime", "vm86", "vm86old"}


@pytest.mark.parametrize("rung", list(BASE))
def test_another_architecture_is_killed_and_unknown_calls_are_unknown(rung: Rung) -> None:
    assert decide(BASE[rung], 0, arch=0x40000003) == KILL
    for number in (syscalls.LAST_KNOWN + 1, 5000, 0x40000000, 0x40000000 | 57, 0xFFFFFFFF):
        assert decide(BASE[rung], number) == refused(errno.ENOSYS)


@pytest.mark.parametrize("rung", list(BASE))
@pytest.mark.parametrize("name", ["mount", "unshare", "ptrace", "bpf", "io_uring_setup", "keyctl", "open_by_handle_at", "process_vm_readv"])
def test_kernel_interfaces_are_refused(rung: Rung, name: str) -> None:
    assert decide(BASE[rung], TABLE[name]) == refused(errno.EPERM)
    assert decide(BASE[rung], TABLE["clone3"]) == refused(errno.ENOSYS)


@pytest.mark.parametrize("rung", list(BASE))
def test_clone_makes_processes_and_threads_but_no_namespaces(rung: Rung) -> None:
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x80):
        assert decide(BASE[rung], TABLE["clone"], flag | 17) == refused(errno.EPERM)
    assert decide(BASE[rung], TABLE["clone"], 17) == ALLOW
    assert decide(BASE[rung], TABLE["clone"], 0x003D0F00) == ALLOW


def test_only_plain_socket_families_and_none_at_landlock() -> None:
    for family in range(50):
        expected = ALLOW if family in (2, 10) else refused(errno.EAFNOSUPPORT)
        assert decide(BASE[Rung.NAMESPACES], TABLE["socket"], family) == expected
        assert decide(BASE[Rung.LANDLOCK], TABLE["socket"], family) == refused(errno.EPERM)


@pytest.mark.parametrize("rung", list(BASE))
def test_descriptors_give_no_way_around(rung: Rung) -> None:
    base = BASE[rung]
    for command in (8, 10, 15, 1024, 1026, 1031):
        assert decide(base, TABLE["fcntl"], 3, command) == refused(errno.EPERM)
    assert decide(base, TABLE["fcntl"], 3, 1030) == ALLOW
    for command in (0x5412, 0x8901, 0x8902):
        assert decide(base, TABLE["ioctl"], 3, command) != ALLOW
    assert decide(base, TABLE["ioctl"], 3, 0x5421) == ALLOW
    assert decide(base, TABLE["openat"], 0, 0, 3) == refused(errno.EPERM)
    assert decide(base, TABLE["openat2"]) == refused(errno.ENOSYS)
    assert decide(base, TABLE["prctl"], 4, 1) == refused(errno.EPERM)
    assert decide(base, TABLE["prctl"], 1, 0) == ALLOW
    assert decide(base, TABLE["clone"], 0x8000 | 17) == refused(errno.EPERM)
    for family, kind in ((16, 3), (40, 1)):
        assert decide(base, TABLE["socketpair"], family, kind) == refused(errno.EAFNOSUPPORT)
    assert decide(base, TABLE["socketpair"], 1, 1 | 0o2000000) == ALLOW


def test_landlock_has_only_harmless_ioctls_and_stream_pairs() -> None:
    base = BASE[Rung.LANDLOCK]
    assert decide(base, TABLE["ioctl"], 3, 0x40086602) == refused(errno.ENOTTY)
    assert decide(BASE[Rung.NAMESPACES], TABLE["ioctl"], 3, 0x40086602) == ALLOW
    assert decide(base, TABLE["socketpair"], 1, 2) == refused(errno.EPERM)
    assert decide(base, TABLE["socketpair"], 1, 5) == ALLOW
    assert decide(base, TABLE["setpriority"], 2, 0) == refused(errno.EPERM)
    tail = seccomp.build_tail(Rung.LANDLOCK, may_fork=True, signals_are_scoped=True)
    for name in ("setsid", "setpgid"):
        assert decide(tail, TABLE[name]) == refused(errno.EPERM)
    assert decide(tail, TABLE["prctl"], 1, 0) == refused(errno.EPERM)
    assert decide(tail, TABLE["prctl"], 15, 0) == ALLOW


def test_landlock_refuses_what_landlock_cannot_see() -> None:
    for name in ("fchmodat", "fchownat", "utimensat", "setxattr", "shmget", "pidfd_open", "rt_sigqueueinfo", "mq_open"):
        assert decide(BASE[Rung.LANDLOCK], TABLE[name]) == refused(errno.EPERM)
        assert decide(BASE[Rung.NAMESPACES], TABLE[name]) == ALLOW
    for name, place in (("prlimit64", 0), ("sched_setaffinity", 0), ("setpriority", 1)):
        arguments = [0, 0]
        assert decide(BASE[Rung.LANDLOCK], TABLE[name], *arguments) == ALLOW
        arguments[place] = 4242
        assert decide(BASE[Rung.LANDLOCK], TABLE[name], *arguments) == refused(errno.EPERM)


def test_before_abi_3_truncation_is_refused_by_seccomp() -> None:
    old = seccomp.build_base(Rung.LANDLOCK, landlock_abi=2, memory_cgroup=True)
    assert decide(old, TABLE["truncate"]) == refused(errno.EPERM)
    assert decide(old, TABLE["openat"], 0, 0, os.O_TRUNC | os.O_RDONLY) == refused(errno.EPERM)
    assert decide(old, TABLE["openat"], 0, 0, os.O_TRUNC | os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC) == refused(errno.EPERM)
    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, os.O_RDWR | os.O_TRUNC):
        assert decide(old, TABLE["openat"], 0, 0, flags) == ALLOW
    assert decide(BASE[Rung.LANDLOCK], TABLE["openat"], 0, 0, os.O_TRUNC) == ALLOW


def test_memory_that_no_process_owns_needs_a_cgroup() -> None:
    without = seccomp.build_base(Rung.NAMESPACES, landlock_abi=7, memory_cgroup=False)
    for name in ("memfd_create", "shmget"):
        assert decide(without, TABLE[name]) == refused(errno.EPERM)
        assert decide(BASE[Rung.NAMESPACES], TABLE[name]) == ALLOW


def test_everything_that_is_not_named_is_allowed_up_to_the_last_known_call() -> None:
    named = set(TABLE.values())
    for number in range(syscalls.LAST_KNOWN + 1):
        if number not in named:
            assert decide(BASE[Rung.LANDLOCK], number) == ALLOW


def test_tails_refuse_fork_and_foreign_signals() -> None:
    me = seccomp.SELF_PID
    alone = seccomp.build_tail(Rung.LANDLOCK, may_fork=False, signals_are_scoped=True)
    assert decide(alone, TABLE["clone"], 17) == refused(errno.EAGAIN)
    assert decide(alone, TABLE["clone"], 0x003D0F00) == ALLOW
    for name in ("fork", "vfork"):
        if name in TABLE:
            assert decide(alone, TABLE[name]) == refused(errno.EAGAIN)
    assert decide(alone, TABLE["kill"], me) == decide(alone, TABLE["kill"], 0) == decide(alone, TABLE["tgkill"], me, 99) == ALLOW
    for pid in (1, 4242, 0xFFFFFFFF):
        assert decide(alone, TABLE["kill"], pid) == decide(alone, TABLE["tgkill"], pid, pid) == refused(errno.EPERM)
    family = seccomp.build_tail(Rung.LANDLOCK, may_fork=True, signals_are_scoped=False)
    assert decide(family, TABLE["clone"], 17) == ALLOW
    assert decide(family, TABLE["kill"], 4242) == refused(errno.EPERM)
    assert seccomp.build_tail(Rung.NAMESPACES, may_fork=True, signals_are_scoped=False) == b""


def test_the_tree_is_shallow() -> None:
    lengths = [len(filter_) // 8 for filter_ in BASE.values()]
    assert max(lengths) < 400
