"""The public face: what importing it brings along, and which names it shows."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import groundrun

LOOK = "import json, sys; before = set(sys.modules); import groundrun; print(json.dumps(sorted(set(sys.modules) - before)))"


@pytest.mark.exec
def test_import_brings_only_the_standard_library_and_msgspec() -> None:
    """Nothing else may be imported, or every trainer that uses an Engine pays for the command line."""
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, timeout=30)
    roots = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "groundrun" in roots
    # msgspec itself imports typing_extensions where that is installed
    assert roots - sys.stdlib_module_names <= {"groundrun", "msgspec", "typing_extensions"}


@pytest.mark.unit
def test_public_names_are_sorted_few_and_there() -> None:
    """At most 30, and each can be had."""
    assert list(groundrun.__all__) == sorted(groundrun.__all__)
    assert len(set(groundrun.__all__)) == len(groundrun.__all__) <= 30
    for name in groundrun.__all__:
        assert getattr(groundrun, name) is not None
