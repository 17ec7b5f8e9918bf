"""The function server: runs the candidate's source and then calls what the grader asks for. It lives in the candidate's own process.

So nothing here guards anything. A candidate can rewrite this module, answer in its place, or write junk on the channel: it can
only fail itself, because it is never told what the right answer is and the grader believes nothing but decoded values.

Wire format, on a connected stream socket. A frame is a length (u32, little endian) and that many bytes: one message of `transport`.
The server speaks first, then only when asked; one answer to each request, in turn, with the request's sequence number.

Request: `(sequence, operation, target, arguments, keywords, watched, flags)`

* operation: `call`, `get` (an attribute), `iter`, `next`, `len`, `item`, `contains`, `str`, `repr`, `ancestry` (names of a class and its
  bases), `names` (what `import *` of the module gives, without what it imported itself), `exceptions` (names of exception classes in it)
* target: None is the entry point, MODULE the source's module, another number a handle that this server gave out
* watched: positions (int) and names (str) of arguments whose mutable parts are to come back
* flags: DRAIN: iterators of the result cross as their items; BRIEFLY: those of more than BRIEF items don't cross; INSPECT: say which
  arguments were touched

Answer: `(sequence, status, value, stdout, extra)`

* `ready` (sequence 0): value is whether the entry point exists; true when the job names none
* `value`: the result. extra is `(changes, mutated, returned)`. changes are `((n, copy), ...)` for watched arguments: the n-th numbered
  object of the request is now like `copy`, and the objects themselves appear in the answer as GIVEN n. With INSPECT, mutated and
  returned are the positions of arguments that were changed in place, and of those of which something mutable is part of the result
* `raised`: value is `(names of the type and its bases, args, message, line of the source)`; extra as for a value, or empty
* `stop`: `next` found the end
* `uncrossable`: value is the reason

Most calls are plain: of the entry point, with simple arguments of which nothing is to come back. Such a request is the words PLAIN_CALL,
sequence and flags, and the arguments by marshal, which only ever reads what a grader wrote. The answer to any request may be the words
PLAIN_VALUE and sequence, and the message of the result alone: nothing was printed, changed or touched. Neither word can begin a message.

A handle is a number and the name of its type, with the module's; of a class, whatever its metaclass, that of `type`.

stdout is what the call wrote to `sys.stdout`; what is written to descriptor 1 itself stays there.
"""

from __future__ import annotations

import io
import linecache
import marshal
import os
import sys
import types
from collections.abc import Callable
from struct import Struct
from typing import Any, NoReturn

from groundrun.engine.guest.decoding import decode_numbered
from groundrun.engine.guest.job import GuestJob
from groundrun.engine.guest.mutation import find_mutable
from groundrun.engine.guest.transport import MAX_DRAINED, EncodeError, Reader, encode, send_frame

NAME, FILE = "candidate", "<candidate>"
DRAIN, INSPECT, BRIEFLY = 1, 2, 4
BRIEF = 10_000
PLAIN_CALL, PLAIN_VALUE = 0xFFFFFFFF, 0xFFFFFFFE
CALL_HEAD, VALUE_HEAD = Struct("<III"), Struct("<II")
MODULE = -1
MESSAGE_LENGTH = 10_000
CAPTURED_BYTES = 1 << 20  # of one call; more goes to descriptor 1, where the run's output limit counts it


def main(job: GuestJob) -> None:
    """Execute the source under the names in the payload, one a line, or `candidate`; then serve until the grader closes the channel."""
    serve(job)
    _leave()


def serve(job: GuestJob) -> None:
    """`main`, in a process that goes on."""
    output = _Output()
    names = job.payload.decode().split() or [NAME]
    module = make_module(job, names)
    sys.stdout = output.stream
    try:
        exec(compile(job.source, FILE, "exec", dont_inherit=True), module.__dict__)
    finally:
        output.spill()
    name = job.entry_point or ""
    server = _Server(job.channel, module.__dict__.get(name), module, output)
    server.answer((0, "ready", not name or name in module.__dict__, b"", ()))
    server.serve()


def make_module(job: GuestJob, names: list[str]) -> types.ModuleType:
    """The empty module that a source will fill, known under these names."""
    module = types.ModuleType(names[0])
    module.__file__ = FILE
    sys.modules.update(dict.fromkeys(names, module))
    sys.argv = [names[0]]
    sys.path.insert(0, os.getcwd())
    linecache.cache[FILE] = (len(job.source), None, job.source.splitlines(keepends=True), FILE)
    return module


