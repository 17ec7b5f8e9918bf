"""Mutation operators: the small changes that make a nearly right program of a right one.

With the names and ideas of the literature: arithmetic operator, relational operator and logical connector replacement and unary
operator insertion are four of the five operators that Offutt et al. 1996 found sufficient (An experimental determination of
sufficient mutant operators, ACM TOSEM 5(2)); constant replacement, statement deletion and return statement replacement are of
Mothra's 22, as in the survey of Jia and Harman 2011 (An analysis and survey of the development of mutation testing, IEEE TSE 37(5)).
Exact: the idea of each. Ours: which replacements each makes (few a place, chosen so that most run on Python's types; a `not` that is
there already is taken away instead), and the operators for conditions, boundaries, arguments and jumps. Left out: absolute value
insertion, since most values here are no numbers, and exchanges of variables.

Promises: pure; every change names the node that it replaces and the node to put there; nothing is proposed inside docstrings, imports,
annotations, decorators, f-strings, patterns, and behind `if __name__ ...`. Does not promise that the result compiles or differs:
`mutant` sees to that.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from enum import StrEnum

import msgspec


class Operator(StrEnum):
    """What kind of change a mutant is."""

    ARITHMETIC = "arithmetic operator"
    RELATIONAL = "relational operator"
    CONNECTOR = "logical connector"
    UNARY = "unary operator"
    CONSTANT = "constant"
    DELETION = "statement deletion"
    RETURN = "return value"
    CONDITION = "negated condition"
    BOUNDARY = "boundary"
    ARGUMENTS = "argument swap"
    JUMP = "break and continue"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One node of a tree (with its place in the text) and what is to stand there."""

    operator: Operator
    before: ast.expr | ast.stmt
    after: ast.AST


_ARITHMETIC: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add, ast.Mult),
    ast.Mult: (ast.Add, ast.FloorDiv),
    ast.Div: (ast.FloorDiv, ast.Mult),
    ast.FloorDiv: (ast.Div, ast.Mult),
    ast.Mod: (ast.FloorDiv, ast.Mult),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr, ast.BitXor),
    ast.BitOr: (ast.BitAnd, ast.BitXor),
    ast.BitXor: (ast.BitAnd, ast.BitOr),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
}
_RELATIONAL: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_ORDERING = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_DELETED = (
    ast.Assign,
    ast.AugAssign,
    ast.Expr,
    ast.Return,
    ast.If,
    ast.For,
    ast.While,
    ast.Raise,
    ast.Assert,
    ast.Delete,
    ast.Break,
    ast.Continue,
)
_TRUTHS = frozenset({"all", "any", "bool", "callable", "hasattr", "isinstance", "issubclass"})
# Their arguments may stand in any order, so that swapping them never shows.
_SYMMETRIC = frozenset({"gcd", "isclose", "lcm", "max", "min"})


def find_changes(tree: ast.Module) -> Iterator[Change]:
    """Every change that the operators propose, in the order of the text."""
    for node in _walk(tree):
        for operator, propose in _OPERATORS.items():
            for before, after in propose(node):
                yield Change(operator=operator, before=before, after=after)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in _children(node):
        yield from _walk(child)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()) | ast.pattern():
            return
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from (*_defaults(node.args), *node.body)
        case ast.ClassDef():
            yield from node.body
        case ast.Lambda():
            yield from (*_defaults(node.args), node.body)
        case ast.AnnAssign():
            yield from [node.value] if node.value else []
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return
        case _:
            yield from ast.iter_child_nodes(node)


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(default for default in arguments.kw_defaults if default is not None)]


_Proposals = Iterator[tuple[ast.expr | ast.stmt, ast.AST]]


def _replace_arithmetic(node: ast.AST) -> _Proposals:
    match node:
        case ast.BinOp(left=left, op=operator, right=right) if not _is_text(left) and not _is_text(right):
            for other in _ARITHMETIC.get(type(operator), ()):
                yield node, ast.BinOp(left, other(), right)
        case ast.AugAssign(target=target, op=operator, value=value) if not _is_text(value):
            for other in _ARITHMETIC.get(type(operator), ()):
                yield node, ast.AugAssign(target, other(), value)


def _replace_relation(node: ast.AST) -> _Proposals:
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for other in _RELATIONAL[type(operator)]:
                yield node, ast.Compare(node.left, [*node.ops[:place], other(), *node.ops[place + 1 :]], node.comparators)


def _replace_connector(node: ast.AST) -> _Proposals:
    if isinstance(node, ast.BoolOp):
        yield node, ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)


