"""One try at a run: one job, or two that are joined by a socket, each in a lane of its own."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from groundrun.engine.classification import KernelFacts
from groundrun.engine.exchange import Exchange
from groundrun.engine.job import Job
from groundrun.engine.lane import Lane, gather
from groundrun.errors import EngineError
from groundrun.records import Execution, Limits

_LINGER_S = 0.25  # what a function server needs to notice the end of its channel, generously


class Attempt:
    """Started when made; then `finish`, `gather` and, whatever happens, `close`. Raises EngineError: the lanes are then to be replaced."""

    def __init__(self, jobs: Sequence[Job], limits: Sequence[Limits], lanes: Sequence[Lane]) -> None:
        self._jobs, self._limits, self._lanes = jobs, limits, lanes
        self._exchanges: list[Exchange] = []
        self._facts: list[KernelFacts] = []
        ends: tuple[socket.socket, ...] = ()
        try:
            ends = socket.socketpair() if len(jobs) > 1 else ()
            self._exchanges.extend(Exchange(job) for job in jobs)
            for number, lane in enumerate(lanes):
                lane.begin(jobs[number], limits[number], self._exchanges[number], ends[number].fileno() if ends else -1)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise EngineError(f"the host refused what a run needs: {error}") from error
            raise
        finally:
            for end in ends:
                end.close()

    def finish(self) -> None:
        """Wait until nothing of the run is alive."""
        facts = [self._lanes[-1].finish()]
        if len(self._lanes) > 1:  # the grader has decided: whatever its candidate still does can't matter
            self._lanes[0].cancel(_LINGER_S)
            facts.insert(0, self._lanes[0].finish())
        self._facts = facts

    def gather(self) -> tuple[Execution, ...]:
        """What came back."""
        try:
            return tuple(gather(*each) for each in zip(self._jobs, self._limits, self._exchanges, self._facts, self._lanes, strict=True))
        except OSError as error:
            raise EngineError(f"what a run left can't be read: {error}") from error

    def close(self) -> None:
        """Close the run's descriptors."""
        for exchange in self._exchanges:
            exchange.close()
