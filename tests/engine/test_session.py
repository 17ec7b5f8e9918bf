"""Sessions on the real rungs: state, output, limits, files, and cells that do what they can to their own session."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from groundrun.engine import Cell, Engine, Session
from groundrun.errors import EngineClosed, FileRefused, HostRefused, SessionEnded, UsageError
from groundrun.records import CpuSource, Limits, Outcome, Rung

pytestmark = [pytest.mark.exec, pytest.mark.timeout(120)]

LIMITS = Limits(cpu_s=20, wall_s=40, processes=24, disk_bytes=8 << 20, memory_bytes=256 << 20)
NOT_FORKING = Limits(cpu_s=20, wall_s=40, processes=1)


@pytest.fixture(scope="module", params=["namespaces", "landlock"])
def jailed(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Engine(isolation=request.param, workers=1) as made:
        try:
            made.run("")
        except HostRefused as refusal:
            pytest.skip(f"rung {request.param}: {refusal}")
        yield made


@pytest.fixture(params=[LIMITS, NOT_FORKING], ids=["forking", "not-forking"])
def session(jailed: Engine, request: pytest.FixtureRequest) -> Iterator[Session]:
    with jailed.session(limits=request.param) as made:
        yield made


def value(session: Session, source: str) -> str | None:
    cell = session.run(source)
    assert cell.outcome is Outcome.OK, cell
    return cell.value


def assert_ended(session: Session, cell: Cell) -> None:
    assert cell.ended and not session.alive
    with pytest.raises(SessionEnded):
        session.run("1")


def test_state_is_kept_and_the_last_expression_is_the_value(session: Session) -> None:
    assert value(session, "import math\ndef twice(x):\n    return 2 * x\nx = 21") is None
    assert value(session, "y = 0\ntwice(x)") == "42"
    assert value(session, "None") is None
    assert value(session, "") is None
    assert value(session, "'\\ud800', __name__") == "('\\ud800', '__main__')"
    assert value(session, "from __future__ import annotations") is None
    assert value(session, "def f(a: nothing): ...\nf.__annotations__") == "{'a': 'nothing'}"


def test_the_cell_tells_what_was_raised_and_the_session_goes_on(session: Session) -> None:
    session.run("def f():\n    return 1 / 0")
    cell = session.run("z = 5\nf()")
    assert cell.outcome is Outcome.RAISED and not cell.ended and cell.value is None
    assert cell.exception is not None
    assert (cell.exception.type, cell.exception.message, cell.exception.line) == ("ZeroDivisionError", "division by zero", 2)
    assert 'File "<cell 1>", line 2, in f\n    return 1 / 0' in cell.exception.traceback
    assert "session.py" not in cell.exception.traceback
    cell = session.run("a = 1\ndef (:")
    assert cell.exception is not None and (cell.exception.type, cell.exception.line) == ("SyntaxError", 2)
    cell = session.run("class Bad(Exception):\n    def __str__(self): raise self\n    __repr__ = __str__\nraise Bad")
    assert cell.exception is not None and cell.exception.type == "Bad"
    cell = session.run("class R:\n    def __repr__(self): return 1 / 0\nR()")
    assert cell.exception is not None and cell.exception.type == "ZeroDivisionError"
    assert value(session, "z") == "5"


def test_output_belongs_to_its_cell(session: Session) -> None:
    cell = session.run("import os, sys\nprint('one')\nprint('two', file=sys.stderr)\nos.write(1, b'three')")
    assert (cell.stdout, cell.stderr, cell.value) == (b"one\nthree", b"two\n", "5") or cell.stdout == b"threeone\n"
    assert (session.run("4").stdout, session.run("print('five')").text) == (b"", "five\n")
    flood = session.run("print('x' * 3_000_000)", output_bytes=1000)
    assert flood.outcome is Outcome.OUTPUT_LIMIT and flood.truncated and len(flood.stdout) <= 1000
    assert session.run("print(6)").stdout == b"6\n"
    assert len(session.run("'y' * 10_000_000").value or "") == 65_536


def test_exit_ends_the_cell_and_not_the_session(session: Session) -> None:
    cell = session.run("w = 1\nraise SystemExit(3)")
    assert (cell.outcome, cell.exit_code, cell.ended) == (Outcome.EXITED, 3, False)
    cell = session.run("import sys\nsys.exit()")
    assert (cell.outcome, cell.exit_code, cell.ended) == (Outcome.EXITED, 0, False)
    assert value(session, "w") == "1"


def test_cost_is_the_kernels(session: Session) -> None:
    idle = session.run("pass")
    busy = session.run("import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass")
    assert busy.cost.cpu_source is not CpuSource.NOTHING
    assert busy.cost.cpu_s > idle.cost.cpu_s and busy.cost.cpu_s > 0.2 and busy.cost.wall_s > 0.2
    assert session.isolation == busy.isolation


def test_a_limit_of_processor_time_leaves_the_state(session: Session) -> None:
    session.run("n = 0")
    cell = session.run("while True: n += 1", cpu_s=0.2)
    assert cell.outcome is Outcome.CPU_LIMIT and not cell.ended
    assert cell.exception is not None and cell.exception.type == "CpuLimitReached"
    assert value(session, "n > 1000") == "True"
    swallowed = session.run("class D:\n    def __del__(self):\n        while True: pass\ndel D.__init__\n", cpu_s=0.2)
    assert swallowed.outcome is Outcome.RAISED
    lost_once = session.run("class D:\n    def __del__(self):\n        while True: pass\nd = D()\ndel d\nwhile True: pass", cpu_s=0.2)
    assert lost_once.outcome is Outcome.CPU_LIMIT and not lost_once.ended


def test_a_limit_of_wall_time_leaves_the_state(session: Session) -> None:
    cell = session.run("import time\nm = 7\ntime.sleep(60)", wall_s=0.2)
    assert cell.outcome is Outcome.WALL_LIMIT and not cell.ended
    assert value(session, "m") == "7"


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        ("import signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\nwhile True: pass", Outcome.CPU_LIMIT),
        (
            "while True:\n    for _ in range(1_000_000):\n        try: sum(range(10_000))\n        except BaseException: pass",
            Outcome.CPU_LIMIT,
        ),
        ("import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(1)", Outcome.WALL_LIMIT),
    ],
)
def test_a_cell_that_ignores_its_limit_is_ended_by_the_kernel(session: Session, source: str, outcome: Outcome) -> None:
    cpu_s, wall_s = (0.2, None) if outcome is Outcome.CPU_LIMIT else (None, 0.2)
    cell = session.run(f"print('before', flush=True)\n{source}", cpu_s=cpu_s, wall_s=wall_s)
    assert (cell.outcome, cell.stdout) == (outcome, b"before\n")
    assert_ended(session, cell)


def test_an_interrupt_ends_the_cell(session: Session) -> None:
    assert not session.interrupt()
    done: list[Cell] = []
    runner = threading.Thread(target=lambda: done.append(session.run("k = 1\nimport time\ntime.sleep(60)")))
    runner.start()
    while not session.interrupt():
        time.sleep(0.01)
    runner.join(30)
    assert done[0].outcome is Outcome.CANCELLED and not done[0].ended
    assert value(session, "2") == "2"
    caught = session.run("try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt: 'mine'\nraise KeyboardInterrupt")
    assert caught.outcome is Outcome.RAISED


def test_asyncio_awaits_and_cancels(jailed: Engine) -> None:
    async def check() -> None:
        async with await jailed.asession(limits=LIMITS) as session:
            assert (await session.arun("6 * 7")).value == "42"
            task = asyncio.create_task(session.arun("import time\ntime.sleep(60)"))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with await session.abranch() as branch:
                assert (await branch.arun("8")).value == "8"

    asyncio.run(check())


def test_too_much_memory_is_a_limit_and_the_session_goes_on(jailed: Engine) -> None:
    with jailed.session(limits=LIMITS) as session:
        cell = session.run("x = 1\ny = bytearray(1 << 30)")
        assert cell.outcome is Outcome.MEMORY_LIMIT and not cell.ended
        assert value(session, "x") == "1"


def test_memory_of_several_processes_is_one_sum_where_a_cgroup_bounds_it(jailed: Engine) -> None:
    with jailed.session(limits=LIMITS) as session:
        if "cgroup" not in session.isolation.memory_guard.value:
            pytest.skip("no memory cgroup is delegated here")
        hog = "import os\nfor _ in range(4):\n    if os.fork() == 0:\n        x = bytearray(100 << 20)\n        x[::4096] = x[::4096]\n"
        cell = session.run(f"{hog}        import time; time.sleep(2)\n        os._exit(0)\n[os.wait() for _ in range(4)]")
        assert cell.outcome is Outcome.MEMORY_LIMIT


def test_files_go_in_and_out(session: Session) -> None:
    data = os.urandom(5_000_000)
    session.write_files({"a.txt": b"hello", "deep/er/module.py": b"answer = 42", "big": data, "empty": b""})
    assert value(session, "open('a.txt').read()") == "'hello'"
    assert value(session, "import sys; sys.path.append('deep/er')\nimport module\nmodule.answer") == "42"
    assert session.read_file("big") == data and session.read_file("empty") == b""
    session.run("open('out', 'wb').write(b'\\0\\1'); open('/tmp/other', 'w').close() if __import__('os').path.islink('/tmp') else 0")
    assert session.read_file("out") == b"\0\1"
    session.write_files({"a.txt": b"bye"})
    assert session.read_file("./a.txt") == b"bye"
    for path in ("/etc/passwd", "../x", "", "a/../../x"):
        with pytest.raises(UsageError):
            session.read_file(path)
    with pytest.raises(FileRefused, match="No such file"):
        session.read_file("nowhere")
    with pytest.raises(FileRefused, match="larger than 100"):
        session.read_file("big", limit=100)
    with pytest.raises(FileRefused, match="more than Limits"):
        session.write_files({"too-big": bytes(80 << 20)})


def test_a_disk_that_is_full_is_said(jailed: Engine) -> None:
    with jailed.session(limits=LIMITS) as session:
        fill = "for name in 'ab':\n    with open(name, 'wb') as f:\n        for _ in range(6): f.write(bytes(range(256)) * 4096)"
        cell = session.run(f"{fill}\nimport time; time.sleep(2)")
        assert cell.outcome is Outcome.DISK_LIMIT
        assert cell.ended == (session.isolation.rung is Rung.LANDLOCK)
        if cell.ended:
            with pytest.raises(SessionEnded, match="more to its disk"):
                session.run("1")
        else:
            with pytest.raises(FileRefused, match="No space left"):
                session.write_files({"more": bytes(8 << 20)})


def test_links_and_what_is_no_file_are_refused(session: Session) -> None:
    session.run("import os\nos.symlink('/etc/passwd', 'link')\nos.symlink('/etc', 'folder')\nos.mkfifo('fifo')\nos.mkdir('dir')")
    for path in ("link", "folder/passwd", "fifo", "dir"):
        with pytest.raises(FileRefused):
            session.read_file(path)
        with pytest.raises(FileRefused):
            session.write_files({path: b"x"})
    assert value(session, "1") == "1"


def test_files_may_lie_there_from_the_start(jailed: Engine) -> None:
    with jailed.session(limits=LIMITS, files={"given/data.txt": b"data"}) as session:
        assert value(session, "open('given/data.txt').read()") == "'data'"


HOSTILE = {
    "closes the channel": "import os\nos.close(3)",
    "writes garbage": "import os\nos.write(3, b'\\xff' * 100)",
    "announces what never comes": "import os\nos.write(3, b'\\x00\\x00\\x01\\x00abc')\nos.close(3)",
    "announces too much": "import os\nos.write(3, b'\\x00\\x00\\x00\\x7f')",
    "answers in another's place": "import os\nos.write(3, b'\\x0a\\0\\0\\0\\x01\\0\\0\\0' + b'9' + b'\\x01\\0\\0\\0' + b'x')",
    "dies": "import os\nos._exit(7)",
    "is killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "crashes": "import ctypes\nctypes.string_at(0)",
    "breaks the guest": "import builtins\nbuiltins.compile = builtins.len = builtins.str = None",
    "hides in a child": "import os, time\nif os.fork() == 0:\n    time.sleep(100)\nos._exit(0)",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_cell_ends_its_session_and_never_hangs(session: Session, name: str) -> None:
    cell = session.run(HOSTILE[name], wall_s=1)
    if name == "breaks the guest" or (name == "hides in a child" and not cell.ended):
        cell = session.run("1", wall_s=1) if not cell.ended else cell
    if name == "hides in a child" and cell.outcome is Outcome.OK:
        return  # fork was refused before it could
    assert cell.outcome in {Outcome.EXITED, Outcome.SIGNALLED, Outcome.WALL_LIMIT, Outcome.PROCESS_LIMIT, Outcome.RAISED}, cell
    if name == "dies":
        assert (cell.outcome, cell.exit_code, cell.signal) == (Outcome.EXITED, 7, None)
    if name in ("is killed", "crashes"):
        assert (cell.outcome, cell.signal) == (Outcome.SIGNALLED, 9 if name == "is killed" else 11)
    if name in ("writes garbage", "announces too much", "answers in another's place"):
        assert (cell.outcome, cell.signal) == (Outcome.SIGNALLED, 9)
        assert cell.exception is not None and cell.exception.type == "SessionLost"
    if cell.outcome in (Outcome.PROCESS_LIMIT, Outcome.RAISED):
        assert name == "hides in a child"
        return
    assert_ended(session, cell)


def test_a_cell_that_forks_has_one_answer(jailed: Engine) -> None:
    with jailed.session(limits=LIMITS) as session:
        cell = session.run("import os\npid = os.fork()\npid > 0")
        assert (cell.outcome, cell.value) == (Outcome.OK, "True")
        assert value(session, "os.waitpid(pid, 0)[1]") == "0"


@pytest.mark.parametrize("act", ["SIGKILL", "SIGSTOP"])
def test_a_cell_that_ends_the_trunk_ends_the_slot(jailed: Engine, act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groundrun.engine.tree.SERVICE_S", 1.0)
    with jailed.session(limits=LIMITS) as session:
        cell = session.run(f"import os, signal\nos.kill(os.getsid(0), signal.{act})\nimport time; time.sleep(0.5)", wall_s=5)
        if cell.exception is not None and cell.exception.type == "PermissionError":
            pytest.skip("signals to other processes are refused here")
        if act == "SIGKILL":
            assert (cell.outcome, cell.signal) == (Outcome.SIGNALLED, 9)
            assert_ended(session, cell)
        else:
            with pytest.raises(SessionEnded):
                session.read_file("x")
            assert not session.alive


def test_an_idle_session_ends_in_time(jailed: Engine) -> None:
    with jailed.session(limits=LIMITS, idle_s=0.2) as session:
        session.run("1")
        time.sleep(0.6)
        with pytest.raises(SessionEnded, match="more time than it had"):
            session.run("2")


def test_rung_none_has_no_sessions() -> None:
    with Engine(isolation="none", workers=1) as engine, pytest.raises(UsageError, match="rung 'none'"):
        engine.session()


def test_bad_arguments_are_refused(session: Session, jailed: Engine) -> None:
    with pytest.raises(ValueError, match="cpu_s"):
        session.run("1", cpu_s=0)
    with pytest.raises(UsageError, match="too long"):
        session.run("#" * 5_000_000)
    with pytest.raises(UsageError, match="idle_s"):
        jailed.session(idle_s=0)
    with pytest.raises(UsageError, match="relative path"):
        jailed.session(files={"/x": b""})
    assert value(session, "1") == "1"


def children() -> set[int]:
    """Every process that descends from this one."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def test_closing_leaves_no_process_and_no_descriptor(jailed: Engine) -> None:
    jailed.run("")
    time.sleep(0.3)  # its worker prepares the next child meanwhile
    before, open_before = children(), len(os.listdir("/proc/self/fd"))
    session = jailed.session(limits=LIMITS)
    assert jailed.stats().sessions == 1
    branch = session.branch()
    session.run("import os, time\nif os.fork() == 0:\n    time.sleep(100)\n    os._exit(0)")
    assert children() - before
    session.close()
    session.close()
    assert value(branch, "1") == "1"
    branch.close()
    assert not children() - before
    assert (len(os.listdir("/proc/self/fd")), jailed.stats().sessions) == (open_before, 0)
    for each in (session, branch):
        with pytest.raises(SessionEnded, match="closed"):
            each.run("1")


