r"""Completions that a model wrote earlier, read from a file or a folder.

A file has one JSON object a line (plain, gzip or xz): `task_id` (its case doesn't matter, and the number alone will do), and `solution`
(the whole program) or `completion` (the program is the prompt followed by it, even when it repeats the prompt; this is EvalPlus's
rule). With both, `solution` counts.
`sample` (0, 1, ...) may number the samples of a task; without it they are numbered in the order of the file.
A folder holds whole programs: `HumanEval_0.py`, or `HumanEval_0/0.py`, `HumanEval_0/1.py`, ... as EvalPlus writes them.
Files with another ending are not looked at.
An escaped lone surrogate (`\ud800`) is text like any other; the program then fails as Python itself fails on it.

Promises: the whole file is read and checked before the first completion is given out, and then read again, so that a file with a
mistake costs nothing and memory does not grow with the file; a mistake is `BadInput` with file and line, and names itself in one
sentence; with `skip_bad` the mistakes are collected in `bad` and the rest goes on.

Duplicates: a `sample` number that a task has already, and a line that repeats an earlier one. Models do draw the same
text twice, so a repeated line without a number is taken as a draw where the file shows that it holds draws: every task
has two lines or more, and some task has two that differ. Elsewhere it is a mistake; numbering the lines always settles it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from groundrun.benchmarks.dataset import UNREADABLE, open_plain
from groundrun.benchmarks.store import StoredCompletion
from groundrun.errors import BadInput
from groundrun.models.extraction import complete_prompt
from groundrun.records import Problem

# A program this long is no answer to any benchmark; the cap keeps one endless line from filling the memory.
MAX_LINE_BYTES = 16 << 20
# An escape that may be a lone surrogate, which msgspec's decoder refuses and Python's takes, as the programs' own interpreter does.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class SampleSet:
    """Checked samples, ready to be iterated any number of times. `tasks` counts the good samples of each task."""

    def __init__(self, path: Path, problems: Iterable[Problem], *, skip_bad: bool = False) -> None:
        self.path = path
        self.bad: list[BadInput] = []
        self.tasks: dict[str, int] = {}
        self._problems = {problem.task_id: problem for problem in problems}
        self._names = _list_names(self._problems)
        self._skip_bad = skip_bad
        self._refused: set[int] = set()
        self._numbered: dict[str, set[int]] = {}
        if not path.exists():
            raise BadInput(str(path), "there is no such file or folder", hint="--samples takes a .jsonl file or a folder")
        if path.is_dir():
            self._files = list(_walk(path))
            self._check_folder()
        else:
            self._check_file()
        if not len(self):
            raise BadInput(
                str(path), "no sample in it can be used" if self.bad else "it holds no samples", hint="see --help for the format"
            )

    def __len__(self) -> int:
        return sum(self.tasks.values())

    def __iter__(self) -> Iterator[StoredCompletion]:
        return self._iterate_folder() if self.path.is_dir() else self._iterate_file()

    def _report(self, error: BadInput) -> None:
        if not self._skip_bad:
            raise error
        self.bad.append(error)

    def _refuse(self, number: int, problem: str, hint: str = "") -> None:
        self._refused.add(number)
        self._report(BadInput(str(self.path), problem, line=number, hint=hint))

    def _check_file(self) -> None:
        seen = _Seen()
        for number, line in self._lines():
            try:
                row = _parse_row(line, self._names)
            except ValueError as error:
                self._refuse(number, str(error))
                continue
            numbered = self._numbered.setdefault(row.task_id, set())
            if row.sample is None:
                seen.add(number, row)
            elif row.sample in numbered:
                self._refuse(number, f"sample {row.sample} of {row.task_id} is there already", "number the samples of a task 0, 1, 2, ...")
                continue
            else:
                numbered.add(row.sample)
            self.tasks[row.task_id] = self.tasks.get(row.task_id, 0) + 1
        if not seen.shows_draws(self.tasks):
            for number, (first, task_id) in sorted(seen.repeated.items()):
                self.tasks[task_id] -= 1
                self._refuse(number, f"this line repeats line {first}", "if both are draws of a model, number them with a field 'sample'")

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Lines that are not blank, with their numbers. What can't be read on is one mistake, at the line where it shows."""
        number = 0
        try:
            with open_plain(self.path) as file:
                while line := file.readline(MAX_LINE_BYTES + 1):
                    number += 1
                    if len(line) > MAX_LINE_BYTES:
                        _skip_line(file, line)
                        if number not in self._refused:
                            self._refuse(number, f"this line is longer than {MAX_LINE_BYTES} bytes")
                    elif line.strip():
                        yield number, line
        except UNREADABLE as error:
            if number + 1 not in self._refused:
                self._refuse(number + 1, f"the file can't be read from here on: {error}")

    def _iterate_file(self) -> Iterator[StoredCompletion]:
        following: dict[str, int] = {}
        for number, line in self._lines():
            if number in self._refused:
                continue
            try:
                row = _parse_row(line, self._names)
            except ValueError as error:
                raise BadInput(str(self.path), f"the file changed while it was read: {error}", line=number) from error
            sample = row.sample
            if sample is None:
                sample = following.get(row.task_id, 0)
                while sample in self._numbered[row.task_id]:
                    sample += 1
                following[row.task_id] = sample + 1
            yield _as_completion(row, sample, self._problems[row.task_id])

    def _check_folder(self) -> None:
        names = {task_id.replace("/", "_"): task_id for task_id in self._problems}
        taken: dict[tuple[str, int], Path] = {}
        for path in self._files:
            try:
                key = _key_of(path, self.path, names)
                _read_program(path)
            except ValueError as error:
                self._report(BadInput(str(path), str(error)))
                continue
            if key in taken:
                self._report(BadInput(str(path), f"sample {key[1]} of {key[0]} is already in {taken[key]}"))
                continue
            taken[key] = path
            self.tasks[key[0]] = self.tasks.get(key[0], 0) + 1
        self._taken = taken

    def _iterate_folder(self) -> Iterator[StoredCompletion]:
        for (task_id, sample), path in self._taken.items():
            try:
                source = _read_program(path)
            except ValueError as error:
                raise BadInput(str(path), f"the file changed while it was read: {error}") from error
            yield StoredCompletion(task_id=task_id, text=source, solution=source, sample=sample, model=self.path.name, rule="solution")


