"""What tests of pages share: the structure of a page, and a report in which everybody says one hostile thing."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import msgspec

from groundrun.records import Evidence, ExceptionInfo, TestVerdict, Verdict
from groundrun.reports.excerpts import ProblemView, TestView
from groundrun.reports.gathering import Mark, ProblemReport, Report, Shown, gather
from groundrun.reports.states import State

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


def gather_example(place: Path) -> Report:
    """What a run folder with nothing judged gives."""
    config = {"benchmark": "b 1", "dataset_sha256": "0", "limits": {}, "judge": "1", "source": "samples", "model": "m", "python": "3"}
    isolation = {"rung": "none", "memory_guard": "nothing", "cpu_guard": "nothing"}
    (place / "run.json").write_bytes(msgspec.json.encode(config | {"isolation": isolation}))
    return gather(place)
