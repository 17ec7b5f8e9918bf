"""`groundrun report`: page, table, JSON, unfinished runs, missing data and a missing extra."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from groundrun.benchmarks.metrics import measure
from groundrun.benchmarks.store import Gold, RunConfig, RunFolder, RunMetrics, StoredCompletion
from groundrun.cli.datasets import load_starter_dataset
from groundrun.cli.entry import carry_out
from groundrun.cli.report import leave_page
from groundrun.errors import ExtraMissing
from groundrun.records import CpuSource, Isolation, Limits, MemoryGuard, Outcome, Rung, Verdict
from groundrun.reports import page
from groundrun.starter import load_starter

pytestmark = pytest.mark.unit


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of the starter set's first problem: its first candidate passed, its last is not judged yet."""
    starter, dataset = load_starter()[0], load_starter_dataset()
    config = RunConfig(
        benchmark="starter 1",
        dataset_sha256=dataset.sha256,
        limits=Limits(),
        judge="1",
        isolation=Isolation(rung=Rung.NAMESPACES, memory_guard=MemoryGuard.CGROUP2, cpu_guard=CpuSource.CGROUP),
        source="samples",
        model="authored candidates",
        python="3",
    )
    completions = starter.completions()
    verdict = Verdict(task_id=starter.problem.task_id, passed=True, protected=True, reason="every test passed", outcome=Outcome.OK)
    with RunFolder(tmp_path / "run", config) as folder:
        for completion in (completions[0], completions[-1]):
            folder.add_completion(StoredCompletion(**msgspec.structs.asdict(completion), rule="solution"))
        folder.add_verdict(verdict)
    return tmp_path / "run"


def finish(run: Path) -> None:
    """Give the run an end: only the judged sample was ever asked for."""
    lines = (run / "completions.jsonl").read_bytes().splitlines(keepends=True)
    (run / "completions.jsonl").write_bytes(lines[0])
    verdict = msgspec.json.decode((run / "verdicts.jsonl").read_bytes(), type=Verdict)
    scores = RunMetrics(metrics=measure([verdict]), gold=Gold(passed=1, total=1, protected=1))
    (run / "metrics.json").write_bytes(msgspec.json.encode(scores))


def test_a_page_and_a_table(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page lies in the run folder and has the problem and the candidate's name; the table says that the run is unfinished."""
    assert carry_out(["report", str(run)]) == 0
    shown, (starter, *_) = capsys.readouterr(), load_starter()
    assert "The run: It is unfinished" in " ".join(shown.out.split()) and not shown.err
    assert shown.out.splitlines()[-1] == f"page: {run / 'report.html'}"
    text = (run / "report.html").read_text()
    assert starter.candidates[0].label in text and "What was asked" in text


def test_the_page_says_which_limits_hold(run: Path) -> None:
    """A problem's own, and before those what was given."""
    assert carry_out(["report", str(run)]) == 0
    assert "own go before these</dd>" in (run / "report.html").read_text()
    config = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**config, "limits_given": ["cpu_s", "wall_s"]}))
    assert carry_out(["report", str(run)]) == 0
    assert "own go before these, except cpu_s, wall_s: given for every problem</dd>" in (run / "report.html").read_text()


def test_json_is_the_whole_report(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a finished run; nothing is written."""
    finish(run)
    assert carry_out(["report", "--json", str(run)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["finished"] is True and found["states"] == {"passed": 1}
    (problem,) = found["problems"]
    assert problem["programs"][0]["verdict"]["passed"] is True and problem["programs"][0]["source"]
    assert problem["problem"]["tests"]
    assert not (run / "report.html").exists()


def test_the_page_goes_where_it_is_asked_for(run: Path, tmp_path: Path) -> None:
    """Most 0 leaves every program out, and says so."""
    assert carry_out(["report", str(run), "--out", str(tmp_path / "x.html"), "--most", "0"]) == 0
    assert "2 of them are left out of this page" in (tmp_path / "x.html").read_text()
    assert not (run / "report.html").exists()


def test_other_data_are_not_shown(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither those with another checksum nor those of an unknown benchmark; a note says why."""
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text.replace('"dataset_sha256": "', '"dataset_sha256": "0'))
    assert carry_out(["report", str(run)]) == 0
    assert capsys.readouterr().err == "note: no problems shown: the data at hand are not those that the run was judged with\n"
    assert "What was asked" not in (run / "report.html").read_text()
    (run / "run.json").write_text(text.replace('"starter 1"', '"nobody 7"'))
    assert carry_out(["report", str(run)]) == 0
    assert capsys.readouterr().err == "note: no problems shown: nobody 7 is not a benchmark of this version\n"


def test_data_that_were_named_must_be_there(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not named, their absence is a note."""
    (run / "run.json").write_text((run / "run.json").read_text().replace('"starter 1"', '"humaneval 1"'))
    assert carry_out(["report", str(run), "--data", str(tmp_path / "nothing")]) == 2
    assert "the data of humaneval" in capsys.readouterr().err


def test_what_is_no_run_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2."""
    assert carry_out(["report", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and "run.json" in shown.err


def test_without_the_extra(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb says what to install; eval and demo leave the page out with a note; JSON needs no extra."""

    def refuse() -> None:
        raise ExtraMissing("jinja2", "reports")

    monkeypatch.setattr(page, "require_extra", refuse)
    assert carry_out(["report", str(run)]) == 2
    assert capsys.readouterr().err == "error: jinja2 is not installed: pip install 'groundrun[reports]'\n"
    assert leave_page(run, ()) is None
    assert capsys.readouterr().err == "note: no report.html: jinja2 is not installed: pip install 'groundrun[reports]'\n"
    assert carry_out(["report", "--json", str(run)]) == 0
