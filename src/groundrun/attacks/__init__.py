"""The attack suite: programs that try to break out, and solutions that try to cheat, run against this host's own isolation."""

from __future__ import annotations

from groundrun.attacks.attack import Attack, Cheat, Family, Result, Ruling, SuiteResult
from groundrun.attacks.catalogue import list_attacks
from groundrun.attacks.pages import PageAttack, run_page_attack
from groundrun.attacks.scene import Scene
from groundrun.attacks.suite import choose, run_any, run_attack, run_cheat, run_suite

__all__ = [
    "Attack",
    "Cheat",
    "Family",
    "PageAttack",
    "Result",
    "Ruling",
    "Scene",
    "SuiteResult",
    "choose",
    "list_attacks",
    "run_any",
    "run_attack",
    "run_cheat",
    "run_page_attack",
    "run_suite",
]
