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
import time
from _thread import RLock  # not threading: its fork handler costs every grader 0.4 ms
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from groundrun.engine.guest.decoding import DecodeError, decode
from groundrun.engine.guest.mutation import find_mutable, overwrite
from groundrun.engine.guest.server import DRAIN, INSPECT, MODULE
from groundrun.engine.guest.transport import EncodeError, encode, encode_numbered, receive_frame, send_frame
from groundrun.judging.guest.handles import NOT_PLAIN, Handle, Member, make_kind
from groundrun.judging.guest.raising import Exceptions

MAX_HANDLES = 20_000
EXPORT = "export "
_QUIET = 2000  # characters of a call's output kept as evidence


NO_ANSWER = "the candidate sent an answer that is none"
UNCROSSABLE = "the candidate's value can't cross"
GONE = "the candidate's process ended before its tests were finished"
AHEAD, AHEAD_BYTES = 32, 512  # calls sent before their answers are read, of at most so many bytes each: they fit any socket buffer


class Answer:
    """What one of many calls gave: a value, or what it raised."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any, error: Exception | None) -> None:
        self.value, self.error = value, error


class Refused(BaseException):
    """What test code sees when an inert failure was noted; catching it doesn't help."""


class Declined(Refused, Exception):
    """The same for test files: their frameworks let what is no `Exception` end a whole file where it happens outside of a test."""


