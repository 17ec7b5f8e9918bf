"""Test files as judges: what each of their tests says, which need one shared process, and what no candidate can make of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from groundrun.engine import Engine
from groundrun.errors import UsageError
from groundrun.judging import Calibration, calibrate, judge
from groundrun.judging.reading import choose_style
from groundrun.records import CodeTest, Completion, FileTest, Problem, Test, Verdict

pytestmark = pytest.mark.exec

SHOP = """
LIMIT = 3

class OutOfStock(ValueError):
    def __str__(self):
        return "no " + self.args[0]

def price(count, each=2):
    if count < 0:
        raise ValueError("negative")
    return count * each

def sort_in_place(items):
    items.sort()

def greet():
    print("hello")

class Shop:
    def __init__(self):
        self.items = []
    def add(self, item):
        self.items.append(item)
    def take(self, item):
        if item not in self.items:
            raise OutOfStock(item)
        self.items.remove(item)
        return item
    def __len__(self):
        return len(self.items)
"""
UNIT = """
import unittest
import solution
from solution import OutOfStock, Shop, price

class TestPrice(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.one = price(1)
    def test_each(self):
        for count in range(4):
            with self.subTest(count=count):
                self.assertEqual(price(count), count * self.one)
    def test_limit(self):
        self.assertEqual(solution.LIMIT, 3)
    def test_negative(self):
        with self.assertRaisesRegex(ValueError, "neg"):
            price(-1)
    @unittest.skip("later")
    def test_later(self):
        self.fail()
    @unittest.expectedFailure
    def test_unfinished(self):
        self.assertEqual(price(1), 1)

class TestShop(unittest.TestCase):
    def setUp(self):
        self.shop = Shop()
        self.shop.add("tea")
    def test_take(self):
        self.assertEqual(self.shop.take("tea"), "tea")
        self.assertEqual(len(self.shop), 0)
    def test_missing(self):
        with self.assertRaises(OutOfStock) as caught:
            self.shop.take("milk")
        self.assertEqual(str(caught.exception), "no milk")

if __name__ == "__main__":
    unittest.main()
"""
PYTEST = """
import pytest
import solution
from solution import *

@pytest.fixture
def shop():
    made = Shop()
    made.add("tea")
    yield made
    assert len(made) < 5

@pytest.mark.parametrize(("count", "total"), [(0, 0), (2, 4), pytest.param(5, 10, id="many")])
def test_price(count, total):
    assert price(count) == total

class TestShop:
    def test_take(self, shop, tmp_path):
        assert shop.take("tea") == "tea" and len(shop) == 0
    def test_missing(self, shop):
        with pytest.raises(solution.OutOfStock, match="no milk"):
            shop.take("milk")

def test_greets(capsys):
    solution.greet()
    assert capsys.readouterr().out == "hello\\n"

def test_sorts():
    items = [2, 1]
    sort_in_place(items)
    assert items == [1, 2]

@pytest.mark.skipif(True, reason="not here")
def test_elsewhere():
    assert False

@pytest.mark.xfail
def test_unfinished():
    assert price(1) == 1
"""
UNIT_NAMES = ("TestPrice.test_each", "TestPrice.test_limit", "TestPrice.test_negative", "TestShop.test_missing", "TestShop.test_take")
PYTEST_NAMES = (
    *("test_price[0-0]", "test_price[2-4]", "test_price[many]", "TestShop::test_take", "TestShop::test_missing"),
    *("test_greets", "test_sorts"),
)


def _problem(*tests: Test, reference: str | None = SHOP, entry_point: str | None = None) -> Problem:
    return Problem(task_id="shop", prompt="", entry_point=entry_point, reference=reference, hidden=tests)


def _judge(engine: Engine, problem: Problem, source: str, calibration: Calibration | None = None) -> Verdict:
    return judge(engine, problem, Completion(task_id="shop", text=source), calibration)


def _pytest(source: str) -> FileTest:
    return FileTest(source, style="pytest", name="test_shop.py")


SHOP_UNIT = _problem(FileTest(UNIT, name="test_shop.py"))
SHOP_PYTEST = _problem(_pytest(PYTEST))


@pytest.fixture(scope="module")
def calibrated(engine: Engine) -> dict[str, Calibration]:
    return {"unittest": calibrate(engine, SHOP_UNIT), "pytest": calibrate(engine, SHOP_PYTEST)}


def test_ordinary_files_are_judged_protected(calibrated: dict[str, Calibration]) -> None:
    assert all(found.passed and found.protected for found in calibrated.values())
    assert calibrated["unittest"].counted == (UNIT_NAMES,)
    assert calibrated["pytest"].counted == (PYTEST_NAMES,)
    assert calibrated["pytest"].writes_back == ("sort_in_place:0",)
    used = {name for _, name, gives in calibrated["pytest"].operations if not gives and not name.startswith(("export ", "exception "))}
    assert used == {"call", "get add", "get take", "len"}


@pytest.mark.parametrize(
    ("change", "unittest_says", "pytest_says", "first"),
    [
        (("", ""), "+++++", "+++++++", ""),
        (("count * each", "count + each"), "-++++", "-+-++++", "TestPrice.test_each"),
        (("LIMIT = 3", "LIMIT = True"), "+-+++", "+++++++", "TestPrice.test_limit"),
        (("raise OutOfStock(item)", "raise ValueError(item)"), "+++-+", "++++-++", "TestShop.test_missing"),
        (("items.sort()", "return sorted(items)"), "+++++", "++++++-", ""),
        (("def add", "def put"), "+++--", "+++--++", "TestShop.test_missing"),
        (("return len(self.items)", "import os; os._exit(0)"), "++++-", "+++-...", "TestShop.test_take"),
        (("return count * each", "import os; os._exit(0)"), "---..", "-......", "TestPrice.test_each"),
        (("def price", "def cost"), "-----", "---++++", ""),
        (("LIMIT = 3", "LIMIT = 1 / 0"), ".....", ".......", ""),
    ],
)
def test_each_test_says_how_it_went(
    change: tuple[str, str], unittest_says: str, pytest_says: str, first: str, engine: Engine, calibrated: dict[str, Calibration]
) -> None:
    source = SHOP.replace(*change) if change[0] else SHOP
    for problem, style, said in ((SHOP_UNIT, "unittest", unittest_says), (SHOP_PYTEST, "pytest", pytest_says)):
        verdict = _judge(engine, problem, source, calibrated[style])
        assert verdict.tests[0].inputs == said, verdict
        assert verdict.passed is (set(said) == {"+"}) and verdict.protected
        if style == "unittest" and first:
            assert verdict.evidence is not None and verdict.evidence.test == f"test_shop.py::{first}" and verdict.evidence.hidden
            assert verdict.evidence.redacted().test == ""


def test_a_failed_assertion_is_told_in_the_words_of_its_framework(engine: Engine, calibrated: dict[str, Calibration]) -> None:
    verdict = _judge(engine, SHOP_PYTEST, SHOP.replace("count * each", "7"), calibrated["pytest"])
    assert verdict.evidence is not None and "where 7 = price(0)" in verdict.evidence.message
    verdict = _judge(engine, SHOP_UNIT, SHOP.replace("return item", "return 7"), calibrated["unittest"])
    assert verdict.evidence is not None and "7 != 'tea'" in verdict.evidence.message


@pytest.mark.parametrize(
    "test",
    [
        FileTest("import unittest, solution\nfrom unittest import mock\nclass T(unittest.TestCase):\n    @mock.patch('solution.LIMIT', 9)\n"
                 "    def test_a(self): self.assertEqual(solution.LIMIT, 9)\n"),
        _pytest("import solution\ndef test_a(monkeypatch):\n    monkeypatch.setattr(solution, 'LIMIT', 9)\n"
                "    assert solution.LIMIT == 9\n"),
        _pytest("import solution\ndef test_a():\n    assert isinstance(solution.Shop(), solution.Shop)\n"),
        _pytest("from solution import Shop\nclass Mine(Shop):\n    pass\ndef test_a():\n    assert len(Mine()) == 0\n"),
        _pytest("import importlib\nimport solution\ndef test_a():\n    assert importlib.import_module('solution').LIMIT == 3\n"),
    ],
)  # fmt: skip
def test_what_needs_one_process_is_judged_in_one_and_says_so(test: FileTest, engine: Engine) -> None:
    problem = _problem(test)
    found = calibrate(engine, problem)
    assert found.passed and not found.protected and "one shared process" in found.reason
    verdict = _judge(engine, problem, SHOP, found)
    assert verdict.passed and not verdict.protected and verdict.tests[0].inputs == "+"
    assert _judge(engine, problem, "OTHER = 4\n", found).passed is False


CLASS_LEVEL = """
import unittest
from solution import price
class TestA(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        assert price(1) == 2
    def test_a(self): pass
    def test_b(self): pass
class TestB(unittest.TestCase):
    def test_c(self): self.assertEqual(price(2), 4)
class TestC(unittest.TestCase):
    def test_d(self): self.assertEqual(price(2), 4)
    @classmethod
    def tearDownClass(cls):
        assert price(3) == 6
class TestD(unittest.TestCase):
    def test_e(self): self.assertEqual(price(2), 4)
"""


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def price(n): return 2 * n", "+++++"),
        ("def price(n): return 4", "--+-+"),
        ("import sys\ndef price(n):\n    if n == 1: sys.exit()\n    return 2 * n", "--+++"),
        ("def price(n):\n    return object() if n == 3 else 2 * n", "+++-+"),
    ],
)
def test_what_fails_around_a_class_fails_its_tests(source: str, says: str, engine: Engine) -> None:
    problem = _problem(FileTest(CLASS_LEVEL))
    assert _judge(engine, problem, source).tests[0].inputs == says


def test_what_is_noted_between_tests_can_not_be_swallowed(engine: Engine) -> None:
    text = "import unittest, solution\ntry:\n    solution.price(1)\nexcept BaseException:\n    pass\n"
    problem = _problem(FileTest(text + "class T(unittest.TestCase):\n    def test_a(self): pass\n    def test_b(self): pass\n"))
    assert _judge(engine, problem, SHOP).passed is True
    assert _judge(engine, problem, "def price(n): raise SystemExit").passed is False
    assert _judge(engine, problem, "def price(n): raise ValueError").passed is True  # what the test forgives is forgiven


def test_files_beside_other_tests_and_each_other(engine: Engine) -> None:
    unit, other = FileTest(UNIT, name="a"), FileTest(PYTEST.replace("solution", "pack.shop"), style="pytest", module="pack.shop", name="b")
    problem = _problem(CodeTest("assert price(3) == 6"), unit, other, entry_point="price")
    found = calibrate(engine, problem)
    assert found.passed and found.protected and found.counted == ((), UNIT_NAMES, PYTEST_NAMES)
    verdict = _judge(engine, problem, SHOP.replace("items.sort()", "pass"), found)
    assert [(test.passed, test.inputs) for test in verdict.tests] == [(True, ""), (True, "+++++"), (False, "++++++-")]


@pytest.mark.parametrize(
    ("test", "says"),
    [
        (FileTest("import solution\n"), "begins with 'test'"),
        (FileTest("def test_a(): pass\n"), "ran no test"),
        (FileTest("def test_a(): pass\n", style="nose"), "use one of unittest, pytest"),
        (FileTest("def test_a(): pass\n", module="a b"), "not the name of a module"),
        (FileTest("def test_a(): pass\n", module="unittest"), "may need: choose another name"),
        (FileTest("import unittest\nclass T(unittest.TestCase:\n    def test_a(self): pass\n"), "SyntaxError"),
        (_pytest("import pytest\n@pytest.mark.skip\ndef test_a(): pass\n"), "skipped all"),
        (_pytest("import pytest\npytest.importorskip('no_such_library')\ndef test_a(): pass\n"), "skipped all"),
    ],
)
def test_files_that_are_no_tests_are_refused(test: FileTest, says: str, engine: Engine) -> None:
    with pytest.raises(UsageError, match=says):
        calibrate(engine, _problem(test))


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        (_pytest("from solution import price\ndef test_a(): assert price(1) == 3\n"), "a test failed"),
        (_pytest("from solution import nothing\ndef test_a(): pass\n"), "a test failed"),
        (FileTest("raise SystemExit(0)\ndef test_a(): pass\n"), "a test failed"),
        (FileTest("import os\nos._exit(0)\ndef test_a(): pass\n"), "couldn't finish"),
        (_pytest("import pytest\ndef test_a(): pytest.exit('enough', returncode=0)\ndef test_b(): pass\n"), "a test failed"),
    ],
)
def test_a_reference_that_fails_its_files_is_no_reference(test: FileTest, reason: str, engine: Engine) -> None:
    found = calibrate(engine, _problem(test))
    assert not found.passed and reason in found.reason


def test_without_a_reference_every_test_counts(engine: Engine) -> None:
    problem = _problem(_pytest("import pytest\nfrom solution import price\ndef test_a(): assert price(2) == 4\n"), reference=None)
    assert _judge(engine, problem, SHOP).passed is True
    skipping = _problem(_pytest("import pytest\ndef test_a(): pass\n@pytest.mark.skip\ndef test_b(): pass\n"), reference=None)
    verdict = _judge(engine, skipping, SHOP)
    assert verdict.passed is False and verdict.tests[0].inputs == "+-"
    starred = _problem(_pytest("from solution import *\ndef test_a(): assert price(2) == 4\n"), reference=None)
    assert "no reference says what that is" in _judge(engine, starred, SHOP).reason


PASSING = "def test_a(): assert solution.price(2) == 4\n"


@pytest.mark.parametrize(
    ("test", "says"),
    [
        (_pytest("import solution\ndef test_a(:\n"), "SyntaxError"),
        (_pytest("from solution import price\nimport helper\n" + PASSING), "No module named 'helper'"),
        (FileTest("import unittest, solution, no_such_library\nclass T(unittest.TestCase):\n    " + PASSING), "no_such_library"),
        (_pytest("import solution\n" + PASSING + "def test_b(nothing): pass\n"), "FixtureLookupError"),
        (_pytest("import solution, os\nos._exit(0)\n" + PASSING), "ends the process"),
    ],
)
def test_without_a_reference_a_broken_file_is_nobodys_failure(test: FileTest, says: str, engine: Engine) -> None:
    with pytest.raises(UsageError, match=says):
        _judge(engine, _problem(test, reference=None), SHOP)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "def price(n): import no_such_library",
        "def price(n): raise ImportError('No module named helper')",
        "raise SyntaxError('invalid syntax')",
        "import os\ndef price(n): os._exit(0)",
        "def __getattr__(name): raise SyntaxError('invalid syntax')",
    ],
)
@pytest.mark.parametrize(
    "head", ["import solution\n", "from solution import price\nimport solution\n", "import solution\nsolution.price(1)\n"]
)
def test_no_program_can_blame_a_file(head: str, source: str, engine: Engine) -> None:
    assert _judge(engine, _problem(_pytest(head + PASSING), reference=None), source).passed is False


PARSE = """
class ParseError(Exception):
    pass
LEVEL = 2
def is_even(n): return n % 2 == 0
def parse(text):
    if not text: raise ParseError("empty")
    return int(text)
"""
PARSE_UNIT = """
import unittest, solution
class T(unittest.TestCase):
    def test_even(self): self.assertTrue(solution.is_even(2))
    def test_level(self): self.assertTrue(solution.LEVEL)
    def test_parse(self):
        with self.assertRaises(solution.ParseError):
            solution.parse("")
    def test_number(self): self.assertEqual(solution.parse("4711"), 4711)
"""
PARSE_PYTEST = """
import pytest, solution
from solution import ParseError
def test_even(): assert solution.is_even(2)
def test_parse():
    with pytest.raises(ParseError, match="empty"):
        solution.parse("")
    assert solution.parse("4711") == 4711
"""
MOCKING = "def test_mock():\n    with mock.patch('solution.LEVEL', 3):\n        assert solution.LEVEL == 3\n"
OWN_CLASS = "class ParseError(Exception):\n    pass"


@pytest.mark.parametrize("reference", [PARSE, PARSE.replace(OWN_CLASS, "ParseError = ValueError"), None])
@pytest.mark.parametrize(
    "change",
    [
        OWN_CLASS,
        "ParseError = ValueError",
        "from decimal import InvalidOperation as ParseError",
        "import abc\nclass ParseError(Exception, abc.ABC): pass",
        "class Meta(type): pass\nclass ParseError(KeyError, metaclass=Meta):\n    def __str__(self): return 'empty'",
    ],
)
def test_an_exception_may_be_defined_in_any_way(change: str, reference: str | None, engine: Engine) -> None:
    for test in (FileTest(PARSE_UNIT), _pytest(PARSE_PYTEST)):
        verdict = _judge(engine, _problem(test, reference=reference), PARSE.replace(OWN_CLASS, change))
        assert verdict.passed and verdict.protected, verdict


def test_an_except_clause_names_an_exception_of_the_reference(engine: Engine) -> None:
    text = "import solution\ndef test_a():\n    try:\n        assert solution.parse(TEXT) == 3\n"
    text += "    except solution.ParseError as error:\n        assert str(error)\n"
    later = text.replace("test_a", "test_b").replace("TEXT", "'3'")  # never reaches the name when the reference runs
    problem = _problem(_pytest(text.replace("TEXT", "''") + later), reference=PARSE)
    found = calibrate(engine, problem)
    for change in (OWN_CLASS, "ParseError = ValueError", "class ParseError(LookupError): pass"):
        source = PARSE.replace(OWN_CLASS, change)
        assert _judge(engine, problem, source, found).passed is True
        assert _judge(engine, problem, source.replace("if not text:", "if text != 'x':"), found).passed is True


@pytest.mark.attack
@pytest.mark.parametrize("reference", [PARSE, None])
@pytest.mark.parametrize(
    "cheat", ["class is_even(Exception): pass", "is_even = ValueError", "import abc\nclass is_even(ParseError, abc.ABC): pass"]
)
def test_no_exception_stands_in_for_a_function(cheat: str, reference: str | None, engine: Engine) -> None:
    source = PARSE.replace("def is_even(n): return n % 2 == 0", cheat)
    for test in (FileTest(PARSE_UNIT), _pytest(PARSE_PYTEST)):
        verdict = _judge(engine, _problem(test, reference=reference), source)
        assert verdict.passed is False and verdict.protected and verdict.tests[0].inputs[0] == "-"


@pytest.mark.attack
def test_no_exception_stands_in_for_a_value_of_the_reference(engine: Engine) -> None:
    problem = _problem(FileTest(PARSE_UNIT), reference=PARSE)
    assert _judge(engine, problem, PARSE.replace("LEVEL = 2", "class LEVEL(Exception): pass")).passed is False


@pytest.mark.attack
def test_a_name_of_an_exception_tells_nothing_of_a_hidden_test(engine: Engine) -> None:
    leak = PARSE.replace("return int(text)", "raise type('saw_' + text, (ValueError,), {})(text)")
    for test in (FileTest(PARSE_UNIT), _pytest(PARSE_PYTEST), _pytest("from unittest import mock\n" + PARSE_PYTEST + MOCKING)):
        problem = _problem(test, reference=PARSE)
        verdict = _judge(engine, problem, leak)
        assert verdict.passed is False and verdict.evidence is not None and verdict.evidence.exception is not None
        assert verdict.evidence.exception.type == "saw_4711"
        assert "4711" not in verdict.reason + repr(verdict.evidence.redacted())
        assert verdict.reason == "the candidate raised an exception"


@pytest.mark.attack
def test_a_forged_report_of_a_shared_process_has_no_say_in_the_reason(engine: Engine) -> None:
    problem = _problem(_pytest("from unittest import mock\n" + PARSE_PYTEST + MOCKING), reference=PARSE)
    found = calibrate(engine, problem)
    assert found.passed and not found.protected
    forge = """
import json
dumps = json.dumps
def forge(report, **keywords):
    for failure in report["failures"]:
        failure["refused"] = "the input was 4711"
    report["parts"] = [[[name, MARK] for name, mark in pairs] for pairs in report["parts"]]
    return dumps(report, **keywords)
json.dumps = forge
"""
    for mark in ("mark", "'4711'"):
        source = PARSE.replace("return int(text)", "return text") + forge.replace("MARK", mark)
        verdict = _judge(engine, problem, source, found)
        assert verdict.passed is False and "4711" not in verdict.reason + repr(verdict.tests)


def test_conftest_and_settings_are_not_read(engine: Engine) -> None:
    files = {"conftest.py": b"raise SystemExit(3)\n", "pytest.ini": b"[pytest]\naddopts = --collect-only\n", "data.txt": b"4"}
    text = "import pathlib\nfrom solution import price\ndef test_a():\n"
    text += "    assert price(2) == int((pathlib.Path(__file__).parent / 'data.txt').read_text())\n"
    problem = Problem(task_id="shop", prompt="", reference=SHOP, hidden=(_pytest(text),), files=files)
    assert _judge(engine, problem, SHOP).passed is True
    assert _judge(engine, problem, SHOP.replace("count * each", "5")).passed is False


def test_an_interpreter_without_pytest_is_named(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True, timeout=50)
    with Engine(workers=1, isolation="none", python=str(tmp_path / "bare" / "bin" / "python")) as bare:
        assert _judge(bare, SHOP_UNIT, SHOP).passed is True
        with pytest.raises(UsageError, match="install pytest into it"):
            _judge(bare, SHOP_PYTEST, SHOP)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("source", "style"),
    [
        ("import unittest\nclass T(unittest.TestCase):\n    def test_a(self): pass\n", "unittest"),
        ("def test_a(): pass\n", "pytest"),
        ("import unittest\nfrom pytest import mark\nclass T(unittest.TestCase): pass\n", "pytest"),
        ("class TestA:\n    def test_a(self): pass\n", "pytest"),
        ("not python", "unittest"),
    ],
)
def test_the_style_is_read_from_the_source(source: str, style: str) -> None:
    assert choose_style(source) == style


CHEATS = {
    "unittest's skip": "import unittest\ndef price(*a): raise unittest.SkipTest('no')\nclass Shop:\n    def __init__(self): price()\n",
    "pytest's skip": "import pytest\ndef price(*a): pytest.skip('no')\nclass Shop:\n    def __init__(self): price()\n",
    "pytest's exit": "import pytest\ndef price(*a): pytest.exit('done', returncode=0)\nShop = greet = sort_in_place = price\n",
    "pytest's xfail": "import pytest\ndef price(*a): pytest.xfail('no')\nShop = greet = sort_in_place = price\n",
    "a skip of its own": "class Skipped(Exception): __module__ = '_pytest.outcomes'\ndef price(*a): raise Skipped('no')\n",
    "the end": "import os\ndef price(*a): os._exit(0)\nShop = greet = sort_in_place = price\n",
    "an exit": "import sys\ndef price(*a): sys.exit(0)\nShop = greet = sort_in_place = price\n",
    "an exit handler": "import atexit, os\natexit.register(os._exit, 0)\ndef price(*a): raise SystemExit(0)\n",
    "a patched unittest": "import unittest\nunittest.TestCase.assertEqual = unittest.TestCase.run = lambda *a, **k: None\n"
    "def price(*a): return 1\n",
    "a patched pytest": "import pytest, _pytest.runner\n_pytest.runner.runtestprotocol = lambda *a, **k: []\n"
    "pytest.main = lambda *a, **k: 0\n"
    "def price(*a): return 1\n",
    "hooks": "import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_runtest_protocol(item): return True\n"
    "def pytest_collection_modifyitems(items): items.clear()\npytest_plugins = ['solution']\ndef price(*a): return 1\n",
    "a conftest": "text = 'def pytest_collection_modifyitems(items): items.clear()'\nfor name in ('conftest.py', '../conftest.py'):\n"
    "    try: open(name, 'w').write(text)\n    except OSError: pass\ndef price(*a): return 1\n",
    "a report": "print('5 passed in 0.01s')\nprint('Ran 5 tests\\\\n\\\\nOK')\ndef price(*a):\n    print('1 passed'); return '1 passed'\n",
    "a file of its own": "import glob\nfor name in glob.glob('test_*') + ['test_file_0.py', 'unittest.py', 'pytest.py']:\n"
    "    try: open(name, 'w').write('main = TestCase = None')\n    except OSError: pass\ndef price(*a): return 1\n",
    "builtins by import *": "def all(x): return True\nlen = abs = sum = isinstance = lambda *a: True\n"
    "__all__ = ['all', 'len', 'price', 'pytest']\n"
    "class pytest: pass\ndef price(*a): return 1\n",
    "tests by import *": "def test_price(*a): pass\ndef setUpModule(): pass\ndef load_tests(*a): return []\n__test__ = False\n"
    "def price(*a): return 1\n",
    "names for everything": "def __getattr__(name): return price\ndef price(*a, **k): return price\n",
    "an equal to everything": "class All:\n    __eq__ = lambda *a: True\n    __ne__ = lambda *a: False\n    __len__ = lambda s: 0\n"
    "    def take(self, x): return self\n    def add(self, x): pass\ndef price(*a): return All()\nShop = All\nLIMIT = All()\n",
    "an exception that is any": "OutOfStock = BaseException\nclass Shop:\n    def add(self, x): pass\n"
    "    def take(self, x): raise ValueError('no milk')\n"
    "    def __len__(self): return 0\n",
    "nothing": "",
}  # fmt: skip


@pytest.mark.attack
@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_fails_unittest(name: str, each_engine: Engine, calibrated: dict[str, Calibration]) -> None:
    _fails(_judge(each_engine, SHOP_UNIT, CHEATS[name], calibrated["unittest"]))


@pytest.mark.attack
@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_fails_pytest(name: str, engine: Engine, calibrated: dict[str, Calibration]) -> None:
    _fails(_judge(engine, SHOP_PYTEST, CHEATS[name], calibrated["pytest"]))


def _fails(verdict: Verdict) -> None:
    assert verdict.passed is False and verdict.score == 0.0 and verdict.protected
    assert set(verdict.tests[0].inputs) & {"-", "."}


@pytest.mark.attack
def test_in_one_process_neither_a_skip_nor_an_exit_passes(engine: Engine) -> None:
    text = "import pytest, solution\ndef test_a(monkeypatch):\n    monkeypatch.setattr(solution, 'LIMIT', 9)\n"
    text += "    assert solution.price(2) == 4\n"
    problem = _problem(_pytest(text))
    found = calibrate(engine, problem)
    assert found.passed and not found.protected
    for cheat in ("raise unittest.SkipTest('no')", "pytest.skip('no')", "pytest.xfail('no')", "os._exit(0)", "sys.exit(0)"):
        source = f"import os, sys, pytest, unittest\nLIMIT = 3\ndef price(n):\n    {cheat}\n"
        assert _judge(engine, problem, source, found).passed is False


def test_what_a_file_holds_may_not_depend_on_the_candidate(engine: Engine) -> None:
    text = "import pytest, solution\n@pytest.mark.parametrize('n', solution.SIZES)\ndef test_a(n):\n    assert solution.price(n) == 2 * n\n"
    problem = _problem(_pytest(text), reference="SIZES = [1, 2]\n" + SHOP)
    found = calibrate(engine, problem)
    assert found.protected and found.counted == (("test_a[1]", "test_a[2]"),)
    for sizes, says in (("[1, 2, 3]", "++"), ("[]", "--"), ("[2]", "-+"), ("range(9999)", "++")):
        verdict = _judge(engine, problem, f"SIZES = {sizes}\n{SHOP}", found)
        assert (verdict.passed, verdict.tests[0].inputs) == (says == "++", says)


def test_a_file_of_too_many_tests_is_named_as_the_reason(engine: Engine) -> None:
    text = "import unittest\nclass T(unittest.TestCase): pass\nfor n in range(4001):\n    setattr(T, f'test_{n}', lambda self: None)\n"
    with pytest.raises(UsageError, match="at most 4000"):
        _judge(engine, _problem(FileTest(text + "def test_none(): pass\n"), reference=None), SHOP)


def test_members_are_the_candidates_own_and_no_more(engine: Engine) -> None:
    text = """
import pytest, solution
def test_a():
    assert not hasattr(solution, "nothing") and callable(solution.price) and solution.price is solution.price
    assert solution.price.__name__ == "price" and "LIMIT" in dir(solution)
    with pytest.raises(ImportError):
        from solution import nothing
    with pytest.raises(TypeError):
        solution.price()
    with pytest.raises(ValueError) as caught:
        solution.Shop().take("milk")
    assert type(caught.value) is solution.OutOfStock and caught.value.args == ("milk",) and issubclass(solution.OutOfStock, ValueError)
"""
    found = calibrate(engine, _problem(_pytest(text)))
    assert found.passed and found.protected, found.reason


def test_objects_in_failed_assertions_are_shown_and_do_not_hide_them(engine: Engine) -> None:
    text = "import solution\ndef test_a():\n    shop = solution.Shop()\n    shop.add('tea')\n    assert len(shop) == 1\n"
    text += "def test_b():\n    try:\n        assert not len(solution.Shop())\n    except AssertionError as error:\n        str(error)\n"
    problem = _problem(_pytest(text))
    found = calibrate(engine, problem)
    assert found.protected and "repr" not in {operation for _, operation, _ in found.operations}
    verdict = _judge(engine, problem, SHOP.replace("len(self.items)", "7"), found)
    assert verdict.evidence is not None and verdict.evidence.message.startswith("line 5: assert len(shop) == 1 -- assert 7 == 1")
    assert "<a Shop of the candidate>" in verdict.evidence.message
    assert verdict.tests[0].inputs == "--"  # what a test made of a text of ours is no reason to pass


def test_no_text_of_the_candidate_is_evaluated(engine: Engine) -> None:
    text = "import pytest, solution\n@pytest.mark.xfail(solution.OLD, reason='old')\ndef test_a():\n    assert solution.LIMIT == 3\n"
    problem = _problem(_pytest(text), reference="OLD = False\n" + SHOP)
    found = calibrate(engine, problem)
    assert found.protected and _judge(engine, problem, "OLD = 0\nLIMIT = 3", found).passed is True
    verdict = _judge(engine, problem, "OLD = 'False'\nLIMIT = 3", found)
    assert verdict.passed is False and verdict.evidence is not None and "evaluates" in verdict.evidence.message


def test_other_tests_pay_for_no_framework() -> None:
    test = CodeTest("import sys\nassert not {'unittest', 'pytest'} & set(sys.modules), sys.modules\nassert price(1) == 2")
    with Engine(workers=1) as fresh:
        verdict = _judge(fresh, _problem(test, entry_point="price"), SHOP)
    assert verdict.passed and verdict.protected
