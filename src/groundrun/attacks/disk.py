"""Attacks on the disk: more bytes, more files, or bytes where nobody counts them. None writes more than 80 MB."""

from __future__ import annotations

import msgspec

from groundrun.attacks.attack import SMALL, Aftermath, Attack, Family
from groundrun.attacks.guards import Guard
from groundrun.records import Outcome

_SLACK = 1.5
_PATIENT = msgspec.structs.replace(SMALL, cpu_s=2.0)
_MOST_FILES = 30_000


def _kept(aftermath: Aftermath) -> list[str]:
    kept = aftermath.number("kept")
    allowed = _SLACK * SMALL.disk_bytes
    return [f"it kept {kept >> 20} MiB where {SMALL.disk_bytes >> 20} are allowed"] if kept > allowed else []


def _made(aftermath: Aftermath) -> list[str]:
    made = aftermath.number("made")
    stopped = aftermath.execution.outcome is Outcome.DISK_LIMIT or made < _MOST_FILES
    return [] if stopped else [f"it made {made} files"]


def _grown(aftermath: Aftermath) -> list[str]:
    return [f"a file of {aftermath.number('size') >> 30} GiB"] if aftermath.number("size") > 2 * SMALL.disk_bytes else []


ATTACKS = (
    Attack(
        name="disk_bytes",
        family=Family.DISK,
        tries="Write many files that are together ten times too large.",
        guards=(Guard.DISK_BYTES,),
        inspect=_kept,
        soft=("disk: bytes",),
        limits=_PATIENT,
        source="""
kept = 0
for n in range(40):
    with open(f"file{n}", "wb", buffering=0) as file:
        kept += file.write(bytes(2 << 20))
    say(kept=kept)
    time.sleep(0.01)
time.sleep(0.2)
""",
    ),
    Attack(
        name="disk_elsewhere",
        family=Family.DISK,
        tries="Write to the temporary folder and to shared memory what doesn't fit into the working folder.",
        guards=(Guard.DISK_BYTES,),
        inspect=_kept,
        soft=("disk: bytes",),
        limits=_PATIENT,
        source="""
kept = 0
for n in range(40):
    for place in (os.environ["TMPDIR"], "/tmp", "/dev/shm", ".."):
        try:
            with open(f"{place}/file{n}", "wb", buffering=0) as file:
                kept += file.write(bytes(1 << 20))
        except OSError:
            pass
    say(kept=kept)
    time.sleep(0.01)
    if kept > 60 << 20:
        break
time.sleep(0.2)
""",
    ),
    Attack(
        name="disk_unlinked",
        family=Family.DISK,
        tries="Keep bytes in files that have no name any more, held by one mapped page each.",
        guards=(Guard.DISK_BYTES,),
        inspect=_kept,
        soft=("unlinked",),
        limits=_PATIENT,
        source="""
import mmap
kept, held = 0, []
for n in range(20):
    descriptor = os.open("file", os.O_RDWR | os.O_CREAT)
    os.unlink("file")
    for _ in range(2):
        kept += os.write(descriptor, bytes(1 << 20))
    held.append(mmap.mmap(descriptor, 4096))
    os.close(descriptor)
    say(kept=kept)
time.sleep(0.3)
""",
    ),
    Attack(
        name="disk_unreadable",
        family=Family.DISK,
        tries="Keep bytes in a folder that nobody may list.",
        guards=(Guard.DISK_BYTES,),
        at_landlock=(Guard.MEASURED_FOLDER,),
        inspect=_kept,
        soft=("disk: bytes",),
        limits=_PATIENT,
        source="""
os.mkdir("folder", 0o300)
kept = 0
for n in range(20):
    with open(f"folder/file{n}", "wb", buffering=0) as file:
        kept += file.write(bytes(2 << 20))
    say(kept=kept)
    time.sleep(0.02)
time.sleep(0.3)
""",
    ),
    Attack(
        name="disk_inodes",
        family=Family.DISK,
        tries="Make very many empty files.",
        guards=(Guard.DISK_INODES,),
        inspect=_made,
        soft=("inodes",),
        limits=msgspec.structs.replace(SMALL, cpu_s=4.0, wall_s=6.0),
        source=f"""
made = 0
for n in range({_MOST_FILES}):
    os.close(os.open(f"f{{n}}", os.O_CREAT | os.O_WRONLY))
    made += 1
    if not made % 1000:
        say(made=made)
""",
    ),
    Attack(
        name="disk_sparse",
        family=Family.DISK,
        tries="Make a file that is a terabyte long and empty.",
        guards=(Guard.RLIMIT_FSIZE,),
        inspect=_grown,
        source="""
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open("sparse", "wb") as file:
    attempt("grow", lambda: file.truncate(1 << 40))
    attempt("seek and write", lambda: (file.seek(1 << 39), file.write(b"x"), file.flush()))
    attempt("allocate", lambda: os.posix_fallocate(file.fileno(), 0, 1 << 34))
say(size=os.stat("sparse").st_size)
""",
    ),
    Attack(
        name="disk_deep",
        family=Family.DISK,
        tries="Nest folders so deep that whoever cleans up runs out of path, stack or descriptors.",
        guards=(Guard.SINGLE_USE,),
        at_landlock=(Guard.WIPED_FOLDER,),
        limits=_PATIENT,
        source="""
for depth in range(1500):
    try:
        os.mkdir("d")
        os.chdir("d")
    except OSError:
        break
say(depth=depth)
""",
        inspect=lambda aftermath: ["a later job found its folders"] if aftermath.later.get("found") else [],
        later='say(found=os.path.exists("d"))\n',
    ),
)
