r"""Files of JSON lines that survive: appended to in whole lines, repaired when torn, replaced as a whole or not at all.

Promises: `append` makes one write of one line; when the disk takes less, what it took is cut off again and
`StorageFailed` is raised, so that the file ends where it ended before. Opening cuts off a last line without its newline.
`replace_file` and `keep` write beside the file, under a name of their own, sync, and rename: a reader sees the old file or the new one,
and of two writers the later one wins. Only a writer that is killed leaves its file behind (`LEFT_OVER`).
Candidates' text may hold lone surrogates, which JSON in UTF-8 can't: they are written as `\udXXX` in plain characters.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from groundrun.errors import BadInput, StorageFailed

LEFT_OVER = re.compile(r"\.groundrun-[0-9a-f]{16}\.new")
"""The name of a file that was to replace another, and whose writer was killed."""
_CHUNK = 1 << 16
_Record = TypeVar("_Record")


class AppendedFile:
    """A file of lines opened for appending, repaired first. `repaired_bytes` says how much of a torn line was cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1
        self.repaired_bytes = 0
        self._open()
        try:
            self.repaired_bytes = self._cut_torn_line()
        except OSError as error:
            self.close()
            raise StorageFailed(str(path), _why(error)) from error

    def append(self, line: bytes) -> None:
        """Write one whole line. Raises `StorageFailed` and leaves the file as it was."""
        try:
            written = os.write(self._file, line)
            if written != len(line):
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
        except OSError as error:
            raise StorageFailed(str(self.path), _why(error)) from error
        if written != len(line):
            raise StorageFailed(str(self.path), f"the disk took {written} of {len(line)} bytes of a record")

    def sync(self) -> None:
        """Put what was appended on the disk."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise StorageFailed(str(self.path), _why(error)) from error

    def close(self) -> None:
        """Sync and close. Closing twice does nothing."""
        if self._file < 0:
            return
        try:
            self.sync()
        finally:
            os.close(self._file)
            self._file = -1

    def keep(self, wanted: Callable[[bytes], bool]) -> None:
        """Replace the file by one that has only the wanted lines, and go on appending to that."""
        self.close()
        with self.path.open("rb") as lines:
            replace_file(self.path, (line for line in lines if wanted(line)))
        self._open()

    def _open(self) -> None:
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise StorageFailed(str(self.path), _why(error)) from error

    def _cut_torn_line(self) -> int:
        size = end = os.fstat(self._file).st_size
        while end:
            start = max(0, end - _CHUNK)
            newline = os.pread(self._file, end - start, start).rfind(b"\n")
            end = start
            if newline >= 0:
                end = start + newline + 1
                break
        if end != size:
            os.ftruncate(self._file, end)
            os.fsync(self._file)
        return size - end


def encode_line(record: msgspec.Struct) -> bytes:
    """A record as one line of JSON, newline included."""
    try:
        return msgspec.json.encode(record) + b"\n"
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(msgspec.to_builtins(record))) + b"\n"


def read_records(path: Path, kind: type[_Record]) -> Iterator[_Record]:
    """The records of a file, one at a time; nothing when there is no file. A last line without newline is left out.

    Raises `BadInput` with the line number where a whole line is not such a record.
    """
    decoder = msgspec.json.Decoder(kind)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    except OSError as error:
        raise BadInput(str(path), f"can't be read: {_why(error)}") from error
    with file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                record = decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise BadInput(str(path), f"this line is damaged: {error}", line=number, hint="use another --out") from error
            yield record


def replace_file(path: Path, content: bytes | Iterator[bytes]) -> None:
    """Put a whole new file in the place of `path`, or leave it untouched and raise `StorageFailed`."""
    beside = path.with_name(f".groundrun-{secrets.token_hex(8)}.new")
    try:
        with beside.open("xb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError):
            raise StorageFailed(str(path), _why(error)) from error
        raise


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list | tuple):
        return [_without_surrogates(part) for part in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(part) for key, part in value.items()}
    return value
