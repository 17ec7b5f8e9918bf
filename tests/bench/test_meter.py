"""Processor time of a row, and what counts as left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench.meter import read_cpu_s
from bench.remnants import find_belongings, find_descendants, find_named, find_remnants, read_stat, wait_until

pytestmark = pytest.mark.exec


def test_both_versions_of_cgroups_are_read(tmp_path: Path) -> None:
    """Version 1 counts nanoseconds, version 2 microseconds among other lines."""
    (tmp_path / "cpuacct.usage").write_text("2500000000\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 1250000\nuser_usec 1000000\nsystem_usec 250000\n")
    assert read_cpu_s(str(tmp_path / "cpuacct.usage")) == 2.5
    assert read_cpu_s(str(tmp_path / "cpu.stat")) == 1.25


def test_without_a_cgroup_waited_children_count() -> None:
    """At least what the child itself says that it used."""
    source = "import time\nwhile time.process_time() < 0.3: pass"
    before = read_cpu_s(None)
    subprocess.run([sys.executable, "-I", "-c", source], check=True)
    assert read_cpu_s(None) - before >= 0.29


def test_descendants_are_seen_and_seen_to_go() -> None:
    """A grandchild too; and a process id that was given again is another process."""
    source = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE) as child:
        assert wait_until(lambda: len(find_descendants(child.pid)) == 1, seconds=20)
        found = find_descendants(os.getpid())
        grandchild = next(iter(find_descendants(child.pid)))
        assert {child.pid, grandchild} <= found.keys()
        assert any(f"process {grandchild} " in word for word in find_remnants(found, child.pid))
        assert find_remnants({grandchild: found[grandchild] - 1}, child.pid) == []
        assert child.stdin is not None
        child.stdin.close()
        assert wait_until(lambda: not find_remnants({grandchild: found[grandchild]}, child.pid), seconds=20)


def test_own_process_is_read() -> None:
    """Name, parent and state."""
    found = read_stat(os.getpid())
    assert found is not None and found[1] == os.getppid() and found[2] == "R"
    assert os.getpid() in find_named(found[0])
    assert read_stat(2**22 + 1) is None


def test_folder_of_a_process_is_a_belonging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only when it carries that process's id."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "groundrun-123456789-0-x").mkdir()
    (tmp_path / "groundrun-12345678-0-x").mkdir()
    assert find_belongings(123456789) == [str(tmp_path / "groundrun-123456789-0-x")]
