"""Attacks on the kernel's interfaces: namespaces, mounts, tracing, and calls with a history of holes."""

from __future__ import annotations

from groundrun.attacks.attack import Aftermath, Attack, Family
from groundrun.attacks.guards import Guard
from groundrun.records import Outcome


def _any(aftermath: Aftermath) -> list[str]:
    return aftermath.went_through()


def _survived(aftermath: Aftermath) -> list[str]:
    return ["a call of another architecture was answered"] if aftermath.said.get("answered") is not None else []


def _killed(aftermath: Aftermath) -> list[str]:
    problems = [] if aftermath.execution.outcome is Outcome.SIGNALLED else [f"it ended as {aftermath.execution.outcome.value}"]
    return problems + _survived(aftermath)


ATTACKS = (
    Attack(
        name="mounts",
        family=Family.KERNEL,
        tries="Mount, unmount, move and change mounts, and change the root.",
        guards=(Guard.REFUSED_MOUNTS, Guard.CAPABILITIES),
        inspect=_any,
        source="""
kernel("mount", b"none", b".", b"tmpfs", 0, 0)
kernel("mount", b"none", b".", 0, 32 | 4096, 0, label="remount")
kernel("umount2", b".", 2)
kernel("pivot_root", b"missing", b"missing")
kernel("chroot", b".")
kernel("fsopen", b"tmpfs", 0)
kernel("open_tree", -100, b".", 1)
kernel("move_mount", -100, b".", -100, b".", 0)
kernel("mount_setattr", -100, b".", 0, bytes(32), 32)
kernel("statmount", bytes(64), bytes(64), 64, 0)
kernel("listmount", bytes(64), bytes(64), 8, 0)
""",
    ),
    Attack(
        name="namespaces",
        family=Family.KERNEL,
        tries="Make or join namespaces, by unshare, clone, clone3 and setns.",
        guards=(Guard.REFUSED_NAMESPACES,),
        inspect=_any,
        source="""
import struct
for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000, 0x4000000, 0x8000000, 0x2000000, 0x80):
    kernel("unshare", flag, label=f"unshare {flag:x}")
    if flag != 0x80:
        attempt(f"clone {flag:x}", lambda: system_call(number("clone"), flag | 17, 0, 0, 0, 0) or os._exit(0))
kernel("clone3", struct.pack("QQQQQQQQQQQ", 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0), 88)
kernel("setns", 0, 0)
try:
    handle = os.pidfd_open(1)
except OSError:
    handle = 99
for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000, 0x8000000):
    kernel("setns", handle, flag, label=f"setns {flag:x}")
""",
    ),
    Attack(
        name="interfaces",
        family=Family.KERNEL,
        tries="Use io_uring, bpf, userfaultfd, keyrings, performance counters, modules and other interfaces that no program needs.",
        guards=(Guard.REFUSED_INTERFACES,),
        inspect=_any,
        source="""
space = ctypes.create_string_buffer(256)
kernel("io_uring_setup", 4, space)
kernel("bpf", 0, space, 64)
kernel("userfaultfd", 1)
kernel("keyctl", 0, -3, 1)
kernel("add_key", b"user", b"groundrun", b"x", 1, -3)
kernel("request_key", b"user", b"groundrun", 0, -3)
kernel("perf_event_open", space, 0, -1, -1, 0)
kernel("kexec_load", 0, 0, 0, 0)
kernel("init_module", space, 16, b"")
kernel("finit_module", 0, b"", 0)
kernel("delete_module", b"nothing", 0)
kernel("memfd_secret", 0)
kernel("fanotify_init", 0, 0)
kernel("name_to_handle_at", -100, b"/", space, space, 0)
kernel("open_by_handle_at", -100, space, 0)
kernel("syslog", 3, space, 100)
kernel("reboot", 0, 0, 0, 0)
kernel("swapon", b"/", 0)
kernel("acct", b"/")
kernel("quotactl", 0x800002 << 8, b"/", 0, space)
kernel("personality", 0x0040000)
kernel("vmsplice", 1, space, 1, 0)
kernel("set_mempolicy_home_node", 0, 0, 0, 0)
kernel("lsm_set_self_attr", 100, space, 16, 0)
kernel("move_pages", 0, 1, space, 0, space, 0)
kernel("migrate_pages", 0, 1, space, space)
""",
    ),
    Attack(
        name="clock",
        family=Family.KERNEL,
        tries="Set the clock and the host's name (to what they are).",
        guards=(Guard.REFUSED_CLOCKS,),
        inspect=_any,
        source="""
import struct
now = struct.pack("qq", int(time.time()), 0)  # the present time, the present name: an attack that went through would change nothing
kernel("clock_settime", 0, now)
kernel("settimeofday", now, 0)
kernel("adjtimex", ctypes.create_string_buffer(256))
kernel("clock_adjtime", 0, ctypes.create_string_buffer(256))
name = os.uname().nodename.encode()
kernel("sethostname", name, len(name))
""",
    ),
    Attack(
        name="numbers_of_x32",
        family=Family.KERNEL,
        tries="Make system calls by the numbers of the x32 interface, which a filter by number may miss.",
        guards=(Guard.REFUSED_UNKNOWN,),
        inspect=_any,
        machine="x86_64",
        needs=0x40000000 | 39,
        source="""
for name in ("getpid", "mount", "unshare", "ptrace", "clone"):
    kernel_number = number(name) | 0x40000000
    attempt(name, lambda: system_call(kernel_number, 0x10000000, 0, 0, 0, 0))
attempt("execve", lambda: system_call(520 | 0x40000000, 0, 0, 0))
attempt("ptrace of x32", lambda: system_call(521 | 0x40000000, 0, 0, 0))
""",
    ),
    Attack(
        name="calls_of_32_bit",
        family=Family.KERNEL,
        tries="Make system calls by int 0x80, whose numbers mean other calls.",
        guards=(Guard.REFUSED_ARCHITECTURES,),
        inspect=_killed,
        machine="x86_64",
        source="""
import mmap
code = mmap.mmap(-1, 4096, prot=7)
code.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")  # mov eax, 20 (getpid); int 0x80; ret
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
say(answered=call())
""",
    ),
    Attack(
        name="terminal",
        family=Family.KERNEL,
        tries="Type into a terminal of the user's.",
        unproven="an engine gives programs no terminal, so without a guard there is none to type into either",
        inspect=_any,
        source="""
import fcntl, termios
for descriptor in (0, 1, 2):
    attempt(f"type into {descriptor}", lambda: fcntl.ioctl(descriptor, termios.TIOCSTI, b"x"))
    attempt(f"own {descriptor}", lambda: fcntl.ioctl(descriptor, termios.TIOCSCTTY, 1))
attempt("open", lambda: os.open("/dev/tty", os.O_RDWR))
""",
    ),
)
