"""Every way a program can end is told apart, on every rung."""

from __future__ import annotations

import pytest

from groundrun.engine import Engine
from groundrun.records import CpuSource, Limits, MemoryGuard, Outcome, Program, Rung

pytestmark = pytest.mark.exec

SMALL = Limits(cpu_s=1, wall_s=40, memory_bytes=128 << 20, output_bytes=100_000, disk_bytes=4 << 20)


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        ("print('fine')", Outcome.OK),
        ("import sys; sys.exit(0)", Outcome.OK),
        ("import sys; sys.exit(3)", Outcome.EXITED),
        ("import sys; sys.exit('words')", Outcome.EXITED),
        ("import os; os._exit(7)", Outcome.EXITED),
        ("1 / 0", Outcome.RAISED),
        ("def f(:", Outcome.RAISED),
        ("import os; os.abort()", Outcome.SIGNALLED),
        ("import ctypes; ctypes.string_at(0)", Outcome.SIGNALLED),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", Outcome.SIGNALLED),
        ("while True: pass", Outcome.CPU_LIMIT),
        ("import time; time.sleep(60)", Outcome.WALL_LIMIT),
        ("x = bytearray(1 << 30)", Outcome.MEMORY_LIMIT),
        ("x = []\nwhile True: x.append(bytearray(1 << 20))", Outcome.MEMORY_LIMIT),
        ("print('x' * 200_000)", Outcome.OUTPUT_LIMIT),
        ("import sys\nwhile True: sys.stderr.write('x' * 65536)", Outcome.OUTPUT_LIMIT),
        ("open('big', 'wb').write(bytes(8 << 20))", Outcome.DISK_LIMIT),
    ],
)
def test_each_ending_has_its_outcome(each_engine: Engine, source: str, outcome: Outcome) -> None:
    sleeps = outcome is Outcome.WALL_LIMIT
    cpu_s = 0.6 if outcome is Outcome.CPU_LIMIT else 3
    limits = Limits(cpu_s=cpu_s, wall_s=0.5 if sleeps else 40, memory_bytes=128 << 20, output_bytes=100_000, disk_bytes=4 << 20)
    assert each_engine.run(source, limits=limits).outcome is outcome


def test_signals_keep_their_numbers(each_engine: Engine) -> None:
    for number in (6, 14, 15):
        execution = each_engine.run(f"import os; os.kill(os.getpid(), {number})", limits=SMALL)
        assert (execution.outcome, execution.signal, execution.exit_code) == (Outcome.SIGNALLED, number, None)


def test_an_exception_is_cut_to_the_users_frames(each_engine: Engine) -> None:
    execution = each_engine.run("def f(n):\n    raise LookupError('missing', n)\n\nf(3)\n")
    info = execution.exception
    assert info is not None
    assert (info.type, info.message, info.line) == ("LookupError", "('missing', 3)", 2)
    assert info.traceback.count('File "') == 2
    assert "guest" not in info.traceback
    assert execution.stderr.decode() == info.traceback


def test_a_custom_exception_has_its_module_and_hostile_text_is_survived(each_engine: Engine) -> None:
    assert each_engine.run("import decimal; decimal.Decimal(1) / 0").exception.type == "decimal.DivisionByZero"  # type: ignore[union-attr]
    execution = each_engine.run("class E(Exception):\n    def __str__(self): raise self\nraise E")
    assert execution.outcome is Outcome.RAISED
    assert execution.exception is not None and execution.exception.type == "E"


def test_stdin_argv_and_files_go_in_and_files_come_out(each_engine: Engine) -> None:
    source = (
        "import sys, os\n"
        "print(sys.argv[1:], sys.stdin.read(), open('in/a.txt').read(), os.path.basename(__file__))\n"
        "os.makedirs('out'); open('out/b.bin', 'wb').write(bytes(range(256)))\n"
    )
    program = Program(source, files={"in/a.txt": b"content"})
    execution = each_engine.run(program, stdin=b"typed", argv=("x", "ü y"), collect=("out/b.bin", "absent"))
    assert execution.text == "['x', 'ü y'] typed content main.py\n"
    assert execution.files == {"out/b.bin": bytes(range(256))}


def test_output_keeps_head_and_tail(each_engine: Engine) -> None:
    execution = each_engine.run("print('H' * 5); print('x' * 500_000); print('T' * 5)", limits=SMALL)
    assert execution.truncated and execution.outcome is Outcome.OUTPUT_LIMIT
    assert len(execution.stdout) <= SMALL.output_bytes
    assert execution.stdout.startswith(b"HHHHH") and execution.stdout.endswith(b"TTTTT\n") and b"left out" in execution.stdout


def test_threads_exit_handlers_and_the_main_module_behave_as_in_a_script(each_engine: Engine) -> None:
    source = (
        "import atexit, threading, time, pickle\n"
        "class C: pass\n"
        "assert pickle.loads(pickle.dumps(C())).__class__ is C\n"
        "threading.Thread(target=lambda: (time.sleep(0.05), print('thread'))).start()\n"
        "atexit.register(print, 'atexit')\n"
        "print('main', __name__)\n"
    )
    execution = each_engine.run(source)
    assert execution.text == "main __main__\nthread\natexit\n"


def test_cost_is_measured_from_outside(each_engine: Engine) -> None:
    execution = each_engine.run("import time\nt = time.process_time()\nwhile time.process_time() - t < 0.2: pass\ntime.sleep(0.2)")
    assert 0.2 <= execution.cost.cpu_s < 0.9
    assert execution.cost.wall_s > 0.35
    assert execution.cost.cpu_source is each_engine.isolation.cpu_guard is not CpuSource.NOTHING


def test_isolation_is_stated(each_engine: Engine) -> None:
    isolation = each_engine.isolation
    if isolation.rung is Rung.NONE:
        assert any("isolation" in lack for lack in isolation.missing)
    if isolation.rung is Rung.LANDLOCK:
        assert any("disk" in lack for lack in isolation.missing)
    assert isolation.memory_guard is not MemoryGuard.NOTHING


def test_children_count_and_are_killed(each_engine: Engine) -> None:
    if each_engine.isolation.rung is Rung.NONE:
        pytest.skip("rung none: children are not bounded there")
    source = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "if os.fork() == 0:\n"
        "    try: os.setsid()\n"
        "    except PermissionError: pass\n"
        "    t = time.process_time()\n"
        "    while time.process_time() - t < 0.3: pass\n"
        "    open('done', 'w').close()\n"
        "    time.sleep(30)\n"
        "while not os.path.exists('done'): time.sleep(0.02)\n"
    )
    execution = each_engine.run(source, limits=Limits(processes=8, cpu_s=5))
    assert execution.outcome is Outcome.OK
    if execution.cost.cpu_source is CpuSource.CGROUP:
        assert execution.cost.cpu_s > 0.28
    alone = each_engine.run(source, limits=Limits(processes=1))
    assert alone.outcome is Outcome.PROCESS_LIMIT


def test_surrogates_and_nul_bytes_pass(each_engine: Engine) -> None:
    execution = each_engine.run("import sys\nsys.stdout.buffer.write(b'a\\x00\\xff')\nprint(ascii('\\udc80'))")
    assert execution.stdout == b"a\x00\xff'\\udc80'\n"
