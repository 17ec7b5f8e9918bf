"""Many calls in one process, on the real rungs: each call has an outcome of its own, whatever became of the others."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import pytest

from groundrun.engine import Arguments, Batch, CallLimits, Engine, OnCrash
from groundrun.engine.guest.transport import encode
from groundrun.errors import HostRefused, NoValue, UsageError
from groundrun.records import Limits, Outcome, Program, Rung

pytestmark = pytest.mark.exec

OK, RAISED, EXITED, SIGNALLED, NOT_RUN = Outcome.OK, Outcome.RAISED, Outcome.EXITED, Outcome.SIGNALLED, Outcome.NOT_RUN
PATIENT = CallLimits(cpu_s=20, wall_s=60)  # where no limit is meant to be met
MANY = Limits(cpu_s=60, wall_s=120)
FOR_EVER = "collections.deque(itertools.repeat(0), maxlen=0)"  # a loop in C, which no signal handler interrupts


@pytest.fixture(scope="module", params=["namespaces", "landlock"])
def jailed(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Engine(isolation=request.param, workers=1) as made:
        try:
            made.run("")
        except HostRefused as refusal:
            pytest.skip(f"rung {request.param}: {refusal}")
        yield made


def call(engine: Engine, source: str, *calls: Any, **more: Any) -> Batch:
    """`entry` called with each of `calls`; a call that is no tuple is its only argument."""
    program = Program("import collections, ctypes, itertools, os, signal, sys, time\n" + source, entry_point="entry")
    settings = {"limits": MANY, "call_limits": PATIENT, **more}
    return engine.call_many(program, [each if isinstance(each, (tuple, Arguments)) else (each,) for each in calls], **settings)


def outcomes(batch: Batch) -> list[Outcome]:
    return [each.outcome for each in batch.calls]


def values(batch: Batch) -> list[Any]:
    return [each.value() for each in batch.calls]


ECHO = "def entry(*args, **kwargs): return args[0] if args else kwargs"
WORTH = [
    None, True, 1, 0, -(2**31), 2**70, -0.0, math.inf, 1e-300, 2 + 1j, "", "é\ud800", b"\0", bytearray(b"x"), [], [1, "a"], [[1], [2]],
    {"a": 1, 2: [3]}, (1, [2.5]), {1, 2}, frozenset({3}), range(3), Counter("aab"), OrderedDict(a=1), deque([1], maxlen=3),
    Decimal("1.10"), Fraction(1, 3), datetime(2024, 2, 29), timedelta(1), ...,
]  # fmt: skip


def test_values_come_back_exactly(each_engine: Engine) -> None:
    batch = call(each_engine, ECHO, *[(value,) for value in WORTH])
    assert outcomes(batch) == [OK] * len(WORTH)
    for value, got in zip(WORTH, values(batch), strict=True):
        assert type(got) is type(value)
        assert got == value
        assert encode(got) == encode(value)
    assert (batch.restarts, batch.isolation) == (0, each_engine.isolation)


def test_a_nan_stays_one_and_defaults_keep_their_factory(jailed: Engine) -> None:
    number, table = values(call(jailed, ECHO, (math.nan,), (defaultdict(list, a=[1]),)))
    assert math.isnan(number)
    assert table["b"] == [] and table["a"] == [1]


def test_arguments_by_name_and_shared_ones(jailed: Engine) -> None:
    shared = [1]
    source = "def entry(a, b, *, c=None): return a is b, c"
    batch = call(jailed, source, (shared, shared), Arguments((shared, [1]), {"c": "x"}), Arguments((1,), {"a": 2}), (1,))
    assert values_of(batch, 0, 1) == [(True, None), (False, "x")]
    assert outcomes(batch)[2:] == [RAISED, RAISED]
    assert batch.calls[2].exception is not None and batch.calls[2].exception.type == "TypeError"


def values_of(batch: Batch, *numbers: int) -> list[Any]:
    return [batch.calls[number].value() for number in numbers]


def test_each_call_gets_copies_and_globals_stay(jailed: Engine) -> None:
    source = "seen = []\ndef entry(xs):\n    xs.append(0)\n    seen.append(len(xs))\n    return xs, list(seen)"
    given = [7]
    assert values(call(jailed, source, (given,), (given,), (given,))) == [([7, 0], [2] * times) for times in (1, 2, 3)]
    assert given == [7]


def test_exceptions_tell_what_they_were(each_engine: Engine) -> None:
    source = """
class Own(ValueError):
    def __str__(self): return "own \\ud800"
