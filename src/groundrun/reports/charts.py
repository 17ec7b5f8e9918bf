"""The charts of a report, as SVG: intervals, states, what share of each problem's samples passed, and what judging cost.

Promises: only numbers and words of ours are in a chart, never a text of a candidate or of data; each says in words what it shows.
Drawing is matplotlib's, of the extra `reports`. Does not promise a chart where there is too little to show: then it is empty.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from groundrun.benchmarks.metrics import Estimate
from groundrun.reports.gathering import CostPoint, Report
from groundrun.reports.phrases import count, percent, seconds, size
from groundrun.reports.vectors import Ink, render_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 5.0
"""Inches of 72 points: 360 wide, so that a chart is shown at its own size on a phone."""
_BINS = 24
_MARKS = 5
_FONT = 10.5


def draw_intervals(report: Report) -> str:
    """pass@k with its interval on a scale from 0 to 100 %; in rows of their own subsets of tests, and all passes, unprotected ones too."""
    plain, other = report.metrics.estimates, report.metrics.with_unprotected
    rows: list[tuple[str, Estimate, Ink]] = []
    for place, estimate in enumerate(plain):
        rows.append((estimate.name, estimate, Ink.PASSED))
        rows += [(f"{subset.name} tests", subset.estimates[place], Ink.OTHER) for subset in report.metrics.subsets]
        rows += [("all passes", other[place], Ink.UNPROTECTED)] if other else []
    if not rows:
        return ""
    figure, axes = _figure(0.55 + 0.32 * len(rows))
    for height, (_, estimate, ink) in enumerate(reversed(rows)):
        axes.plot(
            [100 * estimate.low, 100 * estimate.high], [height, height], color=ink.stand_in, linewidth=11, solid_capstyle="butt", alpha=0.4
        )
        axes.plot([100 * estimate.value], [height], marker="|", color=ink.stand_in, markersize=17, markeredgewidth=3)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(-1, 101)
    axes.set_xticks(range(0, 101, 20), [f"{share} %" for share in range(0, 101, 20)])
    _finish(axes, grid="x")
    told = "; ".join(f"{each.name} {percent(each.value)}, from {percent(each.low)} to {percent(each.high)}" for each in plain)
    return render_svg(figure, name="intervals", label=f"Scores with their intervals: {told}.")


def draw_states(report: Report) -> str:
    """A bar for each state."""
    found = list(report.states.items())
    if not found:
        return ""
    figure, axes = _figure(0.1 + 0.36 * len(found))
    most = max(number for _, number in found)
    for height, (state, number) in enumerate(reversed(found)):
        axes.barh(height, number, height=0.62, color=Ink(state.value).stand_in)
        axes.text(number + most * 0.015, height, f"{number}", va="center", ha="left", fontsize=_FONT, color=Ink.TEXT.stand_in)
    axes.set_yticks(range(len(found)), [state.name_plainly() for state, _ in reversed(found)])
    axes.set_xlim(0, most * 1.12)
    axes.set_xticks([])
    _finish(axes)
    told = ", ".join(f"{state.name_plainly()} {number}" for state, number in found)
    return render_svg(figure, name="states", label=f"What samples came to: {told}.")


def draw_shares(report: Report) -> str:
    """How many problems have which share of their samples passed; empty where problems have fewer than three samples."""
    shares = [problem.passed / problem.scored for problem in report.problems if problem.scored >= 3]
    if len(shares) < 2:
        return ""
    figure, axes = _figure(1.7)
    bins = [0.0] * 11
    for share in shares:
        bins[round(10 * share)] += 1
    axes.bar([10 * place for place in range(11)], bins, width=8.6, color=Ink.PASSED.stand_in)
    axes.set_xlim(-6, 106)
    axes.set_xticks(range(0, 101, 20), [f"{share} %" for share in range(0, 101, 20)])
    axes.set_ylabel("problems")
    _whole_numbers(axes)
    _finish(axes, grid="y")
    never, always = sum(share == 0 for share in shares), sum(share == 1 for share in shares)
    label = f"Share of samples that passed, over {count(len(shares), 'problem')}: none in {never}, all in {always}."
    return render_svg(figure, name="shares", label=label)


def draw_costs(costs: Sequence[CostPoint]) -> tuple[tuple[str, str], ...]:
    """(heading, chart) for processor time, wall time and peak memory, as far as they were measured."""
    times = [(point.passed, point.cost) for point in costs if point.cost.wall_s > 0]
    kinds = (
        ("Processor time", "cpu", [(passed, cost.cpu_s) for passed, cost in times if cost.cpu_s > 0], seconds),
        ("Wall time", "wall", [(passed, cost.wall_s) for passed, cost in times], seconds),
        ("Peak memory", "memory", [(passed, float(cost.memory_peak_bytes)) for passed, cost in times if cost.memory_peak_bytes], _size),
    )
    return tuple((heading, _histogram(name, heading, values, tell)) for heading, name, values, tell in kinds if len(values) > 1)


def _histogram(name: str, heading: str, values: Sequence[tuple[bool, float]], tell: Callable[[float], str]) -> str:
    numbers = sorted(value for _, value in values)
    low, high = numbers[0], numbers[-1]
    logarithmic = high > 12 * low
    edges = _edges(low, high, logarithmic)
    figure, axes = _figure(1.8)
    if logarithmic:
        axes.set_xscale("log")
    groups = [[value for passed, value in values if passed is wanted] for wanted in (True, False)]
    axes.hist(groups, bins=edges, stacked=True, color=[Ink.PASSED.stand_in, Ink.OTHER.stand_in], rwidth=0.9)
    marks = _choose_marks(edges[0], edges[-1], logarithmic=logarithmic, binary=tell is _size)
    axes.set_xticks(marks, [re.sub(r"\.0+(?= )", "", tell(mark)) for mark in marks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(edges[0], edges[-1])
    axes.tick_params(axis="x", pad=5)
    axes.set_ylabel("programs")
    _whole_numbers(axes)
    _finish(axes, grid="y")
    middle, late = numbers[len(numbers) // 2], numbers[math.ceil(0.95 * len(numbers)) - 1]
    scale = "logarithmic" if logarithmic else "linear"
    label = (
        f"{heading} of {count(len(numbers), 'program')}, {scale} scale: median {tell(middle)}, 95 % within {tell(late)}, most {tell(high)}."
    )
    return render_svg(figure, name=name, label=label)


def _edges(low: float, high: float, logarithmic: bool) -> list[float]:
    if logarithmic:
        start, step = math.log(low), (math.log(high) - math.log(low)) / _BINS
        return [math.exp(start + step * place) for place in range(_BINS)] + [high * 1.0001]
    room = (high - low) or abs(high) or 1.0
    return [low + room * place / _BINS for place in range(_BINS)] + [low + room * 1.0001]


def _choose_marks(low: float, high: float, *, logarithmic: bool, binary: bool) -> list[float]:
    """A few round numbers between two: powers of 2 of bytes, 1, 2 and 5 times powers of 10 of anything else."""
    if not logarithmic:
        rough = (high - low) / _MARKS
        unit = 2.0 ** math.ceil(math.log2(rough)) if binary else _round_up(rough)
        return [unit * place for place in range(math.ceil(low / unit), math.floor(high / unit) + 1)]
    if binary:
        marks = [2.0**power for power in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)]
    else:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
        inside = [(lead, lead * 10.0**power) for power in powers for lead in (1, 2, 5) if low <= lead * 10.0**power <= high]
        marks = [mark for lead, mark in inside if lead == 1 or len(inside) <= _MARKS]
    return marks[:: math.ceil(len(marks) / _MARKS)]


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(lead * power for lead in (1, 2, 5, 10) if lead * power >= value * 0.999)


def _figure(height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _finish(axes: Axes, grid: Literal["", "x", "y"] = "") -> None:
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0, labelsize=_FONT, labelcolor=Ink.TEXT.stand_in, color=Ink.RULE.stand_in)
    axes.yaxis.label.set(size=_FONT, color=Ink.TEXT.stand_in)
    if grid:
        axes.set_axisbelow(True)
        axes.grid(True, axis=grid, color=Ink.RULE.stand_in, linewidth=0.8)


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))


def _size(value: float) -> str:
    return size(round(value))
