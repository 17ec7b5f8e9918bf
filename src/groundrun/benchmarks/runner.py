"""The main job: completions in, verdicts and scores out, in a run folder that the same command goes on with.

Order: open the folder (or go on with it); obtain, store, judge and store again, a small window at a time, while the last
reference solutions run; then measure. One asyncio loop does all of it, so that every write is made between two awaits and
none is torn by an interrupt.

Promises: memory doesn't grow with the number of samples beyond their keys; a sample with an answer is never judged again, and one that
isn't asked for is never scored; our faults (`EngineError`) are tried once more, then masked, and judged anew when the run is gone on
with; Ctrl-C (or cancelling `aevaluate`) ends what runs, keeps every verdict that was reached, and leaves a folder to go on with.
A copied verdict (equal program, see `memory`) carries the cost of the run that it copies. With `repeat` each program is run so often
before it is decided, and before anything is copied; a fault of ours in any of these runs masks the sample, and never makes it flaky.

Does not promise an order of the verdicts, and prints nothing: whoever watches gives a `Progress`.
"""

from __future__ import annotations

import asyncio
import datetime
import functools
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from groundrun import __version__
from groundrun.benchmarks.dataset import Dataset
from groundrun.benchmarks.inventory import Inventory, Key
from groundrun.benchmarks.limits import replace_limits
from groundrun.benchmarks.memory import VerdictMemory, unite
from groundrun.benchmarks.metrics import Metrics, measure
from groundrun.benchmarks.samples import SampleSet
from groundrun.benchmarks.sources import Source, describe_source, make_program, name_model, take_inventory
from groundrun.benchmarks.store import (
    Gold,
    RunConfig,
    RunFolder,
    RunMetrics,
    StoredCompletion,
    read_completions,
    read_metrics,
    read_verdicts,
)
from groundrun.engine import Engine
from groundrun.errors import BadInput, EngineError, ResumeRefused, UsageError
from groundrun.judging import JUDGE_VERSION, REFERENCE_PASSES, Calibration, acalibrate, ajudge
from groundrun.models import FiniteModel, Model
from groundrun.records import Completion, Limits, Problem, Verdict

_Result = TypeVar("_Result")
LONG_S = 2.0


class Progress(Protocol):
    """Who watches a run. Called on the loop's thread between two awaits: be quick."""

    def begin(self, *, total: int, done: int) -> None:
        """The number of samples in all, and of those that have their verdict from before."""

    def advance(self, verdict: Verdict) -> None:
        """One more verdict was stored."""

    def note(self, message: str) -> None:
        """Something to tell, in a sentence."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an evaluation. `judged` ran now, `resumed` were there before, `copied` (of `judged`) equal another program's."""

    folder: str
    config: RunConfig
    metrics: Metrics
    gold: Gold
    rules: dict[str, int]
    judged: int
    resumed: int
    copied: int
    flaky_tasks: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


