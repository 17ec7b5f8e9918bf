"""The inside of the controls: trials of attacks without some of their guards, one after another, in a disposable world.

    python -m groundrun.attacks.controlled < request > trials

Request: JSON of `Request`. Answer: one JSON `Tried` a line, as they come. Started by `controls`, never by hand: with guards left out, only
the world around this process holds what the attacks do.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from groundrun.attacks.attack import Attack, Cheat, Ruling
from groundrun.attacks.catalogue import list_attacks
from groundrun.attacks.guards import Guard
from groundrun.attacks.pages import PageAttack, run_page_attack
from groundrun.attacks.scene import Scene
from groundrun.attacks.suite import NEVER_STARTED, run_attack
from groundrun.attacks.weaken import weakened
from groundrun.engine import Engine, host
from groundrun.engine.interpreter import describe_interpreter
from groundrun.engine.pool import Run
from groundrun.errors import EngineError, ExtraMissing, GroundrunError
from groundrun.judging import Calibration, calibrate, judge
from groundrun.records import Completion, Problem, Rung, Verdict

PATIENCE_S = 8.0
_OWNER = 900_000_000


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """An attack, and the guards that it is tried without."""

    name: str
    rung: Rung
    off: tuple[Guard, ...]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be tried, and the folder of a weak build of the native part."""

    native: str
    trials: tuple[Trial, ...]


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a trial. `impossible`: it could not be tried at all, and why."""

    trial: Trial
    won: bool
    detail: str
    impossible: bool = False


class ImpatientEngine(Engine):
    """Cancels what runs for longer than any attack needs: without its clocks an engine would wait for ever."""

    def _submit(self, run: Run) -> Run:
        timer = threading.Timer(PATIENCE_S, run.cancel)
        timer.daemon = True
        timer.start()
        run.add_done_callback(lambda _: timer.cancel())
        return super()._submit(run)


def main() -> int:
    """Answer the request on standard input."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    out = sys.stdout.buffer
    for tried in try_all(request.trials, Path(request.native)):
        out.write(msgspec.json.encode(tried) + b"\n")
        out.flush()
    return 0


def try_all(trials: Iterable[Trial], native: Path) -> Iterator[Tried]:
    """Carry out trials, those without the same guards together."""
    attacks = {each.name: each for each in list_attacks()}
    calibrations: dict[str, Calibration] = {}
    as_caller = {name for name, each in attacks.items() if isinstance(each, Attack) and each.as_caller}

    def sort(trial: Trial) -> tuple[Rung, int, tuple[Guard, ...], bool]:
        return trial.rung, len(trial.off), trial.off, trial.name in as_caller

    with Scene(owner=_find_owner()) as scene:
        for (rung, _, off, caller), group in groupby(sorted(trials, key=sort), key=sort):
            together, python = list(group), _choose_python(rung)
            try:
                with (
                    weakened(frozenset(off), scene, native, as_caller=caller),
                    ImpatientEngine(workers=1, isolation=rung, python=python) as engine,
                ):
                    engine.isolation  # noqa: B018  # a jail that can't be built must not count as one that was broken
                    for trial in together:
                        yield _try(engine, attacks[trial.name], trial, scene, calibrations)
            except GroundrunError as error:
                yield from (Tried(trial=trial, won=False, detail=f"it can't be tried: {error}", impossible=True) for trial in together)


def _choose_python(rung: Rung) -> str | None:
    """An interpreter that programs can run under as another user: the system's, where the present one lies in a closed folder."""
    system = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    for python in (sys.executable, system) if rung is Rung.LANDLOCK and system else ():
        if host._private_uid(rung, describe_interpreter(python))[0]:
            return python
    return None


def _has_private_user(engine: Engine) -> bool:
    return not any(sentence.startswith("private uid") for sentence in engine.isolation.missing)


def _knows(number: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.syscall(ctypes.c_long(number), 0, 0, 0, 0) != -1 or ctypes.get_errno() != errno.ENOSYS


def _find_owner() -> int | None:
    """A user without rights, for canaries to belong to: what root owns is protected by root's rights as well."""
    return _OWNER if os.geteuid() == 0 and host._maps_high_uids() else None


def _try(engine: Engine, attack: Any, trial: Trial, scene: Scene, calibrations: dict[str, Calibration]) -> Tried:
    if isinstance(attack, Attack) and attack.needs and not _knows(attack.needs):
        return Tried(trial=trial, won=False, detail=f"this kernel has no system call {attack.needs:#x}", impossible=True)
    if isinstance(attack, Attack) and attack.needs_limit >= 0 and resource.getrlimit(attack.needs_limit)[1] == 0:
        return Tried(trial=trial, won=False, detail="the hard limit of this host is 0, and not the guard's doing", impossible=True)
    owned = scene.owner is not None and not (isinstance(attack, Attack) and attack.as_caller)
    if trial.rung is Rung.LANDLOCK and Guard.PRIVATE_USER in trial.off and owned and not _has_private_user(engine):
        return Tried(trial=trial, won=False, detail="programs have no user of their own on this host at rung landlock", impossible=True)
    try:
        if isinstance(attack, PageAttack):
            result = run_page_attack(engine, attack, acting=True)
        elif isinstance(attack, Attack):
            for _ in range(attack.chances):
                result = run_attack(engine, attack, scene)
                if result.verdict is not Ruling.CONTAINED:
                    break
        else:
            return _try_cheat(engine, attack, trial, calibrations)
    except ExtraMissing as error:
        return Tried(trial=trial, won=False, detail=str(error), impossible=True)
    except Exception as error:  # of an engine without a guard: whatever a program can raise in it, it has won
        return Tried(trial=trial, won=True, detail=f"it broke the engine: {type(error).__name__}: {error}"[:300])
    won = result.verdict is not Ruling.CONTAINED and not (trial.off and NEVER_STARTED in result.detail)
    return Tried(trial=trial, won=won, detail=result.detail)


def _try_cheat(engine: Engine, cheat: Cheat, trial: Trial, calibrations: dict[str, Calibration]) -> Tried:
    """Have a cheat judged by a weaker judge, which has to tell right from wrong all the same."""
    problem = cheat.problem
    if problem.task_id not in calibrations:
        if trial.off:
            with Engine(workers=1) as whole:
                calibrations[problem.task_id] = calibrate(whole, problem)
        else:
            calibrations[problem.task_id] = calibrate(engine, problem)
    calibration = calibrations[problem.task_id]
    right, wrong = problem.reference or "", f"def {problem.entry_point or 'strict_number'}(*given):\n    return 'wrong'\n"
    for source, passes in ((right, True), (wrong, False)):
        told = _judge(engine, problem, Completion(task_id=problem.task_id, text=source, solution=source), calibration)
        if not isinstance(told, Verdict) or told.passed is not passes:
            return Tried(trial=trial, won=False, detail=f"the judge can't tell right from wrong: {told}", impossible=True)
    told = _judge(engine, problem, cheat.completion(), calibration)
    if not isinstance(told, Verdict):
        return Tried(trial=trial, won=True, detail=f"it forced a mask: {told}")
    if told.passed is None:
        return Tried(trial=trial, won=True, detail=f"it forced a mask: {told.reason}")
    return Tried(trial=trial, won=told.passed, detail="judged right" if told.passed else f"judged wrong: {told.reason}")


def _judge(engine: Engine, problem: Problem, completion: Completion, calibration: Calibration) -> Verdict | str:
    try:
        return judge(engine, problem, completion, calibration)
    except EngineError as error:
        return str(error)


if __name__ == "__main__":
    sys.exit(main())
