"""`groundrun demo`: the main job on the starter set, and a check of this host."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import click
import msgspec
from rich.console import Console

from groundrun.benchmarks.runner import Summary, evaluate
from groundrun.benchmarks.store import read_verdicts
from groundrun.cli.datasets import starter_dataset
from groundrun.cli.options import EngineChoice, common_options, engine_options, print_json, relate
from groundrun.cli.progress import Watch
from groundrun.cli.report import leave_page, show_page
from groundrun.reports.authored import Judged, label_candidates, match_verdicts, render_authored
from groundrun.reports.evaluation import render_summary
from groundrun.reports.phrases import wrap_line
from groundrun.starter import load_starter


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Run folder; runs/demo-TIME by default.")
@engine_options
@common_options
def demo_verb(out: Path | None, chosen: EngineChoice, as_json: bool) -> int:
    """Judge the authored candidates of the starter set, offline.

    Is every verdict the right one? The candidates were written, not sampled from a model: right in different ways, subtly wrong,
    crashing, endless, hungry, cheating. Exit status 1 when a verdict is not the authored one, 3 when one was masked.
    """
    problems = load_starter()
    folder = relate(out or Path("runs") / f"demo-{datetime.datetime.now():%Y%m%d-%H%M%S-%f}")
    started = time.monotonic()
    with chosen.make() as engine, Watch("demo") as watch:
        completions = [completion for problem in problems for completion in problem.completions()]
        summary = evaluate(starter_dataset(problems), completions, engine, folder, ks=(1,), model="authored candidates", progress=watch)
    elapsed_s = time.monotonic() - started
    judged = match_verdicts(problems, read_verdicts(folder))
    if as_json:
        print_json(_describe(summary, judged, elapsed_s))
    else:
        _show(summary, judged, elapsed_s)
    page = leave_page(folder, [problem.problem for problem in problems], label_candidates(problems, completions))
    show_page(page, as_json=as_json)
    if summary.metrics.masked:
        return 3
    return 0 if all(each.as_authored for each in judged) and summary.gold.passed == summary.gold.total else 1


def _show(summary: Summary, judged: list[Judged], elapsed_s: float) -> None:
    console = Console(highlight=False)
    console.print(render_authored(judged, unicode=console.encoding.lower().startswith("utf"), width=console.width))
    for line in render_summary(summary).splitlines():
        click.echo(wrap_line(line, indent=10, width=console.width))
    good = sum(each.as_authored for each in judged)
    word = "all" if good == len(judged) else "NOT all"
    click.echo(f"{word} verdicts are as authored: {good} of {len(judged)}, in {elapsed_s:.1f} s")


def _describe(summary: Summary, judged: list[Judged], elapsed_s: float) -> dict[str, object]:
    candidates = [
        {
            "problem": each.problem,
            "candidate": each.candidate.label,
            "idea": each.candidate.idea,
            "as_authored": each.as_authored,
            "verdict": each.verdict,
        }
        for each in judged
    ]
    return {
        "as_authored": [sum(each.as_authored for each in judged), len(judged)],
        "elapsed_s": round(elapsed_s, 3),
        "candidates": candidates,
        "summary": msgspec.to_builtins(summary),
    }
