"""The zygote: a warm interpreter that is forked once per run and never sees a job.

It is told to prepare a child, forks, and waits for the next such word or for the end of a child. The child enters its slot (see
native/guest.c), waits there for its order (limits, descriptors and the name of a guest module, from the warden over the child's own line),
and then reads the job from its own descriptor: a zygote that read jobs would leave their bytes in the memory of every later child.

Warm means: whatever each child would do again (first compile, first traceback, first import of the guests) was done once, and the
garbage collector was told to leave it alone, so that a child touches few pages.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import sys
from typing import Any, NoReturn

HERE = os.path.dirname(os.path.abspath(__file__))
CONTROL = 3
_COMMON = ("bisect", "collections", "copy", "functools", "heapq", "itertools", "math", "operator", "re", "string", "typing")
FIRST_CGROUP = 4


def main() -> NoReturn:
    """Serve until the warden goes. The only argument is the descriptor of the policy, JSON; see engine/warden.py.

    The next descriptor is /proc where the root has none.
    """
    told = int(sys.argv[1])
    policy = json.loads(os.pread(told, os.fstat(told).st_size, 0))
    os.close(told)
    sys.argv[:] = ["groundrun"]
    os.environ.pop("LD_BIND_NOW", None)  # for this process only: what it binds, no child binds again
    library = ctypes.CDLL(policy["library"])
    library.gr_begin.restype = ctypes.c_void_p
    for name in ("gr_settle", "gr_wait", "gr_forked"):
        getattr(library, name)  # looked up once, here: a child that did would touch sixty pages for it
    cgroups = (ctypes.c_int * 8)(*range(FIRST_CGROUP, FIRST_CGROUP + policy["cgroups"]))
    library.gr_open(CONTROL, policy["namespaces"], cgroups, policy["cgroups"], policy["self_pid"])
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != HERE]
    guests = _Guests(policy["roots"])
    guests.boot.library = library
    for name in policy["guests"]:
        guests.get(name)
    _warm_up(guests)
    if failure := guests.import_ahead(policy["modules"], namespaces=bool(policy["namespaces"])):
        library.gr_refuse(0, failure.encode("utf-8", "replace"))
        os._exit(1)
    problem = _set_guards(library, policy)
    if problem:
        library.gr_refuse(problem[0], problem[1].encode())
        os._exit(1)
    gc.collect()
    gc.freeze()
    proc = told + 1 if policy["namespaces"] else -1
    library.gr_make_image(proc)
    if proc >= 0:
        os.close(proc)
    library.gr_ready()
    _serve(library, guests, policy["work"])


class _Guests:
    """The guest modules that are loaded, and the two that the zygote itself needs."""

    def __init__(self, roots: dict[str, str]) -> None:
        sys.path.insert(0, HERE)
        import boot  # type: ignore[import-not-found]  # by its file: its package exists only after install_stubs

        sys.path.remove(HERE)
        del sys.modules["boot"]
        boot.install_stubs(roots)
        self._shelf: dict[str, Any] = {}
        self._loaded: dict[str, Any] = {}
        self.boot = boot.load("groundrun.engine.guest.boot", self._shelf)
        self.job = self.boot.load("groundrun.engine.guest.job", self._shelf)
        self.ahead: Any = None

    def import_ahead(self, modules: list[str], *, namespaces: bool) -> str | None:
        """Import the modules of the flavour; what went wrong, or None."""
        if not modules:
            return None
        self.ahead = self.boot.load("groundrun.engine.guest.ahead", self._shelf)
        failure: str | None = self.ahead.import_ahead(modules, namespaces=namespaces)
        return failure

    def get(self, name: str) -> Any:
        """The module of that name; a new one is loaded, rehearsed and frozen before the next fork."""
        if name not in self._loaded:
            module = self._loaded[name] = self.boot.load(name, self._shelf)
            with contextlib.suppress(Exception):  # what fails in a rehearsal fails in a job, where it is told
                for _ in range(_TIMES if hasattr(module, "rehearse") else 0):
                    module.rehearse()
            gc.collect()
            gc.freeze()
        return self._loaded[name]


_SAMPLE = """
from typing import List
import math
class Sample:
    def __init__(self, value: int = 0) -> None:
        self.value = value
    def check(self, *others: int, **named: int) -> bool:
        return any(other > self.value for other in others)
