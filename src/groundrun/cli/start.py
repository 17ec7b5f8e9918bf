"""Where the process of the command line starts: streams that can fail, an interrupt at any time, an exit status at the end.

Little is imported here, and the rest only once an interrupt is answered, so that Ctrl-C never shows a traceback. Both output streams
tell a failed write as what it is: the reader went away (`ReaderGone`, quiet), or the output can't be written (`UsageError`). A stream
that was closed by the caller is replaced by the null device. What this does not promise: anything about the interpreter's own start.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import TYPE_CHECKING, NoReturn, TextIO

from groundrun.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

INTERRUPTED = 130
READER_GONE = 141
"""What a shell shows for a program that SIGPIPE ended."""


class ReaderGone(Exception):
    """Nobody reads the output any more."""


class Output(io.FileIO):
    """A descriptor to write to. After its first failure it drops what comes, so that the end of the process is quiet."""

    failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some of it. Raises ReaderGone or UsageError, once; neither is an OSError, which libraries treat in ways of their own."""
        if self.failed:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except BrokenPipeError:
            self.failed = True
            raise ReaderGone from None
        except OSError as error:
            self.failed = True
            raise UsageError(f"can't write the output: {error.strerror}") from None


def main(arguments: list[str] | None = None) -> NoReturn:
    """Carry out one command and leave with its exit status."""
    try:
        prepare_streams()
        status = importlib.import_module("groundrun.cli.entry").carry_out(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        os.write(2, b"error: interrupted\n")
        status = INTERRUPTED
    except ReaderGone:
        status = READER_GONE
    except UsageError as error:  # the output failed while an error was told
        status = error.exit_code
    sys.exit(status)


def prepare_streams() -> None:
    """Give the process three open streams, and let failed writes be told apart."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: the one that was closed
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))
    sys.stdout, sys.stderr = wrap_output(sys.stdout), wrap_output(sys.stderr)


def wrap_output(stream: TextIO) -> TextIO:
    """The same text stream over an `Output`; standard error stays written line by line."""
    raw = Output(stream.fileno(), "wb", closefd=False)
    by_line = raw.isatty() or stream is sys.stderr
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=by_line)
