"""One grader for a row of candidates: the same verdicts as fresh graders give, whoever came before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from groundrun.engine import Engine
from groundrun.engine.standing import MOST
from groundrun.judging import Calibration, calibrate, judge
from groundrun.judging import grading as grading_module
from groundrun.judging.reading import keeps_no_state
from groundrun.records import CallTest, CodeTest, Completion, Limits, Outcome, Problem, Rung, Verdict

CHECK = """
import math
def check(candidate):
    assert candidate([3, 1, 2]) == [1, 2, 3]
    assert candidate([]) == []
    assert candidate([2.0, math.inf, -1]) == [-1, 2.0, math.inf]
"""
PROBLEM = Problem(
    task_id="order",
    prompt="",
    entry_point="order",
    reference="def order(items):\n    return sorted(items)\n",
    hidden=(CodeTest(source=CHECK, call="check"), CallTest(arguments="([5, 4],)", expected="[4, 5]")),
    limits=Limits(cpu_s=1.0, wall_s=5.0),
)
RIGHT = "def order(items):\n    return sorted(items)\n"
CANDIDATES = {
    "right": RIGHT,
    "wrong": "def order(items):\n    return items\n",
    "raises": "def order(items):\n    return items[0]\n",
    "leaves": "import os\ndef order(items):\n    os._exit(0)\n",
    "loops": "def order(items):\n    while True: pass\n",
    "broken": "def order(items:\n",
    "another": "def sort(items):\n    return sorted(items)\n",
    "equal to all": "class Any:\n    def __eq__(self, other): return True\ndef order(items):\n    return Any()\n",
    "deep": "def order(items):\n    found = []\n    for _ in range(10**6): found = [found]\n    return found\n",
    "right again": RIGHT + "\n",
}


@pytest.fixture(params=[Rung.NAMESPACES, Rung.LANDLOCK], scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Engine(workers=1, isolation=request.param) as made:
        yield made


@pytest.fixture(scope="module")
def calibration(engine: Engine) -> Calibration:
    return calibrate(engine, PROBLEM)


def _judge(engine: Engine, calibration: Calibration, source: str, problem: Problem = PROBLEM) -> Verdict:
    return judge(engine, problem, Completion(task_id=problem.task_id, text=source, solution=source), calibration)


def _served(engine: Engine) -> int:
    assert engine._pool is not None
    standing = engine._pool._workers[0]._standing
    return 0 if standing is None else standing._served


@pytest.mark.exec
def test_a_grader_stays_for_candidates_of_its_problem(engine: Engine, calibration: Calibration) -> None:
    _judge(engine, calibration, RIGHT)
    before = _served(engine)
    assert before >= 1
    assert _judge(engine, calibration, RIGHT).passed
    assert _served(engine) == before + 1
    other = Problem(
        task_id="twice",
        prompt="",
        entry_point="twice",
        reference="def twice(n):\n    return 2 * n\n",
        hidden=(CallTest(arguments="(2,)", expected="4"),),
    )
    assert _judge(engine, calibrate(engine, other), "def twice(n):\n    return n + n\n", other).passed
    assert _served(engine) == 1


@pytest.mark.exec
@pytest.mark.timeout(240)
def test_verdicts_are_those_of_fresh_graders_in_any_order(
    engine: Engine, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged(names: tuple[str, ...]) -> dict[str, tuple[object, ...]]:
        found = {name: _judge(engine, calibration, CANDIDATES[name]) for name in names}
        return {name: (each.passed, each.outcome, [test.passed for test in each.tests], each.reason) for name, each in found.items()}

    orders = [tuple(CANDIDATES), tuple(reversed(CANDIDATES))]
    stayed = [judged(order) for order in orders]
    monkeypatch.setattr(grading_module, "keeps_no_state", lambda texts: False)
    fresh = judged(tuple(CANDIDATES))
    assert stayed[0] == fresh
    assert stayed[1] == fresh
    assert [name for name, each in fresh.items() if each[0]] == ["right", "right again"]


@pytest.mark.exec
def test_a_grader_makes_way_after_many(engine: Engine, calibration: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groundrun.engine.standing.MOST", 3)
    counts = []
    for _ in range(7):
        assert _judge(engine, calibration, RIGHT).passed
        counts.append(_served(engine))
    assert max(counts) <= max(3, counts[0])
    assert any(later < earlier for earlier, later in itertools.pairwise(counts))
    assert MOST > 3


@pytest.mark.exec
def test_what_the_grader_prints_does_not_add_up(engine: Engine, calibration: Calibration) -> None:
    loud = "def order(items):\n    print('x' * 100_000)\n    return sorted(items)\n"
    assert all(_judge(engine, calibration, loud).outcome is Outcome.OK for _ in range(3))


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import math\nassert f(math.pi) == 3", True),
        ("from collections import Counter\nc = Counter()\nc['a'] = 1", True),
        ("import random\nx = [random.random()]\nx[0] = 2", True),
        ("import random\nrandom.seed = None", False),
        ("import math as m\nm.pi.real = 3", False),
        ("import os", False),
        ("from unittest import mock", False),
        ("setattr(f, 'x', 1)", False),
        ("print(f(1))", False),
        ("def (", False),
    ],
)
def test_tests_that_keep_state_are_known_by_their_text(text: str, expected: bool) -> None:
    assert keeps_no_state((text,)) is expected


COUNTS = Problem(
    task_id="counts",
    prompt="",
    entry_point="size",
    reference="def size(n):\n    return 5 * n\n",
    hidden=(CodeTest(source="def check(size):\n    assert sum(1 for _ in range(size(1))) == 5\n", call="check"),),
    limits=Limits(cpu_s=1.0, wall_s=5.0),
)


@pytest.mark.exec
def test_a_grader_that_dies_fails_its_candidate_and_no_other(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not masked: what kills graders would else be a way not to be judged. Limits count anew for each candidate."""
    monkeypatch.setattr(grading_module, "GRADER_CPU_S", 0.5)
    known = calibrate(engine, COUNTS)
    right, deadly, slow = (f"def size(n):\n    return {number}\n" for number in (5, 10**9, 3_000_000))
    assert _judge(engine, known, right, COUNTS).passed
    before = _served(engine)
    verdict = _judge(engine, known, deadly, COUNTS)
    assert verdict.passed is False
    assert "the grader couldn't finish reading or comparing what the candidate gave" in verdict.reason
    assert _judge(engine, known, right, COUNTS).passed
    assert before == _served(engine) == 1
    for _ in range(6):  # together far more than one grader may use
        assert _judge(engine, known, slow, COUNTS).reason == "a test failed"
    assert _served(engine) == 7
