"""`groundrun eval`: gates, exit statuses, resuming; with a small set of samples of the starter problems."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from groundrun.benchmarks.metrics import Estimate, Metrics
from groundrun.cli.entry import carry_out
from groundrun.cli.eval import check_gate, read_gates
from groundrun.starter import load_starter


def metrics(value: float, *, missing: tuple[str, ...] = (), unprotected: float | None = None) -> Metrics:
    """Scores with one estimate."""
    rest = () if unprotected is None else (Estimate(k=1, value=unprotected, low=0, high=1),)
    return Metrics(
        tasks=1, samples=1, passed=1, estimates=(Estimate(k=1, value=value, low=0, high=1),), with_unprotected=rest, missing_tasks=missing
    )


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "value", "met"),
    [
        ("pass@1>=0.5", 0.5, True),
        ("pass@1>0.5", 0.5, False),
        ("pass@1 >= 50%", 0.5, True),
        ("pass@1>=0.51", 0.5, False),
        ("pass@1>=1", 1.0, True),
    ],
)
def test_gate_compares(text: str, value: float, met: bool) -> None:
    """As it is written."""
    (gate,) = read_gates(None, None, (text,))
    assert check_gate(gate, metrics(value)).met is met


@pytest.mark.unit
@pytest.mark.parametrize("text", ["", "pass@1", "pass@0>=0.5", "pass@1>=1.5", "pass@1>=101%", "pass@1<0.5", "pass@1=0.5", "accuracy>=0.5"])
def test_other_texts_are_no_gate(text: str) -> None:
    """A gate that could never be met or never fail is not taken."""
    with pytest.raises(click.BadParameter, match="is not a gate"):
        read_gates(None, None, (text,))


@pytest.mark.unit
def test_gate_is_not_met_by_a_part() -> None:
    """Neither by fewer tasks, nor by a k that can't be estimated, nor by unprotected passes."""
    (gate,) = read_gates(None, None, ("pass@1>=0.5",))
    assert check_gate(gate, metrics(1.0, missing=("t",))).why == "1 task of the benchmark has no verdict"
    assert check_gate(gate, metrics(1.0, missing=("t", "u"))).why == "2 tasks of the benchmark have no verdict"
    assert not check_gate(gate, metrics(0.2, unprotected=1.0)).met
    assert check_gate(gate, metrics(0.2, unprotected=1.0), allow_unprotected=True).met
    (ten,) = read_gates(None, None, ("pass@10>=0.5",))
    assert "can't be estimated" in check_gate(ten, metrics(1.0)).why


def write_samples(path: Path, *, wrong: int) -> None:
    """The references of all starter problems, the first ones replaced by nothing."""
    rows = [
        {"task_id": each.problem.task_id, "solution": "" if number < wrong else each.problem.reference}
        for number, each in enumerate(load_starter())
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
    assert evaluate(tmp_path, "--json", "--gate", "pass@1>=0.95") == 1
    second = json.loads(capsys.readouterr().out)
    assert (second["summary"]["judged"], second["summary"]["resumed"]) == (0, problems)
    assert evaluate(tmp_path) == 0
    assert f"{problems} from before" in capsys.readouterr().out


@pytest.mark.exec
def test_bad_line_is_named_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --skip-bad it is named too, and the rest goes on."""
    write_samples(tmp_path / "s.jsonl", wrong=0)
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
def test_equal_names_in_two_folders_have_two_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --out the run is called after folder and file; the same command finds it again, however the path is written."""
    monkeypatch.chdir(tmp_path)
    for name in ("m1", "m2"):
        (tmp_path / name).mkdir()
        write_samples(tmp_path / name / "generated.jsonl", wrong=name == "m2")
        assert carry_out(["eval", "starter", "--samples", f"{name}/generated.jsonl", "--isolation", "none"]) == 0
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert [name.rsplit("-", 1)[0] for name in runs] == ["starter-m1-generated", "starter-m2-generated"]
    capsys.readouterr()
    command = ["eval", "starter", "--samples", str(tmp_path / "m1/../m1/generated.jsonl"), "--isolation", "none", "--json"]
    assert carry_out(command) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["judged"] == 0
