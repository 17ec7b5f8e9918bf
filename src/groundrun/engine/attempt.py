"""One try at a run: one job, or two that are joined by a socket, each in a lane of its own."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from groundrun.engine.classification import KernelFacts
from groundrun.engine.exchange import Exchange
from groundrun.engine.job import Job
from groundrun.engine.lane import Lane, gather
from groundrun.engine.standing import Standing
from groundrun.errors import EngineError
from groundrun.records import Execution, Limits

_LINGER_S = 0.25  # what a function server needs to notice the end of its channel, generously


class Attempt:
    """Started when made; then `finish`, `gather` and, whatever happens, `close`. Raises EngineError: the lanes are then to be replaced.

    standing: who serves as the second job of a pair, in a lane that is then not among `lanes`.
    """

    def __init__(self, jobs: Sequence[Job], limits: Sequence[Limits], lanes: Sequence[Lane], standing: Standing | None = None) -> None:
        self._jobs, self._limits, self._lanes, self._standing = jobs, limits, lanes, standing
        self._served: tuple[Execution, ...] = ()
        self._exchanges: list[Exchange] = []
        self._facts: list[KernelFacts] = []
        ends: list[socket.socket] = []
        try:
            ends.extend(socket.socketpair() if len(jobs) > 1 else ())
            self._exchanges.extend(Exchange(job) for job in jobs[: len(lanes)])
            for number, lane in enumerate(lanes):
                lane.begin(jobs[number], limits[number], self._exchanges[number], ends[number].fileno() if ends else -1)
            if standing is not None:
                standing.begin(ends[-1].fileno())
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
        if self._standing is not None:
            self._served = (self._standing.finish(),)
        facts = [self._lanes[-1].finish()] if self._standing is None else []
        if len(self._jobs) > 1:  # the grader has decided: whatever its candidate still does can't matter
            self._lanes[0].cancel(_LINGER_S)
            facts.insert(0, self._lanes[0].finish())
        self._facts = facts

    def gather(self) -> tuple[Execution, ...]:
        """What came back."""
        try:
            each = zip(self._jobs, self._limits, self._exchanges, self._facts, self._lanes, strict=False)
            return tuple(gather(*parts) for parts in each) + self._served
        except OSError as error:
            raise EngineError(f"what a run left can't be read: {error}") from error

    def close(self) -> None:
        """Close the run's descriptors."""
        for exchange in self._exchanges:
            exchange.close()
