"""`groundrun judge`: the completions of a run again, what changed, and what is no run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundrun.benchmarks.rejudgement import EarlierRun
from groundrun.benchmarks.store import RunConfig, read_config
from groundrun.cli.entry import carry_out
from groundrun.cli.judge import load_again, merge_limits
from groundrun.records import CpuSource, DifferentialTest, Isolation, Limits, MemoryGuard, Rung
from groundrun.starter import load_starter

PROBLEMS = [each.problem for each in load_starter() if each.problem.reference][:3]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A run of three problems: two references, and one program that is wrong."""
    rows = [{"task_id": each.task_id, "solution": each.reference if number else "pass"} for number, each in enumerate(PROBLEMS)]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["eval", "starter", "--samples", str(tmp_path / "samples.jsonl"), "--out", str(tmp_path / "run"), "--isolation", "none"]
    assert carry_out(command) == 0
    capsys.readouterr()
    return tmp_path / "run"


def judge(run: Path, *arguments: str) -> int:
    """Run the verb without isolation."""
    return carry_out(["judge", str(run), "--isolation", "none", *arguments])


@pytest.mark.exec
def test_nothing_changes_and_the_same_command_goes_on(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The new run lies beside the old one, knows it, and is gone on with."""
    assert judge(run) == 0
    assert "changed   0 of 3 verdicts" in capsys.readouterr().out
    again = run.with_name("run-again")
    assert read_config(again).source == "run:run"
    assert read_config(again).model == read_config(run).model == "samples.jsonl"
    assert judge(run, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["summary"]["judged"], found["summary"]["resumed"]) == (0, 3)
    assert found["changes"] == {"compared": 3, "new": 0, "settings": [], "changes": []}


@pytest.mark.exec
def test_changed_verdicts_are_told_and_are_no_failure(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Here the old verdict was altered by hand, so nothing that is recorded explains it."""
    verdicts = [json.loads(line) for line in (run / "verdicts.jsonl").read_text().splitlines()]
    (altered,) = (each for each in verdicts if each["task_id"] == PROBLEMS[1].task_id)
    altered.update(passed=False, reason="\x1b[2J")
    (run / "verdicts.jsonl").write_text("".join(json.dumps(each) + "\n" for each in verdicts))
    assert judge(run, "--repeat", "2", "--cpu", "5") == 0
    out = capsys.readouterr().out
    assert "changed   1 of 3 verdicts; of these, 1 in whether it passed" in out
    assert f"{PROBLEMS[1].task_id} sample 0: failed (ok) -> passed (ok): " in out
    assert "the limit cpu_s differs: 10.0 in the first run, 5.0 in this one" in out
    assert "\x1b" not in out
    assert judge(run, "--json", "--out", str(run.with_name("third"))) == 0
    (change,) = json.loads(capsys.readouterr().out)["changes"]["changes"]
    assert change["before"]["passed"] is False and change["after"]["passed"] is True
    assert "no setting changed" in change["why"][0]


@pytest.mark.exec
def test_samples_without_a_verdict_are_new(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As an interrupted run leaves them; gates work as in eval."""
    lines = (run / "verdicts.jsonl").read_text().splitlines(keepends=True)
    (run / "verdicts.jsonl").write_text("".join(lines[:1]) + lines[1][:20])
    (run / "metrics.json").unlink()
    assert judge(run, "--json", "--gate", "pass@1>=0.5") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["changes"]["compared"], found["changes"]["new"]) == (1, 2)
    assert found["gates"][0]["why"].endswith("tasks of the benchmark have no verdict")


@pytest.mark.exec
def test_what_cannot_be_judged_again_is_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No folder, no run, the run itself, an unknown benchmark, another version of it."""
    config = json.loads((run / "run.json").read_text())
    for changed, says in (
        ("nothing 1", "no benchmark 'nothing': known are "),
        ("starter 0", "is a run of starter 0, but the package is starter "),
    ):
        other = run.with_name(changed)
        other.mkdir()
        (other / "run.json").write_text(json.dumps({**config, "benchmark": changed}))
        (other / "completions.jsonl").write_bytes((run / "completions.jsonl").read_bytes())
        assert judge(other) == 2
        assert says in capsys.readouterr().err
    assert judge(run, "--out", f"{run}/../run") == 2
    assert "is the run to judge again" in capsys.readouterr().err
    for place in ("/nowhere/at/all", str(run.parent), str(run / "run.json")):
        assert carry_out(["judge", place]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1
        assert f"{place}: this is no run folder" in err
    assert not run.with_name("run-again").exists()


@pytest.mark.parity
def test_version_and_mode_of_the_data_are_found_again(recorded: Path, run: Path) -> None:
    """Of a benchmark that has several; the folder holds them all."""
    config = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**config, "benchmark": "humaneval_plus v0.1.9"}))
    dataset = load_again(EarlierRun(run), recorded, compat="evalplus")
    assert (dataset.benchmark.version, dataset.warning) == ("v0.1.9", "")
    tests = [test for problem in dataset.problems for test in problem.hidden]
    assert {test.compat for test in tests if isinstance(test, DifferentialTest)} == {"evalplus"}


