"""Differential tests: the reference decides, on every input, and never meets the candidate."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrun.engine import Engine
from groundrun.errors import EngineError, UsageError
from groundrun.judging import Calibration, calibrate, judge
from groundrun.judging.guest.differential import Rule
from groundrun.records import CallTest, Completion, DifferentialTest, Limits, Outcome, Problem, Verdict

REFERENCE = "def f(a, b):\n    a.append(b)\n    return [x / 3 for x in a]\n"
INPUTS = "[([1, 2], 3), ([], 0), ([9], 1)]"


def make_problem(*tests: DifferentialTest, reference: str | None = REFERENCE) -> Problem:
    return Problem(task_id="D/0", prompt="", entry_point="f", reference=reference, hidden=tests, limits=Limits(wall_s=10.0))


def decide(engine: Engine, source: str, *tests: DifferentialTest, reference: str = REFERENCE) -> Verdict:
    problem = make_problem(*tests, reference=reference)
    return judge(engine, problem, Completion(task_id="D/0", text=source))


@pytest.mark.exec
@pytest.mark.parametrize(
    ("source", "letters", "outcome", "reason"),
    [
        ("def f(a, b): return [x * (1 / 3) for x in a + [b]]", "+++", Outcome.OK, "every test passed"),
        ("def f(a, b): return [x // 3 for x in a + [b]]", "-+-", Outcome.OK, "a test failed"),
        ("def f(a, b): return tuple(x / 3 for x in a + [b])", "---", Outcome.OK, "a test failed"),
        (
            "def f(a, b):\n  return [x / 3 for x in a + [b]] if a else 1 / 0",
            "+-+",
            Outcome.RAISED,
            "the candidate raised ZeroDivisionError",
        ),
        ("def f(a, b):\n  if a: return [x / 3 for x in a + [b]]\n  raise SystemExit", "+-+", Outcome.OK, "the candidate raised SystemExit"),
        ("import os\ndef f(a, b):\n  return [x / 3 for x in a + [b]] if a else os._exit(0)", "+-.", Outcome.OK, "process ended before"),
        ("def f(a, b):\n  return [x / 3 for x in a + [b]] if a else object()", "+-+", Outcome.OK, "not plain data"),
        ("def g(): pass", "-..", Outcome.OK, "defines no 'f'"),
        ("1 / 0", "-..", Outcome.RAISED, "the program raised ZeroDivisionError outside of any call"),
        ("def f(a, b):\n  print('x' * 100000)\n  return [x / 3 for x in a + [b]]", "+++", Outcome.OK, "every test passed"),
    ],
)
def test_each_input_has_its_letter(engine: Engine, source: str, letters: str, outcome: Outcome, reason: str) -> None:
    verdict = decide(engine, source, DifferentialTest(inputs=INPUTS, name="plus"))
    assert [(test.name, test.inputs) for test in verdict.tests] == [("plus", letters)]
    assert (verdict.passed, verdict.outcome, verdict.protected) == (letters == "+++", outcome, True)
    assert reason in verdict.reason


@pytest.mark.exec
def test_a_failure_shows_the_call_and_stays_hidden(engine: Engine) -> None:
    verdict = decide(engine, "def f(a, b): return a", DifferentialTest(inputs="[([7], 3)]"))
    assert verdict.evidence is not None
    assert verdict.evidence.message == f"f([7], 3) gave [7], expected [{7 / 3!r}, 1.0]"
    assert verdict.evidence.hidden
    assert "7" not in verdict.evidence.redacted().message


@pytest.mark.exec
@pytest.mark.attack
@pytest.mark.parametrize("base", ["ValueError", "BaseException", "SystemExit", "StopIteration"])
def test_a_name_of_an_exception_tells_nothing_of_a_hidden_input(engine: Engine, base: str) -> None:
    source = f"def f(a, b): raise type('saw_%s' % b, ({base},), {{}})(b)"
    verdict = decide(engine, source, DifferentialTest(inputs="[([7], 4711)]"))
    assert verdict.passed is False and verdict.evidence is not None
    assert "4711" not in verdict.reason + repr(verdict.evidence.redacted())


@pytest.mark.exec
def test_arguments_and_globals_are_fresh(engine: Engine) -> None:
    """A candidate that spoils its arguments spoils no later input, no oracle, and no other test."""
    oracle = "def oracle(arguments, got, expected):\n    return agree(got, expected) and arguments[0] == [1]\n"
    shared = DifferentialTest(inputs="[(a, 2) for a in [[1]] * 3]", oracle=oracle)
    assert decide(engine, "def f(a, b):\n  a.append(b)\n  return [x / 3 for x in a]", shared).tests[0].inputs == "+++"
    counting = "seen = []\ndef f(a, b):\n  seen.append(a)\n  return [x / 3 for x in a + [b]] if len(seen) < 4 else []"
    tests = [DifferentialTest(inputs=INPUTS) for _ in range(2)]
    assert [each.inputs for each in decide(engine, counting, *tests).tests] == ["+++", "+++"]


@pytest.mark.exec
def test_the_reference_may_give_what_no_grader_can_load(engine: Engine) -> None:
    """An oracle can still ask whether there was a result."""
    reference = "import re\ndef f(text): return re.match('a', text)\n"
    oracle = "def oracle(arguments, got, expected):\n    return (got is not None) == (expected is not None)\n"
    test = DifferentialTest(inputs="[('abc',), ('b',)]", oracle=oracle)
    assert decide(engine, "def f(text): return text.startswith('a') or None", test, reference=reference).passed
    assert decide(engine, reference, test, reference=reference).passed
    assert decide(engine, "def f(text): return 1", test, reference=reference).tests[0].inputs == "+-"


@pytest.mark.exec
def test_long_strings_and_results_too_large(engine: Engine) -> None:
    reference = "def f(n): return 'ab' * n if n < 100000 else [[0] * 1000] * n\n"
    test = DifferentialTest(inputs="[(3,), (30000,), (10 ** 6,), (31000,)]")
    calibration = calibrate(engine, make_problem(test, reference=reference))
    assert calibration.passed
    assert "leaves out inputs too large to cross: 2" in calibration.reason
    assert len(calibration.truths[0].data) < 2000
    assert decide(engine, reference, test, reference=reference).tests[0].inputs == "++x+"
    assert decide(engine, "def f(n): return 'ab' * min(n, 30000)", test, reference=reference).tests[0].inputs == "++x-"
    assert decide(engine, "def f(n): return 'ab' * (n - 1) + 'ba'", test, reference=reference).tests[0].inputs == "--x-"


@pytest.mark.exec
def test_references_that_can_not_be_held_against(engine: Engine) -> None:
    for inputs in ("[(nan,), (1.0,)]", "[([1, nan],), ([1, 2.5],)]"):
        assert not calibrate(engine, make_problem(DifferentialTest(inputs=inputs), reference="def f(x): return x")).passed
    unequal = calibrate(engine, make_problem(DifferentialTest(inputs="[(nan,), (1.0,)]"), reference="def f(x): return x"))
    assert (unequal.passed, unequal.reason) == (False, "the reference fails test 'differential' on its own inputs 0")
    raising = make_problem(DifferentialTest(inputs="[(1,), (0,)]"), reference="def f(x): return 1 / x")
    calibration = calibrate(engine, raising)
    assert (calibration.passed, calibration.reason) == (False, "the reference fails test 'differential' on its own inputs 1")
    verdict = judge(engine, raising, Completion(task_id="D/0", text="def f(x): return 1.0"), calibration)
    assert (verdict.passed, verdict.tests[0].inputs) == (True, "+x")
    with pytest.raises(EngineError, match=r"can't say what test 'differential' expects: ImportError"):
        calibrate(engine, make_problem(DifferentialTest(inputs="[(1,)]"), reference="from os import nothing_of_that_name"))
    with pytest.raises(UsageError, match="the reference raises on all of them"):
        calibrate(engine, make_problem(DifferentialTest(inputs="[(1,)]"), reference="def f(x): return x / 0"))
    with pytest.raises(UsageError, match="input 1 holds a PurePosixPath, which is not plain data"):
        calibrate(engine, make_problem(DifferentialTest(inputs="[('a',), (__import__('pathlib').PurePosixPath('b'),)]")))
    for broken in (make_problem(DifferentialTest(inputs="[]")), make_problem(DifferentialTest(inputs="[(1,)]", compat="other"))):
        with pytest.raises(UsageError):
            calibrate(engine, broken)
    with pytest.raises(UsageError, match="needs a reference"):
        calibrate(engine, make_problem(DifferentialTest(inputs="[(1,)]"), reference=None))


@pytest.mark.exec
def test_arguments_too_large_are_left_out(engine: Engine) -> None:
    """They would not reach a candidate, so no candidate can be blamed."""
    reference = "def f(x): return len(x)"
    test = DifferentialTest(inputs="[('a' * 3,), ('a' * (40 << 20),), ('',)]")
    assert decide(engine, reference, test, reference=reference).tests[0].inputs == "+x+"


@pytest.mark.exec
def test_an_oracle_can_not_undo_a_refusal(engine: Engine) -> None:
    oracle = """
