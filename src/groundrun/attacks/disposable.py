"""A disposable world: namespaces in which a command may do its worst, and of which nothing is left.

    python -m groundrun.attacks.disposable COMMAND...

runs the command in user, pid, mount, network, ipc and host-name namespaces of its own. There the file systems of the host are read-only, an
empty one lies on the folder that TMPDIR names, loopback is the only network, and memory and processes are bounded where a cgroup
can be made (by rlimits besides). When the command ends, or this process does, everything in there is killed.

Promises that nothing in there can write a file of the host or see a process of it. Doesn't promise the walls of the engine's own jail: the
kernel's whole face is before the command, so it is for programs that are known, run without a guard to show what the guard does.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from groundrun.engine.cgroups import find_delegation
from groundrun.errors import UsageError

_NEW = 0x10000000 | 0x20000000 | 0x00020000 | 0x40000000 | 0x08000000 | 0x04000000  # user, pid, mount, net, ipc, uts
_PRIVATE, _RECURSIVE, _NOSUID, _NODEV = 1 << 18, 1 << 14, 2, 4
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _READ_ONLY = 442, -100, 0x8000, 1
_SET_DEATH_SIGNAL = 1
_IFF_UP, _GET_FLAGS, _SET_FLAGS = 1, 0x8913, 0x8914
MEMORY_BYTES = 3 << 30
PROCESSES = 6000
ROOM_BYTES = 512 << 20
_NICE, _RTPRIO, _MSGQUEUE, _SIGPENDING = 13, 14, 12, 11  # not all of them are in `resource`
_LIFTED = (_NICE, _RTPRIO, _MSGQUEUE, _SIGPENDING, resource.RLIMIT_MEMLOCK, resource.RLIMIT_CORE, resource.RLIMIT_STACK)
_PLACES = ("/mnt", "/media", "/srv", "/opt", "/tmp")


def main() -> int:
    """Run the command of the arguments in a world of its own; its exit status."""
    try:
        return run_apart(sys.argv[1:])
    except (OSError, UsageError) as error:
        print(f"no disposable namespaces can be made here: {error}", file=sys.stderr)
        return 125


def choose_place(*needed: str) -> str:
    """An empty mount's place that covers nothing of what is needed: paths of code and interpreters."""
    for place in _PLACES:
        if os.path.isdir(place) and not any(os.path.realpath(path).startswith(f"{place}/") for path in needed):
            return place
    raise UsageError(f"every one of {', '.join(_PLACES)} is missing or holds groundrun or its interpreter: make one of them")


def run_apart(command: list[str]) -> int:
    """Run a command in a world of its own and return its exit status. Raises OSError when the host refuses one."""
    place = os.environ["TMPDIR"]
    maps = {name: _identity(name) for name in ("uid_map", "gid_map")} if os.geteuid() == 0 else _own_ids()
    ready, go = os.pipe(), os.pipe()
    with _bounded() as groups:
        child = os.fork()
        if child == 0:
            os.close(ready[0])
            os.close(go[1])
            _enter(command, place, groups, ready[1], go[0])
        os.close(ready[1])
        os.close(go[0])
        try:
            told = os.read(ready[0], 4)
            if told == b"ok":
                for name, text in maps.items():
                    if name == "gid_map" and os.geteuid() != 0:
                        Path(f"/proc/{child}/setgroups").write_text("deny")
                    Path(f"/proc/{child}/{name}").write_text(text)
                os.write(go[1], b"g")
        finally:
            os.close(go[1])
            os.close(ready[0])
            _, status = os.waitpid(child, 0)
        if told != b"ok":
            number = int.from_bytes(told, "little")
            raise OSError(number, os.strerror(number))
        return os.waitstatus_to_exitcode(status) & 0xFF


def _identity(name: str) -> str:
    """Every id that there is stands for itself."""
    lines = [line.split() for line in Path(f"/proc/self/{name}").read_text().splitlines()]
    return "".join(f"{start} {start} {count}\n" for start, _, count in lines)


