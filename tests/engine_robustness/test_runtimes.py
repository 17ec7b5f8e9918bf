"""Interpreters below a folder that only its owner may enter: they work on both rungs, or fail with a path in the message."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from groundrun.engine import Engine
from groundrun.errors import HostRefused
from groundrun.records import Limits

pytestmark = pytest.mark.exec

ORDINARY = 54321
LEFT_BEHIND = shutil.ignore_patterns("test", "tests", "idlelib", "ensurepip", "site-packages", "__pycache__", "config-*", "tkinter", "*.a")
ORDINARY_USER = """
import os, sys
from groundrun.engine import Engine
from groundrun.errors import HostRefused
from groundrun.records import Limits
try:
    with Engine(isolation=sys.argv[1], workers=1) as engine:
        done = engine.run("import json, sys; print(json.dumps(sys.executable))")
        print(done.outcome.value, done.stdout.decode(), done.stderr.decode())
except HostRefused as error:
    print("refused", error)
"""


@pytest.fixture(scope="module")
def private_python() -> Iterator[Path]:
    """A whole interpreter below a folder of mode 0700."""
    home = Path(tempfile.mkdtemp(prefix="home-"))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefix, library = home / "runtime", sysconfig.get_config_var("LDLIBRARY")
    try:
        (prefix / "bin").mkdir(parents=True)
        shutil.copy(os.path.realpath(sys.executable), prefix / "bin" / version)
        shutil.copytree(sysconfig.get_path("stdlib"), prefix / "lib" / version, ignore=LEFT_BEHIND)
        for place in (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"):
            if place and library and library.startswith("libpython") and ".so" in library and (Path(place) / library).exists():
                for each in Path(place).glob("libpython*.so*"):
                    shutil.copy(each, prefix / "lib" / each.name)
        home.chmod(0o700)
        yield prefix / "bin" / version
    finally:
        shutil.rmtree(home)


def check_works_or_names_the_path(python: Path, rung: str, folder: Path) -> None:
    try:
        with Engine(isolation=rung, python=str(python), workers=1) as engine:
            done = engine.run("import sys, json; print(sys.prefix, json.dumps([1]))")
    except HostRefused as error:
        assert any(str(place) in str(error) for place in (folder, *folder.parents) if str(place) != "/"), error
        return
    assert (done.text, done.stderr) == (f"{python.parent.parent} [1]\n", b"")


def test_copied_interpreter(rung: str, private_python: Path) -> None:
    """pyenv's and uv's layout: a prefix of its own."""
    check_works_or_names_the_path(private_python, rung, private_python)


def test_virtual_environment(rung: str, private_python: Path) -> None:
    """Whose interpreter is a link out of it, into another private place."""
    folder = private_python.parents[2] / "environment"
    if not folder.exists():
        subprocess.run([private_python, "-m", "venv", "--without-pip", folder], check=True, timeout=50)
    check_works_or_names_the_path(folder / "bin" / "python", rung, folder)


def test_ordinary_user_with_a_private_interpreter(rung: str, private_python: Path, reachable: str) -> None:
    """Who owns the folder: groundrun itself and the programs run under it."""
    if os.geteuid() != 0:
        pytest.skip("an ordinary user other than this one: only root can become one")
    home = private_python.parents[2]
    subprocess.run(["chown", "-R", f"{ORDINARY}:{ORDINARY}", home], check=True)
    try:
        done = subprocess.run(
            [private_python, "-B", "-c", ORDINARY_USER, rung],
            cwd="/",
            env={"PYTHONPATH": reachable, "PATH": os.environ["PATH"]},
            user=ORDINARY,
            group=ORDINARY,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=50,
        )
    finally:
        subprocess.run(["chown", "-R", "0:0", home], check=True)
    assert done.returncode == 0, done.stderr
    if done.stdout.startswith("refused"):
        pytest.skip(f"rung {rung} as an ordinary user: {done.stdout}")
    assert done.stdout == f'ok "{private_python}"\n \n'


@pytest.mark.parametrize("minor", [10, 11, 12, 13, 14])
def test_interpreter_of_another_version(rung: str, minor: int) -> None:
    """With flavours, whose zygote holds threads' fork handler back: its inside differs from version to version."""
    python = find_python(minor)
    source = """
import os, random, sys, threading, wave
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as pool:
    print(list(pool.map(abs, [-1, 2])), flush=True)
if os.fork() == 0:
    with ThreadPoolExecutor(1) as pool:
        print("child", pool.submit(threading.active_count).result(), flush=True)
    os._exit(0)
os.wait()
print(sys.version_info[1], random.random() < 1)
"""
    flavours = {"mine": ["wave", "random", "threading"]}
    with Engine(isolation=rung, python=python, workers=1, flavours=flavours, limits=Limits(processes=16)) as engine:
        for _ in range(2):
            done = engine.run(source)
            assert (done.flavour, done.text) == ("mine", f"[1, 2]\nchild 2\n{minor} True\n"), done.stderr
        raised = engine.run("import wave\nraise ValueError('mine')")
    assert (raised.outcome.value, raised.exception.type if raised.exception else "") == ("raised", "ValueError")


def find_python(minor: int) -> str:
    """The executable itself of Python 3.`minor` on this machine; skips by name."""
    for name in (f"python3.{minor}", *map(str, Path(sys.base_prefix).parent.glob(f"3.{minor}.*/bin/python3"))):
        try:
            done = subprocess.run([name, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True, timeout=30)
        except OSError:
            continue
        if done.returncode == 0:
            return done.stdout.strip()
    pytest.skip(f"Python 3.{minor} is not on this machine")
