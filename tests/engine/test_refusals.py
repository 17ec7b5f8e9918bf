"""A host that refuses is told why, and how to allow it.

On real conditions: namespaces, mounts and filters that a process of its own gets (hosts.py). What can't be made here (AppArmor, SELinux,
older kernels) is read from made files. What the how-to on hosts prints as the answer of `doctor` is checked to be that answer.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from groundrun.engine.refusals import Cause, Facts, Finding, explain, explain_cgroups, explain_landlock, read_facts
from groundrun.engine.warden import NATIVE
from groundrun.records import Rung

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HOWTO = (ROOT / "docs/howto/hosts.md").read_text()
WARDEN = "…/groundrun/engine/native/bin/warden"
COVERS_TMP = ("nothing_writable", "noexec_tmp")
UNSHARE = "unshare(CLONE_NEWUSER | CLONE_NEWNS) is refused"


def diagnose(condition: str, folder: Path, *launch: str, python: str = sys.executable, **others: Any) -> dict[str, Any]:
    """What `doctor --json` says under a condition."""
    if condition in COVERS_TMP and Path(sys.executable).is_relative_to("/tmp"):
        pytest.skip(f"{condition}: the checkout lies below /tmp, which this condition covers")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "GROUNDRUN_TEST_NATIVE": str(NATIVE),
        "GROUNDRUN_TEST_ROOT": str(folder),
    } | others.pop("environment", {})
    command = [*launch, python, str(HERE / "hosts.py"), condition, python, "-m", "groundrun", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=90, **others)
    assert done.returncode in (0, 1) and done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check_documented(cause: str, remedy: str) -> None:
    """The how-to shows both, word by word."""
    for said in (cause, remedy):
        said = said.replace(str(NATIVE / "warden"), WARDEN).replace(str(NATIVE), WARDEN.removesuffix("/warden"))
        assert said in HOWTO, f"not in docs/howto/hosts.md: {said}"


@pytest.mark.exec
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("condition", "namespaces", "landlock"),
    [
        ("no_user_namespaces", Cause.NAMESPACE_LIMIT, None),
        ("no_network_namespaces", Cause.NAMESPACE_LIMIT, None),
        ("limited_from_above", Cause.NAMESPACES_USED_UP, None),
        ("docker_filter", Cause.SECCOMP, None),
        ("landlock_unknown", Cause.LANDLOCK_FILTERED, Cause.LANDLOCK_FILTERED),
        ("landlock_disabled", Cause.LANDLOCK_DISABLED, Cause.LANDLOCK_DISABLED),
        ("pidfd_refused", Cause.PIDFD, Cause.PIDFD),
        ("no_proc", Cause.PROC_MISSING, None),
        ("nothing_writable", None, Cause.TEMPORARY_UNUSABLE),
        ("chroot", Cause.CHROOT, None),
        ("no_capabilities", Cause.CAPABILITY, None),
        ("masked_proc", None, None),
    ],
)
def test_real_conditions(condition: str, namespaces: Cause | None, landlock: Cause | None, each_jailed: None, tmp_path: Path) -> None:
    found = diagnose(condition, tmp_path)
    for name, cause in (("namespaces", namespaces), ("landlock", landlock)):
        rung = found["rungs"][name]
        assert rung["available"] is (cause is None), rung
        if cause is not None:
            assert rung["code"] == cause.value, rung
            check_documented(rung["refused"], rung["remedy"])
    available = [name for name, cause in (("namespaces", namespaces), ("landlock", landlock)) if cause is None]
    assert found["isolation"] == (available[0] if available else None)


@pytest.fixture
def each_jailed() -> None:
    """The conditions are made by root, on a host that has both rungs by itself."""
    if os.geteuid() != 0:
        pytest.skip("making hosts that refuse takes root")
    from groundrun.engine.host import try_rung
    from groundrun.errors import HostRefused

    for rung in (Rung.NAMESPACES, Rung.LANDLOCK):
        try:
            try_rung(rung, python=sys.executable, landlock_abi=None)
        except HostRefused as refusal:
            pytest.skip(f"rung {rung.value}: {refusal}")


@pytest.mark.exec
@pytest.mark.parametrize(("condition", "code"), [("noexec_tmp", Cause.TEMPORARY_NOEXEC), ("read_only_cgroups", Cause.CGROUP)])
def test_real_weaknesses(condition: str, code: Cause, each_jailed: None, tmp_path: Path) -> None:
    """Rungs that can be had, with less: the finding is listed, on the text page too."""
    found = diagnose(condition, tmp_path)
    assert found["rungs"]["landlock"]["available"]
    findings = {finding["code"]: finding for finding in found["findings"]}
    assert code.value in findings and code.value not in {each["code"] for each in diagnose("masked_proc", tmp_path)["findings"]}
    check_documented(findings[code.value]["cause"], findings[code.value]["remedy"])


@pytest.mark.exec
def test_a_filter_like_podmans_costs_the_host_name_only(each_jailed: None, tmp_path: Path) -> None:
    """Announced once, by doctor and by every result."""
    guards = diagnose("podman_filter", tmp_path)["rungs"]["namespaces"]["guards"]
    told = [missing for missing in guards["missing"] if missing.startswith("host name")]
    assert len(told) == 1 and told[0] in HOWTO
    (tmp_path / "p.py").write_text("import os; print(os.uname().nodename)")
    command = [sys.executable, str(HERE / "hosts.py"), "podman_filter", sys.executable, "-m", "groundrun", "run", "--json", "p.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60)
    execution = json.loads(done.stdout)
    assert execution["isolation"]["rung"] == "namespaces" and execution["isolation"]["missing"] == guards["missing"]


@pytest.mark.exec
def test_native_part_that_can_not_be_executed(each_jailed: None, tmp_path: Path) -> None:
    found = diagnose("noexec_package", tmp_path)
    assert {rung["code"] for rung in found["rungs"].values()} == {"native-unusable"}
    assert "noexec" in found["rungs"]["namespaces"]["refused"]


@pytest.mark.exec
@pytest.mark.parametrize(
    ("words", "rung"), [(("--require", "namespaces"), "namespaces"), (("--isolation", "namespaces"), "namespaces"), ((), "landlock")]
)
def test_requiring_prints_cause_and_remedy(words: tuple[str, ...], rung: str, each_jailed: None, tmp_path: Path) -> None:
    """The same two sentences as `doctor`, and status 2; without a requirement, the weaker rung."""
    said = diagnose("docker_filter", tmp_path)["rungs"]["namespaces"]
    (tmp_path / "p.py").write_text("print(6 * 7)")
    command = [sys.executable, str(HERE / "hosts.py"), "docker_filter", sys.executable, "-m", "groundrun", "run", *words, "p.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60)
    if rung == "landlock":
        assert (done.returncode, done.stdout) == (0, "42\n")
    else:
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
        assert said["refused"] in done.stderr and said["remedy"] in done.stderr


@pytest.fixture
def plain(each_jailed: None, reachable: str) -> tuple[list[str], dict[str, str]]:
    """A Python that any user can reach, with groundrun: the command's head and environment; skips by name."""
    head = ["/usr/bin/python3"]
    environment = {"PYTHONPATH": reachable, "HOME": "/", "TMPDIR": "/tmp", "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.defpath}
    command = [*head, "-c", "import groundrun.cli.doctor"]
    ready = subprocess.run(command, user=65534, env=environment, capture_output=True, text=True, timeout=60)
    if ready.returncode:
        pytest.skip(f"an ordinary user can't reach a Python with groundrun's libraries: {ready.stderr.strip().splitlines()[-1]}")
    shutil.copy(HERE / "hosts.py", reachable)
    return [*head, f"{reachable}/hosts.py"], environment


@pytest.mark.exec
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("condition", "code"), [("no_user_namespaces", Cause.NAMESPACE_LIMIT), ("docker_filter", Cause.SECCOMP)])
def test_ordinary_user(condition: str, code: Cause, plain: tuple[list[str], dict[str, str]]) -> None:
    """Who can't change the host is told what to ask its root for."""
    head, environment = plain
    command = [*head, condition, head[0], "-m", "groundrun", "doctor", "--json"]
    done = subprocess.run(
        command, user=65534, group=65534, extra_groups=[], cwd="/", env=environment, capture_output=True, text=True, timeout=90
    )
    found = json.loads(done.stdout)
    assert found["rungs"]["namespaces"]["code"] == code.value, found
    assert found["isolation"] == "landlock"
    assert [finding["code"] for finding in found["findings"]] == [Cause.CGROUP.value]


