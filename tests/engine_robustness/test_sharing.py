"""One engine and many who use it: threads, copies that were pickled, children that were forked."""

from __future__ import annotations

import pickle
import threading

import pytest
from tests.engine_robustness.conftest import run_script

from groundrun.engine import Engine

pytestmark = pytest.mark.exec

FORKED = """
import os, sys, threading
from groundrun.engine import Engine
engine = Engine(isolation=sys.argv[1], workers=2)
engine.run("")
waiting = [engine.submit(f"import time; time.sleep(0.3); print({number})") for number in range(6)]
child = os.fork()
if child == 0:
    good = engine.run("print('child')").text == "child\\n" if sys.argv[2] == "use" else True
    engine.close()
    os._exit(0 if good else 1)
during = [run.result().text for run in waiting]
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
after = engine.run("print('after')").text
print(status, during == [f"{number}\\n" for number in range(6)], after.strip(), engine.stats().restarts)
engine.close()
"""
OUTLIVED = """
import os, sys
from bench.remnants import find_descendants, find_remnants, wait_until
from groundrun.engine import Engine
engine = Engine(isolation=sys.argv[1], workers=2)
engine.run("")
hold, release = os.pipe()
child = os.fork()
if child == 0:
    os.close(release)
    os.read(hold, 1)
    os._exit(0)
processes = {pid: start for pid, start in find_descendants(os.getpid()).items() if pid != child}
engine.close()
print(wait_until(lambda: not find_remnants(processes, os.getpid()), seconds=20))
os.write(release, b"x")
os.waitpid(child, 0)
"""


def test_many_threads(rung: str) -> None:
    """Everyone gets the answer to their own program."""
    wrong: list[str] = []
    with Engine(isolation=rung, workers=2) as engine:

        def use(who: int) -> None:
            for turn in range(5):
                got = engine.run(f"print({who}, {turn})").text
                if got != f"{who} {turn}\n":
                    wrong.append(got)

        threads = [threading.Thread(target=use, args=(who,)) for who in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stats = engine.stats()
    assert wrong == []
    assert (stats.finished, stats.running, stats.waiting, stats.faults, stats.restarts) == (80, 0, 0, 0, 0)


def test_pickled_copy_is_an_engine_of_its_own(rung: str) -> None:
    """With the same settings; closing one leaves the other at work."""
    with Engine(isolation=rung, workers=1) as engine:
        assert engine.run("print(1)").text == "1\n"
        copy: Engine = pickle.loads(pickle.dumps(engine))
        assert (copy.workers, copy.limits) == (engine.workers, engine.limits)
        with copy:
            assert copy.run("print(2)").text == "2\n"
            assert copy.isolation == engine.isolation
        assert engine.run("print(3)").text == "3\n"


@pytest.mark.parametrize("deed", ["use", "close"])
def test_forked_child(rung: str, deed: str) -> None:
    """It may use or close the engine; the parent's programs, running and waiting, are not touched by it."""
    assert run_script(FORKED, rung, deed) == "0 True after 0\n"


def test_forked_child_does_not_keep_the_workers_alive(rung: str) -> None:
    """The parent's close ends them although a child that never used the engine still lives."""
    assert run_script(OUTLIVED, rung) == "True\n"
