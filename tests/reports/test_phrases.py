"""What a candidate wrote can't move a terminal's cursor."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrun.records import CpuSource, Isolation, MemoryGuard, Rung
from groundrun.reports.phrases import make_printable, name_guards

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
    assert name_guards(weak) == "NO ISOLATION, memory held per process only, CPU measured by wait4"
    strong = Isolation(rung=Rung.NAMESPACES, memory_guard=MemoryGuard.CGROUP2, cpu_guard=CpuSource.CGROUP, landlock_abi=6)
    assert name_guards(strong) == "isolation namespaces, landlock 6, memory held by a cgroup, CPU measured by a cgroup"
