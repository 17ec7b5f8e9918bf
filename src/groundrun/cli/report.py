"""`groundrun report`: a run folder as one HTML page, a table for the terminal, or JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console

from groundrun.benchmarks.inventory import Key
from groundrun.benchmarks.store import REPORT, RunConfig, read_completions, read_config
from groundrun.cli.completion import complete_runs
from groundrun.cli.datasets import LOADERS, VERSIONED, load_benchmark
from groundrun.cli.options import common_options, print_json, tell
from groundrun.errors import DatasetMissing, GroundrunError
from groundrun.records import Problem
from groundrun.reports.authored import label_candidates
from groundrun.reports.gathering import MOST_SHOWN, gather
from groundrun.reports.page import write_page
from groundrun.reports.phrases import make_printable
from groundrun.reports.table import render_table
from groundrun.starter import load_starter


@click.command("report")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path), shell_complete=complete_runs)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The page's file; report.html in the run folder by default.")
@click.option("--data", type=click.Path(path_type=Path), help="The benchmark's file or a folder with it; else GROUNDRUN_DATA.")
@click.option("--most", type=click.IntRange(min=0), default=MOST_SHOWN, show_default=True, help="Programs to show in full.")
@common_options
def report_verb(run: Path, out: Path | None, data: Path | None, most: int, as_json: bool) -> int:
    """Show a run: one HTML page with every candidate, and a table.

    RUN is a run folder of eval or demo, also one that is unfinished. The page needs nothing else to be read: send it, or put it on
    any web server. It shows hidden tests.
    """
    config = read_config(run)
    problems = find_problems(config, data)
    labels = find_labels(run, config)
    report = gather(run, problems, labels=labels, most=most)
    if as_json:
        print_json(report)
        return 0
    place = write_page(run, problems, out=out, labels=labels, most=most)
    console = Console(highlight=False)
    console.print(render_table(report, unicode=console.encoding.lower().startswith("utf")))
    click.echo(f"page: {make_printable(str(place))}")
    return 0


def leave_page(run: Path, problems: Sequence[Problem], labels: Mapping[Key, str] | None = None) -> Path | None:
    """Put the page into a run folder; None, with a note on the standard error, where it can't be made or written.

    Call it once the answer is printed: a page that fails takes nothing away from that.
    """
    try:
        return write_page(run, problems, labels=labels)
    except GroundrunError as error:
        tell(f"note: no {REPORT}: {error}")
    except Exception as error:
        tell(f"note: no {REPORT}: it could not be drawn ({type(error).__name__}: {error}); groundrun report {run} tries again")
    return None


def show_page(page: Path | None, *, as_json: bool) -> None:
    """Say where the page is, the last line of an answer for people."""
    if page and not as_json:
        click.echo(f"report    {make_printable(str(page))}")


def find_problems(config: RunConfig, data: Path | None) -> tuple[Problem, ...]:
    """The problems of the run's benchmark, or none, with a note, where they are not at hand or not those that were judged.

    Raises DatasetMissing when `data` are named and are not there.
    """
    name, _, version = config.benchmark.partition(" ")
    if name not in LOADERS:
        tell(f"note: no problems shown: {config.benchmark} is not a benchmark of this version")
        return ()
    try:
        dataset = load_benchmark(name, data, version=version if name in VERSIONED else None)
    except DatasetMissing as error:
        if data is not None:
            raise
        tell(f"note: no problems shown: {error}")
        return ()
    if dataset.sha256 != config.dataset_sha256:
        tell("note: no problems shown: the data at hand are not those that the run was judged with")
        return ()
    return dataset.problems


def find_labels(run: Path, config: RunConfig) -> dict[Key, str]:
    """What the starter set calls its own candidates; empty for any other run."""
    return label_candidates(load_starter(), read_completions(run)) if config.benchmark.startswith("starter ") else {}