@pytest.mark.exec
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("condition", "lacks"), [("no_kill", "CAP_KILL"), ("no_dac_override", "CAP_DAC_OVERRIDE"), ("no_capabilities", "CAP_SETUID")]
)
def test_root_without_capabilities(condition: str, lacks: str, plain: tuple[list[str], dict[str, str]], tmp_path: Path) -> None:
    """It can't care for programs of another uid, so they get its own, and that is announced; right programs pass, and endless ones end."""
    head, environment = plain
    (tmp_path / "right.py").write_text("open('kept', 'w').write('x'); print(6 * 7)")
    (tmp_path / "endless.py").write_text("import signal, time\nsignal.signal(15, signal.SIG_IGN)\ntime.sleep(600)")
    for name, outcome in (("right.py", "ok"), ("endless.py", "wall_limit")):
        words = ["run", "--json", "--isolation", "landlock", "--wall", "3", "--cpu", "3", name]
        command = [*head, condition, head[0], "-m", "groundrun", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        execution = json.loads(done.stdout)
        assert execution["outcome"] == outcome, execution
        assert any(lacks in missing for missing in execution["isolation"]["missing"]), execution["isolation"]


@pytest.mark.exec
@pytest.mark.timeout(150)
def test_gvisor(tmp_path: Path) -> None:
    """In a real one, where runsc is installed."""
    runsc = shutil.which("runsc")
    if runsc is None or os.geteuid() != 0:
        pytest.skip("gVisor: runsc isn't installed, or this isn't root")
    script = tmp_path / "doctor.sh"
    out = f"PYTHONPATH={ROOT / 'src'} {sys.executable} -m groundrun doctor --json\nexit 0"
    script.write_text(out)
    done = subprocess.run(
        [runsc, "--network=none", "--ignore-cgroups", "do", "sh", str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    if not done.stdout.startswith("{"):
        pytest.skip(f"gVisor: runsc do doesn't work here: {done.stderr.strip()[:200]}")
    for rung in json.loads(done.stdout)["rungs"].values():
        assert rung["code"] == Cause.GVISOR.value, rung
        check_documented(rung["refused"], rung["remedy"])


def make_host(root: Path, **files: str) -> Facts:
    """Facts of a host that consists of these files; `__` stands for the slash."""
    usual = {
        "proc__self__status": "CapEff:\t0000000000000000\nSeccomp:\t0\n",
        "proc__version": "Linux version 6.8.0-40-generic (buildd@x) (gcc)",
    }
    for name, text in (usual | files).items():
        place = root / name.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    (root / "proc/self/ns").mkdir(exist_ok=True)
    (root / "proc/self/ns/user").touch()
    return read_facts(root, kernel_log=lambda: "")


RESTRICTED = {"proc__sys__kernel__apparmor_restrict_unprivileged_userns": "1\n"}
DOCKER = {"proc__self__status": "CapEff:\t00000000a80425fb\nSeccomp:\t2\n", "proc__self__attr__current": "docker-default (enforce)\n"}
UNFILTERED = {"proc__self__attr__current": "docker-default (enforce)\n"}
SELINUX = {"proc__self__attr__current": "system_u:system_r:container_t:s0:c1,c2\0"}
ROOT_STATUS = {
    "proc__self__status": "CapEff:\t000001ffffffffff\nSeccomp:\t0\n",
    "proc__self__uid_map": "         0          0 4294967295\n",
}


UNMAPPED = {"proc__self__status": "Uid:\t0\t0\t0\t0\nCapEff:\t0000000000000000\nSeccomp:\t0\n"}


@pytest.mark.unit
@pytest.mark.parametrize(
    ("files", "step", "error", "cause"),
    [
        (RESTRICTED, "writing setgroups of the jail", errno.EACCES, Cause.APPARMOR_USERNS),
        (RESTRICTED, "writing uid_map of the jail", errno.EPERM, Cause.APPARMOR_USERNS),
        (RESTRICTED, UNSHARE, errno.EPERM, Cause.APPARMOR_USERNS),
        (RESTRICTED, UNSHARE, errno.EACCES, Cause.APPARMOR_USERNS),
        (RESTRICTED, "making the mount namespace private", errno.EACCES, Cause.APPARMOR_USERNS),
        (RESTRICTED | ROOT_STATUS, "making the mount namespace private", errno.EACCES, Cause.UNKNOWN),
        ({"proc__sys__kernel__apparmor_restrict_unprivileged_userns": "0"}, UNSHARE, errno.EPERM, Cause.UNKNOWN),
        (RESTRICTED | DOCKER, UNSHARE, errno.EPERM, Cause.SECCOMP),
        (RESTRICTED | DOCKER, "writing uid_map of the jail", errno.EPERM, Cause.APPARMOR_USERNS),
        (DOCKER, "making the mount namespace private", errno.EACCES, Cause.SECURITY_LABEL),
        (UNFILTERED, "making the mount namespace private", errno.EACCES, Cause.SECURITY_LABEL),
        (UNMAPPED, "writing uid_map of the jail", errno.EPERM, Cause.CAPABILITY),
        (SELINUX, "binding /usr", errno.EACCES, Cause.SECURITY_LABEL),
        ({"proc__sys__kernel__unprivileged_userns_clone": "0"}, UNSHARE, errno.EPERM, Cause.USERNS_CLONE),
        ({"proc__sys__kernel__unprivileged_userns_clone": "0"}, "mounting a tmpfs", errno.EPERM, Cause.UNKNOWN),
        ({"proc__sys__user__max_user_namespaces": "0"}, UNSHARE, errno.ENOSPC, Cause.NAMESPACE_LIMIT),
        ({"proc__sys__user__max_user_namespaces": "7"}, UNSHARE, errno.ENOSPC, Cause.NAMESPACES_USED_UP),
        ({"proc__self__mountinfo": "22 1 0:5 / /proc rw - proc proc rw\n"}, UNSHARE, errno.EPERM, Cause.CHROOT),
        ({"proc__self__mountinfo": "22 1 0:5 / / rw - ext4 /dev/vda rw\n"}, UNSHARE, errno.EPERM, Cause.UNKNOWN),
        ({"proc__self__status": ""}, "opening /proc", errno.ENOENT, Cause.PROC_MISSING),
        ({}, UNSHARE, errno.EPERM, Cause.UNKNOWN),
    ],
)
def test_made_files(tmp_path: Path, files: dict[str, str], step: str, error: int, cause: Cause) -> None:
    found = explain(step, error, rung=Rung.NAMESPACES, warden=WARDEN, facts=make_host(tmp_path, **files))
    assert found is not None and found.code is cause
    assert f"({step}: {os.strerror(error)})" in found.cause and found.remedy.endswith("or use isolation='landlock'")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("files", "step", "error"),
    [
        (RESTRICTED, "writing setgroups of the jail", errno.EACCES),
        (UNFILTERED, "making the mount namespace private", errno.EACCES),
        (SELINUX, "making the mount namespace private", errno.EACCES),
        ({"proc__sys__kernel__unprivileged_userns_clone": "0"}, UNSHARE, errno.EPERM),
    ],
)
def test_what_the_how_to_shows_from_files(tmp_path: Path, files: dict[str, str], step: str, error: int) -> None:
    found = explain(step, error, rung=Rung.NAMESPACES, warden=WARDEN, facts=make_host(tmp_path, **files))
    assert found is not None
    check_documented(found.cause, found.remedy)


@pytest.mark.unit
def test_a_kernel_without_user_namespaces(tmp_path: Path) -> None:
    make_host(tmp_path)
    (tmp_path / "proc/self/ns/user").unlink()
    found = explain(UNSHARE, errno.EINVAL, rung=Rung.NAMESPACES, facts=read_facts(tmp_path, kernel_log=lambda: ""))
    assert found is not None and found.code is Cause.NO_USER_NAMESPACES


@pytest.mark.unit
@pytest.mark.parametrize(
    ("step", "error"),
    [(UNSHARE, errno.EAGAIN), ("clone with new namespaces is refused", errno.ENOMEM), ("executing /x", 13), ("binding /usr", 2)],
)
def test_what_is_no_refusal(tmp_path: Path, step: str, error: int) -> None:
    """A host that is only busy, and a runtime that isn't there."""
    assert explain(step, error, rung=Rung.NAMESPACES, facts=make_host(tmp_path)) is None


@pytest.mark.unit
@pytest.mark.parametrize(
    ("error", "files", "log", "cause", "says"),
    [
        (errno.ENOSYS, {"proc__version": "Linux version 5.10.0-30-amd64 (debian)"}, "", Cause.LANDLOCK_MISSING, "Linux 5.10.0-30-amd64"),
        (errno.ENOSYS, {}, "", Cause.LANDLOCK_MISSING, "built without"),
        (errno.ENOSYS, DOCKER, "", Cause.LANDLOCK_FILTERED, "or the kernel was built without it"),
        (errno.EPERM, DOCKER, "", Cause.LANDLOCK_FILTERED, "refuses landlock"),
        (errno.ENOSYS, DOCKER | {"sys__kernel__security__lsm": "yama,apparmor"}, "", Cause.LANDLOCK_MISSING, "built without"),
        (errno.EOPNOTSUPP, {"sys__kernel__security__lsm": "lockdown,yama,apparmor\n"}, "", Cause.LANDLOCK_DISABLED, "boot"),
        (errno.ENOSYS, {"proc__version": "Linux version 4.4.0 #1 SMP Sun"}, "[0.0] Starting gVisor...", Cause.GVISOR, "gVisor"),
        (errno.ENOSYS, {"proc__version": "Linux version 4.4.0 #1 SMP Sun"}, "", Cause.LANDLOCK_MISSING, "4.4.0"),
    ],
)
def test_landlock(tmp_path: Path, error: int, files: dict[str, str], log: str, cause: Cause, says: str) -> None:
    make_host(tmp_path, **files)
    found = explain_landlock(error, read_facts(tmp_path, kernel_log=lambda: log))
    assert found.code is cause and says in found.cause
    if cause is Cause.LANDLOCK_DISABLED:
        assert "lsm=landlock,lockdown,yama,apparmor " in found.remedy


@pytest.mark.unit
@pytest.mark.parametrize(
    ("mounts", "says"),
    [
        ("", "no cgroups are mounted"),
        ("30 22 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n", "read-only"),
        ("30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n", "isn't delegated"),
        (
            "30 22 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n31 22 0:27 / /sys/fs/cgroup/unified rw - cgroup2 c rw\n",
            "version 1",
        ),
    ],
)
def test_cgroups(tmp_path: Path, mounts: str, says: str) -> None:
    found = explain_cgroups(make_host(tmp_path, proc__self__mountinfo=mounts))
    assert says in found.cause
    check_documented(found.cause, found.remedy)


@pytest.mark.unit
def test_every_cause_is_in_the_how_to() -> None:
    """By its code, as a row of the table."""
    for cause in Cause:
        assert f"| `{cause.value}` |" in HOWTO, cause


@pytest.mark.unit
def test_this_host_can_be_read() -> None:
    """The real files give facts, each a single line when shown."""
    facts = read_facts()
    assert facts.proc and facts.version >= (4, 0)
    for error in (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EINVAL, errno.ENOSYS):
        found = explain(UNSHARE, error, rung=Rung.NAMESPACES, facts=facts)
        assert isinstance(found, Finding) and "\n" not in found.cause + found.remedy
    assert msgspec.json.decode(msgspec.json.encode(facts), type=Facts) == facts
