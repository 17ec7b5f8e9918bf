"""The page: whole, in order, self-contained, and with nothing of a candidate in it but text."""

from __future__ import annotations

import base64
import hashlib
import importlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.reports.structure import Structure

from groundrun.benchmarks.store import Gold
from groundrun.errors import BadInput, ExtraMissing
from groundrun.records import CallTest, CodeTest, Cost, Evidence, ExceptionInfo, Outcome, Problem, StdioTest, TestVerdict, Verdict
from groundrun.reports import page as page_module
from groundrun.reports.highlighting import highlight
from groundrun.reports.page import render_page, write_page
from groundrun.reports.states import State

pytestmark = pytest.mark.unit
WriteRun = Callable[..., Path]


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
    assert ("form", ("id", "hidden", "role", "aria-label")) in found.elements, "without scripts there is nothing that does nothing"
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
