"""Published HumanEval scores from recorded completions: recompute, compare, say where they differ.

What is read is the folder that EvalPlus leaves beside a model's samples: `generated_eval_results.json` (whole programs and their
`base_status`) and, where it lies there, `result.json` (the published percentages). Any model's folder of that layout works.

Exact: the recorded programs are run as EvalPlus built them, which is the prompt of HumanEval+ followed by the completion; the
unbiased pass@1; the published rounding to one decimal, so the tolerance of a percentage is 0.05.
Ours: EvalPlus decided `base_status` by comparing with the reference on its own inputs under a wall clock, we decide by the data
set's `check`. The third row counts the problems where both decide alike and names the others.
Left out: the `plus` statuses, which need EvalPlus's data.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from groundrun.benchmarks.dataset import Dataset, read_plain
from groundrun.benchmarks.humaneval import load_humaneval
from groundrun.benchmarks.metrics import Tally, estimate_pass_at_k
from groundrun.benchmarks.runner import Progress, evaluate
from groundrun.benchmarks.samples import SampleSet
from groundrun.benchmarks.store import StoredCompletion, read_verdicts
from groundrun.engine import Engine
from groundrun.errors import BadInput, DatasetMissing
from groundrun.models import Oracle
from groundrun.records import Verdict

SYSTEM = "humaneval"
RESULTS = "generated_eval_results.json"
PUBLISHED = "result.json"
GENERATED = "generated.jsonl"
PERCENT_TOLERANCE = 0.05


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One published number and ours. `ok` when they differ by no more than `tolerance`."""

    system: str
    row: str
    published: float
    measured: float
    tolerance: float
    ok: bool
    note: str = ""


class _Recorded(msgspec.Struct, frozen=True):
    task_id: str
    solution: str
    base_status: str


class _Results(msgspec.Struct, frozen=True):
    hash: str
    eval: dict[str, list[_Recorded]]


def reproduce_humaneval(
    engine: Engine, *, data: Path | None = None, dataset: Path | None = None, folder: Path | None = None, progress: Progress | None = None
) -> tuple[Row, ...]:
    """The rows of one recorded model, or of all that lie under `data` (None: `GROUNDRUN_DATA`).

    data: a results file, a folder that holds one, or a folder with `MODEL/evalplus/humaneval/` in it. dataset: where HumanEval is, when
    it is not found from `data` or `GROUNDRUN_DATA`. folder: keep the run folders here; None for a temporary place.
    Raises `DatasetMissing`, `BadInput`, and what `evaluate` raises.
    """
    problems = _find_dataset(data, dataset)
    recordings = _find_recordings(data, Path(problems.path))
    with tempfile.TemporaryDirectory(prefix="groundrun-") as temporary:
        runs = folder or Path(temporary)
        rows = [_check_references(engine, problems, runs / "references", progress)]
        for results in recordings:
            rows += _check_recording(engine, problems, results, runs / _label(results), progress)
    return tuple(rows)


def _check_references(engine: Engine, dataset: Dataset, folder: Path, progress: Progress | None) -> Row:
    verdicts = _judge(engine, dataset, Oracle(), folder, progress)
    passed = sum(verdict.passed is True and verdict.protected for verdict in verdicts)
    failed = [verdict.task_id for verdict in verdicts if not (verdict.passed and verdict.protected)]
    note = dataset.warning or _name("not passed, or not protected", failed)
    return _compare("canonical solutions passed, protected", len(dataset.problems), passed, 0, note)


def _check_recording(engine: Engine, dataset: Dataset, path: Path, folder: Path, progress: Progress | None) -> list[Row]:
    results = _read_results(path)
    label = _label(path)
    known = {problem.task_id for problem in dataset.problems}
    unknown = sorted(set(results.eval) - known)
    if unknown:
        raise BadInput(str(path), f"unknown task_id {unknown[0]!r}: these are not results of HumanEval")
    programs = [
        StoredCompletion(task_id=task_id, text=recorded.solution, solution=recorded.solution, sample=sample, model=label, rule="solution")
        for task_id, samples in results.eval.items()
        for sample, recorded in enumerate(samples)
    ]
    verdicts = _judge(engine, dataset, programs, folder, progress)
    statuses = {
        (task_id, sample): recorded.base_status == "pass"
        for task_id, samples in results.eval.items()
        for sample, recorded in enumerate(samples)
    }
    differing = sorted(verdict.task_id for verdict in verdicts if verdict.passed is not statuses[verdict.task_id, verdict.sample])
    published, note = _published(path, results)
    missing = len(known) - len(results.eval)
    notes = [
        note,
        f"problems without a recorded completion: {missing}" if missing else "",
        _other_prompts(path, dataset, programs),
        dataset.warning,
    ]
    return [
        _compare(f"{label}: pass@1, percent", published, _percent(verdicts), PERCENT_TOLERANCE, "; ".join(filter(None, notes))),
        _compare(
            f"{label}: recorded base statuses met", len(statuses), len(statuses) - len(differing), 0, _name("decided otherwise", differing)
        ),
    ]


