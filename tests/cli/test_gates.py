"""Gates: how they are read, and what meets them."""

from __future__ import annotations

import click
import pytest

from groundrun.benchmarks.metrics import Estimate, Metrics
from groundrun.cli.gates import check_gate, read_gates


def metrics(value: float, *, missing: tuple[str, ...] = (), unprotected: float | None = None) -> Metrics:
    """Scores with one estimate."""
    rest = () if unprotected is None else (Estimate(k=1, value=unprotected, low=0, high=1),)
    return Metrics(
        tasks=1, samples=1, passed=1, estimates=(Estimate(k=1, value=value, low=0, high=1),), with_unprotected=rest, missing_tasks=missing
    )


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "value", "met"),
    [
        ("pass@1>=0.5", 0.5, True),
        ("pass@1>0.5", 0.5, False),
        ("pass@1 >= 50%", 0.5, True),
        ("pass@1>=0.51", 0.5, False),
        ("pass@1>=1", 1.0, True),
    ],
)
def test_gate_compares(text: str, value: float, met: bool) -> None:
    """As it is written."""
    (gate,) = read_gates(None, None, (text,))
    assert check_gate(gate, metrics(value)).met is met


@pytest.mark.unit
@pytest.mark.parametrize("text", ["", "pass@1", "pass@0>=0.5", "pass@1>=1.5", "pass@1>=101%", "pass@1<0.5", "pass@1=0.5", "accuracy>=0.5"])
def test_other_texts_are_no_gate(text: str) -> None:
    """A gate that could never be met or never fail is not taken."""
    with pytest.raises(click.BadParameter, match="is not a gate"):
        read_gates(None, None, (text,))


@pytest.mark.unit
def test_gate_is_not_met_by_a_part() -> None:
    """Neither by fewer tasks, nor by a k that can't be estimated, nor by unprotected passes."""
    (gate,) = read_gates(None, None, ("pass@1>=0.5",))
    assert check_gate(gate, metrics(1.0, missing=("t",))).why == "1 task of the benchmark has no verdict"
    assert check_gate(gate, metrics(1.0, missing=("t", "u"))).why == "2 tasks of the benchmark have no verdict"
    assert not check_gate(gate, metrics(0.2, unprotected=1.0)).met
    assert check_gate(gate, metrics(0.2, unprotected=1.0), allow_unprotected=True).met
    (ten,) = read_gates(None, None, ("pass@10>=0.5",))
    assert "can't be estimated" in check_gate(ten, metrics(1.0)).why
