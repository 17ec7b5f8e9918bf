"""A host that runs out of what a run needs: descriptors, processes, disk. Results are right or our faults, and it goes on afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.exec, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"
_TALLY = """
def tally(results):
    return {"wrong": [f"{each.name}: {each.wrong}" for each in results if each.wrong], "faults": sum(bool(each.fault) for each in results)}
"""
_DESCRIPTORS = f"""
import json, os, resource, sys
from groundrun.engine import Engine
from groundrun.errors import GroundrunError
from tests.faults.rig import run_programs
{_TALLY}
rung, found = sys.argv[1], []
most = resource.getrlimit(resource.RLIMIT_NOFILE)
for extra in range(0, 16, 3):
    with Engine(workers=1, isolation=rung) as engine:
        if extra % 2:
            engine.run("")
        used = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + extra, most[1]))
        try:
            during = tally(run_programs(engine))
        except GroundrunError as error:
            during = {{"wrong": [], "faults": 1, "refused": str(error)}}
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, most)
        found.append((during, tally(run_programs(engine))))
print(json.dumps(found))
"""
_PROCESSES = f"""
import json, os, resource, sys
import tempfile
uid = 1_500_000_000 + os.getpid() % 1000
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
tempfile.tempdir = sys.argv[2]
from groundrun.engine import Engine
from groundrun.errors import EngineError, HostRefused
from tests.faults.rig import run_programs
{_TALLY}
rung, found, hard = sys.argv[1], [], resource.getrlimit(resource.RLIMIT_NPROC)[1]
with Engine(workers=1, isolation=rung) as engine:
    engine.run("")  # the host gives the rung
for most in (1, 2, 4, 6, 8, 10, 13):
    resource.setrlimit(resource.RLIMIT_NPROC, (most, hard))
    try:
        with Engine(workers=1, isolation=rung) as engine:
            during = tally(run_programs(engine))
    except (EngineError, HostRefused, RuntimeError) as error:
        during = {{"wrong": [], "faults": 1, "refused": str(error)}}
    found.append(during)
resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
with Engine(workers=1, isolation=rung) as engine:
    found.append(tally(run_programs(engine)))
print(json.dumps(found))
"""
_DISK = """
import json, os, sys, tempfile
from groundrun.engine import Engine
from groundrun.errors import EngineError
from groundrun.records import Limits
small = Limits(disk_bytes=32 << 20)
WRITE = "open('big', 'wb').write(bytes(24 << 20)); print('written')"
with Engine(workers=1, isolation=sys.argv[1]) as engine:
    first = engine.run("print(1)", limits=small).text
    with open(os.path.join(tempfile.gettempdir(), "filler"), "wb") as filler:
        filler.write(bytes(12 << 20))
    try:
        during = engine.run(WRITE, limits=small).outcome.value
    except EngineError as error:
        during = type(error).__name__
    quiet = engine.run("print(2)", limits=small).text
    os.unlink(filler.name)
    after = engine.run("open('big', 'wb').write(bytes(8 << 20)); print('written')", limits=small).text
    over = engine.run("open('big', 'wb').write(bytes(9 << 20))", limits=Limits(disk_bytes=4 << 20)).outcome.value
print(json.dumps([first, during, quiet, after, over]))
"""


def _run(script: str, *arguments: str, prefix: tuple[str, ...] = (), python: str = sys.executable, **environment: str) -> Any:
    words = [*prefix, python, "-c", script, *arguments]
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def _is_new(python: str) -> bool:
    asked = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    return os.path.exists(python) and subprocess.run(asked, check=False).returncode == 0


def test_descriptors_that_run_out_are_no_result(rung: str) -> None:
    """At whichever step the host process has no descriptor left; with more of them the same engine goes on."""
    found = _run(_DESCRIPTORS, rung)
    assert [during["wrong"] + after["wrong"] for during, after in found if during["wrong"] or after["wrong"]] == []
    assert [after["faults"] for _, after in found if after["faults"]] == []
    assert found[0][0]["faults"] > 0, "the limit was never felt"
    assert any(during["faults"] == 0 for during, _ in found), "the limit was always felt"


@pytest.mark.skipif(os.geteuid() != 0, reason="processes: only root can become a user of its own")
@pytest.mark.skipif(not _is_new(SYSTEM_PYTHON), reason=f"processes: {SYSTEM_PYTHON} is not Python 3.11 or later, which every user can run")
def test_processes_that_run_out_are_no_result(rung: str, reachable: str) -> None:
    """A user with few processes left: what can't be started is a fault or a refusal of ours."""
    for name in ("tests/faults", "bench"):
        shutil.copytree(ROOT / name, f"{reachable}/{name}", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chmod", "-R", "a+rX", reachable], check=True)
    with tempfile.TemporaryDirectory(prefix="groundrun-test-") as room:
        os.chmod(room, 0o777)
        found = _run(_PROCESSES, rung, room, python=SYSTEM_PYTHON, PYTHONPATH=reachable)
    assert [each["wrong"] for each in found if each["wrong"]] == []
    assert found[0]["faults"] > 0, "the limit was never felt"
    assert found[-1]["faults"] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="disk: only root can mount a small one")
@pytest.mark.parametrize("place", ["landlock", "none"])
def test_a_full_disk_of_the_host_is_no_outcome(place: str, tmp_path: Path) -> None:
    """A program that met it is our fault; one that wrote nothing runs; one that wrote more than it may is its own."""
    room = tmp_path / "disk"
    room.mkdir()
    tmp_path.chmod(0o755)
    mounted = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size=32m,mode=1777 small {room} && exec "$@"', "sh")
    if subprocess.run([*mounted, "true"], capture_output=True, check=False).returncode:
        pytest.skip("disk: nothing can be mounted here")
    found = _run(_DISK, place, prefix=mounted, TMPDIR=str(room))
    assert found == ["1\n", "DiskFull", "2\n", "written\n", "disk_limit"]
