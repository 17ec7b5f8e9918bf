"""A client that is killed at any step of its runs leaves nothing, whoever was doing what at that moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bench.remnants import find_descendants, find_remnants, wait_until
from tests.faults.rig import Action, Fault, Plan

from groundrun.engine import Engine
from groundrun.records import Limits

pytestmark = [pytest.mark.exec, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parents[2]
STALL_MS = 20_000
_CLIENT = """
import sys
from pathlib import Path
from groundrun.engine import Engine, host, warden
from tests.faults.rig import judge_candidates, run_programs, use_session
host.NATIVE = warden.NATIVE = Path(sys.argv[1])
with Engine(workers=1, isolation=sys.argv[2]) as engine:
    engine.run("")
    print("ready", flush=True)
    sys.stdin.readline()
    run_programs(engine)
    judge_candidates(engine)
    use_session(engine)
    print("done", flush=True)
"""
POINTS = ("warden.start", "receive request.run", "receive prepare", "receive order", "send notice.started", "run.over", "send reply.done")
MORE = (
    "zygote.start", "zygote.forked", "send notice.ready", "send notice.prepared", "send notice.ended", "child.slot", "child.settled",
    "child.begun", "child.guarded", "run.taken", "collecting", "receive request.renew", "send reply.renewed", "receive request.cancel",
)  # fmt: skip
HANGING = ("send notice.ready",)  # also while a zygote never gets ready, a client's end is noticed
JAIL = ("warden.root", "jail.start", "slot.clone", "init.mount", "send command.ready", "receive command.collect", "receive command.resize")


def check(rung: str, point: str, plan: Plan, folder: Path) -> None:
    """Stop a client's work at one point, kill the client, let the work go on."""
    fault = Fault(point=point, action=Action.STALL, amount=STALL_MS)
    starting = point in ("warden.start", "warden.root", "jail.start", "zygote.start", "send notice.ready")
    if starting:
        plan.arm(fault)
    words = [sys.executable, "-c", _CLIENT, str(folder), rung]
    with subprocess.Popen(words, cwd=ROOT, env=os.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None and client.stdout is not None
        try:
            if not starting:
                assert client.stdout.readline() == "ready\n"
                plan.arm(fault)
                client.stdin.write("go\n")
                client.stdin.flush()
            assert wait_until(lambda: plan.fired > 0, seconds=30), "the point was never reached"
            processes = find_descendants(client.pid)
        finally:
            client.send_signal(signal.SIGKILL)
    if point not in HANGING:
        plan.release()
    assert processes
    wait_until(lambda: not find_remnants(processes, client.pid), seconds=20)
    assert find_remnants(processes, client.pid) == []


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_client_leaves_nothing(rung: str, point: str, plan: Plan, breaking: Path) -> None:
    """No process, mount, cgroup or folder."""
    check(rung, point, plan, breaking)


@pytest.mark.long
@pytest.mark.parametrize("point", MORE)
def test_a_client_killed_at_any_step_leaves_nothing(rung: str, point: str, plan: Plan, breaking: Path) -> None:
    """The same at every other step."""
    check(rung, point, plan, breaking)


@pytest.mark.long
@pytest.mark.parametrize("point", JAIL)
def test_a_client_killed_while_a_jail_is_built_leaves_nothing(point: str, plan: Plan, breaking: Path) -> None:
    """The steps that only rung namespaces has."""
    check("namespaces", point, plan, breaking)


def test_a_stopped_warden_is_given_up(plan: Plan) -> None:
    """One that says nothing, although it lives, is replaced when its run should long have ended."""
    with Engine(workers=1) as engine:
        engine.run("")
        plan.arm(Fault(point="run.over", action=Action.STALL, amount=STALL_MS))
        assert engine.run("print(1)", limits=Limits(wall_s=0.5)).text == "1\n"
        plan.release()
        assert (plan.fired, engine.stats().restarts) == (1, 1)
