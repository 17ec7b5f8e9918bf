"""The page: whole, in order, self-contained, and with nothing of a candidate in it but text."""

from __future__ import annotations

import base64
import hashlib
import importlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundrun.benchmarks.store import Gold
from groundrun.errors import BadInput, ExtraMissing
from groundrun.records import CallTest, CodeTest, Cost, Evidence, ExceptionInfo, Outcome, Problem, StdioTest, TestVerdict, Verdict
from groundrun.reports import page as page_module
from groundrun.reports.excerpts import ProblemView, TestView
from groundrun.reports.gathering import Mark, ProblemReport, Report, Shown, gather
from groundrun.reports.highlighting import highlight
from groundrun.reports.page import render_page, render_report, write_page
from groundrun.reports.phrases import make_printable
from groundrun.reports.states import State

pytestmark = pytest.mark.unit
WriteRun = Callable[..., Path]
VOID = {"meta", "input", "br"}


class Structure(HTMLParser):
    """What a page is made of: elements with the names of their attributes, its text, its scripts and styles, its ids and links."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.contents: dict[str, list[str]] = {"script": [], "style": []}
        self.text = ""
        self.headings: list[str] = []
        self.unclosed: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.unclosed.append(tag)
        if tag != "span":
            self.elements.append((tag, tuple(name for name, _ in attrs)))
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.append(value or "")
        if tag in self.contents:
            self.contents[tag].append("")
        if tag == "h2":
            self.headings.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed and self.unclosed.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.unclosed and self.unclosed[-1] in self.contents:
            self.contents[self.unclosed[-1]][-1] += data
            return
        self.text += data
        if self.unclosed and self.unclosed[-1] == "h2":
            self.headings[-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data[:60]}")


def verdict(sample: int, passed: bool | None, outcome: Outcome = Outcome.OK, **more: object) -> Verdict:
    """A verdict on task t/1 that cost something."""
    fields = {"protected": True, "reason": "every test passed" if passed else "a test failed", **more}
    cost = Cost(cpu_s=0.002 * (sample + 1), wall_s=0.01 * (sample + 1), memory_peak_bytes=(sample + 1) << 20)
    return Verdict(task_id="t/1", sample=sample, passed=passed, outcome=outcome, cost=cost, **fields)  # type: ignore[arg-type]


EVERY_STATE = [
    ("def f(): return 1", verdict(0, True)),
    ("def f(): return 2", verdict(1, True, protected=False)),
    (
        "def f():\n    return 3",
        verdict(
            2,
            False,
            tests=(TestVerdict(name="first", passed=True, hidden=False), TestVerdict(name="many", passed=False, inputs="++-+.")),
            evidence=Evidence(test="many", message="got 3, expected 1", stdout="printed"),
        ),
    ),
    (
        "def f():\n    1 / 0",
        verdict(3, False, Outcome.RAISED, evidence=Evidence(exception=ExceptionInfo("ZeroDivisionError", "by zero", line=2))),
    ),
    ("while True: pass", verdict(4, False, Outcome.CPU_LIMIT)),
    ("pass", verdict(5, None, reason="masked, our fault")),
    ("late", ("t/1", 6)),
    ("def f(): return 1", verdict(7, True, flaky=True)),
]
PROBLEM = Problem(
    task_id="t/1",
    prompt="Say one.",
    entry_point="f",
    reference="def f(): return 1",
    visible=(CallTest(arguments="()", expected="1", name="first"),),
    hidden=(CodeTest(source="assert f() == 1", name="many"), StdioTest(stdin="a", expected="b")),
)


def test_sections_answer_in_the_order_in_which_people_ask(write_run: WriteRun) -> None:
    """How good, how sure, what fails, what it cost, each problem, each candidate, how it was run; every link leads somewhere."""
    found = Structure(render_page(write_run(EVERY_STATE, finished=False), [PROBLEM]))
    assert found.headings == [
        "How far to trust it",
        "What failed, and why",
        "What judging cost",
        "Each problem",
        "Each candidate",
        "How it was run",
    ]
    assert found.unclosed == []
    assert len(set(found.ids)) == len(found.ids)
    assert all(link[0] == "#" and link[1:] in found.ids for link in found.links)
    assert {"t-1", "t-1-0", "t-1-6"} <= set(found.ids)


def test_everything_that_qualifies_a_score_is_there(write_run: WriteRun) -> None:
    """Both numbers apart, masked, flaky, references, data, missing guards, limits."""
    run = write_run(EVERY_STATE[:6] + EVERY_STATE[7:], gold=Gold(passed=3, total=4, protected=3, failed=("t/9",)))
    text = " ".join(Structure(render_page(run, [PROBLEM])).text.split())
    for sentence in (
        "pass@1, protected 33.3 %",
        "pass@1, counting 1 unprotected pass 50.0 %",
        "1 sample (14.3 %) masked",
        "1 sample of equal programs ended differently",
        "1 of 4 references did not pass here: t/9.",
        "1 pass judged in one process with the candidate",
        "Missing: No disk guard.",
        "10.0 s of processor, 30.0 s of wall, 1.0 GiB of memory",
        "First failing test: many got 3, expected 1",
        "3 of 5 inputs passed, failed 3, 1 not reached",
        "ZeroDivisionError at line 2: by zero",
        "sample 7",
        "Say one.",
    ):
        assert sentence in text, sentence


def test_states_are_told_without_colour(write_run: WriteRun) -> None:
    """A mark has a title, a candidate the words of its state."""
    page = render_page(write_run(EVERY_STATE, finished=False))
    for state in State:
        assert f": {state.name_plainly()}" in page and f'data-state="{state.value}"' in page
    assert "sample 7: passed, flaky" in page
    assert "It is unfinished: 7 samples judged." in page


def test_policy_allows_the_page_and_nothing_else(write_run: WriteRun) -> None:
    """One script and one style by their hashes; no address anywhere; no style and no handler in an attribute."""
    page = render_page(write_run(EVERY_STATE[:1]))
    found = Structure(page)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    directives = dict(part.strip().split(" ", 1) for part in policy[1].replace("&#39;", "'").split(";"))
    assert directives.pop("default-src") == "'none'"
    for name, tag in (("script-src", "script"), ("style-src", "style")):
        assert len(found.contents[tag]) == 1
        digest = hashlib.sha256(found.contents[tag][0].encode()).digest()
        assert directives.pop(name) == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert set(directives.values()) == {"'none'"}
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")
    names = {name for _, attributes in found.elements for name in attributes}
    assert not [name for name in names if name in ("style", "src", "action", "srcdoc") or name.startswith("on")]


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


def report_of(text: str, base: Report) -> Report:
    """A report in which a candidate, a model and the data say `text` wherever they say anything."""
    evidence = Evidence(
        test=text, message=text, stdout=text, exception=ExceptionInfo(type=text, message=f"{text}!", traceback=text, line=1)
    )
    tests = (TestVerdict(name=text, passed=False, inputs="+-"),)
    found = Verdict(task_id=text, passed=False, protected=True, reason=text, tests=tests, evidence=evidence)
    shown = Shown(samples=(0,), state=State.WRONG, source=text, label=text, anchor="a-0", rule=text, verdict=found)
    view = ProblemView(prompt=text, language="python", reference=text, tests=(TestView(name=text, kind="code", hidden=True, text=text),))
    mark = Mark(sample=0, state=State.WRONG, flaky=False, anchor="a-0")
    problem = ProblemReport(task_id=text, anchor="a", passed=0, unprotected=0, scored=1, marks=(mark,), programs=(shown,), problem=view)
    config = msgspec.structs.replace(
        base.config,
        model=text,
        benchmark=text,
        dataset_warning=text,
        python=text,
        source=text,
        judge=text,
        compat=text,
        versions={text: text},
    )
    return msgspec.structs.replace(base, config=config, problems=(problem,), failures=((text, 1),), rules={text: 1}, costs=(), states={})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report without charts, so that many can be rendered."""
    report = gather_example(tmp_path_factory.mktemp("base"))
    return msgspec.structs.replace(report, metrics=msgspec.structs.replace(report.metrics, estimates=()))


