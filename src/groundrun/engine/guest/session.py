"""The guest module of a session: an interpreter that executes one cell after another in one `__main__`, and forks itself when asked.

Where fork is allowed, the process that the zygote made only forks the session's first interpreter and stays behind as the *trunk*: no cell
ever runs in it. It adopts and reaps every branch, puts the files of a branch in place, and carries files in and out, so that a
cell that spoils its own interpreter spoils neither. Where fork is refused, the trunk is the interpreter.

Nothing here guards anything: it lives in the process that it serves. A cell can rewrite all of it and fails only its own session.

Requests (frames of `frames`; first the number, then the operation) and their answers:

* `run` source, cell's number, processor seconds, most bytes of a value -> `ok` | `raised` | `exited` | `stopped`, value, ending, status
* `fork` branch's number, `plain` or `copy`, with three descriptors: channel, stdout, stderr -> `forked` | `refused`, reason, own pid.
  The new process speaks first on its own channel: `ready`, its pid; or `refused`, reason
* `place` number of the branch whose files are in place, of the one whose files are wanted; `forget` number, in place or not
* `write` path, `new` or `more`, content; `read` path, offset, most bytes -> `ok`, content
* `end` pid, milliseconds to wait: how that process ended, or its end -> `ended`, wait status | `killed` | `stuck`
"""

from __future__ import annotations
import __future__

import ast
import json
import linecache
import os
import socket
import sys
import traceback
import types
from array import array
from os import _exit, close, dup2, getcwd, getpid, kill, waitpid
from signal import ITIMER_PROF, SIGCHLD, SIGINT, SIGKILL, SIGPROF, setitimer
from signal import signal as handle
from time import monotonic, sleep
from typing import Any, NoReturn

from groundrun.engine.guest.boot import HERE, TRACEBACK_BYTES
from groundrun.engine.guest.branching import Fork, find_obstacle, keep_chance, reopen
from groundrun.engine.guest.folders import Folders
from groundrun.engine.guest.frames import MAX_FRAME, pack, to_bytes, to_text, unpack
from groundrun.engine.guest.job import GuestJob

AGAIN_S = 0.1  # of processor time, between two tries to stop a cell: an exception may be lost in a finalizer
_DESCRIPTORS = array("i").itemsize * 3
_FEATURES = sum({getattr(__future__, name).compiler_flag for name in __future__.all_feature_names})
_REMEMBERED = 10_000  # ends of processes that nobody asked for yet


class CpuLimitReached(BaseException):
    """Raised in a cell at its limit of processor time; not an Exception, so that a broad handler doesn't swallow it."""


def main(job: GuestJob) -> None:
    """Serve until the host closes the channel."""
    folder = getcwd()
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    sys.argv = [""]
    sys.path.insert(0, folder)
    _Interpreter(socket.socket(fileno=job.channel), module, Folders(folder, os.environ["TMPDIR"])).serve()


