"""Rung `none`: one interpreter per run, limits by rlimits, no isolation. Used only when it is asked for by name.

It needs nothing compiled. It guards against accidents, not against hostile programs: files, network and other processes
of the user are open to the program, and a child that leaves its process group outlives the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from groundrun.engine.classification import EndedBy, KernelFacts
from groundrun.engine.exchange import Exchange
from groundrun.engine.job import Job
from groundrun.engine.lane import Usage
from groundrun.engine.policy import guest_roots, program_environment
from groundrun.engine.remains import FOLDER_PREFIX, find_temporary, sweep_folders
from groundrun.engine.warden import MOST_BYTES, MOST_SECONDS, open_own_pidfd
from groundrun.errors import UsageError, WorkerDied
from groundrun.records import BARE, CpuSource, Isolation, Limits, MemoryGuard, Rung

_BASELINE_BYTES = 64 << 20  # address space of a bare interpreter, on top of which Limits.memory_bytes counts
_MISSING = (
    "isolation: the program can reach the user's files, network and processes",
    "total memory, processes and disk are not bounded, and children that nobody waits for are not measured",
)


class BareLane:
    """A lane without isolation; see the module's docstring."""

    def __init__(self, python: str, hash_seed: int = 0) -> None:
        sweep_folders()
        os.close(open_own_pidfd(Rung.NONE))
        self._python, self._hash_seed = python, hash_seed
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline = float("inf")
        self.isolation = Isolation(
            rung=Rung.NONE, memory_guard=MemoryGuard.RLIMIT_AS, cpu_guard=CpuSource.WAIT4, landlock_abi=0, missing=_MISSING
        )

    flavour = BARE  # there is no zygote: every program imports what it needs

    def measure(self) -> int:
        """Nothing is kept."""
        return 0

    def begin(self, job: Job, limits: Limits, exchange: Exchange, channel: int) -> None:
        """Start an interpreter of its own for the job."""
        self._exchange, self._limits, self._collect = exchange, limits, job.collect
        self._deadline = float("inf")
        self._folder = tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-none-", dir=find_temporary(Rung.NONE.value))
        settings = {"roots": guest_roots(), "rlimits": _rlimits(limits)}
        boot = Path(guest_roots()["groundrun.engine.guest"]) / "boot.py"
        arguments = [
            self._python,
            "-s",
            "-B",
            str(boot),
            job.guest,
            json.dumps(settings),
            str(exchange.job),
            str(exchange.report),
            str(channel),
        ]
        passed = [exchange.job, exchange.report, *([channel] if channel >= 0 else [])]
        self._facts: KernelFacts | None = None
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            arguments,
            stdin=exchange.stdin,
            stdout=exchange.stdout,
            stderr=exchange.stderr,
            cwd=self._folder,
            env=program_environment(self._folder, hash_seed=self._hash_seed),
            pass_fds=passed,
            start_new_session=True,
        )
        self._watcher = threading.Thread(target=self._watch, args=(self._process,), daemon=True)
        self._watcher.start()

    def finish(self) -> KernelFacts:
        """Wait until the run is over."""
        self._watcher.join()
        if self._facts is None:
            raise WorkerDied("bare lane", "its watcher failed")
        return self._facts

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Wait, enforcing CPU and wall limits by polling, and kill the process group."""
        ended_by = EndedBy.ITSELF
        watch = os.pidfd_open(process.pid)
        end = select.poll()
        end.register(watch, select.POLLIN)
        clock = ~process.pid << 3 | 2  # the kernel's number for "CPU clock of that process"
        try:
            while True:
                wall_left = self._limits.wall_s - (time.monotonic() - self._started)
                with contextlib.suppress(OSError):
                    if time.clock_gettime(clock) > self._limits.cpu_s:
                        ended_by = EndedBy.CPU
                if time.monotonic() >= self._deadline:
                    ended_by = EndedBy.CANCEL
                elif wall_left <= 0:
                    ended_by = EndedBy.WALL
                if ended_by is not EndedBy.ITSELF:
                    break
                if end.poll(min(max(wall_left, 0.001), 0.02) * 1000):
                    break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            os.close(watch)
            self._process = None
            self._take_files()
            shutil.rmtree(self._folder, ignore_errors=True)
        self._facts = KernelFacts(
            wait_status=status,
            ended_by=ended_by,
            cpu_s=usage.ru_utime + usage.ru_stime,
            wall_s=time.monotonic() - self._started,
            cpu_source=CpuSource.WAIT4,
        )

    def wait(self, timeout_s: float) -> bool:
        """Whether the run is over."""
        self._watcher.join(timeout_s)
        return not self._watcher.is_alive()

    def renew(self, limits: Limits) -> Usage | None:
        """Not here."""
        raise UsageError("rung 'none' can't renew limits: sessions need isolation 'namespaces' or 'landlock'")

    def interrupt(self, pid: int) -> None:
        """Not here."""

    def cancel(self, grace_s: float = 0.0) -> None:
        """End the present run."""
        self._deadline = time.monotonic() + grace_s

    def close(self) -> None:
        """Kill what still runs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def abandon(self) -> None:
        """Forget the process: it belongs to the parent."""
        self._process = None

    def _take_files(self) -> None:
        out = self._exchange.collect_out
        for path in self._collect:
            with contextlib.suppress(OSError):
                descriptor = os.open(os.path.join(self._folder, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                with open(descriptor, "rb") as file:
                    data = file.read(self._limits.disk_bytes)
                name = path.encode("utf-8", "surrogateescape")
                os.write(out, len(name).to_bytes(4, "little") + len(data).to_bytes(4, "little") + name + data)


def _rlimits(limits: Limits) -> dict[str, int]:
    return {
        "RLIMIT_CPU": int(min(limits.cpu_s, MOST_SECONDS)) + 2,
        "RLIMIT_AS": min(limits.memory_bytes, MOST_BYTES) + _BASELINE_BYTES,
        "RLIMIT_FSIZE": min(max(limits.disk_bytes, limits.output_bytes + 1), MOST_BYTES),
        "RLIMIT_CORE": 0,
    }
