"""The baseline that ought to fail: answers every problem with its reference after one small change to it.

Sample i of a problem is the i-th of its mutants, in an order drawn from the seed and the task alone. The share of mutants that a
benchmark's tests reject says how well the tests tell right from nearly right.

Promises: every mutant compiles, and no two of a problem, nor a mutant and the reference, compile to the same code: the trivially
equivalent and duplicated ones of Papadakis et al. 2015 (Trivial Compiler Equivalence, ICSE) are left out. The text of the
reference stays as it is but for the change; docstrings, imports, annotations, decorators, f-strings, patterns and a main guard are never
touched. The first line says what was done: `# mutant 3, relational operator: line 5: a < b -> a <= b` (line of the reference).

Does not promise that a mutant behaves otherwise than the reference: that can't be decided in general, so a survivor is an equivalent
mutant or a gap in the tests. A problem may have fewer mutants than were asked for: `available` says how many. The operators are in
`mutations`.
"""

from __future__ import annotations

import ast
import random
import re
import types
import warnings
from collections.abc import Iterator

import msgspec

from groundrun.errors import BadInput
from groundrun.models.mutations import Change, Operator, find_changes
from groundrun.models.syntax import parse
from groundrun.records import Completion, Problem

_SHOWN = 60
_HEADER = re.compile(r"# mutant ([0-9]+), ([a-z ]+): line ([0-9]+): (.*) -> (.*)")


class Mutation(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to a reference: `line` is the reference's, `before` and `after` are short enough for one line."""

    operator: Operator
    line: int
    before: str
    after: str

    def describe(self) -> str:
        """The mutation in one line."""
        return f"{self.operator.value}: line {self.line}: {self.before} -> {self.after}"


class Mutated(msgspec.Struct, frozen=True, kw_only=True):
    """A mutation and the whole program that it made."""

    mutation: Mutation
    source: str


class Mutant:
    """Answers with mutants of the reference. Other seeds give other orders, and other names, so that their runs never mix."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.name = f"mutant-{seed}" if seed else "mutant"
        self._made: dict[tuple[str, str], list[Mutated]] = {}
        self._more: dict[tuple[str, str], Iterator[Mutated]] = {}

    def available(self, problem: Problem, at_most: int) -> int:
        """How many mutants the problem has, counted up to `at_most`. Raises `BadInput` for a problem without a reference."""
        return min(at_most, len(self._make(problem, at_most)))

    async def complete(self, problem: Problem, sample: int) -> Completion:
        """Mutant number `sample` under a comment line about it. Raises `BadInput` when there is no reference, or no such mutant."""
        made = self._make(problem, sample + 1)
        if len(made) <= sample:
            raise BadInput(problem.task_id, f"this problem has no mutant {sample}, only {len(made)}", hint="ask for fewer samples")
        mutant = made[sample]
        text = f"# mutant {sample}, {mutant.mutation.describe()}\n{mutant.source}"
        return Completion(task_id=problem.task_id, text=text, solution=text, sample=sample, model=self.name)

    def _make(self, problem: Problem, number: int) -> list[Mutated]:
        if problem.reference is None:
            raise BadInput(problem.task_id, "this problem has no reference solution", hint="mutants are made of it: choose another model")
        key = (problem.task_id, problem.reference)
        if key not in self._made:
            self._made[key] = []
            python = problem.reference if problem.language == "python" else ""
            self._more[key] = mutate(python, seed=self.seed, task_id=problem.task_id)
        made = self._made[key]
        while len(made) < number and (more := next(self._more[key], None)) is not None:
            made.append(more)
        return made


def mutate(reference: str, *, seed: int = 0, task_id: str = "") -> Iterator[Mutated]:
    """The mutants of a program, in the order drawn from `seed` and `task_id`; none for a text that is not Python."""
    source = reference.replace("\r\n", "\n").replace("\r", "\n")
    tree, known = parse(source), _digest(source)
    if tree is None or known is None:
        return
    seen = {known}
    changes = list(find_changes(tree))
    random.Random(f"{seed} {task_id}").shuffle(changes)
    for change in changes:
        found = _apply(source, change)
        if found is not None and found[1] not in seen:
            seen.add(found[1])
            yield Mutated(mutation=_describe(change), source=found[0])


def read_mutation(text: str) -> Mutation | None:
    """What the first line of a mutant says was done; None when it is no mutant's."""
    found = _HEADER.fullmatch(text.partition("\n")[0])
    if found is None or found[2] not in set(Operator):
        return None
    return Mutation(operator=Operator(found[2]), line=int(found[3]), before=found[4], after=found[5])


def _apply(source: str, change: Change) -> tuple[str, tuple[object, ...]] | None:
    """The changed source with what it compiles to. Brackets go around an expression where they are needed; None if it can't be written."""
    try:
        text = ast.unparse(change.after)
    except ValueError:  # what Python before 3.12 can't put into an f-string
        return None
    plain, bracketed = _splice(source, change.before, text), _splice(source, change.before, f"({text})")
    digest = _digest(plain)
    if isinstance(change.after, ast.expr) and not isinstance(change.after, ast.Slice):
        exact = _digest(bracketed)
        if digest != exact:
            plain, digest = bracketed, exact
    return None if digest is None else (plain, digest)


def _splice(source: str, node: ast.expr | ast.stmt, text: str) -> str:
    """The source with the text of one node replaced. Columns of syntax trees count bytes."""
    lines = [line.encode() for line in source.split("\n")]
    last = (node.end_lineno or node.lineno) - 1
    tail = lines[last][node.end_col_offset :]
    lines[node.lineno - 1 : last + 1] = [lines[node.lineno - 1][: node.col_offset] + text.encode() + tail]
    return b"\n".join(lines).decode()


def _digest(source: str) -> tuple[object, ...] | None:
    """What a program compiles to when it stands on one line; None when it does not compile.

    Where each statement has a line of its own, the compiler keeps empty instructions for debuggers, which would hide that two are equal.
    """
    tree = parse(source)
    if tree is None:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.expr | ast.excepthandler | ast.arg | ast.keyword | ast.alias | ast.pattern):
            node.lineno = node.end_lineno = 1
            node.col_offset = node.end_col_offset = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _flatten(compile(tree, "mutant", "exec", dont_inherit=True))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _flatten(code: types.CodeType) -> tuple[object, ...]:
    constants = tuple(_flatten(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts)
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    shape = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    return code.co_code, constants, names, shape


def _describe(change: Change) -> Mutation:
    return Mutation(operator=change.operator, line=change.before.lineno, before=_shorten(change.before), after=_shorten(change.after))


def _shorten(node: ast.AST) -> str:
    first, _, rest = ast.unparse(node).partition("\n")
    text = first if len(first) <= _SHOWN else first[:_SHOWN].rstrip() + "..."
    return f"{text} ..." if rest else text
