"""What the text of a problem's tests says before anything runs.

Do the tests need helpers that only the reference defines? Do they *look back* at an argument after the call? Do they *keep state*
outside of their own globals? And do they *evaluate text*? A test that calls `eval` or
`pickle.loads` on what the candidate returned runs the candidate's code in the grader, where no protection is left; so such a problem
counts as one that needs a shared process. That answer goes by names: code that hides `eval` well enough isn't found, but
tests are written by the problem's author, not by the candidate.
"""

from __future__ import annotations

import ast
import builtins
import functools
import threading
import warnings
from collections.abc import Set

from groundrun.records import CallTest, CodeTest, FileTest

_EVALUATING = {"eval", "exec", "compile", "__import__"}
_EVALUATING_MODULES = {"builtins", "cloudpickle", "code", "ctypes", "dill", "importlib", "joblib", "marshal", "pickle", "runpy", "shelve"}
_EVALUATING_MODULES |= {"subprocess", "timeit", "yaml"}
_REACHING = {"__import__", "dir", "eval", "exec", "filter", "getattr", "globals", "locals", "map", "vars"}
_HARMLESS = frozenset(dir(builtins)) - _REACHING  # called with an object, none of these shows it to a candidate
_COMPUTING_MODULES = {
    "bisect",
    "cmath",
    "collections",
    "copy",
    "fractions",
    "functools",
    "heapq",
    "itertools",
    "math",
    "operator",
    "random",
    "re",
}
_COMPUTING_MODULES |= {"numpy", "statistics", "string", "typing"}
_CHANGING = {"__builtins__", "delattr", "globals", "open", "print", "setattr", "vars"}
_PARSING = threading.Lock()  # warning filters belong to the whole process


def texts_of(tests: tuple[CodeTest | CallTest | FileTest, ...]) -> tuple[str, ...]:
    """Everything in the tests that is Python."""
    return tuple(text for test in tests for text in _texts(test) if text)


def _texts(test: CodeTest | CallTest | FileTest) -> tuple[str, ...]:
    return (test.arguments, test.keywords, test.expected, test.oracle or "") if isinstance(test, CallTest) else (test.source,)


@functools.lru_cache(maxsize=1024)
def holds_tests(source: str) -> bool:
    """Whether a test file defines anything that could be a test. True when it can't be parsed, which running it will tell better."""
    trees = _parse((source,))
    if trees is None:
        return True
    names = [node.name for node in ast.walk(trees[0]) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return any(name.startswith("test") or name in ("runTest", "load_tests") for name in names)


@functools.lru_cache(maxsize=1024)
def choose_style(source: str) -> str:
    """The style of a test file: `pytest` when it imports pytest or has test functions outside of `TestCase`s, else `unittest`."""
    for tree in _parse((source,)) or ():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == "pytest" for alias in node.names):
                return "pytest"
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "pytest":
                return "pytest"
        plain = [inner for node in tree.body if isinstance(node, ast.ClassDef) and not node.bases for inner in node.body]
        if any(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test") for node in tree.body + plain):
            return "pytest"
    return "unittest"


@functools.lru_cache(maxsize=1024)
def needs_reference(reference: str, texts: tuple[str, ...], entry_point: str | None) -> bool:
    """Whether tests use a name, other than the entry point, that the reference could define at its top level."""
    trees = _parse((*texts, reference))
    if trees is None:
        return True
    used = {node.id for tree in trees[:-1] for node in ast.walk(tree) if isinstance(node, ast.Name)}
    defined = _top_names(trees[-1])
    return "*" in defined or not defined.isdisjoint(used - {entry_point})


def looks_back(tests: tuple[CodeTest | CallTest | FileTest, ...], entry_point: str | None) -> bool:
    """Whether tests may see an argument again after the call: False only when each is written where it is used, as in `f([1, 2])`."""
    return any(_looks_back(test, entry_point) for test in tests)


def _looks_back(test: CodeTest | CallTest | FileTest, entry_point: str | None) -> bool:
    if isinstance(test, CallTest):
        trees = _parse((test.arguments, test.keywords))
        return trees is None or any(_is_seen(tree, {*_HARMLESS, entry_point}) for tree in trees)
    trees = _parse((test.source,))
    if trees is None:
        return True
    nodes = list(ast.walk(trees[0]))
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    harmless = _HARMLESS - stored - {node.arg for node in nodes if isinstance(node, ast.arg)} - _top_names(trees[0])
    known = harmless | ({entry_point, *_candidate_names(test, nodes)} - stored)
    calls = [node for node in nodes if isinstance(node, ast.Call) and not _is_harmless(node, harmless)]
    return any(_is_seen(argument, known) for call in calls for argument in (*call.args, *(each.value for each in call.keywords)))


def _candidate_names(test: CodeTest | FileTest, nodes: list[ast.AST]) -> set[str]:
    """Names of a test for what the candidate defines: calling it gives a new object each time."""
    if isinstance(test, CodeTest):
        checks = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == test.call]
        return {each.arg for check in checks for each in check.args.args[:1]}
    plain = [alias for node in nodes if isinstance(node, ast.Import) for alias in node.names if alias.name == test.module]
    single = [alias for node in nodes if isinstance(node, ast.ImportFrom) and node.module == test.module for alias in node.names]
    return {alias.asname or alias.name for alias in plain + single}


