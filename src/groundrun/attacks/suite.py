"""Running the attacks: each on an engine, in front of a scene, with a ruling from what the scene looks like afterwards.

What it promises: a program that got hold of a secret, changed a canary, outlived its run, took its worker down for good, or brought home
what can't be stored is *fooled*, whatever it says; so is an attack that never started. What it doesn't: that attacks
which nobody thought of would fail as well.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from groundrun.attacks.attack import SMALL, Aftermath, Attack, Cheat, Family, Result, Ruling, SuiteResult, add_up
from groundrun.attacks.catalogue import list_attacks
from groundrun.attacks.pages import PageAttack, run_page_attack
from groundrun.attacks.prelude import PRELUDE
from groundrun.attacks.scene import Scene, watch
from groundrun.engine import Engine, Job
from groundrun.errors import EngineError, ExtraMissing, UsageError
from groundrun.judging import Calibration, calibrate, judge
from groundrun.records import CpuSource, Execution, Isolation, Program, Rung, Verdict

_IDLE = "import time\ntime.sleep(0.5)\n"
_NORMAL = "print(6 * 7, flush=True)\n"
NEVER_STARTED = "the attack never started"
Progress = Callable[[Result], None]


def run_suite(engine: Engine, *, only: Iterable[str] = (), progress: Progress | None = None) -> SuiteResult:
    """Run the attacks with the names or families `only`, or all of them, one after another. The engine should have one worker.

    An attack that needs a library which is not installed is not run, and said so. Raises UsageError for an unknown name, ExtraMissing
    when nothing else was chosen.
    """
    chosen = choose(only)
    results: list[Result] = []
    missing: dict[str, ExtraMissing] = {}
    with Scene() as scene:
        calibrations: dict[str, Calibration] = {}
        for each in chosen:
            try:
                result = run_any(engine, each, scene, calibrations)
            except ExtraMissing as error:
                missing[each.name] = error
                continue
            results.append(result)
            if progress is not None:
                progress(result)
    if missing and not results:
        raise next(iter(missing.values()))
    return add_up(results, (f"{name}: {error}" for name, error in missing.items()))


def run_any(engine: Engine, attack: Attack | Cheat | PageAttack, scene: Scene, calibrations: dict[str, Calibration]) -> Result:
    """Run one attack of whichever kind. Raises ExtraMissing where its library is not installed."""
    if isinstance(attack, PageAttack):
        return run_page_attack(engine, attack)
    return run_cheat(engine, attack, calibrations) if isinstance(attack, Cheat) else run_attack(engine, attack, scene)


def choose(only: Iterable[str]) -> tuple[Attack | Cheat | PageAttack, ...]:
    """The attacks with these names or of these families; all when none is named. Raises UsageError for an unknown name."""
    wanted, every = set(only), list_attacks()
    known = {each.name for each in every} | {family.value for family in Family}
    if unknown := sorted(wanted - known):
        raise UsageError(f"there is no attack or family {unknown[0]!r}: groundrun attack --list shows all")
    return tuple(each for each in every if not wanted or each.name in wanted or each.family.value in wanted)


def run_attack(engine: Engine, attack: Attack, scene: Scene) -> Result:
    """Run one program against the engine, and rule on what is left.

    Raises UsageError on rung `none` for every attack that isn't declared harmless without a guard: bombs and fills run nowhere unguarded.
    """
    if engine.isolation.rung is Rung.NONE and not attack.unguarded:
        raise UsageError(
            f"the attack {attack.name!r} could harm this machine on rung 'none', where nothing stops it: use namespaces or landlock"
        )
    restarts = engine.stats().restarts
    try:
        aftermath = _stage(engine, attack, scene)
    except EngineError as error:
        scene.damages()
        return _result(attack, Ruling.FOOLED, f"it forced a fault of ours: {error}")
    hard = [*scene.damages(), *aftermath.seen, *_leaks(aftermath), *_unstorable(aftermath.execution)]
    if _is_blamed(aftermath.execution):
        hard.append("it took its worker down, again and again")
    elif "began" not in aftermath.said:
        hard.append(f"{NEVER_STARTED}: {aftermath.execution.stderr[-300:].decode('utf-8', 'replace')}")
    if aftermath.later.get("normal") is not True:
        hard.append("a normal program after it did not run as it should")
    try:
        soft = list(attack.inspect(aftermath))
    except LookupError as error:
        hard.append(str(error))
        soft = []
    announced = _announcement(attack, aftermath.execution.isolation)
    if hard or (soft and not announced):
        return _result(attack, Ruling.FOOLED, "; ".join(hard + soft))
    if soft:
        return _result(attack, Ruling.BOUNDED, f"{'; '.join(soft)} (announced: {announced})")
    lost = " after its worker was replaced" if engine.stats().restarts > restarts else ""
    return _result(attack, Ruling.CONTAINED, f"ended as {aftermath.execution.outcome.value}{lost}")


def _stage(engine: Engine, attack: Attack, scene: Scene) -> Aftermath:
    arguments = (scene.describe(),)

    def make(source: str, **more: Any) -> Job:
        return Job(program=Program(PRELUDE + source), argv=arguments, limits=more.pop("limits", SMALL), **more)

    if attack.earlier:
        earlier = make(attack.earlier.replace("SECRET OF THE JOB", scene.job_secret), stdin=scene.job_secret.encode())
        engine.run(earlier, argv=(*arguments, scene.job_secret))
    job = make(attack.source, limits=attack.limits, collect=attack.collect)
    run = engine.submit_pair(job, Job(program=Program(_IDLE), limits=SMALL)) if attack.paired else engine.submit(job)
    seen = watch(scene, run.done) if attack.watched else ()
    came = run.result()
    later = engine.run(make(attack.later + "say(normal=True)\n" if attack.later else _NORMAL + "say(normal=True)\n"))
    execution: Execution = came[0] if attack.paired else came
    return Aftermath(execution=execution, scene=scene, said=_read_said(execution), later=_read_said(later), seen=seen)


def _read_said(execution: Execution) -> dict[str, Any]:
    """What a program said: one JSON object a line, among whatever else it wrote."""
    said: dict[str, Any] = {}
    for line in execution.stdout.split(b"\n"):
        if line.startswith(b"{"):
            with contextlib.suppress(ValueError, RecursionError):
                said |= json.loads(line)
    return said


def _leaks(aftermath: Aftermath) -> list[str]:
    execution = aftermath.execution
    return aftermath.scene.leaks(execution.stdout, execution.stderr, execution.report, *execution.files.values())


def _is_blamed(execution: Execution) -> bool:
    """Whether the engine, not the program's process, tells the end: the worker was lost each time it ran."""
    return execution.cost.cpu_source is CpuSource.NOTHING and execution.exception is not None and execution.exception.type == "WorkerLost"


