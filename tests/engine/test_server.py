"""The function server, spoken to by hand: what it answers, and that it ends when nobody asks any more."""

from __future__ import annotations

import marshal
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import groundrun
from groundrun.engine.guest.decoding import decode
from groundrun.engine.guest.server import CALL_HEAD, CAPTURED_BYTES, DRAIN, INSPECT, PLAIN_CALL, PLAIN_VALUE, VALUE_HEAD
from groundrun.engine.guest.transport import Reader, encode, send_frame

pytestmark = pytest.mark.exec

SOURCE = """
print("at import")
def echo(*args, **kwargs): return args, kwargs
def entry(xs, *rest, **more):
    print("called")
    xs.append(len(xs))
    return xs
class Thing:
    x = 5
    def __len__(self): return 3
def thing(): return Thing()
"""

LAUNCH = """
import sys
folder, channel, source, name = sys.argv[1:]
sys.path.insert(0, folder)
import boot
boot.install_stubs({"groundrun.engine.guest": folder})
from groundrun.engine.guest import job, server
server.main(job.GuestJob(
    source=source, entry_point=name, argv=[], payload=b"", files={}, channel=int(channel), write=lambda offset, data: None
))
"""


class Server:
    """A function server in a process of its own."""

    def __init__(self, source: str, entry_point: str) -> None:
        self.ours, theirs = socket.socketpair()
        self.reader = Reader(self.ours.fileno())
        root = str(Path(groundrun.__file__).parent / "engine" / "guest")
        arguments = [sys.executable, "-I", "-S", "-c", LAUNCH, root, str(theirs.fileno()), source, entry_point]
        self.process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        theirs.close()

    def read(self) -> Any:
        data = self.reader.receive()
        return (
            None
            if data is None
            else decode(data, restore=lambda number, name: ("handle", number, name), given=dict.fromkeys(range(99), "given"))
        )

    def ask(
        self,
        operation: str,
        target: int | None = None,
        *args: object,
        watched: tuple[int | str, ...] = (),
        flags: int = DRAIN,
        **kw: object,
    ) -> Any:
        send_frame(self.ours.fileno(), encode((7, operation, target, args, kw, watched, flags)))
        return self.read()

    def call(self, *args: Any, flags: int = DRAIN) -> Any:
        """A plain call; its plain answer is told by a name."""
        send_frame(self.ours.fileno(), CALL_HEAD.pack(PLAIN_CALL, 7, flags) + marshal.dumps(args, 2))
        data = self.reader.receive()
        assert data is not None
        if VALUE_HEAD.unpack_from(data) == (PLAIN_VALUE, 7):
            return "plain", decode(data[VALUE_HEAD.size :], restore=lambda number, name: ("handle", number, name))
        return decode(data, restore=lambda number, name: ("handle", number, name))

    def close(self) -> tuple[bytes, bytes]:
        self.ours.close()
        return self.process.communicate(timeout=20)


@pytest.fixture
def serve() -> Iterator[Any]:
    made: list[Server] = []

    def start(entry_point: str, source: str = SOURCE) -> Server:
        made.append(Server(source, entry_point))
        return made[-1]

    yield start
    for server in made:
        server.ours.close()
        server.process.kill()
        server.process.communicate()


def test_it_is_ready_then_answers_and_ends_with_status_0(serve: Any) -> None:
    server = serve("echo")
    assert server.read() == (0, "ready", True, b"", ())
    assert server.ask("call", None, 1, "a", k=(2.5,)) == (7, "value", ((1, "a"), {"k": (2.5,)}), b"", ((), (), ()))
    output, errors = server.close()
    assert (server.process.returncode, output, errors) == (0, b"at import\n", b"")


def test_a_missing_entry_point_is_said(serve: Any) -> None:
    assert serve("nowhere").read() == (0, "ready", False, b"", ())


def test_output_of_a_call_comes_with_it(serve: Any) -> None:
    server = serve("entry")
    server.read()
    assert server.ask("call", None, [5])[1:4] == ("value", [5, 1], b"called\n")


def test_watched_arguments_come_back_as_themselves(serve: Any) -> None:
    server = serve("entry")
    server.read()
    _, status, value, _, (changes, _, _) = server.ask("call", None, [[], 5], [1], watched=(0,))
    assert (status, value) == ("value", "given")
    contents = [copy for _, copy in changes]
    assert ["given", 5, 2] in contents and [] in contents and [1] not in contents


