"""Flavours on real rungs: imported once, ahead of the programs; what can't be had is said, and nothing is shared by chance."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from groundrun.engine import Engine, Job
from groundrun.errors import FlavourUnavailable, HostRefused, RuntimeUnreachable, UsageError
from groundrun.records import MEBIBYTE, Limits, Outcome, Program

pytestmark = pytest.mark.exec

AHEAD = "import sys\nprint('{0}' in sys.modules)\nimport {0}\n"
MODULES = {
    "counting": "import os\nwhere = os.getpid()\n",
    "threaded": "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n",
    "raising": "raise ValueError('no such luck')\n",
    "dying": "import os\nos.abort()\n",
    "writing": "import os\nfor name in ('HOME', 'TMPDIR'):\n    open(os.path.join(os.environ[name], 'cache'), 'w').close()\n",
    "needy": "import secretly_absent\n",
}


@pytest.fixture(params=["namespaces", "landlock"])
def rung(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    try:
        with Engine(isolation=name, workers=1) as engine:
            engine.run("")
    except HostRefused as refusal:
        pytest.skip(f"rung {name}: {refusal}")
    return name


@pytest.fixture(scope="module")
def environment() -> Iterator[Path]:
    """A virtual environment with modules of ours."""
    folder = Path(tempfile.mkdtemp(prefix="environment-"))
    folder.chmod(0o755)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=50)
        packages = next(folder.glob("lib/python3*/site-packages"))
        for name, text in MODULES.items():
            (packages / f"{name}.py").write_text(text)
        yield folder
    finally:
        shutil.rmtree(folder)


def test_numpy_is_imported_ahead_and_says_so(rung: str) -> None:
    pytest.importorskip("numpy")
    with Engine(isolation=rung, workers=1) as engine:
        bare, warm = engine.run(AHEAD.format("json")), engine.run(AHEAD.format("numpy"))
        asked = engine.run(Job(program=Program(AHEAD.format("numpy")), flavour="bare"))
        stats = engine.stats()
    assert (bare.flavour, warm.flavour, asked.flavour) == ("bare", "numpy", "bare")
    assert (warm.text, asked.text) == ("True\n", "False\n")
    assert stats.cold_imports == 0
    assert [(each.name, each.zygotes) for each in stats.flavours] == [("bare", 1), ("numpy", 1)]
    assert MEBIBYTE < stats.flavours[0].resident_bytes < stats.flavours[1].resident_bytes


def test_programs_share_no_random_state(rung: str) -> None:
    pytest.importorskip("numpy")
    source = "import numpy, random\nprint(numpy.random.random(), random.random(), numpy.random.default_rng().random())"
    with Engine(isolation=rung, workers=1) as engine:
        runs = [engine.run(source) for _ in range(3)]
    assert {each.flavour for each in runs} == {"numpy.random"}
    assert len({word for each in runs for word in each.text.split()}) == 9


def test_threads_and_forks_work_where_threading_was_imported_ahead(rung: str) -> None:
    source = """
import threading, os, time
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as pool:
    print(list(pool.map(abs, [-1, 2])), threading.active_count() >= 1, threading.main_thread() is threading.current_thread(), flush=True)
threading.Thread(target=time.sleep, args=(0.5,)).start()
if os.fork() == 0:
    print("child", threading.active_count(), flush=True)
    os._exit(0)
