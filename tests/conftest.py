"""What every test may use: recorded data, and engines on each rung that this host gives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from groundrun.engine import Engine


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of recorded model outputs; skips by name when it is not on this machine."""
    for place in (os.environ.get("GROUNDRUN_DATA"), Path(__file__).parents[2] / "shared" / "data"):
        if place and Path(place).is_dir():
            return Path(place)
    pytest.skip("recorded data: neither GROUNDRUN_DATA nor ../shared/data is a folder")


@pytest.fixture(scope="session", params=["none"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine on each rung in turn."""
    with Engine(isolation=request.param) as made:
        yield made
