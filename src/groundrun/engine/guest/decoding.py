"""Reading what an enemy sent as plain data: the other half of `transport`, whose docstring describes the format and the guarantees.

Nothing here recurses or calls what a message names. Every allocation is paid for by bytes that came; sharing, depth and the time
of hashing are bounded as they are met, before a value exists whose hash could take for ever.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import partial
from importlib import import_module
from time import thread_time
from typing import Any

from groundrun.engine.guest.transport import (
    ARRAY,
    BIG_INT,
    BYTEARRAY,
    BYTES,
    CLOSE,
    COMPLEX,
    COUNTER,
    DATE,
    DATETIME,
    DECIMAL,
    DEFAULT,
    DEQUE,
    DICT,
    DOUBLE,
    DOUBLES,
    DTYPE,
    ELLIPSIS,
    FACTORIES,
    FALSE,
    FALSE_ALONE,
    FLOAT,
    FLOAT_HEAD,
    FLOAT_TUPLE,
    FLOATS,
    FRACTION,
    FROZENSET,
    GENERATOR,
    GIVEN,
    HANDLE,
    INT,
    INT_HEAD,
    INTS,
    ITEMS,
    ITERATOR,
    KEYS,
    LIST,
    LONG_BYTES,
    LONG_NUMBER,
    LONG_STR,
    LONG_TEXT,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_UNFOLDED,
    NONE_ALONE,
    NOT_IMPLEMENTED,
    ORDERED,
    RANGE,
    SCALAR,
    SET,
    SHARED,
    SIGNED,
    SLICE,
    STR,
    STR_HEAD,
    TIME,
    TIMEDELTA,
    TIMEZONE,
    TRUE_ALONE,
    TUPLE,
    UNSIGNED,
    VALUES,
    WORD,
)

BUILD_CPU_S = 2.0  # of one message's dicts, sets and fractions; the largest honest message needs a tenth of it
_DECIMAL_TEXT = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?(E[-+]?[0-9]{1,20})?|Infinity|s?NaN[0-9]*)")
_UNFINISHED = object()
_AT_ONCE, _PORTION = 8, 64  # keys
_QUICK_KEYS = {int, str, float, bool, bytes, complex, type(None)}
_SHELLS: dict[int, type[Any]] = {LIST: list, DICT: dict, ORDERED: OrderedDict, COUNTER: Counter, DEFAULT: defaultdict}
Restore = Callable[[int, str], object]


class DecodeError(Exception):
    """Bytes that are not a message, or one that is larger, deeper or costlier than allowed."""


def decode(data: bytes, *, restore: Restore | None = None, given: Mapping[int, object] | None = None) -> object:
    """The value of a message. `restore` makes something of a handle; `given`: numbered objects that GIVEN may name. Raises DecodeError."""
    small = _decode_small(data)
    if small is not _UNFINISHED:
        return small
    return decode_numbered(data, restore=restore, given=given)[0]


_CONSTANTS = {NONE_ALONE: None, TRUE_ALONE: True, FALSE_ALONE: False}


def _decode_small(data: bytes) -> object:
    """The value of a message that is one small scalar and nothing more."""
    size = len(data)
    if size == 8:
        return _CONSTANTS.get(data, _UNFINISHED)
    head = data[:8]
    if head == INT_HEAD:
        return SIGNED.unpack_from(data, 8)[0] if size == 12 else _UNFINISHED
    if head == STR_HEAD and size >= 12 and UNSIGNED.unpack_from(data, 8)[0] == size - 12 < LONG_TEXT:
        try:
            return data[12:].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return _UNFINISHED
    return DOUBLE.unpack_from(data, 8)[0] if head == FLOAT_HEAD and size == 16 else _UNFINISHED


def decode_numbered(
    data: bytes, *, restore: Restore | None = None, given: Mapping[int, object] | None = None
) -> tuple[object, list[object]]:
    """The value, and the message's numbered objects in order."""
    try:
        return _Decoder(data, restore, given or {}).run()
    except DecodeError:
        raise
    except Exception as error:  # a message may be wrong in as many ways as there are constructors
        raise DecodeError(f"the message is malformed ({type(error).__name__})") from None


