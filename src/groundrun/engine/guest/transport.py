"""Python values as bytes, between two processes of which one must not trust the other.

What crosses is *plain data*: values whose type is exactly a builtin one (`type(x) is int`, never a subclass): None, bool, int of any
size, float (every NaN and -0.0 to the bit), complex, str with lone surrogates, bytes, bytearray, list, tuple, set, frozenset, dict in its
order, range, slice, Ellipsis, NotImplemented; Counter, OrderedDict, defaultdict, deque; Decimal, Fraction; datetime, date, time,
timedelta, timezone; numpy scalars and arrays of numbers and text. An object reached twice is one object on the other side too, and a
cycle is a cycle, within one message; except that a tuple which contains itself through two lists at once is refused.

Iterators, generators and dict views cross when `drain` says so: they arrive as real ones over what they would have given, so that no
code of the sender runs while the receiver iterates. Everything else is offered to the `keep` hook, which may turn it into a *handle*,
a number and a type name; without that it is an `EncodeError`. A named tuple or an enum member is an instance of somebody's class:
not plain data. The factory of a defaultdict crosses by name when it is a builtin type, else as a handle.

The decoder takes bytes from an enemy. It never recurses, calls nothing that the message names, allocates in proportion to the
bytes that came, and bounds depth, sharing (the size of the value if every shared part were written out) and the processor time
of building dicts and sets, whose keys may be chosen to collide. Whatever is wrong is one `DecodeError`.
It doesn't promise that *using* a decoded value is cheap: `==` on cyclic values raises RecursionError, and `set()` of a decoded list
of colliding numbers is as slow as ever. Receivers run under a limit on processor time.

Message: u32 count of words, the words (u32, in the machine's byte order), then a blob. A word is a tag or its operand; texts and
numbers lie in the blob in the order in which the words need them. A container is its tag, its parts, CLOSE. Containers, byte arrays,
packed lists and long texts are numbered in the order of their tags; SHARED n is the n-th again. GIVEN n is the n-th of the message
that this one answers. Several values may follow each other: the last is the message, the others were written first
because a tuple can't be mentioned before it is complete. Small scalars, which most calls give, have a short way through both sides.
This file writes; `decoding` reads.
"""

from __future__ import annotations

import os
import re
import sys
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from struct import Struct
from types import GeneratorType
from typing import Any

MAX_BYTES = 32 << 20
MAX_DEPTH = 400  # far below the interpreter's recursion limit, which `==` and `hash` of the receiver obey
MAX_UNFOLDED = 16_000_000  # parts of the value with sharing written out: `==` over that many takes about half a second
MAX_DRAINED = 1_000_000
MAX_KNOTS = 16
LONG_TEXT = 256  # bytes; a text of this size or more is shared instead of written again
LONG_NUMBER = 8192  # bytes; of a numerator, denominator or decimal: their arithmetic is quadratic

NONE, TRUE, FALSE, INT, BIG_INT, FLOAT, COMPLEX, STR, BYTES, ELLIPSIS, NOT_IMPLEMENTED = range(11)
SHARED, GIVEN, HANDLE, CLOSE = range(11, 15)
LONG_STR, LONG_BYTES, BYTEARRAY, INTS, FLOATS, INT_TUPLE, FLOAT_TUPLE = range(16, 23)
LIST, TUPLE, DICT, SET, FROZENSET, ORDERED, COUNTER, DEFAULT, DEQUE = range(32, 41)
KEYS, VALUES, ITEMS, ITERATOR, GENERATOR, RANGE, SLICE, DECIMAL, FRACTION = range(41, 50)
DATETIME, DATE, TIME, TIMEDELTA, TIMEZONE, ARRAY, SCALAR = range(50, 57)

DOUBLE, DOUBLES, WORD = Struct("<d"), Struct("<dd"), Struct("<I")
SIGNED, UNSIGNED = Struct("=i"), Struct("=I")
_PACK_FROM = 8
_PORTION = 16384  # what is read at once: most frames are far smaller
_SCALARS = {bool, int, float, str, bytes, complex, type(None)}
FACTORIES: dict[str, type] = {t.__name__: t for t in (bool, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)}
_FACTORY_NAMES = {t: name for name, t in FACTORIES.items()}
_VIEWS = {type({}.keys()): KEYS, type({}.values()): VALUES, type({}.items()): ITEMS}
DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c(8|16)|[SU][0-9]{1,7})")

Keep = Callable[[object], "tuple[int, str]"]