def _unstorable(execution: Execution) -> list[str]:
    try:
        msgspec.json.encode(execution)
    except (UnicodeEncodeError, ValueError, TypeError) as error:
        return [f"its result can't be stored: {type(error).__name__}: {error}"[:200]]
    return []


def _announcement(attack: Attack, isolation: Isolation) -> str:
    return next((sentence for sentence in isolation.missing if any(word in sentence for word in attack.soft)), "")


def run_cheat(engine: Engine, cheat: Cheat, calibrations: dict[str, Calibration]) -> Result:
    """Have one cheat judged. `calibrations`, by task, are made when they are missing."""
    try:
        calibration = calibrations.get(cheat.problem.task_id)
        if calibration is None:
            calibration = calibrations[cheat.problem.task_id] = calibrate(engine, cheat.problem)
        if not (calibration.protected and calibration.passed):
            return _result(cheat, Ruling.FOOLED, f"its problem can't be judged protected: {calibration.reason}")
        verdict = judge(engine, cheat.problem, cheat.completion(), calibration)
    except EngineError as error:
        return _result(cheat, Ruling.FOOLED, f"it forced a mask: {error}")
    return rule_on_verdict(cheat, verdict)


def rule_on_verdict(cheat: Cheat, verdict: Verdict) -> Result:
    """A cheat is contained by a failed verdict that can be stored, and by nothing else."""
    if verdict.passed is None:
        return _result(cheat, Ruling.FOOLED, f"it forced a mask: {verdict.reason}")
    if verdict.passed or not verdict.protected:
        return _result(
            cheat, Ruling.FOOLED, f"judged {'right' if verdict.passed else 'wrong'}, {'' if verdict.protected else 'un'}protected"
        )
    try:
        msgspec.json.encode(verdict)
    except (UnicodeEncodeError, ValueError, TypeError) as error:
        return _result(cheat, Ruling.FOOLED, f"its verdict can't be stored: {type(error).__name__}: {error}"[:200])
    return _result(cheat, Ruling.CONTAINED, f"judged wrong: {verdict.reason}"[:200])


def _result(attack: Attack | Cheat, verdict: Ruling, detail: str) -> Result:
    return Result(name=attack.name, family=attack.family, verdict=verdict, detail=detail)
