"""The candidate's module as a test file imports it: what it defines is reached by name, in the candidate's own process.

Plain data is copied at each access; for an exception class there is a stand-in (`raising`). Anything else is a *member*: a handle that
can be called like an entry point, also in the strictest mode, because a module's functions and classes are what its problem asks for.
What calling gives is plain data or an ordinary handle.
Changing the module (`mock.patch`, `monkeypatch.setattr`) is an inert failure.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any, NoReturn

from groundrun.judging.guest.proxy import Candidate

_ASKED = ("__all__", "__version__", "__author__")  # import machinery and test frameworks look for many more such names


class Module(types.ModuleType):
    """The proxy of a module."""

    def __init__(self, candidate: Candidate, name: str) -> None:
        super().__init__(name)
        self.__dict__["_candidate"] = candidate

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in _ASKED:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        candidate: Candidate = self._candidate
        return candidate.list_exports() if name == "__all__" else candidate.get_member(name)

    def __dir__(self) -> list[str]:
        candidate: Candidate = self._candidate
        return candidate.list_exports()

    def __setattr__(self, name: str, value: object) -> None:
        self._change(name)

    def __delattr__(self, name: str) -> None:
        self._change(name)

    def _change(self, name: str) -> NoReturn:
        candidate: Candidate = self._candidate
        candidate.refuse("a test changes the candidate's module, which is in another process", name)


def install_module(candidate: Candidate, name: str, *, known: bool) -> None:
    """Let `import name` give the proxy; packages above it are the problem's own, or empty. `known`: a reference was calibrated."""
    module = Module(candidate, name)
    candidate.meet_module(known=known)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(_find_package(parent), child, module)


def _find_package(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        package = types.ModuleType(name)
        package.__path__ = []
        sys.modules[name] = package
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(_find_package(parent), child, package)
        return package
