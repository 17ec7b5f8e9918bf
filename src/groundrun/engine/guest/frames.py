"""Frames between the host and the processes of a session: small, strict, and cheap to refuse.

A frame is a length (u32, little endian) and that many bytes: fields, each a length (u32) and its bytes. The first field of a request is its
number, which the answer repeats. Text is UTF-8 with lone surrogates kept.

Nothing here guards anything: the guest's end lies in the process that runs the cells. The host believes a frame only as the cell's own
word, and `unpack` can't be made slow or large by what it reads.
"""

from __future__ import annotations

MAX_FRAME = 8 << 20
MAX_FIELDS = 16


def pack(*fields: bytes) -> bytes:
    """One frame, its head included."""
    body = b"".join([part for field in fields for part in (len(field).to_bytes(4, "little"), field)])
    return len(body).to_bytes(4, "little") + body


def unpack(body: bytes) -> list[bytes]:
    """The fields of a frame without its head. Raises ValueError when it isn't one."""
    fields: list[bytes] = []
    at = 0
    while at < len(body):
        size = int.from_bytes(body[at : at + 4], "little")
        at += 4
        if size > len(body) - at or len(fields) == MAX_FIELDS:
            raise ValueError("a field reaches past the end of its frame, or there are too many")
        fields.append(body[at : at + size])
        at += size
    return fields


def to_bytes(text: str) -> bytes:
    """Text as a field."""
    return text.encode("utf-8", "surrogatepass")


def to_text(data: bytes) -> str:
    """A field as text. Raises ValueError when it isn't any."""
    return data.decode("utf-8", "surrogatepass")
