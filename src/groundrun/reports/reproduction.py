"""The table of published numbers against ours, and a line for every note."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from groundrun.benchmarks.reproduction import Row
from groundrun.reports.phrases import make_printable


def render_rows(rows: Sequence[Row]) -> RenderableType:
    """One line a number: published, measured, the difference and whether it is within the tolerance."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("system", "number", "published", "measured", "difference", ""):
        table.add_column(name, justify="right" if name in ("published", "measured", "difference") else "left", no_wrap=True)
    for row in rows:
        verdict = Text("ok", "green") if row.ok else Text("DIFFERS", "bold red")
        numbers = (f"{row.published:g}", f"{row.measured:g}", f"{row.measured - row.published:+.2f}")
        table.add_row(row.system, make_printable(row.row), *numbers, verdict)
    notes = [Text(f"note: {row.row}: {make_printable(row.note)}") for row in rows if row.note]
    return Group(table, *notes)
