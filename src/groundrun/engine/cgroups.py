"""Standing cgroups: which this host delegates, of either version, and what a warden is told about them.

One set per worker and lane, made by the warden, joined by every program, removed by the warden at its end. Version 2 counts
processor time in any folder that can be made; memory and process limits come from whichever version has the controller
where folders can be made. Nothing of the user's own process is moved.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import msgspec

from groundrun.records import CpuSource, MemoryGuard

_PREFIX = "groundrun-"
_TURNS = (0, 1)


class Delegation(msgspec.Struct, frozen=True, kw_only=True):
    """What can be had: the folders in which ours may be made, by what they give."""

    cpu: str | None = None
    cpu_file: str = ""
    memory: str | None = None
    memory_guard: MemoryGuard = MemoryGuard.RLIMIT_AS
    pids: str | None = None

    @property
    def joined(self) -> int:
        """How many folders programs join, one of them each, in turn; the zygote joins the rest for all."""
        return len(_TURNS) if self.memory else 0

    @property
    def cpu_source(self) -> CpuSource:
        """Who will measure processor time."""
        return CpuSource.CGROUP if self.cpu else CpuSource.WAIT4


def find_delegation() -> Delegation:
    """What this host delegates to this process; tried by making and removing a folder, once per process."""
    return _find(os.getpid())


@cache
def _find(pid: int) -> Delegation:
    own = _own_cgroups()
    mounts = _mounted()
    unified = _usable(mounts.get(""), own.get(""))
    limiting = _find_limiting(mounts.get(""), own.get(""))
    found: dict[str, object] = {}
    if unified and _has(unified, "cpu.stat"):
        found |= {"cpu": unified, "cpu_file": "cpu.stat"}
    elif account := _usable(mounts.get("cpuacct"), own.get("cpuacct")):
        found |= {"cpu": account, "cpu_file": "cpuacct.usage"}
    if limiting and _has(limiting, "memory.max"):
        found |= {"memory": limiting, "memory_guard": MemoryGuard.CGROUP2}
    elif memory := _usable(mounts.get("memory"), own.get("memory")):
        found |= {"memory": memory, "memory_guard": MemoryGuard.CGROUP1}
    if limiting and _has(limiting, "pids.max"):
        found["pids"] = limiting
    elif pids := _usable(mounts.get("pids"), own.get("pids")):
        found["pids"] = pids
    for folder in {str(place) for name, place in found.items() if name in ("cpu", "memory", "pids")}:
        _sweep(Path(folder))
    return msgspec.convert(found, Delegation)


def find_cpu_quota() -> float:
    """Cores' worth of processor time that this process's cgroup and those above it allow; infinity without a quota."""
    own, mounts = _own_cgroups(), _mounted()
    quotas = [float("inf")]
    for controller, quota_file, period_file in (("", "cpu.max", None), ("cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")):
        folder = _folder(mounts.get(controller), own.get(controller))
        for place in [folder, *folder.parents] if folder else []:
            try:
                words = (place / quota_file).read_text().split()
                period = words[1] if period_file is None else (place / period_file).read_text()
                if words[0] not in ("max", "-1"):
                    quotas.append(int(words[0]) / int(period))
            except (OSError, ValueError, IndexError):
                continue
    return min(quotas)


def find_memory_limit() -> float:
    """Bytes that this process's cgroup and those above it allow; infinity without a limit."""
    own, mounts = _own_cgroups(), _mounted()
    limits = [float("inf")]
    for controller, file in (("", "memory.max"), ("memory", "memory.limit_in_bytes")):
        folder = _folder(mounts.get(controller), own.get(controller))
        for place in [folder, *folder.parents] if folder else []:
            try:
                limits.append(int((place / file).read_text()))
            except (OSError, ValueError):
                continue
    return min(limits)


def name_cgroups(delegation: Delegation, number: int) -> list[str]:
    """The folders of lane `number`'s standing cgroups; the two that programs join in turn, for their memory, come first."""
    joined = [f"{delegation.memory}/{_name(number, turn)}" for turn in _TURNS] if delegation.memory else []
    others = dict.fromkeys(folder for folder in (delegation.cpu, delegation.pids) if folder and folder != delegation.memory)
    return joined + [f"{folder}/{_name(number)}" for folder in others]


def describe_to_warden(delegation: Delegation, number: int) -> list[str]:
    """The warden's arguments for the standing cgroups of lane `number`."""
    words = []
    for place, folder in enumerate(name_cgroups(delegation, number)):
        words += ["--cgroup" if delegation.memory and place < len(_TURNS) else "--zygote-cgroup", folder]
    for turn in _TURNS:
        words += ["--group", str(turn), *_describe_group(delegation, number, turn)]
    return words


