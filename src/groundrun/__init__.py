"""groundrun runs the code that models write, safely and fast, and judges what happened.

    from groundrun import Engine

    with Engine() as engine:
        execution = engine.run("print(6 * 7)")
    print(execution.outcome, execution.text)

The names below are the public face; everything else is reached through its room (`groundrun.judging`, `groundrun.benchmarks` ...).
Importing this package imports the standard library and msgspec, nothing else, and starts nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groundrun.engine import Engine, Job
    from groundrun.errors import EngineError, GroundrunError, HostRefused, UsageError
    from groundrun.records import (
        CallTest,
        CodeTest,
        Completion,
        Cost,
        Counts,
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
    "Counts",
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

_ROOMS = ("groundrun.records", "groundrun.errors", "groundrun.engine")


def __getattr__(name: str) -> object:
    """A public name, imported when it is first used: so that the command line answers Ctrl-C before it has loaded the engine."""
    if name in __all__:
        for room in map(importlib.import_module, _ROOMS):
            if hasattr(room, name):
                globals()[name] = getattr(room, name)
                return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
