"""Time limits are not decided while other programs run beside."""

from __future__ import annotations

import pytest

from groundrun.engine import Engine, Job
from groundrun.judging import Calibration, calibrate, judge
from groundrun.judging.calibration import plan_calibration
from groundrun.judging.steps import Alone, Pair, Plan, Step, _decide_limits
from groundrun.records import (
    CallTest,
    CodeTest,
    Completion,
    Cost,
    CpuSource,
    Execution,
    Isolation,
    Limits,
    MemoryGuard,
    Outcome,
    Problem,
    Program,
    Rung,
)

LIMITS = Limits(cpu_s=4, wall_s=9)
ISOLATION = Isolation(rung=Rung.NONE, memory_guard=MemoryGuard.NOTHING, cpu_guard=CpuSource.NOTHING)
JOB = Job(program=Program("pass"), limits=LIMITS)


def plan_of(step: Step) -> Plan[Execution]:
    done = yield step
    return done[0]


def ended(outcome: Outcome, cpu_s: float) -> tuple[Execution, ...]:
    return (Execution(outcome=outcome, isolation=ISOLATION, cost=Cost(cpu_s=cpu_s)),)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("outcome", "cpu_s", "again"),
    [
        (Outcome.OK, 3.9, False),
        (Outcome.OK, 4.1, True),
        (Outcome.RAISED, 4.9, True),
        (Outcome.CPU_LIMIT, 5.0, False),
        (Outcome.WALL_LIMIT, 0.1, False),
        (Outcome.WALL_LIMIT, 2.5, True),
        (Outcome.MEMORY_LIMIT, 1.0, False),
    ],
)
def test_what_ends_near_a_limit_is_run_again_alone(outcome: Outcome, cpu_s: float, again: bool) -> None:
    with Engine(isolation="none", limits=LIMITS) as engine:
        for step in (JOB, Pair(JOB, Job(program=Program("")))):
            plan = _decide_limits(engine, plan_of(step))
            first = next(plan)
            job = first.candidate if isinstance(first, Pair) else first
            assert isinstance(job, Job) and job.limits is not None
            assert (job.limits.cpu_s, job.limits.wall_s) == (5.0, 9)
            if again:
                assert plan.send(ended(outcome, cpu_s)) == Alone(step)
                outcome_again, cpu_again = Outcome.OK, 3.0
            else:
                outcome_again, cpu_again = outcome, cpu_s
            with pytest.raises(StopIteration) as end:
                plan.send(ended(outcome_again, cpu_again))
            assert end.value.value.cost.cpu_s == cpu_again


@pytest.mark.exec
def test_alone_means_that_nothing_else_runs(engine: Engine) -> None:
    source = "import time\na = time.monotonic()\ntime.sleep(0.1)\nprint(a, time.monotonic())\n"
    runs = [engine.submit(source, alone=number in (3, 4)) for number in range(8)]
    spans = [tuple(map(float, run.result().text.split())) for run in runs]
    for number in (3, 4):
        begin, end = spans[number]
        assert all(other_end <= begin or other_begin >= end for n, (other_begin, other_end) in enumerate(spans) if n != number)


@pytest.mark.exec
def test_an_endless_candidate_fails_by_its_limit(engine: Engine) -> None:
    problem = Problem(
        task_id="t/1",
        prompt="",
        entry_point="f",
        reference="def f(x): return x",
        hidden=(CallTest(arguments="(1,)", expected="1"),),
        limits=Limits(cpu_s=0.4, wall_s=30),
    )
    verdict = judge(engine, problem, Completion(task_id="t/1", text="def f(x):\n    while True: pass"))
    assert (verdict.passed, verdict.outcome) == (False, Outcome.CPU_LIMIT)


FIRST_AND_LAST = (CodeTest("assert f(1) == 1", name="first"), CodeTest("assert f(2) == 2", name="last"))


@pytest.mark.exec
@pytest.mark.parametrize(
    ("first", "last", "outcome", "reason"),
    [
        ("return 'x' * (1 << 40)", "while True: pass", Outcome.MEMORY_LIMIT, "memory"),
        ("raise MemoryError", "import os; os._exit(3)", Outcome.MEMORY_LIMIT, "memory"),
        ("raise ValueError", "while True: pass", Outcome.RAISED, "ValueError"),
        ("return 0", "while True: pass", Outcome.OK, "a test failed"),
        ("return object()", "while True: pass", Outcome.OK, "plain data"),
        ("return 1", "while True: pass", Outcome.CPU_LIMIT, "processor"),
        ("while True: pass", "return 2", Outcome.CPU_LIMIT, "processor"),
    ],
)
def test_the_outcome_tells_of_the_first_failure(first: str, last: str, outcome: Outcome, reason: str, engine: Engine) -> None:
    problem = Problem(task_id="t", prompt="", entry_point="f", hidden=FIRST_AND_LAST, limits=Limits(cpu_s=0.4, wall_s=30))
    strict = Calibration(protected=True, passed=True, reason="")
    source = f"def f(x):\n    if x == 1:\n        {first}\n    {last}\n"
    verdict = judge(engine, problem, Completion(task_id="t", text=source), strict)
    assert verdict.passed is False and verdict.outcome is outcome and reason in verdict.reason


@pytest.mark.exec
@pytest.mark.parametrize("most", [20_000, 10**9])
def test_a_long_iterator_is_not_followed_far(most: int, engine: Engine) -> None:
    reference = f"import os\ndef f():\n    for n in range({most}):\n        if n == 15_000: os.write(1, b'far')\n        yield n\n"
    problem = Problem(task_id="t", prompt="", entry_point="f", reference=reference, hidden=(CodeTest("assert next(f()) == 0"),))
    plan, seen = plan_calibration(problem, Limits()), b""
    step = next(plan)
    with pytest.raises(StopIteration) as end:
        while True:
            assert isinstance(step, Pair)
            done = engine.submit_pair(step.candidate, step.grader).result()
            seen += done[0].stdout
            step = plan.send(done)
    found = end.value.value
    assert found.passed and found.protected and found.operations and seen == b""
    assert judge(engine, problem, Completion(task_id="t", text="def f(): return iter([0])"), found).passed


@pytest.mark.exec
def test_a_long_iterator_is_followed_where_handles_do_not_do(engine: Engine) -> None:
    test = CodeTest("import types\ng = f(20_000)\nassert isinstance(g, types.GeneratorType) and sum(1 for _ in g) == 20_000")
    problem = Problem(task_id="t", prompt="", entry_point="f", reference="def f(n): yield from range(n)", hidden=(test,))
    found = calibrate(engine, problem)
    assert found.passed and found.protected and found.operations == ()
