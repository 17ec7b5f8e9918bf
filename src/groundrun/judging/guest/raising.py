"""Exceptions of the candidate as they are raised in the grader: of builtin types, or of stand-ins for classes that its module defines.

A stand-in has the name of the candidate's class, is derived from its nearest builtin base and has the text that the candidate gave; so
`with pytest.raises(solution.OutOfStock)` works and nothing else of the class crosses. There are stand-ins only where tests can name the
class, in test files; elsewhere the candidate's class is its nearest builtin base. Exits, interrupts, skips and whatever is no
`Exception` by a builtin base are never raised: for those there is None.

Where no reference tells that a name means an exception, the class is there to be caught. Making an instance is an inert failure then, for a
class that stands in for a function would pass as its result; and an alias of a builtin is a *lure*, which frameworks that ask `issubclass`
take for that builtin, and an `except` clause does not.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

_RAISABLE: dict[str, type[Exception]] = {
    f"builtins.{name}": kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type)
    and issubclass(kind, Exception)
    and not issubclass(kind, (StopIteration, StopAsyncIteration))
    and not name.endswith("Group")
}
_SKIPS = ("unittest.case.SkipTest", "_pytest.outcomes.Skipped")
_ENDS = ("builtins.StopIteration", "builtins.StopAsyncIteration")
_MOST = 1000  # stand-ins


class Exceptions:
    """The stand-ins, by the qualified names of the candidate's classes; with `follow`, for every class that is raised too."""

    def __init__(self) -> None:
        self._stand_ins: dict[str, type[Exception]] = {}
        self._lures: dict[str, type[Exception]] = {}
        self.follow = False
        self.refuse: Callable[[], NoReturn] | None = None

    def stand_in(self, names: Sequence[str]) -> type[Exception] | None:
        """The exception class for a class of the candidate's, given the names of it and its bases; None where it can't be one."""
        kind = _find_builtin(names)
        own = [name for name in names if not name.startswith("builtins.")]
        if kind is not None and names[0] in _RAISABLE:
            if self.refuse is None:
                return kind
            return self._lures.setdefault(names[0], _make_class(kind.__name__, "builtins", (_Lure, kind), self))
        if kind is None or not own or names[0] != own[0] or len(self._stand_ins) + len(own) > _MOST:
            return None
        for name in reversed(own):
            known = self._stand_ins.get(name)
            kind = self._stand_ins[name] = _make_stand_in(name, kind, self) if known is None else known
        return kind

    def make(self, names: Sequence[str], arguments: tuple[Any, ...], message: str) -> Exception | None:
        """The exception to raise here for one of the candidate's, or None."""
        if _find_builtin(names) is None:
            return None
        if self.follow and names[0] not in _RAISABLE:
            self.stand_in(names)
        kind = next(found for name in names if (found := self._stand_ins.get(name) or _RAISABLE.get(name)))
        error = _construct(kind, arguments, message)
        if isinstance(error, StandIn):
            error.text = message
        return error


def _find_builtin(names: Sequence[str]) -> type[Exception] | None:
    if any(name in _SKIPS for name in names) or names[0] in _ENDS:
        return None
    return next((_RAISABLE[name] for name in names if name in _RAISABLE), None)


class _Class(type):
    """The class of stand-ins: `owner` says whether a test may make an instance. `_construct` goes round it."""

    owner: Exceptions

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        if cls.owner.refuse is not None:
            cls.owner.refuse()
        return super().__call__(*arguments, **keywords)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, cls.__mro__[2]) if _Lure in cls.__bases__ else super().__subclasscheck__(other)

    def __instancecheck__(cls, item: object) -> bool:
        return issubclass(type(item), cls)


class StandIn:
    """What distinguishes stand-ins: the text that the candidate gave."""

    text: str | None = None

    def __str__(self) -> str:
        return super().__str__() if self.text is None else self.text


class _Lure:
    """An alias of the builtin that is the next base."""


def _make_stand_in(name: str, base: type[Exception], owner: Exceptions) -> type[Exception]:
    module, _, own = name.rpartition(".")
    bases = (base,) if issubclass(base, StandIn) else (StandIn, base)
    return _make_class(own if own.isidentifier() else "Stand-in", module, bases, owner)


def _make_class(name: str, module: str, bases: tuple[type, ...], owner: Exceptions) -> type[Exception]:
    made: type = _Class(name, bases, {"__module__": module, "owner": owner})
    return made


def _construct(kind: type[Exception], arguments: tuple[Any, ...], message: str) -> Exception:
    """An exception of that type, or of its nearest base that can be made of these arguments."""
    while True:
        try:
            error: Exception = type.__call__(kind, *arguments)
            return error
        except Exception:
            try:
                error = type.__call__(kind, message)
                return error
            except Exception:
                kind = next(base for base in kind.__mro__[1:] if issubclass(base, Exception))
