"""Whole benchmarks: the race against EvalPlus's own command, and the same verdicts beside busy loops."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench.remnants import read_stat, wait_until

from bench import loaded
from bench import whole as launcher
from groundrun.cli import whole
from groundrun.cli.race import LeftOut
from groundrun.cli.whole import (
    COLD,
    OURS,
    WARM,
    Turn,
    compare_whole,
    find_missing_peer,
    list_entrants,
    prepare_stages,
    race_whole,
    read_theirs,
    summarize_whole,
)
from groundrun.errors import EngineError, UsageError
from groundrun.records import Outcome, TestVerdict, Verdict

pytestmark = pytest.mark.exec

RIGHT, HALF, WRONG = (True, True), (True, False), (False, False)


def turn(wall_s: float, statuses: dict[str, tuple[bool, bool]], *, scores_s: float = 1.0, cpu_s: float | None = 1.0) -> Turn:
    return Turn(wall_s=wall_s, scores_s=scores_s, cpu_s=cpu_s, statuses=statuses)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Data and samples of two problems, one of which passes: HumanEval+ only."""
    data, samples = tmp_path / "evalplus", tmp_path / "some-model" / "evalplus" / "humaneval"
    data.mkdir()
    samples.mkdir(parents=True)
    row = {"prompt": "def f(x):\n", "contract": "", "canonical_solution": "    return x + 1\n", "entry_point": "f", "atol": 0}
    with gzip.open(data / "HumanEvalPlus-v0.1.9.jsonl.gz", "wt") as file:
        for number in range(2):
            file.write(json.dumps({"task_id": f"HumanEval/{number}", **row, "base_input": [[1]], "plus_input": [[2], [3]]}) + "\n")
    right = {"task_id": "HumanEval/0", "solution": "def f(x):\n    return x + 1\n"}
    half = {"task_id": "HumanEval/1", "solution": "def f(x):\n    return 2\n"}
    with gzip.open(samples / "generated.jsonl.gz", "wt") as file:
        file.write(json.dumps(right) + "\n" + json.dumps(half) + "\n")
    return tmp_path


def test_medians_and_agreement() -> None:
    """Agreement is of each round with ours of the same round, the fewest count, and all that ever differ are named."""
    ours = [turn(2, {"a/10": RIGHT, "a/9": HALF}), turn(4, {"a/10": RIGHT, "a/9": HALF})]
    theirs = [turn(9, {"a/10": RIGHT, "a/9": WRONG}), turn(11, {"a/10": HALF, "a/9": WRONG}, cpu_s=None)]
    turns = {(OURS, COLD, "b"): ours, ("evalplus", COLD, "b"): theirs}
    first, second = summarize_whole(turns, list_entrants(2))
    assert (first.wall_s, first.base_percent, first.plus_percent, first.agree) == (3, 100, 50, None)
    assert (second.wall_s, second.base_percent, second.plus_percent, second.cpu_s) == (10, 50, 0, None)
    assert (second.agree, second.differing) == ((0, 2), ("a/9", "a/10"))


def test_ratios_are_of_sums_over_all_benchmarks() -> None:
    """Like with like: whole commands, or both until the scores are there; none without our rows."""
    turns = {
        (OURS, COLD, "one"): [turn(1, {"a": RIGHT}, scores_s=1)],
        (OURS, COLD, "two"): [turn(3, {"a": RIGHT}, scores_s=1)],
        ("evalplus", WARM, "one"): [turn(2, {"a": RIGHT}, scores_s=1)],
        ("evalplus", WARM, "two"): [turn(10, {"a": RIGHT}, scores_s=2)],
    }
    rows = summarize_whole(turns, list_entrants(2))
    assert compare_whole(rows, lambda row: row.wall_s) == {"evalplus_warm": 3.0}
    assert compare_whole(rows, lambda row: row.scores_s) == {"evalplus_warm": 1.5}
    assert compare_whole([row for row in rows if row.key != OURS], lambda row: row.wall_s) == {}


