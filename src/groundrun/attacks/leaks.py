"""Attacks on what a program should not know: the user's environment and descriptors, and what earlier jobs held in memory."""

from __future__ import annotations

import msgspec

from groundrun.attacks.attack import SMALL, Aftermath, Attack, Family
from groundrun.attacks.guards import Guard

SCAN = r'''
import re
prey = re.compile(("".join(scene["word"]) + "[0-9a-f]{16}").encode())
STEP, GAP = 1 << 16, 1 << 26
reading, writing = os.pipe()
os.set_blocking(writing, False)
libc.write.restype = ctypes.c_ssize_t
libc.sbrk.restype = ctypes.c_void_p
found, seen, scanned = set(), set(), 0

def look(address):
    """Copy what is mapped at an address through a pipe: the kernel answers EFAULT where there is nothing."""
    global scanned
    at, data = address, b""
    while at < address + STEP:
        got = libc.write(writing, ctypes.c_void_p(at), STEP - (at - address))
        if got <= 0:
            at += 4096
            continue
        data += os.read(reading, got)
        at += got
    scanned += len(data)
    found.update(match.decode() for match in prey.findall(data))
    return bool(data)

def sweep(start, direction):
    at, silent = start & ~(STEP - 1), 0
    while silent < GAP and at not in seen and 0 < at < 1 << 47 and time.process_time() < LATEST:
        seen.add(at)
        silent = 0 if look(at) else silent + STEP
        at += direction * STEP

LATEST = 2.0
local = ctypes.c_int()
starts = [id(object()), id(sys.modules), ctypes.addressof(local), libc.sbrk(0) - 1,
          ctypes.cast(libc.write, ctypes.c_void_p).value, id(type)]
for start in starts:
    sweep(start, -1)
    sweep(start + STEP, 1)
print(*found, flush=True)
say(scanned=scanned)
'''


def _too_little(aftermath: Aftermath) -> list[str]:
    if aftermath.number("scanned") < 1 << 20:
        raise LookupError(f"the scan saw only {aftermath.number('scanned')} bytes: {aftermath.execution.stderr[-300:]!r}")
    return []


def _open(aftermath: Aftermath) -> list[str]:
    return [f"descriptors {numbers} are open"] if (numbers := aftermath.said["open"]) else []


def _variables(aftermath: Aftermath) -> list[str]:
    known = {"PATH", "HOME", "TMPDIR", "LANG", "LC_CTYPE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"}
    strange = [name for name in aftermath.said["names"] if name not in known and not name.startswith("PYTHON")]
    return [f"it inherited {strange}"] if strange else []


_LONG = msgspec.structs.replace(SMALL, cpu_s=4.0, wall_s=8.0)

ATTACKS = (
    Attack(
        name="memory_of_earlier_job",
        family=Family.LEAK,
        tries="Search the own memory for what an earlier job's source, input and arguments held.",
        guards=(Guard.BLIND_ZYGOTE,),
        at_landlock=(Guard.BLIND_ZYGOTE,),
        inspect=_too_little,
        limits=_LONG,
        earlier="""
secret = "SECRET OF THE JOB"
text = sys.stdin.read() + secret
kept = [secret * 100, text.encode() * 50]
open("file", "w").write(secret)
say(held=len(kept))
""",
        source=SCAN,
    ),
    Attack(
        name="memory_of_host",
        family=Family.LEAK,
        tries="Search the own memory for a secret of the environment of the user's process.",
        guards=(Guard.CLEAN_ENVIRONMENT,),
        inspect=_too_little,
        limits=_LONG,
        source=SCAN,
    ),
    Attack(
        name="environment",
        family=Family.LEAK,
        tries="Read the user's environment variables.",
        guards=(Guard.CLEAN_ENVIRONMENT,),
        inspect=_variables,
        source="""
print(*os.environ.values(), flush=True)
say(names=sorted(os.environ))
""",
    ),
    Attack(
        name="descriptors",
        family=Family.LEAK,
        tries="Use a descriptor that was left open.",
        guards=(Guard.CLOSED_DESCRIPTORS,),
        at_landlock=(Guard.CLOSED_DESCRIPTORS,),
        inspect=_open,
        source="""
found = []
for descriptor in range(3, 4096):
    try:
        os.fstat(descriptor)
    except OSError:
        continue
    found.append(descriptor)
    try:
        print(os.pread(descriptor, 1000, 0).decode("latin-1"), flush=True)
    except OSError:
        pass
say(open=found)
""",
    ),
    Attack(
        name="shared_segment",
        family=Family.LEAK,
        tries="Attach a shared memory segment of the host's that every user may read, and make queues.",
        guards=(Guard.IPC_NAMESPACE,),
        at_landlock=(Guard.REFUSED_SEGMENTS,),
        unguarded=True,
        source="""
libc.shmat.restype = ctypes.c_void_p
def attach():
    segment = system_call(number("shmget"), scene["segment"], 0, 0o444)
    print(ctypes.string_at(libc.shmat(segment, None, 0o10000), 24).decode(), flush=True)
attempt("attach", attach)
kernel("mq_open", b"groundrun", os.O_CREAT | os.O_RDWR, 0o600, 0)
kernel("msgget", 77, 0o1600)
""",
    ),
)
