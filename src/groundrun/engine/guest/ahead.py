"""Importing ahead: what a zygote of a flavour does before it is frozen, and what each of its children then does first.

The modules are imported with a private, empty place to write to, which is gone afterwards: some keep a cache below HOME or TMPDIR, and no
program may find it there. They are used once, so that children don't prepare the same again.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

_CLONE_THREAD, _CLONE_NEWNS = 0x10000, 0x20000
_MS_NOSUID, _MS_NODEV, _MNT_DETACH = 2, 4, 2

_ahead: set[str] = set()  # top-level names of what only the flavour brought in
_afresh: list[Callable[[], object]] = []  # seeds what all children would otherwise have in common; `random` sees to itself
_kept_back: list[Callable[[], object]] = []
_register = os.register_at_fork


def import_ahead(modules: list[str], *, namespaces: bool) -> str | None:
    """Import modules and use them once; what went wrong, or None."""
    before = set(sys.modules)
    with _scratch(namespaces=namespaces):
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
    _ahead.update(name.partition(".")[0] for name in set(sys.modules) - before)
    if ctypes.CDLL(None).unshare(_CLONE_THREAD):  # refused to a process that has threads, no effect otherwise
        return f"importing {', '.join(modules)}: threads were started, and a process that has some can't be forked safely"
    return None


def start_child() -> None:
    """In each child, before its job is read: what differs between processes that don't come from one fork."""
    for handler in _kept_back:
        os.register_at_fork(after_in_child=handler)
    for seed in _afresh:
        seed()


def make_way(files: dict[str, bytes]) -> None:
    """In a child: what was imported ahead must not hide a program's own file of that name."""
    for top in {path.partition("/")[0].removesuffix(".py") for path in files} & _ahead:
        for name in [name for name in sys.modules if name.partition(".")[0] == top]:
            del sys.modules[name]


@contextlib.contextmanager
def _scratch(*, namespaces: bool) -> Iterator[None]:
    """HOME and TMPDIR can be written to meanwhile: a tmpfs that only this process sees, or without namespaces the slot, emptied again."""
    folders = [os.environ["HOME"], os.environ["TMPDIR"]]
    if not namespaces:
        yield
        import shutil

        for folder in folders:
            for entry in os.scandir(folder):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)
        return
    library, place = ctypes.CDLL(None, use_errno=True), os.path.dirname(folders[0]).encode()
    if library.unshare(_CLONE_NEWNS) or library.mount(b"scratch", place, b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=0700"):
        yield  # whoever needs to write will say so
        return
    for folder in folders:
        os.mkdir(folder)
    yield
    library.umount2(place, _MNT_DETACH)


def _register_at_fork(**handlers: Any) -> None:
    """Keep back the handler of `threading` for the forks that programs make themselves.

    It mends what threads leave broken in a child; here are none, and to run it costs each child 0.3 ms.
    """
    handler = handlers.get("after_in_child")
    if handler is not None and getattr(handler, "__module__", None) == "threading":
        _kept_back.append(handler)
    else:
        _register(**handlers)


def _use_numpy(numpy: Any) -> None:
    """What the first use of arrays prepares: loops by type, how numbers are printed."""
    numbers = numpy.arange(10)
    str(numbers.sum()), str(numbers * 1.5), repr(numbers @ numbers)


def _use_random(random: Any) -> None:
    def seed() -> None:  # without an argument it takes five times as long
        random.seed(int.from_bytes(os.urandom(4), "little"))

    seed()
    _afresh.append(seed)
    random.rand(2)
    random.default_rng(1).random(2)


def _use_pandas(pandas: Any) -> None:
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    str(frame), str(frame.groupby("b").a.sum()), str(frame.describe())


def _use_sympy(sympy: Any) -> None:
    x = sympy.Symbol("x")
    str(sympy.expand((x + 1) ** 2)), str(sympy.solve(x**2 - 4, x)), str(sympy.diff(sympy.sin(x), x))


_FIRST_USES = {"numpy": _use_numpy, "numpy.random": _use_random, "pandas": _use_pandas, "sympy": _use_sympy}
