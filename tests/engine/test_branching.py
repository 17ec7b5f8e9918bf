"""Branches of sessions on the real rungs: what is independent, what refuses a branch, and who survives whom."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from groundrun.engine import Engine, Session
from groundrun.errors import BranchRefused, HostRefused, SessionEnded
from groundrun.records import Limits, Outcome, Rung

pytestmark = [pytest.mark.exec, pytest.mark.timeout(120)]

LIMITS = Limits(cpu_s=20, wall_s=40, processes=24, disk_bytes=16 << 20)


@pytest.fixture(scope="module", params=["namespaces", "landlock"])
def jailed(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Engine(isolation=request.param, workers=1) as made:
        try:
            made.run("")
        except HostRefused as refusal:
            pytest.skip(f"rung {request.param}: {refusal}")
        yield made


@pytest.fixture
def session(jailed: Engine) -> Iterator[Session]:
    with jailed.session(limits=LIMITS) as made:
        yield made


def value(session: Session, source: str) -> str | None:
    cell = session.run(source)
    assert cell.outcome is Outcome.OK, cell
    return cell.value


def test_memory_is_independent(session: Session) -> None:
    value(session, "xs = [1]")
    with session.branch() as branch, branch.branch() as twig:
        value(branch, "xs.append(2)")
        value(session, "xs.append(3)")
        value(twig, "xs.append(4)")
        assert [value(each, "xs") for each in (session, branch, twig)] == ["[1, 3]", "[1, 2]", "[1, 4]"]
        with twig.branch() as leaf:
            assert value(leaf, "xs") == "[1, 4]"
    assert value(session, "xs") == "[1, 3]"


def test_files_are_independent_by_whatever_path(session: Session) -> None:
    value(session, "import os, tempfile\nhere = os.getcwd()\nos.mkdir('d')\nopen('a', 'w').write('0')\nopen('d/b', 'w').write('0')")
    value(session, "os.symlink('a', 'link')\nos.link('a', 'hard')\nplace = tempfile.mkdtemp()\nopen(place + '/t', 'w').write('0')")
    write = "for path in ('a', here + '/d/b', place + '/t'): open(path, 'a').write({!r}).__class__\n"
    read = (
        "[open(path).read() for path in (here + '/a', 'd/b', place + '/t', 'link', 'hard')], sorted(os.listdir(here)), os.getcwd() == here"
    )
    with session.branch() as branch:
        value(branch, write.format("b") + "open('new', 'w').close()")
        value(session, write.format("s") + "os.unlink('d/b'); open('d/b', 'w').write('again')")
        names = ["a", "d", "hard", "link"]
        assert value(branch, read) == str((["0b"] * 3 + ["0b"] * 2, [*names, "new"], True))
        assert value(session, read) == str((["0s", "again", "0s", "0s", "0s"], names, True))
        assert (branch.read_file("a"), session.read_file("a")) == (b"0b", b"0s")
        branch.write_files({"a": b"written"})
        assert (branch.read_file("hard"), session.read_file("a")) == (b"written", b"0s")
    assert value(session, read) == str((["0s", "again", "0s", "0s", "0s"], names, True))


def test_open_files_continue_on_the_copy(session: Session) -> None:
    value(
        session,
        "import os\nf = open('log', 'w+'); f.write('abcdef'); f.flush(); f.seek(3)\ng = open('log', 'a')\nh = open('log')\nh.read(2)",
    )
    value(session, "os.mkdir('sub'); os.chdir('sub'); open('inner', 'w').write('i'); d = os.open('.', os.O_RDONLY)")
    with session.branch() as branch:
        value(branch, "f.write('XY'); f.flush(); g.write('+'); g.flush(); open('inner', 'a').write('B')")
        assert value(session, "f.tell(), h.tell() >= 2, open('../log').read(), open('inner').read()") == "(3, True, 'abcdef', 'i')"
        assert value(branch, "f.tell(), open('../log').read(), open('inner').read(), os.listdir(d)") == "(5, 'abcXYf+', 'iB', ['inner'])"
        value(session, "f.write('!'); f.flush()")
        assert value(branch, "os.path.basename(os.getcwd()), open('../log').read()") == "('sub', 'abcXYf+')"
        assert value(session, "open('../log').read()") == "'abc!ef'"


def test_output_and_chance_are_the_branchs_own(session: Session) -> None:
    value(session, "import os, random\nsaved = os.dup(1)\nrandom.seed(5)\n_ = random.random()")
    with session.branch() as branch:
        assert value(branch, "random.random()") == value(session, "random.random()")
        cell = branch.run("print('mine'); import sys; sys.stdout.flush(); os.write(saved, b'too')")
        assert (cell.stdout, session.run("1").stdout) == (b"mine\ntoo", b"")


@pytest.mark.parametrize(
    ("source", "reason", "undo"),
    [
        ("import threading\ne = threading.Event()\nt = threading.Thread(target=e.wait); t.start()", "1 thread runs", "e.set(); t.join()"),
        (
            "import os\np = os.fork()\nif p == 0:\n    import time; time.sleep(50); os._exit(0)",
            "child processes",
            "os.kill(p, 9); os.wait()",
        ),
        ("import subprocess\np = subprocess.Popen(['true'])\nimport time; time.sleep(0.2)", "child processes", "p.wait()"),
        ("import os\nf = open('gone', 'w'); os.unlink('gone')", "no name any more", "f.close()"),
        ("import os\nr, w = os.pipe()", "is a pipe", "os.close(r); os.close(w)"),
        ("import socket\na, b = socket.socketpair()", "is a socket", "a.close(); b.close()"),
        ("f = open(__import__('os').__file__)", "outside of the slot", "f.close()"),
        ("import os\nos.open('x', os.O_CREAT | os.O_WRONLY, 0)\nos.close(4)", None, "pass"),
    ],
)
def test_what_cant_be_had_twice_refuses_a_branch(session: Session, source: str, reason: str | None, undo: str) -> None:
    value(session, source)
    if reason is not None:
        with pytest.raises(BranchRefused, match=reason):
            session.branch()
        value(session, undo)
        with session.branch() as branch:
            assert value(branch, "1") == "1"
    else:
        with pytest.raises(BranchRefused, match="Permission denied"):
            session.branch()
    assert value(session, "2") == "2"


def test_native_threads_are_counted_too(session: Session) -> None:
    native = """
