"""The command `groundrun`: one thin file a verb."""

from __future__ import annotations

from groundrun.cli.entry import groundrun, main

__all__ = ["groundrun", "main"]
