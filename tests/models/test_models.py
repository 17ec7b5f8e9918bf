"""The baseline and the replay."""

from __future__ import annotations

import asyncio

import pytest

from groundrun.errors import BadInput
from groundrun.models import Model, Oracle, Replay
from groundrun.records import Completion, Problem

pytestmark = pytest.mark.unit

PROBLEM = Problem(task_id="t/0", prompt="def f():\n", reference="def f():\n    return 1\n")


def test_oracle_answers_with_the_reference() -> None:
    completion = asyncio.run(Oracle().complete(PROBLEM, 3))
    assert (completion.solution, completion.sample, completion.model) == (PROBLEM.reference, 3, "oracle")


def test_oracle_without_reference_says_so() -> None:
    with pytest.raises(BadInput, match="t/1: this problem has no reference solution"):
        asyncio.run(Oracle().complete(Problem(task_id="t/1", prompt=""), 0))


def test_replay_finds_by_task_and_sample() -> None:
    recorded = [Completion(task_id="t/0", text=text, sample=number) for number, text in enumerate(["a", "b"])]
    replay = Replay(recorded, name="old")
    completion = asyncio.run(replay.complete(PROBLEM, 1))
    assert (completion.text, completion.model) == ("b", "old")
    with pytest.raises(BadInput, match="sample 2 of t/0 was not recorded"):
        asyncio.run(replay.complete(PROBLEM, 2))


def test_replay_refuses_a_sample_twice() -> None:
    with pytest.raises(BadInput, match="sample 0 of t/0 is there twice"):
        Replay([Completion(task_id="t/0", text="a"), Completion(task_id="t/0", text="b")])


def test_both_follow_the_protocol() -> None:
    assert isinstance(Oracle(), Model)
    assert isinstance(Replay([]), Model)
