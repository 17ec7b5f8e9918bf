"""The candidate as the grader sees it: an entry point that can be called, and handles for objects that stay behind.

The candidate may send anything. What it says is decoded as plain data or refused; no code of it runs here, and nothing it sends can
decide a comparison. What may not happen in protected mode is an *inert failure*: it is noted against the running test before an exception
is raised, so test code that swallows the exception (`except:`, a retry, a thread nobody joins) can't undo it. Inert failures are: a value
that can't cross, an answer that is no answer, a candidate that is gone, an exit, an interrupt or a skip raised by the candidate (any
exception that is not, by one of its bases, a builtin `Exception`), StopIteration out of a plain call (it would silently end a `map`
of the test), and every use of a handle that would let the candidate decide, `==`, `hash` and truth first of all.

Changes that a call made in its arguments are written back to the test's own objects where that is asked for (`watched`), also after a call
that raised. Whether one process would show more is asked with `notice`: the candidate tells which arguments it changed or
returned, and may lie, which gains nothing that working on copies would not. What no process but a shared one shows: an argument that
is changed after its call, in a later one or by an object that kept it, and a result that is changed or is the same object again.
"""

from __future__ import annotations

import builtins
import marshal
import os
import sys
import time
from _thread import RLock  # not threading: its fork handler costs every grader 0.4 ms
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from groundrun.engine.guest.decoding import DecodeError, decode
from groundrun.engine.guest.mutation import find_mutable, overwrite
from groundrun.engine.guest.server import BRIEFLY, CALL_HEAD, DRAIN, INSPECT, PLAIN_CALL, PLAIN_VALUE, VALUE_HEAD
from groundrun.engine.guest.server import MODULE as MODULE_NUMBER
from groundrun.engine.guest.transport import MAX_BYTES, EncodeError, Reader, encode, encode_numbered, is_simple, send_frame
from groundrun.judging.guest.handles import NOT_PLAIN, Handle, Member, make_kind
from groundrun.judging.guest.kinds import ENTRY, EXCEPTION, EXPORT, MODULE, Kinds, Met, Use, locate
from groundrun.judging.guest.raising import Exceptions, StandIn

