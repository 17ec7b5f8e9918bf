"""groundrun's own rows: the engine on both rungs with every guard on, and the judge that keeps the tests out of the candidate's process.

One Engine in one process, driven by as many threads as it has workers, which is how the peers are driven too. The judge's
calibration, once per problem in real use, is outside the clock; a check then runs candidate and grader in two jails. The row with
a grader per problem judges `CANDIDATES` candidates of each in a row, as evaluations with several samples do; the other has another
problem every time.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.lineup import Contestant, Lineup, Missing
from bench.task import Task


@contextlib.contextmanager
def run_engine(tasks: Sequence[Task], workers: int, *, rung: str) -> Iterator[Lineup]:
    """The whole program in one jail; it passed when it ended well."""
    from groundrun.engine import Engine
    from groundrun.errors import HostRefused
    from groundrun.records import Outcome

    with Engine(workers=workers, isolation=rung) as engine, ThreadPoolExecutor(workers) as pool:
        try:
            engine.run("")
        except HostRefused as error:
            raise Missing(str(error)) from error
        yield Lineup(tasks=tasks, check=lambda task: engine.run(task.program).outcome is Outcome.OK, pool=pool)


CANDIDATES = 10


@contextlib.contextmanager
def run_judge(tasks: Sequence[Task], workers: int, *, candidates: int) -> Iterator[Lineup]:
    """Candidate and tests in two jails, joined by a channel; so many candidates of a problem one after another."""
    from groundrun.engine import Engine
    from groundrun.errors import HostRefused
    from groundrun.judging import calibrate, judge
    from groundrun.records import CodeTest, Completion, Problem

    with Engine(workers=workers, isolation="namespaces") as engine, ThreadPoolExecutor(workers) as pool:
        try:
            engine.run("")
        except HostRefused as error:
            raise Missing(str(error)) from error
        problems = [
            Problem(
                task_id=task.task_id,
                prompt="",
                entry_point=task.entry_point,
                reference=task.solution,
                hidden=(CodeTest(source=task.check, call="check"),),
            )
            for task in tasks
        ]
        calibrations = pool.map(lambda problem: calibrate(engine, problem), problems)
        known = {problem.task_id: (problem, calibration) for problem, calibration in zip(problems, calibrations, strict=True)}

        def check(task: Task) -> bool:
            problem, calibration = known[task.task_id]
            completion = Completion(task_id=task.task_id, text=task.solution, solution=task.solution)
            verdict = judge(engine, problem, completion, calibration)
            return verdict.passed is True and verdict.protected

        yield Lineup(tasks=[task for task in tasks for _ in range(candidates)], check=check, pool=pool)


OURS: dict[str, Contestant] = {
    "namespaces": functools.partial(run_engine, rung="namespaces"),
    "landlock": functools.partial(run_engine, rung="landlock"),
    "judge": functools.partial(run_judge, candidates=CANDIDATES),
    "judge_fresh": functools.partial(run_judge, candidates=1),
}
