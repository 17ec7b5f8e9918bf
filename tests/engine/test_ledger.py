"""A batch's ledger on the host's side: nothing that lies in it can do harm, and time that was too little is told from a limit."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrun.engine.batches import CallLimits, OnCrash, Series
from groundrun.engine.guest.batch import ENTRY, LEDGER_BYTES, STATE
from groundrun.engine.ledger import Ledger, Share
from groundrun.records import Cost, Execution, Isolation, Limits, MemoryGuard, Outcome, Program, Rung
from groundrun.records import CpuSource as Source

pytestmark = pytest.mark.unit

SHARE = Share(cpu_s=1, wall_s=1)
ISOLATION = Isolation(rung=Rung.NONE, memory_guard=MemoryGuard.NOTHING, cpu_guard=Source.NOTHING)
numbers = st.one_of(st.integers(0, 12), st.integers(0, 2**32 - 1))
entries = st.builds(
    lambda number, status, value, output, cpu_s, body: ENTRY.pack(number, status, value, output, cpu_s) + body,
    numbers, st.integers(0, 7), numbers, numbers, st.floats(), st.binary(max_size=16),
)  # fmt: skip


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    made = Ledger(count=5, call=SHARE, load=SHARE, left=SHARE)
    yield made
    made.close()


def leave(ledger: Ledger, *, stage: int, used: int, data: bytes) -> None:
    """What a process leaves."""
    descriptor = ledger.open()
    os.pwrite(descriptor, STATE.pack(stage, used) + data, 0)
    ledger.close()


@given(
    stage=st.integers(0, 2**64 - 1), extra=st.integers(-30, 30), data=st.one_of(st.binary(max_size=200), st.lists(entries).map(b"".join))
)
def test_anything_may_lie_in_it(stage: int, extra: int, data: bytes) -> None:
    ledger = Ledger(count=5, call=SHARE, load=SHARE, left=SHARE)
    leave(ledger, stage=stage, used=max(STATE.size + len(data) + extra, 0), data=data)
    found = ledger.read()
    assert len(found) <= min(max(stage - 1, 0), 5)
    assert all(0 <= each.status <= 5 and 0 <= each.cpu_s < float("inf") for each in found)
    assert sum(len(each.value) + len(each.output) for each in found) <= len(data) + 30


def test_it_never_grows_past_its_size(ledger: Ledger) -> None:
    descriptor = ledger.open()
    os.pwrite(descriptor, STATE.pack(2, 2**64 - 1) + ENTRY.pack(0, 0, LEDGER_BYTES, 0, 0), 0)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 2 * LEDGER_BYTES)
    ledger.close()
    assert ledger.read() == []


def test_a_new_attempt_forgets_the_old_one(ledger: Ledger) -> None:
    leave(ledger, stage=2, used=STATE.size + ENTRY.size + 1, data=ENTRY.pack(0, 0, 1, 0, 0.5) + b"x")
    assert [(each.value, each.cpu_s) for each in ledger.read()] == [(b"x", 0.5)]
    ledger.open()
    assert ledger.read() == []


def take(series: Series, *, stage: int, seen: int, last: bool = False) -> None:
    """A process that answered `stage - 1` calls and was ended by its limit; the host had looked at `seen` last."""
    series.step()
    ledger = series._ledger
    data = b"".join(ENTRY.pack(number, 0, 0, 0, 0) for number in range(stage - 1))
    leave(ledger, stage=stage, used=STATE.size + len(data), data=data)
    ledger.seen, ledger.last_cpu, ledger.last_wall = seen, last, last
    series.take(Execution(outcome=Outcome.CPU_LIMIT, isolation=ISOLATION, cost=Cost(cpu_s=0.1, wall_s=0.1), signal=9))


def make_series(on_crash: OnCrash = OnCrash.RESTART) -> Series:
    return Series(
        Program("", entry_point="f"), [(n,) for n in range(4)], limits=Limits(cpu_s=9), call_limits=CallLimits(), on_crash=on_crash
    )


@pytest.mark.parametrize("on_crash", OnCrash)
def test_a_call_that_nobody_looked_at_is_made_again_once(on_crash: OnCrash) -> None:
    series = make_series(on_crash)
    take(series, stage=3, seen=2)  # call 2 may have had too little
    assert not series.ended
    take(series, stage=1, seen=0)  # call 2 again, first in its process: it had its time
    found = [each.outcome for each in series.batch().calls]
    rest = [Outcome.NOT_RUN] if on_crash is OnCrash.STOP else []
    assert found == [Outcome.OK, Outcome.OK, Outcome.CPU_LIMIT, *rest]


def test_a_call_that_was_looked_at_had_its_time() -> None:
    series = make_series()
    take(series, stage=3, seen=3)
    assert [each.outcome for each in series.batch().calls] == [Outcome.OK, Outcome.OK, Outcome.CPU_LIMIT]


def test_the_batch_s_own_limit_is_no_reason_to_try_again() -> None:
    series = make_series()
    take(series, stage=3, seen=2, last=True)
    assert [each.outcome for each in series.batch().calls] == [Outcome.OK, Outcome.OK, Outcome.CPU_LIMIT, Outcome.NOT_RUN]
