"""What a candidate wrote can't move a terminal's cursor."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrun.records import CpuSource, Isolation, MemoryGuard, Rung
from groundrun.reports.phrases import count, make_printable, name_guards, wrap_line

pytestmark = pytest.mark.unit


@given(st.text(st.characters()))
def test_printable_text_has_no_control_characters(text: str) -> None:
    """Nor format characters, and it can be encoded."""
    shown = make_printable(text)
    shown.encode("utf-8")
    assert all(letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in shown)


@given(st.text("abc äß漢\n\t"))
def test_harmless_text_stays(text: str) -> None:
    """Byte for byte."""
    assert make_printable(text) == text


def test_escapes_are_shown() -> None:
    """As what they are."""
    assert make_printable("\x1b[2J\u202e\ud800") == r"\x1b[2J\u202e\ud800"


def test_no_isolation_is_loud() -> None:
    """The weakest rung can't be overlooked; the others are named."""
    weak = Isolation(rung=Rung.NONE, memory_guard=MemoryGuard.RLIMIT_AS, cpu_guard=CpuSource.WAIT4)
    assert name_guards(weak) == "NO ISOLATION, memory per process, CPU by wait4"
    strong = Isolation(rung=Rung.NAMESPACES, memory_guard=MemoryGuard.CGROUP2, cpu_guard=CpuSource.CGROUP, landlock_abi=6)
    assert name_guards(strong) == "isolation namespaces, landlock 6, memory by cgroup, CPU by cgroup"


def test_guards_fit_a_terminal_with_a_label() -> None:
    """Whatever they are: 70 columns beside a label of 10."""
    for rung in Rung:
        for memory in MemoryGuard:
            for cpu in CpuSource:
                assert len(name_guards(Isolation(rung=rung, memory_guard=memory, cpu_guard=cpu, landlock_abi=10))) <= 70


def test_one_is_singular() -> None:
    """Everything else is not."""
    assert [count(number, "sample") for number in (0, 1, 2)] == ["0 samples", "1 sample", "2 samples"]


@given(st.lists(st.text("abc-", min_size=1, max_size=30)), st.integers(1, 20), st.integers(30, 90))
def test_broken_lines_keep_every_word_and_fit(words: list[str], indent: int, width: int) -> None:
    """A line is wider only where it is one word."""
    lines = wrap_line(" ".join(words), indent=indent, width=width).splitlines()
    assert [word for line in lines for word in line.split()] == words
    assert all(len(line) <= width or len(line.split()) == 1 for line in lines)
    assert all(line.startswith(" " * indent) for line in lines[1:])
