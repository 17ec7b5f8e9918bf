"""What the host is said to allow follows from what it shows."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from groundrun.engine import Engine, cgroups, host
from groundrun.engine.interpreter import describe_interpreter
from groundrun.engine.policy import View, choose_rules, choose_view, encode_ruleset
from groundrun.engine.remains import sweep
from groundrun.errors import HostRefused, RungUnavailable, RuntimeUnreachable
from groundrun.records import Limits, Outcome, Rung


@pytest.mark.unit
@pytest.mark.parametrize(
    ("files", "controller", "quota"),
    [
        ({"cpu.max": "150000 100000"}, "", 1.5),
        ({"cpu.max": "max 100000"}, "", math.inf),
        ({"cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000"}, "cpu", 0.5),
        ({"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, "cpu", math.inf),
        ({}, "", math.inf),
    ],
)
def test_the_quota_of_any_cgroup_above_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], controller: str, quota: float
) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / "outer" / name).write_text(text)
    monkeypatch.setattr(cgroups, "_own_cgroups", lambda: {controller: "/outer/inner"})
    monkeypatch.setattr(cgroups, "_mounted", lambda: {controller: (str(tmp_path), "/")})
    assert cgroups.find_cpu_quota() == quota
    monkeypatch.setattr(host, "find_cpu_quota", cgroups.find_cpu_quota)
    assert host.count_cores() >= 1


@pytest.mark.unit
def test_rungs_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(RungUnavailable, match="was asked for"), Engine(isolation="none", require="namespaces") as engine:
        engine.run("")
    with pytest.raises(RungUnavailable, match="was asked for"), Engine(isolation="landlock", require="namespaces") as engine:
        engine.run("")


@pytest.mark.exec
def test_a_required_rung_is_the_least_not_the_most() -> None:
    with Engine(require="landlock", workers=1) as engine:
        try:
            assert engine.isolation.rung in (Rung.NAMESPACES, Rung.LANDLOCK)
        except HostRefused as refusal:
            pytest.skip(f"rung landlock: {refusal}")
    with Engine(isolation="none", require="none", workers=1) as engine:
        assert engine.run("").outcome is Outcome.OK


@pytest.mark.exec
def test_an_interpreter_that_is_none_is_named() -> None:
    with pytest.raises(RuntimeUnreachable, match="/bin/true"), Engine(python="/bin/true") as engine:
        engine.run("")
    with pytest.raises(RuntimeUnreachable, match="no such program on PATH"), Engine(python="python-of-nobody") as engine:
        engine.run("")


@pytest.mark.unit
def test_the_view_has_the_runtime_and_hides_the_package() -> None:
    import sys

    view = choose_view(describe_interpreter(sys.executable))
    shown = [where for _, where in view.binds]
    assert "/usr" in shown and not {"/", "/proc", "/home", "/root", "/etc", "/sys"} & set(shown)
    assert all(folder.endswith("/groundrun") for folder in view.hidden)


@pytest.mark.unit
def test_landlock_rules_leave_out_what_is_hidden(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "site-packages"
    for name in ("groundrun", "numpy"):
        (packages / name).mkdir(parents=True)
    view = View(binds=((str(tmp_path), str(tmp_path)),), links=(), files=(), hidden=(str(packages / "groundrun"),))
    paths = {rule.path for rule in choose_rules(Rung.LANDLOCK, view, abi=7, writable=("/w",))}
    assert str(packages / "numpy") in paths
    assert not paths & {str(tmp_path), str(packages), str(packages / "groundrun")}
    assert [len(encode_ruleset(Rung.LANDLOCK, abi=abi)) for abi in (1, 3, 4, 6, 7)] == [8, 8, 16, 24, 24]


@pytest.mark.unit
@pytest.mark.parametrize("field", ["cpu_s", "wall_s", "memory_bytes", "output_bytes", "disk_bytes", "processes"])
def test_limits_of_nothing_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Limits(**{field: 0})


@pytest.mark.unit
def test_only_folders_of_the_dead_are_swept(tmp_path: Path) -> None:
    dead, alive = 2**22 + 7, os.getpid()
    names = [f"groundrun-{dead}-none-x", f"groundrun-{dead}-3-77", f"groundrun-{alive}-none-y", f"groundrun-{dead}-mine", "other"]
    for name in names:
        (tmp_path / name / "work").mkdir(parents=True)
    sweep(tmp_path)
    assert sorted(place.name for place in tmp_path.iterdir()) == sorted(names[2:])


@pytest.mark.unit
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_limits_are_finite(value: float) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        Limits(cpu_s=value)
