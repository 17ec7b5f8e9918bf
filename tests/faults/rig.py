"""The rig of the fault tests: a native part that breaks on purpose, programs whose results are known, and a count of what is left.

A plan says at which passage of which point what goes wrong; it is a page of memory that every process of the jail shares
(native/fault.h), so that a test also knows whether its fault took place. A stream is a row of programs, of which each must come back once
and right, or as an `EngineError`.
"""

from __future__ import annotations

import gc
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

import msgspec
from bench.remnants import find_belongings, find_descendants, wait_until

from groundrun.engine import Engine, Job
from groundrun.errors import EngineError
from groundrun.judging import Calibration, calibrate, judge
from groundrun.records import CodeTest, Completion, Execution, Limits, Outcome, Problem, Program

_PLAN = struct.Struct("=6I64s")
_COUNTERS = struct.Struct("=3I")
_COUNTERS_AT = 12
_SIZE = 4096
PATIENCE_S = 3.0  # what the host gives a warden past a run's wall limit, here
SMALL = Limits(cpu_s=2, wall_s=3, memory_bytes=256 << 20, disk_bytes=8 << 20)
JUDGED = Limits(cpu_s=2, wall_s=10)


class Action(IntEnum):
    """What goes wrong at a point; numbers are those of native/fault.c."""

    KILL = 1
    STALL = 2
    GARBLE = 3
    CUT = 4
    LOSE = 5
    DOUBLE = 6
    HANG_UP = 7
    REFUSE = 8


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault: at passage `nth` of the point, 0 for each. `amount`: milliseconds, number of the bit, or errno."""

    point: str
    action: Action
    nth: int = 1
    amount: int = 0

    @property
    def name(self) -> str:
        """For test ids."""
        when = f"#{self.nth}" if self.nth else "always"
        return f"{self.action.name.lower()} {self.point} {when}" + (f" {self.amount}" if self.amount else "")


class Plan:
    """The page that the native part reads its fault from, beside the warden that is to have it."""

    def __init__(self, folder: Path) -> None:
        path = folder / "plan"
        path.write_bytes(bytes(_SIZE))
        path.chmod(0o666)
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _SIZE)

    def arm(self, fault: Fault) -> None:
        """From now on."""
        self._page[: _PLAN.size] = _PLAN.pack(fault.action, fault.nth, fault.amount, 0, 0, 0, fault.point.encode())

    def disarm(self) -> None:
        """No fault any more."""
        self._page[: _PLAN.size] = bytes(_PLAN.size)

    def release(self) -> None:
        """End a stall."""
        self._page[_COUNTERS_AT + 8 : _COUNTERS_AT + 12] = b"\1\0\0\0"

    def close(self) -> None:
        """Leave the last fault as it is, and let go of the page."""
        self._page.close()

    @property
    def fired(self) -> int:
        """How often the fault took place."""
        return int(_COUNTERS.unpack_from(self._page, _COUNTERS_AT)[1])


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one program of a stream: `wrong` says how it differs from what is known, `fault` the fault of ours that was told."""

    name: str
    wrong: str = ""
    fault: EngineError | None = None


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    job: Job
    outcome: Outcome
    stdout: bytes = b""
    files: dict[str, bytes] = {}

    def check(self, execution: Execution) -> str:
        """How an execution differs."""
        said = (execution.outcome, execution.stdout, execution.files)
        wanted = (self.outcome, self.stdout, self.files)
        return "" if said == wanted else f"{said} instead of {wanted}"


def _know(name: str, source: str, outcome: Outcome, *, limits: Limits = SMALL, collect: tuple[str, ...] = (), **more: object) -> _Known:
    job = Job(program=Program(source), limits=limits, collect=collect)
    return msgspec.structs.replace(_Known(name=name, job=job, outcome=outcome), **more)


