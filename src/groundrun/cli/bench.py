"""`groundrun bench`: speed against peers, measured on this machine in one run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from groundrun.cli.options import common_options, print_json, tell
from groundrun.cli.race import CONTENDERS, Race, find_runners, hold_race, load_workload
from groundrun.cli.whole import ENTRANTS, OURS, WholeRace, race_whole
from groundrun.engine import Engine

WIDTH, WHOLE_WIDTH = 125, 130
"""Columns that the tables need; lines are not broken where the terminal is narrower or there is none."""


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
        tell=lambda message: tell(f"bench: {message}"),
    )
    if as_json:
        print_json(race)
    else:
        _show(race)
    return 1 if any(row.failed for row in race.rows if row.name == "groundrun") else 0


@bench_verb.command("evalplus")
@click.option("--data", type=click.Path(path_type=Path), help="Folder with EvalPlus's data and recorded samples; else GROUNDRUN_DATA.")
@click.option("--model", help="Folder of the model whose samples are judged; the first that is found by default.")
@click.option("--rounds", type=click.IntRange(min=1), default=2, show_default=True, help="Turns of each entrant, interleaved.")
@click.option("--workers", type=click.IntRange(min=1), help="Programs at once, ours and of --parallel; one per core by default.")
@click.option("--only", multiple=True, type=click.Choice(ENTRANTS), help="Only this entrant; can be repeated.")
@common_options
def evalplus_command(data: Path | None, model: str | None, rounds: int, workers: int | None, only: tuple[str, ...], as_json: bool) -> int:
    """Whole HumanEval+ v0.1.9 and MBPP+ v0.1.0 for one model: EvalPlus's own command against groundrun's.

    Each turn is a whole command in a process and a cgroup of its own, from its start to its end: of EvalPlus as it comes, and with as
    many programs at once as groundrun has, both with its expected outputs to be computed (cold) and kept from before (warm). The
    samples are those of MODEL/evalplus/humaneval/generated.jsonl[.gz] and its like for mbpp.
    Run it in a checkout: 'make bench' installs EvalPlus. It takes about half an hour.
    """
    race = race_whole(
        data,
        model=model,
        only=only,
        workers=workers or Engine().workers,
        rounds=rounds,
        tell=lambda message: tell(f"bench: {message}"),
    )
    if as_json:
        print_json(race)
    else:
        _show_whole(race)
    return 0


OTHERS = {
    "flavours": "What a run costs whose modules were imported ahead, and one that imports them itself.",
    "batches": "Many calls in one process against a plain loop: time a call.",
    "branches": "What it takes to fork a session, by what it holds.",
    "cheats": "The suite's cheats on judging against other harnesses, for real, in namespaces that are thrown away.",
    "repeatability": "Whether a counted cost is the same number again, and what counting costs.",
}
"""Those without laps: modules of `bench/` with options of their own."""


def _add_others() -> None:
    for name, purpose in OTHERS.items():

        def carry_out(options: tuple[str, ...], as_json: bool, *, name: str = name) -> int:
            command = [sys.executable, "-m", f"bench.{name}", *options, *(["--json"] if as_json else [])]
            return subprocess.run(command, cwd=find_runners()).returncode

        help_text = f"{purpose}\n\n    OPTIONS, after --, are those of 'python -m bench.{name}'. Run it in a checkout."
        verb = click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTIONS]...")(common_options(carry_out))
        bench_verb.command(name, help=help_text)(verb)


_add_others()


def _make_table(names: tuple[str, ...], left: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(names):
        table.add_column(name, justify="left" if number < left else "right", no_wrap=True)
    return table


def _print(table: Table, width: int) -> None:
    console = Console(highlight=False)
    console.width = max(console.width, width)
    console.print(table)


def _show_whole(race: WholeRace) -> None:
    names = ("benchmark", "entrant", "how", "wall s", "scores s", "CPU s", "base", "plus", "agree")
    table = _make_table(names, 3)
    for row in sorted(race.rows, key=lambda row: race.benchmarks.index(row.benchmark)):
        table.add_row(
            row.benchmark,
            row.name,
            row.mode,
            f"{row.wall_s:.1f}",
            f"{row.scores_s:.1f}",
            "?" if row.cpu_s is None else f"{row.cpu_s:.1f}",
            f"{row.base_percent:.1f}",
            f"{row.plus_percent:.1f}",
            "" if row.agree is None else f"{row.agree[0]}/{row.agree[1]}",
        )
    _print(table, WHOLE_WIDTH)
    click.echo(
        f"{race.model}, {race.workers} at once; medians of {race.rounds} interleaved rounds; scores s: until the results are written"
    )
    for name, ratio in race.ratio_to.items():
        click.echo(f"groundrun is {ratio:.2f} x as fast as {name}; {race.ratio_to_scores[name]:.2f} x until its results are written")
    for row in race.rows:
        if row.differing and row.key != OURS:
            click.echo(f"decided otherwise by {row.key} {row.mode}: {', '.join(row.differing)}")
    for left in race.left_out:
        click.echo(f"left out: {left.key}: {left.why}")


def _show(race: Race) -> None:
    table = _make_table(("contestant", "how", "exec/s", "CPU ms", "faults", "p50 ms", "namespaces is", "passed"), 2)
    for row in race.rows:
        ratio, cpu = race.ratio_to.get(row.key), row.cpu_ms
        table.add_row(
            row.name,
            row.mode,
            f"{row.exec_per_s:.1f}",
            "?" if cpu is None else f"{cpu:.2f}",
            "?" if row.page_faults is None else f"{row.page_faults:.0f}",
            f"{row.p50_ms:.2f}",
            "" if ratio is None else f"{ratio:.2f} x as fast",
            f"{row.passed[0]}/{row.passed[1]}",
        )
    _print(table, WIDTH)
    click.echo(f"{race.workload}; {race.workers} at once; medians of {race.rounds} interleaved rounds, {race.passes} passes each")
    click.echo(f"processor time by {race.cpu_source}" + ("" if race.cpu_source == "cgroup" else "; ? where that would miss most of it"))
    for key, cost in race.judge_costs.items():
        if cost is not None:
            click.echo(f"{key} costs {cost:.2f} x the processor time of the single process")
    for row in race.rows:
        if row.failed:
            click.echo(f"{row.name} ({row.mode}) did not pass: {', '.join(row.failed)}")
    for left in race.left_out:
        click.echo(f"left out: {left.key}: {left.why}")