def _insert_unary(node: ast.AST) -> _Proposals:
    match node:
        case ast.BoolOp(values=values):
            yield from ((value, _negate(value)) for value in values if not _is_exact(value))
        case ast.BinOp(op=ast.Sub() | ast.Mult() | ast.Div() | ast.FloorDiv() | ast.Pow()):
            yield from ((side, ast.UnaryOp(ast.USub(), side)) for side in (node.left, node.right) if isinstance(side, ast.Name))
        case ast.Compare(left=left, ops=ops, comparators=others) if all(isinstance(each, _ORDERING) for each in ops):
            yield from ((side, ast.UnaryOp(ast.USub(), side)) for side in (left, *others) if isinstance(side, ast.Name))


def _replace_constant(node: ast.AST) -> _Proposals:
    match node:
        case ast.Constant(value=bool(value)):
            yield node, ast.Constant(not value)
        case ast.Constant(value=int(number) | float(number)):
            yield node, ast.Constant(number + 1)
            yield node, ast.Constant(number - 1) if number >= 1 else ast.UnaryOp(ast.USub(), ast.Constant(1 - number))
        case ast.Constant(value=str(text)):
            yield node, ast.Constant("" if text else "mutant")


def _delete_statement(node: ast.AST) -> _Proposals:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return
        case ast.stmt() if isinstance(node, _DELETED):
            yield node, ast.Pass()


def _replace_return(node: ast.AST) -> _Proposals:
    match node:
        case ast.Return(value=ast.Constant()) | ast.Return(value=None):
            return
        case ast.Return(value=ast.expr() as value):
            yield value, _negate(value) if _is_truth(value) else ast.Constant(None)


def _negate_condition(node: ast.AST) -> _Proposals:
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            tests = [test]
        case ast.comprehension(ifs=ifs):
            tests = ifs
        case _:
            return
    yield from ((test, _negate(test)) for test in tests if not _is_exact(test) and not isinstance(test, ast.Constant))


def _move_boundary(node: ast.AST) -> _Proposals:
    match node:
        case ast.Slice(lower=lower, upper=upper, step=None):
            if upper is None:
                yield node, ast.Slice(lower, ast.UnaryOp(ast.USub(), ast.Constant(1)))
            if lower is None:
                yield node, ast.Slice(ast.Constant(1), upper)
            bounds = [bound for bound in (lower, upper) if bound is not None]
        case ast.Call(func=ast.Name(id="range"), args=args):
            bounds = args[:2]
        case _:
            return
    for bound in bounds:
        if not isinstance(bound, ast.Constant | ast.Starred):  # constants are moved by their own operator
            yield bound, ast.BinOp(bound, ast.Add(), ast.Constant(1))
            yield bound, ast.BinOp(bound, ast.Sub(), ast.Constant(1))


def _swap_arguments(node: ast.AST) -> _Proposals:
    if not isinstance(node, ast.Call) or any(isinstance(each, ast.Starred) for each in node.args):
        return
    name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
    for place in range(len(node.args) - 1 if name not in _SYMMETRIC else 0):
        first, second = node.args[place : place + 2]
        yield node, ast.Call(node.func, [*node.args[:place], second, first, *node.args[place + 2 :]], node.keywords)


def _exchange_jump(node: ast.AST) -> _Proposals:
    if isinstance(node, ast.Break):
        yield node, ast.Continue()
    elif isinstance(node, ast.Continue):
        yield node, ast.Break()


def _negate(test: ast.expr) -> ast.expr:
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return operand
    return ast.UnaryOp(ast.Not(), test)


def _is_exact(test: ast.expr) -> bool:
    """A comparison whose negation is one of the relational replacements already."""
    return isinstance(test, ast.Compare) and len(test.ops) == 1 and not isinstance(test.ops[0], _ORDERING)


def _is_truth(value: ast.expr) -> bool:
    match value:
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            return not _is_exact(value)
        case ast.Call(func=ast.Name(id=name)):
            return name in _TRUTHS
    return False


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.JoinedStr) or (isinstance(value, ast.Constant) and isinstance(value.value, str | bytes))


_OPERATORS = {
    Operator.ARITHMETIC: _replace_arithmetic,
    Operator.RELATIONAL: _replace_relation,
    Operator.CONNECTOR: _replace_connector,
    Operator.UNARY: _insert_unary,
    Operator.CONSTANT: _replace_constant,
    Operator.DELETION: _delete_statement,
    Operator.RETURN: _replace_return,
    Operator.CONDITION: _negate_condition,
    Operator.BOUNDARY: _move_boundary,
    Operator.ARGUMENTS: _swap_arguments,
    Operator.JUMP: _exchange_jump,
}
