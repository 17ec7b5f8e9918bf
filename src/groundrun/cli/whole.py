"""The race over whole benchmarks: one model's samples of HumanEval+ and MBPP+, judged by EvalPlus's own command and by ours.

Every turn is a process and a cgroup of its own. EvalPlus's is `python -m evalplus.evaluate` as its authors release it, with a fresh home:
the first, cold, time it computes what the references return and keeps that; the second, warm, it finds it there. Ours is `groundrun eval`
into a fresh folder with every guard on; it keeps nothing, so that each of its turns is cold. Both read the same files, uncompressed,
and give an input the same time.

EvalPlus's command sleeps on in twenty-second steps after its scores are written. `wall_s` is of the whole command and `scores_s` ends when
its results were written (ours goes on to draw its page); `ratio_to` compares the former with ours, `ratio_to_scores` the latter.
It downloads nothing: data and samples are named to it, and both are local. No number here is a promise about another machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import msgspec

from groundrun.benchmarks.dataset import open_plain
from groundrun.benchmarks.evalplus import BASE, HUMANEVAL_PLUS, MBPP_PLUS, PLUS
from groundrun.benchmarks.store import METRICS, read_verdicts
from groundrun.cli.datasets import load_benchmark
from groundrun.cli.race import LeftOut, find_runners, make_cgroup
from groundrun.errors import DatasetMissing, EngineError, UsageError

TURN_TIMEOUT_S = 1800.0
OURS = "groundrun"
COLD, WARM = "cold", "warm"
Statuses = dict[str, tuple[bool, bool]]
"""Of each task, whether it passed its base and its plus inputs."""


class Course(msgspec.Struct, frozen=True):
    """One benchmark of the race: our name and version, EvalPlus's name, and the variable that tells EvalPlus where the data are."""

    benchmark: str
    version: str
    dataset: str
    variable: str

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.benchmark} {self.version}"


COURSES = (
    Course(HUMANEVAL_PLUS, "v0.1.9", "humaneval", "HUMANEVAL_OVERRIDE_PATH"),
    Course(MBPP_PLUS, "v0.1.0", "mbpp", "MBPP_OVERRIDE_PATH"),
)


class Entrant(msgspec.Struct, frozen=True):
    """Who runs: `key` is what --only takes; `options` follow EvalPlus's command; `warm` says whether it runs a second time."""

    key: str
    name: str
    options: tuple[str, ...] = ()
    warm: bool = True


class Stage(msgspec.Struct, frozen=True):
    """What all who run a course are given: the data and the samples, uncompressed."""

    course: Course
    data: str
    samples: str


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What one command did."""

    wall_s: float
    scores_s: float
    cpu_s: float | None
    statuses: Statuses


class WholeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One entrant on one benchmark: medians over the rounds, scores in percent of the last round.

    `agree` is (tasks whose base and plus statuses are ours of the same round, tasks), the fewest of all rounds; `differing` names the
    others.
    """

    key: str
    name: str
    mode: str
    benchmark: str
    wall_s: float
    scores_s: float
    cpu_s: float | None
    base_percent: float
    plus_percent: float
    agree: tuple[int, int] | None = None
    differing: tuple[str, ...] = ()