class Bad(Exception):
    def __str__(self): raise KeyError
class Worse(Exception):
    def __str__(self): raise SystemExit
def entry(n):
    if n == 0: raise Own
    if n == 1: raise OSError(28, "full")
    if n == 2: raise Bad
    if n == 3: raise Worse
    if n == 4: raise MemoryError
    if n == 5: sys.exit("bye")
    if n == 6: raise KeyboardInterrupt
    if n == 7: return object()
    if n == 8: raise RecursionError("x" * 100_000)
    return "after"
"""
    batch = call(each_engine, source, *range(10))
    expected = [RAISED, Outcome.DISK_LIMIT, RAISED, RAISED, Outcome.MEMORY_LIMIT, EXITED, RAISED, RAISED, RAISED, OK]
    assert outcomes(batch) == expected
    told = [each.exception for each in batch.calls[:9]]
    names = ["Own", "OSError", "Bad", "Exception", "MemoryError", "SystemExit", "KeyboardInterrupt", "EncodeError", "RecursionError"]
    assert [each.type if each else None for each in told] == names
    assert [each.message if each else None for each in told[:3]] == ["own ?", "[Errno 28] full", "(its text raised KeyError)"]
    assert told[0] is not None and told[0].line == 10
    assert told[8] is not None and len(told[8].message) == 10_000
    assert batch.restarts == 0
    with pytest.raises(NoValue, match="Own"):
        batch.calls[0].value()


def test_output_belongs_to_its_call(each_engine: Engine) -> None:
    source = "print('loading')\ndef entry(n):\n    print('call', n)\n    os.write(1, b'raw')\n    print('to err', file=sys.stderr)"
    batch = call(each_engine, source, 1, 2)
    assert [each.stdout for each in batch.calls] == [b"call 1\n", b"call 2\n"]
    assert batch.stdout == b"loading\nrawraw"
    assert batch.stderr == b"to err\n" * 2


def test_a_flood_of_output_is_cut(jailed: Engine) -> None:
    source = "def entry(n):\n    for _ in range(n): print('x' * 99)\n    return n"
    batch = call(jailed, source, 1, 50_000, 10, limits=Limits(cpu_s=60, wall_s=120, output_bytes=5000))
    assert outcomes(batch) == [OK, Outcome.OUTPUT_LIMIT, OK]
    assert [len(each.stdout) for each in batch.calls] == [100, 5000, 1000]
    assert batch.restarts == 0


CRASHES = {
    "os.kill(os.getpid(), 9)": (SIGNALLED, None, 9),
    "ctypes.string_at(0)": (SIGNALLED, None, 11),
    "os._exit(3)": (EXITED, 3, None),
    "os._exit(0)": (EXITED, 0, None),
    "os.abort()": (SIGNALLED, None, 6),
}
SEVENTH = "seen = []\ndef entry(n):\n    seen.append(n)\n    if n == 7: {crash}\n    return list(seen)"


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_hides_nothing_but_itself(each_engine: Engine, crash: str) -> None:
    batch = call(each_engine, SEVENTH.format(crash=crash), *range(1, 11), on_crash=OnCrash.RESTART)
    assert outcomes(batch) == [OK] * 6 + [CRASHES[crash][0]] + [OK] * 3
    assert values_of(batch, 5, 7, 9) == [[1, 2, 3, 4, 5, 6], [8], [8, 9, 10]]
    assert (batch.calls[6].exit_code, batch.calls[6].signal) == CRASHES[crash][1:]
    assert batch.restarts == 1


def test_a_crash_can_end_the_batch(each_engine: Engine) -> None:
    batch = call(each_engine, SEVENTH.format(crash="os.abort()"), *range(1, 11), on_crash="stop")
    assert outcomes(batch) == [OK] * 6 + [SIGNALLED] + [NOT_RUN] * 3
    assert batch.restarts == 0
    with pytest.raises(NoValue, match="not_run"):
        batch.calls[9].value()


def test_every_call_may_crash(jailed: Engine) -> None:
    batch = call(jailed, "def entry(n): os._exit(n)", *range(5))
    assert [each.exit_code for each in batch.calls] == list(range(5))
    assert batch.restarts == 4


SOFT = CallLimits(cpu_s=0.3, wall_s=20)


def test_a_call_that_heeds_its_limit_leaves_the_process_alive(each_engine: Engine) -> None:
    source = """
seen = []
def spin():
    while True: pass
def slow():
    while True: yield sum(range(1000))