def test_closing_the_engine_ends_a_running_cell() -> None:
    before = children()
    engine = Engine(workers=1)
    session = engine.session(limits=LIMITS)
    done: list[Cell] = []
    runner = threading.Thread(target=lambda: done.append(session.run("import time\ntime.sleep(60)")))
    runner.start()
    time.sleep(0.3)
    engine.close()
    runner.join(30)
    assert done[0].outcome is Outcome.CANCELLED and done[0].ended
    assert not children() - before
    with pytest.raises(SessionEnded):
        session.run("1")
    with pytest.raises(EngineClosed):
        engine.session()


def test_ctrl_c_interrupts_the_cell_and_the_session_goes_on(jailed: Engine) -> None:
    code = f"""
import os, signal, threading, time
from groundrun.engine import Engine
from groundrun.errors import SessionEnded
from groundrun.records import Limits
signal.signal(signal.SIGINT, signal.default_int_handler)
with Engine(isolation={jailed.isolation.rung.value!r}, workers=1) as engine, engine.session(limits=Limits(processes=8)) as session:
    session.run("import time; x = 1")
    for ignore in (False, True):
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            session.run("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)" if ignore else "time.sleep(60)")
        except KeyboardInterrupt:
            print("interrupted", session.alive)
        if not ignore:
            print(session.run("x").value)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted True\n1\ninterrupted False\n", "", 0)


def test_a_forked_child_leaves_the_session_alone() -> None:
    code = """
import os
from groundrun.engine import Engine
from groundrun.errors import SessionEnded
with Engine(workers=1) as engine:
    session = engine.session()
    session.run("x = 1")
    pid = os.fork()
    if pid == 0:
        try:
            session.run("x")
        except SessionEnded as error:
            session.close()
            os._exit(0 if "another process" in str(error) else 1)
        os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert session.run("x").value == "1"
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