def test_stages(tiny: Path) -> None:
    """Both files uncompressed; what has no samples is named; models that aren't there are refused with those that are."""
    place = tiny / "stage"
    place.mkdir()
    label, stages, left_out = prepare_stages(tiny, None, place)
    assert (label, [stage.course.dataset for stage in stages]) == ("some-model", ["humaneval"])
    assert len(Path(stages[0].data).read_text().splitlines()) == len(Path(stages[0].samples).read_text().splitlines()) == 2
    assert left_out == [LeftOut("mbpp_plus v0.1.0", f"{tiny}/some-model has no samples of it (evalplus/mbpp/generated.jsonl)")]
    with pytest.raises(UsageError, match=r"no samples of 'other': it has some-model"):
        prepare_stages(tiny, "other", place)


def test_without_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to name, also where nothing was."""
    with pytest.raises(UsageError, match=r"generated\.jsonl.*it has none"):
        prepare_stages(tmp_path, None, tmp_path)
    monkeypatch.delenv("GROUNDRUN_DATA", raising=False)
    with pytest.raises(UsageError, match="name their folder with --data or GROUNDRUN_DATA"):
        prepare_stages(None, None, tmp_path)


def test_their_results_are_read(tmp_path: Path) -> None:
    """Infinite inputs that failed are no JSON, and stand there all the same; a run without plus inputs has no plus status."""
    path = tmp_path / "results.json"
    rows = '[{"base_status": "pass", "plus_status": "timeout", "plus_fail_tests": [Infinity]}]'
    path.write_text(f'{{"hash": "x", "eval": {{"a": {rows}, "b": [{{"base_status": "fail", "plus_status": null}}]}}}}')
    assert read_theirs(path) == {"a": HALF, "b": WRONG}


def test_launcher_measures_and_stops(tmp_path: Path) -> None:
    """Status and processor time of the command; one past its time is killed with its children."""

    def order(source: str, timeout_s: float) -> launcher.Order:
        return launcher.Order(
            command=[sys.executable, "-I", "-c", source],
            env={},
            cwd=str(tmp_path),
            output=str(tmp_path / "output"),
            cgroup=None,
            cpu_file=None,
            waits=True,
            timeout_s=timeout_s,
        )

    found = launcher.carry_out(order("import sys, time\nwhile time.process_time() < 0.3: pass\nsys.exit('last words')", 50))
    assert found["status"] == 1
    assert isinstance(found["cpu_s"], float) and found["cpu_s"] >= 0.29
    assert (tmp_path / "output").read_text() == "last words\n"
    child = "import subprocess, sys\nchild = subprocess.Popen(['sleep', '1000'])\nprint(child.pid, flush=True)\nchild.wait()"
    assert launcher.carry_out(order(child, 2))["status"] is None
    pid = int((tmp_path / "output").read_text() or 0)
    assert pid and wait_until(lambda: (stat := read_stat(pid)) is None or stat[2] == "Z", seconds=20)


def test_launcher_ends_with_its_starter(tmp_path: Path) -> None:
    """Killed or not, whoever ordered a command doesn't leave it behind."""
    order = {"command": ["sh", "-c", "echo $$; exec sleep 1000"], "env": {"PATH": os.defpath}, "cwd": str(tmp_path), "waits": True}
    rest = {"output": str(tmp_path / "output"), "cgroup": None, "cpu_file": None, "timeout_s": 900}
    (tmp_path / "order").write_text(json.dumps({**order, **rest}))
    launch = [sys.executable, "-m", "bench.whole", str(tmp_path / "order"), str(tmp_path / "result")]
    source = f"import subprocess\nsubprocess.run({launch!r})"
    with subprocess.Popen([sys.executable, "-c", source], cwd=Path(launcher.__file__).parents[1]) as starter:
        assert wait_until(lambda: (tmp_path / "output").exists() and (tmp_path / "output").read_text().endswith("\n"), seconds=20)
        starter.kill()
    pid = int((tmp_path / "output").read_text())
    assert wait_until(lambda: read_stat(pid) is None or _state(pid) == "Z", seconds=20)


