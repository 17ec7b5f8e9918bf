"""One test, run to its end: test code that calls the entry point, or one call whose result is compared.

The same whether the entry point is a proxy or, for problems that need one shared process, the candidate's own function. Success is that
the end was reached; `Result.passed` of a protected test also needs that no inert failure was noted, which the grader adds.
"""

from __future__ import annotations

import copy
import functools
import reprlib
import sys
import traceback
import types
from typing import Any

TEXT_LENGTH = 1000

_short = reprlib.Repr()
_short.maxlevel, _short.maxlist, _short.maxtuple, _short.maxdict, _short.maxstring, _short.maxlong, _short.maxother = (
    4,
    12,
    12,
    12,
    200,
    60,
    200,
)


class Result:
    """How one test went. `error` is what reached its top, None when it was a wrong value or nothing."""

    __slots__ = ("error", "line", "message", "passed", "skipped")

    def __init__(
        self, passed: bool, message: str = "", error: BaseException | None = None, line: int | None = None, *, skipped: bool = False
    ) -> None:
        self.passed, self.message, self.error, self.line, self.skipped = passed, message, error, line, skipped


def run_test(test: dict[str, Any], entry: Any, namespace: dict[str, Any]) -> Result:
    """Run a test in `namespace`, which it may fill. Never raises."""
    stdout = sys.stdout
    source = test["source"] if test["kind"] == "code" else ""
    try:
        return _run_code(test, entry, namespace) if test["kind"] == "code" else _run_call(test, entry, namespace)
    except BaseException as error:
        message, line = describe_error(error, source, "<test>")
        return Result(False, message, error, line)
    finally:
        sys.stdout = stdout


def _run_code(test: dict[str, Any], entry: Any, namespace: dict[str, Any]) -> Result:
    exec(_compile(test["source"], "<test>", "exec"), namespace)
    if test["call"] is not None:
        namespace[test["call"]](entry)
    return Result(True)


def _run_call(test: dict[str, Any], entry: Any, namespace: dict[str, Any]) -> Result:
    arguments, keywords = _value(test["arguments"], namespace), _value(test["keywords"], namespace)
    expected = _value(test["expected"], namespace)
    if test["oracle"] is None:
        got = entry(*arguments, **keywords)
        return Result(True) if got == expected else Result(False, f"got {show(got)}, expected {show(expected)}")
    pristine = copy.deepcopy(arguments)
    got = entry(*arguments, **keywords)
    exec(_compile(test["oracle"], "<oracle>", "exec"), namespace)
    if namespace["oracle"](pristine, got, expected):
        return Result(True)
    return Result(False, f"the oracle refused {show(got)}")


@functools.lru_cache(maxsize=4096)
def _compile(source: str, file: str, kind: str) -> types.CodeType:
    """Once for all candidates that one process grades."""
    code: types.CodeType = compile(source, file, kind, dont_inherit=True)
    return code


def _value(expression: str, namespace: dict[str, Any]) -> Any:
    return eval(_compile(expression.strip(), "<test>", "eval"), namespace)


def show(value: object) -> str:
    """A value in a few words. Never raises."""
    try:
        return _short.repr(value)
    except BaseException as error:
        return f"a {type(value).__name__} whose text can't be had ({type(error).__name__})"


def describe_error(error: BaseException, source: str, file: str) -> tuple[str, int | None]:
    """What a test raised, in words, and the last line of its source that was passed."""
    line = next((step.lineno for step in reversed(traceback.extract_tb(error.__traceback__)) if step.filename == file), None)
    try:
        text = str(error)
    except BaseException:
        text = ""
    lines = source.splitlines()
    where = f"line {line}: {lines[line - 1].strip()}" if line is not None and 0 < line <= len(lines) else ""
    return " -- ".join(part[:TEXT_LENGTH] for part in (where, text) if part), line


def clean(text: str) -> str:
    """Text as it may appear in a report: bounded, without lone surrogates."""
    return text[: 2 * TEXT_LENGTH].encode("utf-8", "backslashreplace").decode()
