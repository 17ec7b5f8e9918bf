"""HumanEval+ and MBPP+: the loaders on made data, the special oracles on real judging, the real data where they are on the machine."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from groundrun.benchmarks.dataset import digest_of
from groundrun.benchmarks.evalplus import RELEASES, find_release, load_humaneval_plus, load_mbpp_plus
from groundrun.engine import Engine
from groundrun.errors import BadInput, DatasetMissing, UsageError
from groundrun.judging import judge
from groundrun.records import Completion, DifferentialTest, Problem


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    full = [{"prompt": "", "canonical_solution": "", "base_input": [], "plus_input": [], "atol": 0, "contract": "", **row} for row in rows]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, full)).encode()))
    return path


def mbpp_problem(tmp_path: Path, number: int, entry_point: str, source: str, *inputs: Sequence[Any]) -> Problem:
    row = {
        "task_id": f"Mbpp/{number}",
        "entry_point": entry_point,
        "canonical_solution": source,
        "base_input": list(inputs),
        "plus_input": {},
    }
    return load_mbpp_plus(write_rows(tmp_path / "MbppPlus-v0.2.0.jsonl.gz", row)).problems[0]


def inputs_of(problem: Problem) -> list[tuple[Any, ...]]:
    (test,) = problem.hidden
    assert isinstance(test, DifferentialTest)
    found: list[tuple[Any, ...]] = eval(test.inputs, {"inf": math.inf, "nan": math.nan})
    return found


@pytest.mark.unit
def test_a_row_becomes_a_problem(tmp_path: Path) -> None:
    row = {
        "task_id": "HumanEval/7",
        "prompt": "def f(x):\n",
        "entry_point": "f",
        "canonical_solution": "    return x\n",
        "base_input": [[1]],
        "plus_input": [[2], [math.inf]],
        "atol": 1e-6,
    }
    path = write_rows(tmp_path / "HumanEvalPlus-v0.1.9.jsonl.gz", row)
    dataset = load_humaneval_plus(tmp_path, compat="evalplus")
    (problem,) = dataset.problems
    assert problem.reference == "def f(x):\n    return x\n"
    tests = [(each.name, each.inputs, each.tolerance, each.compat) for each in problem.hidden if isinstance(each, DifferentialTest)]
    assert tests == [("base", "[(1,)]", 1e-6, "evalplus"), ("plus", "[(2,), (inf,)]", 1e-6, "evalplus")]
    assert dataset.sha256 == digest_of(gzip.decompress(path.read_bytes()))
    assert "is not the official humaneval_plus" in dataset.warning
    assert dataset.benchmark.subsets == ("base",)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("number", "given", "taken"),
    [
        (2, [[1, 2], [3]], ((1, 2), (3,))),
        (63, [[[1, 2], [3]]], ([(1, 2), (3,)],)),
        (75, [[[1, 2], [3]], 4], ([(1, 2), (3,)], 4)),
        (106, [[1], [2]], ([1], (2,))),
        (115, [[[1, 1], []]], ([{1}, {}],)),
        (124, ["1", "2+3j"], (1.0, 2 + 3j)),
        (250, [[1], 2], ((1,), 2)),
        (252, ["1j"], (1j,)),
        (259, [[[1], [2]], [[3]]], (((1,), (2,)), ((3,),))),
        (278, [[1, [2]]], ((1, (2,)),)),
        (307, [[1], 2, 3], ((1,), 2, 3)),
        (580, [[1, [2, [3]]]], ((1, (2, (3,))),)),
        (722, [{"a": [1]}, 2], ({"a": (1,)}, 2)),
        (3, [[1], 2], ([1], 2)),
    ],
)
def test_inputs_of_mbpp_get_their_types(tmp_path: Path, number: int, given: list[Any], taken: tuple[Any, ...]) -> None:
    (found,) = inputs_of(mbpp_problem(tmp_path, number, "f", "", given))
    assert repr(found) == repr(taken)


@pytest.mark.exec
@pytest.mark.parametrize(
    ("number", "name", "reference", "given", "right", "wrong"),
    [
        (164, "are_equivalent", "return a == b", [1, 2], "return 7", "return 1 / 0"),
        (295, "sum_div", "return a + b", [1, 2], "return 0", "return 1"),
        (581, "surface_Area", "return 33", [3, 4], "return round(9 + 6 * 18.25 ** 0.5)", "return 34"),
        (558, "digit_distance_nums", "return 1", [1, 23], "return 4", "return 5"),
        (2, "similar_elements", "return (1, 2)", [[1], [2]], "return [2, 1, 1]", "return [1]"),
        (737, "check_str", "import re\n    return re.match('x', 'x')", ["x", 0], "return 'Valid'", "return None"),
        (737, "check_str", "return None", ["x", 0], "return False", "return True"),
    ],
)
def test_special_oracles(
    tmp_path: Path, engine: Engine, number: int, name: str, reference: str, given: list[Any], right: str, wrong: str
) -> None:
    """Answers that differ from the reference's and are right, and others that are wrong."""
    head = f"def {name}(a, b):\n    "
    problem = mbpp_problem(tmp_path, number, name, head + reference, given)
    for body, passes in ((reference, True), (right, True), (wrong, False)):
        verdict = judge(engine, problem, Completion(task_id=problem.task_id, text=head + body))
        assert (body, verdict.passed, verdict.protected) == (body, passes, True), verdict


