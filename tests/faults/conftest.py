"""The native part that breaks on purpose, built once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.rig import PATIENCE_S, Plan

from groundrun.engine import host, warden

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def breaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a native part with faults."""
    folder = tmp_path_factory.mktemp("native")
    for above in (folder, *folder.parents[:2]):  # the zygote reads the library under another uid
        above.chmod(0o755)
    command = [sys.executable, "-W", "ignore", "setup.py", "-q", "build_native", "--into", str(folder), "--werror"]
    done = subprocess.run([*command, "--define", "GROUNDRUN_FAULTS"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def plan(breaking: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plan]:
    """A plan without a fault yet, for the engines that this test opens."""
    for module in (host, warden):
        monkeypatch.setattr(module, "NATIVE", breaking)
    for name in ("START_S", "SILENCE_S", "HANG_UP_S"):
        monkeypatch.setattr(warden, name, PATIENCE_S)
    made = Plan(breaking)
    yield made
    made.disarm()
    made.close()
