"""HumanEval+ and MBPP+: the problems of HumanEval and MBPP with many more inputs (Liu et al. 2023, arXiv 2305.01210).

Exact: the data, told apart by their checksum; the expected values, which are the reference's (prompt + canonical solution) for each
input; how MBPP+'s inputs become tuples, sets and complex numbers; the comparison, its float tolerance and the special oracles; a task
passes when it passes its `base` inputs and its `plus` inputs, each in a process of its own; limits of max(4 s, 4 x the reference's
time) an input and min(60 s, their sum) + 1 s a task. These are the rules of EvalPlus 0.3.1. The older data, HumanEval+ v0.1.9 and
MBPP+ v0.1.0, belong to EvalPlus 0.2.2, and are judged by its rules unless others are asked for (`Rules`): 1 s instead of 4, and the order
of what `similar_elements` and its like return counts.
Ours: those seconds are the processor's, and every input is tried; `compat="evalplus"` counts them on the wall's clock, stops at the
first failure, and keeps a tolerance of 1e-6 once one expected value was a float, as the published harness does. Values cross as plain
data, so a result of a class of the candidate's own fails, whatever its `__eq__` says. The oracles see pristine arguments.
0.2.2 forgot the absolute value in the oracle of `find_zero`, which is not copied.
Left out: generating inputs, test-suite reduction, and the sanitizer (`models.extraction` has a rule of its own).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from groundrun.benchmarks.dataset import Benchmark, Dataset, digest_of, find_data, read_plain
from groundrun.errors import BadInput, UsageError
from groundrun.judging.differential import EVALPLUS
from groundrun.records import DifferentialTest, Limits, Problem

HUMANEVAL_PLUS = "humaneval_plus"
MBPP_PLUS = "mbpp_plus"
LIMITS = Limits(cpu_s=61.0, memory_bytes=4 << 30)
BASE, PLUS = "base", "plus"


class Rules(StrEnum):
    """Whose rules: the value is the version of EvalPlus."""

    V0_2 = "0.2.2"
    V0_3 = "0.3.1"

    @property
    def least_s(self) -> float:
        """Seconds that any input may take."""
        return 1.0 if self is Rules.V0_2 else 4.0


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """One published version of a data set. `md5` is what EvalPlus writes as `hash` into its results; both sums are of the plain text.

    `rules` are those of the EvalPlus that took this version by default.
    """

    benchmark: Benchmark
    md5: str
    rules: Rules


def _humaneval(version: str, stem: str, sha256: str, md5: str, rules: Rules = Rules.V0_3) -> Release:
    return Release(benchmark=_describe(HUMANEVAL_PLUS, version, "humanevalplus_release", stem, sha256), md5=md5, rules=rules)


def _mbpp(version: str, stem: str, sha256: str, md5: str, rules: Rules = Rules.V0_3) -> Release:
    return Release(benchmark=_describe(MBPP_PLUS, version, "mbppplus_release", stem, sha256), md5=md5, rules=rules)


def _describe(name: str, version: str, repository: str, stem: str, sha256: str) -> Benchmark:
    tag, mini, _ = version.partition("-mini")
    official = stem.partition("-")[0] + ("-Mini" if mini else "")
    address = f"https://github.com/evalplus/{repository}/releases/download/{tag}/{official}.jsonl.gz"
    names = dict.fromkeys((stem, f"{official}-{tag}", official))  # as kept here, as EvalPlus keeps it, as it is downloaded
    files = tuple(f"{name}{ending}" for name in names for ending in (".jsonl.gz", ".jsonl"))
    return Benchmark(
        name=name, version=version, address=address, licence="Apache-2.0", folder="evalplus", files=files, sha256=sha256, subsets=(BASE,)
    )


RELEASES = (
    _humaneval(
        "v0.1.10",
        "HumanEvalPlus-v0.1.10-HEAD",
        "42526ec0e7d5f3ee0b06d6ced98f8c8bae3d76519151bfb3d36f79010645bd7f",
        "fe585eb4df8c88d844eeb463ea4d0302",
    ),
    _humaneval(
        "v0.1.9",
        "HumanEvalPlus-v0.1.9",
        "50d50fda1ecf4c9168d762456ae29c1d8b8b922e68c66964f7891c98d93a04b7",
        "84f4b93a1270b492e4c54d5212da7a5b",
        Rules.V0_2,
    ),
    _humaneval(
        "v0.1.10-mini",
        "HumanEvalPlus-Mini",
        "78fbba8865b20c5a979cda6e02fd72538e1762e65980af7d1a6e93c3e87e93af",
        "401e75ad986361dccc7afecb4121e295",
    ),
    _mbpp(
        "v0.2.0", "MbppPlus-v0.2.0", "b54e762755248ca411b523c917fa9f93c07b5ff2966bf60b3917b853926a3dad", "ee43ecabebf20deef4bb776a405ac5b1"
    ),
    _mbpp(
        "v0.1.0",
        "MbppPlus-v0.1.0",
        "a855b9de667baea8e2f8aa61f898767a7336872208a85222b35622545e819fe9",
        "ebe95df0d5220f00cedd6f4bddea35e4",
        Rules.V0_2,
    ),
)
"""Of each benchmark the version that EvalPlus 0.3.1 takes by default comes first."""


class _Row(msgspec.Struct):
    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    base_input: list[Any]
    plus_input: list[Any] | dict[str, Any]  # {} where there are none
    atol: float = 0.0


def load_humaneval_plus(data: Path | None = None, *, version: str | None = None, compat: str = "", rules: Rules | None = None) -> Dataset:
    """HumanEval+ (164 problems). version: of `RELEASES`; by default what `data` is, or the newest that is found.

    rules: None for the release's own, and 0.3.1's for data that are no release. Raises `DatasetMissing`, `BadInput`, and UsageError for
    a version or a compat that isn't known.
    """
    return _load(HUMANEVAL_PLUS, data, version, compat, rules)


def load_mbpp_plus(data: Path | None = None, *, version: str | None = None, compat: str = "", rules: Rules | None = None) -> Dataset:
    """MBPP+ (v0.1.0: 399 problems, v0.2.0: 378). As `load_humaneval_plus`."""
    return _load(MBPP_PLUS, data, version, compat, rules)


def find_release(md5: str) -> Release | None:
    """The release that EvalPlus' results name by this `hash`."""
    return next((release for release in RELEASES if release.md5 == md5), None)


