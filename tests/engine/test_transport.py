"""Values come back as what they were, whoever wrote the bytes; and bytes of an enemy are refused in bounded time."""

from __future__ import annotations

import marshal
import math
import os
import socket
import struct
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundrun.engine.guest import transport
from groundrun.engine.guest.decoding import DecodeError, decode
from groundrun.engine.guest.mutation import find_mutable, overwrite
from groundrun.engine.guest.transport import EncodeError, Reader, encode, is_simple, send_frame

pytestmark = pytest.mark.unit

MERSENNE = (1 << 61) - 1  # integers that differ by it have the same hash


def fingerprint(value: object) -> object:
    """A value as nested tuples of type names and exact contents, in which NaN, -0.0 and sharing can be compared."""
    numbers: dict[int, int] = {}

    def walk(item: Any) -> object:
        kind = type(item)
        if kind is float:
            return "float", struct.pack("<d", item)
        if kind is complex:
            return "complex", struct.pack("<dd", item.real, item.imag)
        if kind in (list, tuple, dict, set, frozenset, Counter, OrderedDict, defaultdict, deque):
            if id(item) in numbers:
                return "again", numbers[id(item)]
            numbers[id(item)] = len(numbers)
        if kind in (list, tuple):
            return kind.__name__, [walk(part) for part in item]
        if kind is deque:
            return "deque", item.maxlen, [walk(part) for part in item]
        if kind in (set, frozenset):
            return kind.__name__, sorted(repr(walk(part)) for part in item)
        if isinstance(item, dict):
            return kind.__name__, getattr(item, "default_factory", None), [(walk(key), walk(part)) for key, part in item.items()]
        if kind is Decimal:
            return "Decimal", item.as_tuple()
        return kind.__name__, item

    return walk(value)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(1 << 3000), max_value=1 << 3000),
    st.floats(),
    st.complex_numbers(),
    st.text(),
    st.text(st.characters(categories=["Cs", "Lu"])),
    st.binary(),
    st.decimals(),
    st.fractions(),
    st.datetimes(),
    st.datetimes(timezones=st.just(UTC)),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.builds(range, st.integers(), st.integers(), st.integers(min_value=1)),
    st.just(...),
    st.just(NotImplemented),
)
KEYS = st.one_of(st.none(), st.integers(), st.text(), st.binary(), st.tuples(st.integers(), st.text()), st.frozensets(st.integers()))


def _containers(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(parts, max_size=12),
        st.lists(parts, max_size=12).map(tuple),
        st.dictionaries(KEYS, parts),
        st.dictionaries(KEYS, parts).map(OrderedDict),
        st.dictionaries(KEYS, parts).map(lambda items: defaultdict(list, items)),
        st.dictionaries(KEYS, st.integers()).map(Counter),
        st.sets(KEYS),
        st.frozensets(KEYS),
        st.tuples(st.lists(parts, max_size=5), st.sampled_from([None, 3, 9])).map(lambda pair: deque(*pair)),
    )


VALUES = st.recursive(SCALARS, _containers, max_leaves=30)


SIMPLE = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=300), st.lists(st.integers()))


@given(st.lists(SIMPLE, max_size=5))
def test_what_is_simple_is_as_exact_by_marshal(values: list[Any]) -> None:
    """And is not simple when it holds one list twice, or anything else than scalars."""
    assert is_simple(tuple(values))
    assert fingerprint(list(marshal.loads(marshal.dumps(tuple(values), 2)))) == fingerprint(values)
    assert not is_simple((values, values)) and not is_simple(([values],)) and not is_simple((bytearray(b"x"),))


@given(VALUES)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_value_comes_back_with_its_type(value: object) -> None:
    assert fingerprint(decode(encode(value))) == fingerprint(value)


