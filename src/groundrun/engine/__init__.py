"""Run one program or a million, safely and fast."""

from __future__ import annotations

from groundrun.engine.batches import Arguments, Batch, Call, CallLimits, OnCrash
from groundrun.engine.engine import Engine, Finished
from groundrun.engine.job import Job
from groundrun.engine.pool import EngineStats, Run

__all__ = ["Arguments", "Batch", "Call", "CallLimits", "Engine", "EngineStats", "Finished", "Job", "OnCrash", "Run"]