@pytest.mark.exec
def test_a_root_is_judged_by_the_polynomial(tmp_path: Path, engine: Engine) -> None:
    row = {"task_id": "HumanEval/32", "entry_point": "find_zero", "base_input": [[[-4.0, 0.0, 1.0]]], "atol": 1e-4}
    row |= {"canonical_solution": "def find_zero(xs):\n    xs.clear()\n    return 2.0\n"}
    problem = load_humaneval_plus(write_rows(tmp_path / "d.jsonl.gz", row)).problems[0]
    for answer, passes in (("-2.0", True), ("2.00001", True), ("2.1", False), ("'2'", False), ("None", False)):
        verdict = judge(engine, problem, Completion(task_id="HumanEval/32", text=f"def find_zero(xs):\n    return {answer}\n"))
        assert (answer, verdict.passed) == (answer, passes)


@pytest.mark.unit
def test_bad_data_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GROUNDRUN_DATA", raising=False)
    with pytest.raises(DatasetMissing):
        load_humaneval_plus(tmp_path)
    with pytest.raises(UsageError, match=r"no version 'v9': known are v0\.2\.0, v0\.1\.0"):
        load_mbpp_plus(tmp_path, version="v9")
    with pytest.raises(UsageError, match="no compat 'human-eval'"):
        load_mbpp_plus(tmp_path, compat="human-eval")
    path = tmp_path / "MbppPlus-v0.2.0.jsonl.gz"
    for text in (b"", b'{"task_id": 1}\n', b"[" * 100_000):
        path.write_bytes(gzip.compress(text))
        with pytest.raises(BadInput, match=str(path)):
            load_mbpp_plus(tmp_path)


@pytest.mark.unit
def test_releases_are_found_by_the_hash_that_results_name() -> None:
    assert len({release.md5 for release in RELEASES}) == len({release.benchmark.sha256 for release in RELEASES}) == 5
    found = find_release("84f4b93a1270b492e4c54d5212da7a5b")
    assert found is not None
    assert (found.benchmark.name, found.benchmark.version) == ("humaneval_plus", "v0.1.9")
    assert find_release("0") is None


@pytest.mark.parity
@pytest.mark.parametrize("release", RELEASES, ids=lambda each: f"{each.benchmark.name}-{each.benchmark.version}")
def test_every_release_is_recognised(recorded: Path, release: Any) -> None:
    load = load_mbpp_plus if release.benchmark.name == "mbpp_plus" else load_humaneval_plus
    dataset = load(recorded, version=release.benchmark.version)
    assert (dataset.warning, dataset.benchmark) == ("", release.benchmark)
    assert len(dataset.problems) == {"v0.2.0": 378, "v0.1.0": 399}.get(release.benchmark.version, 164)
    assert all(each.hidden and isinstance(each.hidden[0], DifferentialTest) for each in dataset.problems)
