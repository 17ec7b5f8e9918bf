"""A worker that fails at any step of its own side: what the host refuses it, and what breaks in it."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from tests.faults.rig import Stream, counting, judge_candidates, run_programs

from groundrun.engine import Engine, Job, exchange, lanes, pool, standing, warden
from groundrun.errors import EngineError, WorkerDied
from groundrun.records import Program

pytestmark = [pytest.mark.exec, pytest.mark.timeout(120)]

_EMPTY = Job(program=Program(""))
NO_DESCRIPTORS = OSError(errno.EMFILE, "Too many open files")
NO_MEMORY = OSError(errno.ENOMEM, "Cannot allocate memory")
DIED = WorkerDied("test", "on purpose")
STEPS: list[tuple[str, Any, str]] = [
    ("the lanes are taken", lanes.Lanes, "take"),
    ("the exchange is made", exchange.Exchange, "__init__"),
    ("the sealed job is made", exchange, "make_sealed"),
    ("the request is sent", warden.WardenLane, "begin"),
    ("the answer is read", warden.WardenLane, "finish"),
    ("the message is read", warden.WardenLane, "_receive"),
    ("the ending is read", exchange.Exchange, "read_ending"),
    ("the output is read", exchange, "_read"),
    ("the files are read", exchange.Exchange, "read_files"),
    ("the run is attempted", pool, "Attempt"),
]
STANDING: list[tuple[str, Any, str]] = [
    ("the grader is made", standing.Standing, "__init__"),
    ("the grader is handed a channel", standing.Standing, "begin"),
    ("the grader is waited for", standing.Standing, "finish"),
    ("the grader's use is asked", warden.WardenLane, "renew"),
]


def break_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: Exception, nth: int) -> Callable[[], int]:
    """Let the nth call of a function raise, once; how many calls there were."""
    real, calls = getattr(owner, name), itertools.count(1)
    made = [0]

    def breaking(*arguments: Any, **named: Any) -> Any:
        made[0] = next(calls)
        if made[0] == nth:
            raise error
        return real(*arguments, **named)

    monkeypatch.setattr(owner, name, breaking)
    return lambda: made[0]


def check(engine: Engine, stream: Stream) -> list[EngineError]:
    """The faults that were told; nothing came back wrong."""
    results = stream(engine)
    assert [each for each in results if each.wrong] == []
    return [each.fault for each in results if each.fault]


@pytest.mark.parametrize("error", [NO_DESCRIPTORS, NO_MEMORY, DIED], ids=["descriptors", "memory", "died"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[0])
def test_a_broken_step_is_mended_or_told(step: tuple[str, Any, str], error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most the program that it happened to ends in an EngineError, and the worker goes on."""
    with counting(), Engine(workers=1) as engine:
        engine.run("")
        with monkeypatch.context() as patch:
            calls = break_once(patch, step[1], step[2], error, 3)
            faults = check(engine, run_programs)
            assert calls() >= 3
        assert len(faults) <= 1
        assert check(engine, run_programs) == []


@pytest.mark.parametrize("step", STANDING, ids=lambda step: step[0])
def test_a_broken_grading_is_no_verdict(step: tuple[str, Any, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a pass nor a failure."""
    with counting(), Engine(workers=1) as engine:
        assert check(engine, judge_candidates) == []
        with monkeypatch.context() as patch:
            calls = break_once(patch, step[1], step[2], DIED, 1)
            if step[2] == "__init__":
                engine.run_pair(_EMPTY, _EMPTY)  # the grader that stands makes way
            assert check(engine, judge_candidates) == []
            assert calls() >= 1
        assert check(engine, judge_candidates) == []
