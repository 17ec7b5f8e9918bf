"""The page in a real browser: nothing of a candidate runs, nothing overflows a phone, dark is dark, and the few controls work.

A probe is a script of the test's own, in a copy of the page whose policy is extended by the probe's hash; it tells the page around it
what it saw. The copy is framed, because a window of headless Chromium is never narrower than 500 pixels.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from groundrun.attacks.pages import CANARY, MARKUP
from groundrun.records import Cost, Evidence, ExceptionInfo, Outcome, Problem, TestVerdict, Verdict
from groundrun.reports.page import render_page

pytestmark = [pytest.mark.exec, pytest.mark.timeout(180)]
WriteRun = Callable[..., Path]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOSTILE = MARKUP.replace("@", CANARY)
WAIT_MS = 3_000

FRAME = """<!doctype html><title>nothing told</title><body><script>
addEventListener("message", (event) => (document.body.dataset.told = event.data));
</script><iframe width="{width}" height="900" src="{name}{anchor}"></iframe>"""


@pytest.fixture(scope="module")
def chromium() -> str:
    """A Chromium; skips by name when there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    pytest.skip(f"no browser: none of {', '.join(NAMES)} is on PATH")


@pytest.fixture
def browse(chromium: str, tmp_path: Path) -> Callable[..., str]:
    """A function that opens a file and returns its document as it is after its scripts ran."""

    def dump(path: Path, *flags: str) -> str:
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", profile]
        bound = [f"--virtual-time-budget={WAIT_MS}", "--dump-dom"]
        done = subprocess.run([*command, *flags, *bound, path.as_uri()], capture_output=True, text=True, timeout=90, check=True)
        return done.stdout

    return dump


@pytest.fixture
def probe(browse: Callable[..., str], tmp_path: Path) -> Callable[..., Any]:
    """A function that runs the body of a JavaScript function in a page of some width, and returns what it returned."""

    def ask(page: str, body: str, *flags: str, width: int = 1100, anchor: str = "") -> Any:
        script = f"addEventListener('load', () => {{ parent.postMessage(JSON.stringify((() => {{ {body} }})()), '*'); }});"
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        probed = page.replace("script-src &#39;", f"script-src &#39;sha256-{digest}&#39; &#39;", 1)
        assert probed != page
        (tmp_path / "probed.html").write_text(probed.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
        frame = tmp_path / "frame.html"
        frame.write_text(FRAME.format(width=width, name="probed.html", anchor=anchor), encoding="utf-8")
        dumped = browse(frame, *flags)
        assert "data-told=" in dumped, "the probe told nothing"
        return json.loads(html.unescape(dumped.split('data-told="', 1)[1].split('"', 1)[0]))

    return ask


@pytest.fixture
def page(write_run: WriteRun) -> str:
    """A run in which a candidate, a model and the data say everything hostile, and much of it is long."""
    exception = ExceptionInfo(type="E" * 300, message=HOSTILE, traceback=HOSTILE, line=1)
    evidence = Evidence(test=HOSTILE, message=HOSTILE + "w" * 500, stdout=HOSTILE, exception=exception)
    tests = (TestVerdict(name=HOSTILE, passed=False, inputs="+-." * 300),)
    cost = Cost(cpu_s=0.01, wall_s=0.02)
    hostile = Verdict(
        task_id="a", passed=False, protected=True, reason=HOSTILE, outcome=Outcome.OK, tests=tests, evidence=evidence, cost=cost
    )
    plain = Verdict(task_id="b" * 200, passed=True, protected=True, reason="every test passed", cost=Cost(cpu_s=1.0, wall_s=2.0))
    limit = Verdict(task_id="b", sample=1, passed=False, protected=True, reason="stopped", outcome=Outcome.CPU_LIMIT)
    samples = [(f"# {HOSTILE}\n{'x' * 3000}", hostile), ("answer = 42", plain), ("while True: pass", limit)]
    run = write_run(samples, model=HOSTILE)
    return render_page(run, [Problem(task_id="a", prompt=HOSTILE)], labels={("a", 0): HOSTILE})


def test_no_word_of_a_candidate_runs(page: str, browse: Callable[..., str], tmp_path: Path) -> None:
    """The title stays and no foreign element is made; the same words as markup do take the title, and with the policy alone don't."""
    place = tmp_path / "page.html"
    titles = []
    escaped = html.escape("<script>document.title='") + CANARY
    raw = f"<script>document.title='{CANARY}'</script>"
    policy = page[page.index("<meta http-equiv") : page.index(">", page.index("<meta http-equiv")) + 1]
    assert html.unescape(escaped) in raw
    for variant in (page, page.replace("</h1>", f"</h1>{raw}"), page.replace("</h1>", f"</h1>{raw}").replace(policy, "")):
        place.write_text(variant, encoding="utf-8")
        dumped = browse(place)
        titles.append(dumped.split("<title>", 1)[1].split("</title>", 1)[0])
        if variant is page:
            assert not [tag for tag in ("<img", "<iframe", "<base", "<math", "<link", "<form action", "<!--") if tag in dumped]
            assert dumped.count("<script") == 1 and dumped.count("<style") == 1
    assert [title.startswith("toy 1 ") for title in titles] == [True, True, False]
    assert titles[2] == CANARY


@pytest.mark.parametrize("width", [360, 800])
def test_nothing_is_wider_than_its_window(page: str, probe: Callable[..., Any], width: int) -> None:
    """Also unfolded, with words of hundreds of letters; code scrolls inside its own box."""
    body = """
        document.querySelectorAll("details").forEach((each) => { each.open = true; });
        const code = document.querySelector("pre.code");
        return [innerWidth, document.documentElement.scrollWidth, code.scrollWidth > code.clientWidth];
    """
    inner, wide, scrolls = probe(page, body, width=width)
    assert inner == width
    assert wide <= inner
    assert scrolls


GROUND = "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color];"


def _brightness(colour: str) -> int:
    return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))