def gather_example(place: Path) -> Report:
    """What a run folder with nothing judged gives."""
    config = {"benchmark": "b 1", "dataset_sha256": "0", "limits": {}, "judge": "1", "source": "samples", "model": "m", "python": "3"}
    isolation = {"rung": "none", "memory_guard": "nothing", "cpu_guard": "nothing"}
    (place / "run.json").write_bytes(msgspec.json.encode(config | {"isolation": isolation}))
    return gather(place)


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


def test_unknown_languages_and_long_lines_are_shown_plain() -> None:
    """No lexer is worth waiting for."""
    assert highlight("if x:", "no such language") == '<span class="l">if x:</span>'
    assert 'class="k"' in highlight("if x:")
    assert 'class="k"' not in highlight("if x:" + " " * 3_000 + "0")


def test_the_same_run_gives_the_same_page(write_run: WriteRun) -> None:
    """Charts included."""
    run = write_run(EVERY_STATE, finished=False)
    assert render_page(run, [PROBLEM]) == render_page(run, [PROBLEM])


def test_a_run_without_a_verdict_has_a_page(write_run: WriteRun) -> None:
    """And says that there is no score."""
    page = render_page(write_run([("late", ("t/1", 0))], finished=False))
    assert "No score yet" in page and "Nothing was measured" in page


def test_left_out_programs_are_told(write_run: WriteRun) -> None:
    """Beside the number of those that are shown."""
    found = Structure(render_page(write_run(EVERY_STATE, finished=False), most=2))
    assert "6 of them are left out of this page" in found.text
    assert len([1 for tag, attributes in found.elements if tag == "details" and "data-state" in attributes]) == 2


def test_the_page_is_written_whole_into_the_folder(write_run: WriteRun, tmp_path: Path) -> None:
    """Or where it is asked for; the folder can be gone on with."""
    run = write_run(EVERY_STATE[:2])
    assert write_page(run) == run / "report.html"
    assert write_page(run, out=tmp_path / "x.html").read_text() == (run / "report.html").read_text()
    assert not list(run.glob(".report*"))
    write_run(EVERY_STATE[2:3])
    with pytest.raises(BadInput, match=r"run\.json"):
        write_page(tmp_path / "nothing")


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch, write_run: WriteRun) -> None:
    """That says what to install."""

    def refuse(name: str, package: str | None = None) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(ExtraMissing, match=r"jinja2 is not installed: pip install 'groundrun\[reports\]'"):
        page_module.render_page(write_run(EVERY_STATE[:1]))