def _other_prompts(path: Path, dataset: Dataset, programs: Sequence[StoredCompletion]) -> str:
    """Which recorded programs are not HumanEval's prompt + completion: HumanEval+ changed some prompts. Empty without the completions."""
    generated = path.with_name(GENERATED)
    if not generated.exists():
        return ""
    built = {(made.task_id, made.sample): made.solution for made in SampleSet(generated, dataset.problems, skip_bad=True)}
    other = [program.task_id for program in programs if built.get((program.task_id, program.sample), program.solution) != program.solution]
    return _name("judged as recorded, with the prompt of HumanEval+", other)


def _judge(
    engine: Engine, dataset: Dataset, source: Oracle | Sequence[StoredCompletion], folder: Path, progress: Progress | None
) -> list[Verdict]:
    evaluate(dataset, source, engine, folder, ks=(1,), progress=progress)
    return list(read_verdicts(folder))


def _percent(verdicts: list[Verdict]) -> float:
    tallies: dict[str, Tally] = {}
    for verdict in verdicts:
        tallies.setdefault(verdict.task_id, Tally(task_id=verdict.task_id)).add(verdict)
    values = [estimate_pass_at_k(tally.scored, tally.passed, 1) for tally in tallies.values() if tally.scored]
    return 100.0 * sum(values) / len(values) if values else 0.0


def _published(path: Path, results: _Results) -> tuple[float, str]:
    """The published percentage; without result.json what the recorded statuses come to."""
    beside = path.with_name(PUBLISHED)
    if beside.exists():
        try:
            return float(msgspec.json.decode(beside.read_bytes())["humaneval"]["pass@1"]), ""
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise BadInput(str(beside), f"it has no humaneval pass@1: {error!r}") from error
    shares = [sum(recorded.base_status == "pass" for recorded in samples) / len(samples) for samples in results.eval.values()]
    return 100.0 * sum(shares) / len(shares), f"no {PUBLISHED} there: published is what the recorded statuses come to"


def _read_results(path: Path) -> _Results:
    try:
        results = msgspec.json.decode(read_plain(path), type=_Results)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(str(path), f"not results as EvalPlus writes them: {error}") from error
    if not results.eval or not all(results.eval.values()):
        raise BadInput(str(path), "a problem has no result, or there are no results at all")
    return results


def _find_dataset(data: Path | None, dataset: Path | None) -> Dataset:
    """HumanEval from where it was said to be, else from `data` or a folder above it, else from `GROUNDRUN_DATA`."""
    if dataset is not None:
        return load_humaneval(dataset)
    for place in _upwards(data):
        try:
            return load_humaneval(place)
        except DatasetMissing:
            continue
    return load_humaneval()


def _upwards(data: Path | None) -> Iterator[Path]:
    if data is not None:
        yield from (place for place in (data.resolve(), *data.resolve().parents[:4]) if place.is_dir())


def _find_recordings(data: Path | None, problems: Path) -> list[Path]:
    place = data or problems.parent.parent
    if place.is_file():
        return [place.with_name(RESULTS) if place.name in (PUBLISHED, GENERATED) else place]
    for pattern in (RESULTS, f"humaneval/{RESULTS}", f"evalplus/humaneval/{RESULTS}", f"*/evalplus/humaneval/{RESULTS}"):
        found = sorted(place.glob(pattern))
        if found:
            return found
    raise BadInput(
        str(place), f"no {RESULTS} in it, nor in evalplus/humaneval/ or MODEL/evalplus/humaneval/", hint="name the folder with --data"
    )


def _label(results: Path) -> str:
    """The model's name: the folder above `evalplus/humaneval`, else the folder that the file lies in."""
    parts = results.resolve().parts
    return parts[-4] if parts[-3:-1] == ("evalplus", "humaneval") else parts[-2]


def _name(what: str, task_ids: list[str]) -> str:
    return f"{what}: {', '.join(task_ids)}" if task_ids else ""


def _compare(row: str, published: float, measured: float, tolerance: float, note: str) -> Row:
    ok = abs(measured - published) <= tolerance + 1e-9
    return Row(system=SYSTEM, row=row, published=published, measured=round(measured, 4), tolerance=tolerance, ok=ok, note=note)