def test_a_command_that_fails_is_our_fault(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last words are told, and no number is."""
    monkeypatch.setattr(whole, "COURSES", (whole.Course("humaneval_plus", "v0.1.9", "humaneval", "X"),))
    (tiny / "some-model" / "evalplus" / "humaneval" / "generated.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(EngineError, match=r"groundrun ended with status 2 .*the field 'task_id' is missing"):
        race_whole(tiny, model=None, only=[OURS], workers=1, rounds=1)


def test_command(tiny: Path) -> None:
    """A real race of our row; JSON owns the standard output."""
    command = [sys.executable, "-m", "groundrun", "bench", "evalplus", "--json", "--rounds", "1", "--only", OURS, "--data", str(tiny)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (row,) = found["rows"]
    assert (row["key"], row["mode"], row["base_percent"], row["plus_percent"]) == (OURS, COLD, 100.0, 50.0)
    assert 0 < row["scores_s"] < row["wall_s"]
    assert found["ratio_to"] == {}


@pytest.mark.long
@pytest.mark.timeout(300)
def test_against_evalplus(tiny: Path) -> None:
    """Both decide the two problems alike. It sleeps on for twenty seconds after its scores, both times."""
    if missing := find_missing_peer():
        pytest.skip(missing)
    race = race_whole(tiny, model=None, only=[OURS, "evalplus_parallel"], workers=2, rounds=1)
    assert [(row.key, row.mode.split()[0]) for row in race.rows] == [(OURS, COLD), ("evalplus_parallel", COLD), ("evalplus_parallel", WARM)]
    assert {(row.base_percent, row.plus_percent) for row in race.rows} == {(100, 50)}
    assert [(row.agree, row.differing) for row in race.rows[1:]] == [((2, 2), ())] * 2
    assert race.ratio_to.keys() == race.ratio_to_scores.keys() == {"evalplus_parallel_cold", "evalplus_parallel_warm"}


def verdict(task_id: str, *, passed: bool, inputs: str) -> Verdict:
    tests = (TestVerdict(name="base", passed=passed, inputs=inputs),)
    return Verdict(task_id=task_id, passed=passed, protected=True, reason="why", outcome=Outcome.OK, tests=tests)


def test_differences_under_load() -> None:
    """Another status or a missing verdict is one; another number of inputs after a failure is counted apart."""
    calm = {name: verdict(name, passed=name != "d", inputs="+") for name in "abd"}
    busy = {"a": verdict("a", passed=False, inputs="-"), "b": verdict("b", passed=True, inputs="+"), "d": calm["d"]}
    busy["d"] = verdict("d", passed=False, inputs="-.")
    differences, reached = loaded.compare({**calm, "c": calm["a"]}, busy)
    assert [each.split(":")[0] for each in differences] == ["a", "c"]
    assert "passed (base passed; ok; why" in differences[0] and "under load failed" in differences[0]
    assert differences[1].endswith("under load not judged")
    assert reached == 1


def test_busy_loops_end_with_the_block() -> None:
    """They use the processor while they are there, and are gone afterwards even when the block raises."""
    ids: list[int] = []
    with pytest.raises(KeyError), loaded.keep_busy(2) as found:
        ids = found
        assert wait_until(lambda: all(_ticks(pid) >= 5 for pid in ids), seconds=30)
        raise KeyError
    assert len(ids) == 2
    assert all(read_stat(pid) is None for pid in ids)


def test_busy_loops_end_with_their_starter() -> None:
    """Also when it is killed, and can do nothing about it."""
    source = "from bench.loaded import keep_busy\nwith keep_busy(1) as ids:\n    print(*ids, flush=True)\n    input()"
    root = Path(loaded.__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"}
    with subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        alive = read_stat(pid) is not None
        starter.kill()
    assert alive and wait_until(lambda: read_stat(pid) is None or _state(pid) == "Z", seconds=30)


def test_a_command_that_takes_too_long_is_stopped(tiny: Path) -> None:
    """And says how to give it more."""
    place = tiny / "stage"
    place.mkdir()
    _, stages, _ = prepare_stages(tiny, None, place)
    with pytest.raises(RuntimeError, match=r"longer than 0\.01 s: give it more --minutes"):
        loaded.judge_samples(stages[0], tiny / "run", seconds=0.01)


def test_loaded_command(tiny: Path) -> None:
    """The tiny set is decided alike beside busy loops."""
    command = [sys.executable, "-m", "bench.loaded", "--data", str(tiny), "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=55, cwd=Path(loaded.__file__).parents[1])
    assert done.returncode == 0, done.stderr
    assert "as it is: 1 of 2 passed" in done.stdout
    assert "round 1: 1 of 2 passed, 0 decided otherwise" in done.stdout


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11])


def _state(pid: int) -> str:
    found = read_stat(pid)
    return found[2] if found else "X"
