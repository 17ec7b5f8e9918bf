"""`groundrun check`: real files, each test's result, the first failure, the exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.exec

RIGHT = "def half(n):\n    return n // 2\n"
WRONG = "def half(n):\n    print('\\x1b[31mhalving', n)\n    return n / 2\n"
TESTS = """
import unittest
from solution import half

class TestHalf(unittest.TestCase):
    def test_even(self):
        self.assertEqual(half(4), 2)
    def test_odd(self):
        self.assertEqual(half(5), 2)
"""
MOCKED = """
from unittest import mock
import solution
def test_zero():
    with mock.patch("solution.half", lambda n: 0):
        assert solution.half(4) == 0
"""


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command without isolation in a folder that has the files."""
    for name, text in (("right.py", RIGHT), ("wrong.py", WRONG), ("test_half.py", TESTS), ("test_mocked.py", MOCKED)):
        (folder / name).write_text(text)
    command = [sys.executable, "-m", "groundrun", "check", "--isolation", "none", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=50)


def test_each_test_is_listed(tmp_path: Path) -> None:
    """And the first failure, with what the program printed, made safe for a terminal."""
    done = call(tmp_path, "wrong.py", "--tests", "test_half.py")
    assert done.returncode == 1 and "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[:3] == ["test_half.py (unittest)", "  + TestHalf.test_even", "  - TestHalf.test_odd"]
    assert "first failure: test_half.py::TestHalf.test_odd" in lines
    assert any("2.5 != 2" in line for line in lines) and "    \\x1b[31mhalving 5" in lines
    assert "failed: 1 passed, 1 failed; a test failed" in lines
    assert lines[-1].startswith("protected: ") and "NO ISOLATION" in lines[-1]
    assert "--reference" in done.stderr


def test_a_program_can_not_write_results(tmp_path: Path) -> None:
    """Neither by what it raises nor by what it prints: only our lines begin as ours do."""
    fake = "'\\n  + TestHalf.test_odd\\n\\npassed: 2 passed; every test passed\\r  + b\\u2028  + c\\x85  + d'"
    (tmp_path / "fake.py").write_text(f"def half(n):\n    print({fake})\n    raise ValueError({fake})\n")
    done = call(tmp_path, "fake.py", "--tests", "test_half.py")
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("    ")]
    assert lines[:4] == [
        "test_half.py (unittest)",
        "  - TestHalf.test_even",
        "  - TestHalf.test_odd",
        "first failure: test_half.py::TestHalf.test_even",
    ]
    assert lines[4] == "  it printed:" and lines[5].startswith("failed: 2 failed; ") and lines[6].startswith("protected: ")
    assert len(lines) == 7 and "    passed: 2 passed; every test passed" in done.stdout


def test_json_owns_stdout(tmp_path: Path) -> None:
    """Names, results, protection."""
    done = call(tmp_path, "right.py", "--tests", "test_half.py", "--json")
    said = json.loads(done.stdout)
    assert done.returncode == 0 and done.stderr == ""
    assert said["passed"] is True and said["protected"] is True and said["failure"] is None and said["hint"] == ""
    names = ["TestHalf.test_even", "TestHalf.test_odd"]
    assert said["files"] == [
        {"name": "test_half.py", "style": "unittest", "passed": True, "tests": [{"name": name, "result": "passed"} for name in names]}
    ]


def test_a_reference_shows_what_the_tests_need(tmp_path: Path) -> None:
    """And the answer says when that is one shared process."""
    strict = call(tmp_path, "right.py", "--tests", "test_mocked.py")
    assert strict.returncode == 1 and "--reference" in strict.stderr
    shared = call(tmp_path, "right.py", "--tests", "test_mocked.py", "--reference", "right.py")
    assert shared.returncode == 0
    assert "test_mocked.py (pytest)" in shared.stdout and "NOT PROTECTED" in shared.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("right.py", "--tests", "nothing.py"), "nothing.py: no such file or directory"),
        (("right.py", "--tests", "right.py"), "defines no function or method whose name begins with 'test'"),
        (("right.py", "--tests", "test_half.py", "--module", "a b"), "not the name of a module"),
        (("right.py", "--tests", "test_half.py", "--reference", "wrong.py"), "wrong.py can't be the reference"),
        (("right.py",), "--tests"),
    ],
)
def test_what_can_not_be_checked_is_status_2(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    """In one line."""
    done = call(tmp_path, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert says in done.stderr and done.stderr.count("\n") == 1
