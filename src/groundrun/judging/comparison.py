"""Is this output the expected one? Pure comparisons of text, bounded in time for outputs that an enemy wrote."""

from __future__ import annotations

import math
from enum import StrEnum

_LONGEST_NUMBER = 400  # characters; longer tokens are compared as text


class Comparison(StrEnum):
    """How the output of a program is compared; the values of `StdioTest.comparison`."""

    EXACT = "exact"
    TOKEN = "token"
    FLOAT = "float"
    CHECKER = "checker"


def equal_exactly(got: str, expected: str) -> bool:
    """Equal character for character, except that one line end at the very end may be missing or extra."""
    return got.removesuffix("\n") == expected.removesuffix("\n")


def equal_by_token(got: str, expected: str) -> bool:
    """Equal as sequences of words: how much white space lies between and around them doesn't matter."""
    return got.split() == expected.split()


def equal_by_float(got: str, expected: str, *, tolerance: float) -> bool:
    """Equal as sequences of words, where words that are both numbers may differ by `tolerance`, absolute or relative to the expected one.

    Infinities equal only themselves, NaN equals NaN. What is a number only on one side is compared as text.
    """
    ours, theirs = got.split(), expected.split()
    return len(ours) == len(theirs) and all(_close(a, b, tolerance) for a, b in zip(ours, theirs, strict=True))


def _close(got: str, expected: str, tolerance: float) -> bool:
    if got == expected:
        return True
    a, b = _number(got), _number(expected)
    if a is None or b is None:
        return False
    if math.isnan(b):
        return math.isnan(a)
    if not (math.isfinite(a) and math.isfinite(b)):
        return a == b
    return abs(a - b) <= tolerance * max(1.0, abs(b))


def _number(text: str) -> float | None:
    if len(text) > _LONGEST_NUMBER or not text.isascii() or "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None