@given(st.lists(st.integers(), min_size=8), st.lists(st.floats(), min_size=8), st.lists(st.booleans(), min_size=8))
def test_long_lists_of_one_kind_keep_their_types(ints: list[int], floats: list[float], truths: list[bool]) -> None:
    for value in (ints, floats, truths, tuple(ints), tuple(floats), [*ints, True], [*floats, 1]):
        assert fingerprint(decode(encode(value))) == fingerprint(value)


@st.composite
def graphs(draw: st.DrawFn) -> list[Any]:
    """Containers that hold each other in any way: lists, dicts and deques freely, tuples of those made before them."""
    nodes: list[Any] = [draw(st.sampled_from([list, dict, deque]))() for _ in range(draw(st.integers(1, 6)))]
    for _ in range(draw(st.integers(0, 4))):
        nodes.append(tuple(draw(st.lists(st.sampled_from(nodes), max_size=3))))
    for node in nodes:
        held = [] if isinstance(node, tuple) else draw(st.lists(st.sampled_from(nodes), max_size=3))
        if isinstance(node, dict):
            node.update(enumerate(held))
        elif held:
            node.extend(held)
    return nodes


def _shape(root: object) -> list[tuple[str, list[int]]]:
    """Every object that can be reached, numbered in the order of being met: its type and the numbers of what it holds."""
    order, numbers, shape = [root], {id(root): 0}, []
    for item in order:
        held = list(item.values()) if isinstance(item, dict) else list(item)  # type: ignore[call-overload]
        for part in held:
            if id(part) not in numbers:
                numbers[id(part)] = len(order)
                order.append(part)
        shape.append((type(item).__name__, [numbers[id(part)] for part in held]))
    return shape


@given(graphs())
def test_sharing_and_cycles_keep_their_shape(nodes: list[Any]) -> None:
    knotted = any(isinstance(node, tuple) for node in nodes)
    for root in (nodes, nodes[-1], nodes[0]):
        try:
            data = encode(root)
        except EncodeError as error:
            assert knotted and "tuples contain themselves" in str(error)
        else:
            assert _shape(decode(data)) == _shape(root)


def test_a_tuple_may_contain_itself_through_a_list() -> None:
    inner: list[object] = []
    knot = (1, inner)
    inner.append(knot)
    result: Any = decode(encode(knot))
    assert type(result) is tuple and result[1][0] is result


def test_too_many_knots_are_refused_in_words() -> None:
    left: list[object] = []
    right: list[object] = []
    knot = (left, right)
    left.append(knot)
    right.append(knot)
    with pytest.raises(EncodeError, match="tuples contain themselves"):
        encode(knot)


def test_one_long_text_is_sent_once() -> None:
    text = "x" * 10_000
    data = encode([text] * 100)
    assert len(data) < 12_000
    assert decode(data) == [text] * 100


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        -0.0,
        math.inf,
        10**5000,
        -(10**5000),
        "\ud83d\ude00",
        slice(1, None, (2,)),
        bytearray(b"ab"),
        timezone(timedelta(hours=1), "Here"),
        datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=UTC),
        time(1, 2, 3, 4, fold=1),
        date.max,
        timedelta.min,
        Decimal("sNaN123"),
        Decimal("-0E+77"),
        Fraction(-3, 7),
    ],
    ids=lambda value: type(value).__name__,
)
def test_corner_values(value: object) -> None:
    result = decode(encode(value))
    assert fingerprint(result) == fingerprint(value)
    assert getattr(result, "fold", None) == getattr(value, "fold", None)


def test_iterators_arrive_over_what_they_would_have_given() -> None:
    result: Any = decode(encode([(x for x in "ab"), map(str, [1, 2]), {"k": 1}.keys(), {"k": [1]}.items(), {"k": 1}.values()]))
    generator, mapped, keys, items, values = result
    assert (list(generator), list(generator)) == (["a", "b"], [])
    assert list(mapped) == ["1", "2"]
    assert keys == {"k"} and list(items) == [("k", [1])] and list(values) == [1]


