"""What test code and calls see of a candidate in another process: values, exceptions, output, mutated arguments, helpers."""

from __future__ import annotations

import asyncio
import concurrent.futures

import pytest

from groundrun.engine import Engine
from groundrun.errors import UsageError
from groundrun.judging import Calibration, ajudge, calibrate, judge, submit_judge
from groundrun.judging.reading import needs_reference
from groundrun.records import CallTest, CodeTest, Completion, Outcome, Problem, Test, Verdict

pytestmark = pytest.mark.exec

STRICT = Calibration(protected=True, passed=True, reason="")


def _problem(*tests: Test, reference: str | None = None, entry_point: str | None = "f") -> Problem:
    return Problem(task_id="p", prompt="", entry_point=entry_point, reference=reference, hidden=tests)


def _judge(engine: Engine, source: str, *tests: Test, reference: str | None = None, calibration: Calibration | None = STRICT) -> Verdict:
    return judge(engine, _problem(*tests, reference=reference), Completion(task_id="p", text=source), calibration)


def _calibrate(engine: Engine, reference: str, *tests: Test) -> Calibration:
    return calibrate(engine, _problem(*tests, reference=reference))


@pytest.mark.parametrize(
    ("source", "test"),
    [
        ("def f(x): return 2.0", "assert f(1) == 2"),
        ("def f(x): return True", "assert f(1) == 1"),
        ("def f(x): return (1, [2])", "assert f(0) == (1, [2]) and f(0) != [1, [2]]"),
        ("from collections import Counter\ndef f(x): return Counter(x)", "assert f('aab') == {'a': 2, 'b': 1}"),
        ("from fractions import Fraction\ndef f(x): return Fraction(x)", "assert f(1) / 2 == 0.5"),
        ("def f(x): return x[::-1]", "assert f(range(3)) == range(2, -1, -1)"),
        ("def f(x): return (y for y in x)", "assert list(f([1])) == [1]"),
        ("def f(x): return map(str, x)", "assert tuple(f([1])) == ('1',)"),
        ("def f(*, key): return key", "assert f(key=b'x') == b'x'"),
        ("def f(x): return float('nan')", "assert f(0) != f(0)"),
        ("def f(x): return '\\ud800' + x", "assert f('') == '\\ud800'"),
        ("def f(x): return [x] * 2", "a = f([]); assert a[0] is a[1]"),
        ("def f(x): return None", "assert f(f) is None if False else f(0) is None"),
        (
            "def f(x): return sum(x)",
            "import threading\ng = []\nt = threading.Thread(target=lambda: g.append(f([1, 2])))\nt.start(); t.join()\nassert g == [3]",
        ),
    ],
)
def test_values_cross(source: str, test: str, engine: Engine) -> None:
    verdict = _judge(engine, source, CodeTest(test))
    assert verdict.passed, verdict.evidence


@pytest.mark.parametrize(
    ("raising", "catching"),
    [
        ("raise ValueError('too', 2)", "except ValueError as e: assert e.args == ('too', 2)"),
        ("raise KeyError('k')", "except KeyError as e: assert str(e) == \"'k'\""),
        ("return {}[3]", "except LookupError: pass"),
        ("open('/nonexistent/x')", "except FileNotFoundError as e: assert e.errno == 2"),
        ("b'\\xff'.decode()", "except UnicodeDecodeError as e: assert e.start == 0"),
        ("import json; json.loads('{')", "except ValueError as e: assert 'line 1' in str(e)"),
        ("raise type('Own', (ZeroDivisionError,), {})('x')", "except ArithmeticError as e: assert type(e) is ZeroDivisionError"),
        (
            "raise type('Own', (Exception,), {'__str__': lambda s: 'own text'})(object())",
            "except Exception as e: assert str(e) == 'own text'",
        ),
        ("return f(x)", "except RecursionError: pass"),
    ],
)
def test_exceptions_cross_as_builtin_types(raising: str, catching: str, engine: Engine) -> None:
    test = CodeTest(f"try:\n    f(1)\n{catching}\nelse:\n    assert False\n")
    verdict = _judge(engine, f"def f(x):\n    {raising}\n", test)
    assert verdict.passed, verdict.evidence


def test_an_uncaught_exception_is_the_outcome(engine: Engine) -> None:
    verdict = _judge(engine, "def f(x):\n    return 1 // 0\n", CodeTest("assert f(1) == 1"))
    assert (verdict.passed, verdict.outcome, verdict.reason) == (False, Outcome.RAISED, "the candidate raised ZeroDivisionError")
    assert verdict.evidence is not None and verdict.evidence.exception is not None
    assert verdict.evidence.exception.line == 2


