"""`groundrun eval`: judge samples or a model on a benchmark, in a run folder that the same command goes on with."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import click

from groundrun.benchmarks.dataset import Dataset
from groundrun.benchmarks.mutation import MutationScore, measure_mutation
from groundrun.benchmarks.runner import Summary, evaluate
from groundrun.benchmarks.samples import SampleSet
from groundrun.benchmarks.store import read_completions, read_verdicts
from groundrun.cli.datasets import LOADERS, load_benchmark
from groundrun.cli.gates import Gate, GateResult, check_gate, choose_ks, find_status, score_options
from groundrun.cli.options import EngineChoice, common_options, engine_options, limit_options, print_json, relate, tell
from groundrun.cli.progress import Watch
from groundrun.cli.report import leave_page, show_page
from groundrun.errors import UsageError
from groundrun.models import Mutant, Oracle
from groundrun.reports.evaluation import render_summary
from groundrun.reports.mutation import render_mutation

INTERRUPTED = 130


@click.command("eval")
@click.argument("benchmark", metavar="BENCH", type=click.Choice(sorted(LOADERS)))
@click.option("--samples", type=click.Path(path_type=Path), help="Recorded samples: .jsonl, .jsonl.gz, .jsonl.xz, or a folder.")
@click.option("--model", type=click.Choice(["mutant", "oracle"]), help="Who answers: oracle with references, mutant with changed ones.")
@click.option("--data", type=click.Path(path_type=Path), help="The benchmark's file or a folder with it; else GROUNDRUN_DATA.")
@click.option("--dataset-version", "version", help="Of humaneval_plus or mbpp_plus, such as v0.1.0; by default the newest that is found.")
@click.option("--compat", type=click.Choice(["evalplus"]), help="Limits on the wall's clock, as EvalPlus has them.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Run folder; below runs/ by default.")
@click.option("--n", type=click.IntRange(min=1), help="Samples of each problem; all that are recorded, or 1 of a model, by default.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Orders the mutants, and draws the intervals.")
@click.option("--skip-bad", is_flag=True, help="Name samples that can't be read, leave them out, and go on.")
@score_options
@limit_options
@engine_options
@common_options
def eval_verb(
    benchmark: str,
    samples: Path | None,
    model: str | None,
    data: Path | None,
    version: str | None,
    compat: str | None,
    out: Path | None,
    n: int | None,
    seed: int,
    ks: tuple[int, ...],
    skip_bad: bool,
    repeat: int,
    gates: tuple[Gate, ...],
    allow_unprotected: bool,
    limits: dict[str, float],
    chosen: EngineChoice,
    as_json: bool,
) -> int:
    """Judge recorded samples, or a model, on a benchmark.

    BENCH is one of humaneval, humaneval_plus, mbpp, mbpp_plus, mbpp_sanitized, mbpp_test, starter.

    A sample is a line of JSON with task_id and either solution (a whole program) or completion (what follows the prompt). The same
    command again goes on where the run stopped. A limit that is given takes the place of the same limit of every problem; the others stay.
    Exit status 1 when a gate is not met, 3 when a verdict was masked by a fault of ours.
    """
    if (samples is None) == (model is None):
        raise UsageError("name either --samples FILE or --model NAME")
    dataset = load_benchmark(benchmark, data, version=version, compat=compat or "")
    source: SampleSet | Mutant | Oracle
    if samples is not None:
        source = SampleSet(samples, dataset.problems, skip_bad=skip_bad)
    else:
        source = Mutant(seed) if model == "mutant" else Oracle()
    if isinstance(source, SampleSet):
        for error in source.bad:
            tell(f"warning: {error}")
    setting = "-".join(filter(None, (benchmark, version, compat)))
    folder = relate(out or Path("runs") / f"{setting}-{_label(source.path) if isinstance(source, SampleSet) else source.name}")
    fewest = min(source.tasks.values()) if isinstance(source, SampleSet) else 1 if isinstance(source, Mutant) else n or 1
    wanted = choose_ks(ks, gates, fewest=fewest)
    try:
        with chosen.make() as engine, Watch(benchmark) as watch:
            summary = evaluate(
                dataset,
                source,
                engine,
                folder,
                n=n,
                ks=wanted,
                limits=limits,
                seed=seed,
                compat=compat or "",
                repeat=repeat,
                progress=watch,
            )
    except KeyboardInterrupt:
        tell(f"interrupted: the same command again goes on from {folder}")
        return INTERRUPTED
    results = [check_gate(gate, summary.metrics, allow_unprotected=allow_unprotected) for gate in gates]
    mutation = _score_mutants(summary, dataset, n or 1) if isinstance(source, Mutant) else None
    if as_json:
        print_json({"summary": summary, "gates": results} | ({"mutation": mutation} if mutation else {}))
    else:
        _show(summary, results, mutation)
    show_page(leave_page(folder, dataset.problems), as_json=as_json)
    return find_status(summary, results)


def _score_mutants(summary: Summary, dataset: Dataset, wanted: int) -> MutationScore:
    folder, gold = Path(summary.folder), summary.gold
    return measure_mutation(
        read_completions(folder),
        read_verdicts(folder),
        task_ids=[problem.task_id for problem in dataset.problems],
        wanted=wanted,
        unsound=(*gold.failed, *gold.masked),
        seed=summary.config.seed,
    )


def _show(summary: Summary, results: list[GateResult], mutation: MutationScore | None) -> None:
    click.echo(render_summary(summary))
    if mutation is not None:
        click.echo(render_mutation(mutation))
    for result in results:
        click.echo(result.describe())


def _label(samples: Path) -> str:
    """A name for the run folder of a samples file: two files have two, a file that grew keeps its own, and no shell needs quotes."""
    place = samples.resolve()
    stem = re.sub(r"(\.jsonl)?(\.gz|\.xz)?$", "", place.name) or "samples"
    digest = hashlib.blake2b(os.fsencode(place), digest_size=4).hexdigest()
    return re.sub(r"[^\w.+@:=,-]+", "_", "-".join(filter(None, (place.parent.name, stem, digest))))
