"""Samples from files and folders: every kind of mistake has its line, and good ones arrive as EvalPlus means them."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import pytest

from groundrun.benchmarks.samples import MAX_LINE_BYTES, SampleSet
from groundrun.errors import BadInput
from groundrun.records import Problem

pytestmark = pytest.mark.unit

PROBLEMS = tuple(Problem(task_id=f"T/{number}", prompt=f"def f{number}():\n") for number in range(12))


def line(task: int, *, text: str = "    return 1\n", field: str = "completion", **more: object) -> bytes:
    return json.dumps({"task_id": f"T/{task}", field: text, **more}).encode() + b"\n"


def written(tmp_path: Path, *lines: bytes, name: str = "samples.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(b"".join(lines))
    return path


def test_completion_and_solution(tmp_path: Path) -> None:
    path = written(tmp_path, line(0), line(1, text="x = 1\n", field="solution"), line(2, solution="y = 1\n"))
    first, second, both = SampleSet(path, PROBLEMS)
    assert (first.text, first.solution, first.rule) == ("    return 1\n", "def f0():\n    return 1\n", "completion")
    assert (second.solution, second.rule) == ("x = 1\n", "solution")
    assert (both.solution, both.rule) == ("y = 1\n", "solution")


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_compressed_by_content_not_by_name(tmp_path: Path, pack: type) -> None:
    samples = SampleSet(written(tmp_path, pack(line(0) + line(1)), name="any"), PROBLEMS)
    assert len(samples) == 2
    assert [sample.task_id for sample in samples] == ["T/0", "T/1"]
    assert len(list(samples)) == 2


def test_blank_lines_and_a_byte_order_mark_are_no_mistakes(tmp_path: Path) -> None:
    assert len(SampleSet(written(tmp_path, b"\xef\xbb\xbf", line(0), b"\n  \n", line(1).rstrip(b"\n")), PROBLEMS)) == 2


def test_samples_are_numbered_in_order_around_explicit_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, line(0, text="a"), line(0, text="b", sample=1), line(1, text="c"), line(0, text="d"))
    assert [(sample.task_id, sample.sample, sample.text) for sample in SampleSet(path, PROBLEMS)] == [
        ("T/0", 0, "a"),
        ("T/0", 1, "b"),
        ("T/1", 0, "c"),
        ("T/0", 2, "d"),
    ]


BAD = [
    (b"{broken\n", "this line is not JSON"),
    (b"[" * 100_000 + b"\n", "this line is not JSON"),
    (b"[1]\n", "not a JSON object but list"),
    (b'{"completion": "x"}\n', "the field 'task_id' is missing"),
    (b'{"task_id": "T/0"}\n', "'solution' and 'completion' are both missing"),
    (b'{"task_id": "T/99", "completion": "x"}\n', "unknown task_id 'T/99'; ids look like 'T/0'"),
    (b'{"task_id": 3.5, "completion": "x"}\n', "'task_id' must be a string or a number, not float"),
    (b'{"task_id": "T/0", "completion": 3}\n', "'completion' must be a string, not int"),
    (b'{"task_id": "T/0", "solution": null}\n', "'solution' must be a string, not NoneType"),
    (b'{"task_id": "T/0", "completion": "x", "sample": -1}\n', "'sample' must be a whole number"),
    (b'{"task_id": "T/0", "completion": "x", "sample": true}\n', "'sample' must be a whole number"),
    (b'{"task_id": "T/0", "completion": "\xff"}\n', "this line is not UTF-8 (byte 35)"),
    (b'{"task_id": "T/0", "completion": "\\ud800}\n', "this line is not JSON"),
    (b'{"task_id": "\\ud800", "completion": "x"}\n', "unknown task_id '\\ud800'"),
    (line(3), "this line repeats line 1"),
    (b'{"task_id": "T/0", "completion": "' + b"x" * MAX_LINE_BYTES + b'"}\n', "longer than"),
]


@pytest.mark.parametrize(("bad", "problem"), BAD, ids=range(len(BAD)))
def test_every_mistake_has_its_line_and_can_be_skipped(tmp_path: Path, bad: bytes, problem: str) -> None:
    path = written(tmp_path, line(3), bad, line(4))
    with pytest.raises(BadInput) as caught:
        SampleSet(path, PROBLEMS)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    samples = SampleSet(path, PROBLEMS, skip_bad=True)
    assert [sample.task_id for sample in samples] == ["T/3", "T/4"]
    assert len(samples) == 2
    assert [error.line for error in samples.bad] == [2]


@pytest.mark.parametrize("text", ["x = '\ud800'\n", "# \udfff\ud800\n", "x = '\U0001f600'\n"])
def test_escaped_surrogates_are_taken_as_python_takes_them(tmp_path: Path, text: str) -> None:
    samples = SampleSet(written(tmp_path, line(0, text=text, field="solution"), line(1)), PROBLEMS)
    assert [sample.solution for sample in samples] == [text, "def f1():\n    return 1\n"]


def test_a_repeated_number_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r":2: sample 0 of T/0 is there already"):
        SampleSet(written(tmp_path, line(0, text="a", sample=0), line(0, text="b", sample=0)), PROBLEMS)


def test_equal_draws_are_legal_where_the_file_holds_draws(tmp_path: Path) -> None:
    draws = [line(task, text=text) for task in (0, 1) for text in ("a", "a", "b")]
    assert [sample.sample for sample in SampleSet(written(tmp_path, *draws), PROBLEMS)] == [0, 1, 2, 0, 1, 2]


def test_equal_numbered_lines_are_legal(tmp_path: Path) -> None:
    path = written(tmp_path, line(0, sample=0), line(0, sample=1))
    assert [sample.sample for sample in SampleSet(path, PROBLEMS)] == [0, 1]


def test_a_truncated_archive_is_a_mistake_where_it_ends(tmp_path: Path) -> None:
    content = gzip.compress(b"".join(line(task, text=str(task)) for task in range(3)))[:-12]
    path = written(tmp_path, content, name="cut.jsonl.gz")
    with pytest.raises(BadInput, match="the file can't be read from here on"):
        SampleSet(path, PROBLEMS)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no such file or folder"):
        SampleSet(tmp_path / "none", PROBLEMS)
    with pytest.raises(BadInput, match="it holds no samples"):
        SampleSet(written(tmp_path), PROBLEMS)
    with pytest.raises(BadInput, match="no sample in it can be used"):
        SampleSet(written(tmp_path, b"x\n"), PROBLEMS, skip_bad=True)


def test_folder_as_evalplus_writes_it(tmp_path: Path) -> None:
    for name in ("T_2/10.py", "T_2/9.py", "T_10.py", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    samples = SampleSet(tmp_path, PROBLEMS)
    assert [(sample.task_id, sample.sample, sample.solution) for sample in samples] == [
        ("T/2", 9, "# T_2/9.py\n"),
        ("T/2", 10, "# T_2/10.py\n"),
        ("T/10", 0, "# T_10.py\n"),
    ]


def test_mistakes_in_a_folder_name_the_file(tmp_path: Path) -> None:
    good, unknown, odd, encoding, twice = (tmp_path / name for name in ("T_1.py", "U_1.py", "T_2/x.py", "T_3.py", "T_1/0.py"))
    for path in (good, unknown, odd, encoding, twice):
        path.parent.mkdir(exist_ok=True)
        path.write_text("x = 1\n")
    encoding.write_bytes(b"\xff")
    with pytest.raises(BadInput):
        SampleSet(tmp_path, PROBLEMS)
    samples = SampleSet(tmp_path, PROBLEMS, skip_bad=True)
    assert len(list(samples)) == 1
    told = {Path(error.path): error.problem for error in samples.bad}
    assert set(told) == {unknown, odd, encoding, good}
    assert "unknown task 'U_1'" in told[unknown]
    assert "called by its number" in told[odd]
    assert "not UTF-8" in told[encoding]
    assert "is already in" in told[good]


def test_a_task_is_found_by_its_number_and_in_any_case(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(b"".join(json.dumps({"task_id": name, "solution": "x"}).encode() + b"\n" for name in ("t/0", 1, "2", "T/11")))
    assert [sample.task_id for sample in SampleSet(path, PROBLEMS)] == ["T/0", "T/1", "T/2", "T/11"]