def _describe_group(delegation: Delegation, number: int, turn: int) -> list[str]:
    def place(folder: str) -> str:
        return f"{folder}/{_name(number, turn if folder == delegation.memory else None)}"

    words = []
    if delegation.cpu:
        words += ["--cpu-file", f"{place(delegation.cpu)}/{delegation.cpu_file}"]
    if delegation.memory:
        at = place(delegation.memory)
        two = delegation.memory_guard is MemoryGuard.CGROUP2
        words += ["--memory-limit", f"{at}/{'memory.max' if two else 'memory.limit_in_bytes'}"]
        words += ["--memory-peak", f"{at}/{'memory.peak' if two else 'memory.max_usage_in_bytes'}"]
        words += ["--memory-current", f"{at}/{'memory.current' if two else 'memory.usage_in_bytes'}"]
        words += ["--memory-events", f"{at}/{'memory.events' if two else 'memory.oom_control'}"]
        if two:
            words += ["--set", f"{at}/memory.oom.group", "1", "--set", f"{at}/memory.swap.max", "0"]
        else:
            words += ["--set", f"{at}/memory.swappiness", "0"]
    if delegation.pids:
        at = place(delegation.pids)
        words += ["--pids-limit", f"{at}/pids.max", "--pids-events", f"{at}/pids.events", "--pids-current", f"{at}/pids.current"]
    return words


def _name(number: int, turn: int | None = None) -> str:
    return f"{_PREFIX}{os.getpid()}-{number}" + ("" if turn is None else f"-{turn}")


def _own_cgroups() -> dict[str, str]:
    """Controller to this process's cgroup; "" is version 2."""
    own = {}
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        number, controllers, path = line.split(":", 2)
        for controller in [""] if number == "0" else controllers.split(","):
            own[controller] = path
    return own


def _mounted() -> dict[str, tuple[str, str]]:
    """Controller to (mount point, the cgroup that is mounted there); "" is version 2."""
    found: dict[str, tuple[str, str]] = {}
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, (kind, _, options) = left.split(), right.split(" ", 2)
        if kind == "cgroup2":
            found[""] = (fields[4], fields[3])
        elif kind == "cgroup":
            for option in options.split(","):
                found[option] = (fields[4], fields[3])
    return found


def _folder(mount: tuple[str, str] | None, own: str | None) -> Path | None:
    """Where a hierarchy shows this process's cgroup."""
    if mount is None or own is None:
        return None
    point, root = mount
    relative = own[len(root) :] if root != "/" and own.startswith(root) else own
    return Path(os.path.normpath(f"{point}/{relative}"))


def _usable(mount: tuple[str, str] | None, own: str | None) -> str | None:
    """The folder of this process's cgroup, if folders can be made there and processes moved into them."""
    folder = _folder(mount, own)
    if folder is None:
        return None
    trial = folder / f"{_PREFIX}{os.getpid()}-probe"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError:
        return None
    return str(folder) if os.access(folder / "cgroup.procs", os.W_OK) else None


def _find_limiting(mount: tuple[str, str] | None, own: str | None) -> str | None:
    """The nearest cgroup of version 2, from this process's up, whose new children get the memory controller.

    Rarely its own: a cgroup that holds processes can't hand controllers down.
    """
    folder = _folder(mount, own)
    if folder is None or mount is None:
        return None
    for place in (folder, *folder.parents):
        if os.access(place / "cgroup.procs", os.W_OK) and _has(str(place), "memory.max"):
            return str(place)
        if str(place) == mount[0]:
            break
    return None


def _has(folder: str, name: str) -> bool:
    """Whether a child of that cgroup would have the file, that is, the controller."""
    trial = f"{folder}/{_PREFIX}{os.getpid()}-probe"
    try:
        os.mkdir(trial)
        present = os.path.exists(f"{trial}/{name}")
        os.rmdir(trial)
    except OSError:
        return False
    return present


def _sweep(folder: Path) -> None:
    """Remove what wardens that were killed themselves left behind: only folders whose process is gone."""
    try:
        names = [entry.name for entry in folder.iterdir() if entry.name.startswith(_PREFIX)]
    except OSError:
        return
    for name in names:
        pid = name.removeprefix(_PREFIX).split("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            try:
                (folder / name).rmdir()
            except OSError:
                continue
