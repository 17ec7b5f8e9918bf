"""The guest module of an ordinary run: the source is executed as `__main__`, the way `python main.py` would.

The source lies beside its files as `main.py`, so that tracebacks, `inspect` and `multiprocessing` find it. The host has refused other files
of that name.
"""

from __future__ import annotations

import os
import sys
import types

from groundrun.engine.guest.job import GuestJob

NAME = "main.py"


def main(job: GuestJob) -> None:
    """Run the job's source as the main program; what it raises passes through."""
    code, module = prepare(job)
    exec(code, module.__dict__)


def prepare(job: GuestJob) -> tuple[types.CodeType, types.ModuleType]:
    """Put everything in place for the job's source as the main program: its code and its module. Raises SyntaxError."""
    folder = os.getcwd()
    path = f"{folder}/{NAME}"
    save(path, job.source)
    sys.path.insert(0, folder)
    return make(job.source, path, job.argv)


def save(path: str, source: str) -> None:
    """Write a source beside its files."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(descriptor, source.encode("utf-8", "surrogatepass"))
    os.close(descriptor)


def make(source: str, path: str, argv: list[str]) -> tuple[types.CodeType, types.ModuleType]:
    """The code of a source, and a fresh main module for it."""
    module = types.ModuleType("__main__")
    names = module.__dict__
    names["__file__"] = path
    names["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    sys.argv = [path, *argv]
    return compile(source, path, "exec", dont_inherit=True), module
