"""The engine: run one program or a million, each in a slot of its own, on as many workers as the machine really has.

One core, two faces: every call is a `submit`, whose future the synchronous calls wait for and the asynchronous ones await.
Memory stays flat however many programs pass: `map` and `stream` hold a small window in flight and take the next program
from their source only when a result was taken.

A good guest in the user's process: no signal handler, no waiting for foreign children, no subreaper. Threads may share an
engine. A forked child and an unpickled copy start workers of their own when first used; the parent's stay the parent's.
`kill -9` of the process ends everything it started, through the wardens, which watch it.
"""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any

import msgspec

from groundrun.engine.batches import Arguments, Batch, CallLimits, OnCrash, Series
from groundrun.engine.flavour import Catalogue, Flavour, check_flavours
from groundrun.engine.host import choose_rung, count_cores, make_lane_maker
from groundrun.engine.interpreter import name_interpreter
from groundrun.engine.job import Job, as_job
from groundrun.engine.lanes import Warmth
from groundrun.engine.memory import find_available_bytes
from groundrun.engine.pool import EngineStats, Pool, Run
from groundrun.engine.session import IDLE_S, Session
from groundrun.errors import EngineClosed, EngineError
from groundrun.records import CostMode, Execution, Isolation, Limits, Program, Rung

Runnable = Program | Job | str
MAX_HASH_SEED = (1 << 32) - 1  # the most that PYTHONHASHSEED takes


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """One result of `stream`: the position of the job in its source, and its execution, or the fault of ours that prevented it."""

    index: int
    execution: Execution | None = None
    fault: EngineError | None = None


