"""`groundrun run`: one program, its output, how it ended and what it cost."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from groundrun.benchmarks.limits import replace_limits
from groundrun.cli.options import (
    EngineChoice,
    common_options,
    engine_options,
    find_width,
    limit_options,
    print_json,
    tell,
)
from groundrun.engine import Job
from groundrun.errors import BadInput, UsageError
from groundrun.records import CostMode, Counts, Execution, Limits, Outcome, Program
from groundrun.reports.phrases import make_printable, name_guards, wrap_line


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("file", type=click.Path(allow_dash=True))
@click.argument("arguments", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--stdin", "stdin_path", metavar="PATH", type=click.Path(allow_dash=True), help="What the program reads; - passes ours on.")
@click.option("--file", "files", metavar="[NAME=]PATH", multiple=True, help="A file to lie beside the program.")
@click.option("--collect", metavar="NAME[=PATH]", multiple=True, help="A file of the program's to bring back.")
@click.option(
    "--cost", type=click.Choice([mode.value for mode in CostMode]), help="'counts' also counts events: the same number in every run."
)
@limit_options
@engine_options
@common_options
def run_verb(
    file: str,
    arguments: tuple[str, ...],
    stdin_path: str | None,
    files: tuple[str, ...],
    collect: tuple[str, ...],
    cost: str | None,
    limits: dict[str, float],
    chosen: EngineChoice,
    as_json: bool,
) -> int:
    """Run one Python program in a jail and print what it printed.

    FILE is its source (- reads it from the standard input); ARGS go to the program. Options stand before FILE. The last line,
    on the standard error, says how the program ended, what it cost and which guards were in force; with --cost one more says
    what was counted and by what. Exit status 1 when the program failed or hit a limit.
    """
    if file == "-" and stdin_path == "-":
        raise UsageError("the standard input can't be both the source and what the program reads: name one of them as a file")
    targets = dict(_split_collect(name) for name in collect)
    for target in targets.values():
        if target.exists():
            raise UsageError(f"{target} exists already: name another place with --collect NAME=PATH")
    beside = dict(_read_beside(name) for name in files)
    job = Job(
        program=Program(_read_source(file), files=beside),
        stdin=_read_bytes(stdin_path) if stdin_path else b"",
        argv=arguments,
        collect=tuple(targets),
        cost=cost,
    )
    with chosen.make(workers=1, limits=replace_limits(Limits(), limits)) as engine:
        execution = engine.run(job)
    for name, data in execution.files.items():
        targets[name].write_bytes(data)
    if as_json:
        print_json(_describe(execution))
    else:
        _show(execution)
        if cost is not None:
            tell(_tell_counts(execution.cost.counts))
        for name in targets.keys() - execution.files.keys():
            tell(f"warning: the program left no file {name}")
    return 0 if execution.outcome is Outcome.OK else 1


def _show(execution: Execution) -> None:
    for stream, data in ((sys.stdout, execution.stdout), (sys.stderr, execution.stderr)):
        if stream.isatty():
            click.echo(make_printable(data.decode("utf-8", "replace")), nl=False, file=stream)
        else:
            stream.buffer.write(data)
            stream.flush()
    cost, ended = execution.cost, execution.outcome.value
    if execution.outcome is Outcome.EXITED:
        ended += f" with status {execution.exit_code}"
    elif execution.outcome is Outcome.SIGNALLED:
        ended += f" {execution.signal}"
    elif execution.outcome is Outcome.RAISED and execution.exception:
        ended += f" {make_printable(' '.join(execution.exception.type.split()))}"
    if execution.truncated:
        ended += ", output cut"
    line = f"{ended}: {cost.cpu_s:.3f} s CPU, {cost.wall_s:.3f} s wall; {name_guards(execution.isolation)}"
    click.echo(wrap_line(line, indent=2, width=find_width()) if sys.stderr.isatty() else line, err=True)


def _tell_counts(counts: Counts | None) -> str:
    if counts is None:
        return "not counted: the program never began, came to no end of its own, or took the counter away"
    kinds = f"{counts.jumps} jumps, {counts.branches} branches, {counts.calls} calls, {counts.starts} starts"
    return f"{counts.events} events by {counts.counter.value} on Python {counts.python}: {kinds}"


def _describe(execution: Execution) -> dict[str, object]:
    """The record with its output as text; bytes that are not UTF-8 become U+FFFD."""
    shown = {
        name: getattr(execution, name)
        for name in ("outcome", "exit_code", "signal", "exception", "truncated", "cost", "isolation", "files")
    }
    return {**shown, "stdout": execution.text, "stderr": execution.stderr.decode("utf-8", "replace")}


def _read_source(file: str) -> str:
    name = "<stdin>" if file == "-" else file
    try:
        return _read_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(name, f"byte {error.start} is not UTF-8", hint="save the source as UTF-8") from None


def _read_bytes(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadInput(path, (error.strerror or str(error)).lower()) from None


def _read_beside(text: str) -> tuple[str, bytes]:
    name, equals, path = text.partition("=")
    return (name, _read_bytes(path)) if equals else (Path(text).name, _read_bytes(text))


def _split_collect(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    return name, Path(path if equals else Path(name).name)
