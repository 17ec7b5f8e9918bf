"""`groundrun eval`: judge samples or a model on a benchmark, in a run folder that the same command goes on with."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import click
import msgspec

from groundrun.benchmarks.metrics import Metrics
from groundrun.benchmarks.runner import Source, Summary, evaluate
from groundrun.benchmarks.samples import SampleSet
from groundrun.cli.datasets import LOADERS
from groundrun.cli.options import common_options, engine_options, limit_options, make_engine, print_json, read_limits
from groundrun.cli.progress import Watch
from groundrun.errors import UsageError
from groundrun.models import Oracle
from groundrun.reports.evaluation import render_summary

INTERRUPTED = 130
OUR_FAULT = 3


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """A demand on a score: `pass@1>=0.8`, `pass@10>50%`."""

    text: str
    k: int
    strict: bool
    least: float

    def meets(self, value: float) -> bool:
        """Whether a score is enough."""
        return value > self.least if self.strict else value >= self.least


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """A gate and what came of it. `why` says what stood in the way when it is not met."""

    gate: str
    met: bool
    value: float | None = None
    why: str = ""


def read_gates(ctx: click.Context | None, param: click.Parameter | None, texts: tuple[str, ...]) -> tuple[Gate, ...]:
    """Read gates such as `pass@1>=0.8` or `pass@1>=80%`. Raises click.BadParameter, before anything runs."""
    gates = []
    for text in texts:
        found = re.fullmatch(r"\s*pass@([1-9][0-9]*)\s*(>=|>)\s*([0-9]+(?:\.[0-9]+)?)\s*(%?)\s*", text)
        least = float(found[3]) / (100 if found[4] else 1) if found else 0.0
        if not found or least > 1:
            raise click.BadParameter(f"{text!r} is not a gate such as 'pass@1>=0.8' or 'pass@1>=80%'", ctx=ctx, param=param)
        gates.append(Gate(text=text.strip(), k=int(found[1]), strict=found[2] == ">", least=least))
    return tuple(gates)


@click.command("eval")
@click.argument("benchmark", metavar="BENCH", type=click.Choice(sorted(LOADERS)))
@click.option("--samples", type=click.Path(path_type=Path), help="Recorded samples: .jsonl, .jsonl.gz, .jsonl.xz, or a folder.")
@click.option("--model", type=click.Choice(["oracle"]), help="Who answers: oracle gives every reference solution.")
@click.option("--data", type=click.Path(path_type=Path), help="The benchmark's file or a folder with it; else GROUNDRUN_DATA.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Run folder; below runs/ by default.")
@click.option("--n", type=click.IntRange(min=1), help="Samples of each problem; all that are recorded by default.")
@click.option("--k", "ks", type=click.IntRange(min=1), multiple=True, help="A k of pass@k, again for more; 1, 10 and 100 by default.")
@click.option("--skip-bad", is_flag=True, help="Name samples that can't be read, leave them out, and go on.")
@click.option("--gate", "gates", callback=read_gates, multiple=True, help="Demand a score, such as 'pass@1>=0.8'; again for more.")
@click.option("--allow-unprotected", is_flag=True, help="Let gates count passes judged without protection.")
@limit_options
@engine_options
@common_options
def eval_verb(
    benchmark: str,
    samples: Path | None,
    model: str | None,
    data: Path | None,
    out: Path | None,
    n: int | None,
    ks: tuple[int, ...],
    skip_bad: bool,
    gates: tuple[Gate, ...],
    allow_unprotected: bool,
    workers: int | None,
    isolation: str | None,
    require: str | None,
    python: str | None,
    as_json: bool,
    **limits: float | int | None,
) -> int:
    """Judge recorded samples, or a model, on a benchmark.

    BENCH is one of humaneval, starter.

    A sample is a line of JSON with task_id and either solution (a whole program) or completion (what follows the prompt). The same
    command again goes on where the run stopped. Exit status 1 when a gate is not met, 3 when a verdict was masked by a fault of
    ours.
    """
    if (samples is None) == (model is None):
        raise UsageError("name either --samples FILE or --model oracle")
    dataset = LOADERS[benchmark](data)
    source: Source = Oracle() if samples is None else SampleSet(samples, dataset.problems, skip_bad=skip_bad)
    if isinstance(source, SampleSet):
        for error in source.bad:
            click.echo(f"warning: {error}", err=True)
    folder = out or Path("runs") / f"{benchmark}-{_label(samples) if samples else model}"
    fewest = min(source.tasks.values()) if isinstance(source, SampleSet) else n or 1
    wanted = sorted({*(ks or [k for k in (1, 10, 100) if k <= fewest]), *(gate.k for gate in gates)})
    given = read_limits(**limits) if any(value is not None for value in limits.values()) else None
    try:
        with make_engine(workers=workers, isolation=isolation, require=require, python=python) as engine, Watch(benchmark) as watch:
            summary = evaluate(dataset, source, engine, folder, n=n, ks=wanted, limits=given, progress=watch)
    except KeyboardInterrupt:
        click.echo(f"interrupted: the same command again goes on from {folder}", err=True)
        return INTERRUPTED
    results = [check_gate(gate, summary.metrics, allow_unprotected=allow_unprotected) for gate in gates]
    if as_json:
        print_json({"summary": summary, "gates": results})
    else:
        _show(summary, results)
    if summary.metrics.masked or summary.gold.masked:
        return OUR_FAULT
    return 0 if all(result.met for result in results) else 1


def check_gate(gate: Gate, metrics: Metrics, *, allow_unprotected: bool = False) -> GateResult:
    """Hold a gate against the scores. A score that leaves tasks out, or that can't be estimated, meets no gate."""
    estimates = metrics.with_unprotected or metrics.estimates if allow_unprotected else metrics.estimates
    value = next((estimate.value for estimate in estimates if estimate.k == gate.k), None)
    if value is None:
        few = f"fewer than {gate.k} samples" if gate.k > 1 else "no sample"
        return GateResult(gate=gate.text, met=False, why=f"pass@{gate.k} can't be estimated: a task has {few} with an answer")
    if not metrics.complete:
        absent = len(metrics.missing_tasks) + len(metrics.masked_tasks)
        tasks = "1 task of the benchmark has" if absent == 1 else f"{absent} tasks of the benchmark have"
        return GateResult(gate=gate.text, met=False, value=value, why=f"{tasks} no verdict")
    met = gate.meets(value)
    return GateResult(gate=gate.text, met=met, value=value, why="" if met else f"it is {value:.4f}")


def _show(summary: Summary, results: list[GateResult]) -> None:
    click.echo(render_summary(summary))
    for result in results:
        click.echo(f"gate      {result.gate} is {'met' if result.met else f'NOT met: {result.why}'}")


def _label(samples: Path) -> str:
    """A name for the run folder of a samples file: two files have two, and a file that grew keeps its own."""
    place = samples.resolve()
    stem = re.sub(r"(\.jsonl)?(\.gz|\.xz)?$", "", place.name) or "samples"
    digest = hashlib.blake2b(os.fsencode(place), digest_size=4).hexdigest()
    return "-".join(filter(None, (place.parent.name, stem, digest)))
