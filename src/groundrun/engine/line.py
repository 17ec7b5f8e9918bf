"""The host's end of one process of a session: requests out, answers in, and its output.

Every wait has an end, and nothing that comes is believed to be well formed: whatever is wrong with the other side is one `Lost`. No
descriptor ever comes from there; those of a branch are made here and sent.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable

from groundrun.engine.exchange import read_output
from groundrun.engine.guest.frames import MAX_FRAME, pack, unpack


class Lost(Exception):
    """The other side is gone, speaks nonsense, or says nothing in time."""


class Line:
    """A stream socket, and the two files that the process there writes its output to; takes them over."""

    def __init__(self, channel: socket.socket, stdout: int, stderr: int) -> None:
        self._channel = channel
        self.stdout, self.stderr = stdout, stderr
        self._number = 0
        self._heard = bytearray()
        for descriptor in (stdout, stderr):  # at the end, wherever that is: the host takes away what it has read
            fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_APPEND)

    @classmethod
    def make(cls) -> tuple[Line, socket.socket]:
        """A new line, and the socket that is to be the other side's."""
        ours, theirs = socket.socketpair()
        stdout = stderr = -1
        try:
            stdout, stderr = os.memfd_create("stdout", os.MFD_CLOEXEC), os.memfd_create("stderr", os.MFD_CLOEXEC)
            return cls(ours, stdout, stderr), theirs
        except BaseException:
            ours.close()
            theirs.close()
            for descriptor in (stdout, stderr):
                if descriptor >= 0:
                    os.close(descriptor)
            raise

    def ask(
        self,
        *fields: bytes,
        within_s: float,
        descriptors: tuple[int, ...] = (),
        watch: Callable[[], None] | None = None,
        every_s: float = 0.2,
    ) -> list[bytes]:
        """One request, and the answer to it without its number. `watch` is called again and again meanwhile. Raises Lost."""
        self._number += 1
        number = str(self._number).encode()
        until = time.monotonic() + within_s
        try:
            self._send(pack(number, *fields), descriptors, until)
            return self._hear(number, until, watch, every_s)
        except TimeoutError as error:
            raise Lost("it took nothing in time") from error
        except (OSError, ValueError) as error:
            raise Lost(f"what it said can't be read: {error}") from error

    def hear(self, *, within_s: float) -> list[bytes]:
        """What the other side says unasked when it starts, or the answer to a request that was left waiting. Raises Lost."""
        try:
            return self._hear(str(self._number).encode(), time.monotonic() + within_s, None, 1)
        except (OSError, ValueError) as error:
            raise Lost(f"what it said can't be read: {error}") from error

    def take_output(self, limit: int) -> tuple[bytes, bytes, int]:
        """What was written since the last time, each at most `limit` bytes, and the size of the longer one."""
        (out, out_size), (err, err_size) = read_output(self.stdout, limit), read_output(self.stderr, limit)
        for descriptor, size in ((self.stdout, out_size), (self.stderr, err_size)):
            if size:
                os.ftruncate(descriptor, 0)
        return out, err, max(out_size, err_size)

    def close(self) -> None:
        """Hang up; safe to call twice."""
        self._channel.close()
        for descriptor in (self.stdout, self.stderr):
            with contextlib.suppress(OSError):
                if descriptor >= 0:
                    os.close(descriptor)
        self.stdout = self.stderr = -1

    def _send(self, data: bytes, descriptors: tuple[int, ...], until: float) -> None:
        view = memoryview(data)
        while view:
            self._channel.settimeout(max(until - time.monotonic(), 0.001))
            if descriptors:
                view = view[socket.send_fds(self._channel, [view], descriptors) :]
                descriptors = ()
            else:
                view = view[self._channel.send(view) :]

    def _hear(self, number: bytes, until: float, watch: Callable[[], None] | None, every_s: float) -> list[bytes]:
        self._collect(4, until, watch, every_s)
        size = int.from_bytes(self._heard[:4], "little")
        if size > MAX_FRAME:
            raise Lost(f"it announced a frame of {size} bytes")
        self._collect(4 + size, until, watch, every_s)
        said = unpack(bytes(self._heard[4:]))
        self._heard.clear()
        if len(said) < 2 or said[0] != number:
            raise Lost("it answered what it was not asked")
        return said[1:]

    def _collect(self, size: int, until: float, watch: Callable[[], None] | None, every_s: float) -> None:
        """Have so many bytes of the frame; what was heard stays when the wait is interrupted."""
        while len(self._heard) < size:
            left = until - time.monotonic()
            if left <= 0:
                raise Lost("it said nothing in time")
            self._channel.settimeout(max(min(left, every_s) if watch else left, 0.001))
            try:
                part = self._channel.recv(min(size - len(self._heard), 1 << 20))
            except TimeoutError:
                if watch is not None:
                    watch()
                continue
            if not part:
                raise Lost("it hung up")
            self._heard += part
