"""What a piece of Python text is, seen through its syntax tree: does it parse, what does it define, which part of it parses.

Promises: nothing is executed, nothing is raised, whatever the text; a question parses about `PARSED_CHARS` characters at
most, so that a long hostile reply costs about a second and no more. Text above `MAX_SOURCE_CHARS` is not parsed at all and is no program.
Does not promise that a text that parses also compiles or runs.
"""

from __future__ import annotations

import ast
import warnings

# Ten times the longest program in the published recordings; parsing this much takes under half a second.
MAX_SOURCE_CHARS = 200_000

PARSED_CHARS = 1_000_000
MAX_TRIES = 128
_STARTS = ("from ", "import ", "def ", "class ", "async def ", "@")


def parse(source: str) -> ast.Module | None:
    """The syntax tree, or None when the text is not Python (or too long, or nested deeper than the parser goes)."""
    if len(source) > MAX_SOURCE_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def defines(tree: ast.Module | None, entry_point: str | None, *, stub_counts: bool = True) -> bool:
    """True when the tree binds `entry_point` at top level. Without one: when it has any statement that does something.

    `stub_counts=False` refuses a definition whose body is only `pass`, `raise NotImplementedError`, a docstring, or other unused values.
    """
    if tree is None:
        return False
    if entry_point is None:
        return any(not _is_inert(statement) for statement in tree.body)
    found = [statement for statement in tree.body if entry_point in _binds(statement)]
    return bool(found) and (stub_counts or not _is_stub(found[-1]))


def bound_names(source: str) -> set[str]:
    """The names that a text binds at top level; none when it does not parse."""
    tree = parse(source)
    return set().union(*(_binds(statement) for statement in tree.body)) if tree else set()


def read_names(source: str) -> set[str]:
    """Every name that a text reads anywhere; none when it does not parse."""
    tree = parse(source)
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)} if tree else set()


def returns_at_top(tree: ast.Module | None) -> bool:
    """True when a `return` or `yield` stands outside of any function: the text is a body that lost its indentation."""
    pending: list[ast.AST] = list(tree.body) if tree else []
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))
    return False


def context_of(prompt: str, program: str, entry_point: str | None) -> str:
    """The prompt's own imports and functions that a program reads but does not bind; empty when it stands alone.

    A program with `from __future__` lines stands alone: nothing may come before those.
    """
    tree = parse(prompt)
    missing = read_names(program) - bound_names(program)
    if tree is None or not missing or "from __future__" in program:
        return ""
    kept = [statement for statement in tree.body if _binds(statement) & missing and entry_point not in _binds(statement)]
    return "".join(f"{ast.get_source_segment(prompt, statement)}\n" for statement in kept)


def count_tries(text: str) -> int:
    """How many parses of a text of this length one question may take."""
    return max(2, min(MAX_TRIES, PARSED_CHARS // (len(text) + 1)))


def indent(text: str, by: str) -> str:
    """Every line that is not blank moved right."""
    return "\n".join(by + line if line.strip() else line for line in text.split("\n"))


def longest_program(text: str, entry_point: str | None) -> str | None:
    """The longest run of lines that parses and defines the entry point, starting where code can start; None without one.

    Ends are tried from the last line back to front at lines that start at column 0.
    """
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if line.startswith(_STARTS)]
    edges = [number for number, line in enumerate(lines) if number and line[:1].strip()]
    best: tuple[int, str] | None = None
    tries = count_tries(text)
    for start in starts:
        ends = [len(lines), *(edge for edge in reversed(edges) if edge > start)]
        for end in ends:
            size = sum(1 for line in lines[start:end] if line.strip())
            if tries == 0 or (best is not None and size <= best[0]):
                break
            tries -= 1
            piece = "\n".join(lines[start:end]).rstrip() + "\n"
            if defines(parse(piece), entry_point):
                best = (size, piece)
                break
    return best[1] if best else None


def _binds(statement: ast.AST) -> set[str]:
    """The names a top-level statement binds in its module, also inside `if` and `try`; not those of inner scopes."""
    names: set[str] = set()
    pending = [statement]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            pending.extend(ast.iter_child_nodes(node))
    return names


def _is_inert(statement: ast.stmt) -> bool:
    """A bare word or literal: prose such as `Sure` parses as one. A call, a definition or an assignment does something."""
    return isinstance(statement, ast.Expr) and not any(isinstance(node, ast.Call | ast.Await | ast.Yield) for node in ast.walk(statement))


def _is_stub(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return all(isinstance(part, ast.Pass) or _is_inert(part) or _refuses(part) for part in statement.body)


def _refuses(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Raise) or statement.exc is None:
        return False
    raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
