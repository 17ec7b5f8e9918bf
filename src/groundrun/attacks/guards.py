"""The guards by name: what engine, judge and report have between a hostile program and what it is after.

A guard is something that can be left out by itself. So an attack can name the smallest set of guards that stops it, and `controls` can show
that it wins without that set and not without a part of it. Which guard stands on which rung is in docs/design/threats.md.
"""

from __future__ import annotations

from enum import StrEnum


class Guard(StrEnum):
    """One guard. The value is its word on command lines and in `--json`; `describe()` is a sentence."""

    VIEW = "view"
    HIDDEN_PACKAGE = "hidden-package"
    READ_ONLY_ROOT = "read-only-root"
    USER_NAMESPACE = "user-namespace"
    PRIVATE_USER = "private-user"
    PID_NAMESPACE = "pid-namespace"
    NET_NAMESPACE = "net-namespace"
    IPC_NAMESPACE = "ipc-namespace"
    UTS_NAMESPACE = "uts-namespace"
    CAPABILITIES = "capabilities"
    BOUNDING_SET = "bounding-set"
    NO_NEW_PRIVILEGES = "no-new-privileges"
    UNDUMPABLE = "undumpable"
    OWN_SESSION = "own-session"
    CLOSED_DESCRIPTORS = "closed-descriptors"
    CLEAN_ENVIRONMENT = "clean-environment"

    LANDLOCK_DOMAIN = "landlock-domain"
    LANDLOCK_FILES = "landlock-files"
    LANDLOCK_SCOPES = "landlock-scopes"

    REFUSED_ARCHITECTURES = "refused-architectures"
    REFUSED_UNKNOWN = "refused-unknown"
    REFUSED_MOUNTS = "refused-mounts"
    REFUSED_NAMESPACES = "refused-namespaces"
    REFUSED_TRACING = "refused-tracing"
    REFUSED_INTERFACES = "refused-interfaces"
    REFUSED_CLOCKS = "refused-clocks"
    REFUSED_FOREIGN_PIDS = "refused-foreign-pids"
    REFUSED_SIGNALS = "refused-signals"
    REFUSED_SESSIONS = "refused-sessions"
    REFUSED_SOCKETS = "refused-sockets"
    REFUSED_DESCRIPTOR_TRICKS = "refused-descriptor-tricks"
    REFUSED_METADATA = "refused-metadata"
    REFUSED_SEGMENTS = "refused-segments"
    REFUSED_SHARED_COUNTS = "refused-shared-counts"
    REFUSED_UNOWNED_MEMORY = "refused-unowned-memory"
    REFUSED_FORK = "refused-fork"

    RLIMIT_AS = "rlimit-as"
    RLIMIT_CORE = "rlimit-core"
    RLIMIT_CPU = "rlimit-cpu"
    RLIMIT_FSIZE = "rlimit-fsize"
    RLIMIT_MEMLOCK = "rlimit-memlock"
    RLIMIT_MSGQUEUE = "rlimit-msgqueue"
    RLIMIT_NICE = "rlimit-nice"
    RLIMIT_NOFILE = "rlimit-nofile"
    RLIMIT_NPROC = "rlimit-nproc"
    RLIMIT_RTPRIO = "rlimit-rtprio"
    RLIMIT_SIGPENDING = "rlimit-sigpending"
    RLIMIT_STACK = "rlimit-stack"
    CGROUP_CPU = "cgroup-cpu"
    CGROUP_MEMORY = "cgroup-memory"
    CGROUP_PIDS = "cgroup-pids"
    PROCESSOR_CLOCK = "processor-clock"
    WALL_CLOCK = "wall-clock"
    DISK_BYTES = "disk-bytes"
    DISK_INODES = "disk-inodes"
    MEASURED_FOLDER = "measured-folder"

    SINGLE_USE = "single-use"
    WIPED_FOLDER = "wiped-folder"
    BLIND_ZYGOTE = "blind-zygote"
    GROUP_KILL = "group-kill"
    FAMILY_HUNT = "family-hunt"
    DEAD_BEFORE_COLLECTION = "dead-before-collection"
    EARLY_FOLDER = "early-folder"
    COLLECT_BENEATH = "collect-beneath"
    COLLECT_WHOLE = "collect-whole"
    COLLECT_WANTED = "collect-wanted"
    BOUNDED_OUTPUT = "bounded-output"
    RAW_OUTPUT = "raw-output"
    OWN_ENDING = "own-ending"
    CHECKED_ENDING = "checked-ending"

    SEPARATE_PROCESS = "separate-process"
    GRADERS_WORD = "graders-word"
    INERT_OBJECTS = "inert-objects"
    NOTED_REFUSALS = "noted-refusals"
    BUILTIN_EXCEPTIONS = "builtin-exceptions"
    CHECKED_ANSWERS = "checked-answers"
    ARGUMENT_COPIES = "argument-copies"
    DECODER_CAPS = "decoder-caps"
    BLAMED_CANDIDATE = "blamed-candidate"
    JUDGE_BY_REFERENCE = "judge-by-reference"
    REFERENCE_NAMES = "reference-names"

    ESCAPED_TEXT = "escaped-text"
    PAGE_POLICY = "page-policy"

    def describe(self) -> str:
        """One sentence for people."""
        return _SENTENCES[self]


