"""Run one program or a million, safely and fast."""

from __future__ import annotations

from groundrun.engine.engine import Engine, Finished
from groundrun.engine.job import Job
from groundrun.engine.pool import EngineStats, Run
from groundrun.engine.refusals import Finding, find_weaknesses

__all__ = ["Engine", "EngineStats", "Finding", "Finished", "Job", "Run", "find_weaknesses"]
