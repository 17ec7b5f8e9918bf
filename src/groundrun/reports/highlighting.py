"""A candidate's program as HTML: one element a line, a few classes of words, everything else plain and escaped.

Promises: whatever the text, the result holds no markup but `<span class="…">` of ours; control and bidirectional characters are shown
as escapes; a text of a language that Pygments doesn't know, or too long to be worth it, is shown plain. Pygments is part of the extra
`reports`. Does not promise colours for every kind of word: each class costs a page of a thousand programs its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from groundrun.reports.phrases import make_printable

if TYPE_CHECKING:
    from markupsafe import Markup
    from pygments.lexer import Lexer
    from pygments.token import _TokenType

_LONGEST = 20_000
"""Characters that are worth a lexer's time, which grows faster than the text for hostile ones."""
_LONGEST_LINE = 2_000


def highlight(source: str, language: str = "python", *, marked: int | None = None) -> Markup:
    """The program as lines of HTML for a `<pre>`; line number `marked`, from 1, is where an exception was raised."""
    from markupsafe import Markup, escape

    lines: list[list[str]] = [[]]
    for kind, text in _split(make_printable(source.replace("\r\n", "\n")), language):
        for place, part in enumerate(text.split("\n")):
            if place:
                lines.append([])
            if part:
                lines[-1].append(f'<span class="{kind}">{escape(part)}</span>' if kind else str(escape(part)))
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    return Markup(
        "\n".join(
            f'<span class="{"l hot" if number == marked else "l"}">{"".join(parts)}</span>' for number, parts in enumerate(lines, start=1)
        )
    )


def _split(source: str, language: str) -> Iterator[tuple[str, str]]:
    lexer = None if len(source) > _LONGEST or max(map(len, source.split("\n"))) > _LONGEST_LINE else _find_lexer(language)
    if lexer is None:
        yield "", source
        return
    for kind, text in lexer.get_tokens(source):
        yield _find_class(kind), text


@lru_cache(maxsize=32)
def _find_lexer(language: str) -> Lexer | None:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


@lru_cache(maxsize=256)
def _find_class(kind: _TokenType) -> str:
    from pygments.token import Comment, Keyword, Literal, Name, Number, Operator, String

    classes = {
        Comment: "c",
        String.Doc: "d",
        String: "s",
        Number: "n",
        Literal: "n",
        Operator.Word: "k",
        Keyword: "k",
        Name.Function: "f",
        Name.Class: "f",
        Name.Decorator: "f",
        Name.Builtin: "b",
        Name.Exception: "b",
    }
    return next((classes[parent] for parent in reversed(kind.split()) if parent in classes), "")
