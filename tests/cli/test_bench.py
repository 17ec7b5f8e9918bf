"""`groundrun bench NAME`: the benches that race nobody, as verbs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

import pytest

from groundrun.cli.bench import OTHERS

pytestmark = pytest.mark.exec
ROOT_COMMAND = [sys.executable, "-m", "groundrun", "bench"]


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_bench_is_there(name: str) -> None:
    assert callable(import_module(f"bench.{name}").main)


@pytest.mark.timeout(120)
def test_options_and_json_are_passed_on() -> None:
    done = subprocess.run([*ROOT_COMMAND, "branches", "--json", "--", "--help"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "--rung" in done.stdout) == (0, True)
    done = subprocess.run([*ROOT_COMMAND, "batches", "--json", "--", "--rounds", "1"], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_a_bench_that_fails_says_so() -> None:
    done = subprocess.run([*ROOT_COMMAND, "batches", "--", "--nonsense"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "unrecognized arguments" in done.stderr) == (2, True)
