"""Charts: the same each time, coloured by the page, told in words, and nothing where there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundrun.records import Cost, Outcome, Verdict
from groundrun.reports.charts import draw_costs, draw_intervals, draw_shares, draw_states
from groundrun.reports.gathering import CostPoint, Report, gather
from groundrun.reports.page import read_asset
from groundrun.reports.strips import draw_strip, tell_inputs
from groundrun.reports.vectors import Ink

pytestmark = pytest.mark.unit
WriteRun = Callable[..., Path]


@pytest.fixture
def report(write_run: WriteRun) -> Report:
    """Six samples of two problems, with costs over three orders of magnitude."""
    samples = []
    for number in range(6):
        passed = number % 3 == 0
        cost = Cost(cpu_s=0.001 * 10 ** (number / 2), wall_s=0.5 + number, memory_peak_bytes=(number + 1) << 20)
        found = Verdict(
            task_id=f"t{number % 2}", sample=number, passed=passed, protected=number > 0, reason="", outcome=Outcome.OK, cost=cost
        )
        samples.append((f"program {number}", found))
    return gather(write_run(samples))


def draw_all(report: Report) -> list[str]:
    """Every chart of a report."""
    return [draw_intervals(report), draw_states(report), draw_shares(report), *(chart for _, chart in draw_costs(report.costs))]


def test_charts_are_the_same_each_time_and_say_what_they_show(report: Report) -> None:
    """With a label of numbers; no two share an id."""
    charts = draw_all(report)
    assert len(charts) == 6 and all(charts) and charts == draw_all(report)
    roots = [ElementTree.fromstring(chart) for chart in charts]
    assert [root.attrib["role"] for root in roots] == ["img"] * 6
    labels = [root.attrib["aria-label"] for root in roots]
    assert labels[1] == "What samples came to: passed 1, passed, unprotected 1, wrong answer 4."
    assert "none in 1" in labels[2] and "median" in labels[3] and "logarithmic scale" in labels[3] and "linear scale" in labels[4]
    ids = [element.attrib["id"] for root in roots for element in root.iter() if "id" in element.attrib]
    assert ids and len(set(ids)) == len(ids)


def test_charts_have_no_style_of_their_own(report: Report) -> None:
    """Every class is in the style sheet; what is drawn is in one of the page's colours; links stay inside."""
    sheet = read_asset("page.css")
    for chart in draw_all(report):
        elements = list(ElementTree.fromstring(chart).iter())
        assert not [element for element in elements if element.tag in ("style", "metadata", "script", "image")]
        assert not {name for element in elements for name in element.attrib} & {"style", "stroke", "clip-path", "font"}
        assert {element.attrib["fill"] for element in elements if "fill" in element.attrib} <= {"none"}
        classes = {name for element in elements for name in element.attrib.get("class", "").split()} - {"chart"}
        assert classes and all(f".{name}" in sheet for name in classes)
        ids = {element.attrib.get("id") for element in elements}
        assert all(element.attrib["href"].removeprefix("#") in ids for element in elements if "href" in element.attrib)


def test_stand_ins_are_apart() -> None:
    """Each role has a colour of its own, and none is a default that would be left out."""
    colours = [ink.stand_in for ink in Ink]
    assert len(set(colours)) == len(colours) and "#000000" not in colours


@settings(max_examples=8)
@given(values=st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=20), sizes=st.lists(st.integers(1, 1 << 45), min_size=2, max_size=5))
def test_any_cost_can_be_drawn(values: list[float], sizes: list[int]) -> None:
    """Equal ones, tiny ones, a wide spread."""
    costs = [Cost(cpu_s=value, wall_s=value, memory_peak_bytes=sizes[place % len(sizes)]) for place, value in enumerate(values)]
    drawn = draw_costs([CostPoint(passed=place % 2 == 0, cost=cost) for place, cost in enumerate(costs)])
    assert [heading for heading, _ in drawn] == ["Processor time", "Wall time", "Peak memory"]
    assert all(ElementTree.fromstring(chart).attrib["viewBox"] for _, chart in drawn)


@given(inputs=st.text(alphabet="+-.", min_size=1, max_size=1_000))
def test_a_strip_hides_no_failure(inputs: str) -> None:
    """Whatever is condensed: a failed input is seen, and the strip is as wide as its pieces."""
    strip = ElementTree.fromstring(draw_strip(inputs))
    width = int(strip.attrib["viewBox"].split()[2])
    pieces = [(piece.attrib["class"], int(piece.attrib["width"])) for piece in strip]
    assert sum(wide for _, wide in pieces) == width == min(len(inputs), 160)
    assert ("fill-wrong" in {name for name, _ in pieces}) is ("-" in inputs)
    assert tell_inputs(inputs).startswith(f"{inputs.count('+')} of {len(inputs)} inputs passed")
