"""A job as it crosses from the host into the jail, and what comes back: the wire format of one run.

The host writes a job into a sealed memfd; the forked child reads it from its own descriptor, so that its bytes never pass
through a zygote. The answer is a *report*: a fixed region shared with the host, mapped before the program starts, so that
no descriptor of ours stays open in the program.

Job, little endian::

    4 bytes  b"GRJ1"
    4 bytes  length of the header
    header   JSON: {"entry_point", "argv", "source", "payload", "files": [[path, length], ...]}; source and payload are lengths
    blobs    source (UTF-8, lone surrogates kept), payload, then the files in the header's order

Report::

    4 bytes  length of the ending    (at most 65,528)
    4 bytes  length of the report    (at most 1 MiB)
    ending   JSON at offset 8: {"kind": "raised", "type", "message", "traceback", "line", "errno"} or {"kind": "exited"}
    report   at offset 65,536: whatever the guest module hands back

Everything in a report is *in process*: a program that looks for the region can write it. The host checks every length.
"""

from __future__ import annotations

import json
import os
import struct
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
        self._write(4, struct.pack("<I", len(data)))

    def end(self, ending: dict[str, object]) -> None:
        """Record how the program ended; too long a traceback or message is cut."""
        data = json.dumps(ending).encode()
        if len(data) > ENDING_BYTES:
            cut = {k: v[:4096] if isinstance(v, str) else v for k, v in ending.items()}
            data = json.dumps(cut).encode()[:ENDING_BYTES]
        self._write(ENDING_OFFSET, data)
        self._write(0, struct.pack("<I", len(data)))


def encode_job(*, source: str, entry_point: str | None, argv: tuple[str, ...], payload: bytes, files: dict[str, bytes]) -> bytes:
    """The bytes of a job; see the module's docstring."""
    text = source.encode("utf-8", "surrogatepass")
    header = json.dumps(
        {
            "entry_point": entry_point,
            "argv": list(argv),
            "source": len(text),
            "payload": len(payload),
            "files": [[path, len(data)] for path, data in files.items()],
        }
    ).encode()
    return b"".join((MAGIC, struct.pack("<I", len(header)), header, text, payload, *files.values()))


def decode_job(data: bytes, *, channel: int, write: Write) -> GuestJob:
    """The job in `data`, which the host wrote: trusted."""
    size = struct.unpack_from("<I", data, 4)[0]
    header = json.loads(data[8 : 8 + size])
    at = 8 + size

    def take(length: int) -> bytes:
        nonlocal at
        at += length
        return data[at - length : at]

    source = take(header["source"]).decode("utf-8", "surrogatepass")
    payload = take(header["payload"])
    files = {path: take(length) for path, length in header["files"]}
    return GuestJob(
        source=source, entry_point=header["entry_point"], argv=header["argv"], payload=payload, files=files, channel=channel, write=write
    )


def lay_out(files: dict[str, bytes]) -> None:
    """Write a job's files below the working folder; the host has checked that every path is relative and inside."""
    for path, data in files.items():
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
