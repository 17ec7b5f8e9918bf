"""Compiles the native part with whatever C compiler the machine has; everything else about the package is in pyproject.toml.

Every file of `src/groundrun/engine/native` except `guest.c` becomes the executable `bin/warden`; `guest.c`, `io.c` and `fault.c` become
the shared object `bin/guest.so`. Neither needs Python's headers, so one wheel serves every Python 3 of its platform.
Without a compiler the installation still succeeds, with one line of warning; the engine says the rest when it is asked to isolate.

    python setup.py build_native --inplace            compile into the source tree (editable installs, make native)
    python setup.py build_native --werror --into DIR  the same, into another folder; warnings and a missing compiler are errors
    python setup.py build_native --into DIR --define NAME  with a macro: what tests build, never what is installed
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build

SOURCES = Path(__file__).resolve().parent / "src" / "groundrun" / "engine" / "native"
BINARIES = Path("groundrun") / "engine" / "native" / "bin"
COMPILERS = ("cc", "gcc", "clang", "tcc")
FLAGS = ["-O2", "-std=gnu11", "-Wall", "-Wextra"]


class CompilerMissing(Exception):
    """No C compiler was found, or it could not compile."""


def find_compiler() -> list[str]:
    if named := shlex.split(os.environ.get("CC", "")):
        if shutil.which(named[0]):
            return named
        raise CompilerMissing(f"$CC names {named[0]}, which is not on this machine")
    for name in COMPILERS:
        if shutil.which(name):
            return [name]
    raise CompilerMissing(f"none of {', '.join(COMPILERS)} is on this machine (apt install gcc libc6-dev)")


def compile_into(folder: Path, *, werror: bool, define: str = "") -> list[Path]:
    """Compile both binaries into `folder`, each replaced at once, and return their paths. `define`: macros, separated by commas."""
    guest = SOURCES / "guest.c"
    warden = sorted(path for path in SOURCES.glob("*.c") if path != guest)
    compiler = find_compiler()
    macros = [f"-D{name}" for name in define.split(",") if name]
    flags = [*FLAGS, *macros, *(["-Werror"] if werror else []), *shlex.split(os.environ.get("CFLAGS", ""))]
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    if warden:
        made.append(_link(compiler, flags, warden, folder / "warden", [["-static"], []]))
    if guest.exists():
        made.append(_link(compiler, flags, [guest, SOURCES / "io.c", SOURCES / "fault.c"], folder / "guest.so", [["-shared", "-fPIC"]]))
    return made


def _link(compiler: list[str], flags: list[str], sources: list[Path], target: Path, ways: list[list[str]]) -> Path:
    """Try the ways to link in order; the first that works stands, the last one's message is what is told."""
    with tempfile.TemporaryDirectory(dir=target.parent) as room:
        made = Path(room) / target.name
        for way in ways:
            command = [*compiler, *flags, *way, "-o", str(made), *map(str, sources)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                os.replace(made, target)
                return target
    raise CompilerMissing(f"{compiler[0]} could not build {target.name}:\n{done.stderr.strip()}")


class BuildNative(Command):
    """A step of `build`: setuptools asks it for its outputs and tells it when an install is editable."""

    description = "compile the native part"
    user_options: ClassVar[list[tuple[str, str | None, str]]] = [
        ("inplace", "i", "compile into the source tree"),
        ("into=", None, "compile into this folder"),
        ("define=", None, "macros to define, separated by commas"),
        ("werror", None, "make warnings and a missing compiler errors"),
    ]
    boolean_options: ClassVar[list[str]] = ["inplace", "werror"]
    editable_mode = False

    def initialize_options(self) -> None:
        self.build_lib: str | None = None
        self.inplace = False
        self.into: str | None = None
        self.define = ""
        self.werror = False

    def finalize_options(self) -> None:
        self.set_undefined_options("build", ("build_lib", "build_lib"))

    def folder(self) -> Path:
        if self.into:
            return Path(self.into)
        if self.inplace or self.editable_mode:
            return SOURCES / "bin"
        return Path(self.build_lib or "build/lib") / BINARIES

    def run(self) -> None:
        if self.define and not self.into:
            sys.exit("error: --define needs --into: what is installed is built without")
        try:
            compile_into(self.folder(), werror=self.werror, define=self.define)
        except CompilerMissing as missing:
            if self.werror:
                sys.exit(f"error: {missing}")
            lines = str(missing).splitlines()
            about = [lines[0], *[line for line in lines[1:] if "error" in line][:1]]
            print(f"warning: groundrun is installed without its native part: {' '.join(about)}", file=sys.stderr)

    def get_outputs(self) -> list[str]:
        return [] if self.editable_mode else [str(path) for path in self.folder().glob("*")]

    def get_output_mapping(self) -> dict[str, str]:
        return {}

    def get_source_files(self) -> list[str]:
        root = Path(__file__).resolve().parent
        return [str(path.relative_to(root)) for path in sorted(SOURCES.glob("*.[ch]"))]


class Build(build):
    sub_commands: ClassVar[list[tuple[str, object]]] = [*build.sub_commands, ("build_native", None)]


class Platform(Distribution):
    """Says that the package holds compiled code, so that its wheel names the platform."""

    def has_ext_modules(self) -> bool:
        return True


class Wheel(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(distclass=Platform, cmdclass={"build": Build, "build_native": BuildNative, "bdist_wheel": Wheel})
