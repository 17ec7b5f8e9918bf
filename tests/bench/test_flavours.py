"""The benchmark of flavours counts what it says it counts."""

from __future__ import annotations

import json

import pytest

from bench import flavours
from groundrun.engine import Engine
from groundrun.errors import HostRefused

pytestmark = pytest.mark.exec


@pytest.mark.parametrize("rung", ["namespaces", "landlock"])
def test_each_kind_has_a_row_in_its_flavour(rung: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numpy")
    try:
        with Engine(isolation=rung, workers=1) as engine:
            engine.run("")
    except HostRefused as refusal:
        pytest.skip(f"rung {rung}: {refusal}")
    monkeypatch.setattr("sys.argv", ["flavours", "--isolation", rung, "--programs", "3", "--rounds", "1", "--json"])
    assert flavours.main() == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["kind"]: row["flavour"] for row in found["rows"]} == {
        "bare": "bare",
        "numpy in its flavour": "numpy",
        "numpy.random in its flavour": "numpy.random",
        "numpy imported by the program": "bare",
    }
    assert all(row["program_ms"] > 0 and row["faults"] > 0 for row in found["rows"])
    assert found["resident_bytes"].keys() == {"bare", "numpy", "numpy.random"}


def test_a_program_that_prints_something_else_is_no_measurement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(flavours, "KINDS", {"bare": ("print(46)", None)})
    with Engine(workers=1) as engine, pytest.raises(RuntimeError, match="printed '46"):
        flavours.measure(engine, programs=1, rounds=1)
