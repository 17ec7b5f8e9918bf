"""What the kernel counts for the whole host, or for a user across namespaces, can't be used up by a program."""

from __future__ import annotations

import json
import os
import sys

import pytest

from groundrun.engine import Engine
from groundrun.records import Limits, Outcome

pytestmark = pytest.mark.exec

GREEDY = """
import ctypes, json, os
libc = ctypes.CDLL(None, use_errno=True)
io_setup, timer_create = {"x86_64": (206, 222), "aarch64": (0, 107)}[os.uname().machine]
class Event(ctypes.Structure):
    _fields_ = [("value", ctypes.c_void_p), ("number", ctypes.c_int), ("how", ctypes.c_int), ("rest", ctypes.c_char * 64)]
event, made, timers = Event(None, 34, 0), ctypes.c_int(), 0
while timers < 3000 and libc.syscall(timer_create, 1, ctypes.byref(event), ctypes.byref(made)) == 0:
    timers += 1
context = ctypes.c_ulong()
print(json.dumps({
    "asynchronous": libc.syscall(io_setup, 1, ctypes.byref(context)) == 0,
    "inotify": libc.inotify_init() >= 0,
    "timers": timers,
    "semaphores": JAILED and libc.semget(0, 1, 0o1600) >= 0,
    "messages": JAILED and libc.msgget(0, 0o1600) >= 0,
}))
"""


def greed(engine: Engine) -> dict[str, int]:
    execution = engine.run(f"JAILED = {engine.isolation.rung.value != 'none'}\n{GREEDY}")
    assert execution.outcome is Outcome.OK, execution.stderr
    found: dict[str, int] = json.loads(execution.text)
    return found


def test_a_program_gets_none_or_few(each_engine: Engine) -> None:
    found = greed(each_engine)
    if each_engine.isolation.rung.value == "none":
        assert found["asynchronous"] and found["inotify"] and found["timers"] > 1024
    else:
        assert not found["asynchronous"] and not found["inotify"] and found["timers"] <= 1024


@pytest.mark.timeout(60)
def test_kernel_memory_of_nobody_needs_a_cgroup(each_engine: Engine) -> None:
    """Semaphores and messages of System V: only where a memory cgroup counts them, and never at landlock."""
    if each_engine.isolation.rung.value == "none":
        pytest.skip("rung none: they would be the host's")
    allowed = each_engine.isolation.rung.value == "namespaces" and each_engine.isolation.memory_guard.value.startswith("cgroup")
    found = greed(each_engine)
    assert (bool(found["semaphores"]), bool(found["messages"])) == (allowed, allowed)


@pytest.mark.parametrize("field", ["cpu_s", "wall_s", "memory_bytes", "disk_bytes", "output_bytes", "processes"])
def test_limits_beyond_every_counter_are_no_limit(field: str, each_engine: Engine) -> None:
    assert each_engine.run("print(6 * 7)", limits=Limits(**{field: 1 << 70})).text == "42\n"


def test_statuses_that_do_not_fit_are_those_of_the_interpreter(each_engine: Engine) -> None:
    import subprocess

    for code in ("10**4000", "-(10**4000)", "1 << 40", "-3", "257", "True"):
        program = f"raise SystemExit({code})"
        plain = subprocess.run([sys.executable, "-I", "-c", program], timeout=20, env=dict(os.environ), check=False)
        execution = each_engine.run(program)
        assert execution.exit_code == plain.returncode, code
