"""A benchmark's data: where the official file lives, how a local copy is found, and whether it is the official one.

Promises: nothing is downloaded and nothing is read at import; the checksum is of the uncompressed text, so a `.jsonl` and a
`.jsonl.gz` of the same data are the same; a copy that differs is used, and says so in `Dataset.warning` and in every run folder.
Places, in this order: the path that was given (`--data`), then `GROUNDRUN_DATA`; each may be the file, the folder that holds
it, or a folder that holds the benchmark's own folder.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from groundrun.errors import BadInput, DatasetMissing
from groundrun.records import Problem


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """What a benchmark is called and where its data are. `sha256` is of the official file's uncompressed text.

    `subsets` are names of tests that have a score of their own beside the headline, which counts all tests of a task.
    """

    name: str
    version: str
    address: str
    licence: str
    folder: str
    files: tuple[str, ...]
    sha256: str
    subsets: tuple[str, ...] = ()


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark's problems as they were found on this machine. `sha256` is of the text that was really read."""

    benchmark: Benchmark
    problems: tuple[Problem, ...]
    sha256: str
    path: str = ""

    @property
    def warning(self) -> str:
        """What to say beside a score when the data are not the official ones; empty when they are."""
        if self.sha256 == self.benchmark.sha256:
            return ""
        official = f"the official {self.benchmark.name} {self.benchmark.version}"
        return f"{self.path} is not {official}: sha256 {self.sha256[:16]}…, not {self.benchmark.sha256[:16]}…"


def find_data(benchmark: Benchmark, given: Path | None = None) -> Path:
    """The file with the benchmark's data. Raises `DatasetMissing` with the places that were looked at."""
    variable = os.environ.get("GROUNDRUN_DATA", "")
    places = [given] if given is not None else [Path(variable)] if variable else []
    for place in places:
        if place.is_file():
            return place
        for folder in (place / benchmark.folder, place):
            for name in benchmark.files:
                if (folder / name).is_file():
                    return folder / name
    raise DatasetMissing(benchmark.name, benchmark.address, tuple(str(place) for place in places))


def open_plain(path: Path) -> BinaryIO:
    """A file opened for reading bytes, uncompressed by what it holds, whatever its name: gzip, xz, or as it is."""
    with path.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return cast("BinaryIO", gzip.open(path, "rb"))
    if magic == b"\xfd7zXZ\x00":
        return cast("BinaryIO", lzma.open(path, "rb"))
    return path.open("rb")


def read_plain(path: Path) -> bytes:
    """The whole uncompressed content of a file. Raises `BadInput`."""
    try:
        with open_plain(path) as file:
            return file.read()
    except UNREADABLE as error:
        raise BadInput(str(path), f"can't be read: {error}") from error


def digest_of(content: bytes) -> str:
    """The sha256 of a text, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What reading a damaged or missing file can raise."""
