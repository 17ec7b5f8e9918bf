"""Published scores from recorded completions: recompute, compare, say where they differ.

`reproduce_humaneval` judges by HumanEval's own tests, `reproduce_evalplus` by HumanEval+ and MBPP+, in the version that a recording
names by its hash. What is read is what EvalPlus leaves beside a model's samples (`recordings`).

Exact: the recorded programs are run as EvalPlus built them, which is the prompt of HumanEval+ or MBPP+ followed by the completion; the
unbiased pass@1; the published rounding to one decimal, so the tolerance of a percentage is 0.05.
Exact too: expected values come from a process with another hash seed than the candidate's, as EvalPlus's cached ones do, so a program that
returns a set of strings as a list fails where the order counts (MBPP+ v0.1.0).
Ours: EvalPlus decided under a wall clock; we count processor time. HumanEval's `base_status` is EvalPlus's word on its base inputs, which
`reproduce_humaneval` holds against the data set's `check`. Rows of statuses count where both decide alike and name the others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from groundrun.benchmarks.dataset import Dataset
from groundrun.benchmarks.evalplus import BASE, PLUS, RELEASES, Release, find_release, load_humaneval_plus, load_mbpp_plus
from groundrun.benchmarks.humaneval import load_humaneval
from groundrun.benchmarks.metrics import Tally, estimate_pass_at_k
from groundrun.benchmarks.recordings import (
    GENERATED,
    Recorded,
    Recording,
    Suite,
    find_recordings,
    look_upwards,
    read_recording,
)
from groundrun.benchmarks.runner import Progress, evaluate
from groundrun.benchmarks.samples import SampleSet
from groundrun.benchmarks.store import StoredCompletion, read_verdicts
from groundrun.engine import Engine
from groundrun.errors import BadInput, DatasetMissing
from groundrun.models import Oracle
from groundrun.records import Verdict

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


class _Bench:
    """Where runs are made: an engine, a folder for run folders, and who watches. `system` names its rows."""

    def __init__(self, system: str, engine: Engine, folder: Path, progress: Progress | None) -> None:
        self.system, self._engine, self._folder, self._progress = system, engine, folder, progress

    def judge(
        self,
        dataset: Dataset,
        source: Oracle | Sequence[StoredCompletion],
        name: str,
        *,
        compat: str = "",
    ) -> list[Verdict]:
        """The verdicts of a run, in a run folder of that name."""
        folder = self._folder / name
        evaluate(dataset, source, self._engine, folder, ks=(1,), compat=compat, progress=self._progress)
        return list(read_verdicts(folder))

    def judge_by_cache(self, dataset: Dataset, source: Sequence[StoredCompletion], name: str, *, compat: str = "") -> list[Verdict]:
        """The same, where expected values come from a process with another hash seed, as those in EvalPlus's cache do."""
        folder = self._folder / name
        with self._engine.reseed(self._engine.hash_seed + 1) as references:
            evaluate(dataset, source, self._engine, folder, ks=(1,), compat=compat, references=references, progress=self._progress)
        return list(read_verdicts(folder))

    def compare(self, row: str, published: float, measured: float, tolerance: float, *notes: str) -> Row:
        """A row of the table."""
        ok = abs(measured - published) <= tolerance + 1e-9
        note = "; ".join(filter(None, notes))
        return Row(system=self.system, row=row, published=published, measured=round(measured, 4), tolerance=tolerance, ok=ok, note=note)

    def check_references(self, dataset: Dataset, row: str, name: str, *, compat: str = "") -> Row:
        """How many references pass, protected."""
        verdicts = self.judge(dataset, Oracle(), name, compat=compat)
        passed = sum(verdict.passed is True and verdict.protected for verdict in verdicts)
        failed = [verdict.task_id for verdict in verdicts if not (verdict.passed and verdict.protected)]
        left_out = [
            f"{verdict.task_id} ({test.inputs.count('x')} of {test.name})"
            for verdict in verdicts
            for test in verdict.tests
            if "x" in test.inputs
        ]
        return self.compare(
            row,
            len(dataset.problems),
            passed,
            0,
            dataset.warning,
            _name("not passed, or not protected", failed),
            _name("inputs left out because the reference's result is too large to cross", left_out),
        )

    def compare_statuses(
        self, row: str, recording: Recording, verdicts: Sequence[Verdict], test: str, status: Callable[[Recorded], str | None]
    ) -> Row:
        """How many recorded statuses our verdicts meet; `test` is the name of the test that decides, empty for all."""
        ours = {(verdict.task_id, verdict.sample): _passes(verdict, test) for verdict in verdicts}
        recorded = {(task_id, sample): status(each) == "pass" for task_id, sample, each in recording.samples()}
        differing = sorted(key[0] for key, passed in recorded.items() if ours[key] is not passed)
        return self.compare(row, len(recorded), len(recorded) - len(differing), 0, _name("decided otherwise", differing))