class _Output:
    """What is written to `sys.stdout` while a call runs."""

    def __init__(self) -> None:
        self._buffer = _Buffer()
        self.stream = io.TextIOWrapper(self._buffer, encoding="utf-8", errors="surrogatepass", newline="\n")

    def take(self) -> bytes:
        """What was written since the last time; nothing when the program closed the stream."""
        try:
            self.stream.flush()
            return self._buffer.take() if self._buffer.tell() else b""
        except ValueError:
            return b""

    def spill(self) -> None:
        """Pass on what was written to descriptor 1."""
        _write_out(self.take())


class _Buffer(io.BytesIO):
    def write(self, data: Any) -> int:
        if self.tell() + len(data) > CAPTURED_BYTES:
            _write_out(self.take() + bytes(data))
            return len(data)
        return super().write(data)

    def take(self) -> bytes:
        data = self.getvalue()
        self.seek(0)
        self.truncate()
        return data


def _write_out(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


class _Server:
    """The candidate's objects by handle, and the channel on which they are asked for."""

    def __init__(self, channel: int, entry: Any, module: types.ModuleType, output: _Output) -> None:
        self._channel, self._entry, self._module, self._output = channel, entry, module, output
        self._kept: list[object] = []
        self._numbers: dict[int, int] = {}

    def serve(self) -> None:
        reader = Reader(self._channel)
        while (data := reader.receive()) is not None:
            if data[:4] == _PLAIN:
                self._call(data)
                continue
            request, numbered = decode_numbered(data, restore=self._restore)
            self._handle(request, numbered)

    def _call(self, data: bytes) -> None:
        """A plain call."""
        _, sequence, flags = CALL_HEAD.unpack_from(data)
        arguments = marshal.loads(memoryview(data)[CALL_HEAD.size :])
        before = [_dump(each) if type(each) is list else b"" for each in arguments] if flags & INSPECT else []
        status, result, drain = "value", None, _drain_of(flags)
        try:
            try:
                result = value = self._entry(*arguments)
            except BaseException as error:
                status, value = "raised", _describe(error)
            mutated, returned = _find_traces(arguments, before, result)
            output = self._output.take()
            if status == "value" and not (output or mutated or returned):
                self._send(VALUE_HEAD.pack(PLAIN_VALUE, sequence) + encode(value, keep=self._keep, drain=drain))
            else:
                self.answer((sequence, status, value, output, ((), mutated, returned)), drain=drain)
        except EncodeError as error:
            self.answer((sequence, "uncrossable", str(error), self._output.take(), ()))
        except BaseException as error:  # of an iterator's while its items are taken
            self.answer((sequence, "raised", _describe(error), self._output.take(), ()))

    def answer(self, answer: tuple[object, ...], given: dict[int, int] | None = None, *, drain: int = 0) -> None:
        self._send(encode(answer, keep=self._keep, drain=drain, given=given))

    def _send(self, data: bytes) -> None:
        try:
            send_frame(self._channel, data)
        except OSError:
            _leave()

    def _keep(self, item: object) -> tuple[int, str]:
        number = self._numbers.get(id(item))
        if number is None:
            number = self._numbers[id(item)] = len(self._kept)
            self._kept.append(item)
        kind = type if isinstance(item, type) else type(item)
        return number, f"{kind.__module__}.{kind.__name__}"

    def _restore(self, number: int, name: str) -> object:
        return self._kept[number]

    def _handle(self, request: Any, numbered: list[object]) -> None:
        sequence, operation, number, arguments, keywords, watched, flags = request
        target = self._entry if number is None else self._module if number == MODULE else self._kept[number]
        places = {**dict(enumerate(arguments)), **keywords}
        given: dict[int, int] = {}
        before: dict[object, bytes | None] = {}
        if watched:
            mutable = find_mutable([places[place] for place in watched if place in places])
            given = {id(item): place for place, item in enumerate(numbered) if id(item) in mutable}
        if flags & INSPECT:
            before = {place: self._picture(value) for place, value in places.items()}
        drain = _drain_of(flags)
        status, result = "value", None
        try:
            try:
                result = value = _OPERATIONS[operation](target, arguments, keywords)
            except BaseException as error:
                stopped = operation == "next" and isinstance(error, StopIteration)
                status, value = ("stop", None) if stopped else ("raised", _describe(error))
            changes = tuple((place, numbered[place].copy()) for place in given.values())  # type: ignore[attr-defined]
            extra = (changes, *(self._touched(places, before, result) if flags & INSPECT else ((), ())))
            self.answer((sequence, status, value, self._output.take(), extra), given, drain=drain)
        except EncodeError as error:
            self.answer((sequence, "uncrossable", str(error), self._output.take(), ()))
        except BaseException as error:  # of an iterator's while its items are taken
            self.answer((sequence, "raised", _describe(error), self._output.take(), ()))

    def _picture(self, value: object) -> bytes | None:
        try:
            return encode(value, keep=self._keep, drain=0)
        except EncodeError:
            return None

    def _touched(
        self, places: dict[object, Any], before: dict[object, bytes | None], result: object
    ) -> tuple[tuple[object, ...], tuple[object, ...]]:
        held = find_mutable(result)
        mutated = tuple(place for place, value in places.items() if self._picture(value) != before[place])
        returned = tuple(place for place, value in places.items() if not held.keys().isdisjoint(find_mutable(value)))
        return mutated, returned


_PLAIN = PLAIN_CALL.to_bytes(4, "little")


def _dump(value: Any) -> bytes:
    """What a simple value looks like; nothing when it has become something else."""
    try:
        return marshal.dumps(value, 2)
    except ValueError:
        return b""


def _find_traces(arguments: tuple[Any, ...], before: list[bytes], result: object) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The places of lists that are not as before, and of those of which something mutable is part of the result."""
    if not any(before):
        return (), ()
    places = [place for place, was in enumerate(before) if was]
    held = find_mutable(result)
    mutated = tuple(place for place in places if _dump(arguments[place]) != before[place])
    return mutated, tuple(place for place in places if not held.keys().isdisjoint(find_mutable(arguments[place])))


def _drain_of(flags: int) -> int:
    return 0 if not flags & DRAIN else BRIEF if flags & BRIEFLY else MAX_DRAINED


def _list_ancestry(kind: type) -> tuple[str, ...]:
    return tuple(f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__)


def _list_names(module: types.ModuleType) -> list[str]:
    if hasattr(module, "__all__"):
        return list(module.__all__)
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", module.__name__) == module.__name__]
    return [name for name in own if name[0] != "_" and not isinstance(vars(module)[name], types.ModuleType)]


def _list_exceptions(module: types.ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, BaseException)]


def _leave() -> NoReturn:
    """The grader is done. Threads and exit handlers of the candidate have nothing left to say."""
    os._exit(0)


def _describe(error: BaseException) -> tuple[object, ...]:
    """What of an exception crosses: plain arguments or none, and a message."""
    names = _list_ancestry(type(error))
    try:
        message = str(error)[:MESSAGE_LENGTH]
        encode(error.args)
        arguments: tuple[object, ...] = error.args
    except Exception as trouble:
        message = f"(its text raised {type(trouble).__name__})" if not isinstance(trouble, EncodeError) else message
        arguments = (message,)
    line, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == FILE:
            line = step.tb_lineno
        step = step.tb_next
    return names, arguments, message, line


_OPERATIONS: dict[str, Callable[[Any, tuple[Any, ...], dict[str, Any]], object]] = {
    "call": lambda target, arguments, keywords: target(*arguments, **keywords),
    "get": lambda target, arguments, keywords: getattr(target, arguments[0]),
    "ancestry": lambda target, arguments, keywords: _list_ancestry(target),
    "names": lambda target, arguments, keywords: _list_names(target),
    "exceptions": lambda target, arguments, keywords: _list_exceptions(target),
    "iter": lambda target, arguments, keywords: iter(target),
    "next": lambda target, arguments, keywords: next(target),
    "len": lambda target, arguments, keywords: len(target),
    "item": lambda target, arguments, keywords: target[arguments[0]],
    "contains": lambda target, arguments, keywords: arguments[0] in target,
    "str": lambda target, arguments, keywords: str(target),
    "repr": lambda target, arguments, keywords: repr(target),
}


_REHEARSED = """
def served(*arguments, **named):
    if named:
        raise ValueError("no")
    return [sorted(each) if isinstance(each, list) else each for each in arguments]
"""


def rehearse() -> None:
    """Answer calls that were asked in advance, and leave nothing: what a zygote does before its children do it."""
    import _socket

    calls: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
        ((1, 2.5, "text"), {}),
        (([3, 1, 2], {"a": (1, None)}), {}),
        ((), {"named": True}),
    )
    before = sys.argv, sys.stdout, list(sys.path)
    ours, theirs = _socket.socketpair()
    plain = CALL_HEAD.pack(PLAIN_CALL, 9, DRAIN) + marshal.dumps(([2, 1], "text", 3.5), 2)
    send_frame(theirs.fileno(), plain)
    for number, (arguments, keywords) in enumerate(calls, start=1):
        send_frame(theirs.fileno(), encode((number, "call", None, arguments, keywords, (), DRAIN)))
    theirs.shutdown(_socket.SHUT_WR)
    serve(GuestJob(_REHEARSED, "served", [], b"", {}, ours.fileno(), lambda offset, data: None))
    ours.close()
    theirs.close()
    sys.argv, sys.stdout, sys.path[:] = before
    del sys.modules[NAME]
    linecache.cache.pop(FILE, None)
