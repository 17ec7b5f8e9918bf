"""Judges and reports that each lack one guard, for the controls of cheats, bombs and page attacks; see `weaken`.

Every one of them still tells a right solution from a plain wrong one (`controls` tries both), so what fools it is the cheat.
`WEAK_HOST` changes functions of this process; `WEAK_GUESTS` are definitions that are appended to copies of guest modules.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Set
from typing import Any

import msgspec

from groundrun.attacks.guards import Guard
from groundrun.engine import Job
from groundrun.errors import EngineError
from groundrun.judging import grading
from groundrun.judging.grading import Findings, Mode
from groundrun.records import CodeTest, Execution, FileTest, Outcome, Problem, Program
from groundrun.reports import page

Replace = Callable[[Any, str, Any], None]
_IMPATIENT_CPU_S = 2.0


def _in_one_process(off: Set[Guard], replace: Replace) -> None:
    """Tests run where the candidate runs, and what that process reports is believed; or, without the grader's word, its exit status."""
    honest = grading._grade

    def grade(problem: Problem, source: str, tests: Any, mode: Mode, limits: Any) -> Any:
        if mode.inspect or not mode.protected:
            return (yield from honest(problem, source, tests, mode, limits))
        if Guard.GRADERS_WORD not in off:
            return (yield from honest(problem, source, tests, msgspec.structs.replace(mode, protected=False), limits))
        (execution,) = yield Job(program=Program(_append_tests(problem, source, tests)), limits=limits)
        return _believe_status(execution, tests)

    replace(grading, "_grade", grade)


def _append_tests(problem: Problem, source: str, tests: Any) -> str:
    parts = [source]
    for test in tests:
        if isinstance(test, CodeTest):
            parts += [test.source, f"{test.call}({problem.entry_point})" if test.call else ""]
        elif isinstance(test, FileTest):
            parts += [
                "import sys, types",
                f"sys.modules[{test.module!r}] = sys.modules['__main__']",
                test.source,
                "unittest.main(argv=['tests'])",
            ]
        else:
            parts += [f"assert {problem.entry_point}(*{test.arguments}) == {test.expected}" if test.oracle is None else ""]
    return "\n".join(parts) + "\n"


def _believe_status(execution: Execution, tests: Any) -> Findings:
    """Status 0 is a pass; so is, of a test file, that unittest's last word is OK."""
    printed = any(isinstance(test, FileTest) for test in tests) and execution.stderr.rstrip().endswith(b"\nOK")
    passed = execution.outcome is Outcome.OK or printed
    return Findings(
        passed=(passed,) * len(tests),
        reason="every test passed" if passed else execution.outcome.describe(),
        outcome=execution.outcome,
        cost=execution.cost,
        isolation=execution.isolation,
    )


def _without_graders_word(off: Set[Guard], replace: Replace) -> None:
    """A candidate that ended with status 0 before its tests were over, and failed none, passed."""
    if Guard.SEPARATE_PROCESS in off:
        return
    honest = grading._find

    def find(candidate: Execution, grader: Execution, count: int, *, protected: bool = True) -> Findings:
        found = honest(candidate, grader, count, protected=protected)
        lost = found.report is not None and (found.report.lost or (found.failure is not None and found.failure.test < 0))
        if lost and candidate.outcome is Outcome.OK and candidate.exception is None:
            return msgspec.structs.replace(found, passed=(True,) * count, outcome=Outcome.OK, failure=None)
        return found

    replace(grading, "_find", find)


def _without_blame(off: Set[Guard], replace: Replace) -> None:
    """A candidate or a grader that is ended counts as a fault of ours, and gives no verdict."""
    honest = grading._find

    def find(candidate: Execution, grader: Execution, count: int, *, protected: bool = True) -> Findings:
        found = honest(candidate, grader, count, protected=protected)
        for outcome in (candidate.outcome, grader.outcome, found.outcome):
            if outcome is Outcome.SIGNALLED or outcome.is_limit:
                raise EngineError(f"candidate or grader ended as {outcome.value}")
        return found

    replace(grading, "_find", find)


def _judge_by_candidate(off: Set[Guard], replace: Replace) -> None:
    """Where a value of the candidate can't cross, the weaker judge takes over."""
    honest = grading.grade

    def grade(problem: Problem, source: str, tests: Any, mode: Mode, limits: Any) -> Any:
        found = yield from honest(problem, source, tests, mode, limits)
        if found.failure is not None and found.failure.refused and mode.protected and not mode.inspect:
            found = yield from honest(problem, source, tests, msgspec.structs.replace(mode, protected=False), limits)
        return found

    replace(grading, "grade", grade)
    replace(sys.modules["groundrun.judging.judge"], "grade", grade)


def _quick_to_give_up(off: Set[Guard], replace: Replace) -> None:
    """Only that a control needn't wait as long as a grading may take."""
    replace(grading, "GRADER_CPU_S", _IMPATIENT_CPU_S)
    replace(grading, "GRADER_MEMORY_BYTES", 512 << 20)


def _write_back_all(off: Set[Guard], replace: Replace) -> None:
    honest = grading._payload

    def payload(problem: Problem, tests: Any, mode: Mode) -> bytes:
        return honest(problem, tests, mode if mode.inspect else msgspec.structs.replace(mode, watched=None))

    replace(grading, "_payload", payload)


