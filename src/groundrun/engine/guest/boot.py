"""How a guest module is found, run and ended inside the jail; also the script of rung `none`, where there is no zygote.

`run` gives a program what the interpreter gives a script at its end: threads joined, exit handlers run, streams flushed,
`SystemExit` understood, an uncaught exception printed with the user's frames only. It doesn't finalize the interpreter: objects
that are alive at the end are not destroyed, except the main module's globals.
"""

from __future__ import annotations

import _thread
import atexit
import importlib
import os
import sys
import traceback
import types
from typing import Any, NoReturn

HERE = os.path.dirname(os.path.abspath(__file__))
STUBS = ("groundrun", "groundrun.engine", "groundrun.judging")
TRACEBACK_BYTES = 16_384
library: Any = None  # the native part, where there is a zygote


def install_stubs(roots: dict[str, str]) -> None:
    """Make `groundrun.engine.guest` and kin importable without the package: empty parents, real guest folders.

    roots: dotted name of a guest package to its folder.
    """
    for name in STUBS:
        stub = types.ModuleType(name)
        stub.__path__ = []
        sys.modules[name] = stub
    for name, folder in roots.items():
        package = types.ModuleType(name)
        package.__path__ = [folder]
        sys.modules[name] = package


def load(name: str, shelf: dict[str, types.ModuleType]) -> Any:
    """The guest module of that dotted name; only guest packages can be named.

    Our modules live on `shelf` and are in `sys.modules` only while one is imported, so that a program that imports groundrun
    gets its own. (Doing this per program would touch a page for every module name.)
    """
    if not name.startswith("groundrun."):
        raise ValueError(f"{name!r} is not a guest module")
    sys.modules.update(shelf)
    try:
        return importlib.import_module(name)
    finally:
        for ours in [each for each in sys.modules if each.split(".")[0] == "groundrun"]:
            shelf[ours] = sys.modules.pop(ours)


def run(module: Any, job: Any) -> int:
    """Run a guest module's `main` to its end and return the exit status. Never raises."""
    status = 0
    try:
        try:
            module.main(job)
        finally:
            _wind_up()
    except SystemExit as stop:
        job.end({"kind": "exited"})
        status = _status_of(stop)
    except BaseException as error:
        status = 1
        _record(job, error)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError) as error:
        if status == 0:
            status = 120
            _record(job, error)
    return status


def _wind_up() -> None:
    """What the interpreter does between the last line of a script and its end."""
    threading = sys.modules.get("threading")  # not imported here: its fork handler alone costs each child 0.4 ms
    if threading is not None and (_thread._count() or threading._threading_atexits):
        threading._shutdown()
    atexit._run_exitfuncs()


def _status_of(stop: SystemExit) -> int:
    code = stop.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -(1 << 63) <= code < 1 << 63 else 255  # what doesn't fit a C long is -1
    print(code, file=sys.stderr)
    return 1


def _record(job: Any, error: BaseException) -> None:
    """Print the traceback as the interpreter would and hand the facts to the host; survives hostile exceptions."""
    try:
        job.end({"kind": "raised", "type": _type_name(type(error)), "message": "", "errno": getattr(error, "errno", None)})
        tb = error.__traceback__
        while tb is not None and tb.tb_frame.f_code.co_filename.startswith(HERE):
            tb = tb.tb_next
        error.__traceback__ = tb
        hook = sys.excepthook
        text = "".join(traceback.format_exception(type(error), error, tb, limit=-40))[-TRACEBACK_BYTES:]
        line = None
        while tb is not None:
            if tb.tb_frame.f_globals.get("__name__") == "__main__":
                line = tb.tb_lineno
            tb = tb.tb_next
        if isinstance(error, SyntaxError):
            line = error.lineno
        code = getattr(error, "errno", None)
        job.end(
            {
                "kind": "raised",
                "type": _type_name(type(error)),
                "message": str(error)[:TRACEBACK_BYTES],
                "traceback": text,
                "line": line if isinstance(line, int) else None,
                "errno": code if isinstance(code, int) else None,
            }
        )
        if hook is sys.__excepthook__:
            sys.stderr.write(text)
        else:
            hook(type(error), error, error.__traceback__)
    except BaseException:  # the exception's own __str__, a full output, no memory left: what was recorded first stands
        return


def _type_name(kind: type) -> str:
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}"


def read_all(descriptor: int) -> bytes:
    """Everything in a memfd, from its start, whatever its offset is."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    data = os.pread(descriptor, size, 0)
    while len(data) < size:
        part = os.pread(descriptor, size - len(data), len(data))
        if not part:
            break
        data += part
    return data


def _main() -> NoReturn:
    """Rung `none`: one interpreter per run. Arguments: guest module, roots and limits as JSON, job and report descriptors, channel."""
    import ctypes
    import json
    import resource

    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG: no program outlives a killed parent

    name, settings, job_fd, report_fd, channel = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != HERE]
    install_stubs(settings["roots"])
    shelf: dict[str, types.ModuleType] = {}
    guests = load("groundrun.engine.guest.job", shelf)
    module = load(name, shelf)

    def write(offset: int, data: bytes) -> None:
        os.pwrite(report_fd, data, offset)

    job = guests.decode_job(read_all(job_fd), channel=channel, write=write)
    os.close(job_fd)
    for limit, value in settings["rlimits"].items():
        number = getattr(resource, limit)
        hard = resource.getrlimit(number)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (value, value))
    guests.lay_out(job.files)
    os._exit(run(module, job))


if __name__ == "__main__":
    _main()
