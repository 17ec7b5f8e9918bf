"""Whoever stops waiting stops the program: cancelling, closing, Ctrl-C, an abandoned stream."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from bench.remnants import find_descendants, find_named, find_remnants, wait_until
from tests.engine_robustness.conftest import ROOT

from groundrun.engine import Engine
from groundrun.errors import EngineClosed
from groundrun.records import Limits, Outcome

pytestmark = pytest.mark.exec

ENOUGH_S = 20.0
LIMITS = Limits(cpu_s=300, wall_s=300)
_numbers = itertools.count()

INTERRUPTED = """
import sys, threading
from groundrun.engine import Engine
with Engine(isolation=sys.argv[1], workers=2) as engine:
    engine.run("")
    threading.Timer(0.5, lambda: print("running", flush=True)).start()
    try:
        engine.run("while True: pass")
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print(engine.run("print(6 * 7)").text, end="", flush=True)
"""


@pytest.fixture
def canary(rung: str) -> Iterator[tuple[Engine, str, str]]:
    """An engine of two workers, an endless program, and the name that the program's process gives itself."""
    name = f"canary-{next(_numbers)}"
    source = f"import ctypes\nctypes.CDLL(None).prctl(15, b'{name}', 0, 0, 0)\nwhile True: pass"
    with Engine(isolation=rung, workers=2, limits=LIMITS) as engine:
        yield engine, source, name


def is_singing(name: str) -> bool:
    return bool(find_named(name))


def test_cancelled_future_ends_its_program(canary: tuple[Engine, str, str]) -> None:
    """And says so; the worker takes the next job."""
    engine, source, name = canary
    run = engine.submit(source)
    assert wait_until(lambda: is_singing(name), seconds=ENOUGH_S)
    assert run.cancel()
    assert run.result(timeout=ENOUGH_S).outcome is Outcome.CANCELLED
    assert not is_singing(name)
    assert engine.run("print(1)").text == "1\n"
    assert engine.stats().restarts == 0


def test_cancelled_task_ends_its_program(canary: tuple[Engine, str, str]) -> None:
    """The same for asyncio."""
    engine, source, name = canary

    async def cancel() -> None:
        task = asyncio.create_task(engine.arun(source))
        assert await asyncio.to_thread(wait_until, lambda: is_singing(name), seconds=ENOUGH_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(wait_until, lambda: not is_singing(name), seconds=ENOUGH_S)

    asyncio.run(cancel())


def test_abandoned_stream_ends_its_programs(canary: tuple[Engine, str, str]) -> None:
    """Leaving the loop is enough."""
    engine, source, name = canary
    for done in engine.stream(["print(1)", source, source]):
        assert done.execution is not None and done.execution.text == "1\n"
        assert wait_until(lambda: is_singing(name), seconds=ENOUGH_S)
        break
    assert wait_until(lambda: not is_singing(name), seconds=ENOUGH_S)


def test_close_while_running(canary: tuple[Engine, str, str]) -> None:
    """Nobody who waits is left waiting, nothing runs on, and the closed engine says what it is."""
    engine, source, name = canary
    runs = [engine.submit(source) for _ in range(6)]
    assert wait_until(lambda: len(find_named(name)) == 2, seconds=ENOUGH_S)
    waiter: list[object] = []
    thread = threading.Thread(target=lambda: waiter.append(runs[0].result(timeout=ENOUGH_S).outcome))
    thread.start()
    engine.close()
    thread.join(ENOUGH_S)
    assert waiter == [Outcome.CANCELLED]
    assert all(run.done() for run in runs)
    assert [run.result().outcome for run in runs[:2]] == [Outcome.CANCELLED] * 2
    assert all(run.cancelled() for run in runs[2:])
    assert not is_singing(name)
    with pytest.raises(EngineClosed):
        engine.run("")
    engine.close()


def test_ctrl_c_in_the_parent_only(rung: str) -> None:
    """The call ends with KeyboardInterrupt, the engine stays usable, and nothing is left at the end."""
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED, rung], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "running\n"
            processes = find_descendants(process.pid)
            process.send_signal(signal.SIGINT)
            assert process.stdout.read() == "interrupted\n42\n"
            assert process.wait(timeout=ENOUGH_S) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    assert processes
    assert wait_until(lambda: not find_remnants(processes, process.pid), seconds=ENOUGH_S)
