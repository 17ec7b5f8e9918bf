"""Which mutable objects a value holds, and giving one of them new contents in place: what written-back arguments need.

Only plain data is looked into; what belongs to a class of the program is left alone.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

from groundrun.engine.guest.transport import parts_of

_MUTABLE = {list, dict, set, bytearray, deque, OrderedDict, Counter, defaultdict}
_DICTS = {dict, Counter, defaultdict}


def find_mutable(value: object) -> dict[int, Any]:
    """The mutable objects that can be reached from `value`, itself included, by their id."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        parts = parts_of(item)
        mutable = type(item) in _MUTABLE or _is_array(item)
        if (parts is None and not mutable) or id(item) in seen:
            continue
        seen.add(id(item))
        if mutable:
            found[id(item)] = item
        waiting.extend(parts or ())
    return found


def overwrite(old: Any, new: Any) -> None:
    """Give `old` the contents of `new`. Raises TypeError when they are of different types, ValueError when an array changed its shape."""
    kind = type(old)
    if type(new) is not kind:
        raise TypeError(f"a {kind.__name__} can't become a {type(new).__name__}")
    if kind is list or kind is bytearray:
        old[:] = new
    elif _is_array(old):
        if old.shape != new.shape or old.dtype != new.dtype:
            raise ValueError("an array changed its shape or type in place")
        old[...] = new
    else:
        contents = new.copy()
        old.clear()
        if kind is deque:
            old.extend(contents)
        elif kind in _DICTS:
            dict.update(old, contents)  # Counter's own update would add
        else:
            old.update(contents)


def _is_array(item: object) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(item) is getattr(numpy, "ndarray", None)
