"""Candidates that attack whoever reads the report on them: markup in a program, in its output, in an exception, in a value.

Each is judged for real in a run folder of its own, on a problem whose data are hostile too, and the page of that run is parsed.
Contained: what the candidate said is in the page as text, and nothing of it as an element, an attribute, a script, a style, a comment,
a template's expression, or a character that hides or turns text. An attack whose words didn't reach the page never started: fooled.

Does not promise what a browser makes of the page: `tests/reports/test_browser.py` opens such pages in a real one.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec

from groundrun.attacks.attack import Family, Result, Ruling
from groundrun.attacks.guards import Guard
from groundrun.benchmarks.dataset import Benchmark, Dataset
from groundrun.benchmarks.runner import evaluate
from groundrun.benchmarks.store import read_verdicts
from groundrun.engine import Engine
from groundrun.errors import EngineError
from groundrun.records import CallTest, Completion, Limits, Problem
from groundrun.reports.page import read_asset, render_page
from groundrun.reports.phrases import make_printable

CANARY = "GRPAGECANARY"
_DATA_CANARY = "GRDATACANARY"
_STATEMENT = "{% raw %}"
MARKUP = (
    "</code></pre></details></style></title></textarea></template></script>"
    "<script>document.title='@'</script><img src=x onerror=\"document.title='@'\"><svg onload=document.title='@'>"
    "<svg><script xlink:href=data:,@ /></svg><math><mi//xlink:href='data:x,<script>@</script>'>"
    "\"'><a href=\"javascript:document.title='@'\" onmouseover=@>@</a><iframe srcdoc='<script>@</script>'></iframe>"
    "<meta http-equiv=refresh content='0;url=//@.invalid'><base href=//@.invalid><link rel=stylesheet href=//@.invalid>"
    "<style>*{display:none}</style><form action=//@.invalid><button autofocus onfocus=@><details open ontoggle=@>"
    "<!-- @ --><![CDATA[ @ ]]><?php @ ?>&lt;script&gt;@&lt;/script&gt;&#60;script&#62;@&#x22; onclick=@ "
    f"{{{{7*7}}}}{_STATEMENT}@${{7*7}}<%= 7*7 %> \u202e@\u2066 \u200b\x1b[31m\x07\x9b@\u2028"
)
"""One text with every trick; `@` stands for a canary."""

_TAGS = frozenset(
    "html head meta title style script body svg symbol path circle rect g defs use text tspan a header div p span nav button main section"
    " h1 h2 h3 h4 b small br figure figcaption ul ol li dl dt dd table thead tbody tr th td article details summary pre form label input"
    " fieldset legend output".split()
)
_ATTRIBUTES = frozenset(
    "id class href title lang charset content http-equiv name hidden type value checked placeholder autocomplete spellcheck role tabindex"
    " open scope data-state aria-label aria-labelledby aria-hidden viewbox preserveaspectratio d x y cx cy r width height transform opacity"
    " fill fill-opacity stroke-width stroke-linecap stroke-dasharray text-anchor".split()
)
_POLICY = re.compile("default-src (&#39;|')none(&#39;|');")
_NAME = re.compile(r"#?[A-Za-z0-9._-]+")


class PageAttack(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate against the reader of a report. `travels`: its words reach the page only when the program has really run."""

    name: str
    tries: str
    guards: tuple[Guard, ...]
    source: str
    travels: bool = True
    family: Family = Family.PAGE


def _decoded() -> str:
    return f"bytes.fromhex({MARKUP.replace('@', CANARY).encode().hex()!r}).decode()"


_GUARDS = (Guard.ESCAPED_TEXT, Guard.PAGE_POLICY)
PAGE_ATTACKS = (
    PageAttack(
        name="page_source",
        tries="Markup, entities and template syntax in the program itself.",
        guards=_GUARDS,
        source="# " + MARKUP.replace("@", CANARY).replace("\u2028", "") + "\ndef say(word):\n    return word * 2\n",
        travels=False,
    ),
    PageAttack(
        name="page_output",
        tries="The same in what the program prints when it is called.",
        guards=_GUARDS,
        source=f"TEXT = {_decoded()}\ndef say(word):\n    print(TEXT)\n    return word * 2\n",
    ),
    PageAttack(
        name="page_exception",
        tries="The same in the message of an exception.",
        guards=_GUARDS,
        source=f"TEXT = {_decoded()}\ndef say(word):\n    raise ValueError(TEXT)\n",
    ),
    PageAttack(
        name="page_value",
        tries="The same in a value that a test shows beside the expected one.",
        guards=_GUARDS,
        source=f"TEXT = {_decoded()}\ndef say(word):\n    return TEXT\n",
    ),
)