def test_a_crash_at_import_shows_its_own_exception(engine: Engine) -> None:
    verdict = _judge(engine, "import no_such_module\ndef f(x): return 1\n", CodeTest("assert f(1) == 1"))
    assert verdict.outcome is Outcome.RAISED and verdict.tests[0].passed is None
    assert verdict.evidence is not None and not verdict.evidence.hidden
    assert verdict.evidence.exception is not None and verdict.evidence.exception.type == "ModuleNotFoundError"


CAPTURING = """
import contextlib, io
out = io.StringIO()
with contextlib.redirect_stdout(out):
    f("hello \\ud800")
assert out.getvalue() == "hello \\ud800\\n", out.getvalue()
f("not captured")
"""


def test_output_travels_with_its_call(engine: Engine) -> None:
    assert _judge(engine, "print('at import')\ndef f(x): print(x)\n", CodeTest(CAPTURING)).passed
    assert not _judge(engine, "def f(x): print(x + '!')\n", CodeTest(CAPTURING)).passed
    failed = _judge(engine, "def f(x): print('trace of', x)\n", CodeTest("assert f(1) == 1"))
    assert failed.evidence is not None and failed.evidence.stdout == "trace of 1\n"


def test_a_chatty_program_is_not_failed_for_it(engine: Engine) -> None:
    source = "def f(x):\n    print('x' * 200_000)\n    return x\n"
    assert _judge(engine, source, CodeTest("for x in range(40):\n    assert f(x) == x")).passed


IN_PLACE = "def f(xs):\n    xs.sort()\n"
MUTATING = CodeTest("a = [3, 1]\nalias = a\nassert f(a) is None\nassert alias == [1, 3]\n")


def test_arguments_are_written_back_where_the_reference_mutates_them(engine: Engine) -> None:
    found = _calibrate(engine, IN_PLACE, MUTATING)
    assert found.passed and found.protected and found.mutates == (0,) and found.writes_back == (0,)
    assert _judge(engine, "def f(xs):\n    xs[:] = sorted(xs)\n", MUTATING, calibration=found).passed
    assert not _judge(engine, "def f(xs):\n    sorted(xs)\n", MUTATING, calibration=found).passed


def test_what_the_reference_leaves_alone_must_be_left_alone(engine: Engine) -> None:
    reference = "def f(xs, ys, *, zs):\n    xs.extend(ys)\n    zs['n'] = xs\n"
    test = CodeTest("a, b, c = [1], [[2]], {}\nf(a, b, zs=c)\nassert a == [1, [2]] and c['n'] is a\nassert b == [[2]]\n")
    found = _calibrate(engine, reference, test)
    assert found.passed and found.writes_back == (0, "zs")
    vandal = "def f(xs, ys, *, zs):\n    xs.extend(ys)\n    ys.append(3)\n    zs['n'] = xs\n"
    verdict = _judge(engine, vandal, test, calibration=found)
    assert verdict.passed is False and verdict.reason == "a test failed, once what it did to arguments was done to the test's own"
    unseen = CodeTest("c = {}\nf([1], [[2]], zs=c)\nassert c['n'] == [1, [2]]\n")
    assert _judge(engine, vandal, unseen, calibration=_calibrate(engine, reference, unseen)).passed


def test_a_function_may_return_its_argument(engine: Engine) -> None:
    test = CodeTest("a = [1]\nassert f(a) is a\nassert f(x=a) is a\n")
    found = _calibrate(engine, "def f(x): return x", test)
    assert found.passed and found.protected and set(found.writes_back) == {0, "x"} and found.mutates == ()
    assert not _judge(engine, "def f(x): return list(x)", test, calibration=found).passed


def test_a_mutation_that_no_test_sees_is_not_written_back(engine: Engine) -> None:
    found = _calibrate(engine, "def f(xs):\n    xs.sort()\n    return xs\n", CodeTest("assert f([2, 1]) == [1, 2]"))
    assert found.passed and found.mutates == (0,) and found.writes_back == ()


HELPERS = """
import math

def encode(text):
    return text[::-1]

def f(text):
    return encode(text)
"""
USING = CodeTest("def check(f):\n    assert f(encode('abc')) == 'abc'\n    assert math.pi > 3\n", "check")


def test_helpers_come_from_the_reference_never_from_the_candidate(engine: Engine) -> None:
    found = _calibrate(engine, HELPERS, USING)
    assert found.passed and found.protected
    assert _judge(engine, "def f(t): return ''.join(reversed(t))", USING, reference=HELPERS, calibration=found).passed
    cheat = "def encode(text): return None\ndef f(text): return 'abc' if text is None else ''\n"
    assert not _judge(engine, cheat, USING, reference=HELPERS, calibration=found).passed


