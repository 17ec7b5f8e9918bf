"""The interpreter that programs run under: where its files lie, and whether another user can reach them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path

import msgspec

from groundrun.engine.exhaustion import BUSY
from groundrun.errors import HostExhausted, RuntimeUnreachable

_QUESTION = """
import json, os, sys
print(json.dumps({"prefix": sys.prefix, "base_prefix": sys.base_prefix, "base_exec_prefix": sys.base_exec_prefix,
                  "exec_prefix": sys.exec_prefix, "library": os.path.dirname(os.__file__), "version": list(sys.version_info[:3]),
                  "paths": [p for p in sys.path if os.path.isabs(p)]}))
"""


_FIND = """
import sys
from importlib.util import find_spec
for name in sys.argv[1:]:
    if find_spec(name) is not None:
        print(name)
"""


class Interpreter(msgspec.Struct, frozen=True, kw_only=True):
    """One Python. `folders` are what it needs to run, as named and as resolved; `packages` its site-packages."""

    executable: str
    version: tuple[int, int, int]
    library: str
    folders: tuple[str, ...]
    packages: tuple[str, ...]


@cache
def describe_interpreter(executable: str) -> Interpreter:
    """Ask a Python where it lives. Raises RuntimeUnreachable when it can't be run or is older than 3.10."""
    path = executable if os.sep in executable else _which(executable)
    path = os.path.abspath(path)
    command = [path, "-I", "-c", _QUESTION]
    try:
        answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        facts = json.loads(answer.stdout)
    except OSError as error:
        if error.errno in BUSY:
            raise HostExhausted(str(error)) from error
        raise RuntimeUnreachable(path, f"it can't be started: {error.strerror}") from error
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise RuntimeUnreachable(path, "it doesn't answer as a Python does: name one with python=… or --python") from error
    version = tuple(facts["version"])
    if version < (3, 10):
        raise RuntimeUnreachable(path, f"it is Python {'.'.join(map(str, version))}, and programs need 3.10 or later")
    named = [facts[key] for key in ("prefix", "exec_prefix", "base_prefix", "base_exec_prefix")]
    named += [os.path.dirname(os.path.dirname(step)) for step in _links(path)]
    folders = dict.fromkeys(os.path.normpath(folder) for folder in named if folder not in ("/", ""))
    resolved = dict.fromkeys(os.path.realpath(folder) for folder in folders)
    packages = tuple(entry for entry in facts["paths"] if entry.endswith(("site-packages", "dist-packages")) and os.path.isdir(entry))
    return Interpreter(executable=path, version=version, library=facts["library"], folders=tuple(folders | resolved), packages=packages)


def name_interpreter(python: str | None) -> str:
    """The executable that `python` means: the present one for None, and the one in its bin for the folder of a virtual environment."""
    if python is None:
        return sys.executable
    if not os.path.isdir(python):
        return python
    for name in ("python", "python3"):
        if os.access(path := os.path.join(python, "bin", name), os.X_OK):
            return path
    raise RuntimeUnreachable(python, "it is a folder without bin/python: name a virtual environment, or an interpreter")


@cache
def find_modules(executable: str, names: tuple[str, ...]) -> frozenset[str]:
    """Which of these top-level modules a Python has. Nothing is imported."""
    command = [describe_interpreter(executable).executable, "-I", "-c", _FIND, *names]
    try:
        answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeUnreachable(executable, f"it doesn't say which modules it has: {error}") from error
    return frozenset(answer.stdout.split()) & frozenset(names)


def find_unreachable(interpreter: Interpreter) -> tuple[str, str] | None:
    """The first path that another user can't pass or read, with the reason; None when all is well."""
    for place in (*interpreter.folders, os.path.realpath(interpreter.executable), f"{interpreter.library}/os.py"):
        for step in [*reversed(Path(place).parents), Path(place)]:
            try:
                mode = step.stat().st_mode
            except OSError as error:
                return str(step), error.strerror or str(error)
            needed = stat.S_IROTH | stat.S_IXOTH if step == Path(place) and step.is_dir() else stat.S_IXOTH
            if step.is_file():
                needed = stat.S_IROTH
            if mode & needed != needed:
                return str(step), f"its mode {stat.S_IMODE(mode):04o} shuts other users out"
    return None


def find_unreadable(interpreter: Interpreter) -> tuple[str, str] | None:
    """The same for a jail that binds the folders themselves: what lies above them doesn't matter."""
    for place in (*interpreter.folders, os.path.realpath(interpreter.executable), f"{interpreter.library}/os.py"):
        try:
            mode = os.stat(place).st_mode
        except OSError as error:
            return place, error.strerror or str(error)
        needed = stat.S_IROTH | stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH
        if mode & needed != needed:
            return place, f"its mode {stat.S_IMODE(mode):04o} shuts other users out: chmod -R o+rX it, or name another Python"
    return None


def _which(name: str) -> str:
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if os.access(os.path.join(folder, name), os.X_OK):
            return os.path.join(folder, name)
    raise RuntimeUnreachable(name, "no such program on PATH")


def _links(path: str) -> list[str]:
    """The path and every place that its symbolic links lead through."""
    steps = [path]
    for _ in range(16):
        if not os.path.islink(path):
            break
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
        steps.append(path)
    return steps
