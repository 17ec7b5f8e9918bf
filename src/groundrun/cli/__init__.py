"""The command `groundrun`: one thin file a verb."""

from __future__ import annotations

from groundrun.cli.start import main

__all__ = ["main"]
