"""A job as it crosses from the host into the jail, and what comes back: the wire format of one run.

The host writes a job into a sealed memfd; the forked child reads it from its own descriptor, so that its bytes never pass
through a zygote. The answer is a *report*: a fixed region shared with the host, mapped before the program starts, so that
no descriptor of ours stays open in the program.

Job, little endian::

    4 bytes  b"GRJ1"
    fields   4 bytes length and that many bytes each: source, payload, entry point (a leading byte: 1 if there is one), then
             4 bytes count and that many arguments, 4 bytes count and that many pairs of path and content
             (text is UTF-8 with lone surrogates kept; a plain layout, because parsing JSON touches ten times the memory pages)

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

MAGIC = b"GRJ1"
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
        self, *, source: str, entry_point: str | None, argv: list[str], payload: bytes, files: dict[str, bytes], channel: int, write: Write
    ) -> None:
        self.source, self.entry_point, self.argv, self.payload, self.files = source, entry_point, argv, payload, files
        self.channel, self._write = channel, write

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
    parts = [MAGIC]

    def put(data: bytes) -> None:
        parts.append(len(data).to_bytes(4, "little"))
        parts.append(data)

    put(_to_bytes(source))
    put(payload)
    put(b"" if entry_point is None else b"\1" + _to_bytes(entry_point))
    parts.append(len(argv).to_bytes(4, "little"))
    for argument in argv:
        put(_to_bytes(argument))
    parts.append(len(files).to_bytes(4, "little"))
    for path, data in files.items():
        put(_to_bytes(path))
        put(data)
    return b"".join(parts)


def decode_job(data: bytes, *, channel: int, write: Write) -> GuestJob:
    """The job in `data`, which the host wrote: trusted."""
    at = len(MAGIC)

    def number() -> int:
        nonlocal at
        at += 4
        return int.from_bytes(data[at - 4 : at], "little")

    def take() -> bytes:
        nonlocal at
        length = number()
        at += length
        return data[at - length : at]

    source, payload, entry = _to_text(take()), take(), take()
    argv = [_to_text(take()) for _ in range(number())]
    files = {_to_text(take()): take() for _ in range(number())}
    entry_point = _to_text(entry[1:]) if entry else None
    return GuestJob(source=source, entry_point=entry_point, argv=argv, payload=payload, files=files, channel=channel, write=write)


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
