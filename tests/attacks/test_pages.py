"""The attacks on readers: what looks for markup in a page finds it, and the suite says when it can't look."""

from __future__ import annotations

import html
from pathlib import Path

import msgspec
import pytest
from tests.reports.structure import gather_example, report_of

from groundrun.attacks import PageAttack, Ruling, list_attacks, pages, run_page_attack, run_suite
from groundrun.attacks.pages import CANARY, MARKUP, find_markup
from groundrun.engine import Engine
from groundrun.errors import ExtraMissing
from groundrun.reports.page import render_report

pytestmark = [pytest.mark.attack, pytest.mark.exec]
HOSTILE = MARKUP.replace("@", CANARY)
PAGES = [each for each in list_attacks() if isinstance(each, PageAttack)]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page in which everybody says everything hostile."""
    report = gather_example(tmp_path_factory.mktemp("run"))
    return render_report(report_of(HOSTILE, report))


def test_a_page_has_none_of_it(page: str) -> None:
    """Every trick is text."""
    assert list(find_markup(page, CANARY)) == []


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("<script>x</script>", "2 scripts, or another text in one"),
        ("<style>x</style>", "2 style sheets, or another text in one"),
        ("<img>", "an element 'img'"),
        ("<p onclick=x></p>", "an attribute 'onclick'"),
        ('<p style="x"></p>', "an attribute 'style'"),
        ("<a href=javascript:x></a>", "a link to 'javascript:x'"),
        (f'<p title="{CANARY} x"></p>', f"{CANARY} is in an attribute"),
        ("<!-- x -->", "a comment"),
        ("<?x ?>", "a processing instruction"),
        ("\u202e", "a control or bidirectional character"),
    ],
)
def test_what_is_markup_is_found(page: str, part: str, told: str) -> None:
    """One piece of it is enough."""
    assert list(find_markup(page.replace("</main>", f"{part}</main>"), CANARY)) == [told]


def test_unescaped_words_of_a_candidate_are_found(page: str) -> None:
    """As a page without escaping would have them."""
    found = list(find_markup(html.unescape(page), CANARY))
    assert len(found) > 5 and "an element 'iframe'" in found


def test_words_that_did_not_arrive_are_no_success(page: str) -> None:
    """Neither is an expression that a template evaluated."""
    assert list(find_markup(page, "ABSENT")) == ["ABSENT is not in the page's text"]
    assert list(find_markup(page.replace("{{7*7}}", "49"), CANARY)) == ["a template's expression was evaluated"]


def test_an_attack_that_never_started_is_fooled(engine: Engine) -> None:
    """So is a right answer."""
    attack = next(each for each in PAGES if each.name == "page_output")
    silent = msgspec.structs.replace(attack, source="def say(word):\n    return 1\n")
    assert run_page_attack(engine, silent).detail == "the attack never started: its words are not in the evidence"
    right = msgspec.structs.replace(attack, source="def say(word):\n    return word\n")
    assert run_page_attack(engine, right).detail == "judged right"
    assert {run_page_attack(engine, each).verdict for each in (silent, right)} == {Ruling.FOOLED}


def test_without_the_extra_the_suite_says_so(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attack that can't be run is in no count, and alone it is an error."""

    def refuse(*given: object, **named: object) -> str:
        raise ExtraMissing("jinja2", "reports")

    monkeypatch.setattr(pages, "render_page", refuse)
    suite = run_suite(engine, only=["page_source", "exit_at_import"])
    assert [each.name for each in suite.attacks] == ["exit_at_import"] and suite.contained == (1, 1)
    assert suite.not_run == ("page_source: jinja2 is not installed: pip install 'groundrun[reports]'",)
    with pytest.raises(ExtraMissing):
        run_suite(engine, only=["page_source"])


def test_every_attack_reaches_its_page(engine: Engine, tmp_path: Path) -> None:
    """And is contained there."""
    assert len(PAGES) == 4
    assert {each.name: run_page_attack(engine, each).detail for each in PAGES} == dict.fromkeys(
        (each.name for each in PAGES), "in the page as text only"
    )
