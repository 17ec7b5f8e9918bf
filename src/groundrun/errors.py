"""The exception tree.

    GroundrunError
    ├── UsageError                 what was asked can't be done as asked (exit 2)
    │   ├── BadInput               a file or line that can't be read as what it should be
    │   ├── DatasetMissing         a benchmark's data is not on this machine
    │   ├── ExtraMissing           an optional library is not installed
    │   ├── ResumeRefused          a run folder was made with another dataset, limits or judge
    │   ├── RunLocked              another process is writing the run folder
    │   ├── NoValue                a call of a batch gave no value, or none that can be read
    │   ├── EngineClosed           the engine was closed, or belongs to another process
    │   ├── SessionEnded           no cell can run in a session any more
    │   ├── BranchRefused          a session can't be forked as it is now
    │   └── FileRefused            a file of a session can't be read or written
    ├── HostRefused                this machine can't give what was asked (exit 2)
    │   ├── NativeMissing          the compiled part is not there
    │   ├── CounterUnavailable     nothing here counts the instructions of a native program
    │   ├── RungUnavailable        the kernel or a container refuses the isolation asked for
    │   ├── RuntimeUnreachable     the interpreter can't be run, or not from inside the jail
    │   └── FlavourUnavailable     the modules of a flavour can't be imported ahead of the programs
    └── EngineError                our fault: retried, masked from scores, reported (exit 3)
        ├── HostExhausted          the host is out of descriptors, processes or memory that a run needs
        │   └── DiskFull           its disk holds less than a program was promised
        ├── WorkerDied             a jail, zygote or warden ended without being told to
        ├── ProtocolError          two parts of the engine disagree about what was said
        └── StorageFailed          a run folder can't be written (disk full, read-only)

Faults of a candidate are never here: they are `Outcome`s. Every constructor builds one sentence that says what
happened, with which values, and what to do next.
"""

from __future__ import annotations


class GroundrunError(Exception):
    """Base of everything this library raises on purpose."""

    exit_code = 1


class UsageError(GroundrunError):
    """What was asked can't be done as asked."""

    exit_code = 2


class BadInput(UsageError):
    """A file, or a line of it, can't be read as what it should be. `line` counts from 1."""

    def __init__(self, path: str, problem: str, *, line: int | None = None, hint: str = "") -> None:
        self.path, self.problem, self.line, self.hint = path, problem, line, hint
        where = f"{path}:{line}" if line is not None else path
        super().__init__(f"{where}: {problem}" + (f" ({hint})" if hint else ""))


class DatasetMissing(UsageError):
    """A benchmark's data is not on this machine."""

    def __init__(self, name: str, address: str, looked_in: tuple[str, ...]) -> None:
        where = f"is not in {', '.join(looked_in)}" if looked_in else "was not named, and GROUNDRUN_DATA is not set"
        super().__init__(f"the data of {name} {where}: download {address} and name it with --data or GROUNDRUN_DATA")


class ExtraMissing(UsageError):
    """An optional library is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed: pip install 'groundrun[{extra}]'")


class ResumeRefused(UsageError):
    """A run folder holds results that the present settings would not have made."""

    def __init__(self, folder: str, field: str, stored: object, now: object) -> None:
        super().__init__(f"{folder} was made with {field} {stored!r}, now it is {now!r}: use the same settings or another --out")


class RunLocked(UsageError):
    """Another process is writing the run folder."""

    def __init__(self, folder: str, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(f"{folder} is being written by {who}: wait for it, or use another --out")


class EngineClosed(UsageError):
    """The engine was closed."""

    def __init__(self) -> None:
        super().__init__("this Engine is closed: make a new one")


class SessionEnded(UsageError):
    """No cell can run in a session any more."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"this session has ended: {why}; make a new one, or branch(isolated=True), which runs its cells again")


class BranchRefused(UsageError):
    """A session can't be forked as it is now."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"this session can't be branched: {why}; branch(isolated=True) runs its cells again in a new slot instead")


class FileRefused(UsageError):
    """A file of a session can't be read or written."""

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"{path!r} can't be had in this session: {why}")


class NoValue(UsageError):
    """A call of a batch gave no value, or none that can be read: look at its `outcome` first."""

    def __init__(self, why: str) -> None:
        super().__init__(f"this call gave no value ({why}): look at its outcome and exception")


class HostRefused(GroundrunError):
    """This machine can't give what was asked. `code` names the cause in a word that stays; see engine/refusals.py."""

    exit_code = 2
    code = "unknown"


class NativeMissing(HostRefused):
    """The compiled part (warden and guest library) is not there, or can't be loaded: `why`."""

    def __init__(self, path: str, why: str = "") -> None:
        self.code = "native-unusable" if why else "native-missing"
        problem, remedy = "is missing", "install a C compiler (apt install gcc libc6-dev) and reinstall groundrun"
        if why:
            problem, remedy = f"can't be loaded: {why}", "install groundrun for this machine, on a file system that isn't mounted noexec"
        super().__init__(
            f"the native part {problem} ({path}): {remedy}, or ask for no isolation by name (isolation='none', --isolation none)"
        )


class CounterUnavailable(HostRefused):
    """Nothing on this machine counts the instructions of a native program as asked."""

    def __init__(self, counter: str, missing: str, hint: str) -> None:
        super().__init__(f"instructions can't be counted by {counter} here: {missing}; {hint}")


class RungUnavailable(HostRefused):
    """The kernel or a container refuses the isolation asked for: `refused` is the cause, `hint` the remedy."""

    def __init__(self, rung: str, refused: str, hint: str, code: str = "unknown") -> None:
        self.rung, self.refused, self.hint, self.code = rung, refused, hint, code
        super().__init__(f"isolation '{rung}' can't be had here: {refused}; {hint}")


class RuntimeUnreachable(HostRefused):
    """The interpreter can't be run, or can't be reached from inside the jail."""

    code = "runtime-unreachable"

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        super().__init__(f"{path} can't be used to run programs: {why}")


class FlavourUnavailable(HostRefused):
    """The modules of a flavour can't be imported ahead of the programs that need them."""

    def __init__(self, flavour: str, why: str) -> None:
        self.flavour, self.why = flavour, why
        super().__init__(f"flavour {flavour!r} can't be used: {why}; mend the interpreter's packages, or leave the flavour out")


class EngineError(GroundrunError):
    """Our fault, never the candidate's: retried, then masked from every score and reported."""

    exit_code = 3


class HostExhausted(EngineError):
    """The host refused something that every run needs: descriptors, processes, memory."""

    def __init__(self, refused: str) -> None:
        super().__init__(f"the host refused what a run needs: {refused}; free some, raise the limit, or use fewer workers")


class DiskFull(HostExhausted):
    """A program met a full disk although it wrote less than it may: the disk is the host's."""

    def __init__(self, folder: str, free: int, promised: int) -> None:
        hint = "free space, set TMPDIR, or lower disk_bytes"
        EngineError.__init__(self, f"{folder} has {free} bytes free and a program may write {promised}: {hint}")


class WorkerDied(EngineError):
    """A jail, zygote or warden ended without being told to."""

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(f"the engine's {what} ended unexpectedly" + (f": {detail}" if detail else ""))


class ProtocolError(EngineError):
    """Two parts of the engine disagree about what was said."""


class StorageFailed(EngineError):
    """A run folder can't be written."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"can't write {path}: {why}; nothing recorded so far is lost: free space and run the same command again")
