"""The scene of the attacks: canaries on the host that no program may touch, and how they look from outside.

Everything is made here and removed here: a folder with files open to every user (so that only the isolation protects them), a process that
writes down each signal it gets, listeners on 127.0.0.1 and on unix sockets, a shared memory segment, a secret in the environment and one
behind an inheritable descriptor. Nothing that an attack aims at belongs to anybody else.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import groundrun

SECRET_WORD = "GRSECRET"
_GET_FLAGS = 0x80086601
_IPC_CREATE, _IPC_REMOVE = 0o1000, 0
_SHARED_BYTES = 4096
_CANARY = """
import ctypes, os, signal, struct, sys
libc, owner = ctypes.CDLL(None), int(sys.argv[2])
if owner >= 0:
    os.setgroups([])
    os.setresgid(owner, owner, owner)
    os.setresuid(owner, owner, owner)
    libc.prctl(4, 1, 0, 0, 0)
libc.capset(struct.pack("II", 0x20080522, 0), bytes(24))  # no better guarded than a process of an ordinary user
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
def note(number, frame):
    os.write(log, signal.Signals(number).name.encode() + b" ")
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, note)
print("ready", flush=True)
while True:
    signal.pause()
"""


def _new_secret() -> str:
    return SECRET_WORD + secrets.token_hex(8)


class Scene:
    """Canaries, from `with` to its end. `secret` is what programs must not learn, `job_secret` what one job must not learn of another.

    owner: the user that files and process belong to, as root; the present one by default.
    """

    def __init__(self, owner: int | None = None) -> None:
        self.owner = owner
        self.secret, self.job_secret = _new_secret(), _new_secret()
        self.mark = f"gr-{secrets.token_hex(4)}"
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Scene:
        with contextlib.ExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix="groundrun-canary-"))
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._lay_out()
            stack.enter_context(self._environment())
            self._segment = self._make_segment()
            stack.callback(self._remove_segment)
            self._listeners = self._listen(stack)
            self._start_process()
            stack.callback(self._end_process)
            self._before = self._look()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def describe(self) -> str:
        """What an attack is told: where things are, never what they hold."""
        return json.dumps(
            {
                "mark": self.mark,
                "folder": str(self.folder),
                "file": str(self.folder / "file.txt"),
                "secret": str(self.folder / "secret.txt"),
                "private": str(self.folder / "private.txt"),
                "pid": self.process.pid,
                "word": [SECRET_WORD[:4], SECRET_WORD[4:]],
                "tcp": self._listeners["tcp"].getsockname()[1],
                "udp": self._listeners["udp"].getsockname()[1],
                "port": self._free_port,
                "stream": str(self.folder / "stream"),
                "datagram": str(self.folder / "datagram"),
                "abstract": self.mark,
                "segment": self._segment,
                "package": str(Path(groundrun.__file__).parent),
            }
        )

    def damages(self) -> list[str]:
        """What is not as it was, in phrases. Puts it back in order, so that the next attack starts from a whole scene."""
        now = self._look()
        found = [f"the canary's {name} became {now[name]!r}" for name in now if now[name] != self._before[name]]
        strays = self.strays()
        for pid in strays:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        found += [f"{len(strays)} of its processes outlived the run"] if strays else []
        if found:
            self._end_process()
            self._clear()
            self._lay_out()
            self._start_process()
            self._before = self._look()
        return found

    def probe(self) -> list[str]:
        """Look for what can only be noticed while an attack runs."""
        found = []
        try:
            os.close(os.open(self.folder / "file.txt", os.O_RDONLY | os.O_NONBLOCK))
        except BlockingIOError:
            found.append("a canary file can't be opened: a lease is on it")
        with socket.socket() as caller:
            caller.settimeout(0.05)
            if caller.connect_ex(("127.0.0.1", self._free_port)) == 0:
                found.append("a connection from outside was accepted")
        (self.folder / "watched").touch()
        return found

    def leaks(self, *texts: bytes) -> list[str]:
        """Which secrets stand in what a program brought home."""
        every = b"\0".join(texts)
        kinds = (("a secret of the host's", self.secret), ("a secret of an earlier job", self.job_secret))
        return [f"it brought home {what}" for what, secret in kinds if secret.encode() in every]

    def _lay_out(self) -> None:
        self.folder.chmod(0o777)
        (self.folder / "work").mkdir()
        for name, content in (
            ("file.txt", "whole\n"),
            ("secret.txt", self.secret),
            ("private.txt", self.secret),
            ("work/secret.txt", self.secret),
            ("log", ""),
            ("watched", ""),
        ):
            path = self.folder / name
            path.write_text(content)
            path.chmod(0o600 if name == "private.txt" else 0o666)
            if self.owner is not None:
                os.chown(path, self.owner, self.owner)

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif not path.is_socket():
                path.unlink()

    @contextlib.contextmanager
    def _environment(self) -> Any:
        os.environ["GROUNDRUN_CANARY"] = self.secret
        descriptor = os.open(self.folder / "secret.txt", os.O_RDWR)
        os.set_inheritable(descriptor, True)
        try:
            yield
        finally:
            os.close(descriptor)
            os.environ.pop("GROUNDRUN_CANARY", None)

    def _make_segment(self) -> int:
        key = secrets.randbelow(1 << 30) + 1
        libc = _libc()
        self._segment_id = int(libc.shmget(key, _SHARED_BYTES, _IPC_CREATE | 0o666))
        if self._segment_id >= 0:
            place = libc.shmat(self._segment_id, None, 0)
            ctypes.memmove(place, self.secret.encode(), len(self.secret))
            libc.shmdt(ctypes.c_void_p(place))
        return key

    def _remove_segment(self) -> None:
        if self._segment_id >= 0:
            _libc().shmctl(self._segment_id, _IPC_REMOVE, None)

    def _listen(self, stack: contextlib.ExitStack) -> dict[str, socket.socket]:
        def bind(family: int, kind: int, address: Any) -> socket.socket:
            made = stack.enter_context(socket.socket(family, kind))
            made.bind(address)
            made.setblocking(False)
            if kind == socket.SOCK_STREAM:
                made.listen()
            return made

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._free_port = int(free.getsockname()[1])
        stream, datagram = str(self.folder / "stream"), str(self.folder / "datagram")
        found = {
            "tcp": bind(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "udp": bind(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "unix stream": bind(socket.AF_UNIX, socket.SOCK_STREAM, stream),
            "unix datagram": bind(socket.AF_UNIX, socket.SOCK_DGRAM, datagram),
            "abstract stream": bind(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{self.mark}"),
            "abstract datagram": bind(socket.AF_UNIX, socket.SOCK_DGRAM, f"\0{self.mark}"[:-1] + "d"),
        }
        for path in (stream, datagram):
            os.chmod(path, 0o777)
        return found

    def _heard(self) -> list[str]:
        """Which listeners were spoken to since the last look; takes everything that waits."""
        found: dict[str, None] = {}
        for name, listener in self._listeners.items():
            with contextlib.suppress(BlockingIOError):
                while True:
                    if listener.type == socket.SOCK_STREAM:
                        listener.accept()[0].close()
                    else:
                        listener.recv(100)
                    found[name] = None
        return list(found)

    def _start_process(self) -> None:
        command = [sys.executable, "-I", "-S", "-c", _CANARY, str(self.folder / "log"), str(-1 if self.owner is None else self.owner)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def _end_process(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _look(self) -> dict[str, object]:
        path = self.folder / "file.txt"
        what = os.stat(path) if path.exists() else None
        alive = self.process.poll() is None
        pid = self.process.pid
        return {
            "file": _content(path),
            "mode, owner and time": (what.st_mode, what.st_uid, what.st_mtime_ns, what.st_nlink) if what else None,
            "attributes": os.listxattr(path) if what else None,
            "inode flags": _inode_flags(path),
            "folder": sorted(entry.name for entry in self.folder.iterdir()),
            "secret file": _content(self.folder / "secret.txt") == self.secret,
            "process": "alive" if alive else f"ended with {self.process.returncode}",
            "signals": _content(self.folder / "log"),
            "priority": os.getpriority(os.PRIO_PROCESS, pid) if alive else None,
            "processors": os.sched_getaffinity(pid) if alive else None,
            "scheduler": os.sched_getscheduler(pid) if alive else None,
            "limits": _limits_of(pid) if alive else None,
            "listeners": self._heard(),
        }

    def strays(self) -> list[int]:
        """Processes that bear the mark of an attack and are not dead."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    text = (folder / "stat").read_text(errors="replace")
                    if f"({self.mark})" in text and text.rsplit(")", 1)[1].split()[0] not in "ZX":
                        found.append(int(folder.name))
        return found


def watch(scene: Scene, is_over: Callable[[], bool]) -> tuple[str, ...]:
    """Probe a scene until an attack is over."""
    seen: dict[str, None] = {}
    while not is_over():
        seen |= dict.fromkeys(scene.probe())
        time.sleep(0.02)
    return tuple(seen)


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    return libc


def _content(path: Path) -> str | None:
    """What a file holds, None when it is gone: an attack may have won."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def _inode_flags(path: Path) -> int | None:
    """The flags that chattr changes; None where the file system has none."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return int(struct.unpack("l", fcntl.ioctl(file, _GET_FLAGS, bytes(8)))[0]) & ~0x80000
    return None


def _limits_of(pid: int) -> list[tuple[int, int]]:
    kinds = (resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_AS)
    return [resource.prlimit(pid, kind) for kind in kinds]
