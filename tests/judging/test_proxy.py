"""The grader's side of the channel against candidates that answer anything: a refusal or an ordinary exception, never more."""

from __future__ import annotations

import contextlib
import copy
import marshal
import os
import pickle
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundrun.engine.guest.decoding import decode
from groundrun.engine.guest.server import CALL_HEAD, PLAIN_CALL
from groundrun.engine.guest.transport import Reader, encode, send_frame
from groundrun.judging.guest.handles import NOT_PLAIN, EntryPoint
from groundrun.judging.guest.kinds import ENTRY
from groundrun.judging.guest.proxy import MAX_HANDLES, Candidate, Refused

pytestmark = pytest.mark.unit

Reply = Callable[[Any], bytes | None]


def _meet(reply: Reply, use: Callable[[Candidate, EntryPoint], Any], **settings: Any) -> tuple[Candidate, Any]:
    """Let `use` talk to a candidate that answers each request with what `reply` makes of it; None closes the channel."""
    ours, theirs = socket.socketpair()

    def answer() -> None:
        reader = Reader(theirs.fileno())
        while (data := reader.receive()) is not None:
            said = reply(_read_request(data))
            if said is None:
                break
            with contextlib.suppress(BrokenPipeError):
                os.write(theirs.fileno(), said)
        theirs.close()

    other = threading.Thread(target=answer)
    other.start()
    candidate = Candidate(ours.fileno(), name="f", **settings)
    result: Any = None
    try:
        result = use(candidate, EntryPoint(candidate))
    except (Refused, Exception) as error:
        result = error
    finally:
        ours.shutdown(socket.SHUT_RDWR)
        other.join()
        ours.close()
    return candidate, result


def _read_request(data: bytes) -> Any:
    mark, sequence, flags = CALL_HEAD.unpack_from(data)
    if mark == PLAIN_CALL:
        return sequence, "call", None, marshal.loads(data[CALL_HEAD.size :]), {}, (), flags
    return decode(data, restore=lambda number, name: ("handle", number))


def _frame(value: object) -> bytes:
    data = encode(value, keep=lambda item: (item.number, item.name))  # type: ignore[attr-defined]
    return len(data).to_bytes(4, "little") + data


class Kept:
    """What the encoder takes for an object of the candidate."""

    def __init__(self, number: int, name: str = "Thing") -> None:
        self.number, self.name = number, name


def _value(value: object) -> Reply:
    return lambda request: _frame((request[0], "value", value, b"", ((), (), ())))


ANYTHING = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(), st.binary(), st.booleans(), st.builds(Kept, st.integers(0, 5))),
    lambda parts: st.one_of(st.lists(parts, max_size=6).map(tuple), st.lists(parts, max_size=4)),
    max_leaves=12,
)


@given(
    st.one_of(
        ANYTHING,
        st.tuples(st.just(1), st.sampled_from(["value", "raised", "stop", "uncrossable", "ready", "?"]), ANYTHING, st.binary(), ANYTHING),
        st.tuples(st.just(1), st.just("raised"), st.tuples(ANYTHING, ANYTHING, ANYTHING, ANYTHING), st.just(b""), st.just(())),
        st.tuples(st.just(1), st.just("value"), ANYTHING, st.just(b""), st.tuples(ANYTHING, ANYTHING, ANYTHING)),
    )
)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_answer_is_a_value_an_exception_or_a_noted_failure(said: object) -> None:
    candidate, result = _meet(lambda request: _frame(said), lambda candidate, entry: entry([1], k=[2]), watched=(0, "k"))
    well_formed = isinstance(said, tuple) and len(said) == 5 and said[0] == 1
    if isinstance(result, Refused):
        assert candidate.failure
    else:
        assert well_formed and candidate.failure is None
        assert not isinstance(result, BaseException) or result is candidate.raised


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_bytes_that_are_no_frame_are_a_noted_failure(junk: bytes) -> None:
    def once(request: Any) -> bytes | None:
        return len(junk).to_bytes(4, "little") + junk if request[0] == 1 else None

    candidate, result = _meet(once, lambda candidate, entry: entry(1))
    assert isinstance(result, Refused) and candidate.failure


