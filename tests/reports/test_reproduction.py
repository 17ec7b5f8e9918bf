"""The table shows a difference as one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from groundrun.benchmarks.reproduction import Row
from groundrun.reports.reproduction import render_rows

pytestmark = pytest.mark.unit


def test_table_is_this_text() -> None:
    """Numbers to the right, a verdict a row, notes below."""
    rows = [
        Row(system="humaneval", row="canonical", published=164, measured=164, tolerance=0, ok=True),
        Row(system="humaneval", row="pass@1", published=43.9, measured=42.6829, tolerance=0.05, ok=False, note="no [file]"),
    ]
    out = io.StringIO()
    Console(file=out, width=100, color_system=None, soft_wrap=True).print(render_rows(rows))
    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        "system     number     published  measured  difference",
        "humaneval  canonical        164       164       +0.00  ok",
        "humaneval  pass@1          43.9   42.6829       -1.22  DIFFERS",
        "note: pass@1: no [file]",
    ]
