"""What goes in comes out, whatever a program writes into the shared region."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrun.engine.classification import EndedBy, KernelFacts, classify
from groundrun.engine.exchange import Ending, Exchange, read_output
from groundrun.engine.guest.job import REGION_BYTES, GuestJob, decode_job, encode_job
from groundrun.engine.job import Job, as_job
from groundrun.errors import UsageError
from groundrun.records import ExceptionInfo, Limits, Outcome, Program

pytestmark = pytest.mark.unit


@given(
    source=st.text(st.characters(codec=None)),
    argv=st.lists(st.text()),
    payload=st.binary(),
    files=st.dictionaries(st.text(min_size=1), st.binary()),
    entry=st.none() | st.text(),
)
def test_a_job_survives_the_wire(source: str, argv: list[str], payload: bytes, files: dict[str, bytes], entry: str | None) -> None:
    data = encode_job(source=source, entry_point=entry, argv=tuple(argv), payload=payload, files=files)
    job = decode_job(data, channel=-1, write=lambda offset, part: None)
    assert (job.source, job.entry_point, job.argv, job.payload, job.files) == (source, entry, argv, payload, files)


@given(st.binary(max_size=400), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_forged_region_never_breaks_the_host(junk: bytes, ending: int, report: int) -> None:
    exchange = Exchange(Job(program=Program("")))
    try:
        os.pwrite(exchange.report, struct.pack("<II", ending, report) + junk, 0)
        said = exchange.read_ending()
        assert said.exception is None or isinstance(said.exception, ExceptionInfo)
        assert len(exchange.read_report()) <= REGION_BYTES
    finally:
        exchange.close()


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"1", b'{"kind": []}', b'{"kind": "raised", "line": "x", "errno": [], "type": 5}', b"[" * 60_000]
)
def test_an_ending_is_checked_field_by_field(data: bytes) -> None:
    ending = Ending(data)
    assert ending.exception is None or ending.exception.line is None


def test_the_last_report_wins_and_too_long_a_one_is_refused() -> None:
    exchange = Exchange(Job(program=Program("")))

    def write(offset: int, data: bytes) -> None:
        os.pwrite(exchange.report, data, offset)

    try:
        job = GuestJob(
            source="", entry_point=None, argv=[], payload=b"", files={}, channel=-1,
            write=write,
        )  # fmt: skip
        job.report(b"first and longer")
        job.report(b"second")
        job.end({"kind": "raised", "type": "T", "message": "m" * 200_000, "traceback": "t" * 200_000})
        assert exchange.read_report() == b"second"
        assert exchange.read_ending().exception is not None
        with pytest.raises(ValueError, match="at most"):
            job.report(bytes(REGION_BYTES))
    finally:
        exchange.close()


@given(size=st.integers(0, 5000), limit=st.integers(1, 4000))
def test_output_is_whole_or_head_and_tail(size: int, limit: int) -> None:
    descriptor = os.memfd_create("out")
    try:
        written = bytes(number % 251 for number in range(size))
        os.write(descriptor, written)
        kept, total = read_output(descriptor, limit)
        assert total == size and len(kept) <= max(limit, 1)
        if size <= limit:
            assert kept == written
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "a\0b", "a\nb", "x" * 2000])
def test_paths_outside_the_working_folder_are_refused(path: str) -> None:
    with pytest.raises(UsageError, match="relative path"):
        as_job(Job(program=Program("", files={path: b""})))
    with pytest.raises(UsageError, match="relative path"):
        as_job(Job(program=Program(""), collect=(path,)))


def test_kernel_facts_come_before_the_programs_own_account() -> None:
    lie = Ending(b'{"kind": "raised", "type": "MemoryError"}')
    limits = Limits(cpu_s=1, output_bytes=10)

    def outcome(*, written: int = 0, ending: Ending = lie, **facts: object) -> Outcome:
        return classify(KernelFacts(**{"wait_status": 256, **facts}), ending, limits=limits, written=written)  # type: ignore[arg-type]

    assert outcome() is Outcome.MEMORY_LIMIT
    assert outcome(wait_status=0) is Outcome.OK
    assert outcome(cpu_s=1.1) is Outcome.CPU_LIMIT
    assert outcome(written=11) is Outcome.OUTPUT_LIMIT
    assert outcome(oom_kills=1, wait_status=0) is Outcome.MEMORY_LIMIT
    assert outcome(wait_status=9) is Outcome.SIGNALLED
    assert outcome(ended_by=EndedBy.WALL, cpu_s=5.0) is Outcome.WALL_LIMIT
    assert outcome(ended_by=EndedBy.CANCEL) is Outcome.CANCELLED
    quiet = Ending(b"")
    assert outcome(ending=quiet) is Outcome.EXITED
    assert outcome(ending=quiet, process_refusals=2) is Outcome.PROCESS_LIMIT
    assert outcome(ending=Ending(b'{"kind": "raised", "type": "OSError", "errno": 28}')) is Outcome.DISK_LIMIT
    assert outcome(ending=Ending(b'{"kind": "raised", "type": "KeyError"}')) is Outcome.RAISED
