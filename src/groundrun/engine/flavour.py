"""Flavours of the zygote: which modules it imports before it is forked, and which flavour a program is run in.

A program that imports numpy would pay for that in every run, twenty times what the rest of it costs. In the flavour `numpy` the import
was done once, before the fork. `bare` imports nothing more; `numpy.random` that too, which numpy itself leaves until it is used;
`scientific` what of pandas, scipy and sympy is installed besides; a user registers more. The choice is a pure function of the program's
text and files: the smallest flavour that holds everything that the program imports and any flavour could hold, else the one that holds most
of it.

The scan reads text and runs nothing. It may see an import where there is none (in a string): the program then runs in a
larger flavour than it needs. It doesn't see a name that is put together at run time: the program then imports it itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath

import msgspec

from groundrun.engine.interpreter import find_modules
from groundrun.engine.job import Job
from groundrun.errors import FlavourUnavailable, UsageError
from groundrun.records import BARE, Program

_NUMPY = ("numpy", "numpy.fft", "numpy.ma", "numpy.polynomial")
BUILT_IN: dict[str, tuple[str, ...]] = {
    BARE: (),
    "numpy": _NUMPY,
    "numpy.random": (*_NUMPY, "numpy.random"),  # apart, because it alone adds to a child's cost about what all of the rest of numpy adds
    "scientific": (*_NUMPY, "numpy.random", "pandas", "scipy", "scipy.signal", "scipy.stats", "sympy"),
}
_IMPORT = re.compile(  # of one line; possessive, so that a hostile one costs no more than a long one
    r"(?:^|[;:])[ \t\f]*+(?:import[ \t\f]++(?P<names>\w[^;#]*+)|from[ \t\f]++(?P<home>\w++)(?:[ \t\f]*+\.[ \t\f]*+\w++)*+[ \t\f]++import\b)"
    r"|(?:__import__|import_module)[ \t]*+\([ \t]*+(?:name[ \t]*+=[ \t]*+)?['\"](?P<word>\w++)"
)
_NAME = re.compile(r"\w+")


def find_imports(source: str) -> frozenset[str]:
    """The top-level names of the modules that a source text imports, as far as its text shows; relative imports have none."""
    found: set[str] = set()
    if "import" not in source:
        return frozenset()
    text = source.replace("\r\n", "\n").replace("\r", "\n").replace("\\\n", " ")
    for line in text.split("\n"):
        if "import" not in line:
            continue
        for match in _IMPORT.finditer(line):
            if match["names"] is None:
                found.add(match["home"] or match["word"])
                continue
            names = map(_NAME.search, match["names"].split(","))
            found.update(name[0] for name in names if name is not None)
    return frozenset(found)


class Flavour(msgspec.Struct, frozen=True, kw_only=True):
    """`modules` are what its zygote imports, dotted names allowed; `missing`: what it would import too, were it installed.

    `registered`: by the user, who then wants to know when it fails.
    """

    name: str
    modules: tuple[str, ...]
    missing: tuple[str, ...] = ()
    registered: bool = False

    @property
    def holds(self) -> frozenset[str]:
        """The modules that its zygotes have, those above them included."""
        return frozenset(self.modules) | {module.partition(".")[0] for module in self.modules}


BARE_FLAVOUR = Flavour(name=BARE, modules=())


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which flavour a job is for. `asked`: by the job itself. `covered`: a zygote of it holds all that some flavour could hold for it."""

    flavour: Flavour
    asked: bool = False
    covered: bool = True


