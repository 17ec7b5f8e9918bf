"""Streams that are closed, full or unread, and interrupts at any time: a status and at most one line, never a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.exec

COMMAND = f"{sys.executable} -m groundrun"
INTERRUPTED_IMPORT = """
import sys
from groundrun.cli import main
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
main(["systems"])
"""


def call(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash whose failing parts count."""
    return subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, timeout=50, cwd=folder)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_fault(closed: str, tmp_path: Path) -> None:
    """What would go there is dropped; the status is that of the answer."""
    for verb in ("systems", "--help", "systems --json"):
        done = call(f"{COMMAND} {verb} {closed}", tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "p.py").write_text("open('kept', 'w').write('abc'); print('said')")
    done = call(f"{COMMAND} run --isolation none --collect kept p.py {closed}", tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "kept").read_text() == "abc"
    assert call(f"{COMMAND} nosuchverb {closed}", tmp_path).returncode == 2


@pytest.mark.parametrize("arguments", ["systems", "systems --json", "--version", "--help", "attack --list", "run --isolation none p.py"])
def test_full_output_is_told(arguments: str, tmp_path: Path) -> None:
    """As what it is, not as a fault of ours."""
    (tmp_path / "p.py").write_text("print('x' * 100_000)")
    done = call(f"{COMMAND} {arguments} >/dev/full", tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: can't write the output: No space left on device\n"
    assert call(f"{COMMAND} nosuchverb 2>/dev/full", tmp_path).returncode == 2


@pytest.mark.parametrize("arguments", ["attack --list", "systems --json", "run --isolation none p.py"])
def test_reader_that_goes_away_is_quiet(arguments: str, tmp_path: Path) -> None:
    """The status is what a shell shows for SIGPIPE."""
    (tmp_path / "p.py").write_text("print('x' * 1_000_000)")
    done = call(f"{COMMAND} {arguments} | true", tmp_path)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.parametrize("name", ["groundrun.cli.entry", "click", "groundrun.cli.systems", "groundrun.cli.catalogue"])
def test_interrupt_while_importing_is_status_130(name: str, tmp_path: Path) -> None:
    """One line, no traceback."""
    script = INTERRUPTED_IMPORT.format(name=name)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr.strip() == "error: interrupted"


def test_interrupt_of_a_running_program_is_status_130(tmp_path: Path) -> None:
    """A real signal, once the program runs."""
    source = "print('started', flush=True)\nimport time\ntime.sleep(30)"
    (tmp_path / "p.py").write_text(f"open({str(tmp_path / 'started')!r}, 'w').close()\n{source}")
    command = [sys.executable, "-m", "groundrun", "run", "--isolation", "none", "p.py"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=tmp_path) as process:
        while not (tmp_path / "started").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=50)
    assert process.returncode == 130
    assert err.strip() == "error: interrupted"
