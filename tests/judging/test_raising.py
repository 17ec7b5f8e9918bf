"""Which of a candidate's exceptions are raised in the grader, and as what."""

from __future__ import annotations

from typing import NoReturn

import pytest

from groundrun.judging.guest.raising import Exceptions

pytestmark = pytest.mark.unit

OWN = ("solution.Empty", "solution.Trouble", "builtins.LookupError", "builtins.Exception", "builtins.BaseException", "builtins.object")


def test_builtin_exceptions_are_themselves() -> None:
    made = Exceptions().make(("builtins.KeyError", "builtins.LookupError"), ("k",), "'k'")
    assert type(made) is KeyError and made.args == ("k",)


def test_a_class_that_no_test_asked_for_is_its_nearest_builtin_base() -> None:
    made = Exceptions().make(OWN, (), "empty")
    assert type(made) is LookupError


def test_where_tests_can_name_it_it_is_followed() -> None:
    exceptions = Exceptions()
    exceptions.follow = True
    made = exceptions.make(OWN, (), "empty")
    assert made is not None and type(made) is exceptions.stand_in(OWN) and isinstance(made, LookupError)


def test_a_stand_in_is_what_except_clauses_need() -> None:
    exceptions = Exceptions()
    trouble, empty = exceptions.stand_in(OWN[1:]), exceptions.stand_in(OWN)
    assert trouble is not None and empty is not None
    assert issubclass(empty, trouble) and issubclass(trouble, LookupError) and exceptions.stand_in(OWN) is empty
    assert (empty.__name__, empty.__module__) == ("Empty", "solution")
    made = exceptions.make(OWN, (1, 2), "the text of its own")
    assert type(made) is empty and made.args == (1, 2) and str(made) == "the text of its own"
    other = exceptions.make(("solution.Full", *OWN[1:]), (), "")
    assert type(other) is trouble


@pytest.mark.parametrize(
    "names",
    [
        ("builtins.SystemExit", "builtins.BaseException"),
        ("m.Own", "builtins.BaseException", "builtins.object"),
        ("m.Stop", "builtins.object"),
        ("m.Skip", "unittest.case.SkipTest", "builtins.Exception"),
        ("m.Skip", "_pytest.outcomes.Skipped", "builtins.Exception"),
    ],
)
def test_nothing_stands_in_for_exits_and_skips(names: tuple[str, ...]) -> None:
    assert Exceptions().stand_in(names) is None


ALIAS = ("builtins.ValueError", "builtins.Exception", "builtins.BaseException", "builtins.object")


def test_an_alias_of_a_builtin_is_that() -> None:
    assert Exceptions().stand_in(ALIAS) is ValueError


def test_where_no_reference_is_known_a_class_can_be_caught_and_not_called() -> None:
    def refuse() -> NoReturn:
        raise ZeroDivisionError

    exceptions = Exceptions()
    exceptions.refuse = refuse
    own, alias = exceptions.stand_in(OWN), exceptions.stand_in(ALIAS)
    assert own is not None and alias is not None and exceptions.stand_in(ALIAS) is alias
    for kind in (own, alias, type("Mine", (own,), {})):
        with pytest.raises(ZeroDivisionError):
            kind("x")
    made = exceptions.make(OWN, ("x",), "x")
    assert type(made) is own and isinstance(made, LookupError)
    assert issubclass(ValueError, alias) and issubclass(UnicodeError, alias) and not issubclass(KeyError, alias)
    assert isinstance(exceptions.make(ALIAS, (), ""), alias) and issubclass(alias, ValueError) and not issubclass(ValueError, own)


def test_names_that_are_none_make_no_trouble() -> None:
    exceptions = Exceptions()
    assert exceptions.stand_in(("", "...", "builtins.Exception")) is not None
    assert all(exceptions.stand_in((f"m.E{number}", "builtins.Exception")) for number in range(900))
    assert exceptions.stand_in((*(f"n.E{number}" for number in range(200)), "builtins.Exception")) is None
