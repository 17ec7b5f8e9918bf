"""What the host refuses for a moment, as an error of ours: a run is tried again, and nothing about the host is concluded from it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from groundrun.errors import HostExhausted

BUSY = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


@contextmanager
def host_may_refuse() -> Iterator[None]:
    """Raises HostExhausted for an OSError inside."""
    try:
        yield
    except OSError as error:
        raise HostExhausted(str(error)) from error
