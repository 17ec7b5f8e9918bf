"""The report on a run as ONE self-contained HTML file: scores, what qualifies them, what failed and why, every candidate.

Promises: the page needs nothing from anywhere: its policy (a `<meta>` Content-Security-Policy) refuses every load, every script but
ours by its hash, and every style but ours by its hash. Texts of candidates, models and data are made printable (no control and no
bidirectional character) and escaped wherever they are shown; none is in a script, a style or an attribute, except task ids in
attributes that name things. It reads well without scripts, which only filter, unfold, and switch between light and dark.
The same folder gives the same page.
Does not promise to hide hidden tests: the page is for people who may see them.

Templates are Jinja2's, charts matplotlib's, colours of code Pygments': the extra `reports`.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from groundrun import __version__
from groundrun.benchmarks.inventory import Key
from groundrun.benchmarks.lines import replace_file
from groundrun.benchmarks.store import REPORT
from groundrun.errors import ExtraMissing
from groundrun.records import Problem
from groundrun.reports.charts import draw_costs, draw_intervals, draw_shares, draw_states
from groundrun.reports.checks import list_checks
from groundrun.reports.gathering import MOST_SHOWN, Report, Shown, gather
from groundrun.reports.highlighting import highlight
from groundrun.reports.phrases import count, make_printable, name_guards, number_ranges, percent, seconds, size
from groundrun.reports.states import State
from groundrun.reports.strips import draw_strip, tell_inputs

if TYPE_CHECKING:
    from jinja2 import Environment

_LIBRARIES = ("jinja2", "pygments", "matplotlib")
_UNFOLDED = 6
"""A page with at most so many programs shows them unfolded."""


def require_extra() -> None:
    """Raise `ExtraMissing` unless the libraries of the extra `reports` are installed."""
    for library in _LIBRARIES:
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise ExtraMissing(library, "reports") from error


def write_page(
    folder: Path,
    problems: Sequence[Problem] = (),
    *,
    out: Path | None = None,
    labels: Mapping[Key, str] | None = None,
    most: int = MOST_SHOWN,
) -> Path:
    """Write the page of a run folder, as a whole or not at all, into the folder or to `out`; where it is.

    Raises `ExtraMissing`, `BadInput` for what is no run folder, and `StorageFailed`.
    """
    page = render_page(folder, problems, labels=labels, most=most)
    place = out or folder / REPORT
    replace_file(place, page.encode("utf-8"))
    return place


def render_page(folder: Path, problems: Sequence[Problem] = (), *, labels: Mapping[Key, str] | None = None, most: int = MOST_SHOWN) -> str:
    """The page of a run folder. `labels` name samples beyond their numbers; at most `most` programs are shown in full."""
    require_extra()
    return render_report(gather(folder, problems, labels=labels, most=most))


def render_report(report: Report) -> str:
    """The page of a gathered report. Raises `ExtraMissing`."""
    require_extra()
    from markupsafe import Markup

    style, script = read_asset("page.css"), read_asset("page.js")
    return (
        _make_environment()
        .get_template("page.html.jinja")
        .render(
            report=report,
            style=Markup(style),
            script=Markup(script),
            policy=make_policy(style, script),
            checks=list_checks(report),
            intervals=Markup(draw_intervals(report)),
            states_chart=Markup(draw_states(report)),
            shares_chart=Markup(draw_shares(report)),
            cost_charts=[(heading, Markup(chart)) for heading, chart in draw_costs(report.costs)],
            total=sum(report.states.values()),
            single=all(len(problem.marks) == 1 for problem in report.problems),
            unfolded=report.programs <= _UNFOLDED,
            guards=name_guards(report.config.isolation),
            version=__version__,
            State=State,
        )
    )


def make_policy(style: str, script: str) -> str:
    """The Content-Security-Policy of a page with just this style sheet and this script."""
    allowed = f"script-src '{_hash(script)}'; style-src '{_hash(style)}'"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'; object-src 'none'"


def read_asset(name: str) -> str:
    """A file that lies beside the templates."""
    return files("groundrun.reports").joinpath("templates", name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _make_environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("groundrun.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "percent": percent,
        "seconds": seconds,
        "size": size,
        "ranges": number_ranges,
        "inputs": tell_inputs,
        "strip": draw_strip,
        "code": _show_code,
    }
    environment.globals |= {"count": count, "highlight": highlight}
    return environment


def _finalize(value: object) -> object:
    """What every expression of a template goes through before it is escaped: a text that is not ours yet is made printable."""
    return make_printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _show_code(shown: Shown, language: str) -> object:
    exception = shown.verdict.evidence.exception if shown.verdict and shown.verdict.evidence else None
    return highlight(shown.source, language, marked=exception.line if exception else None)
