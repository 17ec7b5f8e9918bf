"""The host's side of a batch's ledger: the watch over each call's share of the limits, and the entries that came back.

The ledger is a sealed memfd that host and candidate's process share (layout: `guest.batch`). Every few milliseconds to half a second, in
proportion to the limits, the worker's thread looks how far the calls are; when the running one is another than last time, the warden lets
the time limits count anew. So a call that goes on is ended by the kernel's clock, whatever it does to the process it runs in.

What it promises is counted in *allowances*: an allowance is 1.5 times the limit of a call and 0.05 s. From the host's first look at a call
it has one allowance; before that look, no more than what was left of the one before. So two allowances are the most, however late a
busy host looks. One that was ended before it was ever looked at may have had too little (`seen` tells). A program that writes the ledger
itself gets as many allowances as it has calls, and never more than the batch's own limits, which hold throughout.
At rung `none` nobody can renew, and only the batch's limits hold.

Nothing in the ledger is trusted: sizes and numbers are checked, and it is read when the process is dead, into memory of our own.
"""

from __future__ import annotations

import fcntl
import math
import os

import msgspec

from groundrun.engine.guest.batch import ENTRY, LEDGER_BYTES, STATE, TOO_LONG
from groundrun.engine.lane import Lane
from groundrun.records import Limits, Rung

SHORTEST_LOOK_S, LONGEST_LOOK_S = 0.01, 0.5
LEAST_S = 1e-6  # a limit is never 0
_SEALED = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What the process said of one call. *In process*; only the sizes and the range of the numbers are sure."""

    status: int
    value: bytes
    output: bytes
    cpu_s: float


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """How much time something may take, by both clocks."""

    cpu_s: float
    wall_s: float

    def allowance(self) -> Share:
        """What the kernel grants for it at a time."""
        return Share(cpu_s=1.5 * self.cpu_s + 0.05, wall_s=1.5 * self.wall_s + 0.05)


class Ledger:
    """The ledger of one process, and the watch over it. `count` calls; `call` and `load` are their shares, `left` the batch's own.

    After the run: `stage` as the process left it, `seen` the last stage that was looked at, `last` whether the batch's own limit was
    the nearest one on each clock.
    """

    def __init__(self, *, count: int, call: Share, load: Share, left: Share) -> None:
        self._count, self._call, self._left = count, call.allowance(), left
        self._first = Share(cpu_s=load.cpu_s + self._call.cpu_s, wall_s=load.wall_s + self._call.wall_s)
        self._period = min(max(min(call.cpu_s, call.wall_s) / 4, SHORTEST_LOOK_S), LONGEST_LOOK_S)
        self._descriptor = -1
        self._data = b""
        self.stage = self.seen = 0
        self.last_cpu = self.last_wall = True

    def open(self) -> int:
        """A fresh ledger for a new attempt; what the one before left is forgotten."""
        self._data, self.stage, self.seen, self.last_cpu, self.last_wall = b"", 0, 0, True, True
        self._descriptor = os.memfd_create("ledger", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self._descriptor, LEDGER_BYTES)
        fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, _SEALED)
        return self._descriptor

    def begin(self, lane: Lane) -> None:
        """From here on the limits are those of the source and the first call."""
        if lane.isolation.rung is not Rung.NONE:
            self._grant(lane, self._first)

    def watch(self, lane: Lane) -> None:
        """Look, and grant, until the run is over."""
        if lane.isolation.rung is Rung.NONE:
            return
        while not lane.wait(self._period):
            stage = self._look()[0]
            if self.seen < stage <= self._count:
                self.seen = stage
                if not self._grant(lane, self._call):
                    return

    def close(self) -> None:
        """Take what the ledger holds."""
        if self._descriptor < 0:
            return
        self.stage, used = self._look()
        parts, at, end = [], STATE.size, min(used, LEDGER_BYTES)
        while at < end and (part := os.pread(self._descriptor, end - at, at)):
            parts.append(part)
            at += len(part)
        self._data = b"".join(parts)
        os.close(self._descriptor)
        self._descriptor = -1

    def read(self) -> list[Entry]:
        """The entries, up to the first that is none."""
        entries: list[Entry] = []
        data, at = self._data, 0
        while len(entries) < min(self.stage - 1, self._count) and at + ENTRY.size <= len(data):
            number, status, value, output, cpu_s = ENTRY.unpack_from(data, at)
            at += ENTRY.size
            if number != len(entries) or status > TOO_LONG or at + value + output > len(data) or not 0 <= cpu_s < math.inf:
                break
            entries.append(Entry(status=status, value=data[at : at + value], output=data[at + value : at + value + output], cpu_s=cpu_s))
            at += value + output
        return entries

    def _look(self) -> tuple[int, int]:
        stage, used = STATE.unpack(os.pread(self._descriptor, STATE.size, 0))
        return stage, used

    def _grant(self, lane: Lane, share: Share) -> bool:
        """Let the share count from now, cut to what is left of the batch. False when the run is over."""
        used = lane.renew(Limits(cpu_s=share.cpu_s, wall_s=share.wall_s))
        if used is None:
            return False
        left = Share(cpu_s=self._left.cpu_s - used.cpu_s, wall_s=self._left.wall_s - used.wall_s)
        self.last_cpu, self.last_wall = left.cpu_s <= share.cpu_s, left.wall_s <= share.wall_s
        if self.last_cpu or self.last_wall:
            cpu_s, wall_s = max(min(left.cpu_s, share.cpu_s), LEAST_S), max(min(left.wall_s, share.wall_s), LEAST_S)
            return lane.renew(Limits(cpu_s=cpu_s, wall_s=wall_s)) is not None
        return True