class EncodeError(Exception):
    """A value, or a part of it, is not plain data or is too large to cross."""


class TooLarge(EncodeError):
    """A value takes more bytes, levels or items than may cross."""


def is_simple(values: tuple[object, ...]) -> bool:
    """Whether marshal, several times as fast as this transport, is as exact: scalars, and lists of them of which none is there twice.

    For values of ours on their way to a candidate; what comes from there is never read by marshal.
    """
    lists: list[int] = []
    for item in values:
        if type(item) in _SCALARS:
            continue
        if type(item) is not list or id(item) in lists or not _SCALARS.issuperset(map(type, item)):
            return False
        lists.append(id(item))
    return True


class _Knot(Exception):
    """A tuple reached itself through `container`, which must be written before it."""

    def __init__(self, container: object) -> None:
        self.container = container


class _Close:
    __slots__ = ()


_CLOSING = _Close()


def encode(value: object, *, keep: Keep | None = None, drain: int = MAX_DRAINED, given: Mapping[int, int] | None = None) -> bytes:
    """The message for `value`. Raises EncodeError.

    `drain`: iterators cross that have no more items than that; 0: none do. `given`: id of an object to its number in the message that
    this one answers.
    """
    return _encode_small(value) or encode_numbered(value, keep=keep, drain=drain, given=given)[0]


NONE_ALONE, TRUE_ALONE, FALSE_ALONE = (WORD.pack(1) + UNSIGNED.pack(tag) for tag in (NONE, TRUE, FALSE))
FLOAT_HEAD = WORD.pack(1) + UNSIGNED.pack(FLOAT)
INT_HEAD, STR_HEAD = (WORD.pack(2) + UNSIGNED.pack(tag) for tag in (INT, STR))


def _encode_small(value: Any) -> bytes | None:
    """The message of a small scalar, which is what most calls give; None for anything else."""
    kind = type(value)
    if kind is bool:
        return TRUE_ALONE if value else FALSE_ALONE
    if kind is int:
        return INT_HEAD + SIGNED.pack(value) if -0x80000000 <= value <= 0x7FFFFFFF else None
    if kind is str:
        data = value.encode("utf-8", "surrogatepass")
        return STR_HEAD + UNSIGNED.pack(len(data)) + data if len(data) < LONG_TEXT else None
    if kind is float:
        return FLOAT_HEAD + DOUBLE.pack(value)
    return NONE_ALONE if value is None else None


def encode_numbered(
    value: object, *, keep: Keep | None = None, drain: int = MAX_DRAINED, given: Mapping[int, int] | None = None
) -> tuple[bytes, list[object]]:
    """The message, and its numbered objects in order."""
    first: list[object] = []
    while True:
        try:
            return _Encoder(keep, drain, given or {}).run([*first, value])
        except _Knot as knot:
            if len(first) >= MAX_KNOTS or any(knot.container is known for known in first):
                raise EncodeError("tuples contain themselves in too many ways") from None
            first.insert(0, knot.container)


