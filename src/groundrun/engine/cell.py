"""What came of a cell, and what is kept to run it again. Pure, but for the hash."""

from __future__ import annotations

import hashlib
import re

import msgspec

from groundrun.engine.exchange import Ending
from groundrun.engine.guest.frames import to_text
from groundrun.engine.line import Lost
from groundrun.engine.tree import read_number
from groundrun.records import Cost, ExceptionInfo, Isolation, Limits, Outcome

MAX_VALUE = 65_536
_ADDRESS = re.compile(rb" at 0x[0-9a-f]+")
_SAID = (b"ok", b"raised", b"exited", b"stopped")


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one cell.

    `outcome` is `ok` when it ran to its end; `exited` is `SystemExit`, and any other end of its process by itself; `cancelled` was
    interrupted. `value` is the representation of its last expression, None when that has no value. `cost` is the kernel's account of the
    whole slot over the cell (`memory_peak_bytes`: of the session so far). `ended`: no cell can follow. All else is as in `Execution`.
    """

    number: int
    source: str
    outcome: Outcome
    isolation: Isolation
    value: str | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    exception: ExceptionInfo | None = None
    exit_code: int | None = None
    signal: int | None = None
    truncated: bool = False
    ended: bool = False
    cost: Cost = Cost()

    @property
    def text(self) -> str:
        """stdout as text; bytes that are not UTF-8 become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What came of running a session's cells again. `differing`: numbers of cells that gave anything else than before.

    Compared are outcome, value, output and exception, without addresses of objects.
    """

    cells: int
    differing: tuple[int, ...]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A cell or files, as they were sent; `digest` of what came of the cell."""

    source: str = ""
    limits: Limits = Limits()
    digest: bytes = b""
    files: dict[str, bytes] | None = None


def read_answer(said: list[bytes]) -> tuple[str | None, Ending, int]:
    """Value, ending and exit status of a cell's answer. Raises Lost."""
    if len(said) != 4 or said[0] not in _SAID or len(said[1]) > MAX_VALUE + 1:
        raise Lost("its answer is none")
    try:
        value = to_text(said[1][1:]).encode("utf-8", "replace").decode() if said[1] else None
    except ValueError:
        value = said[1][1:].decode("utf-8", "replace")
    return value, Ending(said[2][: 4 * 65_536]), read_number(said[3]) & 0xFF


def digest_cell(cell: Cell) -> bytes:
    """The same for cells of which the same came: outcome, value, output and exception, without addresses of objects."""
    exception = (cell.exception.type, cell.exception.message) if cell.exception else ()
    parts = (cell.outcome.value, cell.value or "", *exception)
    data = b"\0".join([*(part.encode("utf-8", "replace") for part in parts), cell.stdout, cell.stderr])
    return hashlib.blake2b(_ADDRESS.sub(b"", data), digest_size=16).digest()
