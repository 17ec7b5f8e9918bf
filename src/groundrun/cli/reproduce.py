"""`groundrun reproduce`: published numbers, recomputed from recorded model outputs."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from groundrun.benchmarks.humaneval import HUMANEVAL
from groundrun.benchmarks.reproduction import Row, reproduce_evalplus, reproduce_humaneval
from groundrun.cli.options import EngineChoice, common_options, engine_options, print_json, tell
from groundrun.cli.progress import Watch
from groundrun.engine import Engine
from groundrun.errors import DatasetMissing, UsageError
from groundrun.reports.reproduction import render_rows

HUMANEVAL_SYSTEM, EVALPLUS = "humaneval", "evalplus"
SYSTEMS = (HUMANEVAL_SYSTEM, EVALPLUS)
WIDTH = 160  # a table for people and for logs: cut cells would hide the numbers


@click.command("reproduce")
@click.argument("system", required=False)
@click.option("--data", type=click.Path(path_type=Path), help="Recorded results, or a folder that holds them; else GROUNDRUN_DATA.")
@click.option("--dataset", type=click.Path(path_type=Path), help="The benchmark's own file, when it is not found from --data.")
@click.option("--compat", type=click.Choice([EVALPLUS]), help="Limits on the wall's clock, as EvalPlus has them; of evalplus alone.")
@click.option("--references/--no-references", default=True, help="Whether the reference solutions of every version are run as well.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Keep the run folders here.")
@engine_options
@common_options
def reproduce_verb(
    system: str | None,
    data: Path | None,
    dataset: Path | None,
    compat: str | None,
    references: bool,
    out: Path | None,
    chosen: EngineChoice,
    as_json: bool,
) -> int:
    """Recompute published numbers from recorded model outputs.

    Prints what was published, what was measured here, and the difference. SYSTEM is one of the systems that have recorded
    outputs (humaneval, evalplus); all of them without it. The recordings are those that EvalPlus leaves beside a model's samples
    (generated_eval_results.json, result.json), of any model. Exit status 1 when a number differs.
    """
    if system is not None and system not in SYSTEMS:
        raise UsageError(f"no system {system!r}: known are {', '.join(SYSTEMS)}")
    if compat is not None and system != EVALPLUS:
        raise UsageError(f"--compat {compat} is of the system {EVALPLUS} alone: groundrun reproduce {EVALPLUS} --compat {compat}")
    for place in (data, dataset):
        if place is not None and not place.exists():
            raise UsageError(f"{place} does not exist: name a file or a folder that is there")
    with chosen.make() as engine, Watch("reproduce") as watch:
        try:
            rows = _reproduce(
                [system] if system else list(SYSTEMS), engine, data, dataset, out, watch, compat=compat or "", references=references
            )
        except DatasetMissing:
            if data is None or dataset is not None:
                raise
            raise DatasetMissing(HUMANEVAL.name, HUMANEVAL.address, (str(data), "the folders above it")) from None
    if as_json:
        print_json(rows)
    else:
        Console(highlight=False, width=WIDTH).print(render_rows(rows))
    return 0 if all(row.ok for row in rows) else 1


def _reproduce(
    systems: list[str],
    engine: Engine,
    data: Path | None,
    dataset: Path | None,
    out: Path | None,
    watch: Watch,
    *,
    compat: str,
    references: bool,
) -> list[Row]:
    """The rows of every system whose data are at hand. Raises DatasetMissing when none's are."""
    rows: list[Row] = []
    missing: list[DatasetMissing] = []
    for name in systems:
        try:
            if name == EVALPLUS:
                folder = out and out / "-".join(filter(None, (name, compat)))
                rows += reproduce_evalplus(
                    engine, data=data, dataset=dataset, folder=folder, compat=compat, references=references, progress=watch
                )
            else:
                folder = out and out / name
                rows += reproduce_humaneval(engine, data=data, dataset=dataset, folder=folder, references=references, progress=watch)
        except DatasetMissing as error:
            missing.append(error)
    if len(missing) == len(systems):
        raise missing[0]
    for absent in missing:
        tell(f"note: left out: {absent}")
    return rows
