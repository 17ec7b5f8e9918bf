"""`groundrun systems` claims only what is here."""

from __future__ import annotations

import importlib
import json

import pytest

from groundrun.cli.catalogue import SYSTEMS, System
from groundrun.cli.entry import carry_out

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_system_lives_where_it_says(system: System) -> None:
    """Its module exists and explains itself."""
    assert importlib.import_module(system.module).__doc__
    assert system.paper


def test_json_is_a_list_and_text_has_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Both show the same systems."""
    assert carry_out(["systems", "--json"]) == 0
    listed = [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert listed == [system.name for system in SYSTEMS]
    assert carry_out(["systems"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in listed)