class _Encoder:
    """One message being written. `stack` holds what is still to be written, the next on top."""

    def __init__(self, keep: Keep | None, drain: int, given: Mapping[int, int]) -> None:
        self.keep, self.drain, self.given = keep, drain, given
        self.words: list[int] = []
        self.blob: list[bytes] = []
        self.numbered: list[object] = []  # also keeps temporary objects alive, so that no id is used twice
        self.numbers: dict[int, int] = {}
        self.open: list[int] = []
        self.incomplete: set[int] = set()

    def run(self, values: list[object]) -> tuple[bytes, list[object]]:
        words, blob, stack = self.words, self.blob, values[::-1]
        while stack:
            item = stack.pop()
            kind = type(item)
            if kind is int:
                if -0x80000000 <= item <= 0x7FFFFFFF:  # type: ignore[operator]
                    words += (INT, item & 0xFFFFFFFF)  # type: ignore[operator]
                else:
                    data = item.to_bytes(item.bit_length() // 8 + 1, "little", signed=True)  # type: ignore[attr-defined]
                    words += (BIG_INT, len(data))
                    blob.append(data)
            elif kind is str:
                data = item.encode("utf-8", "surrogatepass")  # type: ignore[attr-defined]
                self._text(item, data, STR, LONG_STR)
            elif kind is float:
                words.append(FLOAT)
                blob.append(DOUBLE.pack(item))
            elif kind is _Close:
                words.append(CLOSE)
                self.incomplete.discard(self.open.pop())
            elif kind is bool:
                words.append(TRUE if item else FALSE)
            elif item is None:
                words.append(NONE)
            elif id(item) in self.numbers:
                self._share(self.numbers[id(item)])
            elif id(item) in self.given:
                words += (GIVEN, self.given[id(item)])
            elif kind in _PARTS:
                self._container(item, kind, stack)
            else:
                self._rare(item, kind, stack)
        head = array("I", words).tobytes()
        message = b"".join((WORD.pack(len(words)), head, *blob))
        if len(message) > MAX_BYTES:
            raise TooLarge(f"the value takes {len(message)} bytes, at most {MAX_BYTES} cross")
        return message, self.numbered

    def _number(self, item: object) -> int:
        number = self.numbers[id(item)] = len(self.numbered)
        self.numbered.append(item)
        return number

    def _text(self, item: object, data: bytes, short: int, long: int) -> None:
        if len(data) < LONG_TEXT:
            self.words += (short, len(data))
        elif id(item) in self.numbers:
            self._share(self.numbers[id(item)])
            return
        else:
            self._number(item)
            self.words += (long, len(data))
        self.blob.append(data)

    def _share(self, number: int) -> None:
        if number in self.incomplete:
            for outer in reversed(self.open):
                if outer not in self.incomplete:
                    raise _Knot(self.numbered[outer])
            raise EncodeError("a value contains itself in a way that plain data can't")
        self.words += (SHARED, number)

    def _container(self, item: Any, kind: type, stack: list[object]) -> None:
        tag, parts, mutable = _PARTS[kind]
        if tag <= TUPLE and len(item) >= _PACK_FROM and self._pack(item, tag):
            return
        children: list[object] | tuple[object, ...] = parts(item) if parts else item
        self._open(item, tag, mutable)
        if tag == DEQUE:
            limit = 0 if item.maxlen is None else item.maxlen + 1
            if limit > 0xFFFFFFFF:
                raise EncodeError(f"a deque of at most {item.maxlen} items can't cross")
            self.words.append(limit)
        stack.append(_CLOSING)
        stack.extend(reversed(children))

    def _open(self, item: object, tag: int, mutable: bool) -> None:
        if len(self.open) >= MAX_DEPTH:
            raise TooLarge(f"the value is nested deeper than {MAX_DEPTH} levels")
        if len(self.words) > MAX_BYTES // 4:
            raise TooLarge(f"the value takes more than {MAX_BYTES} bytes")
        number = self._number(item)
        self.open.append(number)
        if not mutable:
            self.incomplete.add(number)
        self.words.append(tag)

    def _pack(self, item: Any, tag: int) -> bool:
        kinds = set(map(type, item))
        if len(kinds) != 1:
            return False
        kind = kinds.pop()
        try:
            packed = array("q", item) if kind is int else array("d", item) if kind is float else None
        except OverflowError:
            return False
        if packed is None:
            return False
        self._number(item)
        self.words += ((INTS if kind is int else FLOATS) + 2 * (tag == TUPLE), len(packed))
        self.blob.append(packed.tobytes())
        return True

    def _rare(self, item: Any, kind: type, stack: list[object]) -> None:
        words = self.words
        if kind is bytes:
            self._text(item, item, BYTES, LONG_BYTES)
        elif kind is bytearray:
            self._number(item)
            words += (BYTEARRAY, len(item))
            self.blob.append(bytes(item))
        elif kind is complex:
            words.append(COMPLEX)
            self.blob.append(DOUBLES.pack(item.real, item.imag))
        elif item is Ellipsis:
            words.append(ELLIPSIS)
        elif item is NotImplemented:
            words.append(NOT_IMPLEMENTED)
        elif kind in _VIEWS and self.drain:
            self._parts(item, _VIEWS[kind], [x for pair in item for x in pair] if _VIEWS[kind] == ITEMS else list(item), stack)
        elif self.drain and hasattr(kind, "__next__") and kind.__module__ in ("builtins", "itertools"):
            drained = list(islice(item, self.drain + 1))
            if len(drained) > self.drain:
                raise TooLarge(f"an iterator gives more than {self.drain} items")
            self._parts(item, GENERATOR if kind is GeneratorType else ITERATOR, drained, stack)
        elif (tag := _array_tag(kind, item)) is not None:
            shape = item.shape if tag == ARRAY else ()
            self._parts(item, tag, [item.dtype.str, tuple(map(int, shape)), item.tobytes()], stack)
        else:
            self._handle(item, kind)

    def _parts(self, item: object, tag: int, children: list[object], stack: list[object]) -> None:
        self._open(item, tag, mutable=False)
        stack.append(_CLOSING)
        stack.extend(reversed(children))

    def _handle(self, item: object, kind: type) -> None:
        if self.keep is None:
            raise EncodeError(f"a value of type {kind.__name__} is not plain data")
        number, name = self.keep(item)
        data = name.encode("utf-8", "replace")[:LONG_TEXT]
        self.words += (HANDLE, number, len(data))
        self.blob.append(data)


def _array_tag(kind: type, item: Any) -> int | None:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if kind is getattr(numpy, "ndarray", None):
        tag = ARRAY
    elif kind.__module__ == "numpy" and issubclass(kind, numpy.generic):
        tag = SCALAR
    else:
        return None
    return tag if DTYPE.fullmatch(item.dtype.str) else None


def _flat(item: Mapping[object, object]) -> list[object]:
    return [x for pair in item.items() for x in pair]


def _moment(item: datetime | time) -> list[object]:
    clock: list[object] = [item.hour, item.minute, item.second, item.microsecond, item.fold, item.tzinfo]
    return [item.year, item.month, item.day, *clock] if isinstance(item, datetime) else clock


# type -> tag, its parts (None: it is its own list of parts), and whether it can be mentioned before it is complete
_PARTS: dict[type, tuple[int, Callable[[Any], list[object]] | None, bool]] = {
    list: (LIST, None, True),
    tuple: (TUPLE, None, False),
    dict: (DICT, _flat, True),
    set: (SET, list, False),
    frozenset: (FROZENSET, list, False),
    OrderedDict: (ORDERED, _flat, True),
    Counter: (COUNTER, _flat, True),
    defaultdict: (DEFAULT, lambda x: [_factory(x.default_factory), *_flat(x)], True),
    deque: (DEQUE, list, True),
    range: (RANGE, lambda x: [x.start, x.stop, x.step], False),
    slice: (SLICE, lambda x: [x.start, x.stop, x.step], False),
    Decimal: (DECIMAL, lambda x: [str(x)], False),
    Fraction: (FRACTION, lambda x: [x.numerator, x.denominator], False),
    datetime: (DATETIME, _moment, False),
    date: (DATE, lambda x: [x.year, x.month, x.day], False),
    time: (TIME, _moment, False),
    timedelta: (TIMEDELTA, lambda x: [x.days, x.seconds, x.microseconds], False),
    timezone: (TIMEZONE, lambda x: list(x.__getinitargs__()), False),
}


def parts_of(item: object) -> list[object] | tuple[object, ...] | None:
    """What a plain container holds directly; None when `item` is not one."""
    entry = _PARTS.get(type(item))
    if entry is None:
        return None
    parts = entry[1]
    return parts(item) if parts else item  # type: ignore[return-value]


def _factory(factory: object) -> object:
    return _FACTORY_NAMES.get(factory, factory) if type(factory) is type else factory


def send_frame(descriptor: int, data: bytes) -> None:
    """Write one frame, a length (u32, little endian) and that many bytes, to a stream socket. Raises OSError when nobody reads."""
    view = memoryview(WORD.pack(len(data)) + data)
    while view:
        view = view[os.write(descriptor, view) :]


class Reader:
    """Frames from a stream socket. What came along with the frame before is held; no other reader may share the socket."""

    __slots__ = ("_descriptor", "_held")

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._held = descriptor, b""

    def is_ready(self) -> bool:
        """Whether the next frame is held whole, so that nothing has to come."""
        held = self._held
        return len(held) >= 4 and len(held) >= 4 + WORD.unpack_from(held)[0]

    def receive(self) -> bytes | None:
        """The next frame; None when the other side has closed. Raises EncodeError when a frame says that it is too long to be one."""
        held = self._held
        while len(held) < 4:
            part = self._read(_PORTION)
            if not part:
                return None
            held = held + part if held else part
        end = 4 + WORD.unpack_from(held)[0]
        if end - 4 > MAX_BYTES:
            raise EncodeError(f"a frame of {end - 4} bytes was announced, at most {MAX_BYTES} cross")
        if len(held) < end:
            data = bytearray(held)
            self._held = b""
            while len(data) < end:
                part = self._read(min(end - len(data), 1 << 20))
                if not part:
                    return None
                data += part
            return bytes(memoryview(data)[4:])
        self._held = held[end:]
        return held[4:end]

    def _read(self, size: int) -> bytes:
        try:
            return os.read(self._descriptor, size)
        except ConnectionResetError:
            return b""
