"""Nothing that a candidate, a model or a data set says becomes markup, whatever it is."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reports.structure import Structure, gather_example, report_of

from groundrun.reports.gathering import Report
from groundrun.reports.highlighting import highlight
from groundrun.reports.page import render_report
from groundrun.reports.phrases import make_printable

pytestmark = pytest.mark.unit

HOSTILE = st.lists(
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "</script>",
            "</style>",
            "</pre>",
            "</title>",
            "<!--",
            "-->",
            "<img src=x onerror=alert(1)>",
            "<svg/onload=a>",
            "\"'><b x=",
            "javascript:a",
            "&lt;i&gt;",
            "&#60;b&#62;",
            "{{7*7}}",
            "{% if %}",
            "\u202e",
            "\x00",
            "\x1b[2J",
            "]]>",
            "\r",
            "\n",
            "`${a}`",
            "%s",
        ]
    )
    | st.text(max_size=8),
    max_size=8,
).map(lambda parts: f"x{''.join(parts)}x")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report without charts, so that many can be rendered."""
    report = gather_example(tmp_path_factory.mktemp("base"))
    return msgspec.structs.replace(report, metrics=msgspec.structs.replace(report.metrics, estimates=()))


@settings(max_examples=40)
@given(text=HOSTILE)
def test_no_text_becomes_markup(text: str, base: Report) -> None:
    """Whatever is said, the page has the same elements and attributes, and the text is in it, printable."""
    found, plain = (Structure(render_report(report_of(each, base))) for each in (text, "xx"))
    assert found.elements == plain.elements
    assert found.contents == plain.contents
    assert found.links == plain.links and found.ids == plain.ids
    shown = make_printable(text)
    squeezed = "".join(found.text.split())
    assert squeezed.count("".join(shown.split())) >= 20
    assert make_printable(found.text) == found.text


@settings(max_examples=60)
@given(text=HOSTILE, marked=st.none() | st.integers(1, 3))
def test_highlighted_code_is_the_code(text: str, marked: int | None) -> None:
    """Line for line, printable and escaped, whatever the lexer makes of it."""
    found = Structure(f"<pre>{highlight(text, marked=marked)}</pre>")
    assert found.text.rstrip("\n") == make_printable(text.replace("\r\n", "\n")).rstrip("\n")
    assert {tag for tag, _ in found.elements} == {"pre"}
