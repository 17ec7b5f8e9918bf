"""`groundrun reproduce --compat` and `--no-references`: they reach the system; a mode has run folders of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundrun.benchmarks.reproduction import Row
from groundrun.cli.entry import carry_out

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("arguments", "compat", "references", "place"),
    [
        ([], "", True, "evalplus"),
        (["--compat", "evalplus"], "evalplus", True, "evalplus-evalplus"),
        (["--no-references"], "", False, "evalplus"),
    ],
)
def test_the_mode_reaches_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], compat: str, references: bool, place: str
) -> None:
    asked: list[tuple[object, object, object]] = []

    def reproduce(*_: object, folder: Path, compat: str, references: bool, **__: object) -> tuple[Row, ...]:
        asked.append((compat, references, folder))
        return (Row(system="evalplus", row="r", published=1.0, measured=1.0, tolerance=0.0, ok=True),)

    monkeypatch.setattr("groundrun.cli.reproduce.reproduce_evalplus", reproduce)
    assert carry_out(["reproduce", "evalplus", "--out", str(tmp_path), "--isolation", "none", *arguments]) == 0
    assert asked == [(compat, references, tmp_path / place)]
