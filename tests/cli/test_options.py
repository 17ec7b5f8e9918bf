"""Sizes and limits as they are written on a command line."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from groundrun.benchmarks.limits import replace_limits
from groundrun.cli.options import EngineChoice, engine_options, limit_options, read_seconds, read_size
from groundrun.errors import UsageError
from groundrun.records import Limits

pytestmark = pytest.mark.unit


@given(st.integers(1, 10**6), st.sampled_from([("", 0), ("K", 10), ("k", 10), ("KiB", 10), ("MB", 20), ("M", 20), ("G", 30)]))
def test_size_is_number_times_unit(number: int, unit: tuple[str, int]) -> None:
    """Units are powers of 1024, however they are spelt."""
    assert read_size(None, None, f"{number}{unit[0]}") == number << unit[1]


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5G", "10T", "M", "1 G", "\u0661", "99999999999G", "9" * 5000])
def test_other_texts_are_no_size(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(click.BadParameter, match="is not a size"):
        read_size(None, None, text)


@pytest.mark.parametrize(("text", "seconds"), [("0.5", 0.5), ("30", 30.0), ("1e-3", 0.001), ("1e9", 1e9)])
def test_seconds_are_a_number(text: str, seconds: float) -> None:
    """With or without a fraction."""
    assert read_seconds(None, None, text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "-inf", "1e400", "1e10", "1s"])
def test_other_texts_are_no_seconds(text: str) -> None:
    """Neither endless nor undefined ones."""
    with pytest.raises(click.BadParameter, match="is not a number of seconds"):
        read_seconds(None, None, text)


def test_limits_that_the_record_refuses_are_bad_usage() -> None:
    """Whatever the options let through."""
    with pytest.raises(UsageError, match="cpu_s"):
        replace_limits(Limits(), {"cpu_s": float("nan")})


def test_limits_keep_their_defaults() -> None:
    """Only what was given differs, and reaches the verb."""
    assert replace_limits(Limits(), {}) == Limits()
    assert replace_limits(Limits(), {"cpu_s": 2.5, "processes": 3}) == Limits(cpu_s=2.5, processes=3)


def test_verbs_get_limits_and_the_engine_in_one_piece_each() -> None:
    """What was given by name, and None where the default holds."""

    @click.command()
    @limit_options
    @engine_options
    def verb(limits: dict[str, float], chosen: EngineChoice) -> None:
        click.echo(f"{limits} {chosen}")

    words = ["--cpu", "2.5", "--memory", "1K", "--workers", "3", "--isolation", "none"]
    told = CliRunner().invoke(verb, words)
    chosen = EngineChoice(workers=3, isolation="none", require=None, python=None)
    assert told.output == f"{ {'cpu_s': 2.5, 'memory_bytes': 1024} } {chosen}\n", told.output
