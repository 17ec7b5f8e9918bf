"""The command on hosts that give less: namespaces refused by a filter around the whole process, and an ordinary user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.attack, pytest.mark.exec, pytest.mark.timeout(180)]

SOURCE = Path(__file__).resolve().parents[2] / "src"
NOBODY = 65534
SYSTEM_PYTHON = "/usr/bin/python3"

# refuses unshare and clone with namespace flags (EPERM) and clone3 (ENOSYS), as default Docker does, then becomes the command
REFUSING = """
import ctypes, os, struct, sys
arch, unshare, clone, clone3 = {"x86_64": (0xC000003E, 272, 56, 435), "aarch64": (0xC00000B7, 97, 220, 435)}[os.uname().machine]
eperm, enosys, allow = 0x50001, 0x50026, 0x7FFF0000
program = [(0x20, 0, 0, 4), (0x15, 1, 0, arch), (0x06, 0, 0, allow), (0x20, 0, 0, 0), (0x15, 4, 0, unshare), (0x15, 5, 0, clone3),
           (0x15, 0, 5, clone), (0x20, 0, 0, 16), (0x45, 0, 3, 0x7E020000), (0x06, 0, 0, eperm), (0x06, 0, 0, allow),
           (0x06, 0, 0, enosys), (0x06, 0, 0, allow)]
data = b"".join(struct.pack("HBBI", *each) for each in program)
space = ctypes.create_string_buffer(data)
head = struct.pack("HxxxxxxP", len(program), ctypes.addressof(space))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, head, 0, 0):
    sys.exit("no filter")
os.execv(sys.argv[1], sys.argv[1:])
"""


def check(done: subprocess.CompletedProcess[str]) -> None:
    """The suite ran whole, and nothing was fooled."""
    assert done.returncode in (0, 1), done.stderr
    suite: dict[str, Any] = json.loads(done.stdout)
    fooled = {each["name"]: each["detail"] for each in suite["attacks"] if each["verdict"] == "fooled"}
    assert len(suite["attacks"]) == suite["contained"][1] > 100
    assert suite["contained"][0] + suite["bounded"][0] + suite["fooled"][0] == suite["contained"][1]
    assert not fooled and done.returncode == 0, json.dumps(fooled, indent=1)


def test_namespaces_refused(tmp_path: Path) -> None:
    """The engine chooses landlock by itself, and holds."""
    launch = [sys.executable, "-c", REFUSING, sys.executable, "-m", "groundrun"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    doctor = subprocess.run([*launch, "doctor", "--json"], capture_output=True, text=True, env=environment, timeout=60)
    assert json.loads(doctor.stdout)["isolation"] == "landlock", doctor.stdout + doctor.stderr
    check(subprocess.run([*launch, "attack", "--json"], capture_output=True, text=True, env=environment, timeout=150))


@pytest.mark.parametrize("rung", ["namespaces", "landlock"])
def test_ordinary_user(rung: str, reachable: str) -> None:
    """Without any right of root's, and without cgroups."""
    if os.geteuid() != 0:
        pytest.skip("the tests themselves run as an ordinary user: every other test is this one")
    folder = Path(f"/tmp/groundrun-nobody-{os.getpid()}-{rung}")
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONPATH": reachable,
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def run(*words: str, timeout: int = 150) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SYSTEM_PYTHON, *words], user=NOBODY, group=NOBODY, extra_groups=[], cwd=folder, env=environment,
            capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip

    try:
        ready = run("-c", "import groundrun.cli.attack", timeout=60)
        if ready.returncode:
            pytest.skip(f"an ordinary user can't reach a Python with groundrun's libraries: {ready.stderr.strip().splitlines()[-1]}")
        trial = run("-c", f"import groundrun; groundrun.Engine(workers=1, isolation={rung!r}).run('')", timeout=60)
        if "HostRefused" in trial.stderr or "RungUnavailable" in trial.stderr:
            pytest.skip(f"rung {rung}: {trial.stderr.strip().splitlines()[-1]}")
        check(run("-m", "groundrun", "attack", "--rung", rung, "--json"))
        assert [entry.name for entry in folder.iterdir()] == []
    finally:
        subprocess.run(["rm", "-rf", "--", str(folder)], check=True)
