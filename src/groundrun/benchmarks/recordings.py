"""What EvalPlus leaves beside a model's samples: reading it, and finding it below a folder.

The layout is `MODEL/evalplus/humaneval/` and `MODEL/evalplus/mbpp/`, each with `generated_eval_results.json` (whole programs with their
`base_status` and `plus_status`), and where they lie there `result.json` (the published percentages) and `generated.jsonl` (what the
model wrote). Any model's folder of that layout works, and so does any folder above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

from groundrun.benchmarks.dataset import read_plain
from groundrun.benchmarks.store import StoredCompletion
from groundrun.errors import BadInput

RESULTS = "generated_eval_results.json"
PUBLISHED = "result.json"
GENERATED = "generated.jsonl"


class Suite(StrEnum):
    """The two benchmarks that EvalPlus has; the value is its folder."""

    HUMANEVAL = "humaneval"
    MBPP = "mbpp"


class Recorded(msgspec.Struct, frozen=True):
    """One program with EvalPlus's word on it: `pass`, `fail` or `timeout`; `plus_status` is None where only base tests were run."""

    task_id: str
    solution: str
    base_status: str
    plus_status: str | None = None


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One results file. `hash` is the MD5 of the data that it was judged with."""

    path: Path
    hash: str
    eval: dict[str, list[Recorded]]

    @property
    def label(self) -> str:
        """The model's name: the folder above `evalplus/SUITE`, else the folder that the file lies in."""
        parts = self.path.resolve().parts
        return parts[-4] if parts[-3] == "evalplus" and parts[-2] in set(Suite) else parts[-2]

    def programs(self) -> list[StoredCompletion]:
        """Every recorded program, as a completion whose solution is given."""
        return [
            StoredCompletion(task_id=task_id, text=each.solution, solution=each.solution, sample=sample, model=self.label, rule="solution")
            for task_id, samples in self.eval.items()
            for sample, each in enumerate(samples)
        ]

    def samples(self) -> Iterator[tuple[str, int, Recorded]]:
        """Task, number of the sample, and what was recorded of it."""
        for task_id, samples in self.eval.items():
            for number, each in enumerate(samples):
                yield task_id, number, each

    def published(self, name: str, *, plus: bool) -> tuple[float, str]:
        """The published percentage called `name` (such as `humaneval+`) and a note; without one, what the recorded statuses come to."""
        beside = self.path.with_name(PUBLISHED)
        if beside.exists():
            try:
                return float(msgspec.json.decode(beside.read_bytes())[name]["pass@1"]), ""
            except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
                raise BadInput(str(beside), f"it has no {name} pass@1: {error!r}") from error
        shares = [
            sum(each.base_status == "pass" and (not plus or each.plus_status == "pass") for each in samples) / len(samples)
            for samples in self.eval.values()
        ]
        return 100.0 * sum(shares) / len(shares), f"no {PUBLISHED} there: published is what the recorded statuses come to"


class _Results(msgspec.Struct, frozen=True):
    hash: str
    eval: dict[str, list[Recorded]]


def read_recording(path: Path) -> Recording:
    """The results in a file. Raises `BadInput`."""
    try:
        results = msgspec.json.decode(read_plain(path), type=_Results)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(str(path), f"not results as EvalPlus writes them: {error}") from error
    if not results.eval or not all(results.eval.values()):
        raise BadInput(str(path), "a problem has no result, or there are no results at all")
    return Recording(path=path, hash=results.hash, eval=results.eval)


def find_recordings(place: Path, suite: Suite) -> list[Path]:
    """The results files of a suite: `place` itself, or what lies below it. Raises `BadInput` when there is none."""
    if place.is_file():
        return [place.with_name(RESULTS) if place.name in (PUBLISHED, GENERATED) else place]
    for pattern in (RESULTS, f"{suite}/{RESULTS}", f"evalplus/{suite}/{RESULTS}", f"*/evalplus/{suite}/{RESULTS}"):
        found = sorted(place.glob(pattern))
        if found:
            return found
    where = f"nor in evalplus/{suite}/ or MODEL/evalplus/{suite}/"
    raise BadInput(str(place), f"no {RESULTS} in it, {where}", hint="name the folder with --data")


def look_upwards(data: Path | None) -> Iterator[Path]:
    """`data` and the folders above it, where a data set may lie beside the recordings."""
    if data is not None:
        yield from (place for place in (data.resolve(), *data.resolve().parents[:4]) if place.is_dir())
