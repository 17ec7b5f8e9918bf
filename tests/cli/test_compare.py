"""`groundrun compare`: two runs of the starter set, one with more right answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundrun.cli.entry import carry_out
from groundrun.starter import load_starter

PROBLEMS = [each.problem for each in load_starter() if each.problem.reference][:6]
HOSTILE = "# \x1b[2J\u202e\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A has five of six right, B three, of which A has two."""
    place = tmp_path_factory.mktemp("runs")
    for name, wrong in (("a", {0}), ("b", {1, 2, 3})):
        rows = [{"task_id": each.task_id, "solution": HOSTILE if n in wrong else each.reference} for n, each in enumerate(PROBLEMS)]
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        command = ["eval", "starter", "--samples", str(place / f"{name}.jsonl"), "--out", str(place / name), "--isolation", "none"]
        assert carry_out(command) == 0
    return place / "a", place / "b"


def compare(runs: tuple[Path, Path], *arguments: str) -> int:
    """Run the verb."""
    return carry_out(["compare", str(runs[0]), str(runs[1]), *arguments])


@pytest.mark.exec
def test_numbers_and_programs_are_shown(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """B minus A; the discordant problems side by side; nothing hostile."""
    assert compare(runs, "--width", "120", "--all") == 0
    out = capsys.readouterr().out
    assert "B - A        -33.3 " in out
    assert "tasks     2 passed by both, 0 by neither, 3 only by A, 1 only by B" in out
    assert "McNemar   p = 0.6250" in out
    assert f"{PROBLEMS[0].task_id}: only B passed" in out
    assert all(f"{PROBLEMS[number].task_id}: only A passed" in out for number in (1, 2, 3))
    assert r"# \x1b[2J\u202e" in out and not set(out) & set("\x1b\u202e")
    assert max(map(len, out.splitlines())) <= 120 or str(runs[0]) in out


@pytest.mark.exec
def test_json_has_everything(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Also whole programs, of all discordant problems, as they were written."""
    assert compare(runs, "--json", "--seed", "3", "--resamples", "500") == 0
    found = json.loads(capsys.readouterr().out)
    comparison = found["comparison"]
    assert comparison["difference"]["value"] == pytest.approx(-1 / 3)
    assert (comparison["seed"], comparison["resamples"], len(comparison["pairs"])) == (3, 500, 6)
    assert [each["task_id"] for each in found["discordant"]] == [*comparison["only_a"], *comparison["only_b"]]
    assert found["discordant"][0]["b"]["program"] == HOSTILE
    assert found["discordant"][0]["a"]["verdict"]["passed"] is True


@pytest.mark.exec
def test_gates_hold_the_difference_and_its_lower_end(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1 when not met; a comparison that leaves a task out meets none."""
    assert compare(runs, "--gate", "difference>=-0.4", "--gate", "difference>-50%") == 0
    assert compare(runs, "--gate", "difference>=-0.3") == 1
    assert "difference>=-0.3 is NOT met: it is -0.3333" in capsys.readouterr().out
    assert compare(runs, "--gate", "low>=-0.4") == 1
    assert compare(runs[::-1], "--gate", "difference>=0", "--gate", "low>=-1") == 0
    part = runs[0].with_name("part")
    part.mkdir()
    for name in ("run.json", "completions.jsonl", "verdicts.jsonl"):
        lines = (runs[0] / name).read_text().splitlines(keepends=True)
        (part / name).write_text("".join(lines if name == "run.json" else lines[:-1]))
    capsys.readouterr()
    assert compare((part, runs[1]), "--gate", "low>=-1") == 1
    assert "low>=-1 is NOT met: 1 task can't be compared" in capsys.readouterr().out


@pytest.mark.unit
@pytest.mark.parametrize(
    "text", ["difference", "difference<=0", "high>=0", "difference>=-2", "low>=101%", "pass@1>=0.5", "difference>=--1"]
)
def test_other_texts_are_no_gate(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before any folder is read."""
    assert carry_out(["compare", "/nowhere", "/nowhere", "--gate", text]) == 2
    assert "is not a gate such as 'difference>=-0.02'" in capsys.readouterr().err


@pytest.mark.exec
def test_runs_that_do_not_go_together_are_one_line(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """No run, other data."""
    assert compare((runs[0], runs[0] / "x")) == 2
    assert "x: this is no run folder" in capsys.readouterr().err
    other = runs[0].with_name("other")
    other.mkdir()
    config = json.loads((runs[0] / "run.json").read_text())
    (other / "run.json").write_text(json.dumps({**config, "dataset_sha256": "f" * 64}))
    assert compare((runs[0], other)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "sha256 ffffffffffffffff" in err
