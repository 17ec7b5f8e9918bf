"""Attacks on being counted and being ended: bombs, daemons, and processor time that nobody sees.

Bombs stop by themselves after a few hundred processes, chains after a few thousand, guarded or not, and none runs on rung `none`.
"""

from __future__ import annotations

import msgspec

from groundrun.attacks.attack import SMALL, Aftermath, Attack, Family
from groundrun.attacks.guards import Guard
from groundrun.records import Outcome

_FEW = msgspec.structs.replace(SMALL, processes=16)
_SHORT = msgspec.structs.replace(SMALL, wall_s=1.0)
_BRIEF = msgspec.structs.replace(SMALL, cpu_s=0.5, wall_s=5.0)
_DEFAULT_MOST = 64
_OURS = 9  # of the engine's processes, which an rlimit counts with the program's
_LOOKS = 40


def _few(aftermath: Aftermath) -> list[str]:
    started = aftermath.number("started")
    return [f"{started} at once where 16 are allowed"] if started > 16 + _OURS else []


def _default(aftermath: Aftermath) -> list[str]:
    return [f"{aftermath.number('started')} at once"] if aftermath.number("started") > _DEFAULT_MOST else []


def _wall(aftermath: Aftermath) -> list[str]:
    outcome = aftermath.execution.outcome
    return [] if outcome is Outcome.WALL_LIMIT else [f"it ended as {outcome.value}"]


def _cpu(aftermath: Aftermath) -> list[str]:
    outcome = aftermath.execution.outcome
    return [] if outcome is Outcome.CPU_LIMIT else [f"it ended as {outcome.value}"]


def _reborn(aftermath: Aftermath) -> list[str]:
    """Short lives are missed by a single look: many looks find one of them."""
    seen = any(aftermath.scene.strays() for _ in range(_LOOKS))
    return ["its descendants are still being born"] if seen else []


def _hidden_cpu(aftermath: Aftermath) -> list[str]:
    execution, burnt = aftermath.execution, aftermath.number("burnt_ms") / 1000
    if execution.outcome in (Outcome.CPU_LIMIT, Outcome.PROCESS_LIMIT) or execution.cost.cpu_s >= 0.8 * burnt:
        return []
    return [f"{burnt:.1f} s of processor time were counted as {execution.cost.cpu_s:.3f}"]


_BURN = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def burn(seconds):
    before = time.process_time()
    while time.process_time() - before < seconds:
        pass
reading, writing = os.pipe()
if os.fork() == 0:
    burn(1.5)
    os.write(writing, b"1500")
    os._exit(0)
os.close(writing)
while True:
    told = os.read(reading, 100)
    if told:
        say(burnt_ms=int(told))
    break
time.sleep(0.2)
"""

ATTACKS = (
    Attack(
        name="fork_bomb",
        family=Family.PROCESSES,
        tries="Start hundreds of processes where 16 were asked for.",
        guards=(Guard.CGROUP_PIDS, Guard.RLIMIT_NPROC),
        inspect=_few,
        soft=("process",),
        limits=_FEW,
        source="""
started = 1
for _ in range(200):
    try:
        if os.fork() == 0:
            time.sleep(5)
            os._exit(0)
    except OSError:
        break
    started += 1
say(started=started)
""",
    ),
    Attack(
        name="fork_by_default",
        family=Family.PROCESSES,
        tries="Start hundreds of processes without having asked for any.",
        guards=(Guard.REFUSED_FORK, Guard.CGROUP_PIDS),
        at_landlock=(Guard.REFUSED_FORK,),
        inspect=_default,
        source="""
started = 1
for _ in range(200):
    try:
        if os.fork() == 0:
            time.sleep(5)
            os._exit(0)
    except OSError:
        break
    started += 1
say(started=started)
""",
    ),
    Attack(
        name="thread_bomb",
        family=Family.PROCESSES,
        tries="Start hundreds of threads where 16 were asked for.",
        guards=(Guard.CGROUP_PIDS, Guard.RLIMIT_NPROC),
        inspect=_few,
        soft=("process",),
        limits=_FEW,
        source="""
import threading
threading.stack_size(65536)
started = 1
for _ in range(200):
    try:
        threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
    except RuntimeError:
        break
    started += 1