def sample(numbers: List[float], threshold: float) -> bool:
    for place, first in enumerate(numbers):
        for other, second in enumerate(sorted(numbers)):
            if place != other and abs(first - second) < threshold:
                return True
    found = {str(number): [number, number * 2.5] for number in numbers}
    text = ",".join(found) + f"{len(found)}"
    return text.split(",") == [] or Sample(3).check(*range(5))
assert sample([1.0, 2.0, 3.9], 0.3) == True
assert sample([1, 2], 0.3) == True
"""
_TIMES = 16  # after so many the interpreter has specialized what it runs, and writes to it no more


def _warm_up(guests: _Guests) -> None:
    """Do what every child would do: import what most programs import, format a traceback, open a stream, and the whole way of a job."""
    import io
    import traceback

    for name in _COMMON:
        __import__(name)
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        "".join(traceback.format_exception(type(error), error, error.__traceback__))
    io.TextIOWrapper(io.BytesIO(b"x"), encoding="utf-8").read()
    before = sys.argv, sys.modules["__main__"]
    program = guests.get("groundrun.engine.guest.program")
    job = guests.job.encode_job(source=_SAMPLE, entry_point=None, argv=(), payload=b"", files={})
    for _ in range(_TIMES):
        guests.boot.run(_Rehearsal(program), guests.job.decode_job(job, channel=-1, write=_ignore))
    sys.argv, sys.modules["__main__"] = before


class _Rehearsal:
    """The guest module of ordinary programs, writing nowhere."""

    def __init__(self, program: Any) -> None:
        self._program = program

    def main(self, job: Any) -> None:
        folder = os.getcwd()
        self._program.save(os.devnull, job.source)
        sys.path.insert(0, folder)
        code, module = self._program.make(job.source, "main.py", job.argv)
        exec(code, module.__dict__)
        sys.path.remove(folder)


def _ignore(offset: int, data: bytes) -> None:
    return


def _set_guards(library: Any, policy: dict[str, Any]) -> tuple[int, str] | None:
    """Landlock ruleset and seccomp filters; what failed, or None."""
    attributes = bytes.fromhex(policy["ruleset"])
    if (result := library.gr_make_ruleset(attributes, len(attributes))) < 0:
        return -result, "making the landlock ruleset"
    for path, access in policy["rules"]:
        if (result := library.gr_add_rule(path.encode("utf-8", "surrogateescape"), ctypes.c_uint64(access))) < 0:
            return -result, f"allowing {path}"
    for may_fork, tail in enumerate(policy["tails"]):
        data = bytes.fromhex(tail)
        if (result := library.gr_set_tail(may_fork, data, len(data) // 8)) < 0:
            return -result, "keeping the seccomp filter"
    base = bytes.fromhex(policy["filter"])
    if (result := library.gr_install(base, len(base) // 8)) < 0:
        return -result, "installing the seccomp filter"
    return None


def _serve(library: Any, guests: _Guests, work: str) -> NoReturn:
    name = ctypes.create_string_buffer(96)
    place = work.encode()
    while True:
        got = library.gr_wait(name)
        if got <= 0:
            os._exit(0 if got == 0 else 1)
        if got == 2:
            continue
        if name.value:
            guests.get(name.value.decode())
        try:
            pid = os.fork()
        except OSError as error:
            library.gr_forked(0, error.errno)
            continue
        if pid == 0:
            _become(library, guests, name, place)
        library.gr_forked(pid, 0)


def _become(library: Any, guests: _Guests, name: Any, work: bytes) -> NoReturn:
    """In the child: enter the slot, wait for the order, then read the job and run it."""
    channel = ctypes.c_int(-1)
    library.gr_settle(work)
    if guests.ahead:
        guests.ahead.start_child()
    region = library.gr_begin(ctypes.byref(channel), name)
    module = guests.get(name.value.decode())

    def write(offset: int, data: bytes) -> None:
        ctypes.memmove(region + offset, data, len(data))

    job = guests.job.decode_job(guests.boot.read_all(4), channel=channel.value, write=write)
    os.close(4)
    if job.files:
        guests.job.lay_out(job.files)
        if guests.ahead:
            guests.ahead.make_way(job.files)
    os._exit(guests.boot.run(module, job))


if __name__ == "__main__":
    main()
