"""The attack suite's answer for a terminal: a line for each attack, what was not contained again at the end, and the sums."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from groundrun.attacks.attack import Ruling, SuiteResult
from groundrun.attacks.controls import ControlSuite
from groundrun.records import Isolation
from groundrun.reports.phrases import make_printable, name_guards

_STYLES = {Ruling.CONTAINED: "green", Ruling.BOUNDED: "yellow", Ruling.FOOLED: "bold red"}
_DETAIL_LENGTH = 160


def render_attacks(suite: SuiteResult, isolation: Isolation) -> RenderableType:
    """The whole table and its sums. Details are cut for contained attacks only."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("family", "attack", "", "what came of it"):
        table.add_column(name, overflow="fold")
    for result in suite.attacks:
        detail = make_printable(result.detail).replace("\n", " ")
        shown = detail[:_DETAIL_LENGTH] if result.verdict is Ruling.CONTAINED else detail
        table.add_row(result.family.value, result.name, Text(result.verdict.value.upper(), _STYLES[result.verdict]), Text(shown))
    total = len(suite.attacks)
    untried = [Text(make_printable(f"not run: {sentence}"), "yellow") for sentence in suite.not_run]
    sums = f"contained {suite.contained[0]}/{total}, bounded by an announced soft guard {suite.bounded[0]}, fooled {suite.fooled[0]}"
    return Group(table, *untried, Text(name_guards(isolation)), Text(sums, "bold red" if suite.fooled[0] else "bold green"))


def render_controls(suite: ControlSuite) -> RenderableType:
    """A line for each control: what was left out, and whether the attack won; then the sums."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("rung", "attack", "without", "won", "what came of it"):
        table.add_column(name, overflow="fold")
    for each in suite.controls:
        word, style = ("-", "yellow") if each.impossible else ("yes", "green") if each.holds else ("NO", "bold red")
        if each.succeeded and not each.holds:
            word = "TOO EASILY"
        detail = make_printable(each.impossible or each.detail).replace("\n", " ")
        shown = detail[:_DETAIL_LENGTH] if each.holds else detail
        table.add_row(each.rung.value, each.name, ", ".join(each.off), Text(word, style), Text(shown))
    unproven = [Text(f"no control: {name}: {why}", "yellow") for name, why in suite.unproven.items()]
    held, total = suite.held
    sums = f"{held} of {total} attacks win without the guards that they name, and with any one of them do not"
    return Group(table, *unproven, Text(sums, "bold green" if held == total else "bold red"))
