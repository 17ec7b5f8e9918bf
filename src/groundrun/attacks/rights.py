"""Attacks on rights and shares that a process may have more of than it should: capabilities, priority, locked memory, queues, timers."""

from __future__ import annotations

import msgspec

from groundrun.attacks.attack import SMALL, Aftermath, Attack, Family
from groundrun.attacks.guards import Guard

_NICE, _RTPRIO = 13, 14
_FEW = msgspec.structs.replace(SMALL, processes=4)


def _any(aftermath: Aftermath) -> list[str]:
    return aftermath.went_through()


def _rights(aftermath: Aftermath) -> list[str]:
    rights = aftermath.said.get("rights", 0)
    return [f"it has the capabilities {rights:#x} after execve"] if rights else []


def _dumped(aftermath: Aftermath) -> list[str]:
    return ["a core was dumped"] if aftermath.said["dumped"] else []


def _counted(aftermath: Aftermath) -> list[str]:
    made, allowed = aftermath.number("made"), aftermath.number("allowed")
    return [f"it made {made} where {allowed} are allowed"] if made > allowed else []


ATTACKS = (
    Attack(
        name="read_private_file",
        family=Family.FILES,
        tries="Read a file of the host that only its owner may read.",
        guards=(Guard.VIEW, Guard.PRIVATE_USER),
        at_landlock=(Guard.LANDLOCK_FILES, Guard.PRIVATE_USER),
        unguarded=True,
        source='attempt("read", lambda: print(open(scene["private"]).read(), flush=True))\n',
    ),
    Attack(
        name="rename_host",
        family=Family.KERNEL,
        tries="Set the host's name (to what it is).",
        guards=(Guard.REFUSED_CLOCKS, Guard.CAPABILITIES, Guard.UTS_NAMESPACE, Guard.USER_NAMESPACE),
        inspect=lambda aftermath: aftermath.went_through("sethostname") if aftermath.said["host"] else [],
        source="""
name = os.uname().nodename.encode()
kernel("sethostname", name, len(name))
say(host=name != b"groundrun")  # to rename the jail alone changes nothing for anybody
""",
    ),
    Attack(
        name="regain_rights",
        family=Family.KERNEL,
        tries="Gain capabilities by executing another program.",
        guards=(Guard.USER_NAMESPACE, Guard.NO_NEW_PRIVILEGES, Guard.BOUNDING_SET),
        inspect=_rights,
        limits=_FEW,
        source='''
code = """
import ctypes, json, os, struct
data = ctypes.create_string_buffer(24)
ctypes.CDLL(None).capget(struct.pack("II", 0x20080522, 0), data)
low, high = struct.unpack_from("I", data, 4)[0], struct.unpack_from("I", data, 16)[0]
os.write(1, json.dumps({"rights": low | high << 32}).encode() + b"\\\\n")
"""
os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", code])
''',
    ),
    Attack(
        name="trace_the_first",
        family=Family.PROCESSES,
        tries="Trace the first process of the slot, which has a right that the program lacks.",
        guards=(Guard.REFUSED_TRACING, Guard.CAPABILITIES, Guard.LANDLOCK_DOMAIN),
        inspect=_any,
        source="""
if os.getppid() == 0:
    kernel("ptrace", 0x4206, 1, 0, 0)
""",
    ),
    Attack(
        name="trace_the_zygote",
        family=Family.PROCESSES,
        tries="Trace the process that every program is forked from.",
        guards=(Guard.PID_NAMESPACE, Guard.REFUSED_TRACING, Guard.CAPABILITIES, Guard.LANDLOCK_DOMAIN, Guard.UNDUMPABLE),
        at_landlock=(Guard.REFUSED_TRACING, Guard.PRIVATE_USER, Guard.CAPABILITIES, Guard.LANDLOCK_DOMAIN),
        inspect=_any,
        as_caller=True,
        source="""
if os.getppid() > 1:
    kernel("ptrace", 0x4206, os.getppid(), 0, 0)
""",
    ),
    Attack(
        name="starve_the_first",
        family=Family.PROCESSES,
        tries="Take from the first process of the slot, which runs under the same user, the right to open files.",
        guards=(Guard.REFUSED_FOREIGN_PIDS,),
        inspect=_any,
        source="""
import struct
if os.getppid() == 0:
    kernel("prlimit64", 1, 7, struct.pack("QQ", 4, 4), 0)
""",
    ),
    Attack(
        name="dump_core",
        family=Family.RESOURCES,
        tries="Have the kernel write the memory of a dying process into a file, or hand it to a program of the host's.",
        guards=(Guard.RLIMIT_CORE, Guard.UNDUMPABLE),
        inspect=_dumped,
        limits=_FEW,
        source="""
child = os.fork()
if child == 0:
    os.abort()
say(dumped=os.WCOREDUMP(os.waitpid(child, 0)[1]))
""",
    ),
    Attack(
        name="raise_priority",
        family=Family.RESOURCES,
        tries="Run before everybody else.",
        needs_limit=_NICE,
        guards=(Guard.RLIMIT_NICE,),
        at_landlock=(Guard.RLIMIT_NICE,),
        inspect=_any,
        source='attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, -5))\n',
    ),
    Attack(
        name="real_time",
        family=Family.RESOURCES,
        tries="Run in real time, for as long as it takes to ask.",
        needs_limit=_RTPRIO,
        guards=(Guard.RLIMIT_RTPRIO,),
        at_landlock=(Guard.REFUSED_FOREIGN_PIDS, Guard.RLIMIT_RTPRIO),
        inspect=_any,
        source="""
attempt("real time", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
""",
    ),
    Attack(
        name="lock_memory",
        family=Family.RESOURCES,
        tries="Lock 4 MiB in memory.",
        guards=(Guard.RLIMIT_MEMLOCK,),
        at_landlock=(Guard.RLIMIT_MEMLOCK,),
        inspect=_any,
        source="""
space = ctypes.create_string_buffer(4 << 20)
attempt("lock", lambda: libc.mlock(space, ctypes.c_size_t(4 << 20)) and [][1])
""",
    ),
    Attack(
        name="message_queue",
        family=Family.RESOURCES,
        tries="Make message queues that hold more than 64 KiB.",
        guards=(Guard.RLIMIT_MSGQUEUE, Guard.LANDLOCK_DOMAIN),
        inspect=_any,
        source="""
import struct
kernel("mq_open", b"large", os.O_CREAT | os.O_RDWR, 0o600, struct.pack("qqqqqqqq", 0, 10, 8192, 0, 0, 0, 0, 0))
""",
    ),
    Attack(
        name="many_timers",
        family=Family.RESOURCES,
        tries="Make 3,000 timers, which the kernel counts for the user across namespaces.",
        guards=(Guard.RLIMIT_SIGPENDING,),
        at_landlock=(Guard.RLIMIT_SIGPENDING,),
        inspect=_counted,
        source="""
made, timer = 0, ctypes.c_void_p()
while made < 3000 and libc.timer_create(1, None, ctypes.byref(timer)) == 0:
    made += 1
say(made=made, allowed=1024)
""",
    ),
    Attack(
        name="many_descriptors",
        family=Family.RESOURCES,
        tries="Open 1,000 files at once.",
        guards=(Guard.RLIMIT_NOFILE,),
        at_landlock=(Guard.RLIMIT_NOFILE,),
        inspect=_counted,
        source="""
made = 0
try:
    while made < 1000:
        os.open("/dev/null", os.O_RDONLY)
        made += 1
except OSError:
    pass
say(made=made, allowed=256)
""",
    ),
    Attack(
        name="counts_of_the_host",
        family=Family.RESOURCES,
        tries="Take a share of what the kernel counts for the whole host: asynchronous contexts, watches, writing everything to disk.",
        guards=(Guard.REFUSED_SHARED_COUNTS,),
        at_landlock=(Guard.REFUSED_SHARED_COUNTS,),
        inspect=_any,
        source="""
context = ctypes.c_ulong(0)
kernel("io_setup", 1, ctypes.byref(context))
kernel("inotify_init1", 0)
kernel("sync")
""",
    ),
    Attack(
        name="plant_start_up",
        family=Family.LEAK,
        tries="Leave code where interpreter and linker look when they start: .pth, usercustomize, and a library to preload.",
        guards=(Guard.SINGLE_USE,),
        at_landlock=(Guard.WIPED_FOLDER,),
        inspect=lambda aftermath: ["a later job found what it had left"] if aftermath.later.get("found") else [],
        source="""
import site
user = site.getusersitepackages()
try:
    os.makedirs(user)
except OSError:
    pass
for folder in (user, *site.getsitepackages(), os.path.dirname(os.__file__)):
    for name in ("planted.pth", "usercustomize.py", "sitecustomize.py"):
        attempt(f"{folder}/{name}", lambda: open(os.path.join(folder, name), "x").write("import planted"))
attempt("preload", lambda: open("/etc/ld.so.preload", "x").write(os.getcwd() + "/planted.so"))
os.environ["LD_PRELOAD"] = os.getcwd() + "/planted.so"
""",
        later="""
import site
found = [name for name in ("LD_PRELOAD", "PYTHONSTARTUP") if name in os.environ] + [name for name in sys.modules if name == "planted"]
found += [path for path in (site.getusersitepackages() + "/planted.pth", "/etc/ld.so.preload") if os.path.exists(path)]
say(found=found)
""",
    ),
)