MAX_HANDLES = 20_000
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

    `allowed`: what may be done with objects; None: everything, noting in `kinds.used` what was needed. `watched`: arguments to write back,
    of the entry point by position or name, of members of the module and of methods as `whose:place`; None: all. `inspect`: a reference is
    looked at. `notice`: ask what happened to arguments. `brief`: no long iterators. `refusal`: what is raised after a noted failure.
    """

    def __init__(
        self,
        channel: int,
        *,
        name: str,
        allowed: Iterable[Use] | None = (),
        watched: Iterable[int | str] | None = (),
        inspect: bool = False,
        notice: bool = False,
        brief: bool = False,
    ) -> None:
        self.channel, self.name = channel, name
        self.reader = Reader(channel)
        self.kinds = Kinds(allowed)
        self._drain = DRAIN | (BRIEFLY if brief else 0)
        self._watched, self._inspect, self._notice = None if watched is None else _sort_places(watched), inspect, notice
        self._plain = self._watched is not None and "" not in self._watched  # nothing of the entry point's arguments comes back
        self._lock = RLock()
        self._process = os.getpid()
        self._sequence = 0
        self._handles: dict[tuple[int, str], Handle] = {}
        self._classes: dict[tuple[str, str, type[Handle]], type[Handle]] = {}
        self.exceptions = Exceptions()
        self.known = False  # whether a reference has told what it defines
        self._stdout = sys.stdout
        self.refusal: type[Refused] = Refused
        self.peeked = False
        self.failure: str | None = None
        self.detail = ""
        self.gone = False
        self.raised: BaseException | None = None
        self.raised_line: int | None = None
        self.output = ""
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

    def may_peek(self, handle: Handle) -> bool:
        """Whether the running test may show a handle as a text of ours, which is a failure only if the test then passes.

        In test files: a failed assertion of pytest shows every object that it names.
        """
        operations = self.kinds.operations_of(handle._kind)
        may = self.refusal is Declined and operations is not None and "repr" not in operations
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
        target: Handle,
        arguments: tuple[Any, ...] = (),
        keywords: dict[str, Any] | None = None,
        *,
        member: str | None = None,
    ) -> Any:
        """Let the candidate do something; its result, or its exception, becomes the test's. `member`: get the module's of that name."""
        with self._lock:
            return self._ask(operation, target, arguments, keywords or {}, member)

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
        flags = self._drain if self.kinds.drains(ENTRY, "call") else 0
        data = _pack_plain(sequence, flags, arguments) or encode((sequence, "call", None, arguments, {}, (), flags))
        if at_most is not None and len(data) > at_most:
            return False
        try:
            send_frame(self.channel, data)
        except OSError:
            self._lose(GONE)
        return True

    def get_member(self, name: str) -> Any:
        """What the candidate's module calls by that name: plain data, an exception class that stands in for one, or a handle."""
        if self._inspect:
            self.kinds.used.update((MODULE, EXCEPTION + each, "") for each in self._ask_names("exceptions"))
        found = self.ask("get", self._module(), (name,), member=name)
        if not isinstance(found, Member) or type(found).__qualname__ != "type" or (self.known and name not in self.kinds.exceptions):
            return found
        names = self.ask("ancestry", found)
        if type(names) is not tuple or not names or not all(type(each) is str for each in names):
            self._lose(NO_ANSWER)
        return self.exceptions.stand_in(names) or found

    def list_exports(self) -> list[str]:
        """What `import *` gives: the names that the reference defines itself, as far as the candidate has them.

        Any other name could take the place of something that the test file means, such as a builtin. So without a reference: nothing.
        """
        names = self._ask_names("names")
        exports = self.kinds.exports
        if self._inspect and not exports:
            self.kinds.used.update((MODULE, EXPORT + name, "") for name in names)
            return list(names)
        if not exports:
            self.refuse("a test file imports everything that the program defines, and no reference says what that is")
        return [name for name in names if name in exports]

    def meet_module(self, *, known: bool) -> None:
        """Test files come: they can name exceptions, and those of a candidate without a calibrated reference are good for nothing else."""
        self.exceptions.follow, self.known = True, known
        self.exceptions.refuse = None if known or self._inspect else self._refuse_instance

    def _refuse_instance(self) -> NoReturn:
        self.refuse("a test makes something of an exception class of the candidate's, and no reference says that it is one")

    def _ask_names(self, operation: str) -> list[str]:
        names = self.ask(operation, self._module())
        if type(names) is not list or not all(type(name) is str and name.isidentifier() for name in names):
            self.refuse("the candidate's module lists its contents in a way that is none")
        return names

    def give_up(self, reason: str) -> NoReturn:
        """Take nothing more from the candidate."""
        self._lose(reason)

    def lacks(self, error: BaseException) -> bool:
        """Whether an exception of the grader's own says that an object of the candidate's can't do something."""
        return type(error) is TypeError and any(f"'{kind.__name__}'" in str(error) for kind in self._classes.values())

    def permit(self, handle: Handle, operation: str) -> None:
        """Refuse an operation on a handle that the reference didn't need in its place."""
        if not self.kinds.permits(handle._kind, operation):
            self.refuse(NOT_PLAIN, operation)

    def _module(self) -> Handle:
        return Handle(self, MODULE_NUMBER, MODULE)

    def _ask(self, operation: str, target: Handle, arguments: tuple[Any, ...], keywords: dict[str, Any], member: str | None) -> Any:
        if os.getpid() != self._process:
            self.refuse("the candidate was called from another process")
        if self.gone:
            self.refuse("the candidate's process has ended")
        if self.failure is not None:
            raise self.refusal(self.failure)
        self._sequence += 1
        step = f"get {arguments[0]}" if operation == "get" else operation
        flags, whose = self._drain if self.kinds.drains(target._kind, step) else 0, target._place
        origin = _Origin(target._kind, step, member, operation, whose)
        if operation == "call" and self._plain and target._number is None and not keywords:
            seen = INSPECT if self._notice and list in map(type, arguments) else 0
            plain = _pack_plain(self._sequence, flags | seen, arguments)
            if plain:
                return self._exchange(plain, {}, flags | seen, origin)
        places: dict[int | str, Any] = {}
        watched: tuple[int | str, ...] = ()
        if operation == "call":
            places.update(enumerate(arguments))
            places.update(keywords)
            watched = tuple(places) if self._watched is None else self._watched.get(whose, ())
            if self._notice and find_mutable(tuple(places.values())):
                flags |= INSPECT
        try:
            data, numbered = encode_numbered(
                (self._sequence, operation, target._number, arguments, keywords, watched, flags), keep=self._number
            )
        except EncodeError as error:
            self.refuse(f"an argument of the test can't cross: {error}")
        mutable = find_mutable([places[place] for place in watched if place in places]) if watched else {}
        given = {place: item for place, item in enumerate(numbered) if id(item) in mutable}
        return self._exchange(data, given, flags, origin)

    def _exchange(self, data: bytes, given: dict[int, Any], flags: int, origin: _Origin) -> Any:
        """Send a request; what its answer amounts to."""
        try:
            send_frame(self.channel, data)
        except OSError:
            self._lose(GONE)
        status, value, output, extra = self._answer(self._sequence, given, origin)
        self._print(output)
        if status in ("value", "raised") and (extra or status == "value"):
            if len(extra) != 3 or any(type(part) is not tuple for part in extra):
                self._lose(NO_ANSWER)
            self._write_back(extra[0], given)
            if flags & INSPECT:
                self.mutated.update(_name_places(origin.place, extra[1]))
                self.returned.update(_name_places(origin.place, extra[2]))
        if status == "value":
            if value is None and origin.operation == "get":
                self.kinds.note_none(origin.kind, origin.step)
            return value
        if status == "stop" and origin.operation == "next":
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

    def _answer(
        self, sequence: int, given: dict[int, Any] | None = None, origin: _Origin | None = None
    ) -> tuple[str, Any, bytes, tuple[Any, ...]]:
        try:
            data = self.reader.receive()
        except (EncodeError, OSError):
            self._lose("the candidate sent something that is no frame")
        except BaseException as error:  # an alarm of the test's own; the answer may come later and must not be taken for another
            self.failure, self.gone = self.failure or f"the test gave up waiting for the candidate ({type(error).__name__})", True
            raise
        if data is None:
            self._lose(GONE)
        origin = origin or _NOWHERE
        try:
            if data[: VALUE_HEAD.size] == VALUE_HEAD.pack(PLAIN_VALUE, sequence):
                return "value", self._decode(data[VALUE_HEAD.size :], given, origin, alone=True), b"", ((), (), ())
            answer = self._decode(data, given, origin)
        except DecodeError as error:
            self.refuse(UNCROSSABLE, str(error))
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
        named = isinstance(item, (Handle, StandIn))  # by the candidate, whose words don't belong in a reason
        raise EncodeError(
            "an object of the candidate's can't be handed back" if named else f"a value of type {type(item).__name__} is not plain data"
        )

    def _decode(self, data: bytes, given: dict[int, Any] | None, origin: _Origin, *, alone: bool = False) -> Any:
        """An answer, or its value `alone`, with its handles. Their kinds follow from their positions: with any it is read a second time."""
        if not self.kinds.any_objects():
            return decode(data, restore=lambda number, name: self._restore(number, name, "", origin.member), given=given)
        met: list[Met] = []

        def meet(number: int, name: str) -> Met:
            met.append(Met(number, name))
            return met[-1]

        answer = decode(data, restore=meet, given=given)
        if not met:
            return answer
        if alone:
            locate(answer)
        elif type(answer) is tuple and len(answer) == 5:
            locate(answer[2])
        sorts = [self.kinds.sort(each, origin.kind, origin.step) for each in met]
        handles = iter([self._restore(each.number, each.name, kind, origin.member) for each, kind in zip(met, sorts, strict=True)])
        return decode(data, restore=lambda number, name: next(handles), given=given)

    def _restore(self, number: int, name: str, kind: str, member: str | None) -> Handle:
        handle = self._handles.get((number, kind))
        if handle is None:
            if len(self._handles) >= MAX_HANDLES:
                self.refuse(f"the candidate gave out more than {MAX_HANDLES} objects")
            base = Handle if member is None else Member
            made = self._classes.get((name, kind, base))
            if made is None:
                short = name.rpartition(".")[2]
                made = self._classes[name, kind, base] = make_kind(short, self.kinds.operations_of(kind), base)
            handle = self._handles[number, kind] = made(self, number, kind, member)
        return handle

    def _write_back(self, extra: tuple[Any, ...], given: dict[int, Any]) -> None:
        try:
            if [type(pair) for pair in extra] != [tuple] * len(given) or {place for place, _ in extra} != set(given):
                self._lose("the candidate sent back other arguments than it was asked for")
            for place, new in extra:
                overwrite(given[place], new)
        except (TypeError, ValueError) as error:
            self.refuse("a changed argument can't be written back", str(error))

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


