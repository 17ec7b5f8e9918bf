"""The zygote: a warm interpreter that is forked once per run and never sees a job.

It receives an order (limits, descriptors and the name of a guest module, all from the warden), forks, and waits for the child.
The child enters its slot (see native/guest.c), and only then reads the job from its own descriptor: a zygote that read jobs
would leave their bytes in the memory of every later child.

Warm means: whatever each child would do again (first compile, first traceback, first import of the guests) was done once, and the
garbage collector was told to leave it alone, so that a child touches few pages.
"""

from __future__ import annotations

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
    """Serve until the warden goes. The only argument is the descriptor of the policy, JSON; see engine/warden.py."""
    told = int(sys.argv[1])
    policy = json.loads(os.pread(told, os.fstat(told).st_size, 0))
    os.close(told)
    sys.argv[:] = ["groundrun"]
    os.environ.pop("LD_BIND_NOW", None)  # for this process only: what it binds, no child binds again
    library = ctypes.CDLL(policy["library"])
    library.gr_enter.restype = ctypes.c_void_p
    cgroups = (ctypes.c_int * 8)(*range(FIRST_CGROUP, FIRST_CGROUP + policy["cgroups"]))
    library.gr_open(CONTROL, policy["namespaces"], cgroups, policy["cgroups"], policy["self_pid"])
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != HERE]
    guests = _Guests(policy["roots"])
    guests.boot.library = library
    for name in policy["guests"]:
        guests.get(name)
    _warm_up()
    problem = _set_guards(library, policy)
    if problem:
        library.gr_refuse(problem[0], problem[1].encode())
        os._exit(1)
    gc.collect()
    gc.freeze()
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

    def get(self, name: str) -> Any:
        """The module of that name; a new one is loaded and frozen before the next fork."""
        if name not in self._loaded:
            self._loaded[name] = self.boot.load(name, self._shelf)
            gc.collect()
            gc.freeze()
        return self._loaded[name]


def _warm_up() -> None:
    """Do once what every child would do: first compile, first traceback, first stream; and import what most programs import."""
    import io
    import traceback

    for name in _COMMON:
        __import__(name)

    try:
        exec(compile("class C:\n  x: int = 1\ndef f(a, *b, **c):\n  return [i for i in b if i]\nf(1, 2)\n1 / 0\n", "warm", "exec"), {})
    except ZeroDivisionError as error:
        "".join(traceback.format_exception(type(error), error, error.__traceback__))
    io.TextIOWrapper(io.BytesIO(b"x"), encoding="utf-8").read()
    print(end="", flush=True)


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
        module = guests.get(name.value.decode())
        try:
            pid = os.fork()
        except OSError as error:
            library.gr_fork_failed(error.errno)
            continue
        if pid == 0:
            _become(library, guests, module, place)
        library.gr_reap(pid)


def _become(library: Any, guests: _Guests, module: Any, work: bytes) -> NoReturn:
    """In the child: enter the slot, then read the job and run it."""
    channel = ctypes.c_int(-1)
    region = library.gr_enter(ctypes.byref(channel), work)

    def write(offset: int, data: bytes) -> None:
        ctypes.memmove(region + offset, data, len(data))

    job = guests.job.decode_job(guests.boot.read_all(4), channel=channel.value, write=write)
    os.close(4)
    if job.files:
        guests.job.lay_out(job.files)
    os._exit(guests.boot.run(module, job))


if __name__ == "__main__":
    main()