def entry(n):
    seen.append(n)
    if n == 2:
        while True: pass
    if n == 3:
        try: spin()
        except BaseException: return "swallowed"
    if n == 4: return slow()
    return list(seen)
"""
    batch = call(each_engine, source, *range(1, 6), call_limits=SOFT)
    assert outcomes(batch) == [OK, Outcome.CPU_LIMIT, Outcome.CPU_LIMIT, Outcome.CPU_LIMIT, OK]
    assert batch.calls[4].value() == [1, 2, 3, 4, 5]
    assert all(each.cpu_s >= 0.3 for each in batch.calls[1:4])
    assert batch.restarts == 0


def test_sleeping_counts_on_the_wall(each_engine: Engine) -> None:
    batch = call(each_engine, "def entry(n):\n    time.sleep(n)\n    return n", 60, 0, call_limits=CallLimits(cpu_s=20, wall_s=0.3))
    assert outcomes(batch) == [Outcome.WALL_LIMIT, OK]
    assert batch.restarts == 0


HEEDLESS = {
    "in C": FOR_EVER,
    "swallowing": f"try: spin()\n        finally: {FOR_EVER}",
    "deaf": "signal.signal(signal.SIGALRM, signal.SIG_IGN)\n        while True: pass",
    "without timer": "signal.setitimer(signal.ITIMER_REAL, 0)\n        while True: pass",
}


@pytest.mark.parametrize("way", HEEDLESS)
def test_a_call_that_does_not_is_ended_by_the_kernel(jailed: Engine, way: str) -> None:
    spin = "def spin():\n    while True: pass\n"
    source = f"{spin}seen = []\ndef entry(n):\n    seen.append(n)\n    if n == 2:\n        {HEEDLESS[way]}\n    return list(seen)"
    batch = call(jailed, source, 1, 2, 3, 4, call_limits=SOFT)
    assert outcomes(batch) == [OK, Outcome.CPU_LIMIT, OK, OK]
    assert values_of(batch, 0, 2, 3) == [[1], [3], [3, 4]]
    assert batch.calls[1].signal == 9
    assert 0.3 <= batch.cost.cpu_s < MANY.cpu_s / 2
    assert call(jailed, source, 1, 2, 3, call_limits=SOFT, on_crash="stop").calls[2].outcome is NOT_RUN


def test_the_timer_comes_back_to_the_call_after_one_that_took_it(each_engine: Engine) -> None:
    source = """
def entry(n):
    if n == 1:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        time.sleep(0.4)
    if n == 2:
        while True: pass
    return n
