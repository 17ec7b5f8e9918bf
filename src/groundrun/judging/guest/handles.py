"""Objects of the candidate that stay in its process: what a test can do with one, and what it can't.

A handle has, besides its identity and its type's name, only the operations that the problem's reference needed in its place (`kinds`).
So a candidate can't return an object with a `startswith` of its own where the reference returned a string. A handle without any is an
opaque token. Every use that would let the candidate decide, `==`, `hash` and truth first of
all, is an inert failure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from groundrun.judging.guest.kinds import ENTRY

if TYPE_CHECKING:
    from groundrun.judging.guest.proxy import Candidate

NOT_PLAIN = "a value of the candidate is not plain data, and a test needs more of it than its presence"


class Handle:
    """An object that stays in the candidate's process.

    This much every handle has. `make_kind` adds the operations that the reference needed and no others, so that `callable` and
    the like don't find more than there is. An operation that was not added fails as it does on a bare `object()`.
    """

    __slots__ = ("_candidate", "_kind", "_number", "_place")

    def __init__(self, candidate: Candidate, number: int | None, kind: str = "", place: str | None = None) -> None:
        self._candidate, self._number, self._kind = candidate, number, kind
        self._place = kind if place is None else place  # whose arguments are written back is told by this name

    def _use(self, operation: str, *arguments: Any) -> Any:
        self._candidate.permit(self, operation)
        return self._candidate.ask(operation, self, arguments)

    def _use_for(self, kind: type, operation: str) -> Any:
        value = self._use(operation)
        if type(value) is not kind:
            self._refuse(operation)
        return value

    def _refuse(self, operation: str) -> NoReturn:
        self._candidate.refuse(NOT_PLAIN, operation)

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("__", "_pytest", "_mock")):  # pytest looks at everything in a file for such names
            raise AttributeError(name)
        self._candidate.permit(self, f"get {name}")
        return self._candidate.ask("get", self, (name,))

    def __setattr__(self, name: str, value: object) -> None:
        if name not in Handle.__slots__:
            self._refuse(f"setting {name}")
        object.__setattr__(self, name, value)

    def __str__(self) -> str:
        return str(self._use_for(str, "str"))

    def __repr__(self) -> str:
        return f"<a {type(self).__name__} of the candidate>" if self._candidate.may_peek(self) else str(self._use_for(str, "repr"))

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __bool__(self) -> bool:
        self._refuse("truth")

    def __eq__(self, other: object) -> bool:
        self._refuse("==")

    def __ne__(self, other: object) -> bool:
        self._refuse("!=")

    def __lt__(self, other: object) -> bool:
        self._refuse("<")

    def __le__(self, other: object) -> bool:
        self._refuse("<=")

    def __gt__(self, other: object) -> bool:
        self._refuse(">")

    def __ge__(self, other: object) -> bool:
        self._refuse(">=")

    def __hash__(self) -> int:
        self._refuse("hash")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self._refuse("copying or pickling")


def _call(self: Handle, *arguments: Any, **keywords: Any) -> Any:
    self._candidate.permit(self, "call")
    return self._candidate.ask("call", self, arguments, keywords)


def _iterate(self: Handle) -> Any:
    found = self._use("iter")
    if not isinstance(found, Handle):
        self._refuse("iter")
    return found


_OPERATIONS: dict[str, tuple[str, Any]] = {
    "call": ("__call__", _call),
    "iter": ("__iter__", _iterate),
    "next": ("__next__", lambda self: self._use("next")),
    "len": ("__len__", lambda self: self._use_for(int, "len")),
    "item": ("__getitem__", lambda self, key: self._use("item", key)),
    "contains": ("__contains__", lambda self, item: self._use("contains", item) is True),
}


def make_kind(name: str, allowed: Iterable[str] | None, base: type[Handle]) -> type[Handle]:
    """A class of handles for objects of the type of that name, with the operations that are allowed; None for all."""
    chosen = [_OPERATIONS[each] for each in (_OPERATIONS if allowed is None else allowed) if each in _OPERATIONS]
    own = {method: function for method, function in chosen if method not in vars(base)}
    return type(name if name.isidentifier() else "Handle", (base,), {"__slots__": (), **own})


class Member(Handle):
    """What the candidate's module calls by a name, where that is no plain data. It can be called; the rest is a handle's."""

    __slots__ = ()

    @property
    def __name__(self) -> str:
        return self._place

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the candidate's function or class."""
        return self._candidate.ask("call", self, arguments, keywords)

    def __repr__(self) -> str:  # of the test's own words: failed assertions of pytest show what was called
        return f"<{self._place} of the candidate>"


class EntryPoint(Handle):
    """The function under test, by the number None. It can be called; the rest is a handle's, if the reference's was used so."""

    __slots__ = ()

    def __init__(self, candidate: Candidate) -> None:
        super().__init__(candidate, None, ENTRY, "")

    @property
    def __name__(self) -> str:
        return self._candidate.name

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the candidate's function."""
        return self._candidate.ask("call", self, arguments, keywords)
