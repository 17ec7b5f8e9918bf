"""What a native executable costs in instructions: the same number in every run, where processor time never is.

Two counters. *callgrind* (valgrind) runs the executable on a processor made of software, inside the jail: the instructions of user space
are counted exactly, about fifty times slower. It reads /proc/self/maps and can't do without, so its lanes show
programs a procfs: read-only, of the jail's own process namespace, nothing but processes, and of these only the reader's own. Only at rung
`namespaces` (or `none`), announced in `Isolation.missing`; every other lane stays without /proc. *hardware* reads the processor's counters
from outside, at full speed, where the host has them (see hardware.py).

Promised: `Cost.counts` names the counter. Not promised: that callgrind's number is true of a hostile program, which shares an address
space and a folder with its counter; that a program which depends on time, addresses or chance gives one number; instructions of child
processes that execute another program (callgrind follows fork, not execve).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import threading
from types import TracebackType

import msgspec

from groundrun.engine.bare import BareLane
from groundrun.engine.exchange import Exchange
from groundrun.engine.hardware import HardwareMeter, probe_hardware
from groundrun.engine.host import choose_rung, find_setup
from groundrun.engine.job import Job, as_job
from groundrun.engine.lane import gather
from groundrun.engine.warden import WardenLane
from groundrun.errors import CounterUnavailable, EngineError, HostRefused, UsageError
from groundrun.records import Counter, Counts, Execution, Limits, Program, Rung

EXECUTABLE = "program"
_LOG = ".callgrind.log"
_LAUNCH = f"""\
import os, sys
os.unlink("main.py")
with open({EXECUTABLE!r}, "rb") as file:
    data = file.read()
os.unlink(file.name)
made = os.open(file.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)  # no chmod: rung landlock refuses it
with open(made, "wb") as file:
    file.write(data)
