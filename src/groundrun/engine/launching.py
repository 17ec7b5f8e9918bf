"""Programs that are executed instead of forked from a warm interpreter: what one run of them needs, and the host's half of launcher.c.

A launch is complete: the argument vector, the environment, every file with its mode, what the runtime takes beside the program. It is
made from a program and its language (`engine.languages`), so nothing below this knows languages. The launcher reads two
layouts, in the machine's order; `native/launcher.c` describes them.
"""

from __future__ import annotations

import struct

import msgspec

from groundrun.engine.policy import Rule

ROOM = 1 << 60  # bytes: no bound at all, as far as the kernel's counters go
_PLAIN, _EXECUTABLE = 0o644, 0o755


class Tools(msgspec.Struct, frozen=True):
    """What of the host a launched program sees beside the system: `folders`, at their own paths. One lane serves equal ones.

    `processes_shown`: it finds its own processes below /proc, where the rung has that.
    """

    folders: tuple[str, ...] = ()
    processes_shown: bool = False


class Laid(msgspec.Struct, frozen=True):
    """A file that lies in the working folder when the program starts."""

    path: str
    content: bytes
    executable: bool = False


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How one program is executed. `argv[0]` is an absolute path, or one below the working folder that begins with a dot.

    language: whose words the end of the run is told in; `building`: it is the compiler that runs, not the program.
    address_space: on top of the memory limit, None for no bound (runtimes that reserve far more than they use).
    data: RLIMIT_DATA of each process, 0 for none. threads: the runtime's own, on top of the limit of processes; `processes`: the
    least that the language needs, where the limit doesn't say.
    """

    language: str
    argv: tuple[str, ...]
    environment: dict[str, str] = {}
    files: tuple[Laid, ...] = ()
    tools: Tools = Tools()
    address_space: int | None = 0
    data: int = 0
    threads: int = 0
    processes: int = 1
    building: bool = False


def encode_launch(launch: Launch, *, argv: tuple[str, ...], files: dict[str, bytes]) -> bytes:
    """The job as the launcher reads it. `argv` and `files` come with the run: they follow the launch's own."""
    laid = [*(Laid(path, content) for path, content in files.items()), *launch.files]
    parts = [struct.pack("=Q", launch.data), *_words((*launch.argv, *argv))]
    parts += _words(tuple(f"{name}={value}" for name, value in launch.environment.items()))
    parts.append(struct.pack("=I", len(laid)))
    for each in laid:
        parts += [struct.pack("=I", _EXECUTABLE if each.executable else _PLAIN), _text(each.path), _bytes(each.content)]
    return b"".join(parts)


def encode_policy(
    *,
    namespaces: bool,
    cgroups: int,
    marker: int,
    work: str,
    ruleset: bytes,
    rules: tuple[Rule, ...],
    filter: bytes,
    tails: tuple[bytes, bytes],
) -> bytes:
    """What the launcher is told once: the guards of its children."""
    parts = [struct.pack("=III", namespaces, cgroups, marker), _text(work), _bytes(ruleset), _bytes(filter), *map(_bytes, tails)]
    parts.append(struct.pack("=I", len(rules)))
    for rule in rules:
        parts += [struct.pack("=Q", rule.access), _text(rule.path)]
    return b"".join(parts)


def _words(words: tuple[str, ...]) -> list[bytes]:
    return [struct.pack("=I", len(words)), *map(_text, words)]


def _text(text: str) -> bytes:
    return _bytes(text.encode("utf-8", "surrogateescape") + b"\0")


def _bytes(data: bytes) -> bytes:
    return struct.pack("=I", len(data)) + data
