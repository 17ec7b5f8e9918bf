"""The generated pages are what the code says now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from groundrun.cli.entry import VERBS

pytestmark = [pytest.mark.docs, pytest.mark.unit]

ROOT = Path(__file__).resolve().parents[2]


def test_generated_pages_are_current() -> None:
    """`python docs/generate.py` would change nothing."""
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr


def test_every_verb_is_documented() -> None:
    """With its options."""
    page = (ROOT / "docs/reference/cli.md").read_text()
    for verb in VERBS:
        assert f"## groundrun {verb}\n" in page
    assert page.count("--traceback") >= len(VERBS)


def test_links_inside_the_readme_exist() -> None:
    """mkdocs checks those of docs/, nobody else those of the README."""
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text()
        targets = [part.split(")")[0] for part in text.split("](")[1:]]
        assert targets
        for target in targets:
            assert target.startswith("https://") or (ROOT / target).exists(), target