os.wait()
print("parent", threading.active_count(), flush=True)
threading._register_atexit(print, "at the end")
"""
    with Engine(isolation=rung, workers=1, flavours={"threads": ["threading", "concurrent.futures.thread"]}) as engine:
        done = engine.run(Job(program=Program(source), limits=Limits(processes=16)))
    assert done.flavour == "threads"
    assert done.text == "[1, 2] True True\nchild 1\nparent 2\nat the end\n"


def test_limits_count_on_top_of_what_is_imported_ahead(rung: str) -> None:
    pytest.importorskip("numpy")
    source = "import numpy\nnumpy.ones({} << 20, dtype='u1')\nprint(1)"
    with Engine(isolation=rung, workers=1, limits=Limits(memory_bytes=48 * MEBIBYTE)) as engine:
        assert engine.run(source.format(16)).text == "1\n"
        assert engine.run(source.format(64)).outcome is Outcome.MEMORY_LIMIT


def test_a_programs_own_file_is_not_hidden(rung: str) -> None:
    pytest.importorskip("numpy")
    files = {"secrets.py": b"print('mine')", "tools/__init__.py": b""}
    with Engine(isolation=rung, workers=1) as engine:
        done = engine.run(Program("import numpy.random\nimport secrets, tools", files=files))
        assert (done.flavour, done.text) == ("numpy.random", "mine\n")
        done = engine.run(Program("import numpy", files={"numpy/__init__.py": b"print('mine')"}))
        assert (done.flavour, done.text) == ("bare", "mine\n")


def test_both_sides_of_a_pair_may_have_a_flavour(rung: str) -> None:
    grader = Job(program=Program(AHEAD.format("wave")))
    with Engine(isolation=rung, workers=1, flavours={"mine": ["wave"], "other": ["colorsys"]}) as engine:
        first = engine.run_pair(Job(program=Program(AHEAD.format("colorsys"))), grader)
        second = engine.run_pair(grader, Job(program=grader.program, flavour="mine"))
    assert [(each.flavour, each.text) for each in first] == [("other", "True\n"), ("bare", "False\n")]
    assert [(each.flavour, each.text) for each in second] == [("mine", "True\n"), ("mine", "True\n")]


def test_a_virtual_environment_is_named_by_its_folder_or_its_interpreter(rung: str, environment: Path) -> None:
    for python in (environment, str(environment), environment / "bin" / "python"):
        with Engine(isolation=rung, workers=1, python=python, flavours={"mine": ["counting"]}) as engine:
            done = engine.run(f"import sys\n{AHEAD.format('counting')}print(sys.prefix)")
        assert (done.flavour, done.text) == ("mine", f"True\n{environment}\n")


def test_a_folder_without_an_interpreter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnreachable, match="a folder without bin/python"), Engine(python=tmp_path) as engine:
        engine.run("")


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raising", "importing raising: ValueError: no such luck"),
        ("needy", "importing needy: ModuleNotFoundError: No module named 'secretly_absent'"),
        ("threaded", "importing threaded: threads were started"),
        ("dying", "the interpreter ended before it was ready"),
        ("never_installed", "importing never_installed: ModuleNotFoundError"),
    ],
)
def test_what_can_not_be_imported_ahead_is_a_clear_error(rung: str, environment: Path, module: str, said: str) -> None:
    with Engine(isolation=rung, workers=1, python=environment, flavours={"mine": [module]}) as engine:
        for _ in range(2):
            with pytest.raises(FlavourUnavailable, match=f"^flavour 'mine' can't be used: {said}"):
                engine.run(f"import {module}")
        assert engine.run("print(1)").text == "1\n"
        stats = engine.stats()
    assert (stats.faults, stats.restarts) == (0, 0)
    assert said in next(each for each in stats.flavours if each.name == "mine").refused


def test_what_an_import_writes_is_gone_before_a_program_starts(rung: str, environment: Path) -> None:
    source = "import os, writing\nprint(os.listdir(), os.listdir(os.environ['TMPDIR']))\nopen('mine', 'w').close()"
    with Engine(isolation=rung, workers=1, python=environment, flavours={"mine": ["writing"]}) as engine:
        runs = [engine.run(source) for _ in range(2)]
    assert [(each.flavour, each.text) for each in runs] == [("mine", "['main.py'] []\n")] * 2


def test_unused_flavours_are_retired_and_come_back(rung: str) -> None:
    program = AHEAD.format("wave")
    with Engine(isolation=rung, workers=1, flavours={"mine": ["wave"]}, flavour_idle_s=0.3) as engine:
        engine.run("")
        assert engine.run(program).flavour == "mine"
        deadline = time.monotonic() + 20
        while [each.name for each in engine.stats().flavours] != ["bare"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert engine.run(program).text == "True\n"


def test_without_memory_for_it_the_program_imports_it_and_the_result_says_so(rung: str) -> None:
    pytest.importorskip("numpy")
    with Engine(isolation=rung, workers=1, flavour_memory_bytes=MEBIBYTE) as engine:
        done = engine.run(AHEAD.format("numpy"))
        assert (done.flavour, done.text) == ("bare", "False\n")
        with pytest.raises(FlavourUnavailable, match="flavour_memory_bytes allows 1048576 for each worker"):
            engine.run(Job(program=Program(""), flavour="numpy"))
        stats = engine.stats()
    assert stats.cold_imports == 1
    assert [(each.name, each.zygotes) for each in stats.flavours] == [("bare", 1), ("numpy", 0)]


def test_without_isolation_there_is_nothing_warm() -> None:
    with Engine(isolation="none", workers=1, flavours={"mine": ["wave"]}) as engine:
        done = engine.run(AHEAD.format("wave"))
        asked = engine.run(Job(program=Program("print(1)"), flavour="mine"))
        with pytest.raises(UsageError, match="'other' is no flavour"):
            engine.run(Job(program=Program("print(1)"), flavour="other"))
        assert engine.stats().cold_imports == 2
    assert (done.flavour, done.text, asked.flavour) == ("bare", "False\n", "bare")


def test_an_engine_that_is_sent_elsewhere_keeps_its_flavours() -> None:
    import pickle

    with pickle.loads(pickle.dumps(Engine(workers=1, flavours={"mine": ["wave"]}))) as engine:
        assert engine.run(AHEAD.format("wave")).flavour == ("bare" if engine.isolation.rung == "none" else "mine")
        assert engine.flavours["mine"].modules == ("wave",)
