"""What an engine has on the host, seen from outside through /proc and the file system: processes, mounts, cgroups, folders.

Promises to miss nothing that carries the engine's process id in its name or descends from it. Does not see what a program does
inside its own namespaces.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

WARDEN = "groundrun-warde"  # the kernel keeps 15 letters of a name
_CGROUPS = "/sys/fs/cgroup"


def read_stat(pid: int) -> tuple[str, int, str, int] | None:
    """Name, parent, state and start time of a process; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    return name, int(fields[1]), fields[0], int(fields[19])


def list_processes() -> Iterator[tuple[int, str, int, int]]:
    """Every living process: pid, name, parent, start time. Zombies are not living."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := read_stat(int(entry.name))) and found[2] not in "ZX":
            yield int(entry.name), found[0], found[1], found[3]


def find_descendants(pid: int) -> dict[int, int]:
    """Process id to start time of everything that descends from `pid`, itself left out."""
    children: dict[int, list[tuple[int, int]]] = {}
    for child, _, parent, started in list_processes():
        children.setdefault(parent, []).append((child, started))
    found: dict[int, int] = {}
    waiting = [pid]
    while waiting:
        for child, started in children.get(waiting.pop(), []):
            found[child] = started
            waiting.append(child)
    return found


def find_wardens(pid: int) -> list[int]:
    """The wardens that this process has started."""
    return sorted(child for child, name, parent, _ in list_processes() if parent == pid and name == WARDEN)


def find_named(name: str) -> list[int]:
    """Every process on the host of that name (15 letters at most)."""
    return [pid for pid, found, _, _ in list_processes() if found == name]


def find_belongings(pid: int) -> list[str]:
    """Cgroups, temporary folders and mounts that carry the process's id."""
    mark = f"groundrun-{pid}-"
    cgroups = [f"{place}/{name}" for place, names, _ in os.walk(_CGROUPS) for name in names if name.startswith(mark)]
    folders = [str(path) for path in Path(tempfile.gettempdir()).glob(f"{mark}*")]
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if mark in line]
    return sorted({*cgroups, *folders, *mounts})


def find_remnants(processes: dict[int, int], pid: int) -> list[str]:
    """Of the processes that were seen earlier, those still alive; and everything that carries the process's id."""
    now = {each: (name, started) for each, name, _, started in list_processes()}
    alive = [f"process {each} ({now[each][0]})" for each, started in processes.items() if each in now and now[each][1] == started]
    return alive + find_belongings(pid)


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