class _Interpreter:
    def __init__(self, channel: socket.socket, module: types.ModuleType, folders: Folders) -> None:
        self._channel, self._module, self._folders = channel, module, folders
        self._busy = False
        self._flags = 0
        self._pid = getpid()
        self._ends: dict[int, int] = {}
        handle(SIGINT, self._on_interrupt)

    def serve(self) -> NoReturn:
        while True:
            request, descriptors = self._receive()
            answer = self._carry_out(request[1].decode(), request[2:], descriptors)
            self._channel.sendall(pack(request[0], *answer))

    def _receive(self) -> tuple[list[bytes], list[int]]:
        head, ancillary = b"", []
        while len(head) < 4:
            part, ancillary_now, _, _ = self._channel.recvmsg(4 - len(head), socket.CMSG_SPACE(_DESCRIPTORS))
            if not part:
                _exit(0)
            head += part
            ancillary += ancillary_now
        descriptors = array("i")
        for _, _, data in ancillary:
            descriptors.frombytes(data)
        left = int.from_bytes(head, "little")
        parts = []
        while left:
            part = self._channel.recv(min(left, 1 << 20))
            if not part:
                _exit(0)
            parts.append(part)
            left -= len(part)
        return unpack(b"".join(parts)), list(descriptors)

    def _carry_out(self, operation: str, fields: list[bytes], descriptors: list[int]) -> tuple[bytes, ...]:
        if operation == "run":
            return self._run(to_text(fields[0]), int(fields[1]), float(fields[2]), int(fields[3]))
        try:
            if operation == "fork":
                return self._fork(int(fields[0]), fields[1] == b"copy", descriptors)
            if operation == "place":
                self._folders.place(int(fields[0]), int(fields[1]))
            elif operation == "forget":
                self._folders.forget(int(fields[0]), in_place=fields[1] == b"1")
            elif operation == "write":
                self._folders.write(to_text(fields[0]), fields[2], more=fields[1] == b"more")
            elif operation == "read":
                return b"ok", self._folders.read(to_text(fields[0]), int(fields[1]), min(int(fields[2]), MAX_FRAME // 2))
            elif operation == "end":
                return self._end(int(fields[0]), int(fields[1]) / 1000)
        except Exception as error:  # a cell may have taken away what this needs
            return b"refused", to_bytes(_reason(error)), str(self._pid).encode()
        return (b"ok",)

    def _run(self, source: str, number: int, cpu_s: float, most: int) -> tuple[bytes, ...]:
        """Execute one cell, whatever it does."""
        said, value, ending, status = "ok", None, b"", 0
        try:
            self._folders.mend()
        except Exception:  # the cell meets the same, and says so
            pass
        handle(SIGPROF, self._on_limit)
        try:
            try:
                self._busy = True
                setitimer(ITIMER_PROF, max(cpu_s, 1e-4), AGAIN_S)
                value = self._evaluate(source, f"<cell {number}>")
            finally:
                self._busy = False
                setitimer(ITIMER_PROF, 0)
        except SystemExit as stop:
            said, status = "exited", _status_of(stop)
        except BaseException as error:
            self._busy = False
            setitimer(ITIMER_PROF, 0)
            said = "stopped" if type(error) is CpuLimitReached else "raised"
            ending = _describe(error, f"<cell {number}>")
        _flush()
        if getpid() != self._pid:  # a child that the cell forked and that came here
            _exit(status if said == "exited" else int(said != "ok"))
        cut = b"" if value is None else b"=" + to_bytes(value[:most])[:most]
        return said.encode(), cut, ending, str(status).encode()

    def _evaluate(self, source: str, name: str) -> str | None:
        """The representation of the last expression's value; None when there is none."""
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        tree = compile(source, name, "exec", ast.PyCF_ONLY_AST | self._flags, dont_inherit=True)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        code = compile(tree, name, "exec", self._flags, dont_inherit=True)
        self._flags |= code.co_flags & _FEATURES
        final = last and compile(ast.Expression(last.value), name, "eval", self._flags, dont_inherit=True)
        exec(code, self._module.__dict__)
        if final is None:
            return None
        value = eval(final, self._module.__dict__)
        return None if value is None else repr(value)

    def _on_interrupt(self, number: int, frame: object) -> None:
        if self._busy:
            raise KeyboardInterrupt

    def _on_limit(self, number: int, frame: object) -> None:
        if self._busy:
            raise CpuLimitReached("the cell used the processor time that it had")

    def _fork(self, number: int, copy: bool, descriptors: list[int]) -> tuple[bytes, ...]:
        """Fork a branch; the answer to whoever asked, in the process that was asked."""
        fork = Fork()
        try:
            self._folders.mend()
            reason = find_obstacle(self._folders, apart=(*descriptors, self._channel.fileno())) if copy else None
            if reason is not None:
                return b"refused", to_bytes(reason)
            if not copy:
                fork.adopt()
            _flush()
            put_back = keep_chance()
            outputs = [os.fstat(1), os.fstat(2)]
            if fork.begin():
                put_back()
                self._become(number, copy, descriptors, outputs)
            if not copy:
                handle(SIGCHLD, self._on_child)
            return (b"forked",)
        finally:
            for descriptor in descriptors:
                close(descriptor)

    def _become(self, number: int, copy: bool, descriptors: list[int], outputs: list[os.stat_result]) -> NoReturn:
        """In the branch: its own channel, output and files; then serve."""
        self._pid = getpid()
        self._ends = {}
        channel, stdout, stderr = descriptors
        dup2(channel, self._channel.fileno(), inheritable=False)
        dup2(stdout, 1)
        dup2(stderr, 2)
        for descriptor in descriptors:
            close(descriptor)
        try:
            if copy:
                reopen(self._folders, self._folders.copy(number), outputs, apart=self._channel.fileno())
        except Exception as error:
            self._folders.forget(number, in_place=False)
            self._channel.sendall(pack(b"0", b"refused", to_bytes(_reason(error))))
            _exit(1)
        self._channel.sendall(pack(b"0", b"ready", str(self._pid).encode()))
        self.serve()

    def _on_child(self, number: int, frame: object) -> None:
        try:
            while (ended := waitpid(-1, os.WNOHANG))[0]:
                if len(self._ends) >= _REMEMBERED:
                    self._ends.clear()
                self._ends[ended[0]] = ended[1]
        except ChildProcessError:
            return

    def _end(self, pid: int, patience_s: float) -> tuple[bytes, ...]:
        """How a branch ended. One that lives on is killed."""
        if self._wait(pid, patience_s):
            return b"ended", str(self._ends.pop(pid)).encode()
        try:
            kill(pid, SIGKILL)
        except ProcessLookupError:
            return (b"killed",)
        except OSError:
            return (b"stuck",)
        return (b"killed",) if self._wait(pid, 2.0) else (b"stuck",)

    def _wait(self, pid: int, patience_s: float) -> bool:
        until = monotonic() + patience_s
        while pid not in self._ends and monotonic() < until:
            sleep(0.001)
        return pid in self._ends


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"


def _flush() -> None:
    for stream in {id(each): each for each in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)}.values():
        try:
            stream.flush()  # type: ignore[union-attr]
        except BaseException:  # full, closed, or a cell's own object: the host sees what arrived
            continue


def _status_of(stop: SystemExit) -> int:
    code = stop.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    try:
        print(code, file=sys.stderr)
    except BaseException:
        return 1
    return 1


def _describe(error: BaseException, name: str) -> bytes:
    """The facts of an exception, as `GuestJob.end` takes them; survives hostile ones."""
    kind = type(error)
    module, title = kind.__module__, kind.__qualname__
    ending: dict[str, Any] = {"kind": "raised", "type": title if module in ("builtins", "__main__") else f"{module}.{title}"}
    if kind is CpuLimitReached:
        ending["type"] = title
    try:
        step = error.__traceback__
        while step is not None and step.tb_frame.f_code.co_filename.startswith(HERE):
            step = step.tb_next
        error.__traceback__ = step
        line = error.lineno if isinstance(error, SyntaxError) else None
        while step is not None:
            if step.tb_frame.f_code.co_filename == name:
                line = step.tb_lineno
            step = step.tb_next
        code = getattr(error, "errno", None)
        ending["line"] = line if isinstance(line, int) else None
        ending["errno"] = code if isinstance(code, int) else None
        ending["message"] = str(error)[:TRACEBACK_BYTES]
        text = "".join(traceback.format_exception(kind, error, error.__traceback__, limit=-40))
        ending["traceback"] = text[-TRACEBACK_BYTES:]
    except BaseException:  # its own __str__, no memory left: what is there stands
        pass
    return json.dumps(ending).encode()
