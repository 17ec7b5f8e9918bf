"""`groundrun demo`: every authored verdict, on the host's best rung."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundrun.cli.doctor import JAILED, try_rung
from groundrun.cli.entry import carry_out

pytestmark = pytest.mark.exec


@pytest.mark.timeout(180)
def test_every_verdict_is_as_authored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Right ones pass, and nothing else does."""
    if not any(try_rung(rung, None).available for rung in JAILED):
        pytest.skip("no jailed rung on this host")
    status = carry_out(["demo", "--json", "--out", str(tmp_path / "run")])
    found = json.loads(capsys.readouterr().out)
    assert [each for each in found["candidates"] if not each["as_authored"]] == []
    assert found["as_authored"] == [len(found["candidates"])] * 2
    assert found["summary"]["metrics"]["masked"] == 0
    assert found["summary"]["gold"]["protected"] == found["summary"]["gold"]["total"]
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"run.json", "completions.jsonl", "verdicts.jsonl", "metrics.json"}
    assert status == 0