class _Decoder:
    """One message being read. `stack` holds complete values; `frames` the containers that are open.

    `unfolded` counts the parts of everything read so far with sharing written out, `height` the levels below the open container.
    """

    def __init__(self, data: bytes, restore: Restore | None, given: Mapping[int, object]) -> None:
        if len(data) > MAX_BYTES:
            raise DecodeError(f"the message has {len(data)} bytes, at most {MAX_BYTES} are read")
        end = 4 + 4 * WORD.unpack_from(data)[0]
        if end > len(data):
            raise DecodeError("the message is shorter than it says")
        words = array("I")
        words.frombytes(data[4:end])
        self.words: Iterator[int] = iter(words)
        self.blob, self.at = data[end:], 0
        self.restore, self.given = restore, given
        self.stack: list[Any] = []
        self.numbered: list[Any] = []
        self.sizes: list[int] = []
        self.heights: list[int] = []
        self.frames: list[tuple[int, int, int, int, int]] = []
        self.unfolded = self.height = 0
        self.spent = 0.0

    def run(self) -> tuple[object, list[object]]:
        words, stack, push, following = self.words, self.stack, self.stack.append, self.words.__next__
        for tag in words:
            if tag == INT:
                number = following()
                push(number - 0x100000000 if number & 0x80000000 else number)
            elif tag == STR:
                push(self._take(following()).decode("utf-8", "surrogatepass"))
            elif tag == CLOSE:
                self._close()
            elif tag >= LIST:
                self._open(tag)
            elif tag == FLOAT:
                push(DOUBLE.unpack(self._take(8))[0])
            elif tag <= FALSE:
                push((None, True, False)[tag])
            elif tag == SHARED:
                self._share(following())
            else:
                self._rare(tag, following)
        if self.frames or not stack or self.at != len(self.blob):
            raise DecodeError("the message is incomplete, or goes on after its end")
        return stack[-1], self.numbered

    def _take(self, size: int) -> bytes:
        start, self.at = self.at, self.at + size
        if self.at > len(self.blob):
            raise DecodeError("the message names more bytes than it has")
        self.unfolded += size >> 4
        return self.blob[start : self.at]

    def _add(self, value: object, size: int) -> None:
        """A complete numbered value without parts of its own."""
        self.numbered.append(value)
        self.sizes.append(size)
        self.heights.append(0)
        self.unfolded += size
        self.stack.append(value)

    def _share(self, number: int) -> None:
        value = self.numbered[number]
        if value is _UNFINISHED:
            raise DecodeError("a value is mentioned before it is complete")
        self.unfolded += self.sizes[number]
        if self.unfolded > MAX_UNFOLDED:
            raise DecodeError(f"the value has more than {MAX_UNFOLDED} parts when its shared parts are written out")
        self.height = max(self.height, self.heights[number])
        if len(self.frames) + self.height > MAX_DEPTH:
            raise DecodeError(f"the value is nested deeper than {MAX_DEPTH} levels")
        self.stack.append(value)

    def _open(self, tag: int) -> None:
        if len(self.frames) >= MAX_DEPTH:
            raise DecodeError(f"the value is nested deeper than {MAX_DEPTH} levels")
        if tag == DEQUE:
            limit = next(self.words)
            shell: Any = deque(maxlen=limit - 1 if limit else None)
        else:
            shell = _SHELLS[tag]() if tag in _SHELLS else _UNFINISHED
        self.frames.append((tag, len(self.numbered), len(self.stack), self.unfolded, self.height))
        self.height = 0
        self.numbered.append(shell)
        self.sizes.append(1)
        self.heights.append(0)

    def _close(self) -> None:
        tag, number, base, before, outer = self.frames.pop()
        items = self.stack[base:]
        del self.stack[base:]
        self.unfolded += len(items) + 1
        self.sizes[number] = self.unfolded - before
        self.height = self.heights[number] = self.height + 1
        self.height = max(self.height, outer)
        value = self.numbered[number]
        if tag == LIST or tag == DEQUE:
            value.extend(items)
        elif tag == TUPLE:
            value = self.numbered[number] = tuple(items)
        elif tag in _SHELLS:
            if tag == DEFAULT:
                value.default_factory = _restored_factory(items.pop(0))
            self._fill_dict(value, items[::2], items[1::2])
        elif tag == SET or tag == FROZENSET:
            members: set[object] = set()
            self._fill_set(members, items)
            value = self.numbered[number] = members if tag == SET else frozenset(members)
        else:
            value = self.numbered[number] = self._build(tag, items)
        self.stack.append(value)

    def _fill_dict(self, shell: dict[object, object], keys: list[object], values: list[object]) -> None:
        if len(keys) != len(values):
            raise DecodeError("a dict has a key without a value")
        store = shell.update if type(shell) is OrderedDict else partial(dict.update, shell)  # Counter.update would add up
        for part in self._portions(keys):
            store(zip(keys[part], values[part], strict=True))
        if len(shell) != len(keys):
            raise DecodeError("a dict has the same key twice")

    def _fill_set(self, members: set[object], items: list[object]) -> None:
        for part in self._portions(items):
            members.update(items[part])
        if len(members) != len(items):
            raise DecodeError("a set has the same member twice")

    def _portions(self, keys: list[object]) -> Iterator[slice]:
        """Slices of `keys` to be hashed one after the other, as long as the time for that lasts.

        Comparing one key with all those that collide with it can't be interrupted, so keys that are slow to compare go one by one.
        """
        if len(keys) <= _AT_ONCE:
            yield slice(None)
            return
        step = _PORTION if _QUICK_KEYS.issuperset(map(type, keys)) else 1
        for start in range(0, len(keys), step):
            began = thread_time()
            yield slice(start, start + step)
            self._spend(thread_time() - began)

    def _spend(self, cpu_s: float) -> None:
        self.spent += cpu_s
        if self.spent > BUILD_CPU_S:
            raise DecodeError(f"hashing what the message holds took more than {BUILD_CPU_S} seconds")

    def _rare(self, tag: int, following: Callable[[], int]) -> None:
        if tag == BIG_INT:
            self.stack.append(int.from_bytes(self._take(following()), "little", signed=True))
        elif tag == BYTES:
            self.stack.append(self._take(following()))
        elif tag == LONG_STR:
            data = self._take(following())
            self._add(data.decode("utf-8", "surrogatepass"), len(data) >> 4)
        elif tag == LONG_BYTES:
            data = self._take(following())
            self._add(data, len(data) >> 4)
        elif tag == BYTEARRAY:
            data = self._take(following())
            self._add(bytearray(data), len(data) >> 4)
        elif INTS <= tag <= FLOAT_TUPLE:
            count = following()
            packed = array("d" if tag == FLOATS or tag == FLOAT_TUPLE else "q")
            packed.frombytes(self._take(8 * count))
            self._add(packed.tolist() if tag <= FLOATS else tuple(packed), count)
        elif tag == COMPLEX:
            self.stack.append(complex(*DOUBLES.unpack(self._take(16))))
        elif tag == ELLIPSIS:
            self.stack.append(Ellipsis)
        elif tag == NOT_IMPLEMENTED:
            self.stack.append(NotImplemented)
        elif tag == GIVEN:
            self.stack.append(self.given[following()])
        elif tag == HANDLE and self.restore is not None:
            number = following()
            self.stack.append(self.restore(number, self._take(following()).decode()))
        else:
            raise DecodeError(f"there is no tag {tag} here")

    def _build(self, tag: int, items: list[Any]) -> object:
        if tag == ITERATOR:
            return iter(items)
        if tag == GENERATOR:
            return (item for item in items)
        if tag == VALUES:
            return dict(enumerate(items)).values()
        if tag == KEYS or tag == ITEMS:
            shell: dict[object, object] = {}
            if tag == KEYS:
                self._fill_dict(shell, items, [None] * len(items))
                return shell.keys()
            self._fill_dict(shell, items[::2], items[1::2])
            return shell.items()
        if tag == RANGE or tag == SLICE:
            start, stop, step = items
            return range(start, stop, step) if tag == RANGE else slice(start, stop, step)
        if tag == DECIMAL:
            (text,) = items
            if type(text) is not str or len(text) > LONG_NUMBER or not _DECIMAL_TEXT.fullmatch(text):
                raise DecodeError("a decimal is not written as one, or is too long")
            return Decimal(text)
        if tag == FRACTION:
            return self._fraction(*items)
        if tag == TIMEDELTA:
            days, seconds, microseconds = _whole(items, 3)
            return timedelta(days, seconds, microseconds)
        if tag == DATE:
            return date(*_whole(items, 3))
        if tag == TIMEZONE:
            return timezone(*items)
        if tag == DATETIME:
            *numbers, fold, zone = items
            year, month, day, hour, minute, second, microsecond = _whole(numbers, 7)
            return datetime(year, month, day, hour, minute, second, microsecond, _zone(zone), fold=fold)
        if tag == TIME:
            *numbers, fold, zone = items
            hour, minute, second, microsecond = _whole(numbers, 4)
            return time(hour, minute, second, microsecond, _zone(zone), fold=fold)
        if tag == ARRAY or tag == SCALAR:
            return _array(tag, *items)
        raise DecodeError(f"there is no container {tag}")

    def _fraction(self, numerator: Any, denominator: Any) -> Fraction:
        for part in (numerator, denominator):
            if type(part) is not int or part.bit_length() > 8 * LONG_NUMBER:
                raise DecodeError(f"a fraction needs two integers of at most {LONG_NUMBER} bytes")
        began = thread_time()
        value = Fraction(numerator, denominator)
        self._spend(thread_time() - began)
        return value


