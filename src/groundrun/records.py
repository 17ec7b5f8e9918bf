"""The words of the whole house: what a program, a problem, an execution and a verdict are.

Every room speaks these records and no others across its doors. They are frozen, typed `msgspec` structs, so they
compare by value, encode to JSON as they are, and can't be changed by whoever receives them.

Three families never mix. *The candidate failed* and *a limit was hit* are data, here. *We failed* is an exception
(`groundrun.errors.EngineError`) and reaches a score only as a mask: `Verdict.passed is None`.

What this file does not promise: that anything in an `Execution` marked *in process* is true. A program writes its own
exception, its own output and its own exit status; only the fields that the docstrings call *kernel* were seen from outside.
"""

from __future__ import annotations

import builtins
import math
from enum import StrEnum

import msgspec

MEBIBYTE = 1 << 20
BARE = "bare"  # the flavour of a zygote that imports nothing ahead


class Outcome(StrEnum):
    """How a program ended. The value serializes; `describe()` is a sentence."""

    OK = "ok"
    RAISED = "raised"
    EXITED = "exited"
    SIGNALLED = "signalled"
    CPU_LIMIT = "cpu_limit"
    WALL_LIMIT = "wall_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    PROCESS_LIMIT = "process_limit"
    DISK_LIMIT = "disk_limit"
    COMPILE_ERROR = "compile_error"
    COMPILE_LIMIT = "compile_limit"
    TOOLCHAIN_MISSING = "toolchain_missing"
    NOT_RUN = "not_run"
    CANCELLED = "cancelled"

    @property
    def is_limit(self) -> bool:
        """True when a limit ended the program, so that more of the resource might have changed the answer."""
        return self.value.endswith("_limit")

    def describe(self) -> str:
        """One sentence for people."""
        return _SENTENCES[self]


_SENTENCES = {
    Outcome.OK: "The program ended by itself with status 0.",
    Outcome.RAISED: "An exception reached the top of the program.",
    Outcome.EXITED: "The program chose to exit with a status other than 0.",
    Outcome.SIGNALLED: "A signal ended the program.",
    Outcome.CPU_LIMIT: "The program and its children used more processor time than allowed.",
    Outcome.WALL_LIMIT: "The program took longer than allowed by the clock on the wall.",
    Outcome.MEMORY_LIMIT: "The program asked for more memory than allowed.",
    Outcome.OUTPUT_LIMIT: "The program wrote more output than allowed.",
    Outcome.PROCESS_LIMIT: "The program asked for more processes or threads than allowed.",
    Outcome.DISK_LIMIT: "The program wrote more to its disk than allowed.",
    Outcome.COMPILE_ERROR: "The source could not be compiled.",
    Outcome.COMPILE_LIMIT: "Compiling the source went over a limit.",
    Outcome.TOOLCHAIN_MISSING: "The language's toolchain is not on this machine.",
    Outcome.NOT_RUN: "The program was never started.",
    Outcome.CANCELLED: "The run was cancelled before the program ended.",
}


class Rung(StrEnum):
    """How strongly a program was isolated, strongest first. `none` is used only when it is asked for by name."""

    NAMESPACES = "namespaces"
    LANDLOCK = "landlock"
    NONE = "none"


class MemoryGuard(StrEnum):
    """Who bounded memory: a cgroup bounds the sum of the slot; an address-space limit bounds each process alone."""

    CGROUP2 = "cgroup2"
    CGROUP1 = "cgroup1"
    RLIMIT_AS = "rlimit_as"
    NOTHING = "nothing"