def _load(name: str, data: Path | None, version: str | None, compat: str, rules: Rules | None) -> Dataset:
    if compat not in ("", EVALPLUS):
        raise UsageError(f"{name} has no compat {compat!r}: known is {EVALPLUS!r}")
    releases = [release.benchmark for release in RELEASES if release.benchmark.name == name]
    wanted = [benchmark for benchmark in releases if version in (None, benchmark.version)]
    if not wanted:
        raise UsageError(f"{name} has no version {version!r}: known are {', '.join(benchmark.version for benchmark in releases)}")
    any_of_them = msgspec.structs.replace(wanted[0], files=tuple(file for benchmark in wanted for file in benchmark.files))
    path = find_data(any_of_them, data)
    content = read_plain(path)
    digest = digest_of(content)
    benchmark = next((each for each in wanted if each.sha256 == digest), wanted[0])
    rows = [_read_row(path, number, line, name) for number, line in enumerate(content.splitlines(), start=1) if line.strip()]
    if len({row.task_id for row in rows}) != len(rows) or not rows:
        raise BadInput(str(path), f"this is not {name}: it has no problems, or one of them twice", hint=f"download {benchmark.address}")
    deserialize = _deserialize_mbpp if name == MBPP_PLUS else _keep
    chosen = rules or next((release.rules for release in RELEASES if release.benchmark.sha256 == digest), Rules.V0_3)
    problems = tuple(_as_problem(row, deserialize, _list_oracles(name, chosen), compat, chosen.least_s) for row in rows)
    if rules is not None:  # a run folder tells benchmarks apart by their version
        benchmark = msgspec.structs.replace(benchmark, version=f"{benchmark.version} by the rules of {rules}")
    return Dataset(benchmark=benchmark, problems=problems, sha256=digest, path=str(path))


def _read_row(path: Path, number: int, line: bytes, name: str) -> _Row:
    try:
        return msgspec.convert(json.loads(line), _Row)  # the standard library's: some inputs are Infinity or NaN, which JSON has not
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        hint = "a line is one problem as EvalPlus writes it"
        raise BadInput(str(path), f"not a problem of {name}: {error}", line=number, hint=hint) from error


def _as_problem(row: _Row, deserialize: Callable[[int, Any], Any], oracles: dict[str, str], compat: str, least_s: float) -> Problem:
    number = int(row.task_id.rpartition("/")[2])
    tests = tuple(
        DifferentialTest(
            inputs=repr([tuple(deserialize(number, arguments)) for arguments in inputs]),
            tolerance=row.atol,
            oracle=oracles.get(row.entry_point, "").format(tolerance=row.atol) or None,
            least_s=least_s,
            compat=compat,
            name=name,
        )
        for name, inputs in ((BASE, row.base_input), (PLUS, row.plus_input))
        if inputs
    )
    return Problem(
        task_id=row.task_id,
        prompt=row.prompt,
        entry_point=row.entry_point,
        reference=row.prompt + row.canonical_solution,
        hidden=tests,
        limits=LIMITS,
    )


