"""A lane on either real rung: one warden process, spoken to over a socket (`wire`).

The command line that a warden gets is the whole policy of its jail: what is visible, which uid, which cgroup files, and, as
JSON for the zygote, landlock's rules and the seccomp filters.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import select
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import msgspec

from groundrun.engine import seccomp
from groundrun.engine.cgroups import Delegation, describe_to_warden, name_cgroups
from groundrun.engine.classification import EndedBy, KernelFacts
from groundrun.engine.exchange import Exchange, make_sealed
from groundrun.engine.exhaustion import BUSY
from groundrun.engine.flavour import BARE_FLAVOUR, Flavour
from groundrun.engine.interpreter import Interpreter
from groundrun.engine.job import Job
from groundrun.engine.lane import Usage
from groundrun.engine.memory import find_resident_bytes
from groundrun.engine.policy import SLOT, choose_rules, choose_view, encode_ruleset, guest_roots, program_environment
from groundrun.engine.refusals import explain
from groundrun.engine.remains import FOLDER_PREFIX, find_temporary, sweep_folders
from groundrun.engine.wire import HAS_CHANNEL, HAS_COLLECT, MAY_FORK, REPLY_BYTES, Answer, Reply, Request, pack_request, unpack_reply
from groundrun.errors import (
    CounterUnavailable,
    FlavourUnavailable,
    HostExhausted,
    HostRefused,
    NativeMissing,
    ProtocolError,
    RungUnavailable,
    RuntimeUnreachable,
    WorkerDied,
)
from groundrun.records import CpuSource, Isolation, Limits, MemoryGuard, Rung

NATIVE = Path(__file__).resolve().parent / "native" / "bin"
_STACK_BYTES = 8 << 20
_DESCRIPTORS = 256
_DESCRIPTORS_UNMEASURED = 64  # without a memory cgroup: each may hold a socket buffer of 0.2 MB that counts against no process
HANG_UP_S = 15  # for a warden to end everything once its user is gone
_LONGEST_POLL_MS = (1 << 31) - 1
_BYTES_PER_INODE = 4096  # a tmpfs of 64 MiB gets 16,384 inodes
START_S = 60  # for a warden to be ready, or to say what a run has used
SILENCE_S = 120.0  # past a run's wall limit: a warden that then has said nothing is stuck; twice what it gives its own zygote
_SHARED_PROCESSES = 9  # ours that count against the program's uid in the jail: init, zygotes, slots, the next child, one still dying
_STARTED = time.monotonic_ns() % 10**9  # so that a reused pid doesn't meet the folders of its predecessor
_FIRST_FREE_FD = 4  # in the zygote: standard streams, its control socket, then the cgroups that programs join, then its policy
MOST_SECONDS = 1e9
MOST_BYTES = 1 << 60  # far from what the kernel's counters hold
_MOST_PROCESSES = 1 << 21  # half of the numbers that Linux has: a cgroup takes no limit above them all
_UIDS_EACH = 512  # lanes that one process can have at a time
_THREADS = 256  # of a program that may not fork
_DEFAULT_PROCESSES = 64  # see records.Limits
_HOST_NAME = "host name: a seccomp filter around this process refuses to hide it"
_serial = itertools.count()


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a lane is made of; the same for every lane of an engine.

    `private_uid`: programs get a uid of their own (only as root). `missing`: what this host and rung can't give.
    `processes_shown`: programs find their own processes below /proc, which callgrind needs; only at `namespaces`.
    """

    rung: Rung
    interpreter: Interpreter
    delegation: Delegation
    landlock_abi: int
    private_uid: bool
    isolation: Isolation
    hash_seed: int = 0
    processes_shown: bool = False
    flavour: Flavour = BARE_FLAVOUR
    guests: tuple[str, ...] = ("groundrun.engine.guest.program", "groundrun.engine.guest.server")


