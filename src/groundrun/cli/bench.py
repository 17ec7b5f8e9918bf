"""`groundrun bench`: speed against peers, measured on this machine in one run."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from groundrun.cli.options import common_options, print_json
from groundrun.cli.race import CONTENDERS, Race, hold_race, load_workload
from groundrun.engine import Engine

WIDTH = 110
"""Columns that the table needs; lines are not broken where the terminal is narrower or there is none."""


@click.group("bench")
def bench_verb() -> None:
    """Measure speed against peers, on this machine, in one run."""


@bench_verb.command("engine")
@click.option("--data", type=click.Path(path_type=Path), help="HumanEval's file, or a folder that holds it; else GROUNDRUN_DATA.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Turns of each contestant, interleaved.")
@click.option("--passes", type=click.IntRange(min=1), default=2, show_default=True, help="Times all programs in one turn.")
@click.option("--workers", type=click.IntRange(min=1), help="Programs at once, for all contestants; one per core by default.")
@click.option(
    "--only", multiple=True, type=click.Choice([contender.key for contender in CONTENDERS]), help="Only this contestant; can be repeated."
)
@common_options
def engine_command(data: Path | None, rounds: int, passes: int, workers: int | None, only: tuple[str, ...], as_json: bool) -> int:
    """Executions per second and processor time per execution, ours and those of peers.

    Every contestant runs the same programs: the reference solutions of HumanEval with their tests, or some starter problems when
    HumanEval is not found. Each turn is a process and a cgroup of its own, so that processor time counts all descendants.
    Peers that are not installed are left out and named. Run it in a checkout: 'make bench' installs the peers. Exit status 1
    when one of groundrun's rows found a reference solution wrong.
    """
    contenders = [contender for contender in CONTENDERS if not only or contender.key in only]
    race = hold_race(
        load_workload(data),
        contenders,
        workers=workers or Engine().workers,
        rounds=rounds,
        passes=passes,
        tell=lambda message: click.echo(f"bench: {message}", err=True),
    )
    if as_json:
        print_json(race)
    else:
        _show(race)
    return 1 if any(row.failed for row in race.rows if row.name == "groundrun") else 0


def _show(race: Race) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("contestant", "how", "exec/s", "CPU ms", "p50 ms", "namespaces is", "passed"):
        table.add_column(name, justify="left" if name in ("contestant", "how") else "right", no_wrap=True)
    for row in race.rows:
        ratio, cpu = race.ratio_to.get(row.key), row.cpu_ms
        table.add_row(
            row.name,
            row.mode,
            f"{row.exec_per_s:.1f}",
            "?" if cpu is None else f"{cpu:.2f}",
            f"{row.p50_ms:.2f}",
            "" if ratio is None else f"{ratio:.2f} x as fast",
            f"{row.passed[0]}/{row.passed[1]}",
        )
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    console.print(table)
    click.echo(f"{race.workload}; {race.workers} at once; medians of {race.rounds} interleaved rounds, {race.passes} passes each")
    click.echo(f"processor time by {race.cpu_source}" + ("" if race.cpu_source == "cgroup" else "; ? where that would miss most of it"))
    for row in race.rows:
        if row.failed:
            click.echo(f"{row.name} ({row.mode}) did not pass: {', '.join(row.failed)}")
    for left in race.left_out:
        click.echo(f"left out: {left.key}: {left.why}")
