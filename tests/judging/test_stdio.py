"""Text in, text out: comparators, checkers, and whose fault a broken checker is."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrun.engine import Engine
from groundrun.errors import EngineError, UsageError
from groundrun.judging import calibrate, judge
from groundrun.judging.comparison import equal_by_float, equal_by_token, equal_exactly
from groundrun.records import Completion, Limits, Outcome, Problem, StdioTest, Verdict

DOUBLE = "print(2 * int(input()))"


def _problem(*tests: StdioTest, reference: str = DOUBLE) -> Problem:
    return Problem(task_id="p", prompt="", reference=reference, hidden=tests, limits=Limits(cpu_s=1, wall_s=10))


def _judge(engine: Engine, source: str, *tests: StdioTest) -> Verdict:
    return judge(engine, _problem(*tests), Completion(task_id="p", text=source))


@pytest.mark.unit
@pytest.mark.parametrize(
    ("got", "expected", "exact", "token", "close"),
    [
        ("1 2\n", "1 2\n", True, True, True),
        ("1 2", "1 2\n", True, True, True),
        ("1  2 \n\n", "1 2\n", False, True, True),
        ("1 2\n", "1\n2\n", False, True, True),
        ("1.0000001 2", "1 2", False, False, True),
        ("1.1 2", "1 2", False, False, False),
        ("1e308 x", "1e308 x", True, True, True),
        ("nan", "NaN", False, False, True),
        ("nan", "1", False, False, False),
        ("1", "nan", False, False, False),
        ("inf", "1e999", False, False, True),
        ("inf", "1e300", False, False, False),
        ("1_0", "10", False, False, False),
        ("1", "1 1", False, False, False),
        ("", "", True, True, True),
        ("٣", "3", False, False, False),
        ("9" * 5000, "9" * 4999 + "8", False, False, False),
    ],
)
def test_comparators(got: str, expected: str, exact: bool, token: bool, close: bool) -> None:
    assert equal_exactly(got, expected) is exact
    assert equal_by_token(got, expected) is token
    assert equal_by_float(got, expected, tolerance=1e-6) is close


@pytest.mark.unit
@given(st.text(), st.text())
def test_each_comparator_forgives_more_than_the_one_before(got: str, expected: str) -> None:
    if equal_exactly(got, expected):
        assert equal_by_token(got, expected)
    if equal_by_token(got, expected):
        assert equal_by_float(got, expected, tolerance=0.0)
    assert equal_by_float(got, got, tolerance=0.0)


@pytest.mark.exec
def test_programs_are_judged_by_what_they_print(engine: Engine) -> None:
    tests = (StdioTest(stdin="2\n", expected="4\n", name="two"), StdioTest(stdin="-5\n", expected="-10", name="minus five"))
    assert calibrate(engine, _problem(*tests)).passed
    right = _judge(engine, DOUBLE, *tests)
    assert right.passed and right.protected and right.isolation is not None
    wrong = _judge(engine, "print(4)", *tests)
    assert wrong.passed is False and [test.passed for test in wrong.tests] == [True, False]
    assert wrong.evidence is not None and wrong.evidence.test == "minus five" and wrong.evidence.stdout == "4\n"
    assert "-10" not in wrong.reason + repr(wrong.evidence.redacted())


@pytest.mark.exec
@pytest.mark.attack
def test_a_name_of_an_exception_tells_nothing_of_a_hidden_input(engine: Engine) -> None:
    for error, name in (("type('saw_' + input(), (Exception,), {})", "an exception"), ("ValueError", "ValueError")):
        verdict = _judge(engine, f"raise {error}()", StdioTest(stdin="4711\n", expected="4711"))
        assert verdict.passed is False and verdict.evidence is not None
        assert verdict.evidence.exception is not None and verdict.evidence.exception.type in ("saw_4711", "ValueError")
        shown = verdict.evidence.redacted()
        assert shown.exception is not None and shown.exception.type == name and "4711" not in verdict.reason + repr(shown)


@pytest.mark.exec
@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        ("print(4)\nraise SystemExit(3)", Outcome.EXITED),
        ("print(4)\n1 / 0", Outcome.RAISED),
        ("print(4, flush=True)\nwhile True: pass", Outcome.CPU_LIMIT),
    ],
)
def test_a_right_output_does_not_excuse_a_bad_end(source: str, outcome: Outcome, engine: Engine) -> None:
    tests = (StdioTest(stdin="2\n", expected="4\n"), StdioTest(stdin="2\n", expected="4\n"))
    verdict = judge(engine, _problem(*tests), Completion(task_id="p", text=source))
    assert (verdict.passed, verdict.outcome) == (False, outcome)
    assert verdict.tests[1].passed is (None if outcome.is_limit else False)


@pytest.mark.exec
def test_the_expected_output_is_nowhere_near_the_program(engine: Engine) -> None:
    nosy = """