import ctypes, ctypes.util
lib = ctypes.CDLL(None)
thread = ctypes.c_ulong()
start = ctypes.cast(lib.pause, ctypes.c_void_p)
made = lib.pthread_create(ctypes.byref(thread), None, start, None)
"""
    assert value(session, f"{native}\nmade") == "0"
    with pytest.raises(BranchRefused, match="1 thread runs"):
        session.branch()
    value(session, "lib.pthread_cancel(thread); lib.pthread_join(thread, None)")
    with session.branch() as branch:
        assert value(branch, "1") == "1"


def test_a_copy_that_has_no_room_refuses_the_branch(session: Session) -> None:
    if session.isolation.rung is Rung.LANDLOCK:
        pytest.skip("at rung landlock the disk is measured afterwards, and too much of it ends the slot")
    value(session, "open('big', 'wb').write(bytes(range(256)) * 36_000) and None")
    with pytest.raises(BranchRefused, match="No space left"):
        session.branch()
    value(session, "import os\nos.truncate('big', 1 << 20)")
    with session.branch() as branch:
        assert value(branch, "import os\nos.path.getsize('big')") == str(1 << 20)


def test_holes_and_what_was_closed_take_no_room(session: Session) -> None:
    value(session, "f = open('sparse', 'wb'); f.truncate(12 << 20); f.seek(6 << 20); f.write(b'x'); f.close()")
    for _ in range(5):
        with session.branch() as branch:
            assert (
                value(branch, "import os\n(os.stat('sparse').st_blocks < 1000, open('sparse', 'rb').read().index(b'x'))")
                == "(True, 6291456)"
            )
            value(branch, "open('more', 'wb').write(bytes(9 << 20)) and None")
    assert value(session, "import os\nsorted(os.listdir('.'))") == "['sparse']"


def test_a_dead_branch_leaves_the_others(session: Session) -> None:
    value(session, "x = 1")
    with session.branch() as one, session.branch() as two:
        cell = one.run("import os\nos._exit(4)")
        assert (cell.outcome, cell.exit_code, cell.ended, one.alive) == (Outcome.EXITED, 4, True, False)
        with pytest.raises(SessionEnded):
            one.branch()
        assert value(two, "x") == value(session, "x") == "1"
        cell = session.run("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
        assert (cell.outcome, cell.signal) == (Outcome.SIGNALLED, 11)
        assert value(two, "x") == "1"
        with two.branch() as three:
            assert value(three, "x") == "1"


def test_a_branch_survives_the_session_that_is_closed(jailed: Engine) -> None:
    session = jailed.session(limits=LIMITS)
    value(session, "open('a', 'w').write('a')")
    branch = session.branch()
    value(session, "open('b', 'w').write('b')")
    session.close()
    assert value(branch, "import os\nos.listdir('.')") == "['a']"
    branch.close()


def test_the_kernels_limit_takes_all_branches(session: Session) -> None:
    with session.branch() as branch:
        source = "import signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\nwhile True: pass"
        cell = branch.run(source, cpu_s=0.2)
        assert cell.outcome is Outcome.CPU_LIMIT and cell.ended
        assert not session.alive
        with pytest.raises(SessionEnded, match="ended its slot and all branches"):
            session.run("1")


def test_branches_take_turns(session: Session) -> None:
    value(session, "import time")
    branches = [session.branch() for _ in range(3)]
    found: dict[int, str | None] = {}

    def work(number: int) -> None:
        for turn in range(3):
            value(branches[number], f"open('own', 'a').write('{number}{turn} '); time.sleep(0.01)")
        found[number] = value(branches[number], "open('own').read()")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {number: repr("".join(f"{number}{turn} " for turn in range(3))) for number in range(3)}
    for branch in branches:
        branch.close()


def test_as_many_branches_as_there_may_be_processes(jailed: Engine) -> None:
    with jailed.session(limits=Limits(processes=6)) as session:
        branches = []
        with pytest.raises(BranchRefused, match="no room for a process more"):
            for _ in range(32):
                branches.append(session.branch())  # noqa: PERF401
        assert branches
        assert [value(each, "7") for each in (session, *branches)] == ["7"] * (len(branches) + 1)
        branches.pop().close()
        branches.append(session.branch())
        for each in branches:
            each.close()


def test_folders_that_cant_be_written_to_move_with_their_branch(session: Session) -> None:
    if session.isolation.rung is Rung.LANDLOCK:
        pytest.skip("at rung landlock no mode can be changed")
    value(session, "import os\nos.mkdir('d'); open('d/f', 'w').write('0'); os.chmod('d/f', 0o400); os.chmod('d', 0o555)")
    with session.branch() as branch:
        look = "oct(os.stat('d').st_mode), oct(os.stat('d/f').st_mode), open('d/f').read()"
        assert value(branch, look) == value(session, look) == value(branch, look) == "('0o40555', '0o100400', '0')"


def test_a_cell_that_removes_every_folder_can_be_undone(session: Session) -> None:
    value(session, "import os, shutil\nopen('a', 'w').write('a')\nopen(os.environ['TMPDIR'] + '/t', 'w').write('t')")
    with session.branch() as branch:
        wipe = "for path in (os.getcwd(), os.environ['TMPDIR']): shutil.rmtree(path, ignore_errors=True)"
        value(session, wipe)
        look = "open('a').read() + open(os.environ['TMPDIR'] + '/t').read()"
        assert value(branch, look) == "'at'"
        assert session.run(look).outcome is Outcome.RAISED
        value(session, "open('a', 'w').write('new')")
        assert session.read_file("a") == b"new"
        with session.branch() as twig:
            assert value(twig, "open('a').read()") == "'new'"
        assert value(branch, look) == "'at'"


def test_where_fork_is_refused_so_is_a_branch(jailed: Engine) -> None:
    with jailed.session(limits=Limits(processes=1)) as session:
        value(session, "x = 5")
        with pytest.raises(BranchRefused, match="processes may not fork"):
            session.branch()
        with session.branch(isolated=True) as again:
            assert value(again, "x") == "5"


def test_an_isolated_branch_runs_everything_again(jailed: Engine) -> None:
    with jailed.session(limits=LIMITS, files={"given": b"1"}) as session:
        value(session, "x = open('given').read()\nobject()")
        session.write_files({"later": b"2"})
        value(session, "y = open('later').read()\nprint(x + y)")
        assert session.run("1 / 0").outcome is Outcome.RAISED
        with session.branch(isolated=True) as again:
            assert again.replay is not None and (again.replay.cells, again.replay.differing) == (3, ())
            assert value(again, "x, y") == "('1', '2')"
            assert again.cells[:3] == session.cells
            value(again, "open('given', 'w').write('changed')")
        assert session.read_file("given") == b"1"
        value(session, "import time\ntime.time_ns()")
        session.run("import os\nos._exit(1)")
        assert not session.alive
        with session.branch(isolated=True) as again:
            assert again.replay is not None and again.replay.differing == (4,)
            assert value(again, "x, y") == "('1', '2')"


def test_a_session_that_disables_its_own_functions_is_refused_and_lives(session: Session) -> None:
    value(session, "import os\nopen('a', 'w').close()\nos.lstat = os.listdir = None")
    with pytest.raises(BranchRefused, match="TypeError"):
        session.branch()
    assert value(session, "3") == "3"
    assert session.read_file("a") == b""
