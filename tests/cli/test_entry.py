"""Exit statuses, one-line errors, and the help."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from groundrun.cli.entry import VERBS, carry_out, groundrun
from groundrun.errors import WorkerDied

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def quiet_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback unless a test asks for one, and nothing that a test sets stays."""
    monkeypatch.setenv("GROUNDRUN_TRACEBACK", "")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(verb: str) -> None:
    """The docstring is the help; --json and --traceback are everywhere."""
    command = groundrun.get_command(click.Context(groundrun), verb)
    assert command is not None and command.name == verb
    leaves = list(command.commands.values()) if isinstance(command, click.Group) else [command]
    assert leaves
    for leaf in leaves:
        assert len(leaf.help or "") > 60
        names = {option for parameter in leaf.params for option in parameter.opts}
        assert {"--json", "--traceback"} <= names


def test_help_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    """And is an answer, not an error."""
    assert carry_out(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in VERBS)


@pytest.mark.parametrize("arguments", [["--help"], ["doctor"], ["systems"], ["attack", "--list"]], ids=" ".join)
def test_nothing_is_wider_than_the_terminal(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines are broken between words."""
    monkeypatch.setenv("COLUMNS", "80")
    carry_out(arguments)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 5
    assert [line for line in lines if len(line) > 80 and len(line.split()) > 1] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nosuchverb"], "No such command 'nosuchverb'"),
        (["doctor", "--nosuchoption"], "--nosuchoption"),
        (["run"], "Missing argument 'FILE'"),
        (["run", "--isolation", "none", "/nowhere/at/all.py"], "/nowhere/at/all.py: no such file or directory"),
        (["run", "--memory", "0", "x.py"], "'0' is not a size"),
        (["run", "--cpu", "nan", "x.py"], "'nan' is not a number of seconds"),
        (["run", "--processes", "9" * 30, "x.py"], "is not in the range"),
        (["bench", "engine", "--rounds", "0"], "(groundrun bench engine --help)"),
        (["reproduce", "nope"], "no system 'nope': known are humaneval"),
        (["reproduce", "humaneval", "--data", "/nowhere/at/all"], "/nowhere/at/all does not exist"),
        (["reproduce", "--dataset", "/nowhere/at/all"], "/nowhere/at/all does not exist"),
        (["reproduce", "humaneval", "--compat", "evalplus"], "groundrun reproduce evalplus --compat evalplus"),
        (["report", "\x1b]0;x\x07\nerror: y"], r"error: \x1b]0;x\x07 error: y: this is no run folder"),
        (["eval", "starter"], "name either --samples FILE or --model NAME"),
        (["eval", "starter", "--model", "oracle", "--gate", "pass@1>=80"], "is not a gate"),
        (["eval", "starter", "--samples", "/nowhere/at/all.jsonl"], "there is no such file or folder"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What, with which value, and nothing on the standard output."""
    assert carry_out(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    assert says in err


def _fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> tuple[object, ...]:
        raise error

    monkeypatch.setattr("groundrun.cli.demo.load_starter", fail)


@pytest.mark.parametrize(
    ("error", "status"),
    [(WorkerDied("warden"), 3), (RuntimeError("by accident"), 3), (KeyboardInterrupt(), 130)],
)
def test_faults_have_their_status(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ours, unforeseen, interrupted: one line each, no traceback."""
    _fail_with(error, monkeypatch)
    assert carry_out(["demo"]) == status
    err = capsys.readouterr().err.lstrip("\n")  # click ends the line that ^C was typed on
    assert err.startswith("error: ") and err.count("\n") == 1


def test_traceback_is_shown_when_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The line of the error stays the last one."""
    _fail_with(RuntimeError("by accident"), monkeypatch)
    assert carry_out(["demo", "--traceback"]) == 3
    err = capsys.readouterr().err
    assert err.startswith("Traceback") and "in fail" in err
    assert err.splitlines()[-1].startswith("error: groundrun failed: RuntimeError: by accident")


@pytest.mark.exec
def test_module_is_the_command(tmp_path: Path) -> None:
    """`python -m groundrun` works."""
    done = subprocess.run(
        [sys.executable, "-m", "groundrun", "systems", "--json"], capture_output=True, text=True, timeout=30, cwd=tmp_path
    )
    assert done.returncode == 0
    assert {row["name"] for row in json.loads(done.stdout)} >= {"HumanEval", "pass@k"}