def _is_harmless(call: ast.Call, harmless: frozenset[str]) -> bool:
    """Whether a call can't hand its arguments to the candidate."""
    callee = call.func
    if isinstance(callee, ast.Name):
        return callee.id in harmless and not any(each.arg == "key" for each in call.keywords)
    if not isinstance(callee, ast.Attribute) or not isinstance(callee.value, ast.Name) or callee.value.id != "self":
        return False
    return callee.attr.startswith("assert") and not callee.attr.startswith(("assertRaises", "assertWarns"))


def _is_seen(argument: ast.AST, known: Set[str | None]) -> bool:
    """Whether the value of an expression can be reached again: through a name that is neither known to be harmless nor its own."""
    nodes = list(ast.walk(argument))
    own = {name.id for node in nodes if isinstance(node, ast.comprehension) for name in ast.walk(node.target) if isinstance(name, ast.Name)}
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return not names <= known | own or any(isinstance(node, ast.NamedExpr) for node in nodes)


@functools.lru_cache(maxsize=1024)
def evaluates_text(texts: tuple[str, ...]) -> bool:
    """Whether tests could run as code what a candidate returned as data."""
    return any(_evaluates(node) for tree in _parse(texts) or () for node in ast.walk(tree))


def _evaluates(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id in _EVALUATING
    if isinstance(node, ast.Import):
        return any(alias.name.partition(".")[0] in _EVALUATING_MODULES for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").partition(".")[0] in _EVALUATING_MODULES
    return (
        isinstance(node, ast.Attribute) and node.attr in ("system", "popen") and isinstance(node.value, ast.Name) and node.value.id == "os"
    )


@functools.lru_cache(maxsize=1024)
def keeps_no_state(texts: tuple[str, ...]) -> bool:
    """Whether running the tests changes nothing that outlives their own globals, so that one process can run them for many candidates.

    By what they import and assign to (ours): only modules of computation, and no attribute of a module.
    """
    trees = _parse(texts)
    return trees is not None and all(_keeps_no_state(tree) for tree in trees)


def _keeps_no_state(tree: ast.Module) -> bool:
    imported: set[str] = set()
    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
            imported |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
            imported |= {alias.asname or alias.name for alias in node.names}
        else:
            continue
        if not {module.partition(".")[0] for module in modules} <= _COMPUTING_MODULES:
            return False
    for node in nodes:
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load) and _root(node) in imported:
            return False
        if isinstance(node, ast.Name) and node.id in _CHANGING:
            return False
    return True


def _root(node: ast.expr) -> str:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _parse(texts: tuple[str, ...]) -> list[ast.Module] | None:
    with _PARSING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's escape sequences
        try:
            return [ast.parse(text.strip()) for text in texts]
        except (SyntaxError, ValueError, RecursionError):
            return None


def _top_names(module: ast.Module) -> set[str]:
    """Names that the module's own scope may bind: everything bound outside function and class bodies, however deep in `if` or `try`."""
    names: set[str] = set()
    waiting: list[ast.AST] = list(module.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
            names.update(name for inner in ast.walk(node) if isinstance(inner, ast.Global) for name in inner.names)
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, (ast.MatchAs, ast.MatchStar, ast.ExceptHandler)) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            names.add(node.rest)
        waiting.extend(ast.iter_child_nodes(node))
    return names
