"""Code from replies: a model's text becomes a whole program, and the name of the rule that made it.

Promises: pure, never raises, never runs anything; a reply that already is a program and stands alone comes back byte for
byte; extracting twice changes nothing more when the first time found a program. The rules, tried in this order:

1. `whole_program`: the reply parses and defines the entry point.
2. `fence`: a fenced block of Python, or without a language, that parses and defines the entry point. Of several, the last
   whose definition is more than a stub (a later block is the model's later word); blocks in other languages are taken
   only when no other defines it. An unclosed fence runs to the end of the reply. A fence inside a docstring does not close.
3. `fences_joined`: the chosen block reads names that other blocks bind at top level; those blocks join it in their order.
4. `fence_body`: a block that only continues the prompt, put behind the prompt (indented again where Markdown lost that).
5. `prompt_repeated`, `body`: without fences, the reply repeats the prompt and runs on, or continues its function's body.
   Lines at the end that stop it from parsing are cut. Tabs become four spaces only where mixing them does not parse.
6. `span`: prose around code: the longest run of lines that parses and defines the entry point.
7. `nothing`: no program was found; the reply itself is the program and will fail to compile or to pass, as it should.

A program that reads imports or helper functions which only the prompt defines gets exactly those in front of it (`from_prompt`).

Does not promise the cleaning of published harnesses: cleaning moves scores by points, so the rule's name is stored and
shown beside a score. `complete_prompt` is EvalPlus's plain rule for samples that carry a `completion`.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from groundrun.models.fences import Fence, find_fences
from groundrun.models.syntax import (
    bound_names,
    context_of,
    count_tries,
    defines,
    indent,
    longest_program,
    parse,
    read_names,
    returns_at_top,
)

INDENT = "    "
# How many of the last blocks are tried as a continuation of the prompt; each try parses the prompt with it.
BODY_FENCES = 8


class Rule(StrEnum):
    """Which rule made a program out of a reply. The value serializes; the module's docstring says what each does."""

    WHOLE_PROGRAM = "whole_program"
    FENCE = "fence"
    FENCES_JOINED = "fences_joined"
    FENCE_BODY = "fence_body"
    PROMPT_REPEATED = "prompt_repeated"
    BODY = "body"
    SPAN = "span"
    NOTHING = "nothing"


class Extraction(msgspec.Struct, frozen=True):
    """A whole program and the rule that made it of a reply. `from_prompt` holds what was put in front of it, if anything."""

    source: str
    rule: Rule
    from_prompt: str = ""


def complete_prompt(prompt: str, completion: str) -> str:
    """EvalPlus's program of a `completion`: prompt + completion, even when the completion repeats the prompt."""
    return prompt + completion


def extract(reply: str, *, prompt: str = "", entry_point: str | None = None) -> Extraction:
    """The program in `reply`. `prompt` is the code that the model was to continue; without `entry_point` any statement counts."""
    found = _find(reply, prompt, entry_point)
    if found is None:
        return Extraction(reply, Rule.NOTHING)
    context = context_of(prompt, found.source, entry_point)
    return Extraction(context + found.source, found.rule, context)


def _find(reply: str, prompt: str, entry_point: str | None) -> Extraction | None:
    if defines(parse(reply), entry_point):
        return Extraction(reply, Rule.WHOLE_PROGRAM)
    text = reply.replace("\r\n", "\n").replace("\r", "\n")
    fences = find_fences(text)
    found = _from_fences(fences, entry_point) or _from_fenced_bodies(fences, prompt, entry_point)
    if found is None and not fences:
        found = _from_text(text, prompt, entry_point)
    if found is None:
        span = longest_program(text, entry_point)
        found = Extraction(span, Rule.SPAN) if span else None
    return found


def _from_fences(fences: list[Fence], entry_point: str | None) -> Extraction | None:
    for pool in ([fence for fence in fences if fence.is_python], [fence for fence in fences if not fence.is_python]):
        whole = [fence for fence in pool if defines(parse(fence.code), entry_point)]
        solid = [fence for fence in whole if defines(parse(fence.code), entry_point, stub_counts=False)]
        if solid or whole:
            return _join((solid or whole)[-1], fences)
    return None


def _join(chosen: Fence, fences: list[Fence]) -> Extraction:
    """The chosen block with the blocks that bind what it reads and does not bind itself, nearest first, one block a name."""
    missing = read_names(chosen.code) - bound_names(chosen.code)
    kept = [chosen]
    where = fences.index(chosen)
    bound = bound_names(chosen.code)
    for fence in [*reversed(fences[:where]), *fences[where + 1 :]]:
        gives = bound_names(fence.code)
        if fence.is_python and gives & missing and not gives & bound:
            kept.append(fence)
            bound |= gives
            missing = (missing | read_names(fence.code)) - bound
    if len(kept) == 1:
        return Extraction(chosen.code, Rule.FENCE)
    return Extraction("\n".join(fence.code for fence in fences if fence in kept), Rule.FENCES_JOINED)


def _from_fenced_bodies(fences: list[Fence], prompt: str, entry_point: str | None) -> Extraction | None:
    for fence in [fence for fence in reversed(fences) if fence.is_python][:BODY_FENCES]:
        source = _continue(prompt, fence.code, entry_point)
        if source:
            return Extraction(source, Rule.FENCE_BODY)
    return None


def _from_text(text: str, prompt: str, entry_point: str | None) -> Extraction | None:
    shown = prompt.strip()
    if shown and text.lstrip().startswith(shown):
        # A base model that repeats the prompt runs on past the end: keep what parses.
        program = longest_program(text, entry_point)
        if program and defines(parse(program), entry_point, stub_counts=False):
            return Extraction(program, Rule.PROMPT_REPEATED)
    source = _continue(prompt, text, entry_point)
    return Extraction(source, Rule.BODY) if source else None


def _continue(prompt: str, body: str, entry_point: str | None) -> str | None:
    """Prompt + body when that makes a definition that is more than the prompt's own; the end of the body may be cut."""
    if not prompt.strip() or not body.strip():
        return None
    head = prompt if prompt.endswith("\n") else prompt + "\n"
    lines = body.strip("\n").split("\n")
    first_only = "\n".join([INDENT + lines[0].lstrip(), *lines[1:]])
    unindented = not lines[0][:1].isspace()
    shapes = [first_only, indent(body, INDENT)] if unindented else [body, body.expandtabs(4)]
    kept = [source for shape in shapes if (source := _cut_to_parse(head, shape, entry_point))]
    return max(kept, key=lambda source: source.count("\n"), default=None)


def _cut_to_parse(head: str, body: str, entry_point: str | None) -> str | None:
    lines = body.rstrip("\n").split("\n")
    tries = count_tries(head + body)
    while lines and tries:
        source = head + "\n".join(lines) + "\n"
        tree = parse(source)
        if defines(tree, entry_point, stub_counts=False) and not returns_at_top(tree):
            return source
        # Prose or the next, unfinished definition starts at column 0: cut whole pieces first, then single lines.
        starts = [number for number, line in enumerate(lines) if line[:1].strip() and number]
        lines = lines[: starts[-1]] if starts else lines[:-1]
        tries -= 1
    return None
