"""Folders that an earlier process couldn't remove because it, and whoever cleans up after it, was killed.

A lane removes its own folders; a warden removes them when its user's process is killed. What is left when both are killed at once, and
at rung `none`, where there is no warden, is removed by the next engine of the same user.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

from groundrun.engine.refusals import explain_temporary
from groundrun.errors import RungUnavailable

FOLDER_PREFIX = "groundrun-"
_OURS = re.compile(rf"{FOLDER_PREFIX}(\d+)-(none-|\d+-\d+$)")


def find_temporary(rung: str) -> str:
    """The folder for temporary files. Raises RungUnavailable when none can be written."""
    try:
        return tempfile.gettempdir()
    except OSError as error:
        found = explain_temporary()
        raise RungUnavailable(rung, found.cause, found.remedy, found.code.value) from error


def sweep_folders() -> None:
    """Remove such folders, once per process: only this user's, and only of processes that are gone."""
    _sweep_once(os.getpid())


@cache
def _sweep_once(pid: int) -> None:
    with contextlib.suppress(OSError):
        sweep(Path(tempfile.gettempdir()))


def sweep(parent: Path) -> None:
    """Remove what dead processes left below `parent`."""
    try:
        places = list(parent.iterdir())
    except OSError:
        return
    for place in places:
        found = _OURS.match(place.name)
        if found is None or Path(f"/proc/{found[1]}").exists():
            continue
        try:
            ours = place.lstat().st_uid == os.geteuid()
        except OSError:
            continue
        if ours:
            shutil.rmtree(place, ignore_errors=True)
