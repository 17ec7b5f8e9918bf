"""Whatever breaks on our side of a run, at whichever step: no wrong result, no lost job, nothing left.

A fault that takes place once must be mended silently. One that takes place each time must end as an `EngineError` for every program that it
hinders, in bounded time.
"""

from __future__ import annotations

import errno
import sys

import pytest
from tests.faults.rig import Action, Fault, Plan, Stream, counting, judge_candidates, run_programs, use_session

from groundrun.engine import Engine
from groundrun.engine.host import try_rung
from groundrun.engine.warden import NATIVE
from groundrun.errors import EngineError, HostRefused
from groundrun.records import Rung

pytestmark = [pytest.mark.exec, pytest.mark.timeout(120)]

RUNGS: tuple[str, ...] = ("namespaces", "landlock")
STALL_MS = 150
MESSAGES = (
    "request.run", "reply.ready", "reply.done", "prepare", "order", "notice.ready", "notice.prepared", "notice.started", "notice.ended",
)  # fmt: skip
FROM_HOST, TO_HOST = ("request.run",), ("reply.ready", "reply.done")  # the host's own side is not native
STEPS = (
    "warden.start", "zygote.start", "zygote.forked", "child.slot", "child.settled", "child.begun", "child.guarded", "run.taken", "run.over",
    "collecting",
)  # fmt: skip
JAIL_STEPS = ("warden.root", "jail.start", "slot.clone", "init.mount")  # of rung namespaces
ONCE_A_LANE = ("warden.start", "warden.root", "jail.start", "zygote.start", "notice.ready", "reply.ready", "collecting")


def _list_points() -> list[tuple[str, tuple[str, ...]]]:
    """Every point that a stream of programs passes, with the rungs on which it does."""
    points = [(f"send {name}", RUNGS) for name in MESSAGES if name not in FROM_HOST]
    points += [(f"receive {name}", RUNGS) for name in MESSAGES if name not in TO_HOST]
    points += [(f"{verb} command.{name}", RUNGS[:1]) for verb in ("send", "receive") for name in ("ready", "collect", "resize")]
    points += [(name, RUNGS) for name in STEPS] + [(name, RUNGS[:1]) for name in JAIL_STEPS]
    return points


def _list_faults(point: str) -> list[Fault]:
    """What can go wrong once at a point: at its first passage, and at a later one where there are more."""
    name = point.split()[-1]
    first, later = 1, 1 if name in ONCE_A_LANE else 2
    faults = [Fault(point=point, action=Action.KILL, nth=nth) for nth in sorted({first, later})]
    faults.append(Fault(point=point, action=Action.STALL, nth=later, amount=STALL_MS))
    if point != name:
        faults += [Fault(point=point, action=Action.GARBLE, nth=later, amount=bit) for bit in (0, 32, 133, 700)]
        faults += [Fault(point=point, action=Action.HANG_UP, nth=nth) for nth in sorted({first, later})]
    if point.startswith("send "):
        faults += [Fault(point=point, action=action, nth=later) for action in (Action.CUT, Action.LOSE, Action.DOUBLE)]
    elif point == name:
        refusals = {first: errno.EAGAIN, later: errno.ENOMEM}
        faults += [Fault(point=point, action=Action.REFUSE, nth=nth, amount=number) for nth, number in refusals.items()]
    return faults


ALL = [(rung, fault) for point, rungs in _list_points() for rung in rungs for fault in _list_faults(point)]
QUICK = [
    ("namespaces", Fault(point="send reply.done", action=Action.KILL, nth=2)),
    ("namespaces", Fault(point="send reply.done", action=Action.GARBLE, nth=3, amount=133)),
    ("namespaces", Fault(point="send reply.done", action=Action.DOUBLE, nth=2)),
    ("namespaces", Fault(point="receive request.run", action=Action.GARBLE, nth=2, amount=200)),
    ("namespaces", Fault(point="receive prepare", action=Action.KILL, nth=2)),
    ("namespaces", Fault(point="send notice.started", action=Action.KILL, nth=3)),
    ("namespaces", Fault(point="send notice.ended", action=Action.CUT, nth=2)),
    ("namespaces", Fault(point="receive command.collect", action=Action.KILL)),
    ("namespaces", Fault(point="collecting", action=Action.REFUSE, amount=errno.ENOSPC)),
    ("namespaces", Fault(point="slot.clone", action=Action.REFUSE, nth=3, amount=errno.EAGAIN)),
    ("namespaces", Fault(point="jail.start", action=Action.KILL)),
    ("namespaces", Fault(point="run.over", action=Action.KILL, nth=2)),
    ("landlock", Fault(point="receive order", action=Action.KILL, nth=2)),
    ("landlock", Fault(point="send notice.ended", action=Action.GARBLE, nth=2, amount=64)),
    ("landlock", Fault(point="child.guarded", action=Action.REFUSE, nth=2, amount=errno.EINVAL)),
    ("landlock", Fault(point="run.taken", action=Action.KILL, nth=2)),
]
JUDGED = [
    Fault(point="receive request.renew", action=Action.KILL, nth=2),
    Fault(point="send reply.renewed", action=Action.GARBLE, nth=2, amount=140),
    Fault(point="send notice.ended", action=Action.KILL, nth=2),
    Fault(point="receive order", action=Action.KILL, nth=3),
]
IN_SESSION = [
    Fault(point="receive request.renew", action=Action.KILL, nth=2),
    Fault(point="send reply.renewed", action=Action.CUT, nth=2),
    Fault(point="send reply.renewed", action=Action.STALL, nth=2, amount=STALL_MS),
]