_SENTENCES = {
    Guard.VIEW: "The root holds the runtime and nothing else of the host.",
    Guard.HIDDEN_PACKAGE: "The package, whose problems hold their answers, is hidden wherever it lies.",
    Guard.READ_ONLY_ROOT: "What the root holds can't be written.",
    Guard.USER_NAMESPACE: "Rights of the jail count in a user namespace of its own only.",
    Guard.PRIVATE_USER: "Outside, a program is a user that owns nothing.",
    Guard.PID_NAMESPACE: "A slot sees its own processes only, and they die with its first one.",
    Guard.NET_NAMESPACE: "The network of the jail is empty.",
    Guard.IPC_NAMESPACE: "Shared memory and queues of System V are the slot's own.",
    Guard.UTS_NAMESPACE: "The host's name in the jail is a copy.",
    Guard.CAPABILITIES: "A program has no capability.",
    Guard.BOUNDING_SET: "What a program executes can't gain a capability.",
    Guard.NO_NEW_PRIVILEGES: "What a program executes has no more rights than the program.",
    Guard.UNDUMPABLE: "Warden, zygote and programs can't be inspected by each other.",
    Guard.OWN_SESSION: "A program has a session and a process group of its own.",
    Guard.CLOSED_DESCRIPTORS: "Every descriptor but the standard streams and the channel is closed.",
    Guard.CLEAN_ENVIRONMENT: "The environment is made anew and holds nothing of the host's.",
    Guard.LANDLOCK_DOMAIN: "A program lives in a landlock domain, and can trace nothing outside of it.",
    Guard.LANDLOCK_FILES: "Landlock's rules allow the runtime for reading and the slot's folders for writing.",
    Guard.LANDLOCK_SCOPES: "Landlock keeps signals and abstract sockets inside the domain.",
    Guard.REFUSED_ARCHITECTURES: "Calls of another architecture end the program.",
    Guard.REFUSED_UNKNOWN: "Numbers beyond the table, those of x32 among them, are unknown.",
    Guard.REFUSED_MOUNTS: "Mounting and changing the root are refused.",
    Guard.REFUSED_NAMESPACES: "Making namespaces is refused.",
    Guard.REFUSED_TRACING: "Tracing, reading and comparing other processes is refused.",
    Guard.REFUSED_INTERFACES: "Interfaces of the kernel that no program needs are refused.",
    Guard.REFUSED_CLOCKS: "Setting the clock and the host's name is refused.",
    Guard.REFUSED_FOREIGN_PIDS: "Calls that change limits, priority or scheduling of another process are refused.",
    Guard.REFUSED_SIGNALS: "A program may signal itself only.",
    Guard.REFUSED_SESSIONS: "Leaving the process group that is killed as one is refused.",
    Guard.REFUSED_SOCKETS: "Sockets of families that no namespace contains are refused.",
    Guard.REFUSED_DESCRIPTOR_TRICKS: "Opening for nothing, leases, signals and input by way of a descriptor are refused.",
    Guard.REFUSED_METADATA: "Changing mode, owner, times and attributes is refused.",
    Guard.REFUSED_SEGMENTS: "Shared memory and queues are refused.",
    Guard.REFUSED_SHARED_COUNTS: "What the kernel counts for the whole host is refused.",
    Guard.REFUSED_UNOWNED_MEMORY: "Memory that counts against no process is refused where no cgroup sees it.",
    Guard.REFUSED_FORK: "Fork is refused unless processes were asked for.",
    Guard.RLIMIT_AS: "The address space of each process is bounded.",
    Guard.RLIMIT_CORE: "No core is dumped.",
    Guard.RLIMIT_CPU: "The kernel ends a process some seconds after its limit of processor time.",
    Guard.RLIMIT_FSIZE: "Files can't become longer than the limit.",
    Guard.RLIMIT_MEMLOCK: "Little memory can be locked.",
    Guard.RLIMIT_MSGQUEUE: "Message queues hold little.",
    Guard.RLIMIT_NICE: "Priority can't be raised.",
    Guard.RLIMIT_NOFILE: "The number of open descriptors is bounded.",
    Guard.RLIMIT_NPROC: "The number of processes of the program's user is bounded where no cgroup counts them.",
    Guard.RLIMIT_RTPRIO: "Real-time scheduling can't be had.",
    Guard.RLIMIT_SIGPENDING: "The number of queued signals and timers is bounded.",
    Guard.RLIMIT_STACK: "The stack is bounded.",
    Guard.CGROUP_CPU: "A cgroup counts the processor time of all processes of a run.",
    Guard.CGROUP_MEMORY: "A cgroup bounds the memory of all processes of a run together.",
    Guard.CGROUP_PIDS: "A cgroup bounds the number of processes of a run.",
    Guard.PROCESSOR_CLOCK: "The warden ends a run at its limit of processor time.",
    Guard.WALL_CLOCK: "The warden ends a run at its limit by the clock on the wall.",
    Guard.DISK_BYTES: "A slot's file system has a size.",
    Guard.DISK_INODES: "A slot's file system has so many inodes.",
    Guard.MEASURED_FOLDER: "A slot's folder is measured while the program runs.",
    Guard.SINGLE_USE: "A slot is used once.",
    Guard.WIPED_FOLDER: "A slot's folder is emptied after each run.",
    Guard.BLIND_ZYGOTE: "A job's bytes never enter the process that is forked for the next.",
    Guard.GROUP_KILL: "A program's process group is killed with it.",
    Guard.FAMILY_HUNT: "What descends from a program is found and killed.",
    Guard.DEAD_BEFORE_COLLECTION: "Everything in a slot is dead before a file is collected.",
    Guard.EARLY_FOLDER: "The folder to collect from was opened before the program could put another in its place.",
    Guard.COLLECT_BENEATH: "Files are collected below the working folder, through no link.",
    Guard.COLLECT_WHOLE: "A file comes back as long as was said before its content, whatever it has become meanwhile.",
    Guard.COLLECT_WANTED: "Only files that were asked for come back.",
    Guard.BOUNDED_OUTPUT: "Of long output, head and tail are kept.",
    Guard.RAW_OUTPUT: "Output is bytes, and nothing decodes them on the way.",
    Guard.OWN_ENDING: "An exception ends a program with status 1, whatever its hooks do.",
    Guard.CHECKED_ENDING: "What a program says of its end is checked, cleaned, and decides nothing.",
    Guard.SEPARATE_PROCESS: "Tests and expected answers are in another process than the candidate.",
    Guard.GRADERS_WORD: "The verdict is what the grader says, never an exit status.",
    Guard.INERT_OBJECTS: "Objects of a candidate can't decide a comparison, a hash or a truth.",
    Guard.NOTED_REFUSALS: "What a candidate may not do is noted before test code can catch it.",
    Guard.BUILTIN_EXCEPTIONS: "Exits, interrupts, skips and own classes of a candidate aren't raised in the grader.",
    Guard.CHECKED_ANSWERS: "What is no answer is the candidate's failure.",
    Guard.ARGUMENT_COPIES: "Arguments are copies, and oracles get pristine ones.",
    Guard.DECODER_CAPS: "Reading an answer is bounded in size, depth, sharing and time.",
    Guard.BLAMED_CANDIDATE: "A candidate that dies or meets a limit, and a grader that dies of an answer, fail the candidate.",
    Guard.JUDGE_BY_REFERENCE: "How strictly a problem is judged is decided by its reference, before any candidate.",
    Guard.REFERENCE_NAMES: "'import *' of the candidate gives only what the reference defines.",
    Guard.ESCAPED_TEXT: "Every text of a candidate is escaped in a page.",
    Guard.PAGE_POLICY: "A page's policy lets nothing load, and no script run but its own.",
}