def test_an_endless_iterator_is_refused() -> None:
    with pytest.raises(EncodeError, match="more than 1000 items"):
        encode(iter(int, 1), drain=1000)
    assert list(decode(encode(iter(range(1000)), drain=1000))) == list(range(1000))  # type: ignore[call-overload]


def test_subclasses_are_not_plain() -> None:
    class Yes(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    kept: list[object] = []

    def keep(item: object) -> tuple[int, str]:
        kept.append(item)
        return len(kept) - 1, type(item).__name__

    with pytest.raises(EncodeError, match="Yes"):
        encode(Yes(1))
    assert decode(encode([Yes(1)], keep=keep), restore=lambda number, name: (number, name)) == [(0, "Yes")]
    assert type(kept[0]) is Yes


def test_a_foreign_factory_is_a_handle() -> None:
    kept: list[Any] = []

    def keep(item: object) -> tuple[int, str]:
        kept.append(item)
        return 0, "function"

    value = defaultdict(lambda: 7, a=1)
    result: Any = decode(encode(value, keep=keep), restore=lambda number, name: kept[number])
    assert type(result) is defaultdict and result == {"a": 1} and result["missing"] == 7


def test_nesting_is_bounded_on_both_sides() -> None:
    deep: list[Any] = []
    for _ in range(transport.MAX_DEPTH + 5):
        deep = [deep]
    with pytest.raises(EncodeError, match="nested deeper"):
        encode(deep)
    words = [transport.LIST] * 1000 + [transport.CLOSE] * 1000
    with pytest.raises(DecodeError, match="nested deeper"):
        decode(_message(words))


def test_depth_built_from_sharing_is_bounded() -> None:
    words = [transport.LIST, transport.LIST, transport.CLOSE]
    for number in range(1, 2000):
        words += [transport.LIST, transport.SHARED, number, transport.CLOSE]
    with pytest.raises(DecodeError, match="nested deeper"):
        decode(_message([*words, transport.CLOSE]))


@pytest.mark.parametrize("tag", [transport.TUPLE, transport.LIST], ids=["hashable", "unhashable"])
def test_a_bomb_of_shared_parts_is_refused_before_anything_walks_it(tag: int) -> None:
    words = [transport.DICT, tag, tag, transport.CLOSE]
    for number in range(2, 100):
        words += [tag, transport.SHARED, number, transport.SHARED, number, transport.CLOSE]
    words = [transport.LIST, *words, transport.CLOSE]
    with pytest.raises(DecodeError):
        decode(_message(words))
    chain = [transport.LIST, tag, transport.CLOSE]
    for number in range(1, 100):
        chain += [tag, transport.SHARED, number, transport.SHARED, number, transport.CLOSE]
    with pytest.raises(DecodeError, match="shared parts are written out"):
        decode(_message([*chain, transport.CLOSE]))


@pytest.mark.parametrize(
    "make",
    [
        lambda keys: dict.fromkeys(keys),
        set,
        frozenset,
        lambda keys: Counter(dict.fromkeys(keys, 1)),
        lambda keys: OrderedDict.fromkeys(keys),
        lambda keys: {(key, 0): 1 for key in keys},
    ],
    ids=["dict", "set", "frozenset", "Counter", "OrderedDict", "tuple keys"],
)
def test_colliding_keys_end_in_an_error(make: Callable[[list[int]], object], monkeypatch: pytest.MonkeyPatch) -> None:
    honest = encode(make(list(range(3000))))
    monkeypatch.setattr("groundrun.engine.guest.decoding.BUILD_CPU_S", 0.02)
    with pytest.raises(DecodeError, match="hashing"):
        decode(encode(make([number * MERSENNE for number in range(3000)])))
    monkeypatch.undo()
    assert decode(honest) == make(list(range(3000)))


def test_quarter_million_colliding_keys_stop_early() -> None:
    size = 250_000
    words = [transport.DICT]
    for _ in range(size):
        words += [transport.BIG_INT, 11, transport.NONE]
    blob = b"".join((number * MERSENNE + (MERSENNE << 62)).to_bytes(17, "little")[:11] for number in range(size))
    keys = [int.from_bytes(blob[at : at + 11], "little", signed=True) for at in range(0, 1100, 11)]
    assert len(keys) == 100
    with pytest.raises(DecodeError):
        decode(_message([*words, transport.CLOSE], blob))


@pytest.mark.parametrize(
    ("words", "blob"),
    [
        ([], b""),
        ([transport.CLOSE], b""),
        ([transport.LIST], b""),
        ([99], b""),
        ([15], b""),
        ([transport.INT], b""),
        ([transport.STR, 5], b"abc"),
        ([transport.STR, 0xFFFFFFFF], b"abc"),
        ([transport.INTS, 0xFFFFFFFF], b""),
        ([transport.NONE], b"left over"),
        ([transport.SHARED, 0], b""),
        ([transport.GIVEN, 0], b""),
        ([transport.HANDLE, 0, 0], b""),
        ([transport.TUPLE, transport.SHARED, 0, transport.CLOSE], b""),
        ([transport.DICT, transport.NONE, transport.CLOSE], b""),
        ([transport.DICT, *[transport.INT, 1, transport.NONE] * 2, transport.CLOSE], b""),
        ([transport.DICT, transport.TRUE, transport.NONE, transport.INT, 1, transport.NONE, transport.CLOSE], b""),
        ([transport.DICT, transport.LIST, transport.CLOSE, transport.NONE, transport.CLOSE], b""),
        ([transport.DICT, transport.SHARED, 0, transport.NONE, transport.CLOSE], b""),
        ([transport.SET, transport.NONE, transport.NONE, transport.CLOSE], b""),
        ([transport.DECIMAL, transport.STR, 3, transport.CLOSE], b"1_0"),
        ([transport.DECIMAL, transport.STR, 4, transport.CLOSE], "٣".encode() * 2),
        ([transport.FRACTION, transport.INT, 1, transport.INT, 0, transport.CLOSE], b""),
        ([transport.FRACTION, transport.STR, 1, transport.INT, 1, transport.CLOSE], b"1"),
        ([transport.RANGE, transport.NONE, transport.NONE, transport.NONE, transport.CLOSE], b""),
        ([transport.DATE, *[transport.INT, 0] * 3, transport.CLOSE], b""),
        ([transport.DATETIME, *[transport.INT, 1] * 7, transport.INT, 9, transport.NONE, transport.CLOSE], b""),
        ([transport.TIMEDELTA, transport.TRUE, transport.TRUE, transport.TRUE, transport.CLOSE], b""),
        ([transport.DEFAULT, transport.STR, 4, transport.CLOSE], b"eval"),
        ([transport.DEFAULT, transport.CLOSE], b""),
        ([transport.ARRAY, transport.STR, 2, transport.TUPLE, transport.CLOSE, transport.BYTES, 0, transport.CLOSE], b"|O"),
        ([transport.STR, 1], b"\xff"),
    ],
)
def test_malformed_messages_are_one_error(words: list[int], blob: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(_message(words, blob))


def test_a_length_is_not_believed() -> None:
    for data in (b"", b"\0", b"\xff\xff\xff\xff", b"\x02\0\0\0\0\0\0\0"):
        with pytest.raises(DecodeError):
            decode(data)


def test_large_fractions_and_decimals_are_refused() -> None:
    with pytest.raises(DecodeError, match="fraction"):
        decode(encode(Fraction(1, 1 << 100_000)))
    with pytest.raises(DecodeError, match="decimal"):
        decode(encode(Decimal("1" * 20_000)))


@given(st.binary(max_size=400))
def test_random_bytes_are_a_value_or_an_error(data: bytes) -> None:
    _decode_or_refuse(data)


@given(st.lists(st.integers(0, 60), max_size=60), st.binary(max_size=60))
def test_random_words_are_a_value_or_an_error(words: list[int], blob: bytes) -> None:
    _decode_or_refuse(_message(words, blob))


@given(VALUES, st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4), st.integers(0, 3))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_changed_messages_are_a_value_or_an_error(value: object, changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(encode(value))
    for place, byte in changes:
        data[place % len(data)] = byte
    _decode_or_refuse(bytes(data[: len(data) - cut]))


def _decode_or_refuse(data: bytes) -> None:
    try:
        value = decode(data, restore=lambda number, name: None)
    except DecodeError:
        return
    assert type(value).__module__ in ("builtins", "collections", "decimal", "fractions", "datetime")


def _message(words: list[int], blob: bytes = b"") -> bytes:
    return struct.pack(f"<I{len(words)}I", len(words), *words) + blob


def test_numpy_values_cross_where_numpy_is() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    for array in (numpy.arange(6).reshape(2, 3), numpy.array(1.5), numpy.zeros((0, 3)), numpy.array(["a", "bc"]), numpy.array([True])):
        result: Any = decode(encode(array))
        assert type(result) is numpy.ndarray and result.dtype == array.dtype and result.shape == array.shape
        assert result.tolist() == array.tolist() and result.flags.writeable
    scalar: Any = decode(encode(numpy.float32(0.1)))
    assert type(scalar) is numpy.float32 and scalar == numpy.float32(0.1)
    with pytest.raises(EncodeError):
        encode(numpy.array([object()]))
    bad = encode(numpy.array([True, False])).replace(b"\x01\x00", b"\x02\x00")
    with pytest.raises(DecodeError):
        decode(bad)


def test_mutable_parts_are_found_and_overwritten_in_place() -> None:
    inner, keyed = [1], {"k": {2}}
    outer = (inner, keyed, "text", inner)
    assert set(find_mutable(outer)) == {id(inner), id(keyed), id(keyed["k"])}
    values: list[tuple[Any, Any]] = [
        ([1], [2, 3]),
        ({"a": 1, "b": 2}, {"b": 3, "a": 4}),
        ({1}, {2}),
        (bytearray(b"a"), bytearray(b"bc")),
        (deque([1, 2], 2), deque([3], 2)),
        (Counter("aab"), Counter("b")),
        (OrderedDict(a=1), OrderedDict(c=1, b=2)),
        (defaultdict(int, a=1), defaultdict(int, b=1)),
    ]
    for old, new in values:
        overwrite(old, new)
        assert fingerprint(old) == fingerprint(new)
        overwrite(old, old)
        assert fingerprint(old) == fingerprint(new)
    with pytest.raises(TypeError, match="can't become"):
        overwrite([1], (1,))


def test_given_objects_come_back_as_themselves() -> None:
    mine = [1, 2]
    data = encode(([mine, mine], [3]), given={id(mine): 4})
    result: Any = decode(data, given={4: mine})
    assert result[0][0] is mine and result[0][1] is mine
    with pytest.raises(DecodeError):
        decode(data, given={5: mine})


def test_frames_survive_any_cutting() -> None:
    ours, theirs = socket.socketpair()
    data = os.urandom(300_000)
    sender = threading.Thread(target=send_frame, args=(ours.fileno(), data))
    sender.start()
    assert Reader(theirs.fileno()).receive() == data
    sender.join()
    reader = Reader(theirs.fileno())
    parts = [os.urandom(size) for size in (0, 1, 3, 70_000, 5, 16_380, 2)]
    whole = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
    ours.sendall(whole[:2])
    sender = threading.Thread(target=ours.sendall, args=(whole[2:],))
    sender.start()
    assert [reader.receive() for _ in parts] == parts
    sender.join()
    assert not reader.is_ready()
    for part in (b"ab", b"cd"):
        send_frame(ours.fileno(), part)
    assert reader.receive() == b"ab"
    assert reader.is_ready() and reader.receive() == b"cd"
    ours.sendall(b"\x10\0\0\0half")
    ours.close()
    assert reader.receive() is None
    theirs.close()


def test_an_absurd_frame_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(EncodeError, match="announced"):
            Reader(theirs.fileno()).receive()
