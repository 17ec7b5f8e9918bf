"""Limits belong to one run: what the last one left dying, and the child that waits for the next, never count against it."""

from __future__ import annotations

from itertools import chain, repeat

import pytest

from groundrun.engine import Engine, Job
from groundrun.records import Execution, Limits, Outcome, Program, Rung

pytestmark = pytest.mark.exec
ROUNDS = 40
FAMILY = 8
FORKS = """
import os, time
children = []
for _ in range({children}):
    pid = os.fork()
    if pid == 0:
        time.sleep(0.01)
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
print(len(children))
"""
LEAVES_MANY = "import os, time\nfor _ in range(6):\n    if os.fork() == 0:\n        time.sleep(30)\n        os._exit(0)\n"
GRABS = "data = bytearray({size} << 20)\ndata[::4096] = b'x' * len(data[::4096])\nprint(len(data) >> 20)\n"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("rung", [Rung.NAMESPACES, Rung.LANDLOCK])
def test_processes_of_others_never_count(rung: Rung) -> None:
    """A family of exactly the limit, after one that was killed with its children still there."""
    family = Job(program=Program(FORKS.format(children=FAMILY - 1)), limits=Limits(processes=FAMILY, cpu_s=5, wall_s=30))
    leaving = Job(program=Program(LEAVES_MANY), limits=Limits(processes=FAMILY, cpu_s=5, wall_s=30))
    with Engine(isolation=rung) as engine:
        ended = list(engine.map(chain.from_iterable(repeat((leaving, family), ROUNDS))))
    assert {execution.outcome for execution in ended[::2]} == {Outcome.OK}
    assert {_tell(execution) for execution in ended[1::2]} == {(Outcome.OK, str(FAMILY - 1))}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("rung", [Rung.NAMESPACES, Rung.LANDLOCK])
def test_memory_of_others_never_counts(rung: Rung) -> None:
    """Most of the limit, right after one that was killed for taking more."""
    limits = Limits(memory_bytes=96 << 20, cpu_s=5, wall_s=30)
    fits = Job(program=Program(GRABS.format(size=72)), limits=limits)
    greedy = Job(program=Program(GRABS.format(size=200)), limits=limits)
    with Engine(isolation=rung) as engine:
        ended = list(engine.map(chain.from_iterable(repeat((greedy, fits), ROUNDS // 2))))
    assert {execution.outcome for execution in ended[::2]} == {Outcome.MEMORY_LIMIT}
    assert {_tell(execution) for execution in ended[1::2]} == {(Outcome.OK, "72")}


LEAVES_FILES = """
import os, pathlib, time
assert [path.name for path in pathlib.Path(".").iterdir()] == ["main.py"]
temporary = pathlib.Path(os.environ["TMPDIR"])
assert not list(temporary.iterdir())
pathlib.Path("mine").write_text("x")
(temporary / "mine").write_text("x")
if os.fork() == 0:
    time.sleep(30)
print("clean")
"""


@pytest.mark.timeout(120)
def test_a_slot_is_used_once() -> None:
    """What one run leaves, files or a sleeping child, no later one on the same worker finds."""
    job = Job(program=Program(LEAVES_FILES), limits=Limits(processes=4, cpu_s=5, wall_s=30))
    with Engine(workers=1, isolation=Rung.NAMESPACES) as engine:
        assert {_tell(engine.run(job)) for _ in range(ROUNDS)} == {(Outcome.OK, "clean")}


@pytest.mark.timeout(120)
def test_uids_come_back_clean() -> None:
    """Lanes come and go, and take the uids of those before them; what these left running would count against their limit."""
    jobs = [Job(program=Program(LEAVES_MANY + "print('left')"), limits=Limits(processes=7, cpu_s=5, wall_s=30))] * 4
    for _ in range(5):
        with Engine(workers=2, isolation=Rung.LANDLOCK) as engine:
            assert {_tell(each) for each in engine.map(jobs)} == {(Outcome.OK, "left")}


def _tell(execution: Execution) -> tuple[Outcome, str]:
    return execution.outcome, execution.text.strip()
