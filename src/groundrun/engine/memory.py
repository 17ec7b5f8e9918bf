"""Memory that the engine's own processes may and do keep: what is available to this process, and what a zygote holds."""

from __future__ import annotations

import os
from pathlib import Path

from groundrun.engine.cgroups import find_memory_limit


def find_available_bytes() -> int:
    """What could be used without swapping, by the kernel's estimate, and no more than the cgroup allows."""
    available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
    except OSError:
        pass
    return int(min(available, find_memory_limit()))


def find_resident_bytes(warden: int) -> int:
    """Resident memory of the zygote below a warden: its child at rung `landlock`, its jail's elsewhere; 0 when it isn't found."""
    for child in _children(warden):
        for process in (child, *_children(child)):
            try:
                words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
                if not words[0].endswith(b"/warden") and any(word.endswith(b"/zygote.py") for word in words):
                    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except OSError:
                continue
    return 0


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # ended, or a kernel without CONFIG_PROC_CHILDREN
        return []
