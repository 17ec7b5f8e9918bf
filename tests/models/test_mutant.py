"""Mutants: what they are made of, their order, and what is never touched."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrun.benchmarks.dataset import Dataset
from groundrun.benchmarks.humaneval import load_humaneval
from groundrun.benchmarks.mbpp import load_mbpp
from groundrun.errors import BadInput
from groundrun.models import FiniteModel, Model, Mutant, Oracle, mutate, read_mutation
from groundrun.models.mutations import Operator
from groundrun.models.syntax import parse
from groundrun.records import Problem

pytestmark = pytest.mark.unit

REFERENCE = '''from __future__ import annotations
import math


@staticmethod
def area(radius: int = 1 + 1) -> "int" | 3:
    """The area: 3 * 4, "pi"."""
    # é: columns count bytes
    name = f"{radius + 1}"
    if radius < 0 and name:
        return 0
    return math.floor(radius * 3)


if __name__ == "__main__":
    print(1 + 1)
'''


def sources(reference: str, *, seed: int = 0) -> list[str]:
    """All mutants of a program."""
    return [mutant.source for mutant in mutate(reference, seed=seed)]


def changes(statement: str) -> set[str]:
    """The mutants of one statement in a function, without deletion, as the statements they have made."""
    made = (mutant for mutant in mutate(f"def f(a, b, c):\n    {statement}\n") if mutant.mutation.operator is not Operator.DELETION)
    return {mutant.source.split("\n    ", 1)[1].strip() for mutant in made}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("return a < b", {"return a <= b", "return a > b", "return not a < b", "return -a < b", "return a < -b"}),
        ("return a == b", {"return a != b", "return None"}),
        ("return a is not None", {"return a is None", "return None"}),
        ("return a + b", {"return a - b", "return a * b", "return None"}),
        ("return 'x' % a", {"return '' % a", "return None"}),
        ("a -= b", {"a += b", "a *= b"}),
        ("a = 0", {"a = 1", "a = -1"}),
        ("a = True", {"a = False"}),
        ("a = ''", {"a = 'mutant'"}),
        ("a = b[:c]", {"a = b[1:c]", "a = b[:c + 1]", "a = b[:c - 1]"}),
        ("a = b[c:]", {"a = b[c:-1]", "a = b[c + 1:]", "a = b[c - 1:]"}),
        ("a = range(b)", {"a = range(b + 1)", "a = range(b - 1)"}),
        ("a = pow(b, c)", {"a = pow(c, b)"}),
        ("a = max(b, c)", set()),
        ("a = b(*c, a)", set()),
        ("a: int = b", set()),
        ("a = f'{b + 1}'", set()),
        ("a = lambda x=1: x", {"a = lambda x=2: x", "a = lambda x=0: x"}),
        ("a = -b ** c", {"a = -(b * c)", "a = -(-b) ** c", "a = -b ** -c"}),
        ("a = [b for b in c if not b]", {"a = [b for b in c if b]"}),
    ],
)
def test_operators(statement: str, expected: set[str]) -> None:
    """Each operator's replacements, and nothing else; brackets only where they are needed."""
    assert changes(statement) == expected


@pytest.mark.parametrize(
    ("body", "operator", "expected"),
    [
        ("while a: break", Operator.JUMP, "while a: continue"),
        ("while a: break", Operator.DELETION, "while a: pass"),
        ("if not a: return b", Operator.CONDITION, "if a: return b"),
        ("return a and b", Operator.CONNECTOR, "return a or b"),
        ("return a and b", Operator.UNARY, "return a and (not b)"),
    ],
)
def test_operators_say_what_they_are(body: str, operator: Operator, expected: str) -> None:
    """The name fits the change."""
    made = [mutant.source for mutant in mutate(f"def f(a, b):\n    {body}\n") if mutant.mutation.operator is operator]
    assert any(ast.dump(ast.parse(source)) == ast.dump(ast.parse(f"def f(a, b):\n    {expected}\n")) for source in made)


def test_what_is_never_touched() -> None:
    """Imports, decorators, annotations, docstrings, comments, f-strings and the main guard are in every mutant."""
    made = sources(REFERENCE)
    assert made
    kept = ["import math", "@staticmethod", '-> "int" | 3', '"""The area: 3 * 4, "pi"."""', "# é: columns count bytes", "    print(1 + 1)"]
    for source in made:
        assert [text for text in kept if text not in source] == []
        assert "f'" not in source
    assert sum('f"{radius + 1}"' in source for source in made) >= len(made) - 1  # deleting that statement is one mutant
    assert any("radius: int = 1 - 1" in source for source in made)


