"""The many inputs of one test in little room: a phrase (753 of 764 inputs) and a strip with a piece for each run of equal results.

`TestVerdict.inputs` has a letter an input: `+` passed, `-` failed, `.` not reached. Pure functions.
Promises at most `_PIECES` pieces: where there are more inputs, a piece stands for several and is as bad as the worst of them.
"""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from groundrun.reports.phrases import number_ranges

if TYPE_CHECKING:
    from markupsafe import Markup

_PIECES = 160
_NAMED = 6
_CLASSES = {"+": "fill-passed", "-": "fill-wrong", ".": "fill-rule"}
_WORST = "-.+"


def tell_inputs(inputs: str) -> str:
    """How many of the inputs passed, which failed first (counted from 1), and how many were not reached."""
    failed = [number for number, letter in enumerate(inputs, start=1) if letter == "-"]
    text = f"{inputs.count('+')} of {len(inputs)} inputs passed"
    if failed:
        more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        text += f", failed {number_ranges(failed[:_NAMED])}{more}"
    unreached = inputs.count(".")
    return f"{text}, {unreached} not reached" if unreached else text


def draw_strip(inputs: str) -> Markup:
    """The strip as SVG, hidden from screen readers, for which there is the phrase."""
    from markupsafe import Markup

    letters = _condense(inputs)
    pieces, start = [], 0
    for letter, run in groupby(letters):
        width = len(list(run))
        pieces.append(f'<rect class="{_CLASSES[letter]}" x="{start}" width="{width}" height="1"/>')
        start += width
    box = f'<svg class="strip" aria-hidden="true" viewBox="0 0 {len(letters)} 1" preserveAspectRatio="none">'
    return Markup(f"{box}{''.join(pieces)}</svg>")


def _condense(inputs: str) -> str:
    known = "".join(letter if letter in _CLASSES else "." for letter in inputs)
    if len(known) <= _PIECES:
        return known
    cuts = [len(known) * place // _PIECES for place in range(_PIECES + 1)]
    return "".join(next(letter for letter in _WORST if letter in known[start:end]) for start, end in pairwise(cuts))