class WardenLane:
    """One warden and its jail."""

    def __init__(self, setup: Setup) -> None:
        sweep_folders()
        self.isolation = setup.isolation
        self.flavour = setup.flavour.name
        self._setup = setup
        self._ids = itertools.count(1)
        self._current = 0
        self._ended: Reply | None = None
        self._silent_by = 0.0
        self._sending = threading.Lock()
        number = next(_serial)
        self._uid = _uids.take() if setup.private_uid else None
        folders = [name_folder(number)] if setup.rung is Rung.LANDLOCK else []
        self._places = (*folders, *name_cgroups(setup.delegation, number))
        layout = _lay_out(setup, number)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process: subprocess.Popen[bytes] | None = None
        passed = [theirs.fileno()]
        try:
            passed.append(open_own_pidfd(setup.rung))
            passed.append(make_sealed("policy", _tell_zygote(setup, layout)))
            named = [word for name, fd in zip(("--control", "--host", "--policy"), passed, strict=True) for word in (name, str(fd))]
            self._process = subprocess.Popen(
                [str(NATIVE / "warden"), *named, *_arguments(setup, number, layout, self._uid)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                pass_fds=passed,
                start_new_session=True,
            )
        except HostRefused:
            self.close()
            raise
        except OSError as error:
            self.close()
            if error.errno in (errno.EACCES, errno.ENOENT, errno.ENOEXEC):
                raise NativeMissing(str(NATIVE), error.strerror or str(error)) from error
            if error.errno in BUSY:
                raise HostExhausted(str(error)) from error
            raise WorkerDied("warden", f"it can't be started: {error}") from error
        finally:
            theirs.close()
            for descriptor in passed[1:]:
                os.close(descriptor)
        try:
            ready = self._receive(START_S)
            if ready.kind != Answer.READY:
                raise _refusal(setup, ready)
        except BaseException:
            self.close()
            raise
        if ready.error and _HOST_NAME not in setup.isolation.missing:
            self.isolation = msgspec.structs.replace(setup.isolation, missing=(*setup.isolation.missing, _HOST_NAME))
        self._baseline = ready.baseline

    @property
    def pid(self) -> int:
        """The warden's, whose descendants are all that the lane runs."""
        if self._process is None:
            raise WorkerDied("warden", "the lane is closed")
        return self._process.pid

    def measure(self) -> int:
        """Bytes that the zygote keeps resident, pages shared with other processes included; 0 when it can't be found."""
        return 0 if self._process is None else find_resident_bytes(self._process.pid)

    def begin(self, job: Job, limits: Limits, exchange: Exchange, channel: int) -> None:
        """Send the request; the warden takes the descriptors."""
        processes = min(limits.processes or self._default_processes, _MOST_PROCESSES)
        may_fork = processes > 1
        descriptors = [exchange.job, exchange.stdin, exchange.stdout, exchange.stderr, exchange.report]
        flags = MAY_FORK * may_fork
        if channel >= 0:
            flags |= HAS_CHANNEL
            descriptors.append(channel)
        if job.collect:
            flags |= HAS_COLLECT
            descriptors += [exchange.collect_in, exchange.collect_out]
        self._current = next(self._ids)
        self._may_fork = may_fork
        self._expect(limits)
        memory, output = min(limits.memory_bytes, MOST_BYTES), min(limits.output_bytes, MOST_BYTES)
        disk = -(-min(limits.disk_bytes, MOST_BYTES) // 4096) * 4096
        request = pack_request(
            Request.RUN,
            self._current,
            int(min(limits.cpu_s, MOST_SECONDS) * 1e9),
            int(min(limits.wall_s, MOST_SECONDS) * 1e9),
            0,
            memory,
            memory + self._baseline,
            max(disk, output + 1),
            disk,
            max(disk // _BYTES_PER_INODE, 64),
            _STACK_BYTES,
            self._count(processes),
            self._user_processes(processes),
            flags,
            _DESCRIPTORS if self._setup.delegation.memory else _DESCRIPTORS_UNMEASURED,
            int(min(limits.cpu_s, MOST_SECONDS)) + 2,
            0,
            job.guest.encode(),
        )
        with self._sending:
            try:
                socket.send_fds(self._socket, [request], descriptors)
            except OSError as error:
                raise WorkerDied("warden", self._last_words(str(error))) from error

    def wait(self, timeout_s: float) -> bool:
        """Whether the run's end, or the warden's, is there to be read."""
        return self._ended is not None or self._hears(timeout_s)

    def renew(self, limits: Limits) -> Usage | None:
        """Let time limits count from now; what the run used so far, or None when it is over: then comes `finish`."""
        if self._ended is not None or not self._current:
            return None
        self._ask(Request.RENEW, cpu_s=limits.cpu_s, wall_s=limits.wall_s)
        self._expect(limits)
        reply = self._receive(START_S)
        if reply.kind != Answer.RENEWED:
            self._ended = reply
            return None
        return Usage(
            cpu_s=reply.cpu_ns / 1e9,
            wall_s=reply.wall_ns / 1e9,
            memory_peak_bytes=reply.memory_peak or None,
            oom_kills=reply.oom_kills,
            process_refusals=reply.process_refusals,
        )

    def interrupt(self, pid: int) -> None:
        """SIGINT to a process of the present run, named by its pid as it sees itself."""
        self._ask(Request.INTERRUPT, target=pid)

    def finish(self) -> KernelFacts:
        """Wait for the warden's answer."""
        reply, self._ended = self._ended or self._receive(max(self._silent_by - time.monotonic(), 0)), None
        if reply.kind == Answer.FAILED:
            raise HostExhausted(reply.tell()) if reply.error in BUSY else WorkerDied("warden", reply.tell())
        if reply.kind != Answer.DONE or reply.id != self._current:
            raise ProtocolError(f"the warden answered run {reply.id} (kind {reply.kind}) instead of {self._current}")
        with self._sending:
            self._current = 0
        if reply.ended_by > max(EndedBy):
            raise ProtocolError(f"the warden says that run {reply.id} was ended by {reply.ended_by}, which nobody is")
        return KernelFacts(
            wait_status=reply.wait_status,
            ended_by=EndedBy(reply.ended_by),
            cpu_s=reply.cpu_ns / 1e9,
            wall_s=reply.wall_ns / 1e9,
            cpu_source=CpuSource.CGROUP if reply.measured_by_cgroup else CpuSource.WAIT4,
            memory_peak_bytes=reply.memory_peak or None,
            oom_kills=reply.oom_kills,
            process_refusals=reply.process_refusals,
            fork_refused=not self._may_fork,
        )

    def cancel(self, grace_s: float = 0.0) -> None:
        """End the present run unless it ends by itself within the grace."""
        self._ask(Request.CANCEL, grace_s=grace_s)
        self._silent_by = min(self._silent_by, time.monotonic() + grace_s + SILENCE_S)

    def close(self) -> None:
        """Hang up: the warden ends everything it started and itself."""
        self._socket.close()
        process, self._process = self._process, None
        if process is not None:
            try:
                process.wait(timeout=HANG_UP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._remove_remains()
        if self._uid is not None:
            _uids.give_back(self._uid)
            self._uid = None

    def abandon(self) -> None:
        """In a forked child: the warden is the parent's."""
        self._socket.close()
        process, self._process = self._process, None
        if process is not None:
            process.returncode = 0  # so that its finalizer doesn't wait for a process that isn't our child

    def _remove_remains(self) -> None:
        """What a warden removes itself, unless it was killed."""
        for place in self._places:
            for _ in range(50):
                try:
                    os.rmdir(place)
                except FileNotFoundError:
                    break
                except OSError as error:
                    if error.errno == errno.EBUSY:  # a cgroup whose last process is still on its way out
                        time.sleep(0.01)
                        continue
                    shutil.rmtree(place, ignore_errors=True)
                break

    def _ask(self, kind: Request, *, cpu_s: float = 0.0, wall_s: float = 0.0, grace_s: float = 0.0, target: int = 0) -> None:
        """Say something about the present run; nothing when there is none."""
        times = (int(min(each, MOST_SECONDS) * 1e9) for each in (cpu_s, wall_s, grace_s))
        with self._sending, contextlib.suppress(OSError):
            if self._current:
                self._socket.send(pack_request(kind, self._current, *times, *[0] * 11, target, b""))

    def _expect(self, limits: Limits) -> None:
        """A run's end, and with it the warden's answer, comes within its wall limit, which begins now."""
        self._silent_by = time.monotonic() + min(limits.wall_s, MOST_SECONDS) + SILENCE_S

    @property
    def _default_processes(self) -> int:
        delegation = self._setup.delegation
        measured = self._setup.rung is Rung.NAMESPACES and delegation.cpu and delegation.pids
        return _DEFAULT_PROCESSES if measured else 1

    def _count(self, processes: int) -> int:
        """How many tasks may exist: where fork is refused, threads may still be made."""
        return processes if processes > 1 else _THREADS

    def _user_processes(self, processes: int) -> int:
        """RLIMIT_NPROC, 0 for none: what bounds tasks where no cgroup does, exact only for a uid that is the program's alone."""
        if self._setup.delegation.pids:
            return 0
        if self._setup.rung is Rung.NAMESPACES:
            return self._count(processes) + _SHARED_PROCESSES
        return self._count(processes) + 1 if self._setup.private_uid else 0  # the next child has that uid too

    def _hears(self, timeout_s: float) -> bool:
        """Whether something is there to be read within that time."""
        poll = select.poll()  # select knows no descriptor above 1023
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(min(timeout_s * 1000, _LONGEST_POLL_MS)))

    def _receive(self, timeout_s: float) -> Reply:
        if not self._hears(timeout_s):
            raise WorkerDied("warden", "it said nothing for longer than it may")
        try:
            data = self._socket.recv(REPLY_BYTES)
        except OSError as error:
            raise WorkerDied("warden", str(error)) from error
        if not data:
            raise WorkerDied("warden", "it hung up")
        return unpack_reply(data)

    def _last_words(self, otherwise: str) -> str:
        with contextlib.suppress(WorkerDied, ProtocolError):
            return self._receive(1).tell()
        return otherwise


def _refusal(setup: Setup, reply: Reply) -> Exception:
    """What a warden that could not start says, as the error that tells the user what to do."""
    said = reply.tell()
    if reply.error in BUSY:
        return HostExhausted(said)
    if setup.flavour.modules and reply.text.startswith(("importing ", "the interpreter ended")):
        return FlavourUnavailable(setup.flavour.name, said)
    if reply.text.startswith(("showing processes", "keeping the mount")):
        return CounterUnavailable("callgrind", said, "it needs Linux 5.8 or later and a /proc of which nothing is masked")
    found = explain(reply.text, reply.error, rung=setup.rung, warden=str(NATIVE / "warden"))
    if found is not None:
        return RungUnavailable(setup.rung.value, found.cause, found.remedy, found.code.value)
    if reply.text.startswith(("executing ", "binding ", "reading ", "the interpreter ended")):
        return RuntimeUnreachable(setup.interpreter.executable, said)
    return WorkerDied("warden", said)


def open_own_pidfd(rung: Rung) -> int:
    """A pidfd of this process, by which those who serve it notice its end. Raises RungUnavailable where there are none."""
    try:
        return os.pidfd_open(os.getpid())
    except OSError as error:
        found = explain("pidfd_open", error.errno or 0, rung=rung)
        if found is None:
            raise
        raise RungUnavailable(rung.value, found.cause, found.remedy, found.code.value) from error


def name_folder(number: int) -> str:
    """Where a lane of rung `landlock` keeps its slots. Raises RungUnavailable when no folder can be written."""
    return f"{find_temporary(Rung.LANDLOCK.value)}/{FOLDER_PREFIX}{os.getpid()}-{number}-{_STARTED}"


class _Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Where things lie as the zygote and its children see them."""

    roots: dict[str, str]
    library: str
    work: str
    temporary: str
    writable: tuple[str, ...]


def _lay_out(setup: Setup, number: int) -> _Layout:
    if setup.rung is Rung.NAMESPACES:
        return _Layout(
            roots={name: f"/groundrun/{name}" for name in guest_roots()},
            library="/groundrun/native/guest.so",
            work=f"{SLOT}/work",
            temporary=f"{SLOT}/tmp",
            writable=(os.path.dirname(SLOT),),  # landlock looks past a mount point itself, at what lies above
        )
    slot = f"{name_folder(number)}/slot"
    return _Layout(
        roots=guest_roots(),
        library=str(NATIVE / "guest.so"),
        work=f"{slot}/work",
        temporary=f"{slot}/tmp",
        writable=(f"{slot}/work", f"{slot}/tmp", f"{slot}/branches"),
    )


def _tell_zygote(setup: Setup, layout: _Layout) -> bytes:
    rules = choose_rules(setup.rung, choose_view(setup.interpreter), abi=setup.landlock_abi, writable=layout.writable)
    scoped, bounded = setup.landlock_abi >= 6, bool(setup.delegation.memory)
    policy = {
        "namespaces": int(setup.rung is Rung.NAMESPACES),
        "library": layout.library,
        "roots": layout.roots,
        "guests": setup.guests,
        "modules": setup.flavour.modules,
        "work": layout.work,
        "cgroups": setup.delegation.joined,
        "ruleset": encode_ruleset(setup.rung, abi=setup.landlock_abi).hex(),
        "rules": [(rule.path, rule.access) for rule in rules],
        "filter": seccomp.build_base(setup.rung, landlock_abi=setup.landlock_abi, memory_cgroup=bounded).hex(),
        "tails": [seccomp.build_tail(setup.rung, may_fork=fork, signals_are_scoped=scoped).hex() for fork in (False, True)],
        "self_pid": seccomp.SELF_PID,
    }
    return json.dumps(policy).encode()


def _arguments(setup: Setup, number: int, layout: _Layout, uid: int | None) -> list[str]:
    words = ["--rung", setup.rung.value]
    if uid is not None:
        words += ["--uid", str(uid)]
    words += describe_to_warden(setup.delegation, number)
    if setup.rung is Rung.NAMESPACES:
        words += ["--processes-shown", "1"] if setup.processes_shown else []
        view = choose_view(setup.interpreter)
        words += [word for real, where in view.binds for word in ("--bind", real, where)]
        words += [word for name, folder in guest_roots().items() for word in ("--bind", folder, layout.roots[name])]
        words += ["--bind", str(NATIVE), os.path.dirname(layout.library)]
        words += [word for text, where in view.links for word in ("--symlink", text, where)]
        words += [word for text, where in view.files for word in ("--file", text, where)]
        words += [word for folder in view.hidden for word in ("--hide", folder)]
    else:
        words += ["--folder", name_folder(number)]
    environment = program_environment(layout.work, layout.temporary, hash_seed=setup.hash_seed) | {"LD_BIND_NOW": "1"}
    for name, value in environment.items():
        words += ["--env", f"{name}={value}"]
    zygote = f"{layout.roots['groundrun.engine.guest']}/zygote.py"
    return [*words, "--", setup.interpreter.executable, "-s", "-B", zygote, str(_FIRST_FREE_FD + setup.delegation.joined)]


class _Uids:
    """Uids for lanes that nothing else on the host uses: far above real users, distinct for each process and for each living lane of it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._used: set[int] = set()

    def take(self) -> int:
        with self._guard:
            number = next(number for number in range(_UIDS_EACH) if number not in self._used)
            self._used.add(number)
        return 1_000_000_000 + os.getpid() % (1 << 22) * _UIDS_EACH + number

    def give_back(self, uid: int) -> None:
        with self._guard:
            self._used.discard((uid - 1_000_000_000) % _UIDS_EACH)


_uids = _Uids()


def memory_guard(delegation: Delegation) -> MemoryGuard:
    """Who will bound memory."""
    return delegation.memory_guard if delegation.memory else MemoryGuard.RLIMIT_AS