def evaluate(
    dataset: Dataset,
    source: Source,
    engine: Engine,
    folder: Path,
    *,
    n: int | None = None,
    ks: Sequence[int] = (1, 10, 100),
    limits: Mapping[str, float] | None = None,
    seed: int = 0,
    model: str = "",
    compat: str = "",
    repeat: int = 1,
    references: Engine | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Judge what `source` has, or what a model answers, in `folder`; go on where an earlier call stopped.

    n: samples a problem; a model gives 1 without it, recorded samples all there are; a folder that has more of a model is refused.
    limits: by their names in `Limits`, each in the place of the same limit of every problem and of the engine. model: the name to show
    for recorded samples. compat: the name of a published mode that `limits` stand for. repeat: runs of each program; where
    they disagree the verdict is `flaky`, and a pass only if all of them passed. references: the engine that references run on; None for
    the same.
    Raises UsageError and kin (`BadInput`, `ResumeRefused`, `RunLocked`), `StorageFailed`, HostRefused, KeyboardInterrupt.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise UsageError("evaluate() was called where an event loop runs already: use 'await aevaluate(...)' there")
    return asyncio.run(
        aevaluate(
            dataset,
            source,
            engine,
            folder,
            n=n,
            ks=ks,
            limits=limits,
            seed=seed,
            model=model,
            compat=compat,
            repeat=repeat,
            references=references,
            progress=progress,
        )
    )


async def aevaluate(
    dataset: Dataset,
    source: Source,
    engine: Engine,
    folder: Path,
    *,
    n: int | None = None,
    ks: Sequence[int] = (1, 10, 100),
    limits: Mapping[str, float] | None = None,
    seed: int = 0,
    model: str = "",
    compat: str = "",
    repeat: int = 1,
    references: Engine | None = None,
    progress: Progress | None = None,
) -> Summary:
    """`evaluate` for asyncio; cancelling it leaves a folder to go on with."""
    if n is not None and n < 1:
        raise UsageError(f"n must be at least 1, not {n}")
    if repeat < 1:
        raise UsageError(f"repeat must be at least 1, not {repeat}")
    given = {} if limits is None else dict(limits)
    inventory = None if isinstance(source, Model) else take_inventory(dataset, source, n)
    config = RunConfig(
        benchmark=f"{dataset.benchmark.name} {dataset.benchmark.version}",
        dataset_sha256=dataset.sha256,
        dataset_warning=dataset.warning,
        limits=replace_limits(engine.limits, given),
        limits_given=tuple(sorted(given)),
        judge=JUDGE_VERSION,
        isolation=await asyncio.to_thread(lambda: engine.isolation),
        source=describe_source(source),
        model=model or name_model(source),
        python=await asyncio.to_thread(_ask_interpreter, engine),
        seed=seed,
        compat=compat,
        hash_seed=engine.hash_seed,
        reference_hash_seed=(references or engine).hash_seed,
        repeat=repeat,
        samples=None if inventory is None else inventory.origin,
        versions={"groundrun": __version__},
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    with RunFolder(folder, config, inventory) as store:
        run = _Evaluation(
            dataset, source, engine, store, inventory, n=n, limits=given, repeat=repeat, references=references, progress=progress
        )
        await run.judge_all()
        flaky: dict[str, None] = {}
        metrics = measure(
            _note_flaky(read_verdicts(folder), flaky), task_ids=run.problems, subsets=dataset.benchmark.subsets, ks=ks, seed=seed
        )
        store.write_metrics(RunMetrics(metrics=metrics, gold=run.gold, rules=dict(store.rules)))
        return Summary(
            folder=str(folder),
            config=store.config,
            metrics=metrics,
            gold=run.gold,
            rules=dict(store.rules),
            judged=run.judged,
            resumed=run.resumed,
            copied=run.copied,
            flaky_tasks=tuple(flaky),
            skipped=tuple(str(error) for error in source.bad) if isinstance(source, SampleSet) else (),
        )


class _Evaluation:
    """The state of one call: what is calibrated, what is in flight, what was counted."""

    def __init__(
        self,
        dataset: Dataset,
        source: Source,
        engine: Engine,
        store: RunFolder,
        inventory: Inventory | None,
        *,
        n: int | None,
        limits: Mapping[str, float],
        repeat: int,
        references: Engine | None,
        progress: Progress | None,
    ) -> None:
        self.problems = {
            problem.task_id: msgspec.structs.replace(problem, limits=replace_limits(problem.limits or engine.limits, limits))
            if limits
            else problem
            for problem in dataset.problems
        }
        self.gold = Gold(passed=0, total=0, protected=0)
        self.judged = self.copied = 0
        self.resumed = len(store.judged)
        self._source, self._engine, self._store, self._n, self._progress = source, engine, store, n, progress
        self._repeat, self._references = repeat, references or engine
        self._calibrations: dict[str, asyncio.Task[Calibration | None]] = {}
        self._all_begun = asyncio.Event()
        self._memory = VerdictMemory()
        self._inventory = inventory

    async def judge_all(self) -> None:
        """Judge every sample that has no answer yet, each as soon as its problem is calibrated."""
        wanted = self._list_wanted()
        self._refuse_fewer(wanted)
        task_ids = list(dict.fromkeys(task_id for task_id, _ in wanted))
        if self._progress:
            self._progress.begin(total=len(wanted), done=self.resumed)
            if torn := self._store.repaired_bytes:
                self._progress.note(f"a torn last record of {torn} byte{'' if torn == 1 else 's'} was removed and is made again")
        remaining = iter(() if self._recall_gold(wanted) else task_ids)
        requests = self._requests()
        judges = [self._work(requests) for _ in range(2 * self._engine.workers)]
        await _run_all([*(self._calibrate_ahead(remaining) for _ in range(self._engine.workers)), *judges])
        if self._calibrations:
            self.gold = self._count_gold(task_ids)

    def _list_wanted(self) -> Collection[Key]:
        """Every sample that is to have an answer."""
        if self._inventory is not None:
            return self._inventory.programs
        return [(problem.task_id, sample) for problem in self.problems.values() for sample in range(self._count(problem))]

    def _refuse_fewer(self, wanted: Collection[Key]) -> None:
        """Raise `ResumeRefused` when the folder has samples that aren't asked for now: they would enter the scores."""
        if beyond := self._store.completions.keys() - set(wanted):
            task_id, sample = max(beyond, key=lambda key: key[1])
            now = self._count(self.problems[task_id]) if task_id in self.problems else 0
            raise ResumeRefused(str(self._store.path), "n", sample + 1, now)

    def _recall_gold(self, wanted: Collection[Key]) -> bool:
        """Whether nothing is left to be judged and the references' own results are known from before."""
        if self._store.judged.issuperset(wanted):
            try:
                self.gold = read_metrics(self._store.path).gold
            except BadInput:  # interrupted between the last verdict and the scores: the references run once more
                return False
            return True
        return False

    async def _calibrate_ahead(self, remaining: Iterator[str]) -> None:
        """Run references; candidates wait until the last one has begun, so that long ones don't come last."""
        for task_id in remaining:
            await self._calibrate(task_id)
        self._all_begun.set()

    def _calibrate(self, task_id: str) -> asyncio.Task[Calibration | None]:
        """The calibration of a problem, run once; None when faults of ours prevented it."""
        task = self._calibrations.get(task_id)
        if task is None:
            task = self._calibrations[task_id] = asyncio.create_task(self._run_reference(self.problems[task_id]))
        return task

    async def _run_reference(self, problem: Problem) -> Calibration | None:
        try:
            return await _twice(functools.partial(acalibrate, self._references, problem))
        except EngineError:
            return None

    def _is_long(self, task_id: str) -> bool:
        """Whether a reference runs still, or ran for long: its candidates may too, and had better not come last."""
        task = self._calibrations.get(task_id)
        if task is None or not task.done():
            return task is not None
        calibration = task.result()
        return calibration is not None and calibration.reference_s > LONG_S

    def _count_gold(self, task_ids: list[str]) -> Gold:
        with_reference = [task_id for task_id in task_ids if self.problems[task_id].reference is not None]
        found = {task_id: calibration for task_id in with_reference if (calibration := self._calibrations[task_id].result()) is not None}
        return Gold(
            passed=sum(calibration.passed for calibration in found.values()),
            total=len(with_reference),
            protected=sum(calibration.passed and calibration.protected for calibration in found.values()),
            failed=tuple(task_id for task_id, calibration in found.items() if not calibration.passed),
            masked=tuple(sorted(task_id for task_id in task_ids if self._calibrations[task_id].result() is None)),
            remarks={task_id: calibration.reason for task_id, calibration in found.items() if calibration.reason != REFERENCE_PASSES},
        )

    def _count(self, problem: Problem) -> int:
        """How many samples of a problem a model is asked for."""
        wanted = self._n or 1
        return self._source.available(problem, wanted) if isinstance(self._source, FiniteModel) else wanted

    def _requests(self) -> Iterator[StoredCompletion | tuple[Problem, int]]:
        """What to judge, one at a time: completions that exist, and for a model also those still to be asked for; long problems first."""
        long = {task_id for task_id in self.problems if self._is_long(task_id)}
        if not isinstance(self._source, Model):
            for first in (True, False) if long else (False,):
                for completion in self._source:
                    if (completion.task_id in long) is first and (self._n is None or completion.sample < self._n):
                        stored_form = make_program(completion, self.problems)
                        if self._inventory:
                            self._inventory.refuse_change(stored_form)
                        yield stored_form
            return
        stored = set(self._store.completions)
        counts = {problem.task_id: self._count(problem) for problem in self.problems.values()}
        yield from read_completions(self._store.path)
        for problem in sorted(self.problems.values(), key=lambda each: each.task_id not in long):
            yield from ((problem, sample) for sample in range(counts[problem.task_id]) if (problem.task_id, sample) not in stored)

    async def _work(self, requests: Iterator[StoredCompletion | tuple[Problem, int]]) -> None:
        await self._all_begun.wait()
        for request in requests:
            completion = request if isinstance(request, StoredCompletion) else await self._ask(*request)
            key = (completion.task_id, completion.sample)
            self._store.add_completion(completion)
            if key not in self._store.judged:
                verdict = await self._decide(completion)
                self._store.add_verdict(verdict)
                self.judged += 1
                if self._progress:
                    self._progress.advance(verdict)
            await asyncio.sleep(0)

    async def _ask(self, problem: Problem, sample: int) -> StoredCompletion:
        if not isinstance(self._source, Model):
            raise TypeError("recorded samples are not asked for")
        answer = await self._source.complete(problem, sample)
        if (answer.task_id, answer.sample) != (problem.task_id, sample):
            asked = f"asked for sample {sample} of {problem.task_id}"
            raise BadInput(self._source.name, f"{asked}, it answered sample {answer.sample} of {answer.task_id}")
        return make_program(answer, self.problems)

    async def _decide(self, completion: StoredCompletion) -> Verdict:
        source = completion.solution or ""
        known = self._memory.recall(completion.task_id, source, completion.sample)
        if known is not None:
            self.copied += 1
            return known
        problem = self.problems[completion.task_id]
        calibration = await self._calibrate(completion.task_id)
        if calibration is None:
            return self._mask(completion, False, "the reference solution could not be run")
        try:
            verdicts = [await _twice(lambda: ajudge(self._engine, problem, completion, calibration)) for _ in range(self._repeat)]
        except EngineError as error:
            return self._mask(completion, calibration.protected, str(error))
        return self._memory.learn(source, unite(verdicts), runs=self._repeat)

    def _mask(self, completion: Completion, protected: bool, why: str) -> Verdict:
        return Verdict(
            task_id=completion.task_id,
            passed=None,
            protected=protected,
            reason=f"masked, our fault: {why}",
            sample=completion.sample,
            isolation=self._engine.isolation,
        )


def _note_flaky(verdicts: Iterable[Verdict], noted: dict[str, None]) -> Iterator[Verdict]:
    for verdict in verdicts:
        if verdict.flaky:
            noted[verdict.task_id] = None
        yield verdict


async def _twice(attempt: Callable[[], Awaitable[_Result]]) -> _Result:
    """The result of the first attempt, or of a second one after a fault of ours."""
    try:
        return await attempt()
    except EngineError:
        return await attempt()


async def _run_all(workers: Sequence[Awaitable[None]]) -> None:
    """Run all to their end; the first error, or being cancelled, cancels the others and waits for them."""
    tasks = [asyncio.ensure_future(worker) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _ask_interpreter(engine: Engine) -> str:
    """The version of the interpreter that programs run under."""
    return engine.run("import platform; print(platform.python_implementation(), platform.python_version())", limits=Limits()).text.strip()
