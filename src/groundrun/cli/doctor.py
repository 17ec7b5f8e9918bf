"""`groundrun doctor`: what this host allows, found out by running a small program on each rung."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import msgspec

from groundrun.cli.options import common_options, find_width, print_json
from groundrun.engine import Engine, Finding, Flavour, find_weaknesses
from groundrun.engine.interpreter import name_interpreter
from groundrun.errors import GroundrunError, HostRefused, RungUnavailable, RuntimeUnreachable
from groundrun.records import Isolation, Outcome, Rung
from groundrun.reports.phrases import name_guards, wrap_line

JAILED = (Rung.NAMESPACES, Rung.LANDLOCK)
PLANNED = (
    "c",
    "c++",
    "c#",
    "d",
    "go",
    "java",
    "javascript",
    "julia",
    "lua",
    "perl",
    "php",
    "r",
    "racket",
    "ruby",
    "rust",
    "scala",
    "shell",
    "swift",
    "typescript",
)


class RungReport(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a rung can be had here; when not, the cause as a code and in words, and what to do about it."""

    available: bool
    guards: Isolation | None = None
    refused: str = ""
    code: str = ""
    remedy: str = ""


class Language(msgspec.Struct, frozen=True, kw_only=True):
    """A language that programs can be in, and its toolchain on this machine."""

    available: bool
    version: str = ""
    path: str = ""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What `doctor` found. `isolation` is the strongest jailed rung to be had, None when there is none. `findings`: what weakens a rung."""

    isolation: Rung | None
    guards: Isolation | None
    rungs: dict[str, RungReport]
    languages: dict[str, Language]
    flavours: dict[str, Flavour]
    planned_languages: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


@click.command("doctor")
@click.option("--languages", "only_languages", is_flag=True, help="Only the languages.")
@click.option("--python", metavar="PATH", help="Interpreter or virtual environment that programs would use; the present by default.")
@common_options
def doctor_verb(only_languages: bool, python: str | None, as_json: bool) -> int:
    """Tell what this host allows: isolation, guards, languages.

    Each rung of isolation is tried by running a small program on it. What is refused or weakened comes with its cause and what to do about
    it; with --json the cause is a code too. Exit status 1 when no jailed rung (namespaces, landlock) can be had.
    """
    languages = {"python": find_python(python or sys.executable)}
    flavours = find_flavours(python)
    if only_languages and not as_json:
        _show_languages(languages, flavours)
        return 0
    rungs = {rung.value: try_rung(rung, python) for rung in JAILED}
    best = next((rung for rung in JAILED if rungs[rung.value].available), None)
    guards = rungs[best.value].guards if best else None
    findings = find_weaknesses([rung.guards for rung in rungs.values() if rung.guards is not None])
    found = Diagnosis(
        isolation=best,
        guards=guards,
        rungs=rungs,
        languages=languages,
        flavours=flavours,
        planned_languages=PLANNED,
        findings=findings,
    )
    if as_json:
        print_json(found)
    else:
        _show(found)
    return 0 if best else 1


def try_rung(rung: Rung, python: str | None) -> RungReport:
    """Run one small program on a rung."""
    try:
        with Engine(workers=1, isolation=rung, python=python) as engine:
            execution = engine.run("print(6 * 7)")
    except RungUnavailable as error:
        return RungReport(available=False, refused=error.refused, code=error.code, remedy=error.hint)
    except HostRefused as error:
        return RungReport(available=False, refused=str(error), code=error.code)
    except GroundrunError as error:
        return RungReport(available=False, refused=str(error), code="fault")
    if execution.outcome is not Outcome.OK or execution.text != "42\n":
        return RungReport(
            available=False, refused=f"a program that prints 42 ended as {execution.outcome.value} and printed {execution.text!r}"
        )
    return RungReport(available=True, guards=execution.isolation)


def find_python(path: str) -> Language:
    """The interpreter's version, asked of itself."""
    try:
        path = name_interpreter(path)
        done = subprocess.run(
            [path, "-I", "-c", "import platform; print(platform.python_version())"], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired, RuntimeUnreachable):
        return Language(available=False, path=path)
    return Language(available=done.returncode == 0, version=done.stdout.strip(), path=path)


def find_flavours(python: str | None) -> dict[str, Flavour]:
    """What can be imported ahead of programs under that interpreter; nothing when it isn't one."""
    try:
        return Engine(python=python).flavours
    except RuntimeUnreachable:
        return {}


def _show(found: Diagnosis) -> None:
    _row("user", f"{'root' if os.geteuid() == 0 else f'uid {os.geteuid()}'}, kernel {os.uname().release}, {os.uname().machine}")
    _row("cores", str(Engine().workers))
    for name, rung in found.rungs.items():
        if rung.guards is None:
            _row(name, f"no: {rung.refused}")
            if rung.remedy:
                _row("", f"to do: {rung.remedy}")
            continue
        _row(name, f"yes: {name_guards(rung.guards)}")
        for missing in rung.guards.missing:
            _row("", f"without {missing}")
    for finding in found.findings:
        _row("weakness", finding.cause)
        _row("", f"to do: {finding.remedy}")
    _row("none", "only when asked for by name: no guard against a hostile program")
    _show_languages(found.languages, found.flavours)


def _show_languages(languages: dict[str, Language], flavours: dict[str, Flavour]) -> None:
    for name, language in languages.items():
        _row(name, f"{language.version} ({language.path})" if language.available else f"missing: {language.path} can not be run")
    for number, flavour in enumerate(flavours.values()):
        missing = f"; not installed: {', '.join(flavour.missing)}" if flavour.missing else ""
        _row("flavours" if number == 0 else "", f"{flavour.name}: {', '.join(flavour.modules) or 'nothing imported ahead'}{missing}")
    _row("planned", f"not supported yet: {', '.join(PLANNED)}")


def _row(label: str, text: str) -> None:
    click.echo(wrap_line(f"{label:<11}{text}", indent=11, width=find_width()))