_PROGRAMS = (
    _know("print", "print(6 * 7)", Outcome.OK, stdout=b"42\n"),
    _know("raise", "raise ValueError('x')", Outcome.RAISED),
    _know("files", "open('a', 'w').write('b' * 70000)", Outcome.OK, collect=("a",), files={"a": b"b" * 70000}),
    _know("status", "import sys; print('no'); sys.exit(3)", Outcome.EXITED, stdout=b"no\n"),
    _know("loop", "while True: pass", Outcome.CPU_LIMIT, limits=msgspec.structs.replace(SMALL, cpu_s=0.1)),
    _know("disk", "print(1)", Outcome.OK, limits=msgspec.structs.replace(SMALL, disk_bytes=9 << 20), stdout=b"1\n"),
    _know("last", "print(sum(range(10)))", Outcome.OK, stdout=b"45\n"),
)
_PROBLEM = Problem(
    task_id="faults/0",
    prompt="def double(n):\n",
    entry_point="double",
    reference="def double(n):\n    return 2 * n\n",
    hidden=(CodeTest(source="def check(f):\n    assert f(2) == 4\n    assert f(-1) == -2\n", call="check"),),
    limits=JUDGED,
)
_CANDIDATES = {True: "def double(n):\n    return n + n\n", False: "def double(n):\n    return n * n\n"}


def run_programs(engine: Engine) -> list[Result]:
    """All known programs, handed in at once; with one that is cancelled among them."""
    flying = [(known, engine.submit(known.job)) for known in _PROGRAMS]
    endless = engine.submit(Job(program=Program("import time; time.sleep(60)"), limits=msgspec.structs.replace(SMALL, wall_s=70)))
    results = []
    for known, run in flying:
        try:
            results.append(Result(name=known.name, wrong=known.check(run.result(timeout=50))))
        except EngineError as error:
            results.append(Result(name=known.name, fault=error))
    wait_until(lambda: endless.worker is not None or endless.done(), seconds=5)
    endless.cancel()
    try:
        ended = endless.result(timeout=50).outcome
        results.append(Result(name="cancelled", wrong="" if ended is Outcome.CANCELLED else ended.value))
    except EngineError as error:
        results.append(Result(name="cancelled", fault=error))
    return results


def judge_candidates(engine: Engine) -> list[Result]:
    """A right and a wrong candidate, twice each, on a calibration that was made before."""
    results = []
    for expected, source in (*_CANDIDATES.items(), *_CANDIDATES.items()):
        completion = Completion(task_id=_PROBLEM.task_id, text=source, solution=source, model="known")
        try:
            verdict = judge(engine, _PROBLEM, completion, _calibration(engine))
        except EngineError as error:
            results.append(Result(name=f"judge {expected}", fault=error))
        else:
            wrong = "" if verdict.passed is expected and verdict.protected else f"{verdict.passed}: {verdict.reason}"
            results.append(Result(name=f"judge {expected}", wrong=wrong))
    return results


_calibrations: list[Calibration] = []


def _calibration(engine: Engine) -> Calibration:
    if not _calibrations:
        _calibrations.append(calibrate(engine, _PROBLEM))
    return _calibrations[0]


def use_session(engine: Engine) -> list[Result]:
    """Cells that build on each other, one of which is interrupted, in a session that may be lost but not wrong."""
    try:
        with engine.session(limits=SMALL) as session:
            session.run("x = 6")
            session.run("while True: pass", cpu_s=0.2, wall_s=2)
            said = session.run("print(x * 7)").stdout
    except EngineError as error:
        return [Result(name="session", fault=error)]
    return [Result(name="session", wrong="" if said == b"42\n" else repr(said))]


Stream = Callable[[Engine], list[Result]]


class Remains(msgspec.Struct, frozen=True, kw_only=True):
    """What this process holds, and what hangs on it."""

    descriptors: int
    threads: int
    processes: int
    belongings: tuple[str, ...]

    @classmethod
    def count(cls) -> Remains:
        """Now."""
        return cls(
            descriptors=len(os.listdir("/proc/self/fd")),
            threads=threading.active_count(),
            processes=len(find_descendants(os.getpid())),
            belongings=tuple(find_belongings(os.getpid())),
        )


@contextmanager
def counting() -> Iterator[None]:
    """Fails unless everything that hung on this process before does so afterwards, and nothing else; every process seen is gone."""
    gc.collect()  # what earlier tests left to be closed
    before = Remains.count()
    yield
    gc.collect()
    wait_until(lambda: Remains.count() == before, seconds=10)
    assert Remains.count() == before