def oracle(arguments, got, expected):
    try:
        return got == expected
    except BaseException:
        return True
"""
    test = DifferentialTest(inputs=INPUTS, oracle=oracle)
    assert decide(engine, "def f(a, b): return object()", test).tests[0].inputs == "---"


@pytest.mark.exec
def test_an_endless_input_is_named_and_the_rest_not_reached(engine: Engine) -> None:
    tests = [DifferentialTest(inputs="[(n,) for n in range(6)]", least_s=0.2) for _ in range(2)]
    source = "def f(n):\n  while n == 3: pass\n  return n"
    verdict = decide(engine, source, *tests, reference="def f(n): return n")
    assert [each.inputs for each in verdict.tests] == ["+++-..", ""]
    assert (verdict.passed, verdict.outcome, verdict.tests[1].passed) == (False, Outcome.CPU_LIMIT, None)


@pytest.mark.exec
def test_many_inputs_below_their_limit_pass(engine: Engine) -> None:
    """Together they take longer than one may: no input is blamed for those before it."""
    source = "import time\ndef f(n):\n  end = time.process_time() + 0.15\n  while time.process_time() < end: pass\n  return n"
    test = DifferentialTest(inputs="[(n,) for n in range(12)]", least_s=0.5)
    assert decide(engine, source, test, reference="def f(n): return n").tests[0].inputs == "+" * 12


@pytest.mark.exec
def test_all_together_have_a_limit(engine: Engine) -> None:
    source = "import time\ndef f(n):\n  end = time.process_time() + 0.3\n  while time.process_time() < end: pass\n  return n"
    test = DifferentialTest(inputs="[(n,) for n in range(40)]", least_s=0.5, most_s=0.5)
    verdict = decide(engine, source, test, reference="def f(n): return n")
    assert (verdict.passed, verdict.outcome) == (False, Outcome.CPU_LIMIT)
    assert verdict.tests[0].inputs.startswith("+++")
    assert verdict.tests[0].inputs.endswith("..........")


@pytest.mark.exec
def test_compat_counts_the_wall_clock_and_stops(engine: Engine) -> None:
    """A sleeper passes on the processor's clock and fails on the wall's."""
    source = "import time\ndef f(n):\n  time.sleep(0.6 * (n == 2))\n  return n"
    test = DifferentialTest(inputs="[(n,) for n in range(4)]", least_s=0.2)
    compat = DifferentialTest(inputs=test.inputs, least_s=0.2, compat="evalplus")
    reference = "def f(n): return n"
    assert decide(engine, source, test, reference=reference).passed
    verdict = decide(engine, source, compat, reference=reference)
    assert (verdict.tests[0].inputs, verdict.outcome) == ("++-.", Outcome.WALL_LIMIT)
    assert decide(engine, "def f(n): return n % 2", compat, reference=reference).tests[0].inputs == "++-."


@pytest.mark.exec
def test_answers_sent_ahead_must_be_right_too(engine: Engine) -> None:
    """A candidate that finds its channel and answers before it is asked only fails itself."""
    source = """
