"""The files of a session's branches, which share one slot: one branch's files are *in place*, the others' lie in reserve.

The host lets one branch at a time run, and puts its files in place before: what lies in the folders `work`, `tmp` and (where there is one)
`shm` moves to the reserve of the branch before, and what lies in its own reserve moves back. So paths, relative and absolute, mean
the running branch's own files. Moving is by name, entry by entry; nothing is copied but at the branch's making.

All of it counts against the disk limit of the one slot. A copy keeps content with its holes, hard links within one folder's tree, symbolic
links, modes and times; at rung `landlock`, where nothing may change them, only the modes that a new file can have. It doesn't keep
extended attributes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from errno import ENXIO

_BLOCK = 1 << 20
_SMALL = 16_384  # holes in such a file save nothing
_DOWN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folders:
    """The writable folders of a slot, and the reserve beside them."""

    def __init__(self, work: str, temporary: str) -> None:
        slot = os.path.dirname(work)
        names = {"work": work, "tmp": temporary, "shm": os.path.join(slot, "shm")}
        self._work = work
        self._places = {name: path for name, path in names.items() if os.path.isdir(path)}
        self._reserve = os.path.join(slot, "branches")
        with contextlib.suppress(FileExistsError):  # at rung landlock it is there
            os.mkdir(self._reserve, 0o700)

    def mend(self) -> None:
        """A folder that a cell removed, or put something else in place of, is there again, empty; who worked in it does so again."""
        for path in self._places.values():
            try:
                if stat.S_ISDIR(os.lstat(path).st_mode):
                    continue
                os.unlink(path)
            except FileNotFoundError:
                pass
            os.mkdir(path, 0o755)
        if os.stat(".").st_nlink == 0:
            os.chdir(self._work)

    def devices(self) -> set[int]:
        """The file systems that they lie on."""
        return {os.stat(path).st_dev for path in self._places.values()}

    def roots(self) -> set[tuple[int, int]]:
        """The identities of the folders themselves, which stay where they are."""
        found = map(os.stat, self._places.values())
        return {(each.st_dev, each.st_ino) for each in found}

    def place(self, out: int, wanted: int) -> None:
        """Put the files of `wanted` in place of those of `out`; 0 for those of nobody, which go."""
        self.mend()
        for name, path in self._places.items():
            if out:
                self._move(path, self._make(out, name))
            else:
                self._empty(path)
            self._move(self._make(wanted, name), path)

    def forget(self, number: int, *, in_place: bool) -> None:
        """Remove the files of a branch."""
        shutil.rmtree(os.path.join(self._reserve, str(number)), ignore_errors=True)
        if in_place:
            for path in self._places.values():
                self._empty(path)

    def copy(self, number: int) -> dict[tuple[int, int], str]:
        """Copy what is in place into the reserve of `number`; the path of the copy of each file and folder, by (device, inode).

        These are the paths that they have now. Raises OSError when there is no room, or something can't be copied.
        """
        copies: dict[tuple[int, int], str] = {}
        mask = os.umask(0)
        try:
            for name, path in self._places.items():
                info = os.stat(path)
                copies[info.st_dev, info.st_ino] = path
                self._copy_folder(path, self._make(number, name), copies)
        finally:
            os.umask(mask)
        return copies

    def write(self, path: str, data: bytes, *, more: bool) -> None:
        """Write a file below the working folder, or append to it; links on the way are refused."""
        self.mend()
        *parents, name = [part for part in path.split("/") if part not in ("", ".")]
        folder = os.open(self._work, _DOWN)
        try:
            for parent in parents:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(parent, 0o755, dir_fd=folder)
                below = os.open(parent, _DOWN, dir_fd=folder)
                os.close(folder)
                folder = below
            how = os.O_APPEND if more else os.O_CREAT | os.O_TRUNC
            _write(os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | how, 0o644, dir_fd=folder), data)
        finally:
            os.close(folder)

    def read(self, path: str, offset: int, most: int) -> bytes:
        """Part of a file below the working folder. Raises OSError for links, and for anything that is no file."""
        *parents, name = [part for part in path.split("/") if part not in ("", ".")]
        folder = os.open(self._work, _DOWN)
        try:
            for parent in parents:
                below = os.open(parent, _DOWN, dir_fd=folder)
                os.close(folder)
                folder = below
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(0, "it is no regular file")
            return os.pread(descriptor, most, offset)
        finally:
            os.close(descriptor)

    def _make(self, number: int, name: str) -> str:
        path = os.path.join(self._reserve, str(number), name)
        with contextlib.suppress(FileExistsError):
            os.makedirs(path, 0o700)
        return path

    def _move(self, source: str, target: str) -> None:
        for name in os.listdir(source):
            try:
                os.rename(f"{source}/{name}", f"{target}/{name}")
            except PermissionError:  # a folder that can't be written to can't be moved either
                mode = stat.S_IMODE(os.lstat(f"{source}/{name}").st_mode)
                os.chmod(f"{source}/{name}", mode | 0o200)
                os.rename(f"{source}/{name}", f"{target}/{name}")
                os.chmod(f"{target}/{name}", mode)

    def _empty(self, folder: str) -> None:
        for name in os.listdir(folder):
            path = f"{folder}/{name}"
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)

    def _copy_folder(self, source: str, target: str, copies: dict[tuple[int, int], str]) -> None:
        waiting = [(source, target)]
        finished = []
        while waiting:
            here, there = waiting.pop()
            for name in os.listdir(here):
                path, copy = f"{here}/{name}", f"{there}/{name}"
                info = os.lstat(path)
                key = (info.st_dev, info.st_ino)
                if stat.S_ISDIR(info.st_mode):
                    os.mkdir(copy, info.st_mode & 0o7777 | 0o700)
                    waiting.append((path, copy))
                    finished.append((copy, info))
                elif stat.S_ISREG(info.st_mode):
                    if key in copies:
                        os.link(copies[key], copy)
                    else:
                        _copy_file(path, copy, info)
                elif stat.S_ISLNK(info.st_mode):
                    os.symlink(os.readlink(path), copy)
                elif stat.S_ISFIFO(info.st_mode):
                    os.mkfifo(copy, info.st_mode & 0o7777)
                else:
                    raise OSError(0, f"{name!r} is neither file, folder, link nor pipe and can't be copied")
                copies.setdefault(key, copy)
        for copy, info in reversed(finished):
            _set_attributes(copy, info)


def _copy_file(source: str, target: str, info: os.stat_result) -> None:
    """Content with its holes, mode and times."""
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, info.st_mode & 0o7777 | 0o200)
        try:
            at = 0
            if info.st_size <= _SMALL:
                at = os.write(writing, os.read(reading, _SMALL))
            if at < info.st_size:
                os.ftruncate(writing, info.st_size)
            while at < info.st_size:
                try:
                    at = os.lseek(reading, at, os.SEEK_DATA)
                    end = os.lseek(reading, at, os.SEEK_HOLE)
                except OSError as error:
                    if error.errno == ENXIO:  # nothing but a hole is left
                        break
                    raise
                os.lseek(reading, at, os.SEEK_SET)
                os.lseek(writing, at, os.SEEK_SET)
                while at < end and (done := os.sendfile(writing, reading, None, min(end - at, _BLOCK))):
                    at += done
                if at < end:
                    break
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    _set_attributes(target, info)


def _set_attributes(path: str, info: os.stat_result) -> None:
    mode = stat.S_IMODE(info.st_mode)
    with contextlib.suppress(PermissionError):
        if mode & 0o7700 != 0o700 and mode & 0o7600 != 0o600:  # it was made with less, so that it could be filled
            os.chmod(path, mode)
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def _write(descriptor: int, data: bytes) -> None:
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "there is something else that is no regular file")
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)
