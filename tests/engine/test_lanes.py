"""What a worker keeps warm: the longest unused goes first, what is held stays, what failed isn't tried again."""

from __future__ import annotations

import sys

import pytest
from tests.engine.test_pool import FragileLane

from groundrun.engine.flavour import BARE_FLAVOUR, Catalogue, Flavour
from groundrun.engine.job import Job
from groundrun.engine.lanes import Lanes, Warmth
from groundrun.errors import FlavourUnavailable
from groundrun.records import CpuSource, Isolation, MemoryGuard, Program, Rung

pytestmark = pytest.mark.unit

ISOLATION = Isolation(rung=Rung.NONE, memory_guard=MemoryGuard.NOTHING, cpu_guard=CpuSource.NOTHING)
MINE = {"a": ("aa",), "b": ("bb",), "c": ("cc",), "large": ("ll",), "broken": ("zz",)}


class SizedLane(FragileLane):
    """A lane that only has a size."""

    def __init__(self, host: Host, flavour: str) -> None:
        super().__init__([])
        self.flavour, self._host = flavour, host

    def measure(self) -> int:
        return 100 if self.flavour == "large" else 10

    def close(self) -> None:
        self._host.open.remove(self.flavour)


class Host:
    """Makes lanes and knows which of them are open."""

    def __init__(self, *, worker_bytes: int = 20, idle_s: float = 60) -> None:
        self.open: list[str] = []
        self.started: list[str] = []
        self.warmth = Warmth(Catalogue(MINE, python=sys.executable), idle_s=idle_s, worker_bytes=worker_bytes)
        self.lanes = Lanes(self.make, self.warmth)

    def make(self, role: str, flavour: Flavour = BARE_FLAVOUR, /) -> SizedLane:
        self.started.append(flavour.name)
        if flavour.name == "broken":
            raise FlavourUnavailable("broken", "importing zz: ValueError")
        self.open.append(flavour.name)
        return SizedLane(self, flavour.name)

    def take(self, *sources: str, flavour: str | None = None) -> list[str]:
        jobs = tuple(Job(program=Program(source), flavour=flavour) for source in sources)
        return [lane.flavour for lane in self.lanes.take(jobs)]


def test_lanes_are_kept_and_the_longest_unused_goes_first() -> None:
    host = Host()
    for source in ("", "import aa", "import bb", "import aa", "import cc", "import aa"):
        host.take(source)
    assert sorted(host.open) == ["a", "bare", "c"]
    assert host.started == ["bare", "a", "b", "c"]
    host.lanes.close()
    assert host.open == []


def test_what_a_pair_holds_is_not_retired_for_it() -> None:
    host = Host(worker_bytes=10)
    jobs = (Job(program=Program("import aa")), Job(program=Program(""), flavour="b"))
    assert [lane.flavour for lane in host.lanes.take(jobs)] == ["a", "b"]
    assert sorted(host.open) == ["a", "b"]


def test_a_grader_is_bare_unless_its_job_says_otherwise() -> None:
    host = Host()
    assert host.take("import aa", "import bb") == ["a", "bare"]


def test_what_can_never_fit_is_found_out_once_and_done_without() -> None:
    host = Host()
    assert host.take("import ll") == ["bare"]
    assert host.take("import ll") == ["bare"]
    assert host.started == ["large", "bare"]
    assert host.lanes.cold_imports == 2
    (bare, large) = host.warmth.describe(host.lanes.resident())
    assert (bare.zygotes, large.zygotes) == (1, 0)
    assert "its zygote keeps 100 bytes" in large.refused
    with pytest.raises(FlavourUnavailable, match="flavour_memory_bytes allows 20"):
        host.take("", flavour="large")
    assert host.started == ["large", "bare"]


def test_what_a_user_registered_and_can_not_be_imported_is_an_error_each_time_but_tried_once() -> None:
    host = Host()
    for _ in range(2):
        with pytest.raises(FlavourUnavailable, match="importing zz"):
            host.take("import zz")
    assert host.started == ["broken"]
    assert host.take("import aa") == ["a"]


def test_idle_lanes_are_retired_but_never_the_bare_one() -> None:
    host = Host(idle_s=0)
    assert host.lanes.patience() is None
    host.take("")
    host.take("import aa")
    assert host.lanes.patience() == 0
    host.lanes.retire(idle=False)  # still held
    assert sorted(host.open) == ["a", "bare"]
    host.lanes.retire(idle=True)
    assert host.open == ["bare"]
    assert host.lanes.patience() is None
