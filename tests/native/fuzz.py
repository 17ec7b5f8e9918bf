"""Fuzzes what the native part reads from others: libFuzzer, with AddressSanitizer and UndefinedBehaviorSanitizer, bounded in time.

python -m tests.native.fuzz [--seconds N] [HARNESS ...]

Each harness is a C file of this folder; see there what it feeds and what must hold. They are built into `.cache/fuzz`, where the corpus
grows from run to run and inputs that break something are kept. Promises an exit status other than 0 when one does, or does not build; 77
when there is no clang with libFuzzer. Seeds are made here, from the structs of `native/wire.h`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
NATIVE = HERE.parents[1] / "src" / "groundrun" / "engine" / "native"
ROOM = HERE.parents[1] / ".cache" / "fuzz"
SKIPPED = 77
NEEDED = {
    "messages": ["fault.c"],
    "command_line": ["cgroup.c", "fault.c", "folder.c", "io.c", "root.c", "serve.c", "slot.c", "zygote.c"],
    "notices": ["cgroup.c", "fault.c", "folder.c", "io.c", "slot.c", "zygote.c"],
    "collected": ["fault.c", "io.c"],
    "texts": ["fault.c", "io.c"],
}
FLAGS = ["-g", "-O1", "-std=gnu11", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-Wl,--wrap=_exit,--wrap=kill"]
MAPS = b"7f00-8f00 rw-p 00000000 00:00 0   [heap]\n1000-2000 r-xp 0 08:01 5 /lib/x.so\n9000-a000 rw-p 00000000 00:00 0\n"
COMMANDS = (
    b"--rung\0namespaces\0--control\0003\0--host\0004\0--policy\0005\0--bind\0/usr\0/usr\0--symlink\0usr/lib\0/lib\0--hide\0/x\0--\0python\0",
    b"--rung\0landlock\0--folder\0/tmp/x\0--uid\0001000\0--cgroup\0/c\0--group\0001\0--cpu-file\0/c/cpu.stat\0--set\0/c/x\0001\0--env\0A=b\0--\0p\0",
)


def find_clang() -> str | None:
    """A clang that can link a fuzzer, by its path."""
    for name in ("clang", *(f"clang-{version}" for version in range(21, 12, -1))):
        if (path := shutil.which(name)) and _links(path):
            return path
    return None


def _links(clang: str) -> bool:
    ROOM.mkdir(parents=True, exist_ok=True)
    source = "int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return d && n ? 0 : 0; }"
    words = [clang, "-x", "c", "-", "-fsanitize=fuzzer,address,undefined", "-o", str(ROOM / "trial")]
    return subprocess.run(words, input=source, capture_output=True, text=True, check=False).returncode == 0


def make_seeds(harness: str) -> Iterator[bytes]:
    """Inputs to start from."""
    if harness == "messages":
        for number in range(6):
            yield bytes([number, number, number % 2, 3]) + bytes(300)
    elif harness == "command_line":
        yield from COMMANDS
    elif harness == "notices":
        for kind in range(1, 6):
            yield b"\0" + struct.pack("=IIiiiiQQ160s", 2, kind, 4000 + kind, 0, 0, 0, 5, 1, b"said")
            yield b"\1" + struct.pack("=IIiiiiQQ160s", 2, kind, 4000 + kind, 9, 22, 0, 5, 2, b"a last word")
            yield b"B" + struct.pack("=II10Q6I96s", 2, kind, 7, *range(9), *range(6), b"groundrun.engine.guest.program")
    elif harness == "collected":
        yield struct.pack("=I", 1 << 20) + b"a\nlink\nup/secret\nroot/etc/passwd\npipe\ndeep/b\ndeep/er/c\nhole\n../secret\n\xff\xfe\n"
    else:
        yield MAPS
        yield MAPS * 60  # more than there is room for
        yield b"usage_usec 12345\nuser_usec 5\n"
        yield b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"


def build(clang: str, harness: str) -> str:
    """Compile a harness; what the compiler says when it can't."""
    words = [clang, *FLAGS, str(HERE / f"{harness}.c"), *(str(NATIVE / name) for name in NEEDED[harness]), "-o", str(ROOM / harness)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def run(harness: str, seconds: int) -> tuple[int, str, int]:
    """Fuzz; exit status, the last words, and how many inputs were tried."""
    corpus = ROOM / f"{harness}.corpus"
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(make_seeds(harness)):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=8192", "-print_final_stats=1"]
    words = [str(ROOM / harness), *limits, f"-artifact_prefix={ROOM}/{harness}-", str(corpus)]
    done = subprocess.run(words, capture_output=True, timeout=seconds + 120, check=False, cwd=ROOM)
    said = done.stderr.decode(errors="replace")
    tried = re.search(r"number_of_executed_units: (\d+)", said)
    return done.returncode, said[-3000:], int(tried[1]) if tried else 0


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("harnesses", nargs="*", metavar="HARNESS", help=f"of {', '.join(NEEDED)}; all without one")
    parser.add_argument("--seconds", type=int, default=60, help="for each harness (default 60)")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.harnesses) - set(NEEDED)):
        parser.error(f"there is no harness {unknown[0]!r}: there are {', '.join(NEEDED)}")
    clang = find_clang()
    if clang is None:
        print("fuzz: skipped the native part: no clang with libFuzzer (apt install clang libclang-rt-dev)", file=sys.stderr)
        return SKIPPED
    status = 0
    for harness in asked.harnesses or NEEDED:
        if problem := build(clang, harness):
            print(f"fuzz: {harness} can't be built:\n{problem}", file=sys.stderr)
            status = 1
            continue
        code, said, tried = run(harness, asked.seconds)
        print(f"fuzz: {harness}: {tried} inputs, {'a finding' if code else 'nothing found'}", flush=True)
        if code:
            print(f"{said}\nthe input is kept in {ROOM}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