def _pack_plain(sequence: int, flags: int, arguments: tuple[Any, ...]) -> bytes:
    """The request of a plain call; empty when the arguments aren't simple, or are too large to be sent."""
    if not is_simple(arguments):
        return b""
    data = CALL_HEAD.pack(PLAIN_CALL, sequence, flags) + marshal.dumps(arguments, 2)
    return data if len(data) <= MAX_BYTES else b""


class _Origin:
    """Where an answer comes from: an operation on an object of a kind, in a place; or, by its name, the candidate's module."""

    __slots__ = ("kind", "member", "operation", "place", "step")

    def __init__(self, kind: str, step: str, member: str | None, operation: str, place: str) -> None:
        self.kind, self.step, self.member, self.operation, self.place = kind, step, member, operation, place


_NOWHERE = _Origin("", "", None, "", "")


def _sort_places(watched: Iterable[int | str]) -> dict[str, tuple[int | str, ...]]:
    """Watched arguments by whose they are: "" is the entry point's."""
    found: dict[str, tuple[int | str, ...]] = {}
    for place in watched:
        whose, own = "", place
        if isinstance(place, str) and ":" in place:
            whose, _, name = place.rpartition(":")
            own = int(name) if name.isdigit() else name
        found[whose] = (*found.get(whose, ()), own)
    return found


def _name_places(whose: str, places: tuple[int | str, ...]) -> Iterable[int | str]:
    return [f"{whose}:{place}" for place in places] if whose else places
