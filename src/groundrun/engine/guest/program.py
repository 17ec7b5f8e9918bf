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
    path = os.path.join(os.getcwd(), NAME)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(descriptor, job.source.encode("utf-8", "surrogatepass"))
    os.close(descriptor)
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=path, __builtins__=__builtins__)
    sys.modules["__main__"] = module
    sys.argv = [path, *job.argv]
    sys.path.insert(0, os.path.dirname(path))
    return compile(job.source, path, "exec", dont_inherit=True), module