@pytest.mark.unit
def test_limits_given_are_those_of_the_run_and_those_given_now() -> None:
    """What was given to neither is left to the problems, and to the run's own limits where they have none."""
    config = RunConfig(
        benchmark="b 1",
        dataset_sha256="0",
        limits=Limits(cpu_s=3.0, wall_s=5.0),
        limits_given=("cpu_s",),
        judge="1",
        isolation=Isolation(rung=Rung.NONE, memory_guard=MemoryGuard.NOTHING, cpu_guard=CpuSource.NOTHING),
        source="samples",
        model="m",
        python="3",
    )
    assert merge_limits(config, {}) == {"cpu_s": 3.0}
    assert merge_limits(config, {"memory_bytes": 7}) == {"cpu_s": 3.0, "memory_bytes": 7}
    assert merge_limits(config, {"cpu_s": 10.0}) == {"cpu_s": 10.0}


@pytest.mark.exec
def test_limits_of_the_run_hold_where_none_are_given(run: Path) -> None:
    """Those that were given, and those of the engine that made it."""
    stored = json.loads((run / "run.json").read_text())
    stored["limits"] |= {"wall_s": 21.0, "cpu_s": 7.0}
    (run / "run.json").write_text(json.dumps({**stored, "limits_given": ["cpu_s"]}))
    assert judge(run, "--memory", "512M") == 0
    again = read_config(run.with_name("run-again"))
    assert again.limits == Limits(cpu_s=7.0, wall_s=21.0, memory_bytes=512 << 20)
    assert again.limits_given == ("cpu_s", "memory_bytes")


@pytest.mark.exec
def test_places_below_the_working_folder_are_told_as_such(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As eval tells them."""
    monkeypatch.chdir(run.parent)
    assert judge(Path("run")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "folder    run-again" in lines and lines[-1] == "report    run-again/report.html"
    assert judge(run, "--out", f"{run.parent}/third") == 0
    assert "folder    third" in capsys.readouterr().out.splitlines()


@pytest.mark.exec
def test_a_doubled_verdict_is_refused_by_every_verb(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counted twice or left out in silence, it would change a score."""
    lines = (run / "verdicts.jsonl").read_bytes().splitlines(keepends=True)
    (run / "verdicts.jsonl").write_bytes(b"".join([*lines, lines[0]]))
    for command in (["compare", str(run), str(run)], ["report", str(run)], ["judge", str(run), "--isolation", "none"]):
        assert carry_out(command) == 2
        assert (
            f"error: {run}/verdicts.jsonl:4: sample 0 of {json.loads(lines[0])['task_id']} has a second verdict" in capsys.readouterr().err
        )
