"""`groundrun completion`: real shells with the script sourced, and what a TAB costs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from groundrun.cli.completion import complete_runs
from groundrun.cli.entry import VERBS, carry_out
from groundrun.cli.judge import judge_verb

ASK = """
source <("$GROUNDRUN" completion bash)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_groundrun_completion "$GROUNDRUN" 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
complete -p groundrun
"""
LOADED = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); from groundrun.cli import main; main([])"


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """The command as a file, wherever it is installed."""
    path = tmp_path / "bin" / "groundrun"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m groundrun "$@"\n')
    path.chmod(0o755)
    return path


def ask_bash(command: Path, *words: str) -> list[str]:
    """What bash offers for a line of these words with the cursor in the last one; and it must have the command registered."""
    bash = find_shell("bash")
    done = subprocess.run(
        [bash, "--norc", "-c", ASK, "ask", *words],
        env={**os.environ, "GROUNDRUN": str(command)},
        cwd=command.parents[1],
        capture_output=True,
        text=True,
        timeout=50,
    )
    *offered, registered = done.stdout.splitlines()
    assert "-F _groundrun_completion groundrun" in registered, done.stderr
    return offered


@pytest.mark.exec
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["groundrun", "comp"], ["compare", "completion"]),
        (["groundrun", "--ver"], ["--version"]),
        (["groundrun", "eval", "star"], ["starter"]),
        (["groundrun", "eval", "starter", "--allow"], ["--allow-unprotected"]),
        (["groundrun", "eval", "starter", "--isolation", "na"], ["namespaces"]),
        (["groundrun", "judge", "runs/a"], ["runs/abc"]),
        (["groundrun", "compare", "runs/abc", "runs/x"], ["runs/xyz"]),
        (["groundrun", "completion", "z"], ["zsh"]),
    ],
    ids=" ".join,
)
def test_bash_completes(command: Path, words: list[str], offered: list[str]) -> None:
    """Verbs, options, benchmarks, choices, run folders."""
    for name in ("abc", "xyz"):
        (command.parents[1] / "runs" / name).mkdir(parents=True)
        (command.parents[1] / "runs" / name / "run.json").write_text("{}")
    assert ask_bash(command, *words) == offered


def find_shell(name: str) -> str:
    """Where a shell is; skips, naming it, when it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.mark.exec
def test_zsh_takes_the_script(command: Path) -> None:
    """It finds no mistake in it."""
    zsh = find_shell("zsh")
    script = subprocess.run([command, "completion", "zsh"], capture_output=True, check=True, timeout=30).stdout
    assert b"_GROUNDRUN_COMPLETE" in script
    (command.parent / "script").write_bytes(script)
    subprocess.run([zsh, "-n", command.parent / "script"], check=True, timeout=30)


@pytest.mark.exec
def test_fish_completes(command: Path) -> None:
    """With the script sourced, fish is asked itself."""
    fish = find_shell("fish")
    ask = "groundrun completion fish | source; complete -C 'groundrun comp'"
    env = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "HOME": str(command.parent)}
    done = subprocess.run([fish, "--no-config", "-c", ask], env=env, capture_output=True, text=True, timeout=50)
    assert done.stdout.split() == ["compare", "completion"], done.stderr


@pytest.mark.exec
def test_a_verb_is_completed_without_any_verb() -> None:
    """Nor the engine, nor asyncio: a TAB has to be answered at once."""
    env = {**os.environ, "_GROUNDRUN_COMPLETE": "bash_complete", "COMP_WORDS": "groundrun ", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", LOADED], env=env, capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == [f"plain,{verb}" for verb in sorted(VERBS)]
    loaded = set(done.stderr.split())
    assert not loaded & {"asyncio", "rich", "groundrun.engine", *(f"groundrun.cli.{verb}" for verb in VERBS)}


@pytest.mark.exec
def test_the_script_is_made_without_the_engine() -> None:
    """So that a shell that sources it starts at once."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED.replace("[]", "['completion', 'fish']")], capture_output=True, text=True, timeout=30
    )
    assert "groundrun" in done.stdout
    assert "groundrun.engine" not in done.stderr.split()


@pytest.mark.unit
def test_json_holds_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert carry_out(["completion", "fish", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["shell"] == "fish" and "_groundrun_completion" in found["script"]


@pytest.mark.unit
def test_run_folders_are_offered_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that a shell would trip over are not; where no run fits, any folder may be named."""
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(["old", "new", "bad\nname", "b $(id)", "b*", "no run"]):
        (tmp_path / "runs" / name).mkdir(parents=True)
        if name != "no run":
            (tmp_path / "runs" / name / "run.json").write_text("{}")
            os.utime(tmp_path / "runs" / name / "run.json", (1000 + age, 1000 + age))
    context, parameter = click.Context(judge_verb), judge_verb.params[0]
    assert [item.value for item in complete_runs(context, parameter, "")] == ["runs/new", "runs/old"]
    assert [item.type for item in complete_runs(context, parameter, "runs/b")] == ["dir"]
    assert [(item.type, item.value) for item in complete_runs(context, parameter, "/tm")] == [("dir", "/tm")]


TYPED = """
import os, pty, select, sys, time
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], [sys.argv[1], "--norc", "--noprofile", "-i"])
def wait_for(end):
    said, deadline = b"", time.monotonic() + 20
    while end not in said and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            said += os.read(terminal, 65536)
os.write(terminal, b'source <("$GROUNDRUN" completion bash); echo rea""dy\\n')
wait_for(b"ready")
os.write(terminal, b'groundrun report runs/hum\\t; echo do""ne\\n')
wait_for(b"done")
os.write(terminal, b"exit\\n")
"""


@pytest.mark.exec
@pytest.mark.parametrize("name", ["humaneval-$(touch PWNED)-ab", "humaneval-`touch PWNED`"])
def test_a_tab_runs_nothing_that_a_folder_is_called(command: Path, name: str) -> None:
    """In a bash that a terminal has, where TAB and Enter are typed."""
    bash, place = find_shell("bash"), command.parents[1]
    (place / "runs" / name).mkdir(parents=True)
    (place / "runs" / name / "run.json").write_text("{}")
    env = {"PATH": f"{command.parent}:{os.environ['PATH']}", "GROUNDRUN": str(command), "HOME": str(place), "TERM": "dumb"}
    subprocess.run([sys.executable, "-c", TYPED, bash], cwd=place, env=env, timeout=50, check=True)
    assert sorted(path.name for path in place.iterdir() if path.name != ".bash_history") == ["bin", "runs"]
