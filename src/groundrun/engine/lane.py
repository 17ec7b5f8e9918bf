"""What a worker drives: one place where one program at a time runs, whatever the rung."""

from __future__ import annotations

from typing import Protocol

import msgspec

from groundrun.engine.classification import KernelFacts, classify
from groundrun.engine.exchange import Exchange, read_counts, read_output
from groundrun.engine.job import COUNTING_GUEST, Job
from groundrun.records import Cost, Execution, Isolation, Limits


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has used so far, by the kernel's account."""

    cpu_s: float
    wall_s: float
    memory_peak_bytes: int | None
    oom_kills: int = 0
    process_refusals: int = 0


class Lane(Protocol):
    """One run at a time: `begin`, then `finish`. Any EngineError means that the lane must be closed and replaced."""

    @property
    def isolation(self) -> Isolation:
        """The guards in force."""

    @property
    def flavour(self) -> str:
        """What was imported ahead of its programs, by name."""

    def measure(self) -> int:
        """Bytes of memory that its zygote keeps resident while nothing runs; 0 where there is none."""

    def begin(self, job: Job, limits: Limits, exchange: Exchange, channel: int) -> None:
        """Start a run. `channel` is a descriptor for the guest, or -1; the caller keeps its own copy."""

    def finish(self) -> KernelFacts:
        """Wait for the run to end and for everything in its slot to be dead."""

    def wait(self, timeout_s: float) -> bool:
        """Whether the present run is over within that time: then `finish` answers at once."""

    def renew(self, limits: Limits) -> Usage | None:
        """Let the time limits of the present run count from now; what it used so far, None when it is over. Raises UsageError at `none`."""

    def interrupt(self, pid: int) -> None:
        """SIGINT to a process of the present run, by its pid as it sees itself; no effect at `none`."""

    def cancel(self, grace_s: float = 0.0) -> None:
        """End the present run unless it ends by itself within the grace; from any thread; no effect when nothing runs."""

    def close(self) -> None:
        """End everything that the lane started."""

    def abandon(self) -> None:
        """Close this process's descriptors only: called in a forked child, which owns none of the processes."""


def gather(job: Job, limits: Limits, exchange: Exchange, facts: KernelFacts, lane: Lane) -> Execution:
    """The execution that a finished run amounts to."""
    ending = exchange.read_ending()
    stdout, out_size = read_output(exchange.stdout, limits.output_bytes)
    stderr, err_size = read_output(exchange.stderr, limits.output_bytes)
    status = facts.wait_status
    code = status >> 8 & 0xFF if status & 0x7F == 0 else None
    number = status & 0x7F or None
    report, counts = exchange.read_report(), None
    if job.guest == COUNTING_GUEST:
        report, counts = b"", read_counts(report)
    cost = Cost(
        cpu_s=facts.cpu_s,
        wall_s=facts.wall_s,
        cpu_source=facts.cpu_source,
        memory_peak_bytes=facts.memory_peak_bytes,
        counts=counts,
    )
    return Execution(
        outcome=classify(facts, ending, limits=limits, written=max(out_size, err_size)),
        isolation=lane.isolation,
        cost=cost,
        exit_code=code,
        signal=number,
        stdout=stdout,
        stderr=stderr,
        exception=ending.exception,
        truncated=max(out_size, err_size) > limits.output_bytes,
        files=exchange.read_files(),
        report=report,
        flavour=lane.flavour,
    )
