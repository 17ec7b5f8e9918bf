"""`groundrun compare`: two runs of one benchmark against each other, task by task."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from groundrun.benchmarks.comparison import Comparison, Contestant, compare, counts_as_pass, pick_verdicts, score_tasks
from groundrun.benchmarks.metrics import RESAMPLES
from groundrun.benchmarks.store import read_completions, read_config, read_verdicts
from groundrun.cli.completion import complete_runs
from groundrun.cli.gates import Gate, check_difference, read_difference_gates
from groundrun.cli.options import common_options, print_json
from groundrun.records import Verdict
from groundrun.reports.comparison import Answer, Exhibit, render_comparison

_SHOWN = 3


@click.command("compare")
@click.argument("a", metavar="A", type=click.Path(path_type=Path), shell_complete=complete_runs)
@click.argument("b", metavar="B", type=click.Path(path_type=Path), shell_complete=complete_runs)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws; the same seed gives the same numbers.")
@click.option("--resamples", type=click.IntRange(min=100), default=RESAMPLES, show_default=True, help="Draws of the bootstrap.")
@click.option("--allow-unprotected", is_flag=True, help="Count passes judged without protection too.")
@click.option(
    "--gate", "gates", callback=read_difference_gates, multiple=True, help="Demand 'difference>=-0.02' or 'low>=-0.05'; again for more."
)
@click.option("--all", "show_all", is_flag=True, help="Show every task that only one of them passed, and whole programs.")
@click.option("--width", type=click.IntRange(min=40), help="Columns to print in; those of the terminal by default.")
@common_options
def compare_verb(
    a: Path,
    b: Path,
    seed: int,
    resamples: int,
    allow_unprotected: bool,
    gates: tuple[Gate, ...],
    show_all: bool,
    width: int | None,
    as_json: bool,
) -> int:
    """Compare run B with run A: pass@1 of B minus that of A.

    A and B are run folders of the same data. Tasks are compared in pairs: an interval of the difference by paired bootstrap, and
    McNemar's test on the tasks that only one of them passed, which are then shown side by side. With --gate, exit status 1 when the
    difference, or the lower end of its interval (low), is not enough, or when a task could not be compared.
    """
    contestants = [read_contestant(path, allow_unprotected=allow_unprotected) for path in (a, b)]
    comparison = compare(*contestants, seed=seed, resamples=resamples)
    shown = None if show_all or as_json else _SHOWN
    exhibits = read_exhibits(
        comparison, a, b, tasks=[*comparison.only_a[:shown], *comparison.only_b[:shown]], allow_unprotected=allow_unprotected
    )
    results = [check_difference(gate, comparison) for gate in gates]
    if as_json:
        print_json({"comparison": comparison, "discordant": exhibits, "gates": results})
    else:
        console = Console(highlight=False, width=width)
        console.print(render_comparison(comparison, exhibits, whole=show_all))
        for result in results:
            click.echo(result.describe())
    return 0 if all(result.met for result in results) else 1


def read_contestant(path: Path, *, allow_unprotected: bool) -> Contestant:
    """A run folder as one side of a comparison. Raises `BadInput`."""
    config = read_config(path)
    return Contestant(name=str(path), config=config, tasks=score_tasks(read_verdicts(path), allow_unprotected=allow_unprotected))


def read_exhibits(comparison: Comparison, a: Path, b: Path, *, tasks: list[str], allow_unprotected: bool) -> list[Exhibit]:
    """Of each task the first sample of either run that did as its run: passed where the task counts as passed, failed elsewhere."""
    sides = [
        _read_answers(path, {task_id: (task_id in winners) for task_id in tasks}, allow_unprotected=allow_unprotected)
        for path, winners in ((a, set(comparison.only_a)), (b, set(comparison.only_b)))
    ]
    return [Exhibit(task_id=task_id, a=sides[0][task_id], b=sides[1][task_id]) for task_id in tasks]


def _read_answers(path: Path, wanted: dict[str, bool], *, allow_unprotected: bool) -> dict[str, Answer]:
    def fits(verdict: Verdict) -> bool:
        known = verdict.passed is not None and verdict.task_id in wanted
        return known and counts_as_pass(verdict, allow_unprotected=allow_unprotected) is wanted[verdict.task_id]

    verdicts = pick_verdicts(read_verdicts(path), fits)
    answers = {
        completion.task_id: Answer(verdict=verdicts[completion.task_id], program=completion.solution or completion.text)
        for completion in read_completions(path)
        if completion.task_id in verdicts and verdicts[completion.task_id].sample == completion.sample
    }
    return {**{task_id: Answer(verdict=verdict, program="") for task_id, verdict in verdicts.items()}, **answers}
