"""What comes over the wire is believed by neither side: replies of any bytes for the host, requests of any bytes for a real warden."""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterator

import pytest
from bench.remnants import find_belongings, find_descendants, wait_until
from hypothesis import given
from hypothesis import strategies as st

from groundrun.engine import Engine, Job
from groundrun.engine.exchange import Exchange
from groundrun.engine.host import make_lane_maker
from groundrun.engine.warden import WardenLane
from groundrun.errors import HostRefused, ProtocolError, WorkerDied
from groundrun.records import Limits, Program, Rung

REQUEST = struct.Struct("=II10Q6I96s")
REPLY = struct.Struct("=IIQiiIIQQQQQQ160s")
VERSION = 2
NUMBERS = (0, 1, 2, 255, 1 << 31, (1 << 32) - 1)
LARGE = (0, 1, 10**9, 1 << 62, (1 << 64) - 1)


def seal(message: bytes) -> bytes:
    """With its checksum."""
    return message + struct.pack("=I", zlib.crc32(message))


@contextlib.contextmanager
def lane_without_a_warden() -> Iterator[tuple[WardenLane, socket.socket]]:
    """The host's half of a lane, and the socket on which a warden would speak."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    lane = WardenLane.__new__(WardenLane)
    lane._socket, lane._ended, lane._current, lane._may_fork = ours, None, 5, False
    lane._sending = threading.Lock()
    lane._silent_by = time.monotonic() + 5
    with ours, theirs:
        yield lane, theirs


@pytest.mark.unit
@given(st.one_of(st.binary(min_size=1, max_size=400), st.binary(min_size=REPLY.size, max_size=REPLY.size).map(seal)))
def test_any_reply_is_an_answer_or_a_fault_of_ours(data: bytes) -> None:
    """Never another exception, never a wait."""
    with lane_without_a_warden() as (lane, theirs):
        theirs.send(data)
        with contextlib.suppress(ProtocolError, WorkerDied):
            lane.finish()


@pytest.mark.unit
@given(
    kind=st.sampled_from([2, 2, 2, 0, 1, 3, 4, 9]),
    number=st.sampled_from([5, 5, 5, 0, 6]),
    status=st.integers(-(1 << 31), (1 << 31) - 1),
    ended_by=st.integers(0, 9),
    counts=st.lists(st.sampled_from(LARGE), min_size=6, max_size=6),
)
def test_a_whole_reply_with_odd_values(kind: int, number: int, status: int, ended_by: int, counts: list[int]) -> None:
    """An ending that nobody knows is a protocol error, not a crash of the worker."""
    message = seal(REPLY.pack(VERSION, kind, number, status, 0, ended_by, 1, *counts, b"said"))
    with lane_without_a_warden() as (lane, theirs):
        theirs.send(message)
        try:
            facts = lane.finish()
        except (ProtocolError, WorkerDied):
            return
        assert (kind, number) == (2, 5) and facts.ended_by == ended_by and facts.wait_status == status


@pytest.mark.unit
@given(st.binary(max_size=300), st.lists(st.sampled_from(["a", "b/c", "é"]), max_size=3, unique=True))
def test_any_archive_holds_only_what_was_asked_for(data: bytes, names: list[str]) -> None:
    """Of a size that the bytes have."""
    exchange = Exchange(Job(program=Program(""), collect=tuple(names)))
    try:
        if exchange.collect_out >= 0:
            os.write(exchange.collect_out, data)
        files = exchange.read_files()
    finally:
        exchange.close()
    assert set(files) <= set(names) and sum(map(len, files.values())) <= len(data)


def make_message(chance: random.Random) -> bytes:
    """A request that may be right, nearly right, or nothing."""
    if chance.random() < 0.15:
        return chance.randbytes(chance.choice((1, 50, REQUEST.size, REQUEST.size + 4, 500)))
    version = VERSION if chance.random() < 0.95 else chance.choice(NUMBERS)
    times = [chance.choice((0, 10**6, 10**8, (1 << 64) - 1)) for _ in range(3)]
    sizes = [chance.choice((0, 4096, 1 << 24, 1 << 28, 1 << 62, (1 << 64) - 1)) for _ in range(5)]
    words = [chance.choice((*NUMBERS, 64, 256)) for _ in range(6)]
    guest = chance.choice((b"groundrun.engine.guest.program", b"os", b"", b"\xff" * 96, b"groundrun.engine.guest.nothing"))
    body = REQUEST.pack(
        version, chance.choice((0, 1, 1, 1, 2, 3, 4, 9)), chance.choice((0, 1, 7)), *times, *sizes, chance.choice(LARGE), *words, guest
    )
    sealed = seal(body)
    if chance.random() < 0.1:
        at = chance.randrange(len(sealed))
        return sealed[:at] + bytes([sealed[at] ^ 1 << chance.randrange(8)]) + sealed[at + 1 :]
    return sealed


def pester(rung: str, seed: int, seconds: float) -> int:
    """Send such requests to real wardens for a while; how many they took."""
    chance = random.Random(seed)
    make = make_lane_maker(Rung(rung), python=sys.executable, landlock_abi=None)
    until, sent = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        lane = make("program")
        assert isinstance(lane, WardenLane)
        descriptors = [os.memfd_create("any") for _ in range(8)]
        try:
            while time.monotonic() < until:
                given = descriptors[: chance.choice((0, 3, 5, 5, 5, 6, 7, 8))]
                socket.send_fds(lane._socket, [make_message(chance)], given)
                sent += 1
                for _ in range(chance.randrange(3)):
                    if select.select([lane._socket], [], [], 0.02)[0] and not lane._socket.recv(1024):
                        raise BrokenPipeError
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
            lane.close()
    return sent


@pytest.mark.exec
@pytest.mark.parametrize("rung", ["namespaces", "landlock"])
def test_a_real_warden_survives_or_ends_cleanly(rung: str, request: pytest.FixtureRequest) -> None:
    """It leaves nothing, whatever it was asked, and programs run as ever afterwards."""
    seconds = 60.0 if request.config.getoption("--hypothesis-profile") == "fuzz" else 3.0
    before = set(find_descendants(os.getpid())), set(find_belongings(os.getpid()))
    try:
        sent = pester(rung, 20, seconds)
    except HostRefused as refusal:
        pytest.skip(f"rung {rung}: {refusal}")
    assert sent > 0

    def now() -> tuple[set[int], set[str]]:
        return set(find_descendants(os.getpid())), set(find_belongings(os.getpid()))

    assert wait_until(lambda: now() == before, seconds=15), (before, now())
    with Engine(workers=1, isolation=rung) as engine:
        assert engine.run("print(1)", limits=Limits(cpu_s=5)).text == "1\n"
