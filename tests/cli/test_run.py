"""`groundrun run`: a real program, its streams, its files, its status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.exec


def call(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the command without isolation in a folder."""
    command = [sys.executable, "-m", "groundrun", "run", "--isolation", "none", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, cwd=folder, timeout=50)


def test_output_and_arguments_pass_through(tmp_path: Path) -> None:
    """Bytes come out as they were written; what follows FILE is the program's own."""
    (tmp_path / "p.py").write_text("import sys; sys.stdout.buffer.write(b'\\xff\\n'); print(sys.argv[1:]); print('e', file=sys.stderr)")
    done = call(tmp_path, "p.py", "--json", "-x", "a b")
    assert done.returncode == 0
    assert done.stdout == b"\xff\n['--json', '-x', 'a b']\n"
    lines = done.stderr.decode().splitlines()
    assert lines[0] == "e"
    assert lines[-1].startswith("ok: ") and "NO ISOLATION" in lines[-1]


@pytest.mark.parametrize(
    ("source", "says"),
    [("raise KeyError(1)", "raised KeyError"), ("raise SystemExit(7)", "exited with status 7"), ("while True: pass", "cpu_limit")],
)
def test_failing_program_is_status_1(tmp_path: Path, source: str, says: str) -> None:
    """And the last line says how it failed."""
    done = call(tmp_path, "--cpu", "0.3", "-", stdin=source.encode())
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1].startswith(f"{says}: ")


def test_json_owns_stdout(tmp_path: Path) -> None:
    """The record, with the program's output in it."""
    (tmp_path / "p.py").write_text("print(input()[::-1])")
    (tmp_path / "in").write_text("abc\n")
    done = call(tmp_path, "--json", "--stdin", "in", "p.py")
    found = json.loads(done.stdout)
    assert (found["outcome"], found["stdout"], found["isolation"]["rung"]) == ("ok", "cba\n", "none")
    assert found["cost"]["cpu_s"] > 0
    assert done.stderr == b""


def test_files_go_in_and_come_back(tmp_path: Path) -> None:
    """Under the names that were given; an existing file is never overwritten."""
    (tmp_path / "data.txt").write_text("4")
    (tmp_path / "p.py").write_text("open('out.txt', 'w').write(open('n').read() * 3)")
    done = call(tmp_path, "--file", "n=data.txt", "--collect", "out.txt=back", "--collect", "missing", "p.py")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "back").read_text() == "444"
    assert b"warning: the program left no file missing" in done.stderr
    again = call(tmp_path, "--collect", "out.txt=back", "p.py")
    assert again.returncode == 2
    assert b"back exists already" in again.stderr


def test_source_that_is_not_utf8_is_bad_input(tmp_path: Path) -> None:
    """Named with the place."""
    (tmp_path / "p.py").write_bytes(b"x = '\xff'")
    done = call(tmp_path, "p.py")
    assert done.returncode == 2
    assert done.stderr.decode() == "error: p.py: byte 5 is not UTF-8 (save the source as UTF-8)\n"


def test_counts_are_told_and_named(tmp_path: Path) -> None:
    """On a line after the last, and in the record; without an end there is no count."""
    (tmp_path / "p.py").write_text("for i in range(10): pass")
    done = call(tmp_path, "--cost", "counts", "p.py")
    assert " events by " in done.stderr.decode().splitlines()[-1]
    assert " 10 jumps, 11 branches, 1 calls, 1 starts" in done.stderr.decode()
    found = json.loads(call(tmp_path, "--cost", "counts", "--json", "p.py").stdout)["cost"]["counts"]
    assert (found["events"], found["python"]) == (23, f"{sys.version_info[0]}.{sys.version_info[1]}")
    ended = call(tmp_path, "--cost", "counts", "-", stdin=b"import os; os._exit(0)")
    assert ended.returncode == 0
    assert ended.stderr.decode().splitlines()[-1].startswith("not counted: ")
