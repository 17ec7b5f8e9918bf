"""The guest module of a batch: many calls of one function, one after the other, in one process.

It lives in the candidate's own process, so nothing here guards anything: a candidate that writes into the ledger answers for nobody but
itself, and the host believes no length and no number in it. The host watches the ledger to renew the kernel's limits; the limits kept
here end a call softly, so that the next one finds the same process.

Payload: `HEAD` (processor and wall seconds of a call, bytes of its output, number of calls), then for each call u32 length and flags, and
that many bytes of `transport`: a tuple of arguments, or with `KEYWORDS` a pair of that and a dict; or with `SIMPLE` of marshal, which the
host alone may use: a reader of it has to trust the writer.

Ledger, a region shared with the host which outlives this process: `STATE` (stage, bytes used), then the entries. Stage 0: the source is
being executed; n: n - 1 calls have their entries, and the next one runs or all are made. Entry: `ENTRY` (number, status, bytes of the
value, bytes of the output, processor seconds), the value, the output. The value of `RAISED` and `EXITED` is JSON: `[type, message, line,
errno]`. An entry is complete before the stage counts it, and no system call is needed, so a crash keeps what came before it.
"""

from __future__ import annotations

import io
import json
import marshal
import mmap
import os
import signal
import sys
import time
from struct import Struct
from typing import Any, NoReturn

from groundrun.engine.guest.decoding import decode
from groundrun.engine.guest.job import GuestJob
from groundrun.engine.guest.server import FILE, MESSAGE_LENGTH, NAME, make_module
from groundrun.engine.guest.transport import EncodeError, TooLarge, encode

HEAD, LENGTH, STATE, ENTRY = Struct("<ddII"), Struct("<I"), Struct("<QQ"), Struct("<IIIId")
KEYWORDS, SIMPLE = 1 << 31, 1 << 30
LEDGER_BYTES = 64 << 20
MAX_CALLS = 1_000_000  # their empty entries take less than half of the ledger
WINDOW_BYTES = 1 << 20  # of the ledger are mapped at a time: they count against a limit on address space
VALUE, RAISED, EXITED, CPU_LIMIT, WALL_LIMIT, TOO_LONG = range(6)
AGAIN = 0.2  # of a limit, until a call that swallowed its end is told again


class Expired(BaseException):
    """What a call sees when its time is over."""


def main(job: GuestJob) -> None:
    """Execute the source, call the entry point once for each call in the payload, end with status 0."""
    cpu_s, wall_s, output_bytes, count = HEAD.unpack_from(job.payload)
    ledger = _Ledger(job.channel, count)
    output = _Output(output_bytes)
    module = make_module(job, [NAME])
    sys.stdout = output.stream
    try:
        exec(compile(job.source, FILE, "exec", dont_inherit=True), module.__dict__)
    finally:
        output.spill()
    name = job.entry_point or ""
    if name not in module.__dict__:
        raise NameError(f"the program defines no {name!r}")
    _Calls(module.__dict__[name], job.payload, ledger, _Clock(cpu_s, wall_s), output).make(count)


