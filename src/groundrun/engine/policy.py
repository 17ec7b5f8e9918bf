"""What a program may see of the host: environment, paths, and the landlock rules that follow from them.

Paths are the same on both rungs. At `namespaces` they are bound read-only into an empty root and landlock repeats them as a
second wall; at `landlock` the rules are the wall. The package itself is hidden wherever it is installed beside the runtime,
because its starter problems hold expected answers.
"""

from __future__ import annotations

import os
import struct
from functools import cache
from pathlib import Path

import msgspec

from groundrun.engine.interpreter import Interpreter
from groundrun.records import Rung

_PACKAGE = Path(__file__).resolve().parent.parent
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SETTINGS = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime", "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/protocols", "/etc/services",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_PASSWD = "root:x:0:0:root:/:/bin/sh\nprogram:x:1000:1000:program:/run/slot/work:/bin/sh\n"
_GROUP = "root:x:0:\nprogram:x:1000:\n"

SLOT = "/run/slot"

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_IOCTL_DEV = 1 << 15
_ALL_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP, _SCOPES = 3, 3
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | _IOCTL_DEV


class Rule(msgspec.Struct, frozen=True):
    """Landlock access rights beneath a path."""

    path: str
    access: int


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What of the host is visible. `binds`: (what, where); `links`: (text, where); `hidden`: folders shown empty."""

    binds: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]
    hidden: tuple[str, ...]


@cache
def guest_roots() -> dict[str, str]:
    """Dotted name of each guest package to its folder on the host."""
    return {
        "groundrun.engine.guest": str(_PACKAGE / "engine" / "guest"),
        "groundrun.judging.guest": str(_PACKAGE / "judging" / "guest"),
    }


def program_environment(folder: str, temporary: str | None = None, *, hash_seed: int = 0) -> dict[str, str]:
    """The whole environment of a program: nothing of the host's. The fixed hash seed makes runs repeatable."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": folder,
        "TMPDIR": temporary or folder,
        "LANG": "C.UTF-8",
        "PYTHONUTF8": "1",
        "PYTHONHASHSEED": str(hash_seed),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


def choose_view(interpreter: Interpreter) -> View:
    """The paths of a runtime and its system, and nothing else of the host."""
    binds: dict[str, str] = {}
    links: list[tuple[str, str]] = []
    for path in _SYSTEM:
        if os.path.islink(path):
            links.append((os.readlink(path), path))
        elif os.path.isdir(path):
            binds[path] = path
    etc = [*_SETTINGS, *sorted(str(path) for path in Path("/etc").glob("python3*"))]
    binds |= {path: os.path.realpath(path) for path in etc if os.path.exists(path)}
    for folder in sorted(interpreter.folders, key=len):
        if not any(folder == shown or folder.startswith(f"{shown}/") for shown in binds):
            binds[folder] = os.path.realpath(folder)
    hidden = {f"{folder}/groundrun" for folder in interpreter.packages if os.path.isdir(f"{folder}/groundrun")}
    hidden |= {where + str(_PACKAGE)[len(real) :] for where, real in binds.items() if str(_PACKAGE).startswith(f"{real}/")}
    return View(
        binds=tuple((real, shown) for shown, real in binds.items()),
        links=tuple(links),
        files=((_PASSWD, "/etc/passwd"), (_GROUP, "/etc/group")),
        hidden=tuple(sorted(hidden)),
    )


def encode_ruleset(rung: Rung, *, abi: int) -> bytes:
    """struct landlock_ruleset_attr of that version of the interface: every right it knows is handled, so denied unless allowed."""
    attributes = struct.pack("=Q", _ALL_BY_ABI[min(abi, 5)])
    if abi >= 4:
        attributes += struct.pack("=Q", _TCP if rung is Rung.LANDLOCK else 0)
    if abi >= 6:
        attributes += struct.pack("=Q", _SCOPES)
    return attributes


def choose_rules(rung: Rung, view: View, *, abi: int, writable: tuple[str, ...]) -> tuple[Rule, ...]:
    """Read and execute for the runtime, everything in the slot's own folders, the harmless devices."""
    everything = _ALL_BY_ABI[min(abi, 5)]
    look = _EXECUTE | _READ_FILE | _READ_DIR
    device = (_READ_FILE | _WRITE_FILE | _IOCTL_DEV) & everything
    rules = [Rule(folder, everything) for folder in writable]
    if rung is Rung.NAMESPACES:
        rules += [Rule("/", look), Rule("/dev", device)]
        return tuple(rules)
    readable = {real for real, _ in view.binds} | {os.path.realpath(where) for _, where in view.links}
    for path in sorted(readable):
        rules += [Rule(part, look if os.path.isdir(part) else look & _FILE_RIGHTS) for part in _without(path, view.hidden)]
    rules += [Rule(path, device & _FILE_RIGHTS) for path in _DEVICES if os.path.exists(path)]
    return tuple(rules)


def _without(path: str, hidden: tuple[str, ...]) -> list[str]:
    """The path, or its parts when something below it is hidden: landlock can't take back what a parent gave."""
    inside = [place for place in map(os.path.realpath, hidden) if place == path or place.startswith(f"{path.rstrip('/')}/")]
    if not inside:
        return [path]
    if path in inside:
        return []
    try:
        children = [os.path.join(path, name) for name in sorted(os.listdir(path))]
    except OSError:
        return []
    return [part for child in children if not os.path.islink(child) for part in _without(child, hidden)]
