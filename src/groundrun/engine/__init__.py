"""Run one program or a million, safely and fast."""

from __future__ import annotations

from groundrun.engine.cell import Cell, Replay
from groundrun.engine.engine import Engine, Finished
from groundrun.engine.flavour import Flavour
from groundrun.engine.job import Job
from groundrun.engine.lanes import FlavourStats
from groundrun.engine.pool import EngineStats, Run
from groundrun.engine.session import Session

__all__ = ["Cell", "Engine", "EngineStats", "Finished", "Flavour", "FlavourStats", "Job", "Replay", "Run", "Session"]
