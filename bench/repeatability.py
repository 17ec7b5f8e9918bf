"""How repeatable is a cost: counts beside processor time, and what counting costs.

python -m bench.repeatability [--data PATH] [--python PATH]... [--runs 5] [--busy] [--json]

Runs the references of the starter set with their own tests, and those of HumanEval where its data is on this machine, `runs` times
counted and `runs` times plain, taking turns. For each interpreter: the programs whose counts were the same number every time, how far the
processor time of the same program wandered ((most - least) / median), and how much longer a program ran when counted, in the middle and
for a loop that does nothing but events, the worst case. A second interpreter's counts are held against the first one's. `--busy` adds two
busy loops per core. Where valgrind is installed, a small executable is counted too.

Does not promise the machine to be calm, nor that processor times are those of another one; counts are.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from bench.loaded import LOOPS_PER_CORE, keep_busy
from groundrun.benchmarks.humaneval import load_humaneval
from groundrun.engine import Engine, Job
from groundrun.engine.native_cost import NativeCounter
from groundrun.errors import DatasetMissing, HostRefused
from groundrun.records import CallTest, CodeTest, CostMode, Counts, Execution, Limits, Outcome, Problem, Program, StdioTest
from groundrun.starter import load_starter

LOOP = "s = 0\nfor i in range(1_000_000):\n    if i & 1:\n        s += 1\n"
C_SOURCE = (
    '#include <stdio.h>\nint main(void) { volatile long s = 0; for (long i = 0; i < 3000000; i++) s += i * i; printf("%ld\\n", s); }\n'
)
LIMITS = Limits(cpu_s=60, wall_s=300)


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One program to run again and again."""

    name: str
    job: Job


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What was found for one set of programs under one interpreter. Ratios: 1.0 is no difference. `spread`: (most - least) / median.

    Of the programs whose counts differed, those that name `random` stand in `drawing`, the others in `differing`.
    """

    programs: str
    python: str
    counter: str
    runs: int
    n: int
    identical: int
    differing: tuple[str, ...]
    drawing: tuple[str, ...] = ()
    cpu_spread_median: float
    cpu_spread_worst: float
    slowdown_median: float
    slowdown_worst: float
    against_first_median: float | None = None
    against_first_p90: float | None = None


def starter_subjects() -> list[Subject]:
    """The references of the starter set; each with those of its tests that can be written into the program."""
    return [made for starter in load_starter() if (made := _as_subject(starter.problem)) is not None]


def humaneval_subjects(data: Path | None) -> list[Subject]:
    """The canonical solutions of HumanEval with their tests. Raises DatasetMissing."""
    return [made for problem in load_humaneval(data).problems if (made := _as_subject(problem)) is not None]


def _as_subject(problem: Problem) -> Subject | None:
    source, stdin = problem.reference or "", b""
    tests = (*problem.visible, *problem.hidden)
    for test in tests:
        if isinstance(test, CodeTest):
            source += f"\n{test.source}\n" + (f"{test.call}({problem.entry_point})\n" if test.call else "")
        elif isinstance(test, CallTest):
            source += f"\n{problem.entry_point}(*{test.arguments}, **{test.keywords})\n"
    readable = [test for test in tests if isinstance(test, StdioTest)]
    if readable:
        stdin = readable[-1].stdin.encode()
    return Subject(name=problem.task_id, job=Job(program=Program(source, files=problem.files), stdin=stdin, limits=LIMITS))


def measure(programs: str, subjects: list[Subject], *, python: str, runs: int, first: dict[str, Counts]) -> tuple[Row, dict[str, Counts]]:
    """Run all of them; the row, and each program's counts."""
    found: dict[str, Counts] = {}
    differing: list[str] = []
    drawing: list[str] = []
    spreads, slowdowns, against = [], [], []
    with Engine(workers=1, python=python) as engine:
        for subject in subjects:
            counted_job = msgspec.structs.replace(subject.job, cost=CostMode.COUNTS)
            pairs = [(engine.run(subject.job), engine.run(counted_job)) for _ in range(runs)]
            plain, counted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            _check(subject, [*plain, *counted])
            counts = [execution.cost.counts for execution in counted]
            if counts[0] is None or any(each != counts[0] for each in counts):
                (drawing if "random" in subject.job.program.source else differing).append(subject.name)
            if counts[0] is not None:
                found[subject.name] = counts[0]
                if subject.name in first:
                    against.append(abs(counts[0].events / first[subject.name].events - 1))
            spent = [execution.cost.cpu_s for execution in plain]
            middle = statistics.median(spent)
            spreads.append((max(spent) - min(spent)) / middle)
            slowdowns.append(statistics.median(execution.cost.cpu_s for execution in counted) / middle)
    some = next(iter(found.values()), None)
    row = Row(
        programs=programs,
        python=some.python if some else python,
        counter=some.counter.value if some else "none",
        runs=runs,
        n=len(subjects),
        identical=len(subjects) - len(differing) - len(drawing),
        differing=tuple(differing),
        drawing=tuple(drawing),
        cpu_spread_median=statistics.median(spreads),
        cpu_spread_worst=max(spreads),
        slowdown_median=statistics.median(slowdowns),
        slowdown_worst=max(slowdowns),
        against_first_median=statistics.median(against) if against else None,
        against_first_p90=statistics.quantiles(against, n=10)[-1] if len(against) > 1 else None,
    )
    return row, found


