"""Negative controls: each attack wins once the guards that it names are left out, and not while any one of them stands.

That an attack is contained says nothing unless it would win otherwise. So each is tried three ways in a disposable world (`disposable`),
against canaries that live in there: with every guard, without the set that it names, and without each part of that set that lacks one
guard. The guards are left out of a test build of the native part and of the policy (`weaken`), in a process that ends with the world.

Promises that what is installed can't be weakened so: its binaries have no list of guards to leave out. Doesn't promise that the named set
is the only one. A trial that this host can't make (a kernel without x32, say) is told apart, and fails nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

import groundrun
from groundrun.attacks.attack import Attack, Cheat, Family
from groundrun.attacks.controlled import Request, Trial, Tried
from groundrun.attacks.disposable import choose_place
from groundrun.attacks.guards import Guard
from groundrun.attacks.pages import PageAttack
from groundrun.attacks.suite import choose
from groundrun.engine.cgroups import find_delegation
from groundrun.errors import UsageError
from groundrun.records import Rung

TRIAL_S = 60.0  # no trial takes longer; then the whole world is ended
_SOURCES = Path(groundrun.__file__).resolve().parents[2]
_BUILD_S = 120


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """What an attack's controls showed on a rung.

    contained: with every guard it won nothing. succeeded: without `off` it won. minimal: no part of `off` suffices; None where that was
    not tried. impossible: why it could not be tried here, in place of all that.
    """

    name: str
    family: Family
    rung: Rung
    off: tuple[Guard, ...]
    contained: bool = False
    succeeded: bool = False
    minimal: bool | None = None
    detail: str = ""
    impossible: str = ""

    @property
    def holds(self) -> bool:
        """Whether the control shows what it should, as far as it could be tried."""
        return bool(self.impossible) or (self.contained and self.succeeded and self.minimal is not False)


class ControlSuite(msgspec.Struct, frozen=True, kw_only=True):
    """All controls, as `groundrun attack --controls --json` prints them. `held`: how many, of how many that could be tried.

    unproven: attacks for which no guard can be left out so that they would win, and why.
    """

    held: tuple[int, int]
    controls: tuple[Control, ...]
    unproven: dict[str, str]


Progress = Callable[[Control], None]


def run_controls(only: Iterable[str] = (), *, parts: bool = True, progress: Progress | None = None) -> ControlSuite:
    """Try the attacks with the names or families `only`, or all of them. `parts`: also without each part of their sets.

    Raises UsageError for an unknown name, and where no compiler or no disposable world is to be had.
    """
    chosen = choose(only)
    plans = [(each, rung, off) for each in chosen for rung, off in name_sets(each)]
    trials = [trial for each, rung, off in plans for trial in _plan(each.name, rung, off, parts=parts)]
    controls = []
    with tempfile.TemporaryDirectory(prefix="groundrun-controls-") as folder:
        tried = {tried.trial: tried for tried in _try_apart(trials, build_weak(Path(folder)))} if trials else {}
    for each, rung, off in plans:
        control = _conclude(each, rung, off, tried, parts=parts)
        controls.append(control)
        if progress is not None:
            progress(control)
    possible = [each for each in controls if not each.impossible]
    return ControlSuite(
        held=(sum(each.holds for each in possible), len(possible)),
        controls=tuple(controls),
        unproven={each.name: each.unproven for each in chosen if not isinstance(each, PageAttack) and each.unproven},
    )


def name_sets(attack: Attack | Cheat | PageAttack) -> list[tuple[Rung, tuple[Guard, ...]]]:
    """The sets of guards that an attack names, by rung."""
    found = [(Rung.NAMESPACES, attack.guards)]
    if isinstance(attack, Attack):
        found.append((Rung.LANDLOCK, attack.at_landlock))
    return [(rung, tuple(sorted(off))) for rung, off in found if off]


def build_weak(folder: Path) -> Path:
    """Build the native part with its list of guards to leave out. Raises UsageError without the sources or a compiler."""
    if not (_SOURCES / "setup.py").exists():
        raise UsageError("the controls need a source checkout: guards can be left out only of a test build of the native part")
    command = [
        sys.executable,
        "-W",
        "ignore",
        "setup.py",
        "-q",
        "build_native",
        "--werror",
        "--into",
        str(folder),
        "--define",
        "GROUNDRUN_WEAK",
    ]
    done = subprocess.run(command, cwd=_SOURCES, capture_output=True, text=True, timeout=_BUILD_S)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise UsageError(f"the controls need a test build of the native part, which failed: {said}")
    return folder


def _plan(name: str, rung: Rung, off: tuple[Guard, ...], *, parts: bool) -> list[Trial]:
    sets = [(), off, *(_without(off) if parts else ())]
    return [Trial(name=name, rung=rung, off=each) for each in sets]


def _without(off: tuple[Guard, ...]) -> list[tuple[Guard, ...]]:
    """The set less each of its guards that stands on this host: one that doesn't can hold nothing."""
    absent = find_absent()
    return [tuple(guard for guard in off if guard is not kept) for kept in off if kept not in absent] if len(off) > 1 else []


