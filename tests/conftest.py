"""What every test may use: recorded data, and engines on the rungs that this host gives."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from groundrun.engine import Engine
from groundrun.engine.host import try_rung
from groundrun.errors import HostRefused
from groundrun.records import Rung

# A shell starts background jobs with Ctrl-C ignored, and the programs that the tests interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("fuzz", max_examples=20_000, deadline=None)
settings.register_profile("default", deadline=None)
settings.load_profile("default")


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of recorded model outputs; skips by name when it is not on this machine."""
    for place in (os.environ.get("GROUNDRUN_DATA"), Path(__file__).parents[2] / "shared" / "data"):
        if place and Path(place).is_dir():
            return Path(place)
    pytest.skip("recorded data: neither GROUNDRUN_DATA nor ../shared/data is a folder")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """An engine on the best rung that this host gives."""
    with Engine() as made:
        yield made


@pytest.fixture(scope="session", params=["namespaces", "landlock", "none"])
def each_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine on each rung in turn; skips, naming the rung and the reason, what this host refuses."""
    with Engine(isolation=request.param) as made:
        try:
            made.run("")
        except HostRefused as refusal:
            pytest.skip(f"rung {request.param}: {refusal}")
        yield made


@pytest.fixture(params=["namespaces", "landlock"])
def rung(request: pytest.FixtureRequest) -> str:
    """Each jailed rung in turn; skips, naming it and the reason, what this host refuses."""
    name: str = request.param
    try:
        try_rung(Rung(name), python=sys.executable, landlock_abi=None)
    except HostRefused as refusal:
        pytest.skip(f"rung {name}: {refusal}")
    return name


@pytest.fixture(scope="session")
def reachable() -> Iterator[str]:
    """A PYTHONPATH with groundrun and what it needs that any user can read, wherever this checkout lies: copies."""
    with tempfile.TemporaryDirectory(prefix="reachable-") as place:
        shutil.copytree(Path(__file__).parents[1] / "src" / "groundrun", f"{place}/groundrun", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("msgspec", "click", "rich", "pygments", "markdown_it", "mdurl", "typing_extensions"):
            found = importlib.util.find_spec(name)
            if found is not None and found.origin is not None:
                origin = Path(found.origin)
                if origin.name == "__init__.py":
                    shutil.copytree(origin.parent, f"{place}/{name}", ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(origin, place)
        subprocess.run(["chmod", "-R", "a+rX", place], check=True)
        yield place
