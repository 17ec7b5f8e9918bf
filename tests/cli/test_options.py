"""Sizes and limits as they are written on a command line."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrun.cli.options import read_limits, read_size
from groundrun.records import Limits

pytestmark = pytest.mark.unit


@given(st.integers(1, 10**6), st.sampled_from([("", 0), ("K", 10), ("k", 10), ("KiB", 10), ("MB", 20), ("M", 20), ("G", 30)]))
def test_size_is_number_times_unit(number: int, unit: tuple[str, int]) -> None:
    """Units are powers of 1024, however they are spelt."""
    assert read_size(None, None, f"{number}{unit[0]}") == number << unit[1]


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5G", "10T", "M", "1 G", "\u0661"])
def test_other_texts_are_no_size(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(click.BadParameter, match="is not a size"):
        read_size(None, None, text)


def test_limits_keep_their_defaults() -> None:
    """Only what was given differs."""
    assert read_limits(cpu_s=None, wall_s=None) == Limits()
    assert read_limits(cpu_s=2.5, processes=3) == Limits(cpu_s=2.5, processes=3)
