"""Progress on the standard error: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from groundrun.cli.options import tell
from groundrun.records import Verdict
from groundrun.reports.phrases import make_printable

_EVERY_S = 10.0


class Watch:
    """Watches a run for the person at the command line; a context manager, so that the bar is taken down again."""

    def __init__(self, what: str) -> None:
        self._what = what
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[passed]} passed"))
            self._bar = Progress(*columns, console=console, transient=True)
        self._total = self._done = self._passed = 0
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def begin(self, *, total: int, done: int) -> None:
        """The number of samples in all, and of those that have their verdict from before."""
        self._total, self._done = total, done
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=total, completed=done, passed=0)
        elif done:
            tell(f"{self._what}: going on, {done} of {total} are judged already")

    def advance(self, verdict: Verdict) -> None:
        """One more verdict was stored."""
        self._done += 1
        self._passed += verdict.passed is True
        if self._bar:
            self._bar.update(self._task, completed=self._done, passed=self._passed)
        elif time.monotonic() - self._told > _EVERY_S:
            self._told = time.monotonic()
            tell(f"{self._what}: {self._done} of {self._total}")

    def note(self, message: str) -> None:
        """Something to tell, in a sentence."""
        if self._bar:
            self._bar.console.print(make_printable(message), markup=False, highlight=False)
        else:
            tell(f"{self._what}: {message}")
