"""`groundrun doctor` says of each rung either its guards or what was refused."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from groundrun.cli.doctor import find_python
from groundrun.cli.entry import carry_out

pytestmark = pytest.mark.exec


def test_json_names_rung_guards_and_languages(capsys: pytest.CaptureFixture[str]) -> None:
    """The status follows from what was found."""
    status = carry_out(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["rungs"].keys() == {"namespaces", "landlock"}
    for name, rung in found["rungs"].items():
        assert rung["guards"]["rung"] == name if rung["available"] else rung["refused"]
    available = [name for name, rung in found["rungs"].items() if rung["available"]]
    assert found["isolation"] == (available[0] if available else None)
    assert (found["guards"] is not None) is bool(available)
    assert status == (0 if available else 1)
    assert found["languages"]["python"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert found["flavours"]["bare"]["modules"] == []
    for name in ("numpy", "numpy.random", "scientific"):
        flavour = found["flavours"][name]
        assert "numpy" in flavour["modules"] + flavour["missing"]
        installed = {module.partition(".")[0] for module in flavour["modules"]}
        assert all(find_spec(module) is not None for module in installed)


def test_text_says_yes_or_no(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a rung."""
    carry_out(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    for name in ("namespaces", "landlock"):
        line = next(line for line in lines if line.startswith(name))
        assert line.split()[1] in ("yes:", "no:")


def test_interpreter_that_is_none_is_not_available(tmp_path: Path) -> None:
    """A path that can't be run, and one that runs but is no Python."""
    assert not find_python(str(tmp_path / "python")).available
    assert not find_python("/bin/false").available