class WholeRace(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. The ratios are of seconds summed over all benchmarks, EvalPlus's over ours, by entrant and mode."""

    model: str
    benchmarks: tuple[str, ...]
    workers: int
    rounds: int
    rows: tuple[WholeRow, ...]
    ratio_to: dict[str, float]
    ratio_to_scores: dict[str, float]
    left_out: tuple[LeftOut, ...]


def list_entrants(workers: int) -> tuple[Entrant, ...]:
    """Ours, EvalPlus as it comes, and EvalPlus with as many at once as we have."""
    return (
        Entrant(OURS, "groundrun", warm=False),
        Entrant("evalplus", "EvalPlus"),
        Entrant("evalplus_parallel", "EvalPlus", ("--parallel", str(workers))),
    )


ENTRANTS = tuple(entrant.key for entrant in list_entrants(1))


def race_whole(
    data: Path | None,
    *,
    model: str | None,
    only: Sequence[str],
    workers: int,
    rounds: int,
    tell: Callable[[str], None] = lambda _: None,
) -> WholeRace:
    """Run every entrant on every benchmark, round after round, interleaved.

    data: a folder with EvalPlus's data and `MODEL/evalplus/{humaneval,mbpp}/generated.jsonl[.gz]` in it; None for `GROUNDRUN_DATA`.
    Raises UsageError and kin where nothing can be run, EngineError when a command fails.
    """
    find_runners()
    entrants = [entrant for entrant in list_entrants(workers) if not only or entrant.key in only]
    turns: dict[tuple[str, str, str], list[Turn]] = {}
    with tempfile.TemporaryDirectory(prefix="groundrun-race-") as name:
        label, stages, left_out = prepare_stages(data, model, Path(name))
        missing = find_missing_peer() if any(entrant.key != OURS for entrant in entrants) else ""
        if missing:
            left_out += [LeftOut(entrant.key, missing) for entrant in entrants if entrant.key != OURS]
            entrants = [entrant for entrant in entrants if entrant.key == OURS]
        for number in range(rounds):
            for stage in stages:
                for entrant in entrants:
                    tell(f"round {number + 1} of {rounds}: {stage.course.benchmark}, {entrant.name} {' '.join(entrant.options)}".rstrip())
                    with tempfile.TemporaryDirectory(prefix="turn-", dir=name) as place:
                        for mode, turn in _take_turns(entrant, stage, Path(place), workers):
                            turns.setdefault((entrant.key, mode, stage.course.title), []).append(turn)
    rows = summarize_whole(turns, entrants)
    return WholeRace(
        model=label,
        benchmarks=tuple(stage.course.title for stage in stages),
        workers=workers,
        rounds=rounds,
        rows=rows,
        ratio_to=compare_whole(rows, lambda row: row.wall_s),
        ratio_to_scores=compare_whole(rows, lambda row: row.scores_s),
        left_out=tuple(left_out),
    )


def prepare_stages(data: Path | None, model: str | None, folder: Path) -> tuple[str, list[Stage], list[LeftOut]]:
    """The model, the benchmarks of which both data and samples are there, uncompressed in `folder`, and why others are left out."""
    place = data or Path(os.environ.get("GROUNDRUN_DATA", ""))
    if not (data or os.environ.get("GROUNDRUN_DATA")) or not place.is_dir():
        raise UsageError(f"there are no recorded samples in {str(data or '')!r}: name their folder with --data or GROUNDRUN_DATA")
    models = sorted({path.parents[2].name for path in place.glob("*/evalplus/*/generated.jsonl*")})
    if not models or model not in (None, *models):
        wanted = f"of {model!r}" if model else "of any model (MODEL/evalplus/humaneval/generated.jsonl)"
        raise UsageError(f"{place} has no samples {wanted}: it has {', '.join(models) or 'none'}")
    label = model or models[0]
    stages, left_out = [], []
    for course in COURSES:
        found = sorted((place / label / "evalplus" / course.dataset).glob("generated.jsonl*"))
        if not found:
            left_out.append(LeftOut(course.title, f"{place / label} has no samples of it (evalplus/{course.dataset}/generated.jsonl)"))
            continue
        try:
            source = Path(load_benchmark(course.benchmark, place, version=course.version).path)
        except DatasetMissing as error:
            left_out.append(LeftOut(course.title, str(error)))
            continue
        stage = Stage(course, str(folder / f"{course.benchmark}.jsonl"), str(folder / f"{course.dataset}-samples.jsonl"))
        _copy_plain(source, Path(stage.data))
        _copy_plain(found[0], Path(stage.samples))
        stages.append(stage)
    if not stages:
        raise UsageError(f"nothing can be judged: {'; '.join(each.why for each in left_out)}")
    return label, stages, left_out


def find_missing_peer() -> str:
    """Why EvalPlus can't run here, in a sentence; empty when it can. Trying also brings its files into memory, outside of any clock."""
    python = _peer_python()
    if not python.exists():
        return "EvalPlus is not installed: 'make bench' installs it into .venv-bench"
    tried = subprocess.run([str(python), "-c", "import evalplus.evaluate, fire"], capture_output=True, text=True, errors="replace")
    last = (tried.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return "" if tried.returncode == 0 else f"EvalPlus can't be imported by {python} ({last}): 'make bench' installs what it needs"


def summarize_whole(turns: Mapping[tuple[str, str, str], Sequence[Turn]], entrants: Sequence[Entrant]) -> tuple[WholeRow, ...]:
    """A row of each entrant, mode and benchmark; agreement is round by round with ours."""
    named = {entrant.key: entrant for entrant in entrants}
    rows = []
    for (key, mode, benchmark), taken in turns.items():
        ours = turns.get((OURS, COLD, benchmark), [])
        pairs = [(turn.statuses, other.statuses) for turn, other in zip(taken, ours, strict=False)] if key != OURS else []
        differing = [{task for task in theirs.keys() | known.keys() if theirs.get(task) != known.get(task)} for theirs, known in pairs]
        cpu = [turn.cpu_s for turn in taken if turn.cpu_s is not None]
        last, total = taken[-1].statuses, len(taken[-1].statuses)
        rows.append(
            WholeRow(
                key=key,
                name=named[key].name,
                mode=" ".join((mode, *named[key].options)),
                benchmark=benchmark,
                wall_s=round(median(turn.wall_s for turn in taken), 2),
                scores_s=round(median(turn.scores_s for turn in taken), 2),
                cpu_s=round(median(cpu), 2) if len(cpu) == len(taken) else None,
                base_percent=round(100 * sum(base for base, _ in last.values()) / total, 1),
                plus_percent=round(100 * sum(base and plus for base, plus in last.values()) / total, 1),
                agree=(total - max(map(len, differing)), total) if differing else None,
                differing=tuple(sorted(set().union(*differing), key=_natural)),
            )
        )
    return tuple(rows)


def compare_whole(rows: Sequence[WholeRow], seconds: Callable[[WholeRow], float]) -> dict[str, float]:
    """`seconds` of each entrant and mode, summed over the benchmarks, over ours; empty without our rows."""
    ours = sum(seconds(row) for row in rows if row.key == OURS)
    totals: dict[str, float] = {}
    for row in rows:
        if row.key != OURS:
            name = f"{row.key}_{row.mode.split()[0]}"
            totals[name] = totals.get(name, 0.0) + seconds(row)
    return {name: round(total / ours, 2) for name, total in totals.items()} if ours else {}


def read_ours(folder: Path) -> Statuses:
    """The statuses of a run folder's first samples. Raises EngineError where one was masked by a fault of ours."""
    statuses = {}
    for verdict in read_verdicts(folder):
        if verdict.passed is None:
            raise EngineError(f"{verdict.task_id} was not judged: {verdict.reason}")
        if verdict.sample == 0:
            found = {test.name: test.passed is True for test in verdict.tests}
            statuses[verdict.task_id] = (found.get(BASE, True), found.get(PLUS, True))
    return statuses


class _Status(msgspec.Struct):
    base_status: str
    plus_status: str | None


class _Results(msgspec.Struct):
    eval: dict[str, list[_Status]]


def read_theirs(path: Path) -> Statuses:
    """The statuses of the first samples in a file of results as EvalPlus writes it."""
    results = msgspec.convert(json.loads(path.read_bytes()), _Results)  # the standard library's: inputs that failed may be Infinity
    return {task_id: (found[0].base_status == "pass", found[0].plus_status == "pass") for task_id, found in results.eval.items()}


class _Measured(msgspec.Struct):
    """What `bench.whole` wrote."""

    status: int | None
    began: float = 0.0
    wall_s: float = 0.0
    cpu_s: float | None = None


def _take_turns(entrant: Entrant, stage: Stage, place: Path, workers: int) -> list[tuple[str, Turn]]:
    """An entrant's turns on one benchmark in one round, with a home of its own."""
    home = place / "home"
    home.mkdir()
    env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LANG": "C.UTF-8", "HF_HUB_OFFLINE": "1"}
    if entrant.key == OURS:
        out = place / "run"
        what = [stage.course.benchmark, "--dataset-version", stage.course.version, "--data", stage.data, "--samples", stage.samples]
        command = [sys.executable, "-m", "groundrun", "eval", *what, "--workers", str(workers), "--out", str(out)]
        return [(COLD, _run(command, env, place, results=out / METRICS, waits=False, read=lambda _: read_ours(out)))]
    samples = place / "samples.jsonl"
    shutil.copyfile(stage.samples, samples)
    results = place / "samples_eval_results.json"
    command = [str(_peer_python()), "-m", "evalplus.evaluate", "--dataset", stage.course.dataset, "--samples", str(samples)]
    command += entrant.options
    env[stage.course.variable] = stage.data
    turns = []
    for mode in (COLD, WARM) if entrant.warm else (COLD,):
        results.unlink(missing_ok=True)
        turns.append((mode, _run(command, env, place, results=results, waits=True, read=read_theirs)))
    return turns


def _run(command: list[str], env: dict[str, str], place: Path, *, results: Path, waits: bool, read: Callable[[Path], Statuses]) -> Turn:
    """One command, measured from outside. Raises EngineError when it fails, with its last words."""
    order, result, output = place / "order.json", place / "result.json", place / "output.txt"
    with make_cgroup() as made:
        cgroup, cpu_file = made or (None, None)
        given = {"command": command, "env": env, "cwd": str(place), "output": str(output), "waits": waits, "timeout_s": TURN_TIMEOUT_S}
        order.write_text(json.dumps({**given, "cgroup": cgroup, "cpu_file": cpu_file}), encoding="utf-8")
        launcher = [sys.executable, "-m", "bench.whole", str(order), str(result)]
        done = subprocess.run(launcher, cwd=find_runners(), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    found = msgspec.json.decode(result.read_bytes(), type=_Measured) if done.returncode == 0 else _Measured(status=done.returncode)
    if found.status != 0 or not results.exists():
        said = output.read_text(encoding="utf-8", errors="replace") if output.exists() else done.stderr
        last = (said.strip().splitlines() or ["it said nothing"])[-1]
        raise EngineError(f"{command[2]} ended with status {found.status} (None: past {TURN_TIMEOUT_S:g} s): {last}")
    return Turn(wall_s=found.wall_s, scores_s=results.stat().st_mtime - found.began, cpu_s=found.cpu_s, statuses=read(results))


def _copy_plain(source: Path, target: Path) -> None:
    with open_plain(source) as packed, target.open("wb") as plain:
        shutil.copyfileobj(packed, plain)


def _peer_python() -> Path:
    return find_runners() / ".venv-bench" / "bin" / "python"


def _natural(task_id: str) -> tuple[str, int]:
    name, _, number = task_id.rpartition("/")
    return name, int(number) if number.isdigit() else 0
