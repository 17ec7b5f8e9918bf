"""The grader of test files: `grader` in a zygote that has imported, once, what such files need: unittest, and pytest where it is.

A guest of its own, so that a zygote which never meets a test file never imports them.
"""

from __future__ import annotations

import contextlib
import importlib

from groundrun.judging.guest.grader import main

__all__ = ["main"]

for _name in ("unittest", "pytest"):
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)