def test_a_failure_once_noted_ends_every_later_call() -> None:
    def use(candidate: Candidate, entry: EntryPoint) -> None:
        with pytest.raises(Refused):
            entry(1)
        with pytest.raises(Refused):
            entry(2)
        candidate.begin()
        entry(3)

    replies = iter([b"\1\0\0\0?", None])
    candidate, _ = _meet(lambda request: next(replies) if request[0] == 1 else _value(7)(request), use)
    assert candidate.failure is None and not candidate.gone


def test_a_candidate_that_left_stays_gone() -> None:
    def use(candidate: Candidate, entry: EntryPoint) -> None:
        with pytest.raises(Refused):
            entry(1)
        candidate.begin()
        entry(2)

    candidate, result = _meet(lambda request: None, use)
    assert isinstance(result, Refused) and candidate.gone


@pytest.mark.parametrize(
    "use",
    [
        lambda h: h == h,
        lambda h: h != 1,
        lambda h: 1 == h,
        lambda h: [h] == [1],
        lambda h: h in [1],
        lambda h: h < 1,
        lambda h: h <= 1,
        lambda h: 1 > h,
        lambda h: h >= 1,
        lambda h: not h,
        lambda h: hash(h),
        lambda h: {h},
        lambda h: h.anything,
        lambda h: str(h),
        lambda h: f"{h}",
        lambda h: repr(h),
        lambda h: copy.deepcopy(h),
        lambda h: pickle.dumps(h),
        lambda h: setattr(h, "x", 1),
    ],
)
def test_an_opaque_token_answers_nothing(use: Callable[[Any], Any]) -> None:
    candidate, result = _meet(_value(Kept(0)), lambda candidate, entry: use(entry(1)))
    assert isinstance(result, Refused) and candidate.failure == NOT_PLAIN


def test_an_opaque_token_is_something_of_a_type_and_no_more() -> None:
    candidate, token = _meet(_value(Kept(0)), lambda candidate, entry: entry(1))
    assert token is not None and type(token).__name__ == "Thing" and candidate.failure is None
    for operation in (len, iter, next, lambda h: h(), lambda h: h[0]):
        with pytest.raises(TypeError):
            operation(token)
    assert not callable(token) and not hasattr(type(token), "__len__")


def test_one_object_is_one_handle() -> None:
    _, (a, b, c) = _meet(_value((Kept(0), Kept(1), Kept(0))), lambda candidate, entry: entry(1))
    assert a is c and a is not b


def test_handles_are_bounded() -> None:
    flood = _value([Kept(number) for number in range(MAX_HANDLES + 1)])
    candidate, result = _meet(flood, lambda candidate, entry: entry(1))
    assert isinstance(result, Refused) and "objects" in str(candidate.failure)


@pytest.mark.parametrize(
    ("operation", "lie", "use"),
    [("len", "3", len), ("len", True, len), ("str", b"x", str), ("repr", Kept(1), repr), ("iter", [1], iter)],
)
def test_an_allowed_operation_must_answer_with_its_own_type(operation: str, lie: object, use: Callable[[Any], Any]) -> None:
    def reply(request: Any) -> bytes | None:
        return _value(Kept(0) if request[1] == "call" else lie)(request)

    candidate, result = _meet(
        reply, lambda candidate, entry: use(entry(1)), allowed=((ENTRY, "call", "<Thing>"), ("<Thing>", operation, ""))
    )
    assert isinstance(result, Refused) and candidate.failure == NOT_PLAIN