class Catalogue:
    """The flavours that an engine knows, and what of the built-in ones its interpreter has. `warms`: there are zygotes at all."""

    def __init__(self, registered: Mapping[str, Sequence[str]], *, python: str, warms: bool = True) -> None:
        self._python, self._warms = python, warms
        self._registered = {name: tuple(modules) for name, modules in registered.items()}
        self._named = BUILT_IN | self._registered
        self._known = frozenset().union(*(Flavour(name=name, modules=modules).holds for name, modules in self._named.items()))
        self._tops = frozenset(module for module in self._known if "." not in module)

    @cached_property
    def flavours(self) -> dict[str, Flavour]:
        """By name; modules of built-in flavours that aren't installed are left out. Asks the interpreter the first time."""
        wanted = {module for name, modules in BUILT_IN.items() for module in modules if name not in self._registered}
        installed = find_modules(self._python, tuple(sorted({module.partition(".")[0] for module in wanted})))
        found = {}
        for name, modules in self._named.items():
            registered = name in self._registered
            held = tuple(module for module in modules if registered or module.partition(".")[0] in installed)
            missing = tuple(module for module in modules if module not in held)
            found[name] = Flavour(name=name, modules=held, missing=missing, registered=registered)
        return found

    def choose(self, job: Job, *, scanned: bool = True, without: frozenset[str] = frozenset()) -> Choice:
        """The flavour that a job names, or else the one that fits its text: `bare` when it names none to scan and its program is not to be.

        without: flavours that can't be had. Raises UsageError for a name that is no flavour, FlavourUnavailable when nothing of
        it is installed.
        """
        if job.flavour is not None:
            found = self._find(job.flavour)
            return Choice(flavour=found if self._warms else BARE_FLAVOUR, asked=True, covered=self._warms or not found.modules)
        needed: frozenset[str] = frozenset()
        if scanned or job.scan is not None:
            needed = self._needs(job.program if job.scan is None else Program(job.scan))
        if not needed:
            return Choice(flavour=BARE_FLAVOUR)
        flavours = self.flavours.values()
        needed &= frozenset().union(*(flavour.holds for flavour in flavours))
        to_be_had = [flavour for flavour in flavours if not self._fails(flavour, without)] if self._warms else [BARE_FLAVOUR]
        best = max(to_be_had, key=lambda flavour: (len(needed & flavour.holds), -len(flavour.modules)))
        return Choice(flavour=best, covered=needed <= best.holds)

    def _fails(self, flavour: Flavour, without: frozenset[str]) -> bool:
        """Whether it is one of those that can't be had, or a built-in one that imports all that one of them does."""
        if flavour.name in without:
            return True
        return not flavour.registered and any(set(self.flavours[name].modules) <= set(flavour.modules) for name in without)

    def _find(self, name: str) -> Flavour:
        if name == BARE:
            return BARE_FLAVOUR
        if name not in self._named:
            raise UsageError(f"{name!r} is no flavour: known are {', '.join(self._named)}; Engine(flavours=...) adds more")
        found = self.flavours[name]
        if not found.modules:
            raise FlavourUnavailable(name, f"{self._python} has none of {', '.join(BUILT_IN[name])}")
        return found

    def _needs(self, program: Program) -> frozenset[str]:
        """The modules that a program imports and some flavour names, except those that are files of its own."""
        texts = [program.source, *(data.decode("utf-8", "replace") for path, data in program.files.items() if path.endswith(".py"))]
        if not any(name in text for text in texts for name in self._tops):
            return frozenset()
        imported = frozenset().union(*map(find_imports, texts))
        imported -= {PurePosixPath(path).parts[0].removesuffix(".py") for path in program.files}
        inner = {module for module in self._known - self._tops if module.partition(".")[0] in imported}
        return (imported & self._tops) | {module for module in inner if any(_mentions(text, module) for text in texts)}


def _mentions(text: str, module: str) -> bool:
    """Whether a text has the last word of a module's name: `np.random` means `numpy.random` where numpy is imported."""
    word = module.rpartition(".")[2]
    return word in text and re.search(rf"\b{word}\b", text) is not None


def check_flavours(flavours: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """The user's flavours, checked. Raises ValueError for what can't be one."""
    checked = {}
    for name, modules in flavours.items():
        if name == BARE:
            raise ValueError("flavour 'bare' imports nothing: register yours under another name")
        if isinstance(modules, str) or not all(isinstance(each, str) and all(map(str.isidentifier, each.split("."))) for each in modules):
            raise ValueError(f"flavour {name!r} must be a list of module names, not {modules!r}")
        checked[name] = tuple(modules)
        if not checked[name]:
            raise ValueError(f"flavour {name!r} names no module: leave it out, programs without one run in 'bare'")
    return checked
