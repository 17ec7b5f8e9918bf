"""Scripts that run in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_script(source: str, *arguments: str) -> str:
    """What a script printed that ran to its end in a process of its own; fails with its standard error."""
    done = subprocess.run([sys.executable, "-c", source, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return done.stdout
