"""`groundrun judge`: judge the completions of a run again, without sampling, and tell which verdicts changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from groundrun.benchmarks.comparison import list_changes
from groundrun.benchmarks.dataset import Dataset
from groundrun.benchmarks.rejudgement import Change, Changes, EarlierRun, list_changed, read_answers
from groundrun.benchmarks.runner import evaluate
from groundrun.benchmarks.store import RunConfig, read_verdicts
from groundrun.cli.completion import complete_runs
from groundrun.cli.datasets import VERSIONED, load_benchmark
from groundrun.cli.gates import Gate, check_gate, choose_ks, find_status, score_options
from groundrun.cli.options import EngineChoice, common_options, engine_options, limit_options, print_json, relate, tell
from groundrun.cli.progress import Watch
from groundrun.cli.report import leave_page, show_page
from groundrun.errors import UsageError
from groundrun.reports.evaluation import render_summary
from groundrun.reports.phrases import count, make_printable

INTERRUPTED = 130
_SHOWN = 20


@click.command("judge")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path), shell_complete=complete_runs)
@click.option("--data", type=click.Path(path_type=Path), help="The benchmark's file or a folder with it; else GROUNDRUN_DATA.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Run folder; RUN-again by default.")
@click.option("--all", "show_all", is_flag=True, help=f"Show every verdict that changed, not only {_SHOWN}.")
@click.option("--compat", type=click.Choice(["evalplus", "none"]), help="Limits as a published harness has them; by default as in RUN.")
@score_options
@limit_options
@engine_options
@common_options
def judge_verb(
    run: Path,
    data: Path | None,
    out: Path | None,
    show_all: bool,
    compat: str | None,
    repeat: int,
    ks: tuple[int, ...],
    gates: tuple[Gate, ...],
    allow_unprotected: bool,
    limits: dict[str, float],
    chosen: EngineChoice,
    as_json: bool,
) -> int:
    """Judge the completions of a run again.

    RUN is a run folder, interrupted ones too; it stays as it is. Of one that is still being written, what it holds now is judged.
    Nothing is sampled: texts, programs and the model's name are taken over, and every limit and the compat mode where none is given
    (--compat none takes a mode away). The same command again goes on where it stopped. Verdicts that changed are listed with what is
    known of why. Exit status 1 when a gate is not met, 3 when a verdict was masked by a fault of ours; changed verdicts alone are no
    failure.
    """
    source = EarlierRun(run)
    mode = source.config.compat if compat is None else "" if compat == "none" else compat
    dataset = load_again(source, data, compat=mode)
    folder = relate(out or run.resolve().with_name(f"{source.name}-again"))
    if folder.exists() and folder.samefile(run):
        raise UsageError(f"{folder} is the run to judge again: name another folder with --out")
    before = read_answers(read_verdicts(run))
    fewest = min(Counter(completion.task_id for completion in source).values())
    try:
        engine = chosen.make(limits=source.config.limits)
        with engine, Watch("judge") as watch:
            summary = evaluate(
                dataset,
                source,
                engine,
                folder,
                ks=choose_ks(ks, gates, fewest=fewest),
                limits=merge_limits(source.config, limits),
                seed=source.config.seed,
                compat=mode,
                repeat=repeat,
                progress=watch,
            )
    except KeyboardInterrupt:
        tell(f"interrupted: the same command again goes on from {folder}")
        return INTERRUPTED
    results = [check_gate(gate, summary.metrics, allow_unprotected=allow_unprotected) for gate in gates]
    settings = list_changes(source.config, summary.config, names=("the first run", "this one"))
    changes = list_changed(before, read_answers(read_verdicts(folder)), settings=settings)
    if as_json:
        print_json({"summary": summary, "changes": changes, "gates": results})
    else:
        click.echo(render_summary(summary))
        for line in _lines(changes, shown=len(changes.changes) if show_all else _SHOWN):
            click.echo(line)
        for result in results:
            click.echo(result.describe())
    show_page(leave_page(folder, dataset.problems), as_json=as_json)
    return find_status(summary, results)


def load_again(source: EarlierRun, data: Path | None, *, compat: str = "") -> Dataset:
    """The data that the run was made with, by name and version. Raises UsageError when they are another benchmark or version."""
    name, _, version = source.config.benchmark.partition(" ")
    dataset = load_benchmark(name, data, version=version if name in VERSIONED else None, compat=compat)
    found = f"{dataset.benchmark.name} {dataset.benchmark.version}"
    if found != source.config.benchmark:
        raise UsageError(
            f"{source.path} is a run of {source.config.benchmark}, but {dataset.path} is {found}: name that version's file with --data"
        )
    return dataset


def merge_limits(stored: RunConfig, given: dict[str, float]) -> dict[str, float]:
    """The limits that were given to the run, with those that are given now in their place."""
    return {name: getattr(stored.limits, name) for name in stored.limits_given} | given


def _lines(changes: Changes, *, shown: int) -> Iterator[str]:
    flipped = sum(change.flipped for change in changes.changes)
    yield f"changed   {len(changes.changes)} of {count(changes.compared, 'verdict')}; of these, {flipped} in whether it passed"
    if changes.new:
        yield f"new       {count(changes.new, 'sample')} without a verdict before"
    for setting in changes.settings:
        yield f"note      {make_printable(setting)}"
    ordered = sorted(changes.changes, key=lambda change: not change.flipped)
    for change in ordered[:shown]:
        yield _describe(change, changes.settings)
    if len(ordered) > shown:
        yield f"          and {len(ordered) - shown} more (--all)"


def _describe(change: Change, settings: tuple[str, ...]) -> str:
    """One line; settings are told once, above."""
    words = {True: "passed", False: "failed", None: "masked"}
    before, after = (f"{words[each.passed]} ({each.outcome.value})" for each in (change.before, change.after))
    why = "; ".join(reason for reason in change.why if reason not in settings) or "see the notes above"
    reason = " ".join(change.after.reason.split())
    return make_printable(f"          {change.task_id} sample {change.sample}: {before} -> {after}: {reason}; {why}")