class Candidate:
    """The other end of the channel. One request at a time, whatever thread asks.

    `allowed`: operations on handles; None: all of them, noting in `used` which were needed. `watched`: arguments to write back, of the
    entry point by position or name, of a member of the module as `member:place`. `refusal`: what is raised after a noted failure.
    """

    def __init__(
        self, channel: int, *, name: str, allowed: Iterable[str] | None = (), watched: Iterable[int | str] = (), inspect: bool = False
    ) -> None:
        self.channel, self.name = channel, name
        exported = [each for each in allowed or () if each.startswith(EXPORT)]
        self._exported = frozenset(each.removeprefix(EXPORT) for each in exported)
        self._allowed = None if allowed is None else frozenset(allowed).difference(exported)
        self._watched, self._inspect = _sort_places(watched), inspect
        self._lock = RLock()
        self._process = os.getpid()
        self._sequence = 0
        self._handles: dict[int, Handle] = {}
        self._kinds: dict[tuple[str, bool], type[Handle]] = {}
        self._member: str | None = None
        self.exceptions = Exceptions()
        self._stdout = sys.stdout
        self.refusal: type[Refused] = Refused
        self.peeked = False
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
        self.peeked = False

    def may_peek(self) -> bool:
        """Whether the running test may show a handle as a text of ours, which is a failure only if the test then passes.

        In test files: a failed assertion of pytest shows every object that it names.
        """
        may = self.refusal is Declined and self._allowed is not None and "repr" not in self._allowed
        self.peeked = self.peeked or may
        return may

    def refuse(self, reason: str, detail: str = "") -> NoReturn:
        """Note an inert failure against the running test, and raise.

        The reason is ours and may be shown; the detail may hold what the candidate wrote or what a hidden test does.
        """
        if self.failure is None:
            self.failure, self.detail = reason, detail
        raise self.refusal(reason)

    def ask(
        self,
        operation: str,
        target: Handle | None,
        arguments: tuple[Any, ...] = (),
        keywords: dict[str, Any] | None = None,
        *,
        member: str | None = None,
    ) -> Any:
        """Let the candidate do something; its result, or its exception, becomes the test's. `member`: the module's, asked for or called."""
        with self._lock:
            self._member = member if operation == "get" else None
            return self._ask(operation, None if target is None else target._number, arguments, keywords or {}, member)

    def ask_all(self, calls: Sequence[tuple[Any, ...]], wait: Callable[[int, float], None] | None = None) -> Iterator[Answer | None]:
        """Call the entry point once for each tuple of arguments, asking ahead; one answer a call, in turn, noting failures as `ask` does.

        An answer is None when the candidate is gone, and then the last. `wait(number, since)` is called before answer `number` is read,
        with the earliest monotonic time at which its call can have begun; it may `give_up`. Raises EncodeError for an argument that
        can't cross.
        """
        first, sent, begun = self._sequence + 1, 0, 0.0
        for number, call in enumerate(calls):
            self.begin()
            value: Any = None
            error: Exception | None = None
            try:
                if sent == number:
                    begun = time.monotonic()
                    self._send_call(first + number, call)
                    sent += 1
                while sent < min(len(calls), number + AHEAD) and self._send_call(first + sent, calls[sent], at_most=AHEAD_BYTES):
                    sent += 1
                self._sequence = first + number
                if wait is not None:
                    wait(number, begun)
                value = self._take(self._sequence)
            except Refused:
                pass
            except EncodeError:
                raise
            except Exception as raised:
                error = raised
            begun = time.monotonic()
            yield None if self.gone else Answer(value, error)
            if self.gone:
                return

    def _send_call(self, sequence: int, arguments: tuple[Any, ...], *, at_most: int | None = None) -> bool:
        """Ask for a call. False when it was not sent for being longer than `at_most`: both sides could wait for the other to read."""
        flags = 0 if self._allowed is None or self._allowed else DRAIN
        data = encode((sequence, "call", None, arguments, {}, (), flags))
        if at_most is not None and len(data) > at_most:
            return False
        try:
            send_frame(self.channel, data)
        except OSError:
            self._lose(GONE)
        return True

    def get_member(self, name: str) -> Any:
        """What the candidate's module calls by that name: plain data, an exception class that stands in for one, or a handle."""
        found = self.ask("get", Handle(self, MODULE), (name,), member=name)
        if not isinstance(found, Member) or type(found).__qualname__ != "type":
            return found
        names = self.ask("ancestry", found)
        if type(names) is not tuple or not names or not all(type(each) is str for each in names):
            self._lose(NO_ANSWER)
        return self.exceptions.stand_in(names) or found

    def list_exports(self) -> list[str]:
        """What `import *` gives: the names that the reference defines itself, as far as the candidate has them.

        Any other name could take the place of something that the test file means, such as a builtin. So without a reference: nothing.
        """
        names = self.ask("names", Handle(self, MODULE))
        if type(names) is not list or not all(type(name) is str and name.isidentifier() for name in names):
            self.refuse("the candidate's module lists its contents in a way that is none")
        if self._inspect and not self._exported:
            self.used.update(EXPORT + name for name in names)
            return list(names)
        if not self._exported:
            self.refuse("a test file imports everything that the program defines, and no reference says what that is")
        return [name for name in names if name in self._exported]

    def give_up(self, reason: str) -> NoReturn:
        """Take nothing more from the candidate."""
        self._lose(reason)

    def permit(self, operation: str) -> None:
        """Refuse an operation on a handle that the reference didn't need."""
        if self._allowed is None:
            self.used.add(operation)
        elif operation not in self._allowed:
            self.refuse(NOT_PLAIN, operation)

    def _ask(self, operation: str, number: int | None, arguments: tuple[Any, ...], keywords: dict[str, Any], member: str | None) -> Any:
        if os.getpid() != self._process:
            self.refuse("the candidate was called from another process")
        if self.gone:
            self.refuse("the candidate's process has ended")
        if self.failure is not None:
            raise self.refusal(self.failure)
        self._sequence += 1
        inspect = self._inspect and operation == "call" and (number is None or member is not None)
        watched = self._watched.get(member or "", ()) if operation == "call" and (number is None or member is not None) else ()
        flags = (0 if self._allowed is None or self._allowed else DRAIN) | (INSPECT if inspect else 0)
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
            send_frame(self.channel, data)
        except OSError:
            self._lose(GONE)
        status, value, output, extra = self._answer(self._sequence, given)
        self._print(output)
        if status == "value":
            if len(extra) != 3 or any(type(part) is not tuple for part in extra):
                self._lose(NO_ANSWER)
            self._write_back(extra[0], given)
            if inspect:
                self.mutated.update(_name_places(member, extra[1]))
                self.returned.update(_name_places(member, extra[2]))
            return value
        if status == "stop" and operation == "next":
            raise StopIteration
        if status == "raised":
            raise self._exception(value)
        if status == "uncrossable":
            self.refuse(UNCROSSABLE, str(value)[:_QUIET] if type(value) is str else "")
        self._lose(NO_ANSWER)

    def _take(self, sequence: int) -> Any:
        """The value of a plain call's answer. Raises what the candidate raised."""
        status, value, output, extra = self._answer(sequence)
        self._print(output)
        if status == "value" and extra == ((), (), ()):
            return value
        if status == "raised":
            raise self._exception(value)
        if status == "uncrossable":
            self.refuse(UNCROSSABLE, str(value)[:_QUIET] if type(value) is str else "")
        self._lose(NO_ANSWER)

    def _answer(self, sequence: int, given: dict[int, Any] | None = None) -> tuple[str, Any, bytes, tuple[Any, ...]]:
        try:
            data = receive_frame(self.channel)
        except (EncodeError, OSError):
            self._lose("the candidate sent something that is no frame")
        except BaseException as error:  # an alarm of the test's own; the answer may come later and must not be taken for another
            self.failure, self.gone = self.failure or f"the test gave up waiting for the candidate ({type(error).__name__})", True
            raise
        if data is None:
            self._lose(GONE)
        try:
            answer: Any = decode(data, restore=self._restore, given=given)
        except DecodeError as error:
            self.refuse(f"the candidate's value can't cross: {error}")
        if type(answer) is not tuple or len(answer) != 5 or type(answer[0]) is not int or answer[0] != sequence:
            self._lose(NO_ANSWER)
        _, status, value, output, extra = answer
        if type(status) is not str or type(output) is not bytes or type(extra) is not tuple:
            self._lose(NO_ANSWER)
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
            sort = (name, self._member is not None)
            kind = self._kinds.get(sort)
            if kind is None:
                kind = self._kinds[sort] = make_kind(name, self._allowed, Handle if self._member is None else Member)
            handle = self._handles[number] = kind(self, number, self._member or "")
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
            self._lose(NO_ANSWER)
        names, arguments, message, line = value
        if not all(type(name) is str for name in names) or not names or type(message) is not str:
            self._lose(NO_ANSWER)
        error = self.exceptions.make(names, arguments, message)
        if error is None:
            own = names[0].removeprefix("builtins.")
            skipped = any(name.endswith((".SkipTest", ".Skipped")) for name in names)
            known = "a skip" if skipped else own if hasattr(builtins, own) else "something that is not an error"
            self.refuse(f"the candidate raised {known}", f"{names[0][:200]}: {message[:_QUIET]}")
        self.raised, self.raised_line = error, line if type(line) is int else None
        return error


def _sort_places(watched: Iterable[int | str]) -> dict[str, tuple[int | str, ...]]:
    """Watched arguments by the member of the module that they are arguments of; "" is the entry point."""
    found: dict[str, tuple[int | str, ...]] = {}
    for place in watched:
        member, own = "", place
        if isinstance(place, str) and ":" in place:
            member, _, name = place.partition(":")
            own = int(name) if name.isdigit() else name
        found[member] = (*found.get(member, ()), own)
    return found


def _name_places(member: str | None, places: tuple[int | str, ...]) -> Iterable[int | str]:
    return places if member is None else [f"{member}:{place}" for place in places]
