"""The options that verbs share, and the words they are read with. Each verb picks what it needs; none has a meaning of its own."""

from __future__ import annotations

import functools
import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
import msgspec

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


class EngineChoice(msgspec.Struct, frozen=True, kw_only=True):
    """What the options say about the engine, None where the default holds."""

    workers: int | None
    isolation: str | None
    require: str | None
    python: str | None

    def make(self, *, workers: int | None = None, limits: Limits = Limits()) -> Engine:
        """The engine. workers: where the options name no number. It is imported here, so that verbs without an engine answer at once."""
        from groundrun.engine import Engine

        return Engine(workers=self.workers or workers, isolation=self.isolation, require=self.require, python=self.python, limits=limits)


def engine_options(function: Function) -> Function:
    """--workers, --isolation, --require and --python, which the verb gets as `chosen: EngineChoice`."""

    @functools.wraps(function)
    def gathered(*, workers: int | None, isolation: str | None, require: str | None, python: str | None, **others: Any) -> Any:
        chosen = EngineChoice(workers=workers, isolation=isolation, require=require, python=python)
        return function(chosen=chosen, **others)

    return _with_engine_options(cast("Function", gathered))


def _with_engine_options(function: Function) -> Function:
    rungs = click.Choice([rung.value for rung in Rung])
    for option in (
        click.option("--python", metavar="PATH", help="Interpreter or virtual environment that programs use; the present by default."),
        click.option("--require", type=rungs, help="Fail unless this rung of isolation can be had."),
        click.option("--isolation", type=rungs, help="Rung of isolation; the best this host allows by default, never 'none'."),
        click.option("--workers", type=click.IntRange(min=1), help="Programs at once; one per core by default."),
    ):
        function = option(function)
    return function


def limit_options(function: Function) -> Function:
    """The limits of one run, which the verb gets as `limits: dict[str, float]`: those that were given, by the names in `Limits`."""

    @functools.wraps(function)
    def gathered(**given: Any) -> Any:
        limits = {name: value for name in Limits.__struct_fields__ if (value := given.pop(name)) is not None}
        return function(limits=limits, **given)

    return _with_limit_options(cast("Function", gathered))


def _with_limit_options(function: Function) -> Function:
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
