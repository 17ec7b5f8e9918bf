"""What a candidate does to its arguments: alone it changes nothing, and where a test looks back, it must pass with the changes too."""

from __future__ import annotations

import pytest

from groundrun.engine import Engine
from groundrun.judging import Calibration, calibrate, judge
from groundrun.judging.reading import looks_back
from groundrun.records import CallTest, CodeTest, Completion, FileTest, Problem, Test, Verdict

REVERSED = "def f(a): return a[::-1]\n"


def _problem(*tests: Test, reference: str | None = REVERSED, entry_point: str | None = "f") -> Problem:
    return Problem(task_id="p", prompt="", entry_point=entry_point, reference=reference, hidden=tests)


def _judge(engine: Engine, problem: Problem, source: str, calibration: Calibration | None = None) -> Verdict:
    return judge(engine, problem, Completion(task_id="p", text=source), calibration)


@pytest.mark.exec
@pytest.mark.parametrize(
    ("test", "candidate"),
    [
        ("a = [1, 2]\nassert f(a) == [2, 1]\nassert a == [1, 2]", "a.reverse(); return a"),
        ("a = [1, 2]\nassert f(a) == [2, 1]\nassert a == [1, 2]", "b = a[::-1]; a.clear(); return b"),
        ("a = [1, 2]\nassert f(a) is not a", "a.reverse(); return a"),
        ("a = [1, 1]\nassert f(a) is not a", "return a"),
        ("a = [1, 1]\nf(a).append(3)\nassert a == [1, 1]", "return a"),
        ("a = [[1], [2]]\nassert f(a)[0] == [2]\nassert a == [[1], [2]]", "a[0].append(3); return [[2], [1]]"),
        ("a = [1, 2]\nassert f(a=a) == [2, 1]\nassert a == [1, 2]", "a.reverse(); return a"),
        ("for a in ([1, 2], [3]):\n    assert f(a) == a[::-1] and f(a) == f(a)", "a.append(a.pop(0)); return a"),
        ("a = [1]\ntry:\n    f(a)\nexcept TypeError:\n    pass\nassert a == [1]", "a.append(2); raise TypeError"),
        ("input = [1, 2]\nassert f(input) == [2, 1]\nassert input == [1, 2]", "a.reverse(); return a"),
    ],
)
def test_a_change_that_one_process_would_show_is_seen(test: str, candidate: str, engine: Engine) -> None:
    for problem in (_problem(CodeTest(test)), _problem(CodeTest(test), reference=None)):
        found = calibrate(engine, problem)
        assert found.protected and found.writes_back == () and found.again
        verdict = _judge(engine, problem, f"def f(a):\n    {candidate}\n", found)
        assert verdict.passed is False and verdict.evidence is not None
        assert "done to the test's own" in verdict.reason and "assert" not in verdict.reason
        assert _judge(engine, problem, REVERSED, found).passed


@pytest.mark.exec
def test_changes_that_no_test_minds_are_forgiven(engine: Engine) -> None:
    problem = _problem(CodeTest("a = [1, 2]\nassert f(a) == [2, 1]\nassert len(a) == 2"))
    assert _judge(engine, problem, "def f(a):\n    a.reverse()\n    return a\n").passed
    problem = _problem(CodeTest("assert f([1, 2]) == [2, 1]"))
    assert not calibrate(engine, problem).again
    assert _judge(engine, problem, "def f(a):\n    a.reverse()\n    return a\n").passed


@pytest.mark.exec
def test_what_the_reference_itself_cannot_pass_is_not_asked_of_candidates(engine: Engine) -> None:
    problem = _problem(
        CodeTest("a = [2, 1]\nassert f(a) == [1, 2]\nassert a == [2, 1]"), reference="def f(a):\n    a.sort()\n    return a\n"
    )
    found = calibrate(engine, problem)
    assert found.passed and found.protected and found.mutates == (0,) and not found.again
    assert _judge(engine, problem, "def f(a):\n    a.sort()\n    return a\n", found).passed


