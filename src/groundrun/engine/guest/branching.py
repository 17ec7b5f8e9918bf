"""How an interpreter of a session is forked so that two remain that share as little as can be.

A fork copies memory; it doesn't copy threads, children, or what lies behind descriptors. What can't be had twice is an *obstacle*, named
before anything is done. Regular files and folders below the slot are opened again on the branch's copy, at the same place in them.

The branch is a grandchild: the process between ends at once, so the branch is a child of the trunk, and neither a cell that waits for its
children nor one that asks whether it has any meets it. Not seen, because nothing in the slot can tell: memory that was made to be shared,
files mapped into memory, and descriptors that share one place in a file with each other; of these, each gets a place of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import stat
import sys
import time
from collections.abc import Callable
from ctypes import c_char, c_int
from errno import EINTR
from os import dup2, fstat, get_inheritable, getpid, lseek
from select import POLLNVAL, poll
from typing import Any

from groundrun.engine.guest import boot
from groundrun.engine.guest.folders import Folders

_FIRST = 3
_MOST = 256  # descriptors that a program may have: see engine/warden.py
_MOST_TIDS = 200_000
_PR_SET_CHILD_SUBREAPER = 36
_process = ctypes.PyDLL(None, use_errno=True)
_fork, _wait, _leave, _prctl = _process.fork, _process.waitpid, _process._exit, _process.prctl
_before, _in_parent, _in_child = (
    getattr(ctypes.pythonapi, f"PyOS_{name}") for name in ("BeforeFork", "AfterFork_Parent", "AfterFork_Child")
)
for _each in (_before, _in_parent, _in_child, _leave):
    _each.restype = None


_every = poll()
for _number in range(_FIRST, _MOST):
    _every.register(_number, 0)


class Fork:
    """One fork of this process."""

    def adopt(self) -> None:
        """Become the parent of branches whose own parent ended."""
        if _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "branches can't be adopted")

    def begin(self) -> bool:
        """True in the branch. Raises OSError when a process more is refused. Handlers of `os.register_at_fork` run once."""
        _before()
        result = ctypes.PyDLL(
            boot.library._name, handle=boot.library._handle
        ).gr_branch()  # keeps the interpreter's lock, which a child must own
        if result == 0:
            _in_child()
            return True
        _in_parent()
        if result < 0:
            raise OSError(-result, "the slot has no room for a process more, or may not fork: see Limits.processes")
        return False


def keep_chance() -> Callable[[], None]:
    """What puts the state of `random` back, which reseeds itself in every child."""
    module = sys.modules.get("random")
    if module is None:
        return lambda: None
    try:
        state = module.getstate()
    except Exception:  # a cell's own module of that name
        return lambda: None
    return lambda: module.setstate(state)


def find_obstacle(folders: Folders, *, apart: tuple[int, ...]) -> str | None:
    """Why this process can't be forked into two independent ones, as the end of a sentence; None when it can."""
    threads = _count_threads()
    if threads is None:
        return "it had threads, and how many are left can't be told"
    if threads:
        return f"{threads} {'thread runs' if threads == 1 else 'threads run'} beside the one of its cells, and no thread survives a fork"
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return "it has child processes, or some that it did not wait for, and a branch would not have them"
    except ChildProcessError:
        pass
    outputs = {(each.st_dev, each.st_ino) for each in (fstat(1), fstat(2))}
    homes = folders.devices()
    for descriptor, info in _open_descriptors(apart):
        kind = info.st_mode
        if (info.st_dev, info.st_ino) in outputs or stat.S_ISCHR(kind):
            continue
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            name = "a pipe" if stat.S_ISFIFO(kind) else "a socket" if stat.S_ISSOCK(kind) else "something of the kernel's"
            return f"descriptor {descriptor} is {name}, which both would share: close it first"
        if info.st_nlink == 0:
            return f"descriptor {descriptor} is a file that has no name any more, so it can't be copied: close it first"
        if info.st_dev not in homes:
            return f"descriptor {descriptor} is a file outside of the slot, which both would share: close it first"
    return None


def reopen(folders: Folders, copies: dict[tuple[int, int], str], outputs: list[os.stat_result], *, apart: int) -> None:
    """In a branch: what was open is open on its copy, and the working folder is the copy's. Raises OSError when that can't be."""
    here = fstat_of_working_folder()
    for descriptor, info in _open_descriptors((apart,)):
        key = (info.st_dev, info.st_ino)
        for number, output in enumerate(outputs, 1):
            if key == (output.st_dev, output.st_ino):
                dup2(number, descriptor, get_inheritable(descriptor))
                break
        else:
            if stat.S_ISCHR(info.st_mode):
                continue
            path = copies.get(key)
            if path is None:
                raise OSError(0, f"descriptor {descriptor} is a file outside of the slot, which both would share: close it first")
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC)
            again = os.open(path, flags | os.O_CLOEXEC)
            if stat.S_ISREG(info.st_mode):
                lseek(again, lseek(descriptor, 0, os.SEEK_CUR), os.SEEK_SET)
            dup2(again, descriptor, get_inheritable(descriptor))
            os.close(again)
    if here is not None and here in copies and here not in folders.roots():
        os.chdir(copies[here])


def fstat_of_working_folder() -> tuple[int, int] | None:
    """Identity of the working folder; None when it was removed."""
    try:
        info = os.stat(".")
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _open_descriptors(apart: tuple[int, ...]) -> list[tuple[int, os.stat_result]]:
    """All but those."""
    try:
        closed = {descriptor for descriptor, what in _every.poll(0) if what & POLLNVAL}  # one call instead of one each
    except OSError:  # more than this process may have open
        closed = set()
    found = []
    for descriptor in range(_FIRST, _MOST):
        if descriptor not in closed and descriptor not in apart:
            with contextlib.suppress(OSError):
                found.append((descriptor, fstat(descriptor)))
    return found


def _count_threads() -> int | None:
    """Threads of this process besides the calling one, native ones included; None when it can't be told."""
    known = len(sys._current_frames()) - 1
    if known > 0:
        return known
    try:
        if c_char.in_dll(_process, "__libc_single_threaded").value != b"\0":
            return 0
    except ValueError:  # another C library
        pass
    newest = _newest_pid()
    first = getpid()
    if not 0 <= newest - first <= _MOST_TIDS:
        return None
    return sum(_is_ours(number) for number in range(first + 1, newest))


def _newest_pid() -> int:
    pid = int(_fork())
    if pid == 0:
        _leave(0)
    status: Any = c_int(0)
    while pid > 0 and _wait(pid, ctypes.byref(status), 0) < 0 and ctypes.get_errno() == EINTR:
        pass
    return pid


def _is_ours(number: int) -> bool:
    """Whether a thread of that number belongs to this process: only then the kernel tells about its clock."""
    try:
        time.clock_getres((~number << 3) | 6)
    except OSError:
        return False
    return True