say(started=started)
os._exit(0)
""",
    ),
    Attack(
        name="daemon",
        family=Family.PROCESSES,
        tries="Outlive the run as a daemon with its own session that ignores every signal.",
        guards=(Guard.PID_NAMESPACE,),
        at_landlock=(Guard.REFUSED_SESSIONS, Guard.FAMILY_HUNT),
        limits=_FEW,
        unguarded=True,
        source="""
import signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        libc.prctl(1, 0)
        time.sleep(20)
    os._exit(0)
time.sleep(0.2)
""",
    ),
    Attack(
        name="stray",
        family=Family.PROCESSES,
        tries="Outlive the run as a child that stays where it is and ignores every signal.",
        guards=(Guard.PID_NAMESPACE,),
        at_landlock=(Guard.GROUP_KILL, Guard.FAMILY_HUNT),
        limits=_FEW,
        source="""
import signal
if os.fork() == 0:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    libc.prctl(1, 0)
    time.sleep(20)
    os._exit(0)
time.sleep(0.1)
""",
    ),
    Attack(
        name="phoenix",
        family=Family.PROCESSES,
        tries="Outlive the run as a chain of processes, each of which lives for less than a millisecond, so that none can be caught.",
        guards=(Guard.PID_NAMESPACE,),
        inspect=_reborn,
        limits=msgspec.structs.replace(SMALL, processes=4096),  # so that only the hunt can end the chain
        machine="x86_64",
        source="""
import mmap
page = mmap.mmap(-1, 4096, prot=7)
place = ctypes.addressof(ctypes.c_char.from_buffer(page))
code = bytes.fromhex(
    "41bcdc050000"      # mov r12d, 1500: generations; then it ends by itself, far below any table of processes
    "41ffcc7425"        # again: dec r12d; jz end
    "48bf" + (place + 2048).to_bytes(8, "little").hex() +  # mov rdi, the time to sleep
    "31f6"              # xor esi, esi
    "b8230000000f05"    # mov eax, 35 (nanosleep); syscall
    "b838000000"        # mov eax, 56 (clone)
    "bf11010000"        # mov edi, CLONE_VM | SIGCHLD
    "31f6"              # xor esi, esi
    "0f05"              # syscall
    "85c0"              # test eax, eax
    "74d6"              # the child: again
    "31ffb83c000000"    # end: xor edi, edi; mov eax, 60 (exit)
    "0f05"
)
page.write(code)
page.seek(2048)
page.write((0).to_bytes(8, "little") + (300_000).to_bytes(8, "little"))
run = ctypes.CFUNCTYPE(ctypes.c_int)(place)
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        run()
time.sleep(0.1)
""",
    ),
    Attack(
        name="ignore_signals",
        family=Family.PROCESSES,
        tries="Ignore every signal and loop.",
        guards=(Guard.PROCESSOR_CLOCK, Guard.RLIMIT_CPU),
        inspect=_cpu,
        limits=_BRIEF,
        source="""
import signal
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
while True:
    pass
""",
    ),
    Attack(
        name="sleep",
        family=Family.PROCESSES,
        tries="Use no processor time at all and never end.",
        guards=(Guard.WALL_CLOCK,),
        inspect=_wall,
        limits=_SHORT,
        source="import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))\nwhile True:\n    time.sleep(60)\n",
    ),
    Attack(
        name="stop_itself",
        family=Family.PROCESSES,
        tries="Stop itself, so that whoever waits for its end waits for ever.",
        guards=(Guard.WALL_CLOCK,),
        inspect=_wall,
        limits=_SHORT,
        source="import signal\nos.kill(os.getpid(), signal.SIGSTOP)\n",
    ),
    Attack(
        name="hide_processor_time",
        family=Family.PROCESSES,
        tries="Burn processor time in a child that nobody waits for, where processes were asked for.",
        guards=(Guard.CGROUP_CPU,),
        inspect=_hidden_cpu,
        soft=("processor time of children",),
        limits=msgspec.structs.replace(_BRIEF, processes=4),
        unguarded=True,
        source=_BURN,
    ),
    Attack(
        name="hide_processor_time_by_default",
        family=Family.PROCESSES,
        tries="Burn processor time in a child that nobody waits for, without having asked for processes.",
        guards=(Guard.CGROUP_CPU, Guard.REFUSED_FORK),
        inspect=_hidden_cpu,
        limits=_BRIEF,
        source=_BURN,
    ),
)
