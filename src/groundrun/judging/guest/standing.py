"""The grader that stays: the same grading as `grader`, for one candidate after another of a problem whose tests keep no state.

Each candidate comes as a descriptor over the job's channel and gets a `Candidate` and test globals of its own; its report goes back over
the channel, 4 bytes length and JSON. The helpers of the reference are executed anew each time as well. What isn't fresh is the interpreter;
the host uses this for tests only that change nothing outside of their own globals (`reading.keeps_no_state`). When a test leaves a
thread behind, the grader ends after its report.
"""

from __future__ import annotations

import _socket
import json
import os
import sys

from groundrun.engine.guest.job import GuestJob
from groundrun.engine.guest.transport import send_frame
from groundrun.judging.guest.grader import STARTED, grade_candidate, rehearse

__all__ = ["main", "rehearse"]

_INT = 4


def main(job: GuestJob) -> None:
    """Serve until the host closes the channel."""
    job.report(STARTED)
    task = json.loads(job.payload)
    sys.path.insert(0, os.getcwd())
    control = _socket.socket(fileno=job.channel)
    stdout, path = sys.stdout, list(sys.path)
    while True:
        told, passed, _, _ = control.recvmsg(1, _socket.CMSG_SPACE(_INT))
        if not told or not passed:
            os._exit(0)
        channel = int.from_bytes(passed[0][2][:_INT], sys.byteorder)
        report = json.dumps(grade_candidate(task, channel)).encode()
        os.close(channel)
        sys.stdout, sys.path[:] = stdout, path
        send_frame(job.channel, report)
        threading = sys.modules.get("threading")
        if threading is not None and threading.active_count() > 1:
            os._exit(0)