import os, stat
from groundrun.engine.guest.transport import encode, send_frame
for descriptor in range(3, 64):
    try:
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            send_frame(descriptor, encode((0, "ready", True, b"", ())))
            for n in range(1, 9):
                send_frame(descriptor, encode((n, "value", True, b"", ((), (), ()))))
    except OSError:
        pass
def f(a, b): return True
"""
    verdict = decide(engine, source, DifferentialTest(inputs=INPUTS))
    assert (verdict.passed, "+" in verdict.tests[0].inputs) == (False, False)


@pytest.mark.exec
def test_other_tests_of_the_problem_count_too(engine: Engine) -> None:
    problem = make_problem(DifferentialTest(inputs=INPUTS, name="base"), DifferentialTest(inputs="[([5], 5)]", name="plus"))
    calibration: Calibration = calibrate(engine, problem)
    assert [len(truth.seconds) for truth in calibration.truths] == [3, 1]
    verdict = judge(engine, problem, Completion(task_id="D/0", text=REFERENCE.replace("/ 3", "/ (3 if a != [5, 5] else 4)")), calibration)
    assert [(test.name, test.passed, test.inputs) for test in verdict.tests] == [("base", True, "+++"), ("plus", False, "-")]


@pytest.mark.exec
def test_a_test_that_is_there_twice_is_judged_twice(engine: Engine) -> None:
    """What the second time gives doesn't cover the first."""
    test = CallTest(arguments="()", expected="2", name="twice")
    problem = Problem(task_id="D/1", prompt="", entry_point="f", reference="def f(): return 2", visible=(test,), hidden=(test,))
    late = "calls = []\ndef f():\n    calls.append(1)\n    return len(calls)"
    verdict = judge(engine, problem, Completion(task_id="D/1", text=late))
    assert [(each.passed, each.hidden) for each in verdict.tests] == [(False, False), (True, True)]
    assert verdict.passed is False


