"""Finding and reading MBPP; the data are stand-ins except where they are recorded."""

from __future__ import annotations

import ast
import gzip
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from groundrun.benchmarks.dataset import Dataset
from groundrun.benchmarks.mbpp import MBPP, Split, find_entry_point, load_mbpp, load_mbpp_sanitized, load_mbpp_test
from groundrun.engine import Engine
from groundrun.errors import BadInput, DatasetMissing
from groundrun.judging import calibrate
from groundrun.records import CodeTest

ROW = {
    "text": "Write a function that doubles.",
    "code": "def half(x):\r\n    return x / 2\r\ndef double(x):\r\n    return 2 * x",
    "task_id": 12,
    "test_setup_code": "one = 1\r\ntwo = 2",
    "test_list": ["assert double(one) == two", "assert set([double(2)]) == {4}"],
    "challenge_test_list": ["assert double(-1) == -two"],
}
SANITIZED = {
    "source_file": "verification.ipynb",
    "task_id": 82,
    "prompt": "Write a function that halves.",
    "code": "def half(x):\n    return x / 2",
    "test_imports": ["import math"],
    "test_list": ["assert math.isclose(half(1), 0.5)"],
}
# A copy in the shape of the other file: other names, and no imports.
COPY = {key: SANITIZED[key] for key in ("task_id", "code", "test_list")} | {"text": SANITIZED["prompt"], "test_setup_code": ""}
LINE = msgspec.json.encode(ROW) + b"\n"
UNPROTECTED = {
    "load_mbpp": {
        "Mbpp/367": "a value of type Node is not plain data",
        "Mbpp/533": "a value of type type is not plain data",
        "Mbpp/601": "a value of type Pair is not plain data",
        "Mbpp/927": "a value of type Node is not plain data",
    },
    # Truth of a match object, which stays behind in the candidate's process.
    "load_mbpp_sanitized": dict.fromkeys(["Mbpp/737", "Mbpp/787", "Mbpp/794"], "a value of the candidate is not plain data"),
}


@pytest.mark.unit
def test_each_assert_is_a_visible_test(tmp_path: Path) -> None:
    """With the set-up code before it; line ends are made one kind; the challenge doesn't count."""
    (tmp_path / "mbpp.jsonl").write_bytes(LINE)
    dataset = load_mbpp(tmp_path)
    (problem,) = dataset.problems
    assert problem.task_id == "Mbpp/12"
    assert problem.entry_point == "double"
    assert problem.reference == "def half(x):\n    return x / 2\ndef double(x):\n    return 2 * x\n"
    assert problem.visible == (
        CodeTest(source="one = 1\ntwo = 2\nassert double(one) == two\n", name="assert 1"),
        CodeTest(source="one = 1\ntwo = 2\nassert set([double(2)]) == {4}\n", name="assert 2"),
    )
    assert problem.hidden == ()
    lines = problem.prompt.split("\n")
    assert lines == ['"""', "Write a function that doubles.", *problem_asserts(), '"""', ""]
    assert "is not the official mbpp 1" in dataset.warning


def problem_asserts() -> list[str]:
    """The asserts of the stand-in."""
    return ["assert double(one) == two", "assert set([double(2)]) == {4}"]


@pytest.mark.unit
def test_challenge_is_hidden_and_named(tmp_path: Path) -> None:
    """A score with the harder asserts is another score, so the data set has another name."""
    (tmp_path / "mbpp.jsonl").write_bytes(LINE)
    dataset = load_mbpp(tmp_path, challenge=True, split=Split.TEST)
    (problem,) = dataset.problems
    assert problem.hidden == (CodeTest(source="one = 1\ntwo = 2\nassert double(-1) == -two\n", name="challenge 1"),)
    assert dataset.benchmark.name == "mbpp_test_challenge"


@pytest.mark.unit
@pytest.mark.parametrize("content", [msgspec.json.encode([SANITIZED]), gzip.compress(msgspec.json.encode(COPY) + b"\n")])
def test_sanitized_in_both_shapes(tmp_path: Path, content: bytes) -> None:
    """The official list, and a copy with one object a line that has lost the imports."""
    path = tmp_path / "file"
    path.write_bytes(content)
    dataset = load_mbpp_sanitized(path)
    (problem,) = dataset.problems
    assert problem.visible == (CodeTest(source="import math\nassert math.isclose(half(1), 0.5)\n", name="assert 1"),)
    assert problem.prompt == '"""\nWrite a function that halves.\nassert math.isclose(half(1), 0.5)\n"""\n'
    assert (problem.entry_point, "is not the official mbpp_sanitized 1" in dataset.warning) == ("half", True)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("code", "asserts", "entry_point"),
    [
        ("def f(x): ...", ["assert f(1)"], "f"),
        ("def f(x): ...\ndef g(x): ...", ["assert g(1) == 1", "assert not g(f(2))"], "g"),
        ("class Pair: ...\ndef f(x): ...", ["assert f([Pair(1, 2)], 4) == 3"], "f"),
        ("def f(x): ...", ["assert math.isclose(f(1), 2)", "assert set(f(1)) == set(f(2))"], "f"),
        ("f = max", ["assert f(1, 2) == 2"], "f"),
        ("def f(x): ...\ndef g(x): ...", ["assert f(1)", "assert g(1)"], None),
        ("def f(x): ...", ["assert sorted(1)"], None),
        ("def f(x): ...", ["assert ("], None),
        ("def f(x): ...", [], None),
    ],
)
def test_entry_point(code: str, asserts: list[str], entry_point: str | None) -> None:
    """What every assert calls and the code defines, the outermost call first."""
    assert find_entry_point(code, asserts) == entry_point


