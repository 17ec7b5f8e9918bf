"""Why this host refuses a rung: the cause in one line, and in another what to do about it.

A cause is named from three things: the step that failed, its errno, and what the kernel's files say about the host (sysctls, the
security label, the seccomp mode, the mounts). Promised: no cause is named without evidence in one of those files, apart from the
errnos that have one meaning only; what isn't recognised is told as it was said, with the code `unknown`. Not promised: that
the first cause is the only one. Where two walls stand behind each other, the second shows once the first is gone.

Nothing is tried here: `host` and `warden` try. The files are read below a folder that tests can name.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path

import msgspec

from groundrun.engine.exhaustion import BUSY
from groundrun.records import Isolation, MemoryGuard, Rung

_CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7, "SYS_ADMIN": 21, "SETFCAP": 31}
_SYSLOG_READ_ALL = 3
_LOG_BYTES = 1 << 16
_FIRST_WITH_LANDLOCK = (5, 13)
_UNCONFINED = ("", "unconfined", "unprivileged_userns", "kernel")
_STEPS = (
    "unshare", "clone with", "writing setgroups", "writing uid_map", "writing gid_map", "opening /proc", "making the mount namespace",
    "mounting", "preparing the new root", "entering the new root", "leaving the old root", "settling in the new root", "sethostname",
    "becoming the jail's user", "making a slot", "binding", "hiding", "pidfd_open", "installing the seccomp filter",
    "making the landlock ruleset",
)  # fmt: skip
_STEPS_OF_BOTH = ("pidfd_open", "installing the seccomp filter", "making the landlock ruleset")
_MAPS = ("writing setgroups", "writing uid_map", "writing gid_map")


class Cause(Enum):
    """What stands in the way; the values are stable."""

    NAMESPACE_LIMIT = "namespace-limit"
    NAMESPACES_USED_UP = "namespaces-used-up"
    USERNS_CLONE = "unprivileged-userns-clone"
    APPARMOR_USERNS = "apparmor-userns"
    SECURITY_LABEL = "security-label"
    SECCOMP = "seccomp-filter"
    NO_USER_NAMESPACES = "no-user-namespaces"
    CHROOT = "chroot"
    PROC_MISSING = "proc-missing"
    GVISOR = "gvisor"
    LANDLOCK_MISSING = "landlock-missing"
    LANDLOCK_DISABLED = "landlock-disabled"
    LANDLOCK_FILTERED = "landlock-filtered"
    CAPABILITY = "capability-missing"
    PIDFD = "pidfd-refused"
    TEMPORARY_UNUSABLE = "tmp-unusable"
    TEMPORARY_NOEXEC = "tmp-noexec"
    CGROUP = "cgroup-not-delegated"
    UNKNOWN = "unknown"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A cause, what it is here, and what to do: one line each."""

    code: Cause
    cause: str
    remedy: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel's files say.

    `capabilities`: those in effect, of the ones that matter here. `outermost`: in the host's own user namespace. `exhausted`: the sysctls
    `user.max_*_namespaces` that are 0. `label`: AppArmor's or SELinux's name for this process, "" where neither confines it. `lsms`: the
    security modules in use, None where that can't be read. `cgroups`: how they are mounted, see explain_cgroups.
    """

    proc: bool = True
    root: bool = False
    capabilities: frozenset[str] = frozenset()
    outermost: bool = False
    exhausted: tuple[str, ...] = ()
    userns_clone: bool = True
    apparmor_restricts: bool = False
    label: str = ""
    filtered: bool = False
    user_namespaces: bool = True
    chrooted: bool = False
    release: str = ""
    lsms: tuple[str, ...] | None = None
    gvisor: bool = False
    cgroups: str = "none"

    @property
    def privileged(self) -> bool:
        """Root of the host, or a process with its CAP_SYS_ADMIN."""
        return self.outermost and "SYS_ADMIN" in self.capabilities

    @property
    def version(self) -> tuple[int, ...]:
        """Of the kernel: the first two numbers."""
        return tuple(int(number) for number in re.findall(r"\d+", self.release)[:2])


def read_kernel_log() -> str:
    """The kernel's messages, "" where they can't be read."""
    space = ctypes.create_string_buffer(_LOG_BYTES)
    got = ctypes.CDLL(None).klogctl(_SYSLOG_READ_ALL, space, _LOG_BYTES)
    return space.raw[: max(got, 0)].decode("utf-8", "replace")


def read_facts(root: Path = Path("/"), *, kernel_log: Callable[[], str] = read_kernel_log) -> Facts:
    """What the files below `root`/proc and `root`/sys say. gVisor's files name it nowhere; its log does."""

    def read(name: str) -> str:
        try:
            return (root / name).read_text(errors="replace").strip("\0\n ")
        except (OSError, ValueError):
            return ""

    status = read("proc/self/status")
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    limits = sorted((root / "proc/sys/user").glob("max_*_namespaces")) if status else []
    mounts = [line.split() for line in read("proc/self/mountinfo").splitlines()]
    lsms = read("sys/kernel/security/lsm")
    version = read("proc/version")
    return Facts(
        proc=bool(status),
        root=lines.get("Uid", "").split()[1:2] == ["0"],
        capabilities=frozenset(name for name, bit in _CAPABILITIES.items() if int(lines.get("CapEff", "0"), 16) >> bit & 1),
        outermost=read("proc/self/uid_map").split()[:2] == ["0", "0"],
        exhausted=tuple(f"user.{limit.name}" for limit in limits if read(str(limit.relative_to(root))) == "0"),
        userns_clone=read("proc/sys/kernel/unprivileged_userns_clone") != "0",
        apparmor_restricts=read("proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1",
        label=_find_label(read),
        filtered=lines.get("Seccomp", "").strip() == "2",
        user_namespaces=not status or os.path.lexists(root / "proc/self/ns/user"),
        chrooted=bool(mounts) and not any(fields[4] == "/" for fields in mounts if len(fields) > 4),
        release=(re.findall(r"\d+\.\d+\S*", version) or [""])[0],
        lsms=tuple(lsms.split(",")) if lsms else None,
        gvisor="gVisor" in version or (bool(version) and "(" not in version and "gVisor" in kernel_log()),
        cgroups=_find_cgroups(mounts),
    )


def _find_label(read: Callable[[str], str]) -> str:
    label = read("proc/self/attr/apparmor/current") or read("proc/self/attr/current")
    return "" if label.split(" ")[0] in _UNCONFINED else label


def _find_cgroups(mounts: list[list[str]]) -> str:
    """`none`, `read-only`, `v2` or `v1`: the best that is mounted."""
    kinds = set()
    for fields in mounts:
        if "-" not in fields:
            continue
        kind, *rest = fields[fields.index("-") + 1 :]
        if kind in ("cgroup", "cgroup2"):
            writable = "ro" not in fields[5].split(",") and (not rest or "ro" not in rest[-1].split(","))
            kinds.add(("v2" if kind == "cgroup2" else "v1") if writable else "read-only")
    return next((kind for kind in ("v1", "v2", "read-only") if kind in kinds), "none")


def explain(step: str, error: int, *, rung: Rung, warden: str = "", facts: Facts | None = None) -> Finding | None:
    """Why a step of building the jail failed with that errno; None when it isn't the host that refuses (or when it is only busy).

    `step`: what the warden said. `warden`: its path, which a profile of AppArmor has to name.
    """
    if error in BUSY or not step.startswith(_STEPS):
        return None
    found = _recognise(step, error, facts or read_facts(), warden)
    if found is None:
        if step.startswith("binding"):
            return None
        found = Cause.UNKNOWN, "the host refuses a step of building the jail", "see docs/howto/hosts.md"
    code, cause, remedy = found
    said = f"{step}: {os.strerror(error)}" if error else step
    weaker = rung is Rung.NAMESPACES and not step.startswith(_STEPS_OF_BOTH)
    return Finding(code=code, cause=f"{cause} ({said})", remedy=f"{remedy}, or use isolation='landlock'" if weaker else remedy)


def _recognise(step: str, error: int, facts: Facts, warden: str) -> tuple[Cause, str, str] | None:
    if not facts.proc:
        return Cause.PROC_MISSING, "/proc isn't mounted here", "mount it (mount -t proc proc /proc)"
    if step.startswith("pidfd_open"):
        return _explain_pidfd(facts)
    if error in (errno.ENOSPC, errno.EUSERS):
        if facts.exhausted:
            wanted = " ".join(f"{name}=10000" for name in facts.exhausted)
            return Cause.NAMESPACE_LIMIT, f"{' and '.join(facts.exhausted)} is 0", f"as root of the host: sysctl -w {wanted}"
        return (
            Cause.NAMESPACES_USED_UP,
            "no more namespaces may be made: a limit is used up, here or around this container, or they are nested too deep",
            "raise the sysctls user.max_*_namespaces on the host, or use fewer workers",
        )
    if not facts.user_namespaces and error in (errno.EINVAL, errno.EPERM, errno.ENOSYS):
        return Cause.NO_USER_NAMESPACES, "the kernel was built without user namespaces", "use a kernel with CONFIG_USER_NS=y"
    if facts.chrooted and error in (errno.EPERM, errno.EINVAL):
        return Cause.CHROOT, "this process runs in a chroot", "enter the folder with pivot_root, or as a container, instead"
    if error not in (errno.EPERM, errno.EACCES, errno.ENOSYS):
        return None
    if step.startswith(_MAPS) and facts.root and "SETFCAP" not in facts.capabilities:
        cause = "this process is root without CAP_SETFCAP, which mapping root into a namespace takes"
        return (
            Cause.CAPABILITY,
            cause,
            "run it as an ordinary user (docker run --user 1000; Kubernetes: runAsUser), or leave it that capability",
        )
    walls = [_explain_sysctl(step, facts), _explain_filter(facts), _explain_apparmor(facts, warden), _explain_label(facts)]
    if error == errno.EACCES or step.startswith(_MAPS):  # a security module's answer, or a write that no filter looks at
        walls = [walls[2], walls[3], walls[1], walls[0]]
    return next((wall for wall in walls if wall is not None), None)


def _explain_sysctl(step: str, facts: Facts) -> tuple[Cause, str, str] | None:
    if facts.userns_clone or facts.privileged or not step.startswith("unshare"):
        return None
    name = "kernel.unprivileged_userns_clone"
    return Cause.USERNS_CLONE, f"{name} is 0, and this process isn't root", f"as root of the host: sysctl -w {name}=1"


def _explain_filter(facts: Facts) -> tuple[Cause, str, str] | None:
    if not facts.filtered:
        return None
    return (
        Cause.SECCOMP,
        "a seccomp filter around this process refuses it, as those of container runtimes do",
        "start the container with --security-opt seccomp=unconfined (Kubernetes: seccompProfile type Unconfined)",
    )


def _explain_apparmor(facts: Facts, warden: str) -> tuple[Cause, str, str] | None:
    if not facts.apparmor_restricts or facts.privileged:
        return None
    name = "kernel.apparmor_restrict_unprivileged_userns"
    remedy = f"give {warden} an AppArmor profile with the rule 'userns,' (docs/howto/hosts.md), or as root of the host: sysctl -w {name}=0"
    return Cause.APPARMOR_USERNS, f"AppArmor restricts user namespaces: {name} is 1", remedy


def _explain_label(facts: Facts) -> tuple[Cause, str, str] | None:
    if not facts.label:
        return None
    who, option = ("SELinux", "label=disable") if facts.label.count(":") >= 3 else ("AppArmor", "apparmor=unconfined")
    kubernetes = " (Kubernetes: appArmorProfile type Unconfined)" if who == "AppArmor" else ""
    return (
        Cause.SECURITY_LABEL,
        f"{who} confines this process as {facts.label!r}",
        f"start the container with --security-opt {option}{kubernetes}",
    )


def _explain_pidfd(facts: Facts) -> tuple[Cause, str, str]:
    if facts.gvisor:
        return Cause.GVISOR, "this gVisor has no pidfd_open", "use a newer release of gVisor"
    if facts.filtered:
        return (
            Cause.PIDFD,
            "a seccomp filter around this process refuses pidfd_open",
            "update the container runtime: its profile is older than that call",
        )
    return Cause.PIDFD, f"the kernel ({facts.release}) has no pidfd_open", "use Linux 5.13 or later"


def explain_landlock(error: int, facts: Facts | None = None) -> Finding:
    """Why landlock can't be had. Both jailed rungs need it."""
    facts = facts or read_facts()
    if facts.gvisor:
        return Finding(
            code=Cause.GVISOR,
            cause="this is gVisor, whose kernel has no landlock",
            remedy="let a sandbox of gVisor hold what may not meet, and ask for 'none' in it; or run groundrun in a virtual machine",
        )
    if error == errno.EOPNOTSUPP:
        lsms = ",".join(["landlock", *(facts.lsms or ("…",))])
        return Finding(
            code=Cause.LANDLOCK_DISABLED,
            cause="landlock is in the kernel but wasn't enabled at boot",
            remedy=f"boot with lsm={lsms} on the kernel's command line",
        )
    old = bool(facts.version) and facts.version < _FIRST_WITH_LANDLOCK
    if facts.filtered and not old and (facts.lsms is None or "landlock" in facts.lsms):
        certain = error == errno.EPERM or facts.lsms is not None
        return Finding(
            code=Cause.LANDLOCK_FILTERED,
            cause="a seccomp filter around this process refuses landlock" + ("" if certain else ", or the kernel was built without it"),
            remedy="update the container runtime, whose profile is older than landlock, or give --security-opt seccomp=unconfined",
        )
    cause = f"Linux {facts.release} has no landlock" if old else "the kernel was built without landlock"
    return Finding(
        code=Cause.LANDLOCK_MISSING,
        cause=cause,
        remedy="use Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK=y and landlock in CONFIG_LSM or lsm=",
    )


def explain_temporary() -> Finding:
    """No folder for temporary files can be written."""
    return Finding(
        code=Cause.TEMPORARY_UNUSABLE,
        cause="no folder for temporary files can be written",
        remedy="name one in TMPDIR, or mount one at /tmp (Kubernetes: an emptyDir)",
    )


def find_weaknesses(isolations: Sequence[Isolation]) -> tuple[Finding, ...]:
    """What this host takes from rungs that can be had, with what to do about it."""
    found = []
    if any(each.memory_guard is MemoryGuard.RLIMIT_AS for each in isolations):
        found.append(explain_cgroups())
    if any(each.rung is Rung.LANDLOCK for each in isolations) and (noexec := explain_noexec(tempfile.gettempdir())):
        found.append(noexec)
    return tuple(found)


def explain_cgroups(facts: Facts | None = None) -> Finding:
    """No memory cgroup can be made, so that the total memory of a run isn't bounded."""
    facts = facts or read_facts()
    whole = "bound the container as a whole (--memory and --pids-limit; Kubernetes: resources.limits)"
    cause, remedy = {
        "none": ("no cgroups are mounted here", whole),
        "read-only": ("cgroups are mounted read-only here, as container runtimes do", whole),
        "v2": (
            "this process's cgroup isn't delegated to it, or without the memory controller",
            "start it with systemd-run --user --scope -p Delegate=yes, or bound the whole job (SLURM: --mem)",
        ),
        "v1": (
            "no memory cgroup of version 1 may be made below this process's",
            "bound the whole job (SLURM: --mem), or let root give this user a folder of the memory hierarchy",
        ),
    }[facts.cgroups]
    return Finding(code=Cause.CGROUP, cause=cause, remedy=remedy)


def explain_noexec(folder: str) -> Finding | None:
    """The folder of temporary files lets nothing be executed; None when it does, or can't be asked."""
    try:
        noexec = os.statvfs(folder).f_flag & os.ST_NOEXEC
    except OSError:
        return None
    if not noexec:
        return None
    return Finding(
        code=Cause.TEMPORARY_NOEXEC,
        cause=f"{folder} is mounted noexec: at rung 'landlock' programs can't run or load what they build",
        remedy="name another folder in TMPDIR",
    )