def find_absent() -> frozenset[Guard]:
    """The guards that this host doesn't give: cgroups that aren't delegated, and, to an ordinary user, another user for programs."""
    found = find_delegation()
    stands = {
        Guard.PRIVATE_USER: os.geteuid() == 0,
        Guard.CGROUP_CPU: found.cpu is not None,
        Guard.CGROUP_MEMORY: found.memory is not None,
        Guard.CGROUP_PIDS: found.pids is not None,
    }
    return frozenset(guard for guard, standing in stands.items() if not standing)


def _try_apart(trials: list[Trial], native: Path) -> Iterator[Tried]:
    """Have trials carried out in a disposable world, which ends with the last, or when one of them never does."""
    inside = str(native / "inside")
    place = choose_place(str(_SOURCES), os.path.realpath(sys.executable), sys.prefix, inside)
    module = [sys.executable, "-m", "groundrun.attacks.disposable", sys.executable, "-m", "groundrun.attacks.controlled"]
    environment = {**os.environ, "TMPDIR": place, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        module, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", env=environment
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdin.write(msgspec.json.encode(Request(native=str(native), trials=tuple(trials))))
        process.stdin.close()
        count, last = 0, ""
        try:
            while line := _read_line(process):
                tried = msgspec.json.decode(line, type=Tried)
                count, last = count + 1, tried.trial.name
                yield tried
            said = process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        finally:
            process.kill()
    if count < len(trials):
        raise UsageError(f"the controls came to no end after {count} of {len(trials)} trials ({last}): {said[-1] if said else 'killed'}")


def _read_line(process: subprocess.Popen[bytes]) -> bytes:
    """The next line; nothing at the end, which comes at the latest when a trial took too long."""
    assert process.stdout is not None
    timer = threading.Timer(TRIAL_S, process.kill)
    timer.start()
    try:
        return process.stdout.readline()
    finally:
        timer.cancel()


def _conclude(
    attack: Attack | Cheat | PageAttack, rung: Rung, off: tuple[Guard, ...], tried: dict[Trial, Tried], *, parts: bool
) -> Control:
    control = Control(name=attack.name, family=attack.family, rung=rung, off=off)
    if set(off) <= find_absent():
        return msgspec.structs.replace(control, impossible="this host gives none of these guards")
    whole, without, *others = (tried[trial] for trial in _plan(attack.name, rung, off, parts=parts))
    for each in (whole, without):
        if each.impossible:
            return msgspec.structs.replace(control, impossible=each.detail)
    enough = [each for each in others if each.won or each.impossible]
    told = [f"with every guard: {whole.detail}"] if whole.won else []
    told += [f"without {', '.join(each.trial.off)} alone: {each.detail}" for each in enough]
    return msgspec.structs.replace(
        control,
        contained=not whole.won,
        succeeded=without.won,
        minimal=not enough if others else None,
        detail="; ".join([*told, without.detail]),
    )
