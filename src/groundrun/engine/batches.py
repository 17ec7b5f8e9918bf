"""Batches: many calls of one function of a program, in one process as long as that lives, each with an outcome of its own.

`Engine.call_many` makes them. Calls run in turn; arguments and values cross as plain data (`guest.transport`), so each call gets
copies of its own, while what a call changes in the program's globals is there for the next one. A call that raises, exits by `SystemExit`,
or is ended softly at its limit leaves the process as it is. One that takes the process with it (a signal, `os._exit`, no more memory, a
limit that it wouldn't heed) has the outcome of the process; with `OnCrash.RESTART` the calls after it are made in a fresh process, whose
globals are new, with `OnCrash.STOP` they are not run. A program whose source can't be executed gives every call that outcome, once.

Who keeps which limit: a call's, first a timer inside the process, softly; then the kernel, by ending the process (`engine.ledger` says what
is guaranteed). The batch's, the kernel: over all its processes. A call that the kernel ended before the host had ever looked at it may have
had too little time: it is made again, once, first in a fresh process.

Not promised: that a value is what the function gave. Calls of one program live in one process, and a program can write its own answers;
it can write nobody else's. `Batch.cost` is the kernel's account; `Call.cpu_s` is *in process*, and feedback only.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from groundrun.engine.classification import KernelFacts, classify_exception
from groundrun.engine.guest import batch as guest
from groundrun.engine.guest.decoding import DecodeError, decode
from groundrun.engine.guest.server import MESSAGE_LENGTH
from groundrun.engine.guest.transport import MAX_BYTES, EncodeError, encode, is_simple
from groundrun.engine.job import Job, as_job
from groundrun.engine.ledger import Entry, Ledger, Share
from groundrun.engine.pool import Run
from groundrun.errors import NoValue, UsageError
from groundrun.records import Cost, ExceptionInfo, Execution, Isolation, Limits, Outcome, Program

GUEST = "groundrun.engine.guest.batch"
CALLS_BYTES = 256 << 20
LOAD_WALL = 3  # times the processor time for executing the source
_GARBLED = ExceptionInfo(type="GarbledAnswer", message="the program's process wrote an answer that is none")
_LEFT = ExceptionInfo(type="SystemExit", message="the program's process ended with status 0 before it answered")


class OnCrash(StrEnum):
    """What becomes of the calls after one that took the process with it."""

    RESTART = "restart"
    STOP = "stop"


class CallLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that one call may take, by the processor's clock and the wall's; `load_s`: processor time for executing the source."""

    cpu_s: float = 1.0
    wall_s: float = 3.0
    load_s: float = 10.0

    def __post_init__(self) -> None:
        for name in ("cpu_s", "wall_s", "load_s"):
            if not 0 < getattr(self, name) <= 1e6:
                raise ValueError(f"CallLimits.{name} must be a number of seconds between 0 and 1e6, not {getattr(self, name)!r}")


class Arguments(msgspec.Struct, frozen=True):
    """What one call is given; where there are no keywords, a plain tuple says the same."""

    positional: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one call. `ok`: it returned plain data; other values raise `EncodeError` in its place.

    `data` is the value in the bytes of the transport. `exception` has no traceback. `stdout` is what the call wrote to `sys.stdout`, at
    most `Limits.output_bytes`, beyond which the outcome is `output_limit`, as it is for a value that is too large to cross. `exit_code`
    and `signal` are those of the process that the call took with it, if it did. `cpu_s` is *in process*.
    """

    outcome: Outcome
    data: bytes = b""
    exception: ExceptionInfo | None = None
    stdout: bytes = b""
    cpu_s: float = 0.0
    exit_code: int | None = None
    signal: int | None = None

    def value(self) -> Any:
        """The value, decoded anew each time. Raises NoValue when the call gave none, or bytes that are none."""
        if self.outcome is not Outcome.OK:
            raise NoValue(self.exception.type if self.exception else self.outcome.value)
        try:
            return decode(self.data)
        except DecodeError as error:
            raise NoValue(f"what it sent can't be read: {error}") from None


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What came of many calls, in their order. `restarts` counts the processes after the first.

    `cost` is the kernel's: of all processes together, executing the source included, the peak that of the hungriest. `stdout` and
    `stderr` are what was written outside of calls or past `sys.stdout`, at most `Limits.output_bytes` each. `isolation` is None when there
    was nothing to run.
    """

    calls: tuple[Call, ...]
    cost: Cost = Cost()
    restarts: int = 0
    isolation: Isolation | None = None
    stdout: bytes = b""
    stderr: bytes = b""


