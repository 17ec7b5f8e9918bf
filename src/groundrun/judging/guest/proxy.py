"""The candidate as the grader sees it: an entry point that can be called, and handles for objects that stay behind.

The candidate may send anything. What it says is decoded as plain data or refused; no code of it runs here, and nothing it sends can
decide a comparison. What may not happen in protected mode is an *inert failure*: it is noted against the running test before an exception
is raised, so test code that swallows the exception (`except:`, a retry, a thread nobody joins) can't undo it. Inert failures are: a value
that can't cross, an answer that is no answer, a candidate that is gone, an exit, an interrupt or a skip raised by the candidate (any
exception that is not, by one of its bases, a builtin `Exception`), StopIteration out of a plain call (it would silently end a `map`
of the test), and every use of a handle that would let the candidate decide, `==`, `hash` and truth first of all.

A handle has, besides its identity and its type's name, only the operations that the problem's reference needed when it was calibrated.
So a candidate can't return an object with a `startswith` of its own where the reference returned a string. A handle without any is the
opaque token of problems whose reference returns plain data.
"""

from __future__ import annotations

import builtins
import os
import sys
from _thread import RLock  # not threading: its fork handler costs every grader 0.4 ms
from collections.abc import Iterable
from typing import Any, NoReturn

from groundrun.engine.guest.decoding import DecodeError, decode
from groundrun.engine.guest.mutation import find_mutable, overwrite
from groundrun.engine.guest.server import DRAIN, INSPECT
from groundrun.engine.guest.transport import EncodeError, encode_numbered, receive_frame, send_frame

_RAISABLE = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type)
    and issubclass(kind, Exception)
    and not issubclass(kind, (StopIteration, StopAsyncIteration))
    and not name.endswith("Group")
}
_SKIPS = ("unittest.case.SkipTest", "_pytest.outcomes.Skipped")
MAX_HANDLES = 20_000
NOT_PLAIN = "a value of the candidate is not plain data, and a test needs more of it than its presence"
_QUIET = 2000  # characters of a call's output kept as evidence


class Refused(BaseException):
    """What test code sees when an inert failure was noted; catching it doesn't help."""


