"""The zygote: a warm interpreter that is forked once per run and never sees a job.

It receives an order (limits, descriptors and the name of a guest module, all from the warden), forks, and waits for the child.
The child enters its slot (see native/guest.c), and only then reads the job from its own descriptor: a zygote that read jobs
would leave their bytes in the memory of every later child.

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
from collections.abc import Callable
from typing import Any, NoReturn

HERE = os.path.dirname(os.path.abspath(__file__))
CONTROL = 3
_COMMON = ("bisect", "collections", "copy", "functools", "heapq", "itertools", "math", "operator", "re", "string", "typing")
FIRST_CGROUP = 4
_CLONE_THREAD = 0x10000
_AHEAD: set[str] = set()  # top-level names of what only the flavour brought in
_AFRESH: list[Callable[[], object]] = []  # seeds what all children would otherwise have in common; `random` sees to itself
_KEPT_BACK: list[Callable[[], object]] = []
_register = os.register_at_fork


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
    for name in policy["guests"]:
        guests.get(name)
    _warm_up()
    if failure := _import_ahead(policy["modules"]):
        library.gr_refuse(0, failure.encode("utf-8", "replace"))
        os._exit(1)
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


def _use_numpy(numpy: Any) -> None:
    """What the first use of arrays prepares: loops by type, how numbers are printed."""
    numbers = numpy.arange(10)
    str(numbers.sum()), str(numbers * 1.5), repr(numbers @ numbers)


def _use_random(random: Any) -> None:
    def seed() -> None:  # without an argument it takes five times as long
        random.seed(int.from_bytes(os.urandom(4), "little"))

    seed()
    _AFRESH.append(seed)
    random.rand(2)
    random.default_rng(1).random(2)


def _use_pandas(pandas: Any) -> None:
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    str(frame), str(frame.groupby("b").a.sum()), str(frame.describe())


def _use_sympy(sympy: Any) -> None:
    x = sympy.Symbol("x")
    str(sympy.expand((x + 1) ** 2)), str(sympy.solve(x**2 - 4, x)), str(sympy.diff(sympy.sin(x), x))


_FIRST_USES = {"numpy": _use_numpy, "numpy.random": _use_random, "pandas": _use_pandas, "sympy": _use_sympy}


def _import_ahead(modules: list[str]) -> str | None:
    """Import the modules of the flavour and use them once; what went wrong, or None."""
    before = set(sys.modules)
    os.register_at_fork = _register_at_fork
    for name in modules:
        try:
            __import__(name)
        except BaseException as error:
            return f"importing {name}: {type(error).__name__}: {error}"
    os.register_at_fork = _register
    for name, use in _FIRST_USES.items():
        if name in sys.modules:
            with contextlib.suppress(Exception):  # another version's ways are no reason to do without it
                use(sys.modules[name])
    _AHEAD.update(name.partition(".")[0] for name in set(sys.modules) - before)
    if modules and ctypes.CDLL(None).unshare(_CLONE_THREAD):  # refused to a process that has threads, no effect otherwise
        return f"importing {', '.join(modules)}: threads were started, and a process that has some can't be forked safely"
    return None


def _register_at_fork(**handlers: Any) -> None:
    """Keep back the handler of `threading` for the forks that programs make themselves.

    It mends what threads leave broken in a child; here are none, and to run it costs each child 0.3 ms.
    """
    handler = handlers.get("after_in_child")
    if handler is not None and getattr(handler, "__module__", None) == "threading":
        _KEPT_BACK.append(handler)
    else:
        _register(**handlers)


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

    for handler in _KEPT_BACK:
        os.register_at_fork(after_in_child=handler)
    for seed in _AFRESH:
        seed()
    job = guests.job.decode_job(guests.boot.read_all(4), channel=channel.value, write=write)
    os.close(4)
    if job.files:
        guests.job.lay_out(job.files)
        _make_way(job.files)
    os._exit(guests.boot.run(module, job))


def _make_way(files: dict[str, bytes]) -> None:
    """What was imported ahead must not hide a program's own file of that name."""
    for top in {path.partition("/")[0].removesuffix(".py") for path in files} & _AHEAD:
        for name in [name for name in sys.modules if name.partition(".")[0] == top]:
            del sys.modules[name]


if __name__ == "__main__":
    main()
