"""Run one program or a million, safely and fast."""

from __future__ import annotations

from groundrun.engine.engine import Engine, Finished
from groundrun.engine.flavour import Flavour
from groundrun.engine.job import Job
from groundrun.engine.lanes import FlavourStats
from groundrun.engine.pool import EngineStats, Run

__all__ = ["Engine", "EngineStats", "Finished", "Flavour", "FlavourStats", "Job", "Run"]
