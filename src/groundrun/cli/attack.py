"""`groundrun attack`: the adversarial suite against this host's own isolation and judge."""

from __future__ import annotations

import click
import msgspec
from rich.console import Console

from groundrun.attacks import Result, Ruling, list_attacks, run_suite
from groundrun.attacks.controls import Control, run_controls
from groundrun.attacks.guards import Guard
from groundrun.attacks.suite import choose
from groundrun.attacks.table import render_attacks, render_controls
from groundrun.cli.options import common_options, find_width, print_json, tell
from groundrun.engine import Engine
from groundrun.records import Rung
from groundrun.reports.phrases import wrap_line


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """An attack as `--list --json` prints it."""

    name: str
    family: str
    tries: str
    guards: tuple[Guard, ...]
    at_landlock: tuple[Guard, ...] = ()
    unproven: str = ""


@click.command("attack")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--rung", type=click.Choice([Rung.NAMESPACES.value, Rung.LANDLOCK.value]), help="Rung to attack; the best this host allows by default."
)
@click.option("--landlock-abi", type=click.IntRange(min=1), help="Use at most this version of landlock, as an older kernel would have.")
@click.option("--python", metavar="PATH", help="Interpreter that the attacks run under; the present one by default.")
@click.option("--list", "only_list", is_flag=True, help="List the attacks and what stops them; run none.")
@click.option(
    "--controls", "with_controls", is_flag=True, help="Leave out the guards that each attack names, in a disposable world: it has to win."
)
@common_options
def attack_verb(
    names: tuple[str, ...],
    rung: str | None,
    landlock_abi: int | None,
    python: str | None,
    only_list: bool,
    with_controls: bool,
    as_json: bool,
) -> int:
    """Attack this host's isolation and judge.

    NAME is an attack or a family of attacks; all of them without it. Each aims at canaries that the suite makes on this machine and
    removes again, and never at anything else: files, a process, sockets on 127.0.0.1, the page of a report. *Contained*: it won
    nothing. *Bounded*: it won something within a soft guard that `groundrun doctor` announces. *Fooled*: it won. Exit status 1 when
    anything was fooled.

    --controls shows that attacks are real: without the smallest set of guards that stops it, each must win, and without a part of that set
    it must not. That needs a source checkout, a C compiler and user namespaces. Exit status 1 when any control fails.
    """
    if only_list:
        _show_list(names, as_json)
        return 0
    if with_controls:
        return _run_controls(names, as_json)
    with Engine(workers=1, isolation=rung, python=python, landlock_abi=landlock_abi) as engine:
        isolation = engine.isolation
        suite = run_suite(engine, only=names, progress=None if as_json else _announce)
    if as_json:
        print_json(suite)
    else:
        Console(highlight=False, soft_wrap=True).print(render_attacks(suite, isolation))
    return 1 if suite.fooled[0] else 0


def _announce(result: Result) -> None:
    if result.verdict is Ruling.FOOLED:
        tell(f"FOOLED {result.name}: {result.detail}")


def _run_controls(names: tuple[str, ...], as_json: bool) -> int:
    suite = run_controls(names, progress=None if as_json else _tell_control)
    if as_json:
        print_json(suite)
    else:
        Console(highlight=False, soft_wrap=True).print(render_controls(suite))
    return 0 if suite.held[0] == suite.held[1] else 1


def _tell_control(control: Control) -> None:
    if not control.holds:
        tell(f"FAILED {control.name} ({control.rung.value}): {control.detail}")


def _show_list(names: tuple[str, ...], as_json: bool) -> None:
    chosen = choose(names) if names else list_attacks()
    listed = [
        Description(
            name=each.name,
            family=each.family.value,
            tries=each.tries,
            guards=each.guards,
            at_landlock=getattr(each, "at_landlock", ()),
            unproven=getattr(each, "unproven", ""),
        )
        for each in chosen
    ]
    if as_json:
        print_json(listed)
        return
    for each in listed:
        click.echo(f"{each.family:<10} {each.name}")
        told = [
            f"Stopped by {' or '.join(guards)}{where}."
            for guards, where in ((each.guards, ""), (each.at_landlock, " at rung landlock"))
            if guards
        ]
        for text in (each.tries, *told):
            click.echo(wrap_line(f"{'':<11}{text}", indent=11, width=find_width()))
