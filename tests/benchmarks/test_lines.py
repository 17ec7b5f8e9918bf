"""Files that are replaced as a whole: two writers at once, a full disk, a writer that is stopped."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from groundrun.benchmarks.lines import LEFT_OVER, replace_file
from groundrun.errors import StorageFailed

pytestmark = pytest.mark.unit


def write_often(path: Path, content: bytes) -> None:
    for _ in range(100):
        replace_file(path, content)


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """A reader sees the whole of one or the other at any time, and neither fails."""
    contents = {letter * 200_000 for letter in (b"a", b"b")}
    path = tmp_path / "page"
    path.write_bytes(min(contents))
    fork = multiprocessing.get_context("spawn")
    writers = [fork.Process(target=write_often, args=(path, content)) for content in contents]
    for writer in writers:
        writer.start()
    try:
        while any(writer.is_alive() for writer in writers):
            assert path.read_bytes() in contents
    finally:
        for writer in writers:
            writer.join(30)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert os.listdir(tmp_path) == ["page"]


def test_what_could_not_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But the old file, and what another writer is about."""
    path, others = tmp_path / "page", tmp_path / ".groundrun-0000000000000000.new"
    path.write_bytes(b"old")
    others.write_bytes(b"theirs")

    def fill(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    def stop() -> Iterator[bytes]:
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(path, stop())
    monkeypatch.setattr("groundrun.benchmarks.lines.os.fsync", fill)
    with pytest.raises(StorageFailed, match="No space left"):
        replace_file(path, b"new")
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"page": b"old", others.name: b"theirs"}
    assert LEFT_OVER.fullmatch(others.name)


def test_a_place_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFailed, match="Not a directory"):
        replace_file(tmp_path / "file" / "page", b"new")


def test_others_may_read_a_page_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        replace_file(tmp_path / "page", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "page").stat().st_mode & 0o777 == 0o644