class _Row(msgspec.Struct, frozen=True):
    task_id: str
    text: str
    rule: str
    sample: int | None


class _Seen:
    """Which lines repeat an earlier one, and whether the file shows that repeating is what a model did."""

    def __init__(self) -> None:
        self.repeated: dict[int, tuple[int, str]] = {}
        self._first: dict[bytes, int] = {}
        self._distinct: dict[str, int] = {}

    def add(self, number: int, row: _Row) -> None:
        digest = hashlib.blake2b(repr((row.task_id, row.rule, row.text)).encode(), digest_size=16).digest()
        first = self._first.setdefault(digest, number)
        if first != number:
            self.repeated[number] = (first, row.task_id)
        else:
            self._distinct[row.task_id] = self._distinct.get(row.task_id, 0) + 1

    def shows_draws(self, tasks: dict[str, int]) -> bool:
        return min(tasks.values(), default=0) >= 2 and max(self._distinct.values(), default=0) >= 2


def _list_names(task_ids: Iterable[str]) -> dict[str, str]:
    """How a task may be called: its id, in any case, or the number at its end."""
    names: dict[str, str] = {}
    for task_id in task_ids:
        names[task_id] = task_id
        names.setdefault(task_id.casefold(), task_id)
        names.setdefault(task_id.rpartition("/")[2], task_id)
    return names


def _parse_row(line: bytes, names: dict[str, str]) -> _Row:
    """One line as a row. Raises ValueError with what is wrong with it, in words."""
    try:
        text = line.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
        found = json.loads(text) if _SURROGATE.search(line) else msgspec.json.decode(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"this line is not UTF-8 (byte {error.start + 1})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this line is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"this line is not a JSON object but {type(found).__name__}")
    if "task_id" not in found:
        raise ValueError("the field 'task_id' is missing")
    given = found["task_id"]
    if type(given) not in (str, int):
        raise ValueError(f"'task_id' must be a string or a number, not {type(given).__name__}")
    task_id = names.get(str(given)) or names.get(str(given).casefold())
    if task_id is None:
        raise ValueError(f"unknown task_id {str(given)[:80]!r}; ids look like {next(iter(names.values()), '')!r}")
    rule = "solution" if "solution" in found else "completion"
    if rule not in found:
        raise ValueError("the fields 'solution' and 'completion' are both missing")
    if not isinstance(found[rule], str):
        raise ValueError(f"{rule!r} must be a string, not {type(found[rule]).__name__}")
    sample = found.get("sample")
    if sample is not None and (type(sample) is not int or sample < 0):
        raise ValueError(f"'sample' must be a whole number from 0, not {sample!r:.40}")
    return _Row(task_id, found[rule], rule, sample)


def _as_completion(row: _Row, sample: int, problem: Problem) -> StoredCompletion:
    solution = row.text if row.rule == "solution" else complete_prompt(problem.prompt, row.text)
    return StoredCompletion(task_id=row.task_id, text=row.text, solution=solution, sample=sample, rule=row.rule)


def _skip_line(file: BinaryIO, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = file.readline(MAX_LINE_BYTES)


def _walk(folder: Path) -> Iterator[Path]:
    """The programs of a folder and of the folders in it: `2.py` before `10.py`."""
    for entry in sorted(folder.iterdir(), key=_natural):
        if entry.is_dir():
            yield from sorted(entry.glob("*.py"), key=_natural)
        elif entry.suffix == ".py":
            yield entry


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(digits or 0), text) for text, digits in re.findall(r"(\D*)(\d*)", path.name)]


def _key_of(path: Path, folder: Path, names: dict[str, str]) -> tuple[str, int]:
    nested = path.parent != folder
    name = path.parent.name if nested else path.stem
    if name not in names:
        raise ValueError(f"unknown task {name[:80]!r}; names look like {next(iter(names), '')!r}")
    if nested and not (path.stem.isascii() and path.stem.isdigit()):
        raise ValueError(f"a sample's file is called by its number (0.py, 1.py, ...), not {path.name[:80]!r}")
    return names[name], int(path.stem) if nested else 0


def _read_program(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror}") from error
    if len(content) > MAX_LINE_BYTES:
        raise ValueError(f"longer than {MAX_LINE_BYTES} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start + 1})") from error
