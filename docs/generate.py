"""Writes the reference pages that follow from the code: the command line from its help, records and errors from their docstrings.

python docs/generate.py           write the pages
python docs/generate.py --check   fail, naming them, when a page differs from what the code says
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType

import click
import msgspec

from groundrun import errors, records
from groundrun.cli.entry import groundrun

PAGES = Path(__file__).resolve().parent / "reference"
NOTE = "<!-- Written by docs/generate.py; change the code instead. -->\n"


def describe_commands() -> str:
    """One section a verb: its help, as the terminal shows it at 100 columns."""
    parts = [NOTE, "# Command line\n", _help(groundrun, "groundrun")]
    context = click.Context(groundrun, info_name="groundrun", **groundrun.context_settings)
    parts.extend(_walk(groundrun, context, "groundrun"))
    return "\n".join(parts)


def _walk(group: click.Group, context: click.Context, path: str) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"## {path} {name}\n"
        yield _help(command, name, context)
        if isinstance(command, click.Group):
            yield from _walk(command, click.Context(command, parent=context, info_name=name), f"{path} {name}")


def _help(command: click.Command, name: str, parent: click.Context | None = None) -> str:
    context = click.Context(command, parent=parent, info_name=name, terminal_width=100, **command.context_settings)
    return f"```text\n{command.get_help(context)}\n```\n"


def describe_module(module: ModuleType, title: str) -> str:
    """The module's docstring and every public class of it with fields or members."""
    parts = [NOTE, f"# {title}\n", f"```text\n{inspect.getdoc(module)}\n```\n"]
    for name, value in vars(module).items():
        if not inspect.isclass(value) or value.__module__ != module.__name__ or name.startswith("_"):
            continue
        parts.append(f"## {name}\n")
        parts.append(f"{inspect.getdoc(value)}\n")
        if issubclass(value, Enum):
            parts.append("\n".join(f"* `{member.value}`" for member in value) + "\n")
        elif issubclass(value, msgspec.Struct):
            parts.append(_fields(value))
    return "\n".join(parts)


def _fields(record: type[msgspec.Struct]) -> str:
    bases = [base for base in reversed(record.__mro__) if base is not object]
    kinds = {name: kind for base in bases for name, kind in inspect.get_annotations(base).items()}
    rows = ["| field | type | default |", "|---|---|---|"]
    for field in msgspec.structs.fields(record):
        kind = kinds[field.name].replace("|", "\\|")
        rows.append(f"| `{field.name}` | {kind} | {_default(field)} |")
    return "\n".join(rows) + "\n"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default is msgspec.NODEFAULT:
        return "empty"
    return f"`{field.default.value if isinstance(field.default, Enum) else field.default!r}`"


def write(*, check: bool) -> int:
    """Write the pages, or compare them; the number of pages that differed."""
    os.environ.pop("COLUMNS", None)
    pages = {
        "cli.md": describe_commands(),
        "records.md": describe_module(records, "Records"),
        "errors.md": describe_module(errors, "Errors"),
    }
    stale = 0
    for name, text in pages.items():
        path = PAGES / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if check:
            print(f"error: docs/reference/{name} is not what the code says: run .venv/bin/python docs/generate.py", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    checking = sys.argv[1:] == ["--check"]
    changed = write(check=checking)
    sys.exit(1 if checking and changed else 0)
