"""Which flavour a program is for: the scan of its text, and the choice that follows."""

from __future__ import annotations

import ast
import keyword
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrun.engine.flavour import BUILT_IN, Catalogue, check_flavours, find_imports
from groundrun.engine.job import Job
from groundrun.errors import FlavourUnavailable, RuntimeUnreachable, UsageError
from groundrun.records import Program

pytestmark = pytest.mark.unit

NAME = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: not keyword.iskeyword(name))
DOTTED = st.lists(NAME, min_size=1, max_size=3).map(".".join)
GAP = st.sampled_from([" ", "\t", "  ", " \\\n "])


@st.composite
def import_statements(draw: st.DrawFn) -> str:
    """One statement of any form that names modules, perhaps behind or before others."""
    gap = draw(GAP)
    if draw(st.booleans()):
        names = [draw(DOTTED) + (f"{gap}as{gap}{draw(NAME)}" if draw(st.booleans()) else "") for _ in range(draw(st.integers(1, 3)))]
        statement = f"import{gap}" + draw(st.sampled_from([", ", ",", " ,\\\n  "])).join(names)
    else:
        statement = f"from{gap}{draw(DOTTED)}{gap}import" + draw(st.sampled_from([" x", "(x)", " (\n  x,\n)", " x as y, z"]))
    frames = ["{}", "x = 1; {}", "{}; y = 2", "if True: {}", "if True:\n    {}", "try: {}\nfinally: pass", "{}  # why"]
    frame: str = draw(st.sampled_from(frames))
    return frame.format(statement)


def truth(source: str) -> set[str]:
    """The same by Python's own parser."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@given(st.lists(import_statements(), min_size=1, max_size=5))
def test_what_is_imported_is_found(statements: list[str]) -> None:
    source = "\n".join(statements)
    assert truth(source) <= find_imports(source)


@given(st.lists(import_statements(), min_size=1, max_size=5), st.sampled_from(["\n", "\r\n", "\r"]))
def test_nothing_else_is_found_in_programs_of_imports(statements: list[str], newline: str) -> None:
    source = "\n".join(statements)
    assert find_imports(source.replace("\n", newline)) == truth(source)


@given(st.text())
def test_any_text_can_be_scanned(text: str) -> None:
    assert all(name in text for name in find_imports(text))


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("np = __import__('numpy')", {"numpy"}),
        ('importlib.import_module( "scipy.stats" )', {"scipy"}),
        ("from . import numpy\nfrom .numpy import x", set()),
        ("important = numpy\nfrom_numpy = 1\nreimport numpy", set()),
        ("print('nothing')", set()),
    ],
)
def test_forms_apart(source: str, names: set[str]) -> None:
    assert find_imports(source) == names


@pytest.mark.parametrize("unit", ["import ", ":from a ", ":from a.b", "; ", "\\\n", "import \\\n", "__import__(", ": import x"])
def test_a_long_hostile_line_is_scanned_all_the_same(unit: str) -> None:
    """Anything but linear time would run into the test's time limit."""
    find_imports("import" + unit * 300_000)


def choose(
    source: str, mine: dict[str, list[str]] | None = None, *, files: dict[str, bytes] | None = None, without: tuple[str, ...] = ()
) -> tuple[str, bool]:
    catalogue = Catalogue(check_flavours(mine or {}), python=sys.executable)
    choice = catalogue.choose(Job(program=Program(source, files=files or {})), without=frozenset(without))
    return choice.flavour.name, choice.covered


@pytest.mark.parametrize(
    ("source", "flavour"),
    [
        ("print(1)", "bare"),
        ("import json, os", "bare"),
        ("import numpy as np", "numpy"),
        ("import numpy as np\nnp.fft.fft([1])", "numpy"),
        ("import numpy as np\nnp.random.rand()", "numpy.random"),
        ("import json\nnumpy = 'numpy'", "bare"),
    ],
)
def test_the_smallest_flavour_that_fits(source: str, flavour: str) -> None:
    pytest.importorskip("numpy")
    assert choose(source) == (flavour, True)


def test_files_are_scanned_and_hide_what_they_are_named_like() -> None:
    pytest.importorskip("numpy")
    assert choose("import tool", files={"tool.py": b"import numpy"}) == ("numpy", True)
    assert choose("import tool", files={"tool.txt": b"import numpy"}) == ("bare", True)
    assert choose("import numpy", files={"numpy.py": b""}) == ("bare", True)
    assert choose("import numpy", files={"numpy/__init__.py": b""}) == ("bare", True)


def test_a_flavour_that_holds_most_is_next_best_and_said_to_be_so() -> None:
    source = "import colorsys, wave"
    assert choose(source, {"a": ["colorsys"], "b": ["colorsys", "wave"]}) == ("b", True)
    assert choose(source, {"a": ["colorsys"], "b": ["wave"]}) == ("a", False)
    assert choose("import wave", {"a": ["colorsys"], "b": ["wave"]}, without=("b",)) == ("bare", False)


def test_inner_modules_are_wanted_by_those_who_name_them() -> None:
    mine = {"small": ["xml"], "large": ["xml", "xml.dom.minidom"]}
    assert choose("import xml.sax", mine) == ("small", True)
    assert choose("from xml.dom import minidom", mine) == ("large", True)


def test_a_job_may_name_its_flavour() -> None:
    catalogue = Catalogue({"mine": ["wave"]}, python=sys.executable)
    named = catalogue.choose(Job(program=Program("import numpy"), flavour="mine"))
    assert (named.flavour.name, named.asked, named.covered) == ("mine", True, True)
    with pytest.raises(UsageError, match=r"'other' is no flavour: known are bare, numpy, numpy\.random, scientific, mine"):
        catalogue.choose(Job(program=Program(""), flavour="other"))


def test_what_is_not_installed_is_no_choice() -> None:
    catalogue = Catalogue({}, python=sys.executable)
    catalogue.flavours = {name: f for name, f in catalogue.flavours.items() if name == "bare"} | {
        name: type(f)(name=name, modules=(), missing=f.modules + f.missing) for name, f in catalogue.flavours.items() if name != "bare"
    }
    choice = catalogue.choose(Job(program=Program("import numpy")))
    assert (choice.flavour.name, choice.covered) == ("bare", True)
    with pytest.raises(FlavourUnavailable, match="has none of numpy"):
        catalogue.choose(Job(program=Program(""), flavour="numpy"))


def test_a_larger_flavour_is_not_tried_where_what_it_holds_failed() -> None:
    pytest.importorskip("numpy")
    assert choose("import numpy", without=("numpy",)) == ("bare", False)
    assert choose("import numpy\nnumpy.random.seed()", without=("numpy.random",)) == ("numpy", False)


MINE: tuple[object, ...] = ([], "torch", ["a b"], ["a..b"], [1])


@pytest.mark.parametrize("flavours", [{"bare": ["os"]}, *({"mine": each} for each in MINE)])
def test_flavours_that_are_none(flavours: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match=r"flavour '(bare|mine)'"):
        check_flavours(flavours)


def test_an_interpreter_that_is_none_has_no_modules() -> None:
    with pytest.raises(RuntimeUnreachable):
        Catalogue({}, python="/bin/false").choose(Job(program=Program("import numpy")))
    assert set(BUILT_IN) == {"bare", "numpy", "numpy.random", "scientific"}
