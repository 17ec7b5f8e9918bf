"""HumanEval: 164 hand-written Python functions with their tests (Chen et al. 2021, arXiv 2107.03374).

Exact: the program of a completion is prompt + completion, the decision is that `check(entry_point)` returns, the reference is
prompt + canonical solution. Ours: the tests run in a jailed grader apart from the candidate, on processor time and not on a wall
clock. Left out: the published harness's 3 s wall limit, which is a matter of `Limits`, and its guard, which is not a sandbox.
Known faults of the data are left as they are (the example in the text of task 47, the canonical solution of 95).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from groundrun.benchmarks.dataset import Benchmark, Dataset, digest_of, find_data, read_plain
from groundrun.errors import BadInput
from groundrun.records import CodeTest, Problem

HUMANEVAL = Benchmark(
    name="humaneval",
    version="1",
    address="https://github.com/openai/human-eval/raw/master/data/HumanEval.jsonl.gz",
    licence="MIT",
    folder="humaneval",
    files=("HumanEval.jsonl.gz", "HumanEval.jsonl"),
    sha256="1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2",
)


class _Row(msgspec.Struct):
    task_id: str
    prompt: str
    canonical_solution: str
    test: str
    entry_point: str


def load_humaneval(data: Path | None = None) -> Dataset:
    """The problems of HumanEval from `data` or `GROUNDRUN_DATA`. Raises `DatasetMissing`, `BadInput`."""
    path = find_data(HUMANEVAL, data)
    content = read_plain(path)
    problems = tuple(
        _as_problem(_read_row(path, number, line)) for number, line in enumerate(content.splitlines(), start=1) if line.strip()
    )
    if len({problem.task_id for problem in problems}) != len(problems) or not problems:
        raise BadInput(str(path), "this is not HumanEval: it has no problems, or one of them twice", hint=f"download {HUMANEVAL.address}")
    return Dataset(benchmark=HUMANEVAL, problems=problems, sha256=digest_of(content), path=str(path))


def _read_row(path: Path, number: int, line: bytes) -> _Row:
    try:
        return msgspec.json.decode(line, type=_Row)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(str(path), f"not a problem of HumanEval: {error}", line=number, hint=f"download {HUMANEVAL.address}") from error


def _as_problem(row: _Row) -> Problem:
    return Problem(
        task_id=row.task_id,
        prompt=row.prompt,
        entry_point=row.entry_point,
        reference=row.prompt + row.canonical_solution,
        hidden=(CodeTest(source=row.test, call="check"),),
    )