def test_inspection_tells_mutated_from_returned(serve: Any) -> None:
    server = serve("entry")
    server.read()
    assert server.ask("call", None, [1], [2], key={}, flags=DRAIN | INSPECT)[4] == ((), (0,), (0,))
    server = serve("echo")
    server.read()
    assert server.ask("call", None, [1], 2, key={}, flags=DRAIN | INSPECT)[4] == ((), (), (0, "key"))


def test_objects_stay_behind_as_handles(serve: Any) -> None:
    server = serve("thing")
    server.read()
    assert server.ask("call")[2] == ("handle", 0, "candidate.Thing")
    assert server.ask("len", 0)[2] == 3
    assert server.ask("get", 0, "x")[2] == 5
    status, (names, _, message, line) = server.ask("get", 0, "nothing")[1:3]
    assert status == "raised" and names[0] == "builtins.AttributeError" and "nothing" in message and line is None


def test_exceptions_carry_their_bases_and_line(serve: Any) -> None:
    server = serve("f", "class Own(ValueError): pass\ndef f(x):\n    raise Own(x, object())\n")
    server.read()
    _, status, (names, args, message, line), _, _ = server.ask("call", None, 4)
    assert status == "raised" and names[:2] == ("candidate.Own", "builtins.ValueError") and args == (message,) and line == 3


def test_a_flood_of_output_goes_where_the_run_counts_it(serve: Any) -> None:
    server = serve("f", f"def f():\n    print('x' * {2 * CAPTURED_BYTES})\n    print('end')\n")
    server.read()
    reader = os.dup(server.process.stdout.fileno())
    send_frame(server.ours.fileno(), encode((7, "call", None, (), {}, (), DRAIN)))
    flood = b""
    while len(flood) < 2 * CAPTURED_BYTES:
        flood += os.read(reader, 1 << 16)
    os.close(reader)
    assert server.read()[1:4] == ("value", None, b"\nend\n")


def test_the_source_sees_a_module_of_its_own(serve: Any) -> None:
    source = """
import sys
from dataclasses import dataclass
@dataclass
class Point:
    x: "int"
def f():
    return __name__, sys.modules[__name__].f is f, Point(3).x, [name for name in globals() if "server" in name]
"""
    server = serve("f", source)
    server.read()
    assert server.ask("call")[2] == ("candidate", True, 3, [])


def test_a_plain_call_is_the_same_call(serve: Any) -> None:
    """What is printed, raised, kept or can't cross comes back in the long form."""
    source = """
def f(kind, value=None):
    if kind == "print": print("said")
    if kind == "raise": raise KeyError(value)
    if kind == "object": return Thing()
    if kind == "append": return value.append(True)
    if kind == "length": return len(value)
    if kind == "keep":
        value[0] = {}
        return value[0]
    if kind == "endless": return iter(int, 1)
    return value
class Thing: pass
"""
    server = serve("f", source)
    assert server.read() == (0, "ready", True, b"", ())
    assert server.call("append", [1], flags=INSPECT) == (7, "value", None, b"", ((), (1,), ()))
    assert server.call("append", [1]) == ("plain", None)
    assert server.call("give", [1], flags=INSPECT) == (7, "value", [1], b"", ((), (), (1,)))
    assert server.call("keep", [1], flags=INSPECT) == (7, "value", {}, b"", ((), (1,), (1,)))
    assert server.call("length", [1, 2], flags=INSPECT) == ("plain", 2)
    for value in (None, True, False, 0, -5, 1 << 70, 2.5, "", "text", "\udc80", b"x", [1, 2.5, "a"], list(range(20))):
        assert server.call("give", value) == ("plain", value)
    assert server.call("print", 3) == (7, "value", 3, b"said\n", ((), (), ()))
    assert server.call("raise", 3)[:3] == (7, "raised", server.ask("call", None, "raise", 3)[2])
    assert server.call("object")[0] == "plain" and server.call("object")[1][0] == "handle"
    assert server.call("endless")[1] == "uncrossable"
    assert server.call("endless", flags=0)[1][0] == "handle"