def run_page_attack(engine: Engine, attack: PageAttack, *, acting: bool = False) -> Result:
    """Judge the candidate, render the page of the run, and look for it there. Raises ExtraMissing where no page can be rendered.

    acting: markup under a policy that lets nothing load or run has won nothing.
    """
    problem = _make_problem()
    completion = Completion(task_id=problem.task_id, text=attack.source, solution=attack.source, model=_hostile(CANARY))
    benchmark = Benchmark(name="attacks", version="1", address="", licence="", folder="", files=(), sha256="0")
    dataset = Dataset(benchmark=benchmark, problems=(problem,), sha256="1", path=_hostile(_DATA_CANARY))
    with tempfile.TemporaryDirectory(prefix="groundrun-page-") as place:
        try:
            evaluate(dataset, [completion], engine, Path(place), ks=(1,), model=_hostile(CANARY))
        except EngineError as error:
            return _result(attack, Ruling.FOOLED, f"it forced a fault of ours: {error}")
        verdict = next(read_verdicts(Path(place)))
        page = render_page(Path(place), [problem], labels={(problem.task_id, 0): _hostile(CANARY)})
    if verdict.passed is not False:
        return _result(attack, Ruling.FOOLED, "judged right" if verdict.passed else f"it forced a mask: {verdict.reason}")
    evidence = verdict.evidence
    if attack.travels and (evidence is None or CANARY not in f"{evidence.message}{evidence.stdout}"):
        return _result(attack, Ruling.FOOLED, "the attack never started: its words are not in the evidence")
    won = [] if acting and _POLICY.search(page) else list(find_markup(page, CANARY, _DATA_CANARY))
    if won:
        return _result(attack, Ruling.FOOLED, "; ".join(won)[:500])
    return _result(attack, Ruling.CONTAINED, "in the page as text only")


def find_markup(page: str, *canaries: str) -> Iterator[str]:
    """What in a page is markup that the report doesn't write, in phrases; also a canary that is not there as text."""
    parser = _Reader()
    parser.feed(page)
    parser.close()
    yield from dict.fromkeys(parser.foreign)
    if parser.scripts != [read_asset("page.js")]:
        yield f"{len(parser.scripts)} scripts, or another text in one"
    if parser.styles != [read_asset("page.css")]:
        yield f"{len(parser.styles)} style sheets, or another text in one"
    if make_printable(page) != page:
        yield "a control or bidirectional character"
    text = "".join(parser.texts)
    for canary in canaries:
        if canary not in text:
            yield f"{canary} is not in the page's text"
        if any(canary in value for value in parser.values if not _NAME.fullmatch(value)):
            yield f"{canary} is in an attribute"
    if any(f"49{kept}{canary}" in text for kept in ("", _STATEMENT) for canary in canaries):
        yield "a template's expression was evaluated"


class _Reader(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.foreign: list[str] = []
        self.values: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self._into = self.texts

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag, and what its attributes are and lead to."""
        if tag not in _TAGS:
            self.foreign.append(f"an element {tag[:40]!r}")
        for name, value in attrs:
            if name not in _ATTRIBUTES:
                self.foreign.append(f"an attribute {name[:40]!r}")
            if name == "href" and not (value or "").startswith("#"):
                self.foreign.append(f"a link to {(value or '')[:40]!r}")
            self.values.append(value or "")
        if tag in ("script", "style"):
            self._into = self.scripts if tag == "script" else self.styles
            self._into.append("")

    def handle_endtag(self, tag: str) -> None:
        """The end of a script or style."""
        self._into = self.texts

    def handle_data(self, data: str) -> None:
        """Text, or a piece of a script or style."""
        if self._into is self.texts:
            self.texts.append(data)
        else:
            self._into[-1] += data

    def handle_comment(self, data: str) -> None:
        """The report writes none."""
        self.foreign.append("a comment")

    def handle_decl(self, decl: str) -> None:
        """One is right."""
        if decl.lower() != "doctype html":
            self.foreign.append("a declaration")

    def handle_pi(self, data: str) -> None:
        """The report writes none."""
        self.foreign.append("a processing instruction")

    def unknown_decl(self, data: str) -> None:
        """The report writes none."""
        self.foreign.append("a section of another kind")


def _make_problem() -> Problem:
    """A small problem whose own texts are hostile."""
    return Problem(
        task_id=f"attacks/{_hostile(_DATA_CANARY)}",
        prompt=_hostile(_DATA_CANARY),
        entry_point="say",
        reference="def say(word):\n    return word\n",
        hidden=(CallTest(arguments="('a',)", expected="'a'", name=_hostile(_DATA_CANARY)),),
        limits=Limits(cpu_s=1.0, wall_s=4.0),
    )


def _hostile(canary: str) -> str:
    return MARKUP.replace("@", canary)


def _result(attack: PageAttack, ruling: Ruling, detail: str) -> Result:
    return Result(name=attack.name, family=attack.family, verdict=ruling, detail=detail)