os.execv(sys.argv[1], sys.argv[1:])
"""
_OPTIONS = ("--tool=callgrind", "--command-line-only=yes", "--callgrind-out-file=/dev/null", f"--log-file={_LOG}", "--vgdb=no")
_COLLECTED = re.compile(rb"^==\d+== Collected : (\d{1,19})$", re.MULTILINE)
_SHOWN = "no /proc: callgrind needs one, so programs see their own processes, mounts and cgroup names"
_VISIBLE = ("/usr/", "/bin/")  # what every jail shows of the host
_HEADER_BYTES = 64
_TRIAL = "/bin/true"


class NativeCounter:
    """Runs executables one at a time and counts their instructions. Made once, used often, closed at the end.

    counter: which one; None for `hardware` where the host has it, else `callgrind`.
    isolation: a rung by name; None for the best the host allows that the counter works on, never `none`.
    limits: for runs that don't bring their own; callgrind's slowness counts against them.
    Raises CounterUnavailable, saying what is missing, and HostRefused.
    """

    def __init__(
        self,
        *,
        counter: Counter | str | None = None,
        isolation: Rung | str | None = None,
        python: str | None = None,
        limits: Limits = Limits(cpu_s=120, wall_s=300),
    ) -> None:
        self._limits = limits
        self._python = python or sys.executable
        self._guard = threading.Lock()
        self._lane: WardenLane | BareLane | None = None
        self.counter = Counter(counter) if counter is not None else _choose_counter()
        self._valgrind = _find_valgrind() if self.counter is Counter.CALLGRIND else ""
        if self.counter not in (Counter.CALLGRIND, Counter.HARDWARE):
            raise UsageError(f"{self.counter.value} counts Python's events: for instructions there are 'callgrind' and 'hardware'")
        if self.counter is Counter.HARDWARE and (refused := probe_hardware()):
            raise CounterUnavailable(self.counter.value, refused, "run on a host that gives its counters to guests, or use callgrind")
        self._rung = choose_rung(Rung(isolation) if isolation else None, None, python=self._python, landlock_abi=None)
        if self.counter is Counter.CALLGRIND and self._rung is Rung.LANDLOCK:
            raise CounterUnavailable(self.counter.value, "rung landlock has no /proc of the program's own", "it needs rung 'namespaces'")
        if self.counter is Counter.HARDWARE and self._rung is Rung.NONE:
            raise CounterUnavailable(self.counter.value, "rung none has no zygote to count below", "ask for 'namespaces' or 'landlock'")

    def __enter__(self) -> NativeCounter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def count(
        self,
        executable: bytes,
        *,
        stdin: bytes = b"",
        argv: tuple[str, ...] = (),
        files: dict[str, bytes] | None = None,
        limits: Limits | None = None,
    ) -> Execution:
        """Run an executable of this machine's kind in the jail; `Cost.counts` has its instructions, None when it did not come to an end.

        The file lies in its working folder as `program`, beside `files`. Raises UsageError when it is no ELF file.
        """
        if not executable.startswith(b"\x7fELF") or len(executable) < _HEADER_BYTES:  # valgrind would give it to a shell and count that
            raise UsageError("what is to be counted is no ELF executable")
        command = [self._valgrind, *_OPTIONS] if self._valgrind else []
        job = as_job(
            Job(
                program=Program(_LAUNCH, files={**(files or {}), EXECUTABLE: executable}),
                stdin=stdin,
                argv=(*command, f"./{EXECUTABLE}", *argv),
                collect=(_LOG,) if self._valgrind else (),
            )
        )
        with self._guard:
            try:
                execution, events = self._run(job, limits or self._limits)
            except EngineError:
                self.close()
                raise
        counts = None if events is None else Counts(counter=self.counter, events=events)
        cost = msgspec.structs.replace(execution.cost, counts=counts)
        return msgspec.structs.replace(execution, cost=cost, files={})

    def close(self) -> None:
        """End everything that was started."""
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.close()

    def _run(self, job: Job, limits: Limits) -> tuple[Execution, int | None]:
        lane = self._lane = self._lane or self._make_lane()
        with contextlib.ExitStack() as open_now:
            try:
                meter = None
                if self.counter is Counter.HARDWARE and isinstance(lane, WardenLane):
                    meter = HardwareMeter(lane.pid)
                    open_now.callback(meter.close)
                exchange = Exchange(job)
                open_now.callback(exchange.close)
                lane.begin(job, limits, exchange, -1)
                execution = gather(job, limits, exchange, lane.finish(), lane)
                events = meter.read() if meter is not None else _read_log(execution.files.get(_LOG, b""))
            except OSError as error:
                raise EngineError(f"the host refused what counting a run needs: {error}") from error
            return execution, None if execution.outcome.is_limit or not events else events

    def _make_lane(self) -> WardenLane | BareLane:
        if self._rung is Rung.NONE:
            return BareLane(self._python)
        setup = find_setup(self._rung, self._python, None)
        if self.counter is Counter.CALLGRIND:
            isolation = msgspec.structs.replace(setup.isolation, missing=(*setup.isolation.missing, _SHOWN))
            setup = msgspec.structs.replace(setup, processes_shown=True, isolation=isolation)
        return WardenLane(setup)


def probe_native() -> dict[Counter, str]:
    """For each counter of instructions: why it can't be had here, empty when it can. callgrind is tried on a small executable."""
    return {Counter.CALLGRIND: _try_callgrind(), Counter.HARDWARE: probe_hardware()}


def _choose_counter() -> Counter:
    return Counter.CALLGRIND if probe_hardware() else Counter.HARDWARE


def _find_valgrind() -> str:
    path = shutil.which("valgrind")
    if path is None:
        raise CounterUnavailable(Counter.CALLGRIND.value, "valgrind is not installed", "apt install valgrind")
    if not os.path.realpath(path).startswith(_VISIBLE):
        raise CounterUnavailable(Counter.CALLGRIND.value, f"{path} lies outside /usr, which no jail shows", "install the system's package")
    return path


def _try_callgrind() -> str:
    try:
        with open(_TRIAL, "rb") as file, NativeCounter(counter=Counter.CALLGRIND) as counter:
            execution = counter.count(file.read())
    except (HostRefused, EngineError, OSError) as error:
        return str(error)
    return "" if execution.cost.counts else f"{_TRIAL} under callgrind ended as {execution.outcome.value}, uncounted"


def _read_log(log: bytes) -> int:
    """The instructions that callgrind collected, its forked children's with them."""
    return sum(int(number) for number in _COLLECTED.findall(log))