@pytest.mark.unit
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{}\n", ":1: not a problem"),
        (LINE + b"\n[]\n", ":3: not a problem"),
        (b"[{}]", "not a problem of MBPP"),
        (LINE * 2, "one of them twice"),
        (b"", "no problems"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    """With the line, where there are lines."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=problem):
        load_mbpp(path)


@pytest.mark.unit
def test_missing_names_the_address(tmp_path: Path) -> None:
    """The official one."""
    with pytest.raises(DatasetMissing, match=f"download {MBPP.address}"):
        load_mbpp(tmp_path)


@pytest.mark.unit
def test_splits_cover_every_number_once() -> None:
    """1 to 974."""
    assert sorted(number for split in Split for number in split.numbers) == list(range(1, 975))


@pytest.mark.parity
def test_the_official_file(recorded: Path) -> None:
    """All 974, by checksum; the usual part has 500; each has an entry point and a prompt that is a program."""
    dataset = load_mbpp(recorded)
    assert (len(dataset.problems), dataset.warning) == (974, "")
    for problem in dataset.problems:
        assert problem.entry_point, problem.task_id
        assert len(problem.visible) == 3, problem.task_id
    part = load_mbpp_test(recorded)
    assert (len(part.problems), part.benchmark.name, part.warning) == (500, "mbpp_test", "")
    assert [problem.task_id for problem in part.problems] == [f"Mbpp/{number}" for number in range(11, 511)]


@pytest.mark.parity
def test_the_sanitized_copy(recorded: Path) -> None:
    """427; the imports that the copy has lost are back where the official file has them, and for `sys` in 596, where it has none."""
    dataset = load_mbpp_sanitized(recorded)
    assert len(dataset.problems) == 427
    imports = {
        problem.task_id: problem.visible[0].source.split("\n")[0]
        for problem in dataset.problems
        if isinstance(problem.visible[0], CodeTest)
    }
    with_math = [int(task_id[5:]) for task_id, line in imports.items() if line == "import math"]
    assert with_math == [82, 85, 98, 124, 137, 139, 163, 233, 246, 248, 276, 300, 312]
    assert [task_id for task_id, line in imports.items() if line.startswith("import") and line != "import math"] == ["Mbpp/596"]


@pytest.mark.parity
@pytest.mark.exec
@pytest.mark.parametrize("load", [load_mbpp, load_mbpp_sanitized])
def test_references_that_need_a_shared_process(recorded: Path, engine: Engine, load: Callable[[Path], Dataset]) -> None:
    """Those few pass too, and why they are not protected is said; a sample of the others is protected."""
    expected = UNPROTECTED[load.__name__]
    problems = load(recorded).problems
    for problem in [*(each for each in problems if each.task_id in expected), *problems[::100]]:
        calibration = calibrate(engine, problem)
        assert calibration.passed, (problem.task_id, calibration.reason)
        reason = expected.get(problem.task_id)
        assert calibration.protected is (reason is None), problem.task_id
        assert (reason or "the reference passes") in calibration.reason


@pytest.mark.parity
@pytest.mark.exec
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("load", [load_mbpp, load_mbpp_sanitized])
def test_every_reference_passes(recorded: Path, engine: Engine, load: Callable[[Path], Dataset]) -> None:
    """All of them, and only the named ones without protection."""
    found = {problem.task_id: calibrate(engine, problem) for problem in load(recorded).problems}
    assert [task_id for task_id, calibration in found.items() if not calibration.passed] == []
    assert {task_id for task_id, calibration in found.items() if not calibration.protected} == set(UNPROTECTED[load.__name__])


@pytest.mark.parity
def test_prompts_are_programs(recorded: Path) -> None:
    """A docstring, so that prompt and completion together are one; the text of problems has odd escapes that only warn."""
    for load in (load_mbpp, load_mbpp_sanitized):
        for problem in load(recorded).problems:
            (statement,) = ast.parse(problem.prompt.replace("\\", "\\\\")).body
            assert isinstance(statement, ast.Expr), problem.task_id
