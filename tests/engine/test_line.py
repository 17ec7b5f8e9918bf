"""The frames of sessions, and a line whose other side says whatever it likes."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrun.engine.guest.frames import MAX_FIELDS, pack, unpack
from groundrun.engine.line import Line, Lost

pytestmark = pytest.mark.unit


@given(st.lists(st.binary(max_size=50), max_size=MAX_FIELDS))
def test_what_is_packed_is_unpacked(fields: list[bytes]) -> None:
    frame = pack(*fields)
    assert int.from_bytes(frame[:4], "little") == len(frame) - 4
    assert unpack(frame[4:]) == fields


@given(st.binary(max_size=300))
def test_anything_else_is_a_value_error_or_fields_of_no_more_bytes(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert sum(map(len, unpack(body))) <= len(body)


@pytest.fixture
def pair() -> Iterator[tuple[Line, socket.socket]]:
    line, theirs = Line.make()
    yield line, theirs
    theirs.close()
    line.close()
    line.close()


def test_an_answer_has_the_number_of_its_request(pair: tuple[Line, socket.socket]) -> None:
    line, theirs = pair
    theirs.sendall(pack(b"1", b"ok", b"x"))
    assert line.ask(b"run", within_s=5) == [b"ok", b"x"]
    assert unpack(theirs.recv(100)[4:]) == [b"1", b"run"]
    theirs.sendall(pack(b"1", b"ok"))
    with pytest.raises(Lost, match="not asked"):
        line.ask(b"run", within_s=5)


@pytest.mark.parametrize(
    "said", [b"\xff\xff\xff\xff", b"\0\0\0\0", pack(b"1"), pack(b"2", b"ok"), b"\x04\0\0\0\x09\0\0\0", pack(*[b""] * 16) + b"x", b"\x05\0"]
)
def test_nonsense_is_lost(pair: tuple[Line, socket.socket], said: bytes) -> None:
    line, theirs = pair
    theirs.sendall(said)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(Lost):
        line.ask(b"run", within_s=5)


def test_silence_ends_and_is_watched(pair: tuple[Line, socket.socket]) -> None:
    line, _ = pair
    looks: list[float] = []
    with pytest.raises(Lost, match="nothing in time"):
        line.ask(b"run", within_s=0.3, watch=lambda: looks.append(time.monotonic()), every_s=0.05)
    assert looks
    with pytest.raises(Lost, match="took nothing in time"):
        line.ask(bytes(8 << 20), within_s=0.1)


def test_an_interrupted_wait_goes_on_where_it_was(pair: tuple[Line, socket.socket]) -> None:
    line, theirs = pair
    frame = pack(b"1", b"ok", b"x" * 100)
    theirs.sendall(frame[:50])

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        line.ask(b"run", within_s=5, watch=stop, every_s=0.01)
    theirs.sendall(frame[50:])
    assert line.hear(within_s=5) == [b"ok", b"x" * 100]


def test_output_is_taken_once(pair: tuple[Line, socket.socket]) -> None:
    line, _ = pair
    os.write(line.stdout, b"one")
    assert line.take_output(100) == (b"one", b"", 3)
    os.write(line.stdout, b"two")
    os.write(line.stderr, bytes(1000))
    out, err, written = line.take_output(100)
    assert (out, len(err), written) == (b"two", 100, 1000)
    assert line.take_output(100) == (b"", b"", 0)