def reproduce_humaneval(
    engine: Engine,
    *,
    data: Path | None = None,
    dataset: Path | None = None,
    folder: Path | None = None,
    references: bool = True,
    progress: Progress | None = None,
) -> tuple[Row, ...]:
    """HumanEval: the rows of one recorded model, or of all that lie under `data` (None: `GROUNDRUN_DATA`).

    data: a results file, a folder that holds one, or a folder with `MODEL/evalplus/humaneval/` in it. dataset: where HumanEval is, when
    it is not found from `data` or `GROUNDRUN_DATA`. folder: keep the run folders here; None for a temporary place. references: with a row
    for the canonical solutions. Raises `DatasetMissing`, `BadInput`, and what `evaluate` raises.
    """
    problems = _find_dataset(load_humaneval, data, dataset)
    recordings = [read_recording(path) for path in find_recordings(data or Path(problems.path).parent.parent, Suite.HUMANEVAL)]
    with tempfile.TemporaryDirectory(prefix="groundrun-") as temporary:
        bench = _Bench("humaneval", engine, folder or Path(temporary), progress)
        rows = [bench.check_references(problems, "canonical solutions passed, protected", "references")] if references else []
        for recording in recordings:
            _refuse_unknown(recording, problems)
            programs = recording.programs()
            verdicts = bench.judge(problems, programs, recording.label)
            published, note = recording.published("humaneval", plus=False)
            missing = len(problems.problems) - len(recording.eval)
            notes = (
                note,
                f"problems without a recorded completion: {missing}" if missing else "",
                _other_prompts(recording, problems, programs),
                problems.warning,
            )
            rows += [
                bench.compare(f"{recording.label}: pass@1, percent", published, _percent(verdicts, ""), PERCENT_TOLERANCE, *notes),
                bench.compare_statuses(
                    f"{recording.label}: recorded base statuses met", recording, verdicts, "", lambda each: each.base_status
                ),
            ]
    return tuple(rows)


def reproduce_evalplus(
    engine: Engine,
    *,
    data: Path | None = None,
    dataset: Path | None = None,
    folder: Path | None = None,
    compat: str = "",
    references: bool = True,
    progress: Progress | None = None,
) -> tuple[Row, ...]:
    """HumanEval+ and MBPP+: references of every version that is found, then the recorded models in the version that they name.

    Arguments as in `reproduce_humaneval`; compat: `evalplus` for its wall-clock rules. Raises as there.
    """
    with tempfile.TemporaryDirectory(prefix="groundrun-") as temporary:
        bench = _Bench("evalplus", engine, folder or Path(temporary), progress)
        found = {release.md5: problems for release in RELEASES if (problems := _find_release(release, data, dataset, compat)) is not None}
        if not found:
            benchmark = RELEASES[0].benchmark
            raise DatasetMissing(benchmark.name, benchmark.address, tuple(map(str, filter(None, (dataset, data)))))
        rows = []
        for problems in found.values() if references else ():
            name = f"{problems.benchmark.name} {problems.benchmark.version}"
            rows.append(bench.check_references(problems, f"references of {name} passed, protected", f"references {name}", compat=compat))
        place = data or next(Path(problems.path) for problems in found.values()).parent.parent
        paths = {suite: _list_recordings(place, suite) for suite in Suite}
        if not any(paths.values()):
            find_recordings(place, Suite.HUMANEVAL)  # says what was looked for
        for suite, listed in paths.items():
            for path in listed:
                recording = read_recording(path)
                release = find_release(recording.hash)
                if release is None or release.md5 not in found:
                    wanted = f"{release.benchmark.name} {release.benchmark.version}" if release else "no version that is known"
                    raise BadInput(str(path), f"it was judged with {wanted} (hash {recording.hash})", hint="put that version beside it")
                rows += _compare_recording(bench, recording, suite, found[release.md5], compat)
    return tuple(rows)