def _check(subject: Subject, executions: list[Execution]) -> None:
    for execution in executions:
        if execution.outcome is not Outcome.OK:
            raise RuntimeError(f"{subject.name} ended as {execution.outcome.value}: {execution.stderr.decode('utf-8', 'replace')[-500:]}")


def measure_native(runs: int) -> Row | None:
    """The same for a small executable in C; None without a compiler or a counter."""
    with tempfile.TemporaryDirectory() as place:
        source, made = Path(place, "main.c"), Path(place, "main")
        source.write_text(C_SOURCE)
        try:
            subprocess.run(["cc", "-O1", "-o", str(made), str(source)], check=True, capture_output=True, timeout=60)
            executable = made.read_bytes()
            counter = NativeCounter()
        except (OSError, subprocess.SubprocessError, HostRefused):
            return None
    plain_job = Job(
        program=Program("import os\nos.chmod('main', 0o755)\nos.execv('./main', ['main'])", files={"main": executable}), limits=LIMITS
    )
    with counter, Engine(workers=1, isolation="namespaces") as engine:
        counted = [counter.count(executable) for _ in range(runs)]
        spent = [engine.run(plain_job).cost.cpu_s for _ in range(runs)]
    same = counted[0].cost.counts is not None and all(each.cost.counts == counted[0].cost.counts for each in counted)
    middle = statistics.median(spent)
    slowdown = statistics.median(execution.cost.cpu_s for execution in counted) / middle
    return Row(
        programs="a loop in C",
        python="",
        counter=counter.counter.value,
        runs=runs,
        n=1,
        identical=int(same),
        differing=() if same else ("main.c",),
        cpu_spread_median=(max(spent) - min(spent)) / middle,
        cpu_spread_worst=(max(spent) - min(spent)) / middle,
        slowdown_median=slowdown,
        slowdown_worst=slowdown,
    )


def run_all(*, pythons: list[str], runs: int, data: Path | None) -> list[Row]:
    """Every set of programs under every interpreter."""
    sets = {"starter": starter_subjects()}
    with contextlib.suppress(DatasetMissing):
        sets["humaneval"] = humaneval_subjects(data)
    sets["a loop"] = [Subject(name="a loop", job=Job(program=Program(LOOP), limits=LIMITS))]
    rows: list[Row] = []
    for programs, subjects in sets.items():
        first: dict[str, Counts] = {}
        for python in pythons:
            row, found = measure(programs, subjects, python=python, runs=runs, first=first)
            first = first or found
            rows.append(row)
    native = measure_native(runs)
    return [*rows, *([native] if native else [])]


def show(row: Row) -> str:
    """One line for people."""
    name = f"{row.programs}, {row.counter}" + (f" {row.python}" if row.python else "")
    line = f"{name}: {row.identical} of {row.n} the same in {row.runs} runs; "
    line += f"CPU time wandered {row.cpu_spread_median:.0%} (worst {row.cpu_spread_worst:.0%})"
    line += f"; counted / plain {row.slowdown_median:.2f}x (worst {row.slowdown_worst:.1f}x)"
    if row.against_first_median is not None:
        line += f"; from the first interpreter {row.against_first_median:.1%}"
        line += f", in 90 % of them at most {row.against_first_p90:.1%}" if row.against_first_p90 is not None else ""
    line += f"\n  these draw at random without a seed, and differed: {', '.join(row.drawing)}" if row.drawing else ""
    return line + "".join(f"\n  differs: {each}" for each in row.differing)


def main() -> int:
    """Measure and print; 1 when a count differed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.repeatability", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--python", action="append", dest="pythons", metavar="PATH")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    loops = LOOPS_PER_CORE * len(os.sched_getaffinity(0)) if chosen.busy else 0
    with keep_busy(loops):
        rows = run_all(pythons=chosen.pythons or [sys.executable], runs=max(chosen.runs, 2), data=chosen.data)
    if chosen.json:
        print(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
    else:
        print("\n".join(map(show, rows)))
    return int(any(row.differing for row in rows))


if __name__ == "__main__":
    sys.exit(main())