class CpuSource(StrEnum):
    """Who measured processor time. A cgroup counts the whole slot; wait4 misses children that nobody waited for."""

    CGROUP = "cgroup"
    WAIT4 = "wait4"
    NOTHING = "nothing"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one run may use. Every limit is for the whole slot, children included, as far as the rung can hold it.

    `processes` counts processes and threads together. None leaves the choice to the rung: 64 at `namespaces` where a
    cgroup bounds and measures all of them, 1 elsewhere: fork is refused, because what can't be measured can't be limited, and up to 256
    threads are allowed (uncounted where `Isolation.missing` says so).
    `output_bytes` is per stream; past it the run counts as `output_limit` and the record keeps the head and the tail.
    `memory_bytes` is what the program may use on top of the interpreter.
    """

    cpu_s: float = 10.0
    wall_s: float = 30.0
    memory_bytes: int = 1024 * MEBIBYTE
    output_bytes: int = MEBIBYTE
    processes: int | None = None
    disk_bytes: int = 64 * MEBIBYTE

    def __post_init__(self) -> None:
        for name in ("cpu_s", "wall_s", "memory_bytes", "output_bytes", "disk_bytes"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"Limits.{name} must be a number greater than 0, not {getattr(self, name)!r}")
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"Limits.processes must be at least 1, not {self.processes!r}")


class Program(msgspec.Struct, frozen=True):
    """A source text that can be run. `files` lie beside it in its working folder: relative path to content."""

    source: str
    language: str = "python"
    files: dict[str, bytes] = {}
    entry_point: str | None = None


class ExceptionInfo(msgspec.Struct, frozen=True):
    """The exception that ended a program, as the program's own process reported it (*in process*).

    `type` is the qualified name (`ValueError`, `decimal.InvalidOperation`); `traceback` is cut to the user's frames;
    `line` is the line of the user's source where it was raised, if any; `errno` is set for OSError.
    """

    type: str
    message: str
    traceback: str = ""
    line: int | None = None
    errno: int | None = None

    @property
    def known_type(self) -> str:
        """The type if it is a builtin one, else "an exception": other names are the program's own words, and could tell what it read."""
        kind = getattr(builtins, self.type, None)
        return self.type if isinstance(kind, type) and issubclass(kind, BaseException) else "an exception"


class CostMode(StrEnum):
    """What to measure beyond what always is."""

    COUNTS = "counts"


class Counter(StrEnum):
    """What counted: the first two Python's events, the last two a native program's instructions. Only `hardware` counts from outside."""

    MONITORING = "sys.monitoring"
    SETTRACE = "settrace"
    CALLGRIND = "callgrind"
    HARDWARE = "hardware"


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """A cost that is the same number in every run of a deterministic program, however busy the host.

    `events` are jumps, branches, calls and function starts of a Python program together (`engine/guest/counting.py` defines
    them), or the instructions of a native one. Numbers can be compared only where `counter` and `python`, the interpreter's minor
    version, are the same.
    All but `hardware` is *in process*: the program can forge it, so it is never part of a score or a reward.
    """

    counter: Counter
    events: int
    python: str = ""
    jumps: int | None = None
    branches: int | None = None
    calls: int | None = None
    starts: int | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a run used. `cpu_s`, `wall_s` and `memory_peak_bytes` are *kernel* numbers, measured from outside the program.

    `cpu_source` says how much of the slot `cpu_s` covers. `memory_peak_bytes` is None where only a cgroup could have known
    the sum. `counts` is there when it was asked for (`cost="counts"`) and the program came to an end of its own: *in process* and
    forgeable, never part of a score.
    """

    cpu_s: float = 0.0
    wall_s: float = 0.0
    cpu_source: CpuSource = CpuSource.NOTHING
    memory_peak_bytes: int | None = None
    counts: Counts | None = None


class Isolation(msgspec.Struct, frozen=True, kw_only=True):
    """Which guards were in force for one run. `missing` names, in sentences, what the rung could not give on this host."""

    rung: Rung
    memory_guard: MemoryGuard
    cpu_guard: CpuSource
    landlock_abi: int = 0
    missing: tuple[str, ...] = ()


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """What came back from one run.

    `outcome`, `exit_code`, `signal` and `cost` are *kernel* facts, except that telling `raised` from `exited`, and a caught
    limit from an ordinary error, uses what the program's process reported. `stdout` and `stderr` are raw bytes, at most
    `Limits.output_bytes` each, head and tail when `truncated`. `files` holds what was asked for by `collect`.
    `trace` is opaque here. `report` is what a guest module handed back (judging uses it); empty for plain programs. `flavour` names
    what had been imported ahead of it: in `bare` a program that imports numpy did so itself, and paid for it.
    """

    outcome: Outcome
    isolation: Isolation
    cost: Cost = Cost()
    exit_code: int | None = None
    signal: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    exception: ExceptionInfo | None = None
    truncated: bool = False
    files: dict[str, bytes] = {}
    trace: bytes | None = None
    report: bytes = b""
    flavour: str = BARE

    @property
    def text(self) -> str:
        """stdout as text; bytes that are not UTF-8 become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")


class CodeTest(msgspec.Struct, frozen=True, tag="code"):
    """Test code that names the candidate: HumanEval's `check`, MBPP's asserts. Passing is reaching its end.

    `source` is executed with the entry point (a proxy in protected mode) in its globals; if `call` is set, `call(entry_point)`
    follows.
    """

    source: str
    call: str | None = None
    name: str = "test"


