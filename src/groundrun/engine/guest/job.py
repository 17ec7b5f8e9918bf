"""A job as it crosses from the host into the jail, and what comes back: the wire format of one run.

The host writes a job into a sealed memfd; the forked child reads it from its own descriptor, so that its bytes never pass
through a zygote. The answer is a *report*: a fixed region shared with the host, mapped before the program starts, so that
no descriptor of ours stays open in the program.

Job, little endian::

    4 bytes  b"GRJ2"
    4 bytes  each: how long are the source, the payload, the entry point (NO_ENTRY: there is none), the arguments, the files
    parts    in that order: text is UTF-8 with lone surrogates kept; each argument, path and content with 4 bytes of length before it

A plain layout, read with few calls, because each page that a fresh child touches costs it as much as ten thousand instructions.

Report::

    4 bytes  length of the ending    (at most 65,528)
    4 bytes  length of the report    (at most 1 MiB)
    ending   JSON at offset 8: {"kind": "raised", "type", "message", "traceback", "line", "errno"} or {"kind": "exited"}
    report   at offset 65,536: whatever the guest module hands back

Everything in a report is *in process*: a program that looks for the region can write it. The host checks every length.
"""

from __future__ import annotations

import os
from collections.abc import Callable

MAGIC = b"GRJ2"
NO_ENTRY = 0xFFFF_FFFF
ENDING_OFFSET = 8
ENDING_BYTES = 65_528
REPORT_OFFSET = 65_536
REPORT_BYTES = 1 << 20
REGION_BYTES = REPORT_OFFSET + REPORT_BYTES

Write = Callable[[int, bytes], None]


class GuestJob:
    """One job inside the jail.

    `channel` is the descriptor of a connected stream socket, or -1. `write(offset, data)` stores into the shared region.
    """

    __slots__ = ("_write", "argv", "channel", "entry_point", "files", "payload", "source")

    def __init__(
        self, source: str, entry_point: str | None, argv: list[str], payload: bytes, files: dict[str, bytes], channel: int, write: Write
    ) -> None:
        self.source = source
        self.entry_point = entry_point
        self.argv = argv
        self.payload = payload
        self.files = files
        self.channel = channel
        self._write = write

    def report(self, data: bytes) -> None:
        """Hand bytes back to the host, at most `REPORT_BYTES`; the last call wins. Raises ValueError when too long."""
        if len(data) > REPORT_BYTES:
            raise ValueError(f"a report holds at most {REPORT_BYTES} bytes, not {len(data)}")
        self._write(REPORT_OFFSET, data)
        self._write(4, len(data).to_bytes(4, "little"))

    def end(self, ending: dict[str, object]) -> None:
        """Record how the program ended; too long a traceback or message is cut."""
        import json  # only programs that end badly pay for it

        data = json.dumps(ending).encode()
        if len(data) > ENDING_BYTES:
            cut = {k: v[:4096] if isinstance(v, str) else v for k, v in ending.items()}
            data = json.dumps(cut).encode()[:ENDING_BYTES]
        self._write(ENDING_OFFSET, data)
        self._write(0, len(data).to_bytes(4, "little"))


def encode_job(*, source: str, entry_point: str | None, argv: tuple[str, ...], payload: bytes, files: dict[str, bytes]) -> bytes:
    """The bytes of a job; see the module's docstring."""
    entry = None if entry_point is None else _to_bytes(entry_point)
    listed = _join([_to_bytes(argument) for argument in argv])
    laid = _join([part for path, data in files.items() for part in (_to_bytes(path), data)])
    parts = (_to_bytes(source), payload, entry or b"", listed, laid)
    lengths = [len(part) for part in parts]
    if entry is None:
        lengths[2] = NO_ENTRY
    return b"".join((MAGIC, *(length.to_bytes(4, "little") for length in lengths), *parts))


def _join(parts: list[bytes]) -> bytes:
    return b"".join(piece for part in parts for piece in (len(part).to_bytes(4, "little"), part))


def decode_job(data: bytes, *, channel: int, write: Write) -> GuestJob:
    """The job in `data`, which the host wrote: trusted."""
    source = 24 + int.from_bytes(data[4:8], "little")
    payload = source + int.from_bytes(data[8:12], "little")
    entry = int.from_bytes(data[12:16], "little")
    after = payload + (entry if entry != NO_ENTRY else 0)
    files = after + int.from_bytes(data[16:20], "little")
    return GuestJob(
        _to_text(data[24:source]),
        None if entry == NO_ENTRY else _to_text(data[payload:after]),
        [_to_text(argument) for argument in _split(data[after:files])] if files > after else [],
        data[source:payload],
        _pair(_split(data[files:])) if len(data) > files else {},
        channel,
        write,
    )


def _split(data: bytes) -> list[bytes]:
    parts, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        parts.append(data[at + 4 : end])
        at = end
    return parts


def _pair(parts: list[bytes]) -> dict[str, bytes]:
    return {_to_text(path): content for path, content in zip(parts[::2], parts[1::2], strict=True)}


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _to_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def lay_out(files: dict[str, bytes]) -> None:
    """Write a job's files below the working folder; the host has checked that every path is relative and inside."""
    for path, data in files.items():
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
