"""Attacks on other processes: signalling, slowing and tracing them, and killing the engine to force a mask."""

from __future__ import annotations

from groundrun.attacks.attack import Aftermath, Attack, Family
from groundrun.attacks.guards import Guard
from groundrun.records import Outcome


def _any(aftermath: Aftermath) -> list[str]:
    return aftermath.went_through()


def _every_process(aftermath: Aftermath) -> list[str]:
    told = aftermath.said["every process of the user"]
    return ["it may change the priority of every process of the user"] if told.get("reached") else []


ATTACKS = (
    Attack(
        name="kill_another",
        family=Family.PROCESSES,
        tries="Kill a process of the same user, by every call that sends a signal.",
        guards=(Guard.PID_NAMESPACE, Guard.PRIVATE_USER, Guard.LANDLOCK_SCOPES),
        at_landlock=(Guard.REFUSED_SIGNALS, Guard.PRIVATE_USER, Guard.LANDLOCK_SCOPES),
        unguarded=True,
        source="""
import signal
pid = scene["pid"]
attempt("kill", lambda: os.kill(pid, signal.SIGUSR1))
kernel("tgkill", pid, pid, int(signal.SIGUSR1))
kernel("tkill", pid, int(signal.SIGUSR1))
kernel("rt_sigqueueinfo", pid, int(signal.SIGUSR1), bytes(128))
handle = attempt("pidfd_open", lambda: os.pidfd_open(pid))
kernel("pidfd_send_signal", 99 if handle is None else handle, int(signal.SIGUSR1), 0, 0)
attempt("end", lambda: os.kill(pid, signal.SIGKILL))
""",
    ),
    Attack(
        name="signal_by_descriptor",
        family=Family.PROCESSES,
        tries="Have the kernel signal another process when a descriptor becomes readable (F_SETOWN, F_SETSIG, FIOSETOWN).",
        guards=(Guard.REFUSED_DESCRIPTOR_TRICKS, Guard.PID_NAMESPACE, Guard.PRIVATE_USER, Guard.LANDLOCK_SCOPES),
        unguarded=True,
        source="""
import fcntl, signal, socket, struct
def arm(own):
    reading, writing = os.pipe()
    own(reading)
    fcntl.fcntl(reading, 10, int(signal.SIGUSR2))
    fcntl.fcntl(reading, fcntl.F_SETFL, fcntl.fcntl(reading, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    os.write(writing, b"x")
    time.sleep(0.05)
pid = scene["pid"]
attempt("F_SETOWN", lambda: arm(lambda pipe: fcntl.fcntl(pipe, fcntl.F_SETOWN, pid)))
attempt("F_SETOWN_EX", lambda: arm(lambda pipe: fcntl.fcntl(pipe, 15, struct.pack("ii", 1, pid))))
attempt("FIOSETOWN", lambda: arm(lambda pipe: fcntl.ioctl(pipe, 0x8901, struct.pack("i", pid))))
left, right = socket.socketpair()
attempt("SIOCSPGRP", lambda: (fcntl.ioctl(left, 0x8902, struct.pack("i", pid)), fcntl.fcntl(left, 10, int(signal.SIGUSR2)),
        fcntl.fcntl(left, fcntl.F_SETFL, os.O_ASYNC), right.send(b"x"), time.sleep(0.05)))
""",
    ),
    Attack(
        name="kill_everyone",
        family=Family.PROCESSES,
        tries="Ask whether every process at once may be signalled (signal 0 tells, and delivers nothing), then kill the own group.",
        guards=(Guard.OWN_SESSION, Guard.LANDLOCK_SCOPES),
        inspect=lambda aftermath: aftermath.went_through("everyone"),
        unguarded=True,
        source="""
import signal
attempt("everyone", lambda: os.kill(-1, 0))
attempt("the canary's group", lambda: os.killpg(scene["pid"], signal.SIGURG))
kernel("tgkill", -1, scene["pid"], int(signal.SIGURG))
os.kill(0, signal.SIGKILL)
""",
    ),
    Attack(
        name="kill_the_engine",
        family=Family.PROCESSES,
        tries="Kill the own parent and, in a process namespace, its first process, to force a mask.",
        guards=(Guard.PID_NAMESPACE, Guard.LANDLOCK_SCOPES),
        source="""
import signal
for pid in (os.getppid() or 1,):  # the zygote, which is ours; process 1 only where the namespace is the own one
    if pid != os.getpid():
        attempt(f"kill {pid}", lambda: os.kill(pid, signal.SIGKILL))
        attempt(f"stop {pid}", lambda: os.kill(pid, signal.SIGSTOP))
attempt("starve the first", lambda: __import__("resource").prlimit(1, 7, (0, 0)) if os.getppid() == 0 else None)
time.sleep(0.1)
os.kill(os.getpid(), signal.SIGKILL)
""",
        inspect=lambda aftermath: (
            [] if aftermath.execution.outcome is Outcome.SIGNALLED else [f"it ended as {aftermath.execution.outcome.value}"]
        ),
    ),
    Attack(
        name="slow_another",
        family=Family.PROCESSES,
        tries="Change priority, processors, scheduler and limits of another process.",
        guards=(Guard.PID_NAMESPACE, Guard.PRIVATE_USER),
        at_landlock=(Guard.REFUSED_FOREIGN_PIDS, Guard.PRIVATE_USER),
        unguarded=True,
        source="""
import resource, struct
pid = scene["pid"]
attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, pid, 10))
attempt("nice group", lambda: os.setpriority(os.PRIO_PGRP, pid, 10))
attempt("processors", lambda: os.sched_setaffinity(pid, {min(os.sched_getaffinity(0))}))
attempt("scheduler", lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)))
kernel("sched_setattr", pid, struct.pack("IIQiIQQQ", 48, 5, 0, 0, 0, 0, 0, 0), 0)
kernel("ioprio_set", 1, pid, 3 << 13)
attempt("limit", lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3)))
""",
    ),
    Attack(
        name="slow_every_process",
        family=Family.PROCESSES,
        tries="Ask whether the priority of every process of the user may be set, to the value of the most urgent: it changes nothing.",
        at_landlock=(Guard.REFUSED_FOREIGN_PIDS, Guard.PRIVATE_USER),
        inspect=_every_process,
        source="""
# with the right to renice the question itself would change other processes: then it isn't asked, and having the right is the finding
own = libc.getpriority(0, 0)
privileged = libc.setpriority(0, 0, own - 1) == 0
if privileged:
    libc.setpriority(0, 0, own)
    reached = True
else:
    ctypes.set_errno(0)
    answer = libc.setpriority(2, 0, libc.getpriority(2, 0))
    alone = os.getppid() == 0 or os.getuid() >= 1000000000
    reached = not alone and (answer == 0 or ctypes.get_errno() == errno.EACCES)
say(**{"every process of the user": {"reached": reached}})
""",
    ),
    Attack(
        name="trace_another",
        family=Family.PROCESSES,
        tries="Trace another process, read and write its memory, take its descriptors.",
        guards=(Guard.CAPABILITIES, Guard.LANDLOCK_DOMAIN),
        inspect=_any,
        source="""
import struct
pid = scene["pid"]
space = ctypes.create_string_buffer(64)
vector = struct.pack("QQ", ctypes.addressof(space), 8)
for target in (pid, os.getppid() or 1):
    kernel("ptrace", 16, target, 0, 0, label=f"attach {target == pid}")
    kernel("ptrace", 0x4206, target, 0, 0, label=f"seize {target == pid}")
    kernel("process_vm_readv", target, vector, 1, vector, 1, 0, label=f"read {target == pid}")
    kernel("process_vm_writev", target, vector, 1, vector, 1, 0, label=f"write {target == pid}")
    kernel("kcmp", target, os.getpid(), 2, 0, 0, label=f"compare {target == pid}")
    kernel("get_robust_list", target, space, space, label=f"robust list {target == pid}")
kernel("pidfd_getfd", 0, 0, 0)
kernel("process_madvise", 0, vector, 1, 4, 0)
""",
    ),
)
