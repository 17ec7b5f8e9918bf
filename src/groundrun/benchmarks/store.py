"""The run folder: what a run was asked, what came in, what was decided, and the scores.

    run.json           configuration, versions, dataset hash, isolation, seed; written once, replaced as a whole
    completions.jsonl  one line a completion, with the program made of it and the rule that made it
    verdicts.jsonl     one line a verdict; exactly one line for each (task, sample)
    metrics.json       the scores; replaced as a whole at the end of each complete pass
    report.html        the page that `groundrun.reports` makes of the others; replaced as a whole, never read
    lock               held with flock while a process writes; the kernel frees it when that process dies

Promises: a record is one write of one whole line, so a line that `add_verdict` returned from survives the death of this process
by any signal. It survives a power cut after `sync`, which runs at every `SYNC_EVERY` records and at close. A write
that the disk refuses is taken back before `StorageFailed` is raised, so that no half line and no doubled line is left.
A torn last line (power cut) is cut off when the folder is opened again; damage anywhere else is `BadInput` with the line.
Masked verdicts (our faults) are removed when the folder is opened again, so that they are judged anew.

A folder that has other things in it and no run.json is somebody else's: refused before anything is written.

Does not promise safety against two machines that share the folder through a file system without flock.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from groundrun.benchmarks.inventory import Inventory, Key, SampleOrigin, digest_program
from groundrun.benchmarks.lines import LEFT_OVER, AppendedFile, encode_line, read_records, replace_file
from groundrun.benchmarks.metrics import Metrics
from groundrun.errors import BadInput, ResumeRefused, RunLocked, StorageFailed, UsageError
from groundrun.records import Completion, Isolation, Limits, Verdict

SCHEMA = 1
SYNC_EVERY = 256
RUN, COMPLETIONS, VERDICTS, METRICS, LOCK = "run.json", "completions.jsonl", "verdicts.jsonl", "metrics.json", "lock"
REPORT = "report.html"


class RunConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was asked. A run goes on only when the fields in `FIXED`, and the rung, are the same again, and `samples` fit.

    `limits` are those of a problem that has none of its own; the ones named in `limits_given` hold for every problem.
    `source` is `samples`, `model:NAME`, or `run:NAME` for the completions of an earlier run; `model` is what reports call it;
    `samples` says which (`Inventory.refuse_other` has the rule). `dataset_warning` says how the data differ from the
    official file. `compat` names a published harness's wall limits where they were asked for. `repeat` is how often each
    program was run.
    """

    benchmark: str
    dataset_sha256: str
    limits: Limits
    limits_given: tuple[str, ...] = ()
    judge: str
    isolation: Isolation
    source: str
    model: str
    python: str
    seed: int = 0
    compat: str = ""
    hash_seed: int = 0
    reference_hash_seed: int = 0
    repeat: int = 1
    samples: SampleOrigin | None = None
    dataset_warning: str = ""
    versions: dict[str, str] = {}
    started: str = ""
    schema: int = SCHEMA


FIXED = (
    "schema",
    "benchmark",
    "dataset_sha256",
    "limits",
    "limits_given",
    "judge",
    "source",
    "python",
    "compat",
    "hash_seed",
    "reference_hash_seed",
    "repeat",
)


class StoredCompletion(Completion, frozen=True, kw_only=True):
    """A completion and the rule that made its program (`solution`, `completion`, or one of `models.Rule`)."""

    rule: str = ""


class Gold(msgspec.Struct, frozen=True, kw_only=True):
    """How the reference solutions of the judged problems did: below `total` is a fault of the environment or the data.

    `remarks` says, by task, what a reference needed or why it failed, wherever that is more than passing.
    """

    passed: int
    total: int
    protected: int
    failed: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    remarks: dict[str, str] = {}


class RunMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What metrics.json holds."""

    metrics: Metrics
    gold: Gold
    rules: dict[str, int] = {}
    schema: int = SCHEMA


_Record = TypeVar("_Record")


class RunFolder:
    """A run folder opened for writing: new, or one that is gone on with. Use it as a context manager.

    `judged` are the keys that have an answer, `completions` the digests of the programs that are stored, `rules` how they were made.
    `inventory`: the recorded samples that the run judges; None for a model.
    Raises `UsageError` where no run folder can be, `ResumeRefused`, `RunLocked`, `BadInput`, and `StorageFailed` once it is one.
    """

    def __init__(self, path: Path, config: RunConfig, inventory: Inventory | None = None) -> None:
        self.path = path
        self.judged: set[Key] = set()
        self.completions: dict[Key, bytes] = {}
        self.rules: Counter[str] = Counter()
        self.repaired_bytes = 0
        self._unsynced = 0
        self._appended: list[AppendedFile] = []
        try:
            path.mkdir(parents=True, exist_ok=True)
            _refuse_foreign(path)
            self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UsageError(f"can't make the run folder {path}: {error.strerror or error}; name another one with --out") from error
        try:
            self._take_lock()
            self.config = self._settle(config)
            for name in (COMPLETIONS, VERDICTS):
                self._appended.append(AppendedFile(path / name))
            self._completions, self._verdicts = self._appended
            self.repaired_bytes = sum(file.repaired_bytes for file in self._appended)
            self._load()
            if inventory is not None:
                self._take_samples(inventory)
        except BaseException:
            self.close()
            raise

    def add_completion(self, completion: StoredCompletion) -> None:
        """Append a completion. Raises `ResumeRefused` when the folder holds another program for the same sample, `StorageFailed`."""
        key, digest = (completion.task_id, completion.sample), digest_program(completion)
        stored = self.completions.get(key)
        if stored is None:
            self._completions.append(encode_line(completion))
            self.completions[key] = digest
            self.rules[completion.rule] += 1
            self._count()
        elif stored != digest:
            raise ResumeRefused(str(self.path), f"sample {key[1]} of {key[0]}", stored.hex(), digest.hex())

    def add_verdict(self, verdict: Verdict) -> None:
        """Append a verdict. Raises ValueError when its sample has one already, `StorageFailed` when it can't be written."""
        key = (verdict.task_id, verdict.sample)
        if key in self.judged:
            raise ValueError(f"sample {key[1]} of {key[0]} has a verdict already")
        self._verdicts.append(encode_line(verdict))
        self.judged.add(key)
        self._count()

    def write_metrics(self, metrics: RunMetrics) -> None:
        """Replace metrics.json as a whole, after everything before it is on the disk."""
        self.sync()
        replace_file(self.path / METRICS, _pretty(metrics))

    def sync(self) -> None:
        """Put everything appended so far on the disk."""
        for file in self._appended:
            file.sync()
        self._unsynced = 0

    def close(self) -> None:
        """Sync and free the lock. Closing twice does nothing."""
        if self._lock < 0:
            return
        try:
            for file in self._appended:
                file.close()
        finally:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close()
        except StorageFailed:
            if kind is None:
                raise

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                raise StorageFailed(str(self.path / LOCK), error.strerror or str(error)) from error
            holder = os.pread(self._lock, 32, 0).strip()
            raise RunLocked(str(self.path), int(holder) if holder.isdigit() else None) from error
        try:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, str(os.getpid()).encode(), 0)
        except OSError:
            pass  # the number only helps people; a full disk is reported by the first record

    def _settle(self, config: RunConfig) -> RunConfig:
        if (self.path / RUN).exists():
            stored = read_config(self.path)
            refuse_change(self.path, stored, config)
            return stored
        if any((self.path / name).exists() for name in (COMPLETIONS, VERDICTS, METRICS)):
            raise BadInput(str(self.path), "the folder has records but no run.json", hint="use another --out")
        replace_file(self.path / RUN, _pretty(config))
        return config

    def _load(self) -> None:
        for completion in read_completions(self.path):
            self.completions[completion.task_id, completion.sample] = digest_program(completion)
            self.rules[completion.rule] += 1
        masked = False
        for verdict in read_verdicts(self.path):
            if verdict.passed is None:
                masked = True
            else:
                self.judged.add((verdict.task_id, verdict.sample))
        if masked:
            self._verdicts.keep(lambda line: msgspec.json.decode(line, type=Verdict).passed is not None)

    def _take_samples(self, inventory: Inventory) -> None:
        inventory.refuse_other(str(self.path), self.config.samples, self.completions)
        origin = inventory.origin
        if self.config.samples is None or self.config.samples.sha256 != origin.sha256:
            self.config = msgspec.structs.replace(self.config, samples=origin)
            replace_file(self.path / RUN, _pretty(self.config))

    def _count(self) -> None:
        self._unsynced += 1
        if self._unsynced >= SYNC_EVERY:
            self.sync()


def _refuse_foreign(path: Path) -> None:
    names = set(os.listdir(path))
    foreign = {name for name in names - {RUN, COMPLETIONS, VERDICTS, METRICS, REPORT, LOCK} if not LEFT_OVER.fullmatch(name)}
    if foreign and RUN not in names:
        raise UsageError(f"{path} is not a run folder and has {min(foreign)!r} in it: name a new or empty folder with --out")


def refuse_change(path: Path, stored: RunConfig, now: RunConfig) -> None:
    """Raise `ResumeRefused` with the first setting that would make other verdicts than those already there."""
    for field in FIXED:
        before, after = (msgspec.to_builtins(getattr(config, field)) for config in (stored, now))
        if before != after:
            raise ResumeRefused(str(path), field, before, after)
    if stored.isolation.rung is not now.isolation.rung:
        raise ResumeRefused(str(path), "isolation", stored.isolation.rung.value, now.isolation.rung.value)


def read_config(path: Path) -> RunConfig:
    """The configuration of a run folder. Raises `BadInput`, also for what is no run folder."""
    if not (path / RUN).is_file():
        raise BadInput(str(path), f"this is no run folder: it has no {RUN}", hint="name a folder that groundrun eval or judge made")
    return _read_json(path / RUN, RunConfig)


def read_metrics(path: Path) -> RunMetrics:
    """The scores of a run folder. Raises `BadInput`, also when the run has not come to its end yet."""
    return _read_json(path / METRICS, RunMetrics)


def read_completions(path: Path) -> Iterator[StoredCompletion]:
    """The stored completions, one at a time, in the order in which they came. A torn last line is left out."""
    return read_records(path / COMPLETIONS, StoredCompletion)


def read_verdicts(path: Path) -> Iterator[Verdict]:
    """The stored verdicts, one at a time, in the order in which they were made. A torn last line is left out.

    Raises `BadInput` with the line where a sample has a second verdict: counted twice, or dropped, it would change a score.
    """
    seen: set[Key] = set()
    for line, verdict in enumerate(read_records(path / VERDICTS, Verdict), start=1):
        key = (verdict.task_id, verdict.sample)
        if key in seen:
            raise BadInput(str(path / VERDICTS), f"sample {key[1]} of {key[0]} has a second verdict", line=line, hint="use another --out")
        seen.add(key)
        yield verdict


def _read_json(path: Path, kind: type[_Record]) -> _Record:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise BadInput(str(path), f"can't be read: {error.strerror}", hint="is this a run folder that came to its end?") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(str(path), f"not what groundrun writes: {error}") from error


def _pretty(record: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
