"""groundrun runs the code that models write, safely and fast, and judges what happened.

    from groundrun import Engine

    with Engine() as engine:
        execution = engine.run("print(6 * 7)")
    print(execution.outcome, execution.text)

The names below are the public face; everything else is reached through its room (`groundrun.judging`, `groundrun.benchmarks` ...).
Importing this package imports the standard library and msgspec, nothing else, and starts nothing.
"""

from __future__ import annotations

from groundrun.engine import Engine, Job
from groundrun.errors import EngineError, GroundrunError, HostRefused, UsageError
from groundrun.records import (
    CallTest,
    CodeTest,
    Completion,
    Cost,
    Execution,
    Isolation,
    Limits,
    Outcome,
    Problem,
    Program,
    Rung,
    StdioTest,
    Verdict,
)

__version__ = "0.1.0"

__all__ = [
    "CallTest",
    "CodeTest",
    "Completion",
    "Cost",
    "Engine",
    "EngineError",
    "Execution",
    "GroundrunError",
    "HostRefused",
    "Isolation",
    "Job",
    "Limits",
    "Outcome",
    "Problem",
    "Program",
    "Rung",
    "StdioTest",
    "UsageError",
    "Verdict",
    "__version__",
]