@pytest.mark.unit
@pytest.mark.parametrize(
    ("got", "expected", "tolerance", "agrees"),
    [
        (2, 2.0, 0, True),
        (1.0 + 5e-7, 1.0, 0, True),
        (1, 1.0 + 5e-7, 0, False),
        ([1.0, 2.0], [1.0, 2.0 + 5e-7], 0, True),
        ((1.0,), [1.0], 0, False),
        ([1.0], [1.0, 2.0], 0, False),
        ([1, 2.0], [1, 2.0 + 5e-7], 0, False),
        ([1, 2.0], [1, 2.0 + 5e-7], 1e-6, True),
        ([[1.0], [2.0]], [[1.0], [2.0 + 5e-7]], 1e-6, True),
        ("a", "b", 1e-6, False),
        (None, None, 0, True),
        (math.nan, math.nan, 0, False),
        (math.inf, math.inf, 0, True),
        (1e308, math.inf, 1e-6, False),
        (True, 1, 0, True),
        (10**9 + 1, 10**9, 1e-6, True),
        ({"a": 1.0}, {"a": 1.0 + 5e-7}, 1e-6, False),
    ],
)
def test_when_values_agree(got: object, expected: object, tolerance: float, agrees: bool) -> None:
    assert Rule(tolerance).agree(got, expected) is agrees


@pytest.mark.unit
def test_a_sticky_tolerance_stays() -> None:
    """The published harness forgets to take the tolerance of floats back."""
    for sticky in (False, True):
        rule = Rule(0, sticky=sticky)
        assert rule.agree(0.5, 0.5)
        assert rule.agree(10**9 + 1, 10**9) is sticky


@pytest.mark.unit
@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(min_value=-1, max_value=1))
def test_floats_agree_as_documented(expected: float, share: float) -> None:
    got = expected + share * 2e-6
    assert Rule(0).agree(got, expected) is (got == expected or abs(got - expected) <= 1e-6 + 1e-7 * abs(expected))
