"""The rungs that these tests go through, and scripts that run in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from groundrun.engine.host import try_rung
from groundrun.errors import HostRefused
from groundrun.records import Rung

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["namespaces", "landlock"])
def rung(request: pytest.FixtureRequest) -> str:
    """Each jailed rung in turn; skips, naming it and the reason, what this host refuses."""
    name: str = request.param
    try:
        try_rung(Rung(name), python=sys.executable, landlock_abi=None)
    except HostRefused as refusal:
        pytest.skip(f"rung {name}: {refusal}")
    return name


def run_script(source: str, *arguments: str) -> str:
    """What a script printed that ran to its end in a process of its own; fails with its standard error."""
    done = subprocess.run([sys.executable, "-c", source, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return done.stdout
