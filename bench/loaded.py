"""Are the scores the same while something else keeps every core busy?

python -m bench.loaded [--data PATH] [--model NAME] [--rounds 3]

Judges the recorded samples of one model on HumanEval+ and MBPP+ once as the machine is, and `rounds` times beside two busy loops per
core, each with groundrun's whole command into a fresh folder. Prints every problem that was decided otherwise, test by test, and ends
with status 1 if there is one. How many inputs were still asked after a failure may differ, is counted, and decides nothing.

Promises that the busy loops end with this process, whatever ends it, and that it ends: a command that takes longer than `--minutes` is
stopped, and that is status 3. Under the load a turn takes about three times its usual time; all of it, at 2 cores, less than half an hour.
Does not promise the machine to be calm when the first turn runs: that is whoever runs it to see to.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from groundrun.benchmarks.store import read_verdicts
from groundrun.cli.whole import Stage, prepare_stages
from groundrun.errors import GroundrunError
from groundrun.records import Verdict

LOOPS_PER_CORE = 2
BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n    sum(range(200_000))\n"
OUR_FAULT = 3
LEAVE_S = 30.0  # that a command which was interrupted has to end by itself


@contextlib.contextmanager
def keep_busy(loops: int) -> Iterator[list[int]]:
    """That many processes that do nothing but use a core; their ids. They end with the block, and with this process."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        started.extend(subprocess.Popen([sys.executable, "-I", "-c", BUSY, str(os.getpid())]) for _ in range(loops))
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def judge_samples(stage: Stage, folder: Path, *, seconds: float) -> dict[str, Verdict]:
    """The verdicts of groundrun's whole command. Raises RuntimeError when it fails or takes longer."""
    what = [stage.course.benchmark, "--dataset-version", stage.course.version, "--data", stage.data, "--samples", stage.samples]
    command = [sys.executable, "-m", "groundrun", "eval", *what, "--out", str(folder), "--json"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        try:
            _, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"groundrun eval took longer than {seconds:g} s: give it more --minutes") from None
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)  # so that it takes its jails down itself
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(LEAVE_S)
                process.kill()
    if process.returncode != 0:
        raise RuntimeError(f"groundrun eval ended with status {process.returncode}: {said.strip()[-500:]}")
    return {f"{verdict.task_id} sample {verdict.sample}": verdict for verdict in read_verdicts(folder)}


def compare(calm: dict[str, Verdict], busy: dict[str, Verdict]) -> tuple[list[str], int]:
    """A sentence for each problem that was decided otherwise, and the number of those where only the inputs reached differ."""
    differences, reached = [], 0
    for key in sorted(calm.keys() | busy.keys()):
        one, other = calm.get(key), busy.get(key)
        if one is None or other is None or _statuses(one) != _statuses(other):
            differences.append(f"{key}: {_describe(one)}; under load {_describe(other)}")
        else:
            reached += [test.inputs for test in one.tests] != [test.inputs for test in other.tests]
    return differences, reached


def _statuses(verdict: Verdict) -> list[tuple[str, bool | None]]:
    return [("", verdict.passed), *((test.name, test.passed) for test in verdict.tests)]


def _describe(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not judged"
    tests = ", ".join(f"{test.name} {_WORDS[test.passed]}" for test in verdict.tests)
    return f"{_WORDS[verdict.passed]} ({tests}; {verdict.outcome.value}; {verdict.reason}; {verdict.cost.cpu_s:.2f} s of processor time)"


_WORDS = {True: "passed", False: "failed", None: "undecided"}


def _stop(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def main() -> int:
    """Read the options, judge, compare; 1 when anything was decided otherwise."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--data", type=Path)
    options.add_argument("--model")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--minutes", type=float, default=20.0, help="that one command may take")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    cores = len(os.sched_getaffinity(0))
    found = 0
    try:
        with tempfile.TemporaryDirectory(prefix="groundrun-loaded-") as name:
            model, stages, _ = prepare_stages(given.data, given.model, Path(name))
            for stage in stages:
                title = f"{model}, {stage.course.title}"
                calm = judge_samples(stage, Path(name) / f"{stage.course.benchmark}-calm", seconds=60 * given.minutes)
                print(f"{title}, as it is: {sum(verdict.passed is True for verdict in calm.values())} of {len(calm)} passed", flush=True)
                for number in range(1, given.rounds + 1):
                    with keep_busy(LOOPS_PER_CORE * cores):
                        busy = judge_samples(stage, Path(name) / f"{stage.course.benchmark}-{number}", seconds=60 * given.minutes)
                    differences, reached = compare(calm, busy)
                    passed = sum(verdict.passed is True for verdict in busy.values())
                    print(
                        f"{title}, beside {LOOPS_PER_CORE * cores} busy loops, round {number}: {passed} of {len(busy)} passed,"
                        f" {len(differences)} decided otherwise ({reached} more were asked another number of inputs after failing)",
                        flush=True,
                    )
                    print("".join(f"  {each}\n" for each in differences), end="", flush=True)
                    found += len(differences)
    except (GroundrunError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, GroundrunError) else OUR_FAULT
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
