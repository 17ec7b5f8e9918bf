"""Markdown fences in a reply: which blocks it has, in which language, and their text.

Promises: linear in the reply for the search of fences, plus a bounded number of parses where a closing fence might
belong to a docstring; never raises. Does not promise CommonMark: models do not write it either. Fences of three or
more backticks or tildes count at any indentation, and the block loses the fence's own indentation.
"""

from __future__ import annotations

import re
from itertools import islice

import msgspec

from groundrun.models.syntax import parse

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<mark>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)$")
_PYTHON = frozenset({"", "python", "python3", "py", "py3", "python2", "ipython", "ipython3", "pycon", "sage", "starlark"})
_CLOSING_TRIES = 8


class Fence(msgspec.Struct, frozen=True):
    """One fenced block: the first word after the opening fence, in lower case, and the text between the fences."""

    language: str
    code: str
    start: int

    @property
    def is_python(self) -> bool:
        """True for Python by name and for no language at all."""
        return self.language in _PYTHON


def find_fences(text: str) -> list[Fence]:
    """The fenced blocks of a text, in order. An unclosed fence runs to the end."""
    lines = text.split("\n")
    fences: list[Fence] = []
    number = 0
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        if opening is None:
            number += 1
            continue
        end, code = _read_block(lines, number + 1, opening)
        words = opening["info"].replace("{", " ").replace("}", " ").replace(".", " ").split()
        fences.append(Fence(words[0].lower() if words else "", code, number))
        number = end + 1
    return fences


def _read_block(lines: list[str], first: int, opening: re.Match[str]) -> tuple[int, str]:
    """Where the block that starts at line `first` ends (its closing fence, or the end) and its text."""
    closings = (number for number in range(first, len(lines)) if _closes(lines[number], opening["mark"]))
    ends = list(islice(closings, _CLOSING_TRIES)) or [len(lines)]
    blocks = [(end, _dedent(lines[first:end], opening["indent"])) for end in ends]
    # A fence inside a docstring leaves the string open, so the text before it does not parse while a longer one does.
    if _open_string(blocks[0][1]):
        for end, code in blocks[1:]:
            if parse(code) is not None:
                return end, code
    return blocks[0]


def _closes(line: str, mark: str) -> bool:
    bare = line.strip()
    return len(bare) >= len(mark) and not bare.strip(mark[0])


def _open_string(code: str) -> bool:
    return code.count('"""') % 2 == 1 or code.count("'''") % 2 == 1


def _dedent(lines: list[str], indent: str) -> str:
    width = len(indent)
    kept = [line[width:] if line[:width].isspace() else line.lstrip() for line in lines] if width else lines
    return "\n".join(kept) + "\n" if kept else ""