def test_each_test_has_globals_of_its_own(engine: Engine) -> None:
    tests = (CodeTest("leak = f(1)", name="first"), CodeTest("assert 'leak' not in globals()", name="second"))
    verdict = _judge(engine, "def f(x): return x", *tests)
    assert [(test.name, test.passed) for test in verdict.tests] == [("first", True), ("second", True)]


STACK = """
class Stack:
    def __init__(self, items=()):
        self.items = list(items)
    def push(self, x):
        self.items.append(x)
        return self
    def __len__(self): return len(self.items)
    def __iter__(self): return iter(self.items)
    def __getitem__(self, i): return self.items[i]
    def __contains__(self, x): return x in self.items
    def __str__(self): return 'Stack' + str(self.items)
"""
USES_STACK = CodeTest("""
s = Stack([1])
assert s.push(2) is s
assert len(s) == 2 and s[0] == 1 and 2 in s and list(s) == [1, 2]
assert s.items == [1, 2] and str(s) == "Stack[1, 2]" and type(s).__name__ == "Stack"
try:
    s[9]
except IndexError:
    pass
else:
    assert False
""")


def test_classes_are_judged_through_handles(engine: Engine) -> None:
    problem = Problem(task_id="p", prompt="", entry_point="Stack", reference=STACK, hidden=(USES_STACK,))
    found = calibrate(engine, problem)
    assert (
        found.passed
        and found.protected
        and {"call", "get push", "len", "item", "iter", "next", "contains", "str"} <= {operation for _, operation, _ in found.operations}
    )
    assert judge(engine, problem, Completion(task_id="p", text=STACK), found).passed
    assert not judge(engine, problem, Completion(task_id="p", text=STACK.replace("append(x)", "append(0)")), found).passed


@pytest.mark.parametrize("use", ["s == s", "bool(s)", "{s: 1}", "s < 1", "__import__('copy').copy(s)", "setattr(s, 'items', [])"])
def test_what_a_handle_must_not_decide_is_refused(use: str, engine: Engine) -> None:
    test = CodeTest(f"s = Stack()\ns.push(1)\ntry:\n    {use}\nexcept BaseException:\n    pass\n")
    problem = Problem(task_id="p", prompt="", entry_point="Stack", reference=STACK, hidden=(test,))
    assert not calibrate(engine, problem).protected  # the reference itself needs one shared process for that


def test_a_handle_looks_the_same_to_candidates_as_to_the_reference(engine: Engine) -> None:
    reference = "class Bag:\n    name = 'x'\ndef f(): return Bag()\n"
    found = _calibrate(engine, reference, CodeTest("assert f().name == 'x'\nassert callable(f())"))
    assert not found.passed and found.protected  # an object of that class isn't callable, whatever a handle would say


def test_a_problem_that_needs_one_process_says_so(engine: Engine) -> None:
    reference = "class Node:\n    def __init__(self, v): self.v = v\ndef f(node): return node.v\n"
    test = CodeTest("assert f(Node(3)) == 3")
    found = _calibrate(engine, reference, test)
    assert found.passed and not found.protected and "Node" in found.reason
    verdict = _judge(engine, reference, test, reference=reference, calibration=found)
    assert verdict.passed and not verdict.protected
    wrong = _judge(engine, reference.replace("return node.v", "return 1"), test, reference=reference, calibration=found)
    assert wrong.passed is False and not wrong.protected
    gone = _judge(engine, "import os; os._exit(0)", test, reference=reference, calibration=found)
    assert gone.passed is False


def test_a_reference_that_fails_leaves_the_strictest_mode(engine: Engine) -> None:
    found = _calibrate(engine, "def f(x): return 1", CodeTest("assert f(1) == 2"))
    assert not found.passed and found.protected and "fails" in found.reason
    missing = calibrate(engine, _problem(CodeTest("assert f(1) == 2")))
    assert not missing.passed and missing.protected and "no reference" in missing.reason


def test_a_problem_without_an_entry_point_is_shared_or_refused(engine: Engine) -> None:
    problem = _problem(CodeTest("assert f(1) == 1"), reference="def f(x): return x", entry_point=None)
    found = calibrate(engine, problem)
    assert found.passed and not found.protected
    with pytest.raises(UsageError, match="entry point"):
        judge(engine, problem, Completion(task_id="p", text=""), STRICT)


def test_calls_compare_by_pythons_own_equality(engine: Engine) -> None:
    tests = (
        CallTest(arguments="(2, 3)", expected="5", name="sum"),
        CallTest(arguments="(2.0,)", keywords="{'b': 3}", expected="5", name="keywords"),
        CallTest(arguments="([1], [2])", expected="[1, 2]", name="lists"),
        CallTest(arguments="(0.1, 0.2)", expected="0.3", name="exact"),
        CallTest(arguments="(0.1, 0.2)", expected="0.3", oracle="def oracle(a, got, e): return abs(got - e) < 1e-9", name="close"),
    )
    verdict = _judge(engine, "def f(a, b): return a + b", *tests)
    assert [test.passed for test in verdict.tests] == [True, True, True, False, True]
    assert verdict.evidence is not None and verdict.evidence.test == "exact" and "0.30000000000000004" in verdict.evidence.message


