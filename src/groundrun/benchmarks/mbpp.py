r"""MBPP: 974 crowd-sourced Python problems with three asserts each, and the 427 sanitized ones (Austin et al. 2021, arXiv 2108.07732).

Exact: a solution passes when the set-up code and every assert of `test_list` run through, with `test_imports` where the file has them;
the split that the authors' README names: tasks 11 to 510 are for evaluation (`mbpp_test`), 1 to 10 and 511 on for prompts and training.
That 511 to 600 validate and the rest trains is second-hand: not in the README. The reference is `code`, with `\n` for `\r\n`.

Ours: the tests run in a jailed grader, each assert a test of its own; the prompt is a docstring of the task and all its asserts, so
that prompt and completion together are a program (the authors' prompt has the same parts in words, and three solved tasks before
them); the entry point is the function that every assert calls and the code defines, the outermost where there are several.

Left out: the authors' `challenge_test_list` (11 tasks) doesn't count in their score, nor here, unless asked for: hidden tests then.
All references pass. Not protected, because the tests need one process with the program: 367, 601 and 927 (they make objects of its
classes), 533 (types as arguments), and in the sanitized file 737, 787 and 794 (they ask whether a match object is true).
In protected mode a name that an assert needs comes from the reference, also where the authors would need the candidate to import it
(`sys` in 596).

Known faults of the data are left as they are. `sanitized-mbpp.json` is one JSON list; a copy with one object a line and `text` for
`prompt` is read too, is named as not the official one, and gets back the `import`s that its asserts need and that shape has lost.
"""

from __future__ import annotations

import ast
import sys
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec

from groundrun.benchmarks.dataset import Benchmark, Dataset, digest_of, find_data, read_plain
from groundrun.errors import BadInput
from groundrun.models.syntax import bound_names, parse
from groundrun.records import CodeTest, Problem

_FOLDER = "https://github.com/google-research/google-research/raw/master/mbpp"
MBPP = Benchmark(
    name="mbpp",
    version="1",
    address=f"{_FOLDER}/mbpp.jsonl",
    licence="CC-BY-4.0",
    folder="mbpp",
    files=("mbpp.jsonl", "mbpp.jsonl.gz"),
    sha256="ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
)
MBPP_SANITIZED = Benchmark(
    name="mbpp_sanitized",
    version="1",
    address=f"{_FOLDER}/sanitized-mbpp.json",
    licence="CC-BY-4.0",
    folder="mbpp",
    files=("sanitized-mbpp.json", "sanitized-mbpp.json.gz", "mbpp_sanitized_like_427.jsonl.gz"),
    sha256="ca95deaa9a01ef0a6f439f88bcf0dd3db3563d22f22aad6cae04ebb9a8d8c8e9",
)


class Split(StrEnum):
    """Parts of MBPP by task number. Published scores are of `test`; `validation` and `train` are a second-hand division."""

    PROMPT = "prompt"
    TEST = "test"
    VALIDATION = "validation"
    TRAIN = "train"

    @property
    def numbers(self) -> range:
        """The numbers of its tasks."""
        return _NUMBERS[self]


_NUMBERS = {
    Split.PROMPT: range(1, 11),
    Split.TEST: range(11, 511),
    Split.VALIDATION: range(511, 601),
    Split.TRAIN: range(601, 975),
}


class _Row(msgspec.Struct):
    task_id: int
    code: str
    test_list: list[str]
    text: str = ""
    prompt: str = ""
    test_setup_code: str = ""
    test_imports: list[str] | None = None
    challenge_test_list: list[str] = []


_Found = TypeVar("_Found")


def load_mbpp(data: Path | None = None, *, split: Split | None = None, challenge: bool = False) -> Dataset:
    """MBPP's 974 problems, or those of a split, from `data` or `GROUNDRUN_DATA`.

    challenge: the authors' harder asserts become hidden tests; the data set then has another name. Raises `DatasetMissing`, `BadInput`.
    """
    return _load(MBPP, data, split, challenge)