def _whole(items: list[Any], count: int) -> list[int]:
    if len(items) != count or set(map(type, items)) != {int}:
        raise DecodeError(f"a date or a time needs {count} integers")
    return items


def _zone(zone: object) -> timezone | None:
    if zone is not None and type(zone) is not timezone:
        raise DecodeError("a time zone is not plain data")
    return zone


def _restored_factory(factory: Any) -> Any:
    return FACTORIES[factory] if type(factory) is str else factory


def _array(tag: int, dtype: Any, shape: Any, data: Any) -> object:
    if type(dtype) is not str or not DTYPE.fullmatch(dtype) or type(data) is not bytes or type(shape) is not tuple:
        raise DecodeError("an array has a type or a shape that can't cross")
    if len(shape) > 32 or any(type(size) is not int or not 0 <= size <= MAX_BYTES for size in shape):
        raise DecodeError("an array has an impossible shape")
    numpy = import_module("numpy")  # only when a candidate used it; missing means that the value can't be judged here

    flat = numpy.frombuffer(data, dtype=dtype)
    if flat.dtype.kind == "b" and (flat.view("u1") > 1).any():
        raise DecodeError("a truth value of an array is neither 0 nor 1")
    if flat.dtype.kind == "U" and flat.dtype.itemsize and (numpy.frombuffer(data, dtype=dtype[0] + "u4") > 0x10FFFF).any():
        raise DecodeError("an array holds what is no character")
    values: Any = flat.reshape(shape).copy()
    return values if tag == ARRAY else values[()]