import glob, os
wanted = 'secret ' + str(4700 + 11)
for place in glob.glob('**', recursive=True) + glob.glob('/proc/self/environ') + glob.glob('/proc/self/cmdline'):
    if os.path.isfile(place) and wanted in open(place, errors='replace').read():
        print(wanted)
"""
    assert _judge(engine, nosy, StdioTest(stdin="", expected="secret 4711")).passed is False


CHECKER = """
import sys
given, got, expected = (open(name).read() for name in ("input.txt", "output.txt", "expected.txt"))
a, b = map(int, got.split())
assert expected == "any\\n"
sys.exit(0 if a + b == int(given) else 1)
"""


@pytest.mark.exec
def test_a_checker_decides(engine: Engine) -> None:
    test = StdioTest(stdin="7\n", expected="any\n", comparison="checker", checker=CHECKER)
    problem = _problem(test, reference="print(0, input())")  # "any" itself is no right output, so the reference tells
    assert judge(engine, problem, Completion(task_id="p", text="print(3, 4)")).passed
    assert judge(engine, problem, Completion(task_id="p", text="print(3, 5)")).passed is False
    assert judge(engine, problem, Completion(task_id="p", text="print('x')")).passed is False


@pytest.mark.exec
def test_a_refused_output_is_not_held_against_one_of_many_right_ones(engine: Engine) -> None:
    test = StdioTest(stdin="7\n", expected="any\n", comparison="checker", checker=CHECKER)
    verdict = judge(engine, _problem(test, reference="print(0, input())"), Completion(task_id="p", text="print(3, 5)"))
    assert verdict.reason == "the checker of a test refused the output"
    assert verdict.evidence is not None and verdict.evidence.message == "the checker refused the output"


@pytest.mark.exec
def test_a_checker_has_the_files_of_the_problem(engine: Engine) -> None:
    checker = "words = open('words/all.txt').read().split()\nraise SystemExit(open('output.txt').read().strip() not in words)\n"
    test = StdioTest(stdin="", expected="", comparison="checker", checker=checker)
    files = {"words/all.txt": b"ant bee", "output.txt": b"bee", "input.txt": b"for the program"}
    problem = msgspec.structs.replace(_problem(test, reference="print('ant')"), files=files)
    assert calibrate(engine, problem).passed
    assert judge(engine, problem, Completion(task_id="p", text="print('cow')")).passed is False
    assert judge(engine, problem, Completion(task_id="p", text="print(open('output.txt').read())")).passed


@pytest.mark.exec
def test_no_file_of_a_problem_is_replaced_by_the_program(engine: Engine) -> None:
    test = StdioTest(stdin="", expected="1")
    for name in ("main.py", "./main.py"):
        problem = msgspec.structs.replace(_problem(test, reference="print(1)"), files={name: b"X = 1"})
        with pytest.raises(UsageError, match="rename the file"):
            judge(engine, problem, Completion(task_id="p", text="print(1)"))
    same = msgspec.structs.replace(_problem(test, reference="print(1)"), files={"main.py": b"print(1)", "app/main.py": b"X = 1"})
    assert judge(engine, same, Completion(task_id="p", text="print(1)")).passed


@pytest.mark.exec
def test_breaking_the_checker_is_a_failure_unless_it_was_broken_before(engine: Engine) -> None:
    careless = "import sys\nn = int(open('output.txt').read())\nsys.exit(0 if n == int(open('expected.txt').read()) else 1)\n"
    test = StdioTest(stdin="", expected="4", comparison="checker", checker=careless)
    verdict = judge(engine, _problem(test, reference="print(4)"), Completion(task_id="p", text="print('not a number')"))
    assert verdict.passed is False and verdict.score == 0.0
    broken = StdioTest(stdin="", expected="4", comparison="checker", checker="raise SystemExit(9)")
    with pytest.raises(EngineError, match="mend the problem"):
        _judge(engine, "print(4)", broken)


@pytest.mark.exec
def test_bad_tests_are_refused_in_words(engine: Engine) -> None:
    with pytest.raises(UsageError, match="use one of exact, token, float, checker"):
        _judge(engine, "print(1)", StdioTest(stdin="", expected="", comparison="fuzzy"))
    with pytest.raises(UsageError, match=r"set StdioTest\.checker"):
        _judge(engine, "print(1)", StdioTest(stdin="", expected="", comparison="checker"))
    with pytest.raises(UsageError, match="no tests"):
        _judge(engine, "print(1)")