class Candidate:
    """The other end of the channel. One request at a time, whatever thread asks.

    `allowed`: operations on handles; None: all of them, noting in `used` which were needed. `watched`: arguments to write back.
    """

    def __init__(
        self, channel: int, *, name: str, allowed: Iterable[str] | None = (), watched: Iterable[int | str] = (), inspect: bool = False
    ) -> None:
        self._channel, self.name = channel, name
        self._allowed = None if allowed is None else frozenset(allowed)
        self._watched, self._inspect = tuple(watched), inspect
        self._lock = RLock()
        self._process = os.getpid()
        self._sequence = 0
        self._handles: dict[int, Handle] = {}
        self._kinds: dict[str, type[Handle]] = {}
        self._stdout = sys.stdout
        self.failure: str | None = None
        self.detail = ""
        self.gone = False
        self.raised: BaseException | None = None
        self.raised_line: int | None = None
        self.output = ""
        self.used: set[str] = set()
        self.mutated: set[int | str] = set()
        self.returned: set[int | str] = set()

    def wait(self) -> bool:
        """Wait until the candidate's source has run. True when it defines the entry point; False when it ended or doesn't."""
        try:
            status, found = self._answer(0)[:2]
        except Refused:
            return False
        ready = status == "ready" and found is True
        if not ready:
            self.failure, self.gone = f"the candidate defines no {self.name!r}", True
        return ready

    def begin(self) -> None:
        """Forget what was noted against the test before."""
        self.failure = self.raised = None
        self.detail = self.output = ""

    def refuse(self, reason: str, detail: str = "") -> NoReturn:
        """Note an inert failure against the running test, and raise.

        The reason is ours and may be shown; the detail may hold what the candidate wrote or what a hidden test does.
        """
        if self.failure is None:
            self.failure, self.detail = reason, detail
        raise Refused(reason)

    def ask(self, operation: str, target: Handle | None, arguments: tuple[Any, ...] = (), keywords: dict[str, Any] | None = None) -> Any:
        """Let the candidate do something; its result, or its exception, becomes the test's."""
        with self._lock:
            return self._ask(operation, None if target is None else target._number, arguments, keywords or {})

    def permit(self, operation: str) -> None:
        """Refuse an operation on a handle that the reference didn't need."""
        if self._allowed is None:
            self.used.add(operation)
        elif operation not in self._allowed:
            self.refuse(NOT_PLAIN, operation)

    def _ask(self, operation: str, number: int | None, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if os.getpid() != self._process:
            self.refuse("the candidate was called from another process")
        if self.gone:
            self.refuse("the candidate's process has ended")
        if self.failure is not None:
            raise Refused(self.failure)
        self._sequence += 1
        watched = self._watched if number is None and operation == "call" else ()
        flags = (0 if self._allowed is None or self._allowed else DRAIN) | (INSPECT if self._inspect and number is None else 0)
        request = (self._sequence, operation, number, arguments, keywords, watched, flags)
        try:
            data, numbered = encode_numbered(request, keep=self._number)
        except EncodeError as error:
            self.refuse(f"an argument of the test can't cross: {error}")
        places: dict[int | str, Any] = dict(enumerate(arguments))
        places.update(keywords)
        mutable = find_mutable([places[place] for place in watched if place in places]) if watched else {}
        given = {place: item for place, item in enumerate(numbered) if id(item) in mutable}
        try:
            send_frame(self._channel, data)
        except OSError:
            self._lose("the candidate's process ended before its tests were finished")
        status, value, output, extra = self._answer(self._sequence, given)
        self._print(output)
        if status == "value":
            if len(extra) != 3 or any(type(part) is not tuple for part in extra):
                self._lose("the candidate sent an answer that is none")
            self._write_back(extra[0], given)
            if self._inspect:
                self.mutated.update(extra[1])
                self.returned.update(extra[2])
            return value
        if status == "stop" and operation == "next":
            raise StopIteration
        if status == "raised":
            raise self._exception(value)
        if status == "uncrossable":
            self.refuse("the candidate's value can't cross", str(value)[:_QUIET] if type(value) is str else "")
        self._lose("the candidate sent an answer that is none")

    def _answer(self, sequence: int, given: dict[int, Any] | None = None) -> tuple[str, Any, bytes, tuple[Any, ...]]:
        try:
            data = receive_frame(self._channel)
        except (EncodeError, OSError):
            self._lose("the candidate sent something that is no frame")
        except BaseException as error:  # an alarm of the test's own; the answer may come later and must not be taken for another
            self.failure, self.gone = self.failure or f"the test gave up waiting for the candidate ({type(error).__name__})", True
            raise
        if data is None:
            self._lose("the candidate's process ended before its tests were finished")
        try:
            answer: Any = decode(data, restore=self._restore, given=given)
        except DecodeError as error:
            self.refuse(f"the candidate's value can't cross: {error}")
        if type(answer) is not tuple or len(answer) != 5 or type(answer[0]) is not int or answer[0] != sequence:
            self._lose("the candidate sent an answer that is none")
        _, status, value, output, extra = answer
        if type(status) is not str or type(output) is not bytes or type(extra) is not tuple:
            self._lose("the candidate sent an answer that is none")
        return status, value, output, extra

    def _lose(self, reason: str) -> NoReturn:
        self.gone = True
        self.refuse(reason)

    def _number(self, item: object) -> tuple[int, str]:
        if isinstance(item, Handle) and item._candidate is self and item._number is not None:
            return item._number, ""
        raise EncodeError(f"a value of type {type(item).__name__} is not plain data")

    def _restore(self, number: int, name: str) -> Handle:
        handle = self._handles.get(number)
        if handle is None:
            if len(self._handles) >= MAX_HANDLES:
                self.refuse(f"the candidate gave out more than {MAX_HANDLES} objects")
            kind = self._kinds.get(name)
            if kind is None:
                kind = self._kinds[name] = _make_kind(name, self._allowed)
            handle = self._handles[number] = kind(self, number)
        return handle

    def _write_back(self, extra: tuple[Any, ...], given: dict[int, Any]) -> None:
        try:
            if [type(pair) for pair in extra] != [tuple] * len(given) or {place for place, _ in extra} != set(given):
                self._lose("the candidate sent back other arguments than it was asked for")
            for place, new in extra:
                overwrite(given[place], new)
        except (TypeError, ValueError) as error:
            self.refuse(f"a changed argument can't be written back: {error}")

    def _print(self, output: bytes) -> None:
        if not output:
            return
        try:
            text = output.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            text = output.decode("utf-8", "replace")
        self.output = text[-_QUIET:]
        if sys.stdout is not self._stdout:  # the test captures output; nobody reads the grader's own
            sys.stdout.write(text)

    def _exception(self, value: Any) -> BaseException:
        if type(value) is not tuple or len(value) != 4 or type(value[0]) is not tuple or type(value[1]) is not tuple:
            self._lose("the candidate sent an answer that is none")
        names, arguments, message, line = value
        if not all(type(name) is str for name in names) or not names or type(message) is not str:
            self._lose("the candidate sent an answer that is none")
        bases = [name.removeprefix("builtins.") for name in names]
        kind = next((_RAISABLE[base] for base, name in zip(bases, names, strict=True) if name != base and base in _RAISABLE), None)
        if kind is None or any(name in _SKIPS for name in names) or bases[0] in ("StopIteration", "StopAsyncIteration"):
            skipped = any(name in _SKIPS for name in names)
            known = "a skip" if skipped else bases[0] if hasattr(builtins, bases[0]) else "something that is not an error"
            self.refuse(f"the candidate raised {known}", f"{names[0][:200]}: {message[:_QUIET]}")
        error = _construct(kind, arguments, message)
        self.raised, self.raised_line = error, line if type(line) is int else None
        return error


def _construct(kind: type[Exception], arguments: tuple[Any, ...], message: str) -> Exception:
    """An exception of that type, or of its nearest base that can be made of these arguments."""
    while True:
        try:
            return kind(*arguments)
        except Exception:
            try:
                return kind(message)
            except Exception:
                kind = kind.__base__  # type: ignore[assignment]


class Handle:
    """An object that stays in the candidate's process.

    This much every handle has. `_make_kind` adds the operations that the reference needed and no others, so that `callable` and
    the like don't find more than there is. An operation that was not added fails as it does on a bare `object()`.
    """

    __slots__ = ("_candidate", "_number")

    def __init__(self, candidate: Candidate, number: int | None) -> None:
        self._candidate, self._number = candidate, number

    def _use(self, operation: str, *arguments: Any) -> Any:
        self._candidate.permit(operation)
        return self._candidate.ask(operation, self, arguments)

    def _use_for(self, kind: type, operation: str) -> Any:
        value = self._use(operation)
        if type(value) is not kind:
            self._refuse(operation)
        return value

    def _refuse(self, operation: str) -> NoReturn:
        self._candidate.refuse(NOT_PLAIN, operation)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._candidate.permit(f"get {name}")
        return self._candidate.ask("get", self, (name,))

    def __setattr__(self, name: str, value: object) -> None:
        if name not in Handle.__slots__:
            self._refuse(f"setting {name}")
        object.__setattr__(self, name, value)

    def __str__(self) -> str:
        return str(self._use_for(str, "str"))

    def __repr__(self) -> str:
        return str(self._use_for(str, "repr"))

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __bool__(self) -> bool:
        self._refuse("truth")

    def __eq__(self, other: object) -> bool:
        self._refuse("==")

    def __ne__(self, other: object) -> bool:
        self._refuse("!=")

    def __lt__(self, other: object) -> bool:
        self._refuse("<")

    def __le__(self, other: object) -> bool:
        self._refuse("<=")

    def __gt__(self, other: object) -> bool:
        self._refuse(">")

    def __ge__(self, other: object) -> bool:
        self._refuse(">=")

    def __hash__(self) -> int:
        self._refuse("hash")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self._refuse("copying or pickling")


def _call(self: Handle, *arguments: Any, **keywords: Any) -> Any:
    self._candidate.permit("call")
    return self._candidate.ask("call", self, arguments, keywords)


def _iterate(self: Handle) -> Any:
    found = self._use("iter")
    if not isinstance(found, Handle):
        self._refuse("iter")
    return found


_OPERATIONS: dict[str, tuple[str, Any]] = {
    "call": ("__call__", _call),
    "iter": ("__iter__", _iterate),
    "next": ("__next__", lambda self: self._use("next")),
    "len": ("__len__", lambda self: self._use_for(int, "len")),
    "item": ("__getitem__", lambda self, key: self._use("item", key)),
    "contains": ("__contains__", lambda self, item: self._use("contains", item) is True),
}


def _make_kind(name: str, allowed: Iterable[str] | None) -> type[Handle]:
    chosen = _OPERATIONS.values() if allowed is None else [_OPERATIONS[each] for each in allowed if each in _OPERATIONS]
    return type(name if name.isidentifier() else "Handle", (Handle,), {"__slots__": (), **dict(chosen)})


class EntryPoint(Handle):
    """The function under test. It can be called; the rest is a handle's, if the reference's was used so."""

    __slots__ = ()

    def __init__(self, candidate: Candidate) -> None:
        super().__init__(candidate, None)

    @property
    def __name__(self) -> str:
        return self._candidate.name

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the candidate's function."""
        return self._candidate.ask("call", self, arguments, keywords)