class Engine:
    """Runs programs. See the module's docstring.

    workers: how many at once; None for one per core that affinity and the cgroup's quota give.
    isolation: a rung by name; None for the best the host allows, never `none`.
    require: fail with RungUnavailable, saying what the host refuses, unless this rung can be had.
    python: the interpreter, or the folder of a virtual environment, that programs run under; None for the present one. Nothing needs to be
        installed in it.
    limits: for jobs that don't bring their own. landlock_abi: use at most this version of landlock's interface.
    hash_seed: PYTHONHASHSEED of every program, so that two engines can show what depends on it.
    flavours: modules to import ahead of the programs that import them, by a name of yours, besides the built-in `bare`, `numpy`,
        `numpy.random` and `scientific`; name only what you trust: what is imported ahead is imported outside the inner walls.
    flavour_idle_s: seconds after which a flavour that nobody uses is retired; flavour_memory_bytes: what all but `bare` may keep
        resident, None for a quarter of what is available.
    Raises HostRefused (and kin) on first use when the host can't give what was asked.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        isolation: Rung | str | None = None,
        require: Rung | str | None = None,
        python: str | os.PathLike[str] | None = None,
        limits: Limits = Limits(),
        landlock_abi: int | None = None,
        hash_seed: int = 0,
        flavours: Mapping[str, Sequence[str]] = MappingProxyType({}),
        flavour_idle_s: float = 60.0,
        flavour_memory_bytes: int | None = None,
    ) -> None:
        if not 0 <= hash_seed <= MAX_HASH_SEED:
            raise ValueError(f"hash_seed must be between 0 and {MAX_HASH_SEED}, not {hash_seed}")
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        if not flavour_idle_s >= 0:
            raise ValueError(f"flavour_idle_s must be at least 0, not {flavour_idle_s}")
        if flavour_memory_bytes is not None and flavour_memory_bytes < 0:
            raise ValueError(f"flavour_memory_bytes must be at least 0, not {flavour_memory_bytes}")
        self._settings: dict[str, Any] = {
            "workers": workers,
            "isolation": Rung(isolation) if isolation is not None else None,
            "require": Rung(require) if require is not None else None,
            "python": None if python is None else os.fspath(python),
            "limits": limits,
            "landlock_abi": landlock_abi,
            "hash_seed": hash_seed,
            "flavours": check_flavours(flavours),
            "flavour_idle_s": flavour_idle_s,
            "flavour_memory_bytes": flavour_memory_bytes,
        }
        self._reset()

    def _reset(self) -> None:
        self._pool: Pool | None = None
        self._closed = False
        self._opening = threading.Lock()
        self._pid = os.getpid()
        self._isolation: Isolation | None = None
        _ENGINES.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return self._settings

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._settings = state
        self._reset()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import asyncio

        await asyncio.to_thread(self.close)

    def _open(self) -> Pool:
        if self._closed:
            raise EngineClosed
        pool = self._pool
        if pool is None:
            with self._opening:
                if self._pool is None:
                    settings = self._settings
                    python, abi = name_interpreter(settings["python"]), settings["landlock_abi"]
                    rung = choose_rung(settings["isolation"], settings["require"], python=python, landlock_abi=abi)
                    maker = make_lane_maker(rung, python=python, landlock_abi=abi, hash_seed=settings["hash_seed"])
                    warmth = self._warmth(python, warms=rung is not Rung.NONE)
                    self._pool = Pool(workers=self.workers, limits=settings["limits"], make_lane=maker, warmth=warmth)
                    self._finalizer = weakref.finalize(self, _close_pool, self._pool, self._pid)
                pool = self._pool
        return pool

    def _warmth(self, python: str, *, warms: bool) -> Warmth:
        settings = self._settings
        allowed = settings["flavour_memory_bytes"]
        most = find_available_bytes() // 4 if allowed is None else allowed
        catalogue = Catalogue(settings["flavours"], python=python, warms=warms)
        return Warmth(catalogue, idle_s=settings["flavour_idle_s"], worker_bytes=most // self.workers)

    @property
    def workers(self) -> int:
        """How many programs run at once."""
        return self._settings["workers"] or count_cores()

    @property
    def limits(self) -> Limits:
        """The limits of jobs that don't bring their own."""
        limits: Limits = self._settings["limits"]
        return limits

    @property
    def hash_seed(self) -> int:
        """What `hash` of strings starts from in every program, and so the order of their sets."""
        seed: int = self._settings["hash_seed"]
        return seed

    @property
    def isolation(self) -> Isolation:
        """The guards in force on this host; runs one small program the first time."""
        if self._isolation is None:
            self._isolation = self.run("").isolation
        return self._isolation

    @property
    def flavours(self) -> dict[str, Flavour]:
        """What can be imported ahead of programs, by name. Asks the interpreter what of it is installed; starts nothing."""
        return Catalogue(self._settings["flavours"], python=name_interpreter(self._settings["python"])).flavours

    def reseed(self, hash_seed: int) -> Engine:
        """Another engine, like this one but for its hash seed; close it as well."""
        return Engine(**{**self._settings, "hash_seed": hash_seed})

    def submit(self, job: Runnable, *, alone: bool = False) -> Run:
        """Queue one job; the future gives its Execution. Its `cancel` works on running jobs too.

        alone: let nothing else of this engine run meanwhile, so that what it costs is its own.
        """
        return self._submit(Run((as_job(job),), alone=alone))

    def submit_pair(self, candidate: Job, grader: Job, *, alone: bool = False) -> Run:
        """Queue two jobs that run at once in two jails, joined by a stream socket: the future gives both Executions."""
        return self._submit(Run((as_job(candidate), as_job(grader)), alone=alone))

    def _submit(self, run: Run) -> Run:
        self._open().submit(run)
        return run

    def run(
        self,
        program: Runnable,
        *,
        stdin: bytes = b"",
        argv: tuple[str, ...] = (),
        limits: Limits | None = None,
        collect: tuple[str, ...] = (),
        cost: CostMode | str | None = None,
    ) -> Execution:
        """Run one program and wait. The keywords replace the job's own fields. Raises EngineError for our faults only.

        cost: "counts" for a cost that is the same number in every run, see `groundrun.records.Counts`.
        """
        result: Execution = _wait(self.submit(_with(program, stdin, argv, limits, collect, cost)))
        return result

    def run_pair(self, candidate: Job, grader: Job) -> tuple[Execution, Execution]:
        """`submit_pair` and wait."""
        result: tuple[Execution, Execution] = _wait(self.submit_pair(candidate, grader))
        return result

    def session(self, *, limits: Limits | None = None, files: Mapping[str, bytes] | None = None, idle_s: float = IDLE_S) -> Session:
        """A stateful interpreter in a slot of its own; see `groundrun.engine.session`. Close it, or it lives as long as the engine.

        limits: time and output for each cell, the rest for the slot. files: beside it, relative path to content. idle_s: how long it may
        lie between two cells before it is ended. Sessions don't wait for workers. Raises UsageError at rung `none`, and EngineError.
        """
        return Session.open(self, self._open(), limits=limits or self.limits, files=files or {}, idle_s=idle_s)

    async def asession(self, *, limits: Limits | None = None, files: Mapping[str, bytes] | None = None, idle_s: float = IDLE_S) -> Session:
        """`session` for asyncio."""
        import asyncio

        return await asyncio.to_thread(self.session, limits=limits, files=files, idle_s=idle_s)

    def call_many(
        self,
        program: Program,
        calls: Iterable[Arguments | tuple[Any, ...]],
        *,
        limits: Limits | None = None,
        call_limits: CallLimits | None = None,
        on_crash: OnCrash | str = OnCrash.RESTART,
    ) -> Batch:
        """Call the program's entry point once for each tuple of arguments, in one process as long as that lives; see `batches`.

        limits: of the whole batch, all its processes together. on_crash: whether the calls after one that took the process with it are
        made in a fresh one. Raises UsageError for arguments that aren't plain data, EngineError for our faults only.
        """
        series = Series(program, calls, limits=limits or self.limits, call_limits=call_limits or CallLimits(), on_crash=OnCrash(on_crash))
        while not series.ended:
            series.take(_wait(self._submit(series.step())))
        return series.batch()

    def map(self, jobs: Iterable[Runnable]) -> Iterator[Execution]:
        """Run many, results in the order of the jobs. Raises EngineError at the job that our fault prevented."""
        waiting: deque[Run] = deque()
        try:
            for job in jobs:
                waiting.append(self.submit(job))
                if len(waiting) >= self._window:
                    yield _wait(waiting.popleft())
            while waiting:
                yield _wait(waiting.popleft())
        finally:
            for run in waiting:
                run.cancel()

    def stream(self, jobs: Iterable[Runnable]) -> Iterator[Finished]:
        """Run many, results as they finish. Our faults come as results, so that one doesn't cost the rest."""
        done: queue.SimpleQueue[tuple[int, Run]] = queue.SimpleQueue()
        flying: dict[int, Run] = {}
        try:
            for index, job in enumerate(jobs):
                self._launch(index, job, flying, done.put)
                if len(flying) >= self._window:
                    yield _land(done.get(), flying)
            while flying:
                yield _land(done.get(), flying)
        finally:
            for run in flying.values():
                run.cancel()

    async def arun(
        self,
        program: Runnable,
        *,
        stdin: bytes = b"",
        argv: tuple[str, ...] = (),
        limits: Limits | None = None,
        collect: tuple[str, ...] = (),
        cost: CostMode | str | None = None,
    ) -> Execution:
        """`run` for asyncio; cancelling the task ends the program."""
        result: Execution = await _awaitable(self.submit(_with(program, stdin, argv, limits, collect, cost)))
        return result

    async def arun_pair(self, candidate: Job, grader: Job) -> tuple[Execution, Execution]:
        """`run_pair` for asyncio."""
        result: tuple[Execution, Execution] = await _awaitable(self.submit_pair(candidate, grader))
        return result

    async def acall_many(
        self,
        program: Program,
        calls: Iterable[Arguments | tuple[Any, ...]],
        *,
        limits: Limits | None = None,
        call_limits: CallLimits | None = None,
        on_crash: OnCrash | str = OnCrash.RESTART,
    ) -> Batch:
        """`call_many` for asyncio."""
        series = Series(program, calls, limits=limits or self.limits, call_limits=call_limits or CallLimits(), on_crash=OnCrash(on_crash))
        while not series.ended:
            series.take(await _awaitable(self._submit(series.step())))
        return series.batch()

    async def amap(self, jobs: Iterable[Runnable]) -> AsyncIterator[Execution]:
        """`map` for asyncio."""
        waiting: deque[Run] = deque()
        try:
            for job in jobs:
                waiting.append(self.submit(job))
                if len(waiting) >= self._window:
                    yield await _awaitable(waiting.popleft())
            while waiting:
                yield await _awaitable(waiting.popleft())
        finally:
            for run in waiting:
                run.cancel()

    async def astream(self, jobs: Iterable[Runnable]) -> AsyncIterator[Finished]:
        """`stream` for asyncio."""
        import asyncio

        loop = asyncio.get_running_loop()
        done: asyncio.Queue[tuple[int, Run]] = asyncio.Queue()
        flying: dict[int, Run] = {}

        def put(item: tuple[int, Run]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.put_nowait, item)

        try:
            for index, job in enumerate(jobs):
                self._launch(index, job, flying, put)
                if len(flying) >= self._window:
                    yield _land(await done.get(), flying)
            while flying:
                yield _land(await done.get(), flying)
        finally:
            for run in flying.values():
                run.cancel()

    def stats(self) -> EngineStats:
        """Counts since the engine was made."""
        if self._pool is None:
            return EngineStats(workers=self.workers, finished=0, running=0, waiting=0, restarts=0, faults=0)
        return self._pool.stats()

    def close(self) -> None:
        """Cancel what waits, end what runs, and leave no process behind. Safe to call twice."""
        self._closed = True
        if self._pool is not None:
            self._finalizer()
            self._pool = None

    @property
    def _window(self) -> int:
        return 8 * self.workers  # deep enough that results kept in order don't wait for one slow program

    def _launch(self, index: int, job: Runnable, flying: dict[int, Run], put: Any) -> None:
        run = self.submit(job)
        flying[index] = run
        run.add_done_callback(lambda finished: put((index, finished)))