BAG = """
class Bag:
    def __init__(self): self.items = []
    def put(self, xs):
        self.items += sorted(xs)
        return self
"""
SORTER = "class Sorter:\n    def sort(self, xs, *, down=False): xs.sort(reverse=down)\n"


@pytest.mark.exec
def test_arguments_of_methods_are_watched_too(engine: Engine) -> None:
    test = CodeTest("xs = [2, 1]\nb = Bag().put(xs)\nassert b.items == [1, 2]\nassert xs == [2, 1]")
    problem = _problem(test, reference=BAG, entry_point="Bag")
    found = calibrate(engine, problem)
    assert found.protected and found.again
    assert _judge(engine, problem, BAG.replace("self.items += sorted(xs)", "xs.sort(); self.items += xs"), found).passed is False
    assert _judge(engine, problem, BAG, found).passed


@pytest.mark.exec
def test_methods_may_work_in_place(engine: Engine) -> None:
    test = CodeTest("s = Sorter()\nxs = [1, 3, 2]\ns.sort(xs, down=True)\nassert xs == [3, 2, 1]")
    problem = _problem(test, reference=SORTER, entry_point="Sorter")
    found = calibrate(engine, problem)
    assert found.passed and found.protected and len(found.writes_back) == 1
    assert _judge(engine, problem, SORTER, found).passed
    assert _judge(engine, problem, SORTER.replace("xs.sort(reverse=down)", "sorted(xs, reverse=down)"), found).passed is False


@pytest.mark.exec
def test_a_test_file_looks_back(engine: Engine) -> None:
    text = """
import unittest
from solution import f
class TestF(unittest.TestCase):
    def test_alone(self):
        xs = [1, 2]
        self.assertEqual(f(xs), [2, 1])
        self.assertEqual(xs, [1, 2])
"""
    problem = _problem(FileTest(text), entry_point=None)
    assert _judge(engine, problem, REVERSED).passed
    assert _judge(engine, problem, "def f(a):\n    a.reverse()\n    return a\n").passed is False


@pytest.mark.unit
@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("assert f([1, 2]) == [2, 1]", False),
        ("assert f({'a': [1]}, key=(1, [2]), *[[3]]) is None", False),
        ("assert f([0] * 3, 'a b'.split(), list(range(9)), float('inf')) == 1", False),
        ("assert f([i for i in range(3)], [[i] * j for i, j in [(1, 2)]])", False),
        ("assert f(f([1])) == [1] and len(f([2])) == 1", False),
        ("def check(g):\n    assert g([1]) == [1] and g(g([1]))\n", False),
        ("x = f([1])\nassert len(x) == 1 and sorted(x) == [1]", False),
        ("class T:\n    def test(self):\n        self.assertEqual(f([1]), expected)", False),
        ("x = [1]\nassert f(x) == [1]", True),
        ("assert f(*rows) == 1", True),
        ("assert f(**rows) == 1", True),
        ("assert f(a.b) == 1", True),
        ("assert f(make()) == 1", True),
        ("assert f([x]) == 1", True),
        ("assert f([x for x in xs]) == 1", True),
        ("assert f(y := [1]) == y", True),
        ("list(map(f, xs))", True),
        ("sorted(xs, key=f)", True),
        ("f([1]).put(x)", True),
        ("list = [1]\nf(list)", True),
        ("def t(input):\n    f(input)", True),
        ("self.assertRaises(ValueError, f, xs)", True),
        ("f(globals()['x'])", True),
        ("f(", True),
    ],
)
def test_arguments_that_can_be_seen_again(source: str, seen: bool) -> None:
    assert looks_back((CodeTest(source, call="check"),), "f") is seen


@pytest.mark.unit
def test_arguments_of_calls_and_files_that_can_be_seen_again() -> None:
    assert not looks_back((CallTest(arguments="([1, 2], {3: 4})", keywords="{'k': [1]}"),), "f")
    assert looks_back((CallTest(arguments="(TABLE,)"),), "f")
    assert not looks_back((FileTest("import pkg.mod as m\nfrom pkg.mod import g\nassert m.f(g([1]))", module="pkg.mod"),), None)
    assert looks_back((FileTest("from other import g\nfrom solution import f\nf(g([1]))"),), None)