def _compare_recording(bench: _Bench, recording: Recording, suite: Suite, dataset: Dataset, compat: str) -> list[Row]:
    _refuse_unknown(recording, dataset)
    verdicts = bench.judge_by_cache(dataset, recording.programs(), f"{recording.label} {suite}", compat=compat)
    version = f"{dataset.benchmark.name} {dataset.benchmark.version}"
    base, note = recording.published(suite.value, plus=False)
    plus, _ = recording.published(f"{suite}+", plus=True)
    missing = len(dataset.problems) - len(recording.eval)
    notes = (note, f"problems without a recorded completion: {missing}" if missing else "", dataset.warning)
    label = f"{recording.label}, {version}"
    return [
        bench.compare(f"{label}: pass@1 of base tests, percent", base, _percent(verdicts, BASE), PERCENT_TOLERANCE, *notes),
        bench.compare(f"{label}: pass@1, percent", plus, _percent(verdicts, ""), PERCENT_TOLERANCE, *notes),
        bench.compare_statuses(f"{label}: recorded base statuses met", recording, verdicts, BASE, lambda each: each.base_status),
        bench.compare_statuses(f"{label}: recorded plus statuses met", recording, verdicts, PLUS, lambda each: each.plus_status),
    ]


def _passes(verdict: Verdict, test: str) -> bool | None:
    """Whether all tests of that name passed; a problem without such a test is decided by the others."""
    named = [each.passed for each in verdict.tests if each.name == test]
    return all(each is True for each in named) if named and verdict.passed is not None else verdict.passed


def _percent(verdicts: Sequence[Verdict], test: str) -> float:
    tallies: dict[str, Tally] = {}
    for verdict in verdicts:
        narrowed = msgspec.structs.replace(verdict, passed=_passes(verdict, test))
        tallies.setdefault(verdict.task_id, Tally(task_id=verdict.task_id)).add(narrowed)
    values = [estimate_pass_at_k(tally.scored, tally.passed, 1) for tally in tallies.values() if tally.scored]
    return 100.0 * sum(values) / len(values) if values else 0.0


def _other_prompts(recording: Recording, dataset: Dataset, programs: Sequence[StoredCompletion]) -> str:
    """Which recorded programs are not HumanEval's prompt + completion: HumanEval+ changed some prompts. Empty without the completions."""
    generated = recording.path.with_name(GENERATED)
    if not generated.exists():
        return ""
    built = {(made.task_id, made.sample): made.solution for made in SampleSet(generated, dataset.problems, skip_bad=True)}
    other = [program.task_id for program in programs if built.get((program.task_id, program.sample), program.solution) != program.solution]
    return _name("judged as recorded, with the prompt of HumanEval+", other)


def _refuse_unknown(recording: Recording, dataset: Dataset) -> None:
    unknown = sorted(set(recording.eval) - {problem.task_id for problem in dataset.problems})
    if unknown:
        raise BadInput(str(recording.path), f"unknown task_id {unknown[0]!r}: these are not results of {dataset.benchmark.name}")


def _find_dataset(load: Callable[[Path | None], Dataset], data: Path | None, dataset: Path | None) -> Dataset:
    """A data set from where it was said to be, else from `data` or a folder above it, else from `GROUNDRUN_DATA`."""
    if dataset is not None:
        return load(dataset)
    for place in look_upwards(data):
        try:
            return load(place)
        except DatasetMissing:
            continue
    return load(None)


def _find_release(release: Release, data: Path | None, dataset: Path | None, compat: str) -> Dataset | None:
    """The data of a release, None where it is not at hand."""
    benchmark = release.benchmark
    load = load_mbpp_plus if benchmark.name == "mbpp_plus" else load_humaneval_plus
    try:
        found = _find_dataset(lambda place: load(place, version=benchmark.version, compat=compat), data, dataset)
    except DatasetMissing:
        return None
    return None if found.warning else found


def _list_recordings(place: Path, suite: Suite) -> list[Path]:
    try:
        return find_recordings(place, suite)
    except BadInput:
        return []


def _name(what: str, task_ids: list[str]) -> str:
    return f"{what}: {', '.join(task_ids)}" if task_ids else ""