def _without_escaping(off: Set[Guard], replace: Replace) -> None:
    honest = page._make_environment
    replace(page, "_make_environment", lambda: honest().overlay(autoescape=False))


def _without_policy(off: Set[Guard], replace: Replace) -> None:
    replace(page, "make_policy", lambda style, script: "")


WEAK_HOST: dict[Guard, Callable[[Set[Guard], Replace], None]] = {
    Guard.SEPARATE_PROCESS: _in_one_process,
    Guard.GRADERS_WORD: _without_graders_word,
    Guard.BLAMED_CANDIDATE: _without_blame,
    Guard.JUDGE_BY_REFERENCE: _judge_by_candidate,
    Guard.DECODER_CAPS: _quick_to_give_up,
    Guard.ARGUMENT_COPIES: _write_back_all,
    Guard.ESCAPED_TEXT: _without_escaping,
    Guard.PAGE_POLICY: _without_policy,
}

_PROXY, _RAISING, _CHECKS = "groundrun.judging.guest.proxy", "groundrun.judging.guest.raising", "groundrun.judging.guest.checks"
_HANDLES, _DECODING, _TRANSPORT = "groundrun.judging.guest.handles", "groundrun.engine.guest.decoding", "groundrun.engine.guest.transport"
_SERVER, _BOOT = "groundrun.engine.guest.server", "groundrun.engine.guest.boot"
_CAPS = "MAX_BYTES = MAX_UNFOLDED = MAX_DRAINED = 1 << 60\nMAX_DEPTH = 1 << 40\nLONG_NUMBER = 1 << 60\nMAX_KNOTS = 1 << 40\n"

WEAK_GUESTS: dict[Guard, dict[str, str]] = {
    Guard.INERT_OBJECTS: {
        _HANDLES: (
            "def _ask_candidate(name):\n"
            "    def ask(self, *others):\n"
            "        return self._candidate.ask(name, self, others)\n"
            "    return ask\n\n\n"
            "for _name in ('__eq__', '__ne__', '__lt__', '__le__', '__gt__', '__ge__', '__hash__', '__bool__'):\n"
            "    setattr(Handle, _name, _ask_candidate(_name))\n"
        ),
        _SERVER: (
            "def _compare(name):\n"
            "    import operator\n"
            "    own = {'__hash__': hash, '__bool__': bool}.get(name)\n"
            "    return lambda target, arguments, keywords: (own or getattr(operator, name))(target, *arguments)\n\n\n"
            "for _name in ('__eq__', '__ne__', '__lt__', '__le__', '__gt__', '__ge__', '__hash__', '__bool__'):\n"
            "    _OPERATIONS[_name] = _compare(_name)\n"
        ),
    },
    Guard.NOTED_REFUSALS: {
        _PROXY: (
            "class _Forgotten(Refused, Exception):\n    pass\n\n\n"
            "def _refuse(self, reason, detail=''):\n    raise _Forgotten(reason)\n\n\n"
            "Candidate.refuse = _refuse\n"
        ),
    },
    Guard.BUILTIN_EXCEPTIONS: {
        _RAISING: (
            "def _make(self, names, arguments, message):\n"
            "    import unittest\n"
            "    named = {f'builtins.{name}': kind for name, kind in vars(builtins).items() if isinstance(kind, type) and"
            " issubclass(kind, BaseException)}\n"
            "    named['unittest.case.SkipTest'] = unittest.SkipTest\n"
            "    return next((named[name](message) for name in names if name in named), Exception(message))\n\n\n"
            "Exceptions.make = _make\n"
        ),
    },
    Guard.CHECKED_ANSWERS: {
        _PROXY: (
            "_decode_checked = Candidate._decode\n\n\n"
            "def _decode_or_die(self, *parts, **named):\n"
            "    try:\n        return _decode_checked(self, *parts, **named)\n"
            "    except DecodeError:\n        os.abort()\n\n\n"
            "def _lose(self, reason):\n    os.abort()\n\n\n"
            "Candidate._lose, Candidate._decode = _lose, _decode_or_die\n"
        ),
    },
    Guard.ARGUMENT_COPIES: {_CHECKS: "copy = type('copy', (), {'deepcopy': staticmethod(lambda value: value)})\n"},
    Guard.DECODER_CAPS: {_TRANSPORT: _CAPS, _DECODING: _CAPS + "BUILD_CPU_S = 1e9\n"},
    Guard.REFERENCE_NAMES: {
        _PROXY: "def _list_exports(self):\n    return self._ask_names('names')\n\n\nCandidate.list_exports = _list_exports\n",
    },
    Guard.OWN_ENDING: {
        _BOOT: (
            "def _record(job, error):\n"
            "    try:\n        sys.excepthook(type(error), error, error.__traceback__)\n"
            "    except SystemExit as stop:\n        os._exit(_status_of(stop))\n"
        ),
    },
    Guard.BLIND_ZYGOTE: {
        _BOOT: (
            "import mmap as _mmap\n\n_kept = _mmap.mmap(-1, 4 << 20)\n_read_unseen = read_all\n\n\n"
            "def read_all(descriptor):\n"
            "    data = _read_unseen(descriptor)\n"
            "    if b'SECRET' in data:\n        _kept.seek(0)\n        _kept.write(data[: 4 << 20])\n"
            "    return data\n"
        ),
    },
}
