"""Attacks on what is brought home: floods, forged endings, and bytes that break whoever stores or shows them."""

from __future__ import annotations

import msgspec

from groundrun.attacks.attack import SMALL, Aftermath, Attack, Family
from groundrun.attacks.guards import Guard
from groundrun.engine.guest.job import REPORT_BYTES
from groundrun.records import Outcome

HOSTILE = b"\x1b]0;owned\x07\x1b[2J\xff\xfe\x00\xed\xa0\x80 groundrun: passed \r\n"


def _flooded(aftermath: Aftermath) -> list[str]:
    execution = aftermath.execution
    longest = max(len(execution.stdout), len(execution.stderr))
    problems = [f"{longest} bytes of output were kept"] if longest > SMALL.output_bytes else []
    stopped = execution.outcome in (Outcome.OUTPUT_LIMIT, Outcome.DISK_LIMIT)
    return problems if stopped else [*problems, f"it ended as {execution.outcome.value}"]


def _forged(aftermath: Aftermath) -> list[str]:
    execution = aftermath.execution
    problems = ["a program with status 1 counts as well ended"] if execution.outcome is Outcome.OK else []
    return problems if len(execution.report) <= REPORT_BYTES else [*problems, "the report is longer than its region"]


def _exact(aftermath: Aftermath) -> list[str]:
    return [] if aftermath.execution.stdout.endswith(HOSTILE) else ["its output was changed on the way"]


def _forged_name(aftermath: Aftermath) -> list[str]:
    strange = sorted(set(aftermath.execution.files) - {"a", "b"})
    return [f"files came back that were never asked for: {strange}"] if strange else []


def _flood(descriptor: int) -> str:
    return f"""
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
written = 0
while written < 256 << 20:
    written += os.write({descriptor}, b"y" * (1 << 20))
"""


_FIND_JOB = """
frame, job = sys._getframe(), None
while frame is not None and job is None:
    job = next((value for value in frame.f_locals.values() if type(value).__name__ == "GuestJob"), None)
    frame = frame.f_back
"""

ATTACKS = (
    Attack(
        name="flood_stdout",
        family=Family.OUTPUT,
        tries="Write 256 MiB to the standard output.",
        guards=(Guard.BOUNDED_OUTPUT,),
        inspect=_flooded,
        source=_flood(1),
    ),
    Attack(
        name="flood_stderr",
        family=Family.OUTPUT,
        tries="Write 256 MiB to the standard error.",
        guards=(Guard.BOUNDED_OUTPUT,),
        inspect=_flooded,
        source=_flood(2),
    ),
    Attack(
        name="hostile_output",
        family=Family.OUTPUT,
        tries="Print terminal escapes, NUL, invalid UTF-8 and words that look like ours.",
        guards=(Guard.RAW_OUTPUT,),
        inspect=_exact,
        source=f"os.write(1, {HOSTILE!r})\nos.write(2, {HOSTILE!r})\n",
    ),
    Attack(
        name="hostile_exception",
        family=Family.OUTPUT,
        tries="End with an exception whose text and type no file can hold.",
        guards=(Guard.CHECKED_ENDING,),
        source="""
class Broken(Exception):
    def __str__(self):
        return "\\ud800\\udfff" * 1000 + "\\x00\\x1b[2J"
Broken.__qualname__ = "\\ud8000"
Broken.__module__ = "a\\ud800"
raise Broken
""",
    ),
    Attack(
        name="exception_that_fights_back",
        family=Family.OUTPUT,
        tries="End with an exception whose text never comes, in an excepthook of its own, with closed streams.",
        guards=(Guard.OWN_ENDING,),
        inspect=lambda aftermath: ["it counts as well ended"] if aftermath.execution.outcome is Outcome.OK else [],
        source="""
class Broken(Exception):
    def __str__(self):
        sys.stdout.close()
        raise SystemExit(0)
    __repr__ = __str__
sys.excepthook = lambda *about: sys.exit(0)
raise Broken
""",
    ),
    Attack(
        name="forged_ending",
        family=Family.OUTPUT,
        tries="Write lies of impossible length into the region in which the run's end is told.",
        guards=(Guard.CHECKED_ENDING,),
        inspect=_forged,
        source=_FIND_JOB
        + """
say(found=job is not None)
write = job._write
write(0, b"\\xff" * 8)
write(8, b'{"kind": "raised", "type": "\\\\ud800", "message": "\\\\udfff", "traceback": "\\\\ud801", "line": 1'
      + b"0" * 5000 + b', "errno": 28}')
os._exit(1)
""",
    ),
    Attack(
        name="unstorable_ending",
        family=Family.OUTPUT,
        tries="Tell an end in words that no file can hold.",
        guards=(Guard.CHECKED_ENDING,),
        inspect=_forged,
        source=_FIND_JOB
        + """
said = b'{"kind": "raised", "type": "\\ud800", "message": "\\udfff", "traceback": "\\ud801"}'
job._write(0, len(said).to_bytes(4, "little"))
job._write(8, said)
os._exit(1)
""",
    ),
    Attack(
        name="nested_ending",
        family=Family.OUTPUT,
        tries="Tell an end that is nested ten thousand levels deep.",
        guards=(Guard.CHECKED_ENDING,),
        inspect=_forged,
        source=_FIND_JOB
        + """
say(found=job is not None)
job._write(0, (60000).to_bytes(4, "little"))
job._write(8, b"[" * 60000)
os._exit(1)
""",
    ),
    Attack(
        name="race_with_collection",
        family=Family.OUTPUT,
        tries="Change files while they are collected, so that their contents are taken for names.",
        guards=(Guard.DEAD_BEFORE_COLLECTION, Guard.COLLECT_WHOLE, Guard.COLLECT_WANTED),
        inspect=_forged_name,
        collect=("a", "b"),
        chances=12,
        limits=msgspec.structs.replace(SMALL, processes=8),
        source="""
open("b", "wb").write(b"padding" + (b"\\x04\\x00\\x00\\x00\\x04\\x00\\x00\\x00evilEVIL" * 150000))
open("a", "wb").write(bytes(1 << 20))
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        until = time.monotonic() + 2
        while time.monotonic() < until:
            os.truncate("a", 16)
            os.truncate("a", 1 << 20)
        os._exit(0)
time.sleep(0.1)
""",
    ),
)
