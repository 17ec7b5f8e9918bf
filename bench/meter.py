"""Processor time of a row: everything that its process and all descendants use, between two readings.

A cgroup counts every descendant, waited for or not, and is the number to trust. Without one, getrusage counts this process and the
children that it waited for; that is complete only for contestants whose processes are all gone, and waited for, when a
check returns. For the others there is then no number, rather than one that leaves out most of the work.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path


def join_cgroup(folder: str) -> None:
    """Move this process, and so everything it will start, into a cgroup."""
    Path(folder, "cgroup.procs").write_text(str(os.getpid()))


def read_cpu_s(cpu_file: str | None) -> float:
    """Seconds of processor time so far, by the cgroup's file or, without one, by getrusage."""
    if cpu_file is None:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)
    text = Path(cpu_file).read_text()
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == "usage_usec":
            return int(value) / 1e6
    return int(text) / 1e9


def read_page_faults() -> int | None:
    """Page faults of the whole machine since it started, None where the kernel doesn't tell: on an idle machine a row's own."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("pgfault ")), None)