def test_calls_may_use_names_of_the_reference(engine: Engine) -> None:
    reference = "LIMIT = 7\ndef f(x): return x + 1\n"
    verdict = _judge(engine, "def f(x): return x + 1", CallTest(arguments="(LIMIT,)", expected="LIMIT + 1"), reference=reference)
    assert verdict.passed


def test_visible_and_hidden_tests_both_decide(engine: Engine) -> None:
    problem = Problem(
        task_id="p",
        prompt="",
        entry_point="f",
        visible=(CallTest(arguments="(1,)", expected="1", name="seen"),),
        hidden=(CodeTest("assert f(2) == 4", name="unseen"),),
    )
    for source, results in (("def f(x): return x", [True, False]), ("def f(x): return x * 2", [False, True])):
        verdict = judge(engine, problem, Completion(task_id="p", text=source), STRICT)
        assert verdict.passed is False
        assert [(test.name, test.hidden, test.passed) for test in verdict.tests] == [
            ("seen", False, results[0]),
            ("unseen", True, results[1]),
        ]
        assert verdict.evidence is not None and verdict.evidence.hidden is (results[0] is True)


def test_the_faces_agree(engine: Engine) -> None:
    problem = _problem(CodeTest("assert f(1) == 2"), reference="def f(x): return x + 1")
    good, bad = Completion(task_id="p", text="def f(x): return x + 1"), Completion(task_id="p", text="def f(x): return x", sample=1)

    async def both() -> list[Verdict]:
        return list(await asyncio.gather(ajudge(engine, problem, good), ajudge(engine, problem, bad, STRICT)))

    futures = [submit_judge(engine, problem, each) for each in (good, bad)]
    assert [verdict.passed for verdict in asyncio.run(both())] == [True, False]
    assert [future.result(timeout=30).passed for future in futures] == [True, False]
    assert [judge(engine, problem, each).passed for each in (good, bad)] == [True, False]


def test_a_submitted_judgement_can_be_cancelled_and_reports_bad_use(engine: Engine) -> None:
    problem = _problem(CodeTest("f(1)"), entry_point=None)
    assert isinstance(submit_judge(engine, problem, Completion(task_id="p", text=""), STRICT).exception(timeout=30), UsageError)
    slow = submit_judge(engine, _problem(CodeTest("f(1)")), Completion(task_id="p", text="import time\ntime.sleep(20)"), STRICT)
    assert slow.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        slow.result(timeout=30)


def test_verdicts_do_not_depend_on_the_order_of_candidates(engine: Engine) -> None:
    problem = _problem(CodeTest("import sys\nassert f(3) == 3 and not hasattr(sys, 'planted')\nsys.planted = 1\n"))
    sources = ["import sys\nsys.planted = 1\ndef f(x): return x", "def f(x): return x", "def f(x): return -x"]
    forward = [judge(engine, problem, Completion(task_id="p", text=source), STRICT).passed for source in sources]
    backward = [judge(engine, problem, Completion(task_id="p", text=source), STRICT).passed for source in reversed(sources)]
    assert forward == backward[::-1] == [True, True, False]


@pytest.mark.parametrize("test", ["assert eval(f(1)) == 3", "import pickle\nassert pickle.loads(f(1)) == 3", "import os\nos.system(f(1))"])
def test_tests_that_evaluate_text_are_not_protected(test: str, engine: Engine) -> None:
    reference = "def f(x): return '1 + 2' if __name__ != 'never' else ''"
    assert not _calibrate(engine, reference, CodeTest(test)).protected
    assert not calibrate(engine, _problem(CodeTest(test))).protected
    assert _calibrate(engine, reference, CodeTest("import re\nassert re.compile('1').match(f(1))")).protected


@pytest.mark.parametrize(
    ("reference", "needed"),
    [
        ("def helper(): pass", True),
        ("from m import helper", True),
        ("import a.helper as helper", True),
        ("try:\n    helper = 1\nexcept ValueError as e:\n    pass", True),
        ("def g():\n    global helper\n    helper = 1", True),
        ("from m import *", True),
        ("def f(:", True),
        ("for helper, x in []: pass", True),
        ("def g():\n    helper = 1", False),
        ("class C:\n    def helper(self): pass", False),
        ("def f(helper): pass", False),
    ],
)
def test_helpers_are_looked_for_only_where_they_can_be(reference: str, needed: bool) -> None:
    assert needs_reference(reference, ("assert f(helper) == 1",), "f") is needed
