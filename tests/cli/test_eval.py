"""`groundrun eval`: exit statuses, resuming; with a small set of samples of the starter problems."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundrun.benchmarks.store import read_config
from groundrun.cli.entry import carry_out
from groundrun.errors import StorageFailed
from groundrun.records import Limits
from groundrun.starter import load_starter


def write_samples(path: Path, *, wrong: int, most: int | None = None) -> None:
    """The references of the starter problems, at most so many, the first ones replaced by nothing."""
    rows = [
        {"task_id": each.problem.task_id, "solution": "" if number < wrong else each.problem.reference}
        for number, each in enumerate(load_starter()[:most])
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def evaluate(folder: Path, *arguments: str) -> int:
    """Run the verb on the starter set without isolation."""
    common = ["--samples", str(folder / "s.jsonl"), "--out", str(folder / "run"), "--isolation", "none"]
    return carry_out(["eval", "starter", *common, *arguments])


@pytest.mark.exec
def test_run_is_judged_gated_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second time nothing is judged again, and a stricter gate gives status 1."""
    write_samples(tmp_path / "s.jsonl", wrong=1)
    assert evaluate(tmp_path, "--json", "--gate", "pass@1>=0.9") == 0
    first = json.loads(capsys.readouterr().out)
    problems = len(load_starter())
    assert first["summary"]["metrics"]["passed"] == problems - 1
    assert first["summary"]["judged"] == problems
    assert first["gates"] == [
        {"gate": "pass@1>=0.9", "met": True, "value": first["summary"]["metrics"]["estimates"][0]["value"], "why": ""}
    ]
    assert evaluate(tmp_path, "--json", "--gate", "pass@1>=1") == 1
    second = json.loads(capsys.readouterr().out)
    assert (second["summary"]["judged"], second["summary"]["resumed"]) == (0, problems)
    assert evaluate(tmp_path) == 0
    assert f"{problems} from before" in capsys.readouterr().out


@pytest.mark.exec
def test_bad_line_is_named_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --skip-bad it is named too, and the rest goes on."""
    write_samples(tmp_path / "s.jsonl", wrong=0, most=3)
    good = (tmp_path / "s.jsonl").read_text()
    (tmp_path / "s.jsonl").write_text(good + '{"task_id": "starter/nothing", "solution": ""}\n')
    line = len(good.splitlines()) + 1
    assert evaluate(tmp_path) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"error: {tmp_path}/s.jsonl:{line}: unknown task_id") and err.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert evaluate(tmp_path, "--skip-bad") == 0
    out, err = capsys.readouterr()
    assert f"s.jsonl:{line}: unknown task_id" in err
    assert "1 bad sample was left out" in out


@pytest.mark.exec
@pytest.mark.parametrize(
    ("out", "why"), [("/", "is not a run folder"), ("/proc/x", "can't make the run folder"), (".", "has 's.jsonl' in it")]
)
def test_folder_that_cannot_be_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, why: str) -> None:
    """One line, exit status 2, and nothing is written."""
    write_samples(tmp_path / "s.jsonl", wrong=0)
    place = tmp_path / out
    command = ["eval", "starter", "--samples", str(tmp_path / "s.jsonl"), "--isolation", "none"]
    assert carry_out([*command, "--out", str(place)]) == 2
    err = capsys.readouterr().err
    assert why in err and "--out" in err and err.count("error: ") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["s.jsonl"]


@pytest.mark.exec
def test_a_run_is_called_what_a_shell_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the file and its folder are called; two files still have two runs."""
    monkeypatch.chdir(tmp_path)
    for name in ("$(touch PWNED) *", "`id`;&"):
        (tmp_path / name).mkdir()
        write_samples(tmp_path / name / "é 1.jsonl", wrong=0, most=1)
        assert carry_out(["eval", "starter", "--samples", f"{name}/é 1.jsonl", "--isolation", "none"]) == 0
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert [name.rsplit("-", 1)[0] for name in runs] == ["starter-_id_-é_1", "starter-_touch_PWNED_-é_1"]


@pytest.mark.exec
@pytest.mark.parametrize("arguments", [[], ["--json"]])
@pytest.mark.parametrize("error", [StorageFailed("x", "No space left on device"), RuntimeError("font \x1b[2J\nmissing")])
def test_a_page_that_fails_takes_no_answer_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: Exception
) -> None:
    """The answer is there before the page is tried, and the note is one line."""
    answers: list[str] = []

    def fail(*_: object, **__: object) -> Path:
        answers.append(capsys.readouterr().out)
        raise error

    monkeypatch.setattr("groundrun.cli.report.write_page", fail)
    write_samples(tmp_path / "s.jsonl", wrong=0, most=1)
    assert evaluate(tmp_path, *arguments, "--gate", "pass@1>=0.1") == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("note: no report.html: ") and err.count("\n") == 1 and "\x1b" not in err
    assert ("pass@1>=0.1" in answers[0]) and (json.loads(answers[0])["gates"] if arguments else "outcomes  ok 1" in answers[0])


@pytest.mark.exec
def test_bad_samples_are_named_without_reaching_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line of theirs neither clears the screen nor passes for a line of ours."""
    write_samples(tmp_path / "s.jsonl", wrong=0, most=1)
    bad = json.dumps({"task_id": "\x1b[2J\u202e\nerror: no", "solution": ""})
    (tmp_path / "s.jsonl").write_text((tmp_path / "s.jsonl").read_text() + bad + "\n")
    for arguments, status in (([], 2), (["--skip-bad"], 0)):
        assert evaluate(tmp_path, *arguments) == status
        out, err = capsys.readouterr()
        assert not {"\x1b", "\u202e"} & set(out + err)
        assert err.count("\n") == 1 and "x1b[2J" in err and "\nerror: no" not in out


@pytest.mark.exec
def test_a_limit_that_is_given_is_kept_by_name(tmp_path: Path) -> None:
    """A folder that was made without it is not gone on with, though the limit is the default."""
    write_samples(tmp_path / "s.jsonl", wrong=0, most=1)
    assert evaluate(tmp_path, "--cpu", "10") == 0
    config = read_config(tmp_path / "run")
    assert (config.limits, config.limits_given) == (Limits(), ("cpu_s",))
    assert evaluate(tmp_path) == 2


@pytest.mark.exec
def test_equal_names_in_two_folders_have_two_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --out the run is called after folder and file; the same command finds it again, however the path is written."""
    monkeypatch.chdir(tmp_path)
    for name in ("m1", "m2"):
        (tmp_path / name).mkdir()
        write_samples(tmp_path / name / "generated.jsonl", wrong=name == "m2", most=3)
        assert carry_out(["eval", "starter", "--samples", f"{name}/generated.jsonl", "--isolation", "none"]) == 0
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert [name.rsplit("-", 1)[0] for name in runs] == ["starter-m1-generated", "starter-m2-generated"]
    capsys.readouterr()
    command = ["eval", "starter", "--samples", str(tmp_path / "m1/../m1/generated.jsonl"), "--isolation", "none", "--json"]
    assert carry_out(command) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["judged"] == 0