def _keep(number: int, arguments: Any) -> Any:
    return arguments


# Which parts of an input are tuples, sets or complex numbers; JSON has none. By task number, as in EvalPlus 0.3.1 (data/mbpp.py).
_EVERY_ARGUMENT = {2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809}
_EVERY_ITEM = {63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780}
_ITEMS_OF_FIRST = {75, 413, 444, 753}
_SECOND = {106, 750}
_FIRST = {250, 405, 446, 617, 720, 763, 808, 307}
_ARGUMENTS_AND_ITEMS = {259, 401, 445}
_EVERYTHING = {580, 615, 791}


def _deserialize_mbpp(number: int, arguments: Any) -> Any:
    """The arguments of one call, as MBPP+'s reference takes them."""
    first: Any = arguments[0] if arguments else None
    if number in _EVERY_ARGUMENT:
        return [tuple(each) for each in arguments]
    if number in _EVERY_ITEM:
        return [[tuple(item) for item in each] for each in arguments]
    if number in _ITEMS_OF_FIRST:
        return [[tuple(item) for item in first], arguments[1]]
    if number in _SECOND:
        return [first, tuple(arguments[1])]
    if number in _FIRST:
        return [tuple(first), *arguments[1:]]
    if number in _ARGUMENTS_AND_ITEMS:
        return [tuple(tuple(item) for item in each) for each in arguments]
    if number in _EVERYTHING:
        return _freeze(arguments)
    if number == 115:
        return [[set(item) if isinstance(item, list) and item else {} for item in first]]
    if number == 124:
        return [float(first), complex(arguments[1])]
    if number == 252:
        return [complex(first)]
    if number == 278:
        return [tuple(tuple(item) if isinstance(item, list) else item for item in first)]
    if number == 722:
        return [{key: tuple(value) for key, value in first.items()}, *arguments[1:]]
    return arguments


def _freeze(value: Any) -> Any:
    return tuple(_freeze(item) for item in value) if isinstance(value, list) else value


# Where agreeing with the reference isn't the question. In `format` style: {{ }} are braces, {tolerance} is the problem's.
_SAME_SET = """
def oracle(arguments, got, expected):
    return set(got) == set(expected)
"""
_PRESENCE = """
def oracle(arguments, got, expected):
    return got is (expected is not None) if isinstance(got, bool) else (got is not None) == (expected is not None)
"""
_HUMANEVAL_ORACLES = {
    "find_zero": """
import math

def oracle(arguments, got, expected):
    return abs(sum(factor * math.pow(got, power) for power, factor in enumerate(arguments[0]))) <= {tolerance}
"""
}
_MBPP_ORACLES_0_2 = {
    "are_equivalent": """
def oracle(arguments, got, expected):
    return True
""",
    "sum_div": """
def oracle(arguments, got, expected):
    return got == 0 or agree(got, expected)
""",
    **dict.fromkeys(("check_str", "text_match_three", "text_starta_endb"), _PRESENCE),
}
_MBPP_ORACLES_0_3 = {
    **_MBPP_ORACLES_0_2,
    "surface_Area": """
import math

def oracle(arguments, got, expected):
    base, height = arguments
    slant = math.sqrt((base / 2) ** 2 + height**2)
    return agree(got, expected) or abs(got - round(base**2 + 4 * (base * slant) / 2)) <= {tolerance}
""",
    "digit_distance_nums": """
def oracle(arguments, got, expected):
    first, second = map(str, arguments)
    width = max(len(first), len(second))
    return agree(got, expected) or got == sum(abs(int(a) - int(b)) for a, b in zip(first.zfill(width), second.zfill(width)))
""",
    **dict.fromkeys(
        (
            "similar_elements",
            "find_char_long",
            "common_in_nested_lists",
            "extract_singly",
            "larg_nnum",
            "intersection_array",
            "find_dissimilar",
            "Diff",
        ),
        _SAME_SET,
    ),
}


def _list_oracles(name: str, rules: Rules) -> dict[str, str]:
    """Special oracles by entry point."""
    if name == HUMANEVAL_PLUS:
        return _HUMANEVAL_ORACLES
    return _MBPP_ORACLES_0_2 if rules is Rules.V0_2 else _MBPP_ORACLES_0_3