class Series:
    """A batch on its way: `step` gives the next process to run, `take` what came of it, until it has `ended`. Raises UsageError."""

    def __init__(
        self, program: Program, calls: Iterable[Arguments | tuple[Any, ...]], *, limits: Limits, call_limits: CallLimits, on_crash: OnCrash
    ) -> None:
        if program.entry_point is None:
            raise UsageError("the program has no entry_point: name the function that is to be called")
        self._job = as_job(Job(program=program, guest=GUEST))
        self._limits, self._on_crash = limits, on_crash
        self._call = Share(cpu_s=call_limits.cpu_s, wall_s=call_limits.wall_s)
        self._load = Share(cpu_s=call_limits.load_s, wall_s=LOAD_WALL * call_limits.load_s)
        self._left = Share(cpu_s=limits.cpu_s, wall_s=limits.wall_s)
        self._asked = _encode_calls(calls)
        self._calls: list[Call] = []
        self._executions: list[Execution] = []
        self._repeated = -1

    @property
    def ended(self) -> bool:
        """Whether every call has its outcome."""
        return len(self._calls) == len(self._asked)

    def step(self) -> Run:
        """The next process: for the calls that have no outcome yet."""
        self._before = len(self._calls)
        asked = self._asked[self._before :]
        head = guest.HEAD.pack(self._call.cpu_s, self._call.wall_s, min(self._limits.output_bytes, 0xFFFFFFFF), len(asked))
        limits = msgspec.structs.replace(self._limits, cpu_s=self._left.cpu_s, wall_s=self._left.wall_s)
        job = msgspec.structs.replace(self._job, limits=limits, payload=b"".join((head, *asked)))
        self._ledger = Ledger(count=len(asked), call=self._call, load=self._load, left=self._left)
        return Run((job,), watcher=self._ledger)

    def take(self, execution: Execution) -> None:
        """Note what came of the process of the last step."""
        self._executions.append(execution)
        self._left = Share(cpu_s=self._left.cpu_s - execution.cost.cpu_s, wall_s=self._left.wall_s - execution.cost.wall_s)
        for entry in self._ledger.read():
            call = _read_entry(entry)
            if call is None:
                break
            self._calls.append(call)
        if not self.ended:
            self._take_end(execution)

    def batch(self) -> Batch:
        """All of it, once it has ended."""
        executions, room = self._executions, self._limits.output_bytes
        return Batch(
            calls=tuple(self._calls),
            cost=_add_costs([each.cost for each in executions]),
            restarts=max(len(executions) - 1, 0),
            isolation=executions[-1].isolation if executions else None,
            stdout=b"".join(each.stdout for each in executions)[:room],
            stderr=b"".join(each.stderr for each in executions)[:room],
        )

    def _take_end(self, execution: Execution) -> None:
        """The process is gone and has calls left: one of them took it along, or its source couldn't be executed."""
        ledger, number = self._ledger, len(self._calls)
        outcome, missing = execution.outcome, len(self._asked) - number
        over = {Outcome.CPU_LIMIT: ledger.last_cpu, Outcome.WALL_LIMIT: ledger.last_wall}.get(outcome)
        spent = bool(over) or min(self._left.cpu_s, self._left.wall_s) <= 0
        if ledger.stage == 0:
            late = spent and number > 0
            self._calls += [Call(outcome=Outcome.NOT_RUN) if late else _read_end(execution)] * missing
            return
        if over is False and not spent and ledger.seen != ledger.stage and self._repeated != number:
            self._repeated = number
            return
        garbled = ledger.stage > number - self._before + 1
        self._calls.append(_read_end(execution, garbled=garbled))
        if spent or self._on_crash is OnCrash.STOP or outcome is Outcome.CANCELLED:
            self._calls += [Call(outcome=Outcome.NOT_RUN)] * (missing - 1)