"""
    batch = call(each_engine, source, 1, 2, 3, call_limits=SOFT)
    assert (outcomes(batch), batch.restarts) == ([OK, Outcome.CPU_LIMIT, OK], 0)


def test_short_calls_together_may_take_longer_than_one(jailed: Engine) -> None:
    source = "def entry(n):\n    end = time.process_time() + 0.1\n    while time.process_time() < end: pass\n    return n"
    batch = call(jailed, source, *range(12), call_limits=CallLimits(cpu_s=0.4, wall_s=20))
    assert (outcomes(batch), batch.restarts) == ([OK] * 12, 0)


def test_the_batch_has_limits_of_its_own(each_engine: Engine) -> None:
    spin = f"def entry(n):\n    if n: {FOR_EVER}\n    return n"
    batch = call(each_engine, spin, 0, 1, 0, 0, limits=Limits(cpu_s=0.5, wall_s=60))
    assert outcomes(batch) == [OK, Outcome.CPU_LIMIT, NOT_RUN, NOT_RUN]
    batch = call(each_engine, "def entry(n): time.sleep(n)", 0, 60, 0, limits=Limits(cpu_s=30, wall_s=0.7))
    assert outcomes(batch) == [OK, Outcome.WALL_LIMIT, NOT_RUN]


def test_all_processes_of_a_batch_share_its_limit(jailed: Engine) -> None:
    source = f"def entry(n): {FOR_EVER}"
    batch = call(jailed, source, *range(50), call_limits=CallLimits(cpu_s=0.2, wall_s=60), limits=Limits(cpu_s=1, wall_s=60))
    found = outcomes(batch)
    assert found[0] is Outcome.CPU_LIMIT
    assert found[-1] is NOT_RUN
    assert 1 <= batch.restarts < 10
    assert batch.cost.cpu_s < 3


def test_memory_of_one_call(jailed: Engine) -> None:
    source = (
        "def entry(n):\n    held = bytearray(n << 20)\n    for at in range(0, len(held), 4096): held[at] = 1\n    return len(held) >> 20"
    )
    batch = call(jailed, source, 1, 4000, 2, limits=Limits(cpu_s=60, wall_s=120, memory_bytes=128 << 20))
    assert outcomes(batch) == [OK, Outcome.MEMORY_LIMIT, OK]
    assert values_of(batch, 0, 2) == [1, 2]


def test_large_values(jailed: Engine) -> None:
    batch = call(jailed, "def entry(n): return b'x' * (n << 20)", 1, 3, 40, 0, 25, 25, 25, 1)
    assert outcomes(batch) == [OK, OK, Outcome.OUTPUT_LIMIT, OK, OK, OK, Outcome.OUTPUT_LIMIT, OK]
    assert [len(batch.calls[number].value()) >> 20 for number in (0, 1, 3, 4, 5, 7)] == [1, 3, 0, 25, 25, 1]
    assert batch.restarts == 0


def test_a_generator_crosses_unless_it_never_ends(each_engine: Engine) -> None:
    batch = call(each_engine, "def entry(n): return (i * i for i in (range(n) if n else itertools.count()))", 4, 0, 2)
    assert outcomes(batch) == [OK, Outcome.OUTPUT_LIMIT, OK]
    assert [list(value) for value in values_of(batch, 0, 2)] == [[0, 1, 4, 9], [0, 1]]


LOADS = {
    "def entry(:": (RAISED, "SyntaxError"),
    "raise ValueError('no')": (RAISED, "ValueError"),
    "entrance = 1": (RAISED, "NameError"),
    "os._exit(0)": (EXITED, "SystemExit"),
    "sys.exit(4)": (EXITED, None),
    "os.abort()": (SIGNALLED, None),
    "while True: pass": (Outcome.CPU_LIMIT, None),
}


@pytest.mark.parametrize("source", LOADS)
def test_a_source_that_fails_fails_every_call_once(jailed: Engine, source: str) -> None:
    batch = call(jailed, f"print('loading', flush=True)\n{source}", 1, 2, 3, call_limits=CallLimits(cpu_s=0.2, wall_s=20, load_s=0.3))
    outcome, name = LOADS[source]
    assert outcomes(batch) == [outcome] * 3
    assert [each.exception and each.exception.type for each in batch.calls] == [name] * 3
    assert batch.restarts == 0
    assert batch.stdout.count(b"loading") <= 1


def test_no_calls(jailed: Engine) -> None:
    batch = call(jailed, "raise ValueError")
    assert batch == Batch(calls=())


def test_a_child_does_not_answer(jailed: Engine) -> None:
    source = "def entry(n):\n    pid = os.fork()\n    return (n, os.waitpid(pid, 0)[1]) if pid else 'the child'"
    batch = call(jailed, source, 1, 2, limits=Limits(cpu_s=60, wall_s=120, processes=8))
    assert values(batch) == [(1, 0), (2, 0)]


def test_threads_and_exit_handlers_have_no_last_word(jailed: Engine) -> None:
    source = """
import atexit, threading
atexit.register(lambda: os._exit(9))
def entry(n):
    threading.Thread(target=time.sleep, args=(60,)).start()
    return n
"""
    batch = call(jailed, source, 1, 2)
    assert (values(batch), batch.restarts) == ([1, 2], 0)


def test_descriptors_may_be_closed(each_engine: Engine) -> None:
    batch = call(each_engine, "def entry(n):\n    os.closerange(0, 64)\n    return n", 1, 2, 3)
    assert (values(batch), batch.restarts) == ([1, 2, 3], 0)


FORGE = """
import struct
def entry(n):
    if n != 2: return n
    frame = sys._getframe(1)
    ledger = frame.f_locals["self"]._ledger
    window, state, at = ledger._window, ledger._state, ledger._used
    {deed}