_ENGINES: weakref.WeakSet[Engine] = weakref.WeakSet()


def _forget_parent() -> None:
    """In a forked child: engines start afresh, and no inherited descriptor keeps the parent's wardens alive."""
    for engine in list(_ENGINES):
        if engine._pool is not None:
            engine._finalizer.detach()
            engine._pool.abandon()
        closed = engine._closed
        engine._reset()
        engine._closed = closed


os.register_at_fork(after_in_child=_forget_parent)


def _close_pool(pool: Pool, pid: int) -> None:
    if os.getpid() == pid:
        pool.close()


def _awaitable(run: Run) -> Awaitable[Any]:
    import asyncio  # half of the package's import time, for those who use it

    return asyncio.wrap_future(run)


def _wait(run: Run) -> Any:
    try:
        return run.result()
    except BaseException:
        run.cancel()
        raise


def _land(item: tuple[int, Run], flying: dict[int, Run]) -> Finished:
    index, run = item
    del flying[index]
    error = run.exception()
    if error is None:
        return Finished(index=index, execution=run.result())
    if isinstance(error, EngineError):
        return Finished(index=index, fault=error)
    raise error


def _with(
    program: Runnable,
    stdin: bytes,
    argv: tuple[str, ...],
    limits: Limits | None,
    collect: tuple[str, ...],
    cost: CostMode | str | None,
) -> Job:
    job = as_job(program)
    if not (stdin or argv or limits or collect or cost):
        return job
    return msgspec.structs.replace(
        job,
        stdin=stdin or job.stdin,
        argv=argv or job.argv,
        limits=limits or job.limits,
        collect=collect or job.collect,
        cost=cost or job.cost,
    )