@pytest.mark.parametrize(
    "names",
    [
        ("builtins.SystemExit", "builtins.BaseException", "builtins.object"),
        ("builtins.KeyboardInterrupt", "builtins.BaseException"),
        ("builtins.StopIteration", "builtins.Exception"),
        ("builtins.StopAsyncIteration", "builtins.Exception"),
        ("m.Skip", "unittest.case.SkipTest", "builtins.Exception"),
        ("m.Own", "builtins.BaseException"),
        ("builtins.eval", "builtins.object"),
        ("Exception",),
        (),
    ],
)
def test_only_builtin_exceptions_are_raised(names: tuple[str, ...]) -> None:
    def reply(request: Any) -> bytes:
        return _frame((request[0], "raised", (names, (), "text", 1), b"", ()))

    candidate, result = _meet(reply, lambda candidate, entry: entry(1))
    assert isinstance(result, Refused) and candidate.failure and "text" not in candidate.failure


THIRD = 2  # the argument's number in a request, after the request itself and the tuple of arguments


@pytest.mark.parametrize(
    "changes",
    [
        ((THIRD, (1,)),),
        ((THIRD, [1, 2]), (THIRD, [1])),
        ((THIRD, [1], 2),),
        ((0, [1]),),
        ((9, [1]),),
        (),
        (5,),
        (([], [1]),),
        ((Kept(0), [1]),),
    ],
)
def test_changes_that_were_not_asked_for_are_refused(changes: tuple[Any, ...]) -> None:
    mine = [3]

    def reply(request: Any) -> bytes:
        return _frame((request[0], "value", None, b"", (changes, (), ())))

    _, result = _meet(reply, lambda candidate, entry: entry(mine), watched=(0,))
    assert isinstance(result, Refused) and mine == [3]


@pytest.mark.attack
def test_no_refusal_repeats_what_the_candidate_says() -> None:
    """Neither when it is written back, nor when it can't be read, nor when a test hands it on."""

    def change(request: Any) -> bytes:
        return _frame((request[0], "value", None, b"", (((THIRD, Kept(0, "saw_4711")),), (), ())))

    def garble(request: Any) -> bytes:
        return (8).to_bytes(4, "little") + (4711).to_bytes(8, "little")

    def fail(request: Any) -> bytes:
        return _frame((request[0], "raised", (("m.saw_4711", "builtins.Exception"), (), "", 1), b"", ()))

    def hand_back(candidate: Candidate, entry: EntryPoint) -> None:
        candidate.exceptions.follow = True
        with pytest.raises(Exception) as caught:
            entry([3])
        entry(caught.value)

    for reply, use in ((change, lambda candidate, entry: entry([3])), (garble, lambda candidate, entry: entry([3])), (fail, hand_back)):
        candidate, result = _meet(reply, use, watched=(0,))
        assert isinstance(result, Refused) and candidate.failure and "4711" not in candidate.failure


def test_changes_that_were_asked_for_are_made_in_place() -> None:
    mine = [3]

    def reply(request: Any) -> bytes:
        return _frame((request[0], "value", None, b"", (((THIRD, [1, 2]),), (), ())))

    candidate, result = _meet(reply, lambda candidate, entry: entry(mine), watched=(0,))
    assert result is None and candidate.failure is None and mine == [1, 2]


def test_a_test_that_stops_waiting_takes_no_late_answer_for_another() -> None:
    class Alarm(Exception):
        pass

    class Impatient(Reader):
        def receive(self) -> bytes | None:
            raise Alarm

    def use(candidate: Candidate, entry: EntryPoint) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(candidate, "reader", Impatient(candidate.channel))
            with pytest.raises(Alarm):
                entry(1)
        candidate.begin()
        entry(2)

    candidate, result = _meet(_value(1), use)
    assert isinstance(result, Refused) and candidate.gone


def test_frames_are_written_whole() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send_frame(ours.fileno(), b"abc")
        assert Reader(theirs.fileno()).receive() == b"abc"