def test_dark_is_dark(page: str, probe: Callable[..., Any]) -> None:
    """As the reader's system asks for it, and light text on it."""
    ground, text = probe(page, GROUND, "--blink-settings=preferredColorScheme=1")
    dark_ground, dark_text = probe(page, GROUND, "--blink-settings=preferredColorScheme=0")
    assert _brightness(ground) > 600 > 200 > _brightness(text)
    assert _brightness(dark_ground) < 200 < 600 < _brightness(dark_text)


def test_the_switch_changes_the_colours_and_back(page: str, probe: Callable[..., Any]) -> None:
    """Its name says what it will do."""
    body = f"""
        const look = () => {{ {GROUND} }}, button = document.getElementById("theme"), seen = [[button.textContent, look()[0]]];
        for (let turn = 0; turn < 2; turn++) {{ button.click(); seen.push([button.textContent, look()[0]]); }}
        return seen;
    """
    first, second, third = probe(page, body, "--blink-settings=preferredColorScheme=1")
    assert first == third and first[0] == "Dark" and second[0] == "Light"
    assert _brightness(first[1]) > 600 and _brightness(second[1]) < 200


def _filtered(word: str, states: Sequence[str]) -> str:
    return f"""
        const words = document.getElementById("words"), form = document.getElementById("filter");
        words.value = {json.dumps(word)};
        form.querySelectorAll("[name=state]").forEach((box) => {{ box.checked = {json.dumps(list(states))}.includes(box.value); }});
        form.dispatchEvent(new Event("change"));
        const shown = (name) => [...document.querySelectorAll(name)].filter((each) => each.offsetParent !== null).length;
        return [shown(".candidate"), shown(".problem"), document.getElementById("shown").textContent];
    """


@pytest.mark.parametrize(
    ("word", "states", "shown"),
    [
        ("", ["passed", "wrong", "limit"], [3, 3, "3 shown"]),
        ("", ["limit"], [1, 1, "1 of 3 shown"]),
        ("ANSWER = 4", ["passed", "wrong", "limit"], [1, 1, "1 of 3 shown"]),
        ("answer = 4", ["wrong"], [0, 0, "0 of 3 shown"]),
    ],
)
def test_candidates_can_be_filtered(page: str, probe: Callable[..., Any], word: str, states: list[str], shown: list[object]) -> None:
    """By a word of theirs in any case, and by what they came to."""
    assert probe(page, _filtered(word, states)) == shown


def test_a_link_to_a_candidate_unfolds_it(page: str, probe: Callable[..., Any]) -> None:
    """And only it."""
    body = "return [...document.querySelectorAll('.candidate')].map((each) => each.open);"
    folded = page.replace(" open>", ">")
    assert probe(folded, body) == [False, False, False]
    assert probe(folded, body, anchor="#b-1").count(True) == 1
