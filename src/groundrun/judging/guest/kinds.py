"""Which operations a test may use on an object that stays with the candidate: those that the reference's object *in that place* needed.

Objects are sorted into *kinds*, and a kind follows from how an object came about: from which kind, by which operation, at which position of
the answer. It never follows from what a candidate says of it. While the reference runs, kinds are learned: an instance of a class is of
its class's kind, so that `node.next.next` goes round in a circle, whatever comes as a function, a method, a class or an iterator is of a
kind of its own for that place, and an object met again keeps its kind. What was learned are `Use`s. When a candidate runs, an object
in a place where the reference gave plain data is of no kind and can do nothing.

Not told apart are objects that the reference's classes don't tell apart, places in which the reference gave both plain data and
objects, and kinds that came about in one place (`merge`). Where the reference gave nothing but None for an attribute of an object, an
object there is taken for another of the same kind: trees of other shapes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

Use = tuple[
    str, str, str
]  # of a kind, this operation was used; with a third part: at this position of its result was an object of that kind
ENTRY, MODULE, NONE = "entry", "module", "None"
EXPORT, EXCEPTION = "export ", "exception "  # before a name that the reference's module exports, or has for an exception class
_GENERIC = ("builtins.", "functools.", "itertools.")  # types that say nothing about what an object is
_LONGEST = 200  # characters of a kind's name


class Met:
    """An object's place in an answer that is being read; `position` is that within the operation's result."""

    __slots__ = ("name", "number", "position")

    def __init__(self, number: int, name: str) -> None:
        self.number, self.name, self.position = number, name, "="


class Kinds:
    """What is known of kinds: given as uses, or, when those are None, being learned in `used`."""

    def __init__(self, uses: Iterable[Iterable[str]] | None) -> None:
        self.learning = uses is None
        self.used: set[Use] = set()
        self.exports: set[str] = set()
        self.exceptions: set[str] = set()
        self._operations: dict[str, set[str]] = {}
        self._gives: dict[tuple[str, str], str] = {}
        self._known: dict[int, str] = {}
        self._drains: dict[tuple[str, str], bool] = {}
        for kind, operation, gives in uses or ():
            if gives:
                self._gives[kind, operation] = gives
            elif operation.startswith(EXPORT):
                self.exports.add(operation.removeprefix(EXPORT))
            elif operation.startswith(EXCEPTION):
                self.exceptions.add(operation.removeprefix(EXCEPTION))
            else:
                self._operations.setdefault(kind, set()).add(operation)

    def drains(self, source: str, operation: str) -> bool:
        """Whether iterators and views in the result of an operation cross as their items: where none was needed as an object.

        Not what `iter` gives, and not where the reference gave one that stayed unused: it may have no end.
        """
        if self.learning or operation == "iter":
            return False
        known = self._drains.get((source, operation))
        if known is None:
            given = {kind for (origin, step), kind in self._gives.items() if origin == source and step.partition("[")[0] == operation}
            known = self._drains[source, operation] = not any(map(self._is_iterated, given))
        return known

    def _is_iterated(self, kind: str) -> bool:
        operations = self._operations.get(kind)
        return not kind.endswith(">") if operations is None else bool(operations & {"iter", "next"})

    def any_objects(self) -> bool:
        """Whether there is any place for an object of some kind."""
        return self.learning or bool(self._gives)

    def operations_of(self, kind: str) -> Iterable[str] | None:
        """What may be done with objects of a kind; None for anything."""
        return None if self.learning else self._operations.get(kind, ())

    def permits(self, kind: str, operation: str) -> bool:
        """Whether an operation may be used; it is noted when learning."""
        if self.learning:
            self.used.add((kind, operation, ""))
        return self.learning or operation in self._operations.get(kind, ())

    def sort(self, met: Met, source: str, operation: str) -> str:
        """The kind of an object that came from one of the kind `source`; no kind is the empty one."""
        step = operation + met.position
        if not self.learning:
            return self._gives.get((source, step), "")
        generic = met.name.startswith(_GENERIC) and met.name != "builtins.object"
        kind = self._known.setdefault(met.number, f"{source}/{step}"[-_LONGEST:] if generic else f"<{met.name}>")
        self.used.add((source, step, kind))
        return kind

    def note_none(self, source: str, operation: str) -> None:
        """Learn that an operation gave None."""
        if self.learning:
            self.used.add((source, operation, NONE))


def locate(value: object) -> None:
    """Set the position of everything met in a value: `[]` for the members of a container that holds nothing else, else their own place."""
    for position, met in _find(value, set()) or ():
        met.position = position


def _find(value: object, seen: set[int]) -> list[tuple[str, Met]] | None:
    """What was met in a value; None when it holds nothing that could be told apart, or was seen before."""
    if type(value) is Met:
        return [("", value)]
    if isinstance(value, dict):
        children: Iterable[tuple[object, object]] = value.items()
    elif isinstance(value, (list, tuple, deque)):
        children = enumerate(value)
    else:
        return None if value is None else []
    if id(value) in seen or not value:
        return None
    seen.add(id(value))
    alike, places = True, []
    for key, child in children:
        inner = _find(child, seen)
        alike = alike and inner != []
        places += [(key, rest, met) for rest, met in inner or ()]
    return [(f"[]{rest}" if alike else f"[{_name(key)}]{rest}", met) for key, rest, met in places]


def _name(key: object) -> str:
    """A key in a few characters, the same in every process."""
    return str(key)[:40] if type(key) in (str, bool, type(None)) else str(hash(key))


def merge(uses: Iterable[Use]) -> tuple[tuple[Use, ...], dict[str, str]]:
    """What a reference used, with kinds made one that came about in one place; and the new names of kinds that have one."""
    uses = sorted(uses)
    names = {kind: kind for use in uses for kind in (use[0], use[2])}

    def find(kind: str) -> str:
        while names[kind] != kind:
            kind = names[kind]
        return kind

    merging = True
    while merging:
        merging = False
        gives: dict[tuple[str, str], str] = {}
        for kind, operation, given in uses:
            if given not in ("", NONE):
                one, other = find(gives.setdefault((find(kind), operation), given)), find(given)
                if one != other:
                    names[max(one, other)] = min(one, other)
                    merging = True
    merged = {(find(kind), operation, find(given)) for kind, operation, given in uses}
    known = {use for use in merged if use[2] != NONE}
    certain = {(kind, operation) for kind, operation, given in known if given}
    known |= {
        (kind, operation, kind)
        for kind, operation, given in merged
        if given == NONE and kind.startswith("<") and (kind, operation) not in certain
    }
    return tuple(sorted(known)), {kind: find(kind) for kind in names if find(kind) != kind}
