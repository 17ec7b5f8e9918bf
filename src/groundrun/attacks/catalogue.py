"""Every attack of the suite, by name."""

from __future__ import annotations

import os

from groundrun.attacks import disk, files, kernel, leaks, lifetimes, network, output, processes, resources, rights
from groundrun.attacks.attack import Attack, Cheat
from groundrun.attacks.bombs import BOMBS
from groundrun.attacks.cheats import CHEATS
from groundrun.attacks.pages import PAGE_ATTACKS, PageAttack

_PROGRAMS = (
    *files.ATTACKS,
    *disk.ATTACKS,
    *processes.ATTACKS,
    *lifetimes.ATTACKS,
    *network.ATTACKS,
    *kernel.ATTACKS,
    *leaks.ATTACKS,
    *resources.ATTACKS,
    *rights.ATTACKS,
    *output.ATTACKS,
)


def list_attacks() -> tuple[Attack | Cheat | PageAttack, ...]:
    """All attacks that make sense on this machine: cheats on the judge first, then programs against the engine, then against readers."""
    machine = os.uname().machine
    programs = tuple(attack for attack in _PROGRAMS if attack.machine in ("", machine))
    return (*CHEATS, *BOMBS, *programs, *PAGE_ATTACKS)
