"""The guest module of a counted run: an ordinary run whose jumps, branches, calls and function starts are counted exactly, not sampled.

An event is what `sys.monitoring` (Python 3.12 and later) defines: a *jump* is an unconditional jump inside a function, such as a loop's
way back; a *branch* is a conditional jump or the step of a `for` loop, taken or not; a *call* is one that a bytecode makes, of anything
callable; a *start* is the first step of a Python function, generator, class body or module. Where `sys.monitoring` is missing, the same
classes of bytecode are counted as they are executed, by tracing opcodes. (3.12's own CALL leaves out f(*args) where f is a Python
function; tracing doesn't.)

Counted is all Python code that runs between the program's first line and its end (threads that it waits for and exit handlers
included), in libraries too, but for the parts of the interpreter whose path depends on time or on what ran before: the import system and
the waiting inside `threading`. Modules of the standard library that the program names in an import statement are imported before the
count starts.

Not promised: work in C (sorting, regular expressions, numpy), which is one call; child processes; a program that ends by `os._exit` or
a signal, which has no count. The program's own process does the counting and can write what it likes.
"""

from __future__ import annotations

import atexit
import contextlib
import dis
import os
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from groundrun.engine.guest import program
from groundrun.engine.guest.job import GuestJob

MAGIC = b"GRC1"
KINDS = ("jumps", "branches", "calls", "starts")
HERE = os.path.dirname(os.path.abspath(__file__))
_JUMP, _BRANCH, _CALL, _START = range(4)
_JUMPS = ("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_ABSOLUTE")
_CALLS = ("CALL", "CALL_FUNCTION_EX", "CALL_FUNCTION", "CALL_FUNCTION_KW", "CALL_METHOD", "LOAD_SUPER_ATTR")
_BRANCHES = ("POP_JUMP_", "JUMP_IF_", "FOR_ITER")
_UNCOUNTED = (f"{HERE}{os.sep}", "<frozen importlib", "<frozen zipimport", threading.__file__)
_NOT_FOR_FUN = ("antigravity", "this", "idlelib", "turtledemo")  # importing them shows something
_MEETING, _COUNTING = 3, 4  # ids of sys.monitoring that it gives no name to


def main(job: GuestJob) -> None:
    """Run the job's source as the main program, counted; what it raises passes through. The payload `settrace` asks for that counter."""
    counter: _Monitor | _Tracer = _Tracer() if job.payload == b"settrace" or not hasattr(sys, "monitoring") else _Monitor()
    owner = os.getpid()

    def stop() -> None:
        if os.getpid() == owner and (counts := counter.stop()) is not None:
            said = [counter.name, f"{sys.version_info[0]}.{sys.version_info[1]}", *map(str, counts)]
            job.report(MAGIC + " ".join(said).encode())

    code, module = program.prepare(job)
    _import_ahead(code, job.files)
    atexit.register(stop)  # handlers run last in, first out: after the program's own, and after its threads
    counter.start()
    exec(code, module.__dict__)


class _Monitor:
    """Counts by `sys.monitoring`.

    One tool meets each code object at its first start, and has the other one count in it from then on.
    """

    name = "sys.monitoring"

    def __init__(self) -> None:
        self._monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
        # A callable in C that takes anything and counts its calls: nothing of the program's is looked at or kept alive.
        self._counters = [lru_cache(maxsize=0)("".format) for _ in KINDS]
        self._first_starts = 0

    def start(self) -> None:
        monitoring, events = self._monitoring, self._monitoring.events
        for tool in (_MEETING, _COUNTING):
            monitoring.use_tool_id(tool, "groundrun")
        kinds = {events.JUMP: _JUMP, events.BRANCH: _BRANCH, events.CALL: _CALL, events.PY_START: _START}
        if hasattr(events, "BRANCH_LEFT"):
            kinds |= {events.BRANCH_LEFT: _BRANCH, events.BRANCH_RIGHT: _BRANCH}
            del kinds[events.BRANCH]
        for event, kind in kinds.items():
            monitoring.register_callback(_COUNTING, event, self._counters[kind])
        wanted = sum(kinds)

        def meet(code: types.CodeType, offset: int) -> Any:
            if not code.co_filename.startswith(_UNCOUNTED):
                self._first_starts += 1
                monitoring.set_local_events(_COUNTING, code, wanted)
            return monitoring.DISABLE

        monitoring.register_callback(_MEETING, events.PY_START, meet)
        monitoring.set_events(_MEETING, events.PY_START)

    def stop(self) -> list[int] | None:
        """The counts; None when the program took the tools away."""
        kept = self._monitoring.get_tool(_MEETING) == self._monitoring.get_tool(_COUNTING) == "groundrun"
        self._monitoring.set_events(_MEETING, 0)
        counts = [counter.cache_info().misses for counter in self._counters]
        counts[_START] += self._first_starts
        return counts if kept else None


class _Tracer:
    """Counts by `sys.settrace`, opcode by opcode."""

    name = "settrace"

    def __init__(self) -> None:
        self._counts = [0] * (len(KINDS) + 1)  # the last one takes the opcodes that don't count
        self._known: dict[int, tuple[types.CodeType, Callable[..., Any]]] = {}

    def start(self) -> None:
        sys._getframe().f_trace_opcodes = True  # 3.12 asks whether any frame wants opcodes when a tracer is set, and never again
        threading.settrace(self._trace)
        sys.settrace(self._trace)

    def stop(self) -> list[int] | None:
        """The counts; None when the program, or an exception in the middle of counting, took the tracer away."""
        kept = sys.gettrace() == self._trace
        sys.settrace(None)
        return self._counts[:-1] if kept else None

    def _trace(self, frame: types.FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        known = self._known.get(id(code))
        if known is None:
            if code.co_filename.startswith(_UNCOUNTED):
                return None
            known = self._known[id(code)] = (code, self._make_local(code))  # kept alive: its id must not become another's
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        known[1](frame, "opcode", None)  # where the function starts or goes on
        return known[1]

    def _make_local(self, code: types.CodeType) -> Callable[..., Any]:
        counts = self._counts
        table = _tell_kinds(code)

        def local(frame: types.FrameType, event: str, argument: Any) -> None:
            if event == "opcode":
                counts[table[frame.f_lasti]] += 1

        return local


def _tell_kinds(code: types.CodeType) -> bytes:
    """For each offset the kind of its opcode; one more at the end, found by the offset -1: the start of a function before 3.11."""
    table = bytearray([len(KINDS)]) * (len(code.co_code) + 1)
    table[-1] = _START
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name in _JUMPS:
            table[instruction.offset] = _JUMP
        elif name.startswith(_BRANCHES):
            table[instruction.offset] = _BRANCH
        elif name in _CALLS:
            table[instruction.offset] = _CALL
        elif name == "RESUME" and instruction.arg == 0:
            table[instruction.offset] = _START
    return bytes(table)


def _import_ahead(main: types.CodeType, files: dict[str, bytes]) -> None:
    """Import the modules of the standard library that the program's import statements name, wherever they stand in it."""
    names = list(_find_imports(main))
    for path, data in files.items():
        if path.endswith(".py"):
            with contextlib.suppress(SyntaxError, ValueError, RecursionError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                names += _find_imports(compile(data, path, "exec", dont_inherit=True))
    own = {path.split("/")[0].removesuffix(".py") for path in files}
    for name in dict.fromkeys(names):
        root = name.split(".")[0]
        if root in sys.stdlib_module_names and root not in (*own, *_NOT_FOR_FUN):
            with contextlib.suppress(ImportError):
                __import__(name)


def _find_imports(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _find_imports(constant)
