"""Short texts that reports and the command line share: guards, intervals, and hostile text made safe for a terminal.

Pure functions. What a candidate wrote is shown only through `make_printable`: no control character, and so no terminal escape, passes.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Sequence

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
_PERHAPS_HIDDEN = re.compile(r"[^\n\t\x20-\x7e]")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def name_guards(isolation: Isolation) -> str:
    """The rung and its guards, in one phrase."""
    rung = "NO ISOLATION" if isolation.rung is Rung.NONE else f"isolation {isolation.rung.value}"
    landlock = f", landlock {isolation.landlock_abi}" if isolation.landlock_abi else ""
    return f"{rung}{landlock}, {_MEMORY[isolation.memory_guard]}, {_CPU[isolation.cpu_guard]}"


def make_printable(text: str) -> str:
    """The text with every control, format or lone surrogate character, except line ends and tabs, written as an escape."""
    return _PERHAPS_HIDDEN.sub(_escape_hidden, text)


def _escape_hidden(found: re.Match[str]) -> str:
    letter = found[0]
    if unicodedata.category(letter) not in _HIDDEN_CATEGORIES:
        return letter
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")


def shorten(text: str, most: int) -> str:
    """The text, or where it has more than `most` characters its head and tail with a word about what was left out between them."""
    if len(text) <= most:
        return text
    tail = most // 4
    head = most - tail
    return f"{text[:head]}\n[… {len(text) - most} characters left out …]\n{text[-tail:]}"


def seconds(value: float) -> str:
    """A time with two or three digits that count: 3.0 ms, 1.25 s."""
    if value < 0.9995:
        return f"{1000 * value:.1f} ms" if value < 0.0995 else f"{1000 * value:.0f} ms"
    return f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"


def size(value: int) -> str:
    """A number of bytes in the unit that fits: 512 B, 1.8 MiB."""
    amount = float(value)
    for unit in _UNITS:
        if amount < 1023.5 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.5 else f"{amount:.1f} {unit}"


def number_ranges(numbers: Sequence[int]) -> str:
    """Rising numbers with runs drawn together: 0, 2 to 5, 9."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def percent(share: float) -> str:
    """A share of 1 as a percentage with one decimal."""
    return f"{100 * share:.1f} %"


def count(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: 1 sample, 2 samples."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"


def wrap_line(line: str, *, indent: int, width: int) -> str:
    """The line broken between words to fit `width` columns, each further line indented; a word is never broken."""
    return textwrap.fill(line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
