"""The descriptors of one run, seen from the host: the job going in, and output, report and files coming back.

All are fresh memfds, never reused, so that nothing of one run can leak into the next. Output needs no pump and can't
deadlock: the host reads it once, after the slot is dead. A program sees a seekable file instead of a pipe.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct

from groundrun.engine.guest.job import ENDING_BYTES, ENDING_OFFSET, REGION_BYTES, REPORT_BYTES, REPORT_OFFSET, encode_job
from groundrun.engine.job import Job
from groundrun.records import Counter, Counts, ExceptionInfo

_SEALED = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
_COLLECT_HEAD = struct.Struct("<II")
_COUNTS = re.compile(rb"GRC1(sys\.monitoring|settrace) (3\.\d{1,3}) (\d{1,19} \d{1,19} \d{1,19} \d{1,19})")


def make_sealed(name: str, data: bytes) -> int:
    """A memfd that holds `data`, can't be changed any more, and is at its start."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALED)
    return descriptor


class Ending:
    """How the program said that it ended. *In process*: every field is checked and bounded here."""

    __slots__ = ("exception", "kind")

    def __init__(self, data: bytes) -> None:
        self.kind = ""
        self.exception: ExceptionInfo | None = None
        if not data:
            return
        try:
            said = json.loads(data)
            self.kind = str(said["kind"])
            if self.kind == "raised":
                line, errno = said.get("line"), said.get("errno")
                self.exception = ExceptionInfo(
                    type=_clean(said.get("type", ""))[:200],
                    message=_clean(said.get("message", ""))[:16_384],
                    traceback=_clean(said.get("traceback", ""))[:16_384],
                    line=line if type(line) is int else None,
                    errno=errno if type(errno) is int else None,
                )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return


def read_counts(said: bytes) -> Counts | None:
    """What a counted run said that it counted; None when it said nothing that can be read. *In process*."""
    found = _COUNTS.fullmatch(said)
    if found is None:
        return None
    jumps, branches, calls, starts = map(int, found[3].split())
    events = jumps + branches + calls + starts
    counter, python = Counter(found[1].decode()), found[2].decode()
    return Counts(counter=counter, events=events, python=python, jumps=jumps, branches=branches, calls=calls, starts=starts)


def _clean(said: object) -> str:
    """Text that can be written anywhere: lone surrogates become question marks."""
    return str(said).encode("utf-8", "replace").decode()


class Exchange:
    """Everything that one run needs open. `close` it whatever happens."""

    __slots__ = ("_wanted", "collect_in", "collect_out", "job", "report", "stderr", "stdin", "stdout")
    _DESCRIPTORS = ("collect_in", "collect_out", "job", "report", "stderr", "stdin", "stdout")

    def __init__(self, job: Job) -> None:
        program = job.program
        self._wanted = frozenset(job.collect)
        self.job = self.stdin = self.stdout = self.stderr = self.report = self.collect_in = self.collect_out = -1
        try:
            self.job = make_sealed(
                "job",
                encode_job(source=program.source, entry_point=program.entry_point, argv=job.argv, payload=job.payload, files=program.files),
            )
            self.stdin = make_sealed("stdin", job.stdin) if job.stdin else os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            self.stdout = os.memfd_create("stdout", os.MFD_CLOEXEC)
            self.stderr = os.memfd_create("stderr", os.MFD_CLOEXEC)
            self.report = os.memfd_create("report", os.MFD_CLOEXEC)
            os.ftruncate(self.report, REGION_BYTES)
            if job.collect:
                self.collect_in = make_sealed("collect", "".join(f"{path}\n" for path in job.collect).encode())
                self.collect_out = os.memfd_create("collected", os.MFD_CLOEXEC)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every descriptor; safe to call twice."""
        for name in self._DESCRIPTORS:
            descriptor = getattr(self, name)
            if descriptor >= 0:
                os.close(descriptor)
                setattr(self, name, -1)

    def read_ending(self) -> Ending:
        """How the program said it ended."""
        size = struct.unpack("<I", _read(self.report, 4, 0).ljust(4, b"\0"))[0]
        return Ending(_read(self.report, min(size, ENDING_BYTES), ENDING_OFFSET))

    def read_report(self) -> bytes:
        """What the guest module handed back."""
        size = struct.unpack("<I", _read(self.report, 4, 4).ljust(4, b"\0"))[0]
        return _read(self.report, min(size, REPORT_BYTES), REPORT_OFFSET)

    def read_files(self) -> dict[str, bytes]:
        """The collected files. Layout, repeated: u32 path length, u32 size, path, content."""
        if self.collect_out < 0:
            return {}
        data = _read(self.collect_out, os.fstat(self.collect_out).st_size, 0)
        files, at = {}, 0
        while at + _COLLECT_HEAD.size <= len(data):
            name_length, size = _COLLECT_HEAD.unpack_from(data, at)
            at += _COLLECT_HEAD.size
            name = data[at : at + name_length].decode("utf-8", "surrogateescape")
            if name in self._wanted:
                files[name] = data[at + name_length : at + name_length + size]
            at += name_length + size
        return files


def read_output(descriptor: int, limit: int) -> tuple[bytes, int]:
    """What a stream holds and how much was written: everything, or head and tail around a note when it is over `limit` bytes."""
    size = os.fstat(descriptor).st_size
    if size <= limit:
        return _read(descriptor, size, 0), size
    note = f"\n[... {size - limit} bytes left out ...]\n".encode()
    keep = max(limit - len(note), 0)
    head, tail = keep - keep // 2, keep // 2
    return _read(descriptor, head, 0) + note[:limit] + _read(descriptor, tail, size - tail), size


def _read(descriptor: int, size: int, offset: int) -> bytes:
    parts = []
    while size > 0:
        part = os.pread(descriptor, size, offset)
        if not part:
            break
        parts.append(part)
        size -= len(part)
        offset += len(part)
    return b"".join(parts)