def load_mbpp_test(data: Path | None = None) -> Dataset:
    """The 500 problems that published scores are of."""
    return load_mbpp(data, split=Split.TEST)


def load_mbpp_sanitized(data: Path | None = None, *, split: Split | None = None) -> Dataset:
    """The 427 problems that the authors checked by hand, or those of a split. Raises `DatasetMissing`, `BadInput`."""
    return _load(MBPP_SANITIZED, data, split, False)


def _load(benchmark: Benchmark, data: Path | None, split: Split | None, challenge: bool) -> Dataset:
    path = find_data(benchmark, data)
    content = read_plain(path)
    rows = _read_rows(benchmark, path, content)
    numbers = {row.task_id for row in rows}
    if not rows or len(numbers) != len(rows):
        raise BadInput(str(path), "this is not MBPP: it has no problems, or one of them twice", hint=f"download {benchmark.address}")
    chosen = [row for row in rows if split is None or row.task_id in split.numbers]
    name = "_".join([benchmark.name, *([split.value] if split else []), *(["challenge"] if challenge else [])])
    return Dataset(
        benchmark=msgspec.structs.replace(benchmark, name=name),
        problems=tuple(_as_problem(benchmark, row, challenge=challenge) for row in chosen),
        sha256=digest_of(content),
        path=str(path),
    )


def _read_rows(benchmark: Benchmark, path: Path, content: bytes) -> list[_Row]:
    if content.lstrip().startswith(b"["):
        return _decode(benchmark, path, content, list[_Row])
    lines = enumerate(content.splitlines(), start=1)
    return [_decode(benchmark, path, text, _Row, line=line) for line, text in lines if text.strip()]


def _decode(benchmark: Benchmark, path: Path, text: bytes, kind: type[_Found], *, line: int | None = None) -> _Found:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(str(path), f"not a problem of MBPP: {error}", line=line, hint=f"download {benchmark.address}") from error


def _as_problem(benchmark: Benchmark, row: _Row, *, challenge: bool) -> Problem:
    code, setup = (text.replace("\r\n", "\n") for text in (row.code, row.test_setup_code))
    imports = row.test_imports
    if imports is None:
        imports = _lost_imports(row.test_list) if benchmark is MBPP_SANITIZED else []
    before = "".join(f"{part}\n" for part in (setup, *imports) if part)
    visible, hidden = (
        tuple(CodeTest(source=f"{before}{test}\n", name=f"{name} {number}") for number, test in enumerate(tests, start=1))
        for name, tests in (("assert", row.test_list), ("challenge", row.challenge_test_list if challenge else []))
    )
    asserts = "\n".join(row.test_list)
    return Problem(
        task_id=f"Mbpp/{row.task_id}",
        prompt=f'"""\n{row.text or row.prompt}\n{asserts}\n"""\n',
        entry_point=find_entry_point(code, row.test_list),
        reference=code + "\n",
        visible=visible,
        hidden=hidden,
    )


def find_entry_point(code: str, asserts: list[str]) -> str | None:
    """The function that `code` defines and every assert calls, the outermost first; None when there is none."""
    defined = bound_names(code)
    called = [_called_names(test) for test in asserts]
    return next((name for name in called[0] if name in defined and all(name in names for names in called)), None) if called else None


def _called_names(test: str) -> list[str]:
    """The names that a test calls. Trees are walked breadth first, so that outer calls come before their arguments' ones."""
    tree = parse(test)
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)] if tree else []
    return [function.id for function in calls if isinstance(function, ast.Name)]


def _lost_imports(asserts: list[str]) -> list[str]:
    tree = parse("\n".join(asserts))
    owners = [node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute)] if tree else []
    names = {owner.id for owner in owners if isinstance(owner, ast.Name)}
    return [f"import {name}" for name in sorted(names & sys.stdlib_module_names)]
