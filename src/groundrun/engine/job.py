"""A job: one program with everything that one run of it needs, checked before it goes anywhere."""

from __future__ import annotations

from pathlib import PurePosixPath

import msgspec

from groundrun.engine.guest.program import NAME as MAIN
from groundrun.errors import UsageError
from groundrun.records import CostMode, Limits, Program

PROGRAM_GUEST = "groundrun.engine.guest.program"
COUNTING_GUEST = "groundrun.engine.guest.counting"
SESSION_GUEST = "groundrun.engine.guest.session"
GUESTS = (
    PROGRAM_GUEST,
    COUNTING_GUEST,
    "groundrun.engine.guest.server",
    SESSION_GUEST,
    "groundrun.engine.guest.batch",
    "groundrun.judging.guest.grader",
    "groundrun.judging.guest.files",
    "groundrun.judging.guest.differential",
    "groundrun.judging.guest.shared",
    "groundrun.judging.guest.standing",
    "groundrun.judging.guest.truth",
)
MAX_COLLECTED, MAX_COLLECTED_BYTES = 256, 262_144


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `collect` names files below the working folder that come back in `Execution.files`.

    `guest` is the module that carries the job out inside the jail; `payload` is handed to it and is opaque to the engine.
    `limits` None means the engine's own. `cost` "counts" also counts what the program executes: `Cost.counts`. `standing`: the guest module
    by which the second of a pair can serve the partners of equal jobs after this one, where the rung has that (`engine.standing`).
    `flavour` None means: chosen by what the program imports, or, where `scan` is set, by what that text does (for guests that run more
    than the program); a grader without either runs in `bare`.
    """

    program: Program
    stdin: bytes = b""
    argv: tuple[str, ...] = ()
    limits: Limits | None = None
    collect: tuple[str, ...] = ()
    guest: str = PROGRAM_GUEST
    payload: bytes = b""
    standing: str = ""
    cost: CostMode | str | None = None
    flavour: str | None = None
    scan: str | None = None


def as_job(what: Program | Job | str) -> Job:
    """The job that `what` stands for: a job itself, a program, or the source of a Python program. Raises UsageError on bad input."""
    if isinstance(what, str):
        what = Program(what)
    job = Job(program=what) if isinstance(what, Program) else what
    if job.program.language != "python":
        raise UsageError(f"language {job.program.language!r} is not supported yet: only 'python' is")
    if job.cost is not None:
        job = _counted(job)
    for path in (*job.program.files, *job.collect):
        _check_path(path)
    if job.guest in (PROGRAM_GUEST, COUNTING_GUEST):
        _check_main(job.program)
    if len(job.collect) > MAX_COLLECTED or sum(len(path.encode()) + 1 for path in job.collect) > MAX_COLLECTED_BYTES:
        raise UsageError(f"collect names {len(job.collect)} files, at most {MAX_COLLECTED} come back: collect fewer, or an archive")
    if not {job.guest, job.standing} <= {*GUESTS, ""}:
        raise UsageError(f"{job.guest!r} is no guest module: known are {', '.join(GUESTS)}")
    for argument in job.argv:
        if "\0" in argument:
            raise UsageError("argv holds a NUL character, which no program can receive")
    return job


def _counted(job: Job) -> Job:
    """The same with the guest that counts. Raises UsageError where nothing can count."""
    if job.cost not in set(CostMode):
        raise UsageError(f"cost {job.cost!r} is not known: only 'counts' is, or None")
    if job.guest not in (PROGRAM_GUEST, COUNTING_GUEST):
        raise UsageError(f"what {job.guest} runs can't be counted: cost='counts' is for whole programs")
    return msgspec.structs.replace(job, guest=COUNTING_GUEST, cost=CostMode(job.cost))


def _check_main(program: Program) -> None:
    """The program itself is written beside its files, under a name that no other file can have."""
    for path, content in program.files.items():
        if PurePosixPath(path) == PurePosixPath(MAIN) and content != program.source.encode("utf-8", "surrogatepass"):
            raise UsageError(f"a file is named {MAIN!r}, which is the name that the program itself gets: rename the file")


def _check_path(path: str) -> None:
    parts = PurePosixPath(path).parts
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{path!r} is not a path that can be written as UTF-8") from None
    if not parts or path.startswith("/") or ".." in parts or "\0" in path or "\n" in path or len(path) > 1024:
        raise UsageError(f"{path!r} is not a relative path below the working folder")
