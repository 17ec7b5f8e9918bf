"""The host's half of native/wire.h: what crosses the socket to a warden, each message with the CRC-32 of its bytes behind it.

Nothing that comes from there is believed before its size, checksum and version are right.
"""

from __future__ import annotations

import os
import struct
import zlib
from enum import IntEnum

import msgspec

from groundrun.errors import ProtocolError

VERSION = 2
HAS_CHANNEL, HAS_COLLECT, MAY_FORK = 1, 2, 4
_REQUEST = struct.Struct("=II10Q6I96s")
_REPLY = struct.Struct("=IIQiiIIQQQQQQ160s")
_SUM = struct.Struct("=I")
REPLY_BYTES = _REPLY.size + _SUM.size


class Request(IntEnum):
    """What the host asks."""

    RUN = 1
    CANCEL = 2
    RENEW = 3
    INTERRUPT = 4


class Answer(IntEnum):
    """What a warden answers."""

    READY = 1
    DONE = 2
    FAILED = 3
    RENEWED = 4


class Reply(msgspec.Struct):
    """struct reply: times in nanoseconds, sizes in bytes. `kind` is an `Answer`, or what no warden of this version says."""

    version: int
    kind: int
    id: int
    wait_status: int
    error: int
    ended_by: int
    measured_by_cgroup: int
    cpu_ns: int
    wall_ns: int
    memory_peak: int
    oom_kills: int
    process_refusals: int
    baseline: int
    raw_text: bytes

    @property
    def text(self) -> str:
        """What it says in words."""
        return self.raw_text.split(b"\0", 1)[0].decode("utf-8", "replace")

    def tell(self) -> str:
        """The words, and the errno's own."""
        return f"{self.text}: {os.strerror(self.error)}" if self.error else self.text


def pack_request(kind: Request, *fields: int | bytes) -> bytes:
    """struct request, from its id on."""
    return _seal(_REQUEST.pack(VERSION, kind, *fields))


def unpack_reply(data: bytes) -> Reply:
    """Raises ProtocolError for anything that isn't a reply of this version."""
    if len(data) != REPLY_BYTES:
        raise ProtocolError(f"the warden sent {len(data)} bytes instead of {REPLY_BYTES}: is the native part older than the package?")
    if _seal(data[: _REPLY.size]) != data:
        raise ProtocolError("the warden's message was garbled: its checksum is wrong")
    reply = Reply(*_REPLY.unpack(data[: _REPLY.size]))
    if reply.version != VERSION:
        raise ProtocolError(f"the warden speaks version {reply.version}, not {VERSION}: rebuild the native part")
    return reply


def _seal(message: bytes) -> bytes:
    return message + _SUM.pack(zlib.crc32(message))
