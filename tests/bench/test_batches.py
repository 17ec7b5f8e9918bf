"""The bench of batches runs, and its rows hold what they say."""

from __future__ import annotations

import pytest
from bench.batches import WORKS_US, measure

from groundrun.records import Rung

pytestmark = pytest.mark.exec


def test_each_amount_of_work_has_a_row() -> None:
    rung, rows = measure(rounds=1, calls=20)
    assert Rung(rung) is not Rung.NONE
    assert [(row.work_us, row.calls) for row in rows] == [(work, 20) for work in WORKS_US]
    for row in rows:
        assert row.ratio == pytest.approx(row.batch_ms / row.loop_ms)
        assert row.overhead_us == pytest.approx((row.batch_ms - row.loop_ms) * 1e3 / 20)
        assert min(row.cpu_ratio, row.value_us) > 0
