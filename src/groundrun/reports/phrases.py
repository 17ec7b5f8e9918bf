"""Short texts that reports and the command line share: guards, intervals, and hostile text made safe for a terminal.

Pure functions. What a candidate wrote is shown only through `make_printable`: no control character, and so no terminal escape, passes.
"""

from __future__ import annotations

import textwrap
import unicodedata

from groundrun.records import CpuSource, Isolation, MemoryGuard, Rung

_MEMORY = {
    MemoryGuard.CGROUP2: "memory by cgroup",
    MemoryGuard.CGROUP1: "memory by cgroup v1",
    MemoryGuard.RLIMIT_AS: "memory per process",
    MemoryGuard.NOTHING: "memory not held",
}
_CPU = {
    CpuSource.CGROUP: "CPU by cgroup",
    CpuSource.WAIT4: "CPU by wait4",
    CpuSource.NOTHING: "CPU unmeasured",
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


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 sample, 2 samples."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def wrap_line(line: str, *, indent: int, width: int) -> str:
    """The line broken between words to fit `width` columns, each further line indented; a word is never broken."""
    return textwrap.fill(line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
