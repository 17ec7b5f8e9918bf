"""Limits that are given for a whole run: each takes the place of the same limit of every problem, and of the engine's.

Promises that a limit that isn't given stays what the problem says, or the engine where the problem says nothing: who gives more processor
time doesn't take memory away. What it does not do: bound what a problem may ask for.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from groundrun.errors import UsageError
from groundrun.records import Limits


def replace_limits(limits: Limits, given: Mapping[str, float]) -> Limits:
    """The limits with those that are given, by the names that `Limits` has. Raises UsageError for what can't be a limit."""
    if unknown := sorted(given.keys() - set(limits.__struct_fields__)):
        raise UsageError(f"there is no limit {unknown[0]!r}: known are {', '.join(limits.__struct_fields__)}")
    try:
        return msgspec.convert({**msgspec.structs.asdict(limits), **given}, Limits)
    except (ValueError, msgspec.ValidationError) as error:
        raise UsageError(f"these limits can't be set: {error}") from None
