"""Candidate and grader each run where what they import was imported ahead."""

from __future__ import annotations

import pytest

from groundrun.engine import Engine
from groundrun.judging import calibrate, judge
from groundrun.records import CodeTest, Completion, Problem, Rung, Test

pytestmark = pytest.mark.exec

PLAIN = "def double(x):\n    return 2 * x\n"
NUMPY = "import numpy\ndef double(x):\n    return numpy.int64(2 * x)\n"


@pytest.mark.parametrize(
    ("solution", "test", "warm"),
    [
        (PLAIN, CodeTest(source="def check(f):\n    assert f(2) == 4", call="check"), {"bare": 2}),
        (PLAIN, CodeTest(source="import numpy as np\ndef check(f):\n    assert np.all(f(2) == 4)", call="check"), {"bare": 1, "numpy": 1}),
        (NUMPY, CodeTest(source="def check(f):\n    assert f(2) == 4", call="check"), {"bare": 2, "numpy": 2}),
    ],
)
def test_each_side_has_its_flavour(solution: str, test: Test, warm: dict[str, int]) -> None:
    pytest.importorskip("numpy")
    problem = Problem(task_id="double", prompt="", entry_point="double", reference=PLAIN, hidden=(test,))
    with Engine(workers=1) as engine:
        if engine.isolation.rung is Rung.NONE:
            pytest.skip("rung none keeps nothing warm")
        completion = Completion(task_id="double", text=solution, solution=solution)
        verdict = judge(engine, problem, completion, calibrate(engine, problem))
        stats = engine.stats()
    assert verdict.passed
    assert {each.name: each.zygotes for each in stats.flavours} == warm
    assert stats.cold_imports == 0
