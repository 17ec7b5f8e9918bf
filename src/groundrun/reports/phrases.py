"""Short texts that reports and the command line share: guards, intervals, and hostile text made safe for a terminal.

Pure functions. What a candidate wrote is shown only through `make_printable`: no control character, and so no terminal escape, passes.
"""

from __future__ import annotations

import unicodedata

from groundrun.records import CpuSource, Isolation, MemoryGuard, Rung

_MEMORY = {
    MemoryGuard.CGROUP2: "memory held by a cgroup",
    MemoryGuard.CGROUP1: "memory held by a cgroup (v1)",
    MemoryGuard.RLIMIT_AS: "memory held per process only",
    MemoryGuard.NOTHING: "memory not held",
}
_CPU = {
    CpuSource.CGROUP: "CPU measured by a cgroup",
    CpuSource.WAIT4: "CPU measured by wait4",
    CpuSource.NOTHING: "CPU not measured",
}
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def name_guards(isolation: Isolation) -> str:
    """The rung and its guards, in one phrase."""
    rung = "NO ISOLATION" if isolation.rung is Rung.NONE else f"isolation {isolation.rung.value}"
    landlock = f", landlock {isolation.landlock_abi}" if isolation.landlock_abi else ""
    return f"{rung}{landlock}, {_MEMORY[isolation.memory_guard]}, {_CPU[isolation.cpu_guard]}"


def make_printable(text: str) -> str:
    """The text with every control, format or lone surrogate character, except line ends and tabs, written as an escape."""
    return "".join(
        letter if letter in "\n\t" or unicodedata.category(letter) not in _HIDDEN_CATEGORIES else _escape(letter) for letter in text
    )


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")


def percent(share: float) -> str:
    """A share of 1 as a percentage with one decimal."""
    return f"{100 * share:.1f} %"