def _own_ids() -> dict[str, str]:
    return {"uid_map": f"0 {os.geteuid()} 1\n", "gid_map": f"0 {os.getegid()} 1\n"}


@contextlib.contextmanager
def _bounded() -> Iterator[list[Path]]:
    """Cgroups that bound what enters them, as far as they can be made; removed afterwards."""
    found = find_delegation()
    made: list[Path] = []
    try:
        with contextlib.suppress(OSError):
            for folder in dict.fromkeys(each for each in (found.memory, found.pids) if each):
                for left in Path(folder).glob("groundrun-*-apart"):  # of a process that was killed
                    if not Path(f"/proc/{left.name.split('-')[1]}").exists():
                        _remove(left)
                group = Path(folder) / f"groundrun-{os.getpid()}-apart"
                group.mkdir()
                made.append(group)
                for file, most in (("memory.max", MEMORY_BYTES), ("memory.limit_in_bytes", MEMORY_BYTES), ("pids.max", PROCESSES)):
                    if (group / file).exists():
                        (group / file).write_text(str(most))
        yield made
    finally:
        for group in made:
            _remove(group)


def _remove(group: Path) -> None:
    for path in (*sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True), group):
        with contextlib.suppress(OSError):
            path.rmdir()


def _enter(command: list[str], place: str, groups: list[Path], ready: int, go: int) -> NoReturn:
    """In the child: leave the host's namespaces, and start the first process of the new ones."""
    libc = ctypes.CDLL(None, use_errno=True)
    for group in groups:
        with contextlib.suppress(OSError):
            (group / "cgroup.procs").write_text("0")
    libc.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    for kind in _LIFTED:  # what isn't bounded here can be shown to be bounded by a guard
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if libc.unshare(_NEW):
        os.write(ready, ctypes.get_errno().to_bytes(4, "little"))
        os._exit(125)
    os.write(ready, b"ok")
    if os.read(go, 1) != b"g":
        os._exit(125)
    first = os.fork()
    if first == 0:
        libc.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
        _be_first(libc, command, place)
    _, status = os.waitpid(first, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _be_first(libc: ctypes.CDLL, command: list[str], place: str) -> NoReturn:
    """As process 1: lay the world out, start the command, reap until it ends."""
    try:
        _lay_out(libc, place)
    except OSError as error:
        print(f"no disposable namespaces can be made here: {error}", file=sys.stderr)
        os._exit(125)
    child = os.fork()
    if child == 0:
        os.execvp(command[0], command)
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _lay_out(libc: ctypes.CDLL, place: str) -> None:
    def check(result: int, what: str) -> None:
        if result:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

    check(libc.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None), "making mounts private")
    attributes = struct.pack("QQQQ", _READ_ONLY, 0, 0, 0)
    for point in _list_mounts():
        if "/sys/fs/cgroup" not in point:  # one by one: a mount that lies below another is out of reach anyway, and must not stop the rest
            libc.syscall(ctypes.c_long(_MOUNT_SETATTR), _AT_FDCWD, point.encode(), 0, attributes, ctypes.c_size_t(len(attributes)))
    if os.access("/", os.W_OK):
        raise OSError(0, "the host's file system can't be made read-only")
    check(libc.mount(b"proc", b"/proc", b"proc", _NOSUID | _NODEV, None), "mounting /proc")
    check(libc.mount(b"room", place.encode(), b"tmpfs", _NOSUID | _NODEV, f"size={ROOM_BYTES},mode=1777".encode()), f"mounting {place}")
    handle = ctypes.c_int(libc.socket(2, 2, 0)).value
    request = struct.pack("16sh", b"lo", 0).ljust(40, b"\0")
    request = fcntl.ioctl(handle, _GET_FLAGS, request)
    flags = struct.unpack_from("h", request, 16)[0]
    fcntl.ioctl(handle, _SET_FLAGS, struct.pack("16sh", b"lo", flags | _IFF_UP).ljust(40, b"\0"))
    os.close(handle)


def _list_mounts() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


if __name__ == "__main__":
    sys.exit(main())
