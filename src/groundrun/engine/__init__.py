"""Run one program or a million, safely and fast."""

from __future__ import annotations

from groundrun.engine.batches import Arguments, Batch, Call, CallLimits, OnCrash
from groundrun.engine.cell import Cell, Replay
from groundrun.engine.engine import Engine, Finished
from groundrun.engine.flavour import Flavour
from groundrun.engine.job import Job
from groundrun.engine.lanes import FlavourStats
from groundrun.engine.pool import EngineStats, Run
from groundrun.engine.refusals import Finding, find_weaknesses
from groundrun.engine.session import Session

__all__ = [
    "Arguments",
    "Batch",
    "Call",
    "CallLimits",
    "Cell",
    "Engine",
    "EngineStats",
    "Finding",
    "Finished",
    "Flavour",
    "FlavourStats",
    "Job",
    "OnCrash",
    "Replay",
    "Run",
    "Session",
    "find_weaknesses",
]