class CallTest(msgspec.Struct, frozen=True, tag="call"):
    """One call and what it must return. Both sides are Python expressions, evaluated only in the grader.

    `arguments` is an expression giving a tuple; `keywords` one giving a dict; `oracle`, if set, is source that defines
    `oracle(arguments, got, expected) -> bool`, given a pristine copy of the arguments.
    """

    arguments: str
    expected: str = "None"
    keywords: str = "{}"
    oracle: str | None = None
    name: str = "call"


class StdioTest(msgspec.Struct, frozen=True, tag="stdio"):
    """Text in, text out. `comparison` is one of exact, token, float, checker; `checker` is then a Python program.

    A checker finds `input.txt`, `output.txt` and `expected.txt` beside it, and the problem's own files, of which none can take those names.
    """

    stdin: str
    expected: str
    comparison: str = "token"
    tolerance: float = 1e-6
    checker: str | None = None
    name: str = "stdio"


class DifferentialTest(msgspec.Struct, frozen=True, tag="differential"):
    """Many calls, each of which must give what the problem's reference gives for the same arguments.

    `inputs` is a Python expression giving a list of argument tuples, with `inf` and `nan` as names; it and the reference are evaluated
    once, in a jail of their own.
    Two values agree when they are `==`, or, where `tolerance` is above 0 or the expected value is a float or a flat sequence of
    floats (then 1e-6), when they are of one type and shape and close: |got - expected| <= tolerance + 1e-7 * |expected|.
    `oracle`, if set, is source that defines `oracle(arguments, got, expected) -> bool` and may call `agree(got, expected)`, the rule above;
    the arguments are a pristine copy. An input may take max(`least_s`, `factor` x the reference's time), all together at most `most_s`
    and a second, and no more than the problem's `Limits.cpu_s`: on the processor's clock, or with `compat="evalplus"` on the wall's,
    where the first failure ends the test.
    """

    inputs: str
    tolerance: float = 0.0
    oracle: str | None = None
    least_s: float = 4.0
    factor: float = 4.0
    most_s: float = 60.0
    compat: str = ""
    name: str = "differential"


class FileTest(msgspec.Struct, frozen=True, tag="file"):
    """A test file as people write them: `style` is `unittest` or `pytest`. It imports the candidate as `module`.

    Each of its test functions, methods and parameter sets is a test of its own in `TestVerdict.inputs`; all must pass. The style
    `pytest` needs that package in the interpreter that programs run under.
    """

    source: str
    style: str = "unittest"
    module: str = "solution"
    name: str = "tests"


Test = CodeTest | CallTest | StdioTest | DifferentialTest | FileTest


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something to solve. `visible` tests may be shown to a model; `hidden` ones, and evidence about them, never.

    `reference` is a whole program known to be right; protection is decided by running it. `prompt` is what the model saw.
    """

    task_id: str
    prompt: str
    entry_point: str | None = None
    reference: str | None = None
    visible: tuple[Test, ...] = ()
    hidden: tuple[Test, ...] = ()
    files: dict[str, bytes] = {}
    limits: Limits | None = None
    language: str = "python"


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What a model answered: `text` is exactly what came, `solution` the whole program made of it (None: not yet extracted)."""

    task_id: str
    text: str
    solution: str | None = None
    sample: int = 0
    model: str = ""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Why a test failed. When `hidden` is true it could show an expectation: `redacted()` before a model sees it."""

    test: str = ""
    message: str = ""
    exception: ExceptionInfo | None = None
    stdout: str = ""
    hidden: bool = True

    def redacted(self) -> Evidence:
        """The same without anything that could show a hidden expectation: name and text of the failure go."""
        if not self.hidden:
            return self
        kind = ExceptionInfo(type=self.exception.known_type, message="") if self.exception else None
        return Evidence(message="a hidden test failed", exception=kind)


class TestVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One test of a verdict. `passed` is None when it was not reached.

    `inputs` says how each input of a differential test, or each function of a test file, did: `+` passed, `-` failed, `.` not reached,
    `x` left out because the reference's own result is too large to cross.
    """

    __test__ = False  # the name is the field's word, not a pytest class

    name: str
    passed: bool | None
    hidden: bool = True
    inputs: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a completion solves a problem. `passed` and `score` are None when *we* failed: masked, never 0.

    `protected` says that the expected answers stayed out of the candidate's process. `outcome` is how the candidate ended.
    """

    task_id: str
    passed: bool | None
    protected: bool
    reason: str
    score: float | None = None
    sample: int = 0
    outcome: Outcome = Outcome.NOT_RUN
    tests: tuple[TestVerdict, ...] = ()
    evidence: Evidence | None = None
    cost: Cost = Cost()
    isolation: Isolation | None = None
    flaky: bool = False
