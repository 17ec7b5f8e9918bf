"""A test file as people write them, run test by test: `unittest.TestCase`s by the standard library, the rest by pytest itself.

The same in the grader, where the module under test is a proxy, and in one shared process. Each test function, method or parameter set
is told about when it ends, and only what was told counts: neither an exit status nor a line of output. Every test is run, also after one
that failed. What happens outside of any test fails the tests it belongs to (`setUpClass`, `setUpModule`) or the file (its import).

pytest runs in this process with nothing but the file: no configuration, no `conftest.py`, no plugins that happen to be installed;
assertions are rewritten as usual. Both libraries are imported only when a file asks for them.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from groundrun.judging.guest.checks import Result, describe_error

PASSED, FAILED, UNREACHED, SKIPPED = "+", "-", ".", "s"
MOST_TESTS, NAME_LENGTH = 4000, 160  # of one file; a report has room for them
_PYTEST_OPTIONS = ("-c", os.devnull, "--noconftest", "--tb=native", "--capture=no", "--import-mode=prepend", "-q")
_PYTEST_WITHOUT = ("cacheprovider", "faulthandler", "junitxml", "pastebin", "doctest", "stepwise")


class Watch:
    """What a test's result means to whoever grades; this much for one shared process.

    `explain(name, result)` notes why a test failed, or, without a name, why the file did. `guarded`: the candidate is elsewhere, and no
    text of it may be evaluated here.
    """

    guarded = False

    def __init__(self, explain: Callable[[str, Result], None]) -> None:
        self.explain = explain

    def is_spoiled(self, *, passed: bool) -> bool:
        """Whether the running test, or what ran between tests, has failed, whatever it says itself."""
        return False

    def is_over(self) -> bool:
        """Whether no more tests need to run."""
        return False

    def begin(self) -> None:
        """A test has ended; forget what belongs to it."""


class Tally:
    """How the tests of one file went, in their order, and what went wrong outside of them."""

    def __init__(self, watch: Watch, counted: list[str], *, lenient: bool) -> None:
        self.watch, self._counted, self._lenient = watch, dict.fromkeys(counted), lenient
        self.marks: dict[str, str] = {}
        self.trouble: Result | None = None

    def counts(self, name: str) -> bool:
        """Whether a test is to be run: when a reference passed it, or nobody knows."""
        return not self._counted or name[:NAME_LENGTH] in self._counted

    def collect(self, names: Iterable[str]) -> None:
        """Expect tests of these names."""
        for name in names:
            self.marks[name[:NAME_LENGTH]] = UNREACHED
        if len(self.marks) > MOST_TESTS:
            self.trouble = Result(False, f"the file has {len(self.marks)} tests, at most {MOST_TESTS} are judged: split it")

    def close(self, name: str, result: Result) -> None:
        """Note how a test ended. One that failed once stays failed."""
        name = name[:NAME_LENGTH]
        mark = PASSED if result.passed else SKIPPED if result.skipped and self._lenient else FAILED
        if self.watch.is_spoiled(passed=result.passed):
            mark = FAILED
        if mark == FAILED:
            self.watch.explain(name, result)
        self.watch.begin()
        if self.marks.get(name) != FAILED:
            self.marks[name] = mark

    def conclude(self) -> tuple[bool, list[tuple[str, str]]]:
        """Whether the file passed, and the tests that count with their marks."""
        trouble = self.trouble
        if trouble is None and (self.watch.is_spoiled(passed=True) or not (self.marks or self._lenient)):
            trouble = Result(False, "no tests were found in the file")
        if trouble is None and UNREACHED in self.marks.values() and not self.watch.is_over():
            trouble = Result(False, "the tests ended before all of them had run")
        if trouble is not None and not (trouble.skipped and self._lenient):
            self.watch.explain("", trouble)
        names = list(self._counted) or [name for name, mark in self.marks.items() if mark != SKIPPED]
        lost = UNREACHED if self.watch.is_over() else FAILED
        shown = {PASSED: PASSED, FAILED: FAILED, SKIPPED: FAILED}
        pairs = [(name, shown.get(self.marks.get(name, UNREACHED), lost)) for name in names]
        return bool(pairs) and trouble is None and all(mark == PASSED for _, mark in pairs), pairs[:MOST_TESTS]


def grade_file(test: dict[str, Any], number: int, watch: Watch, *, lenient: bool) -> tuple[bool, list[tuple[str, str]]]:
    """Run a test file; whether it passed, and pairs of name and mark (`+` passed, `-` failed, `.` not reached) for its tests.

    `test["counted"]` are the tests that a reference passed: all of them must pass, and no others are run. When there are none, all that
    are found count, skipped ones as failed, or, when lenient, not at all.
    """
    tally = Tally(watch, test["counted"], lenient=lenient)
    _run(test, number, tally)
    return tally.conclude()


def find_missing(tests: list[dict[str, Any]]) -> str:
    """The library that test files need and this interpreter lacks, or nothing."""
    if any(test["kind"] == "file" and test["style"] == "pytest" for test in tests):
        import importlib.util

        return "" if importlib.util.find_spec("pytest") else "pytest"
    return ""


def _run(test: dict[str, Any], number: int, tally: Tally) -> None:
    path = os.path.join(os.getcwd(), f"test_file_{number}.py")
    stdout = sys.stdout
    try:
        with open(path, "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(test["source"])
        run = _run_pytest if test["style"] == "pytest" else _run_unittest
        run(test["source"], path, tally)
    except BaseException as error:
        message, line = describe_error(error, test["source"], path)
        tally.trouble = Result(False, message, error, line)
    finally:
        sys.stdout = stdout


def _run_unittest(source: str, path: str, tally: Tally) -> None:
    import unittest

    name = os.path.basename(path).removesuffix(".py")

    def name_test(test: Any) -> str:
        return str(test.id()).removeprefix(f"{name}.")

    class Watch(unittest.TestResult):
        """Tells the tally how each test ended."""

        running: Any = None
        result: Result | None = None

        def startTest(self, test: unittest.TestCase) -> None:
            super().startTest(test)
            self.running, self.result = test, None

        def stopTest(self, test: unittest.TestCase) -> None:
            super().stopTest(test)
            if self.running is not None:  # Python 3.12.1 stops skipped tests that it never started
                self.running = None
                self._close([test], self.result or Result(False, "the test ended without a result"))

        def _close(self, ended: list[Any], result: Result) -> None:
            for each in ended:
                tally.close(name_test(each), result)
            if tally.watch.is_over():
                self.stop()

        def _note(self, test: Any, result: Result) -> None:
            if self.running is not None:
                if self.result is None or self.result.skipped:
                    self.result = result
            elif isinstance(test, unittest.TestCase):
                self._close([test], result)
            else:
                where = test.id().partition("(")[2].rstrip(")")  # setUpClass (module.Class), setUpModule (module)
                self._close([each for each in tests if f"{each.id()}.".startswith(f"{where}.")], result)

        def _fail(self, test: Any, raised: Any) -> None:
            message, line = describe_error(raised[1], source, path)
            self._note(test, Result(False, message, raised[1], line))

        def addSuccess(self, test: unittest.TestCase) -> None:
            self._note(test, Result(True))

        def addError(self, test: unittest.TestCase, err: Any) -> None:
            self._fail(test, err)

        def addFailure(self, test: unittest.TestCase, err: Any) -> None:
            self._fail(test, err)

        def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
            if err is not None:
                self._fail(test, err)

        def addSkip(self, test: unittest.TestCase, reason: str) -> None:
            self._note(test, _skip(reason))

        def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
            self._note(test, _skip("expected to fail"))

        def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
            self._note(test, Result(False, "the test passed, and says that it must not"))

    module = types.ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module
    exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    tests = [test for test in _flatten(unittest.TestLoader().loadTestsFromModule(module)) if tally.counts(name_test(test))]
    tally.collect(map(name_test, tests))
    unittest.TestSuite(tests).run(Watch())


def _flatten(suite: Any) -> Iterator[Any]:
    for each in suite:
        if hasattr(each, "__iter__"):
            yield from _flatten(each)
        else:
            yield each


def _run_pytest(source: str, path: str, tally: Tally) -> None:
    import pytest

    def name_test(nodeid: str) -> str:
        return nodeid.partition("::")[2]

    class Watch:
        """A plugin that tells the tally how each test ended."""

        session: Any = None
        result = Result(True)

        def pytest_sessionstart(self, session: Any) -> None:
            self.session = session

        def pytest_collectreport(self, report: Any) -> None:
            if report.failed:
                tally.trouble = tally.trouble or Result(False, str(report.longrepr))
            elif report.skipped:
                tally.trouble = _skip(str(report.longrepr))

        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            items[:] = [item for item in items if tally.counts(name_test(item.nodeid))]
            marks = [mark for item in items for name in ("skipif", "xfail") for mark in item.iter_markers(name)]
            if tally.watch.guarded and any(type(each) is str for mark in marks for each in (*mark.args, mark.kwargs.get("condition"))):
                tally.trouble = Result(False, "a condition of skipif or xfail is a text, which pytest evaluates: write it as an expression")
                items.clear()

        def pytest_collection_finish(self, session: Any) -> None:
            tally.collect(name_test(item.nodeid) for item in session.items)

        def pytest_runtest_logstart(self) -> None:
            self.result = Result(True)

        def pytest_runtest_logreport(self, report: Any) -> None:
            if not self.result.passed:
                return
            if report.failed:
                self.result = Result(False, str(report.longrepr))
            elif report.skipped or hasattr(report, "wasxfail"):
                self.result = _skip(getattr(report, "wasxfail", "") or str(report.longrepr))

        def pytest_exception_interact(self, node: Any, call: Any) -> None:
            error = call.excinfo.value
            if isinstance(error, node.CollectError if isinstance(node, pytest.Collector) else ()):
                error = error.__cause__ or error
            message, line = describe_error(error, source, path)
            result = Result(False, message, error, line)
            if isinstance(node, pytest.Item):
                self.result = result
            else:
                tally.trouble = result

        def pytest_runtest_logfinish(self, nodeid: str) -> None:
            tally.close(name_test(nodeid), self.result)
            if tally.watch.is_over():
                self.session.shouldstop = "the candidate is gone"

    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    without = [word for name in _PYTEST_WITHOUT for word in ("-p", f"no:{name}")]
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout = nowhere
        status = pytest.main([path, "--rootdir", os.path.dirname(path), *_PYTEST_OPTIONS, *without], plugins=[Watch()])
    if not tally.marks and tally.trouble is None and status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        tally.trouble = Result(False, f"pytest {pytest.__version__} ended with status {int(status)} before it collected anything")


def _skip(reason: str) -> Result:
    return Result(False, f"the test was skipped: {reason}", skipped=True)
