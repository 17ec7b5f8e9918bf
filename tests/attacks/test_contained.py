"""Every attack on every rung that this host gives, and on landlock as an older kernel would have it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from groundrun.attacks import Attack, Cheat, PageAttack, Ruling, Scene, list_attacks, run_any
from groundrun.engine import Engine
from groundrun.errors import HostRefused
from groundrun.judging import Calibration

pytestmark = [pytest.mark.attack, pytest.mark.exec]

HOSTS: dict[str, tuple[str, int | None]] = {
    "namespaces": ("namespaces", None),
    "landlock": ("landlock", None),
    "landlock-2": ("landlock", 2),
}


@pytest.fixture(scope="module", params=list(HOSTS))
def attacked(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """One worker on a rung, shared by all attacks: what one leaves behind is the next one's problem too."""
    rung, abi = HOSTS[request.param]
    with Engine(workers=1, isolation=rung, landlock_abi=abi) as engine:
        try:
            assert engine.isolation.rung.value == rung
        except HostRefused as error:
            pytest.skip(f"rung {rung}: {error}")
        yield engine


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """The canaries."""
    with Scene() as made:
        yield made


@pytest.fixture(scope="module")
def calibrations(attacked: Engine) -> dict[str, Calibration]:
    """Of the problems that cheats pretend to solve; filled as they come."""
    return {}


@pytest.mark.parametrize("attack", list_attacks(), ids=lambda each: each.name)
def test_wins_nothing(attack: Attack | Cheat | PageAttack, attacked: Engine, scene: Scene, calibrations: dict[str, Calibration]) -> None:
    """Contained, or bounded by a guard that the isolation announces."""
    if isinstance(attack, PageAttack):
        pytest.importorskip("matplotlib", reason="the extra reports is not installed")
    result = run_any(attacked, attack, scene, calibrations)
    assert result.verdict is not Ruling.FOOLED, result.detail
    if result.verdict is Ruling.BOUNDED:
        assert any(sentence in result.detail for sentence in attacked.isolation.missing)