def _encode_calls(calls: Iterable[Arguments | tuple[Any, ...]]) -> list[bytes]:
    asked: list[bytes] = []
    size = 0
    for number, call in enumerate(calls):
        positional, keywords = (call.positional, call.keywords) if isinstance(call, Arguments) else (call, None)
        if type(positional) is not tuple:
            raise UsageError(f"call {number} is a {type(call).__name__}: give a tuple of arguments, or Arguments(...)")
        if not keywords and is_simple(positional):
            message, flags = marshal.dumps(positional, 2), guest.SIMPLE
        else:
            try:
                message, flags = (encode((positional, keywords)), guest.KEYWORDS) if keywords else (encode(positional), 0)
            except EncodeError as error:
                raise UsageError(f"the arguments of call {number} can't cross: {error}") from None
        if len(message) > MAX_BYTES:
            raise UsageError(f"the arguments of call {number} take {len(message)} bytes, at most {MAX_BYTES} cross")
        asked.append(guest.LENGTH.pack(len(message) | flags) + message)
        size += len(message)
        if number >= guest.MAX_CALLS or size > CALLS_BYTES:
            raise UsageError(f"a batch holds at most {guest.MAX_CALLS} calls and {CALLS_BYTES} bytes of arguments: make several")
    return asked


def _read_entry(entry: Entry) -> Call | None:
    """One call's entry; None when it is none."""
    outcome, exception = _OUTCOMES[entry.status], None
    if entry.status in (guest.RAISED, guest.EXITED):
        exception = _read_exception(entry.value)
        if exception is None:
            return None
        if entry.status == guest.RAISED:
            outcome = classify_exception(exception, KernelFacts(wait_status=0))
    data = entry.value if entry.status == guest.VALUE else b""
    return Call(outcome=outcome, data=data, exception=exception, stdout=entry.output, cpu_s=entry.cpu_s)


# in the order of the statuses of guest.batch
_OUTCOMES = (Outcome.OK, Outcome.RAISED, Outcome.EXITED, Outcome.CPU_LIMIT, Outcome.WALL_LIMIT, Outcome.OUTPUT_LIMIT)


def _read_exception(data: bytes) -> ExceptionInfo | None:
    try:
        kind, message, line, errno = msgspec.json.decode(data, type=tuple[str, str, int | None, int | None])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return ExceptionInfo(type=kind[:200], message=message[:MESSAGE_LENGTH], line=line, errno=errno)


def _read_end(execution: Execution, *, garbled: bool = False) -> Call:
    """The call that ran when the process ended, or any when it never got so far."""
    outcome, exception = execution.outcome, execution.exception
    if outcome is Outcome.OK:
        outcome, exception = (Outcome.RAISED, _GARBLED) if garbled else (Outcome.EXITED, _LEFT)
    return Call(outcome=outcome, exception=exception, exit_code=execution.exit_code, signal=execution.signal)


def _add_costs(costs: list[Cost]) -> Cost:
    peaks = [cost.memory_peak_bytes for cost in costs if cost.memory_peak_bytes is not None]
    return Cost(
        cpu_s=sum(cost.cpu_s for cost in costs),
        wall_s=sum(cost.wall_s for cost in costs),
        cpu_source=costs[-1].cpu_source if costs else Cost().cpu_source,
        memory_peak_bytes=max(peaks, default=None),
    )
