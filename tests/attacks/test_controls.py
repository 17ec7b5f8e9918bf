"""Negative controls: attacks win without the guards that they name; nothing that is installed can be talked into leaving one out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from groundrun.attacks import Attack, Cheat, PageAttack, Scene, list_attacks
from groundrun.attacks.controls import Control, build_weak, name_sets, run_controls
from groundrun.attacks.guards import Guard
from groundrun.attacks.weaken import NATIVE_GUARDS, NotWeakenable, copy_native, weakened
from groundrun.engine import warden
from groundrun.errors import UsageError
from groundrun.records import Rung

pytestmark = [pytest.mark.attack, pytest.mark.exec]

QUICK = (
    "read_file", "write_file", "tcp", "kill_another", "rename_host", "regain_rights", "mounts", "calls_of_32_bit", "memory_of_earlier_job",
    "descriptors", "disk_bytes", "many_descriptors", "equal_object", "constants_of_callers", "swap_assertion_error", "empty_the_argument",
    "unstorable_ending",
)  # fmt: skip
UNPROVEN = {
    "cyclic", "empty_and_return_the_argument", "huge_number", "nan", "not_implemented", "shared_graph", "shared_graph_of_tuples",
    "terminal", "true_object", "uncrossable_exception",
}  # fmt: skip


def check(controls: tuple[Control, ...]) -> None:
    """All of them hold; what this kernel can't be tried with is said."""
    failed = {f"{each.name} at {each.rung.value} without {', '.join(each.off)}": each.detail for each in controls if not each.holds}
    assert not failed, json.dumps(failed, indent=1)


def run(*names: str, parts: bool = True) -> tuple[Control, ...]:
    """Controls, or a skip by name where this host has no world for them."""
    try:
        return run_controls(names, parts=parts).controls
    except UsageError as error:
        pytest.skip(str(error))


@pytest.mark.timeout(300)
def test_attacks_win_without_their_guards() -> None:
    """Some of every family, on both rungs."""
    controls = run(*QUICK)
    check(controls)
    assert {each.name for each in controls} == set(QUICK)
    assert {each.rung for each in controls} == {Rung.NAMESPACES, Rung.LANDLOCK}
    assert all(each.minimal is not None for each in controls if len(each.off) > 1)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_attack_wins_without_its_guards() -> None:
    """And with any one of them doesn't."""
    check(run())


def test_every_guard_stops_something() -> None:
    """Each is in at least one set."""
    named = {guard for each in list_attacks() for _, off in name_sets(each) for guard in off}
    assert set(Guard) - named == set()
    assert all(guard.describe().endswith(".") for guard in Guard)


def test_every_attack_names_its_guards() -> None:
    """Or says why no guard can be left out so that it would win; of those there are few, and they are known."""
    silent = {each.name for each in list_attacks() if not name_sets(each)}
    assert silent == UNPROVEN
    assert all(not isinstance(each, PageAttack) and each.unproven for each in list_attacks() if each.name in silent)
    assert all(not each.unproven for each in list_attacks() if isinstance(each, (Attack, Cheat)) and each.name not in silent)


def test_installed_binaries_can_not_be_weakened(tmp_path: Path) -> None:
    """They have no list of guards to leave out, and are refused as a base for one."""
    for name in ("warden", "guest.so"):
        data = (warden.NATIVE / name).read_bytes()
        assert b"left out" not in data
        assert not [guard for guard in NATIVE_GUARDS if f"\0{guard.value}\0".encode() in data]
    with pytest.raises(NotWeakenable):
        copy_native(warden.NATIVE, tmp_path / "copy", {Guard.LANDLOCK_DOMAIN})
    with Scene() as scene, pytest.raises(NotWeakenable), weakened({Guard.VIEW}, scene, warden.NATIVE):
        pytest.fail("it was weakened")


def test_a_weak_build_has_every_native_guard(tmp_path: Path) -> None:
    """A word that is misspelt in C would leave its guard standing: the control would fail, and this says why."""
    try:
        folder = build_weak(tmp_path)
    except UsageError as error:
        pytest.skip(str(error))
    data = b"".join((folder / name).read_bytes() for name in ("warden", "guest.so"))
    words = {guard: guard.name if guard.name.startswith("RLIMIT_") else guard.value for guard in NATIVE_GUARDS}
    assert not [guard for guard, word in words.items() if f"{word}\0".encode() not in data]


def test_what_is_weakened_is_put_back(tmp_path: Path) -> None:
    """The engine of this process is whole afterwards."""
    try:
        folder = build_weak(tmp_path)
    except UsageError as error:
        pytest.skip(str(error))
    names = ("NATIVE", "choose_view", "choose_rules", "encode_ruleset", "program_environment", "guest_roots")
    before = {name: getattr(warden, name) for name in names}
    with Scene() as scene, weakened(set(Guard), scene, folder):
        assert all(getattr(warden, name) is not before[name] for name in names)
    assert {name: getattr(warden, name) for name in names} == before


def test_without_a_compiler_the_command_says_so() -> None:
    """In one line."""
    command = [sys.executable, "-m", "groundrun", "attack", "--controls", "tcp"]
    environment = {"PATH": "/nonexistent", "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) <= 2 and "test build of the native part" in done.stderr, done.stderr