class _Calls:
    """The calls, on their way through the payload."""

    def __init__(self, function: Any, payload: bytes, ledger: _Ledger, clock: _Clock, output: _Output) -> None:
        self._function, self._payload, self._at = function, payload, HEAD.size
        self._ledger, self._clock, self._output = ledger, clock, output
        self._forked = False
        os.register_at_fork(after_in_child=self._fork)

    def make(self, count: int) -> NoReturn:
        """All of them, then the end: threads and exit handlers of the candidate have nothing left to say."""
        self._ledger.begin()
        for _ in range(count):
            status, value, cpu_s = self._call()
            output = self._output.take()
            if self._output.lost:
                status, value, self._output.lost = TOO_LONG, b"", False
            self._ledger.enter(status, value, output, cpu_s)
        os._exit(0)

    def _call(self) -> tuple[int, bytes, float]:
        clock = self._clock
        status, value = RAISED, _UNKNOWN
        try:
            clock.start()
            try:
                arguments, keywords = self._next()
                value = encode(self._function(*arguments, **keywords))
                status = VALUE
            except TooLarge:
                status, value = TOO_LONG, b""
            except BaseException as error:
                if clock.fired is None:
                    status, value = (EXITED if isinstance(error, SystemExit) else RAISED), _describe(error)
            cpu_s = clock.stop()
        except BaseException:  # of a value or an exception that is hostile, or of the clock while one was described
            cpu_s = clock.stop()
        if self._forked:
            os._exit(status != VALUE)
        if clock.fired is not None:
            status, value = clock.fired, b""
        return status, value, cpu_s

    def _next(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        length: int = LENGTH.unpack_from(self._payload, self._at)[0]
        start = self._at + LENGTH.size
        self._at = start + (length & ~(KEYWORDS | SIMPLE))
        message = self._payload[start : self._at]
        if length & SIMPLE:
            return marshal.loads(message), {}
        value: Any = decode(message)
        return value if length & KEYWORDS else (value, {})

    def _fork(self) -> None:
        self._forked = True


class _Clock:
    """Ends a call that takes too long, by an exception.

    One timer on the wall's clock, because the kernel counts a process's time in whole ticks while a timer on its processor's clock is set.
    It isn't set for each call: it runs out when a limit could first have been reached, and is then set for what is left. A program that
    takes the timer for itself has it until the next call after that; the kernel's limits stand behind it.
    """

    def __init__(self, cpu_s: float, wall_s: float) -> None:
        self._cpu_s, self._wall_s = cpu_s, wall_s
        self._cpu_began = self._wall_began = self._due = 0.0
        self._inside = False
        self.fired: int | None = None

    def start(self) -> None:
        """A call begins."""
        self.fired = None
        self._wall_began, self._cpu_began = time.monotonic(), time.thread_time()
        if self._wall_began > self._due:
            signal.signal(signal.SIGALRM, self._look)
            self._set(min(self._cpu_s, self._wall_s))
        self._inside = True

    def stop(self) -> float:
        """The call is over; its processor time."""
        self._inside = False
        return time.thread_time() - self._cpu_began

    def _look(self, number: int, frame: object) -> None:
        if not self._inside:
            return
        cpu_s = self._cpu_began + self._cpu_s - time.thread_time()
        wall_s = self._wall_began + self._wall_s - time.monotonic()
        if cpu_s > 0 and wall_s > 0:
            self._set(min(cpu_s, wall_s))
            return
        self.fired = CPU_LIMIT if cpu_s <= 0 else WALL_LIMIT
        self._set(AGAIN * min(self._cpu_s, self._wall_s))
        raise Expired

    def _set(self, seconds: float) -> None:
        seconds = max(seconds, 0.001)
        self._due = time.monotonic() + seconds
        signal.setitimer(signal.ITIMER_REAL, seconds)


class _Ledger:
    """Writes entries; see the module's docstring. Mapped before the program starts."""

    def __init__(self, descriptor: int, count: int) -> None:
        self._descriptor = descriptor
        self._state = mmap.mmap(descriptor, mmap.PAGESIZE)
        self._window = mmap.mmap(descriptor, WINDOW_BYTES)
        self._base, self._end = 0, WINDOW_BYTES
        self._used, self._number = STATE.size, 0
        self._count = count

    def begin(self) -> None:
        """The source has been executed, and the first call runs."""
        STATE.pack_into(self._state, 0, 1, self._used)

    def enter(self, status: int, value: bytes, output: bytes, cpu_s: float) -> None:
        """Write the entry of the call that ran; the next one runs. Room is kept for the empty entries of those that follow."""
        number, size = self._number, ENTRY.size + len(value) + len(output)
        if self._used + size > LEDGER_BYTES - ENTRY.size * (self._count - number):
            status, value, output, size = TOO_LONG, b"", b"", ENTRY.size
        if self._used + size > self._end:
            self._turn(size)
        at = self._used - self._base
        self._window[at : at + size] = ENTRY.pack(number, status, len(value), len(output), cpu_s) + value + output
        self._used += size
        self._number = number + 1
        STATE.pack_into(self._state, 0, number + 2, self._used)

    def _turn(self, size: int) -> None:
        self._window.close()
        self._base = self._used - self._used % mmap.PAGESIZE
        self._end = min(LEDGER_BYTES, max(self._base + WINDOW_BYTES, self._used + size))
        self._window = mmap.mmap(self._descriptor, self._end - self._base, offset=self._base)


class _Output(io.RawIOBase):
    """What is written to `sys.stdout`, up to a limit for each call; what is lost is known."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._data = bytearray()
        self.lost = False
        self.stream = io.TextIOWrapper(io.BufferedWriter(self), encoding="utf-8", errors="surrogatepass", newline="\n")

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Keep what there is room for."""
        room = self._limit - len(self._data)
        self._data += data[:room] if room < len(data) else data
        self.lost = self.lost or room < len(data)
        return len(data)

    def take(self) -> bytes:
        """What was written since the last time; nothing when the program closed the stream."""
        try:
            self.stream.flush()
        except ValueError:
            return b""
        if not self._data:
            return b""
        data = bytes(self._data)
        self._data.clear()
        return data

    def spill(self) -> None:
        """Pass on what was written, to descriptor 1."""
        view, self.lost = memoryview(self.take()), False
        while view:
            view = view[os.write(1, view) :]


def _describe(error: BaseException) -> bytes:
    kind, line, step = type(error), None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == FILE:
            line = step.tb_lineno
        step = step.tb_next
    try:
        message = str(error)
    except Exception as trouble:
        message = f"(its text raised {type(trouble).__name__})"
    plain = kind.__module__ in ("builtins", NAME, EncodeError.__module__)
    name = kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"
    errno = getattr(error, "errno", None)
    texts = [text[:MESSAGE_LENGTH].encode("utf-8", "replace").decode() for text in (name, message)]
    return json.dumps([*texts, line, errno if type(errno) is int else None]).encode()


_UNKNOWN = json.dumps(["Exception", "(it can't be described)", None, None]).encode()
