"""What a report keeps of long texts: a problem's prompt and tests as text, a failure's evidence, all within bounds.

Pure functions. Promises that what was cut says so, with the number of characters. Does not promise texts that are safe to show.
"""

from __future__ import annotations

import msgspec

from groundrun.records import CallTest, DifferentialTest, Evidence, Limits, Problem, StdioTest, Test
from groundrun.reports.phrases import shorten

LONGEST_SOURCE, LONGEST_TEXT = 40_000, 8_000
"""Characters of a program, and of a prompt or a message, that are kept."""
_LONGEST_TEST, _LONGEST_NAME, _MOST_TESTS = 3_000, 200, 50


class TestView(msgspec.Struct, frozen=True, kw_only=True):
    """A test as text. `kind` is its word in the records (code, call, stdio, differential, file)."""

    __test__ = False

    name: str
    kind: str
    hidden: bool
    text: str


class ProblemView(msgspec.Struct, frozen=True, kw_only=True):
    """What the data set says about a problem. `tests_left_out` counts tests beyond those that are kept."""

    prompt: str
    language: str
    reference: str | None
    tests: tuple[TestView, ...]
    tests_left_out: int = 0
    limits: Limits | None = None


def view_problem(problem: Problem) -> ProblemView:
    """What a report says of a problem."""
    tests = [(test, False) for test in problem.visible] + [(test, True) for test in problem.hidden]
    return ProblemView(
        prompt=shorten(problem.prompt, LONGEST_TEXT),
        language=problem.language,
        reference=None if problem.reference is None else shorten(problem.reference, LONGEST_SOURCE),
        tests=tuple(_view_test(test, hidden) for test, hidden in tests[:_MOST_TESTS]),
        tests_left_out=max(0, len(tests) - _MOST_TESTS),
        limits=problem.limits,
    )


def _view_test(test: Test, hidden: bool) -> TestView:
    if isinstance(test, CallTest):
        keywords = "" if test.keywords == "{}" else f", **{test.keywords}"
        text = f"arguments  {test.arguments}{keywords}\nexpected   {test.expected}"
    elif isinstance(test, StdioTest):
        text = f"stdin\n{test.stdin}\nexpected ({test.comparison})\n{test.expected}"
    elif isinstance(test, DifferentialTest):
        text = f"the reference's answers for these inputs\n{test.inputs}"
    else:
        text = test.source
    return TestView(
        name=shorten(test.name, _LONGEST_NAME), kind=str(test.__struct_config__.tag), hidden=hidden, text=shorten(text, _LONGEST_TEST)
    )


def cut_evidence(evidence: Evidence | None) -> Evidence | None:
    """The same evidence, its texts within the bounds."""
    if evidence is None:
        return None
    exception = evidence.exception
    if exception is not None:
        texts = {name: shorten(getattr(exception, name), LONGEST_TEXT) for name in ("type", "message", "traceback")}
        exception = msgspec.structs.replace(exception, **texts)
    return msgspec.structs.replace(
        evidence, message=shorten(evidence.message, LONGEST_TEXT), stdout=shorten(evidence.stdout, LONGEST_TEXT), exception=exception
    )