@pytest.fixture(autouse=True, scope="module")
def tried() -> None:
    """Each rung is tried before anything breaks, so that its answer is the host's."""
    for rung in RUNGS:
        try:
            try_rung(Rung(rung), python=sys.executable, landlock_abi=None)
        except HostRefused as refusal:
            pytest.skip(f"rung {rung}: {refusal}")


def _name(value: object) -> str | None:
    return value.name if isinstance(value, Fault) else None


def check(rung: str, fault: Fault, plan: Plan, stream: Stream) -> None:
    """One stream with one fault in it, and afterwards one without."""
    with counting(), Engine(workers=1, isolation=rung) as engine:
        if fault.point.split()[-1] not in ONCE_A_LANE:
            engine.run("")
        plan.arm(fault)
        results = stream(engine)
        fired = plan.fired
        plan.disarm()
        after = run_programs(engine)
        finished, stats = len(results), engine.stats()
    assert [each for each in (*results, *after) if each.wrong] == []
    assert [each.name for each in after if each.fault] == []
    assert fired >= 1, "the fault never took place"
    assert fault.nth == 0 or [str(each.fault) for each in results if each.fault] == []
    assert finished == len({each.name for each in results}) or stream is not run_programs
    assert (stats.running, stats.waiting) == (0, 0)


@pytest.mark.parametrize(("rung", "fault"), QUICK, ids=_name)
def test_one_fault_costs_nothing(rung: str, fault: Fault, plan: Plan) -> None:
    """Every program comes back once and right; a message that was garbled, cut or said twice is noticed."""
    check(rung, fault, plan, run_programs)


@pytest.mark.long
@pytest.mark.parametrize(("rung", "fault"), ALL, ids=_name)
def test_any_fault_at_any_step_costs_nothing(rung: str, fault: Fault, plan: Plan) -> None:
    """Every point that a run passes, and everything that can go wrong there."""
    check(rung, fault, plan, run_programs)


@pytest.mark.parametrize("fault", JUDGED, ids=_name)
def test_a_fault_is_no_verdict(fault: Fault, plan: Plan) -> None:
    """Neither the right candidate fails nor the wrong one passes because a lane broke."""
    check("namespaces", fault, plan, judge_candidates)


@pytest.mark.parametrize("fault", IN_SESSION, ids=_name)
def test_a_session_is_lost_but_never_wrong(fault: Fault, plan: Plan) -> None:
    """Its state can't be had again, so it ends with an error of ours."""
    with counting(), Engine(workers=1, isolation="namespaces") as engine:
        plan.arm(fault)
        results = use_session(engine)
        fired = plan.fired
        plan.disarm()
        after = use_session(engine)
    assert fired == 1
    assert [each.wrong for each in (*results, *after)] == ["", ""]
    assert after[0].fault is None
    assert (results[0].fault is None) == (fault.action is Action.STALL)


@pytest.mark.parametrize(
    ("rung", "fault"),
    [
        ("namespaces", Fault(point="receive order", action=Action.KILL, nth=0)),
        ("namespaces", Fault(point="slot.clone", action=Action.REFUSE, nth=0, amount=errno.EAGAIN)),
        ("landlock", Fault(point="send reply.done", action=Action.GARBLE, nth=0, amount=140)),
    ],
    ids=_name,
)
def test_a_lasting_fault_is_told(rung: str, fault: Fault, plan: Plan) -> None:
    """No program is blamed for what hinders known-good programs as well."""
    with counting(), Engine(workers=1, isolation=rung) as engine:
        plan.arm(fault)
        with pytest.raises(EngineError):
            engine.run("print(1)")
        assert plan.fired >= 4
        plan.disarm()
        assert engine.run("print(1)").text == "1\n"


def test_a_program_killed_from_outside_says_so(plan: Plan) -> None:
    """Once a program runs, nobody can tell who sent a signal: its result tells the signal, and is never `ok`."""
    with Engine(workers=1) as engine:
        execution = engine.run("import os; os.kill(os.getpid(), 9)")
    assert (execution.outcome.value, execution.signal) == ("signalled", 9)


def test_the_shipped_part_has_no_faults() -> None:
    """No point of a fault is named in it, so that no plan can reach one."""
    for name in ("warden", "guest.so"):
        binary = (NATIVE / name).read_bytes()
        assert b"send notice" not in binary and b"run.over" not in binary and b"child.settled" not in binary
    assert NATIVE.name == "bin"