"""
FORGERIES = {
    "a stage that is none": "struct.pack_into('<QQ', state, 0, 2**64 - 1, 2**64 - 1); os._exit(0)",
    "entries of another number": (
        "window[at:at + 24] = struct.pack('<IIIId', 7, 0, 0, 0, 0); struct.pack_into('<QQ', state, 0, 3, at + 24); os._exit(0)"
    ),
    "sizes that are none": (
        "window[at:at + 24] = struct.pack('<IIIId', 1, 0, 2**32 - 1, 9, 0); struct.pack_into('<QQ', state, 0, 3, at + 24); os._exit(0)"
    ),
    "an exception that is none": (
        "window[at:at + 24] = struct.pack('<IIIId', 1, 1, 0, 0, 0); struct.pack_into('<QQ', state, 0, 3, at + 24); os._exit(0)"
    ),
    "time that is none": (
        "window[at:at + 24] = struct.pack('<IIIId', 1, 0, 0, 0, float('nan')); struct.pack_into('<QQ', state, 0, 3, at + 24); os._exit(0)"
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_junk_in_the_ledger_is_the_call_that_failed(jailed: Engine, forgery: str) -> None:
    batch = call(jailed, FORGE.format(deed=FORGERIES[forgery]), 1, 2, 3)
    assert outcomes(batch) == [OK, RAISED, OK]
    assert batch.calls[1].exception is not None and batch.calls[1].exception.type == "GarbledAnswer"
    assert values_of(batch, 0, 2) == [1, 3]


def test_a_value_that_is_none_is_refused_when_it_is_read(jailed: Engine) -> None:
    junk = "window[at:at + 28] = struct.pack('<IIIId', 1, 0, 4, 0, 0) + b'junk'; struct.pack_into('<QQ', state, 0, 3, at + 28); os._exit(0)"
    batch = call(jailed, FORGE.format(deed=junk), 1, 2, 3)
    assert outcomes(batch) == [OK, OK, EXITED]  # its own answer, and it may forge that; then it is gone
    with pytest.raises(NoValue, match="can't be read"):
        batch.calls[1].value()


def test_the_ledger_can_not_be_made_smaller(jailed: Engine) -> None:
    source = """
def entry(n):
    ledger = sys._getframe(1).f_locals["self"]._ledger
    for size in (0, 1 << 40):
        try: os.ftruncate(ledger._descriptor, size)
        except OSError: n += 1
    return n
"""
    assert values(call(jailed, source, 0)) == [2]


def test_pretended_progress_gains_no_more_than_the_batch_has(jailed: Engine) -> None:
    deed = "\n    ".join(
        ("for stage in itertools.count(3):", "    struct.pack_into('<QQ', state, 0, stage % 90, at)", "    sum(range(1000))")
    )
    batch = call(jailed, FORGE.format(deed=deed), *range(1, 100), call_limits=SOFT, limits=Limits(cpu_s=2, wall_s=60))
    assert outcomes(batch)[0] is OK
    assert batch.calls[1].outcome is Outcome.CPU_LIMIT
    assert batch.cost.cpu_s < 6


def test_what_can_not_be_asked(jailed: Engine) -> None:
    class Number(IntEnum):
        ONE = 1

    with pytest.raises(UsageError, match="call 1 can't cross"):
        call(jailed, ECHO, 1, object())
    with pytest.raises(UsageError, match="call 0 can't cross"):
        call(jailed, ECHO, Number.ONE)
    with pytest.raises(UsageError, match="call 0 is a list"):
        jailed.call_many(Program(ECHO, entry_point="entry"), [[1]])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="entry_point"):
        jailed.call_many(Program(ECHO), [(1,)])
    with pytest.raises(UsageError, match="relative path"):
        jailed.call_many(Program(ECHO, files={"../x": b""}, entry_point="entry"), [(1,)])
    with pytest.raises(ValueError, match="often"):
        call(jailed, ECHO, 1, on_crash="often")
    with pytest.raises(ValueError, match=r"CallLimits\.cpu_s"):
        CallLimits(cpu_s=0)


def test_it_can_be_awaited(jailed: Engine) -> None:
    async def gather() -> list[Batch]:
        program = Program("import os\ndef entry(n):\n    if n == 2: os._exit(1)\n    return n", entry_point="entry")
        return await asyncio.gather(*[jailed.acall_many(program, [(1,), (2,), (3,)], call_limits=PATIENT) for _ in range(3)])

    for batch in asyncio.run(gather()):
        assert outcomes(batch) == [OK, EXITED, OK]


def test_cancelling_ends_it(jailed: Engine) -> None:
    async def cancel() -> None:
        program = Program("import time\ndef entry(n): time.sleep(n)", entry_point="entry")
        await asyncio.wait_for(jailed.acall_many(program, [(60,), (60,)], limits=MANY, call_limits=PATIENT), 0.5)

    with pytest.raises(TimeoutError):
        asyncio.run(cancel())
    assert jailed.run("print(1)").text == "1\n"


def test_many_calls_and_a_rung(jailed: Engine) -> None:
    batch = call(jailed, ECHO, *range(3000))
    assert values(batch) == list(range(3000))
    assert batch.isolation is not None and batch.isolation.rung in (Rung.NAMESPACES, Rung.LANDLOCK)
