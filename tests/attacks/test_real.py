"""Attacks are real: harmless ones succeed where nothing guards, cheats fool naive judges; harmful ones are never let loose."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from groundrun.attacks import Attack, Cheat, Family, Ruling, Scene, list_attacks, run_attack
from groundrun.attacks.leaks import SCAN
from groundrun.attacks.prelude import PRELUDE
from groundrun.engine import Engine
from groundrun.errors import UsageError
from groundrun.records import CodeTest, Limits, Outcome, Program

pytestmark = [pytest.mark.attack, pytest.mark.exec]

PROGRAMS = [each for each in list_attacks() if isinstance(each, Attack)]
BOMBS = ("fork_bomb", "fork_by_default", "thread_bomb", "phoenix")
FOOL_AN_EXIT_STATUS = (
    "exit_at_import", "exit_in_function", "hard_exit_at_import", "hard_exit_in_function", "exit_from_thread", "exit_handler", "excepthook",
    "print_passed", "equal_object", "equal_int", "equal_list", "equal_str", "equal_tuple", "equal_float", "equal_dict", "equal_metaclass",
    "constants_of_callers", "results_of_callers", "garbage_collector", "empty_the_argument",
)  # fmt: skip


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """The canaries."""
    with Scene() as made:
        yield made


@pytest.fixture(scope="module")
def unguarded() -> Iterator[Engine]:
    """Rung `none`."""
    with Engine(workers=1, isolation="none") as engine:
        yield engine


@pytest.fixture(scope="module")
def guarded() -> Iterator[Engine]:
    """The best rung of this host."""
    with Engine(workers=1) as engine:
        yield engine


@pytest.mark.parametrize("attack", [each for each in PROGRAMS if each.unguarded], ids=lambda each: each.name)
def test_succeeds_where_nothing_guards(attack: Attack, unguarded: Engine, scene: Scene) -> None:
    """So that being contained elsewhere is the guard's doing."""
    assert run_attack(unguarded, attack, scene).verdict is Ruling.FOOLED


@pytest.mark.parametrize("attack", [each for each in PROGRAMS if not each.unguarded], ids=lambda each: each.name)
def test_harmful_attacks_are_refused_unguarded(attack: Attack, unguarded: Engine, scene: Scene) -> None:
    """Before anything of them runs."""
    assert unguarded.isolation.rung.value == "none"
    before = unguarded.stats().finished
    with pytest.raises(UsageError, match=attack.name):
        run_attack(unguarded, attack, scene)
    assert unguarded.stats().finished == before


def test_bombs_and_fills_are_never_declared_harmless() -> None:
    """A fork bomb that is let loose takes the machine's process table with it."""
    harmful = [each for each in PROGRAMS if each.name in BOMBS or each.family in (Family.DISK, Family.RESOURCES, Family.KERNEL)]
    assert harmful and {each.name for each in harmful} >= {name for name in BOMBS if name in {each.name for each in PROGRAMS}}
    assert not [each.name for each in harmful if each.unguarded]


@pytest.mark.parametrize("name", FOOL_AN_EXIT_STATUS)
def test_cheats_fool_an_exit_status(name: str, guarded: Engine) -> None:
    """A judge that appends the tests to the solution and looks at the status takes each of these wrong answers for right."""
    cheat = next(each for each in list_attacks() if isinstance(each, Cheat) and each.name == name)
    test = cheat.problem.hidden[0]
    assert isinstance(test, CodeTest)
    call = f"{test.call}({cheat.problem.entry_point})\n" if test.call else ""
    execution = guarded.run(Program(f"{cheat.source}\n{test.source}\n{call}"), limits=Limits(cpu_s=2, wall_s=5))
    assert execution.outcome is Outcome.OK


def test_the_search_of_memory_finds_what_is_there(guarded: Engine, scene: Scene) -> None:
    """A secret that the program itself read from its input."""
    secret = "GRSECRET" + "ab" * 8
    source = f"{PRELUDE}kept = sys.stdin.read()\n{SCAN}"
    execution = guarded.run(source, stdin=secret.encode(), argv=(scene.describe(),), limits=Limits(cpu_s=5))
    assert secret in execution.text