def test_one_place_changes() -> None:
    """Every line but the changed one is the reference's own."""
    for mutant in mutate(REFERENCE):
        before, after = REFERENCE.split("\n"), mutant.source.split("\n")
        place = mutant.mutation.line - 1
        assert before[:place] == after[:place]
        assert after[place:] != before[place:]
        assert before[len(before) - (len(after) - place - 1) :] == after[place + 1 :]


def test_trivially_equivalent_ones_are_left_out() -> None:
    """Code that compiles to the same is no mutant, and two that compile to the same are one."""
    assert sources("def f():\n    return None\n    1\n") == []
    assert "a = 2 + 2\n" not in sources("a = 2 * 2\n")  # the compiler folds both to 4


def test_order_is_the_seed_and_the_task_alone() -> None:
    """The same again for the same seed and task; another order for another."""
    orders = [
        [mutant.source for mutant in mutate(REFERENCE, seed=seed, task_id=task)] for seed, task in ((0, "t"), (0, "t"), (1, "t"), (0, "u"))
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0] != orders[3]
    assert len(orders[0]) == len(orders[2]) == len(orders[3])  # of two that compile to the same, the first comes


def test_text_that_is_not_python_has_none() -> None:
    """Neither a text that doesn't parse nor an empty one."""
    assert sources("def f(:\n") == sources("") == sources("return 1") == []


@given(st.text(max_size=40), st.integers(0, 3))
def test_never_raises(text: str, seed: int) -> None:
    """Whatever the reference is."""
    for source in (text, f"x = {text!r} + y[{seed}:]"):
        made = sources(source, seed=seed)
        assert len(set(made)) == len(made)


def test_model_answers_with_a_described_program() -> None:
    """The first line says what was done, and can be read back."""
    problem = Problem(task_id="t/0", prompt="", reference="def f(a, b):\r\n    return a < b\r\n")
    model = Mutant(3)
    number = model.available(problem, 100)
    answers = [asyncio.run(model.complete(problem, sample)) for sample in range(number)]
    assert model.available(problem, 2) == 2
    assert len({answer.text for answer in answers}) == number == 6
    described = {}
    for sample, answer in enumerate(answers):
        first, _, rest = answer.text.partition("\n")
        mutation = read_mutation(answer.text)
        assert mutation is not None
        assert first == f"# mutant {sample}, {mutation.describe()}"
        assert (answer.sample, answer.model, answer.solution, "\r" in rest) == (sample, "mutant-3", answer.text, False)
        described[mutation.describe()] = rest
    assert described["relational operator: line 2: a < b -> a <= b"] == "def f(a, b):\n    return a <= b\n"
    with pytest.raises(BadInput, match="t/0: this problem has no mutant 7, only 6"):
        asyncio.run(model.complete(problem, 7))


@pytest.mark.parametrize("text", ["", "# mutant", "# mutant 1, magic: line 1: a -> b", "x = 1  # mutant 1, constant: line 1: a -> b"])
def test_other_texts_are_no_mutants(text: str) -> None:
    """Only the header that the model writes is read."""
    assert read_mutation(text) is None


def test_no_reference_is_said() -> None:
    """Like the oracle."""
    with pytest.raises(BadInput, match="t/1: this problem has no reference solution"):
        Mutant().available(Problem(task_id="t/1", prompt=""), 1)


def test_other_languages_have_none() -> None:
    """A text of another language could be Python by chance."""
    assert Mutant().available(Problem(task_id="t/2", prompt="", reference="x = 1", language="ruby"), 1) == 0
    assert Mutant().available(Problem(task_id="t/2", prompt="", reference="x = 2"), 1) == 1


def test_protocols() -> None:
    """A mutant says how many answers it has; an oracle has one always."""
    assert isinstance(Mutant(), Model)
    assert isinstance(Mutant(), FiniteModel)
    assert not isinstance(Oracle(), FiniteModel)
    assert (Mutant().name, Mutant(7).name) == ("mutant", "mutant-7")


@pytest.mark.parity
@pytest.mark.parametrize("load", [load_humaneval, load_mbpp])
def test_every_published_reference_has_mutants(recorded: Path, load: Callable[[Path], Dataset]) -> None:
    """At least one for each problem, compiling and distinct."""
    for problem in load(recorded).problems:
        made = [mutant.source for _, mutant in zip(range(5), mutate(problem.reference or "", task_id=problem.task_id), strict=False)]
        assert made, problem.task_id
        trees = [parse(source) for source in (*made, problem.reference or "")]
        assert len({ast.dump(tree) for tree in trees if tree is not None}) == len(trees), problem.task_id
