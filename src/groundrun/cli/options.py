"""The options that verbs share, and the words they are read with. Each verb picks what it needs; none has a meaning of its own."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from groundrun.benchmarks.limits import replace_limits
from groundrun.records import Limits, Rung
from groundrun.reports.phrases import make_printable

if TYPE_CHECKING:
    from groundrun.engine import Engine

Function = TypeVar("Function", bound=Callable[..., Any])
_MOST_SECONDS = 1e9  # and _MOST_BYTES: far from what a kernel's counters hold
_MOST_BYTES = 1 << 60
_MOST_PROCESSES = 1 << 22  # the most that Linux gives numbers to
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def read_size(ctx: click.Context | None, param: click.Parameter | None, value: str | None) -> int | None:
    """The bytes that a text such as 4096, 64K, 256M or 2G stands for. Raises click.BadParameter."""
    if value is None:
        return None
    found = re.fullmatch(r"([0-9]+)([KMG]?)(?:i?B)?", value, re.IGNORECASE)
    size = int(found[1][:20]) * _SIZES[found[2].upper()] if found else 0
    if not 0 < size <= _MOST_BYTES:
        raise click.BadParameter(f"{value!r} is not a size such as 64K, 256M or 2G", ctx=ctx, param=param)
    return size


def read_seconds(ctx: click.Context | None, param: click.Parameter | None, value: str | None) -> float | None:
    """The seconds that a text such as 0.5 or 30 stands for. Raises click.BadParameter, also for what is endless or no number."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _MOST_SECONDS:
        raise click.BadParameter(f"{value!r} is not a number of seconds greater than 0 and at most {_MOST_SECONDS:g}", ctx=ctx, param=param)
    return seconds


def _show_traceback(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        os.environ["GROUNDRUN_TRACEBACK"] = "1"


def common_options(function: Function) -> Function:
    """--json and --traceback, which every verb takes."""
    function = click.option("--traceback", is_flag=True, expose_value=False, callback=_show_traceback, help="On an error, show where.")(
        function
    )
    return click.option("--json", "as_json", is_flag=True, help="Print JSON to the standard output, and nothing else.")(function)


def engine_options(function: Function) -> Function:
    """--workers, --isolation, --require and --python, as `make_engine` takes them."""
    rungs = click.Choice([rung.value for rung in Rung])
    for option in (
        click.option("--python", metavar="PATH", help="Interpreter that programs run under; the present one by default."),
        click.option("--require", type=rungs, help="Fail unless this rung of isolation can be had."),
        click.option("--isolation", type=rungs, help="Rung of isolation; the best this host allows by default, never 'none'."),
        click.option("--workers", type=click.IntRange(min=1), help="Programs at once; one per core by default."),
    ):
        function = option(function)
    return function


def limit_options(function: Function) -> Function:
    """The limits of one run, None where the default holds; `read_limits` makes the record, `pick_limits` leaves the rest out."""
    for option in (
        click.option("--processes", type=click.IntRange(1, _MOST_PROCESSES), help="Processes and threads together."),
        click.option(
            "--output", "output_bytes", callback=read_size, metavar="SIZE", help="Bytes on each of stdout and stderr, such as 64K."
        ),
        click.option("--disk", "disk_bytes", callback=read_size, metavar="SIZE", help="Bytes that the program may write to its folder."),
        click.option(
            "--memory", "memory_bytes", callback=read_size, metavar="SIZE", help="Memory on top of the interpreter, such as 256M."
        ),
        click.option("--wall", "wall_s", callback=read_seconds, metavar="SECONDS", help="Seconds by the clock on the wall."),
        click.option("--cpu", "cpu_s", callback=read_seconds, metavar="SECONDS", help="Seconds of processor time."),
    ):
        function = option(function)
    return function


def read_limits(**given: float | int | None) -> Limits:
    """The default limits with those that were given. Raises UsageError when they can't be limits."""
    return replace_limits(Limits(), pick_limits(**given))


def pick_limits(**given: float | int | None) -> dict[str, float]:
    """The limits that were given, by name."""
    return {name: value for name, value in given.items() if value is not None}


def make_engine(
    *,
    workers: int | None = None,
    isolation: str | None = None,
    require: str | None = None,
    python: str | None = None,
    limits: Limits = Limits(),
) -> Engine:
    """An engine of what the options say. It is imported here, so that verbs without an engine answer at once."""
    from groundrun.engine import Engine

    return Engine(workers=workers, isolation=isolation, require=require, python=python, limits=limits)


def find_width() -> int:
    """The columns of the terminal; COLUMNS goes before it, and 80 is taken where there is none."""
    return shutil.get_terminal_size().columns


def tell(message: str) -> None:
    """Print one line to the standard error. Nothing in the message can end the line or reach the terminal as a command."""
    click.echo(make_printable(" ".join(message.split())), err=True)


def relate(path: Path) -> Path:
    """The path as seen from the working folder where it lies below that, else as it is."""
    try:
        return path.absolute().relative_to(Path.cwd())
    except (OSError, ValueError):
        return path


def print_json(value: object) -> None:
    """Print a record as JSON, indented, to the standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))
