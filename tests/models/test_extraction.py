"""Code from replies: each rule by example, and what must hold for any text."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrun.models.extraction import Rule, complete_prompt, extract

pytestmark = pytest.mark.unit

PROMPT = 'from typing import List\n\n\ndef add(a: int, b: int) -> int:\n    """ Add.\n    >>> add(1, 2)\n    3\n    """\n'
WHOLE = "def add(a, b):\n    return a + b\n"


def run(source: str) -> object:
    """What the extracted `add(2, 3)` gives; these sources are this file's own."""
    space: dict[str, object] = {}
    exec(compile(source, "<test>", "exec"), space)
    function = space["add"]
    assert callable(function)
    return function(2, 3)


RIGHT = [
    (WHOLE, Rule.WHOLE_PROGRAM),
    (PROMPT + "    return a + b\n", Rule.WHOLE_PROGRAM),
    (f"Sure! Here it is:\n\n```python\n{WHOLE}```\nHope this helps.", Rule.FENCE),
    (f"```\n{WHOLE}```", Rule.FENCE),
    (f"~~~python\n{WHOLE}~~~", Rule.FENCE),
    (f"```{{.python}}\n{WHOLE}```", Rule.FENCE),
    (f"Here:\r\n```python\r\n{WHOLE}```\r\n".replace("\n", "\r\n"), Rule.FENCE),
    (f"```python\n{WHOLE}", Rule.FENCE),
    (f"1. First\n\n   ```python\n   {WHOLE.replace(chr(10), chr(10) + '   ')}\n   ```\n", Rule.FENCE),
    (f"```bash\npip install x\n```\n```python\n{WHOLE}```\n```text\n5\n```", Rule.FENCE),
    (f"```python\nprint(add(1, 2))\n```\nwhere\n```python\n{WHOLE}```", Rule.FENCE),
    (f"```c\n{WHOLE}```", Rule.FENCE),
    (f"```python\ndef add(a, b):\n    return a - b\n```\nWait, that is wrong:\n```python\n{WHOLE}```", Rule.FENCE),
    (f"```python\n{WHOLE}```\nThe signature was\n```python\ndef add(a, b):\n    pass\n```", Rule.FENCE),
    ("```python\nimport operator\n```\nand\n```python\ndef add(a, b):\n    return operator.add(a, b)\n```", Rule.FENCES_JOINED),
    ("```python\ndef add(a, b):\n    return plus(a, b)\n```\nwith\n```python\ndef plus(a, b):\n    return a + b\n```", Rule.FENCES_JOINED),
    ("```python\n    return a + b\n```", Rule.FENCE_BODY),
    ("```python\nreturn a + b\n```", Rule.FENCE_BODY),
    ("```python\nif a:\n    return a + b\nreturn b\n```", Rule.FENCE_BODY),
    ("    return a + b\n", Rule.BODY),
    ("\treturn a + b\n", Rule.BODY),
    ("return a + b", Rule.BODY),
    ("total = a\nreturn total + b\n\nThis adds.", Rule.BODY),
    ("```python\ntotal = a\nreturn total + b\n```", Rule.FENCE_BODY),
    ("total = a\n    total += b\n    return total", Rule.BODY),
    ("    return a + b\n\n\ndef main(:\n    print(", Rule.BODY),
    ("    return a + b\n\nThis function adds the two numbers.", Rule.BODY),
    (PROMPT + "    return a + b\n\n\ndef unfinished(x", Rule.PROMPT_REPEATED),
    (f"The answer is below.\n\n{WHOLE}\nIt's short.", Rule.SPAN),
    ('```python\ndef add(a, b):\n    """Add.\n\n    ```\n    add(1, 2)\n    ```\n    """\n    return a + b\n```\nDone.', Rule.FENCE),
]


@pytest.mark.parametrize(("reply", "rule"), RIGHT, ids=range(len(RIGHT)))
def test_each_rule(reply: str, rule: Rule) -> None:
    found = extract(reply, prompt=PROMPT, entry_point="add")
    assert found.rule is rule
    assert run(found.source) == 5


def test_names_of_the_prompt_come_along() -> None:
    """A reply without the prompt's import would fail for a reason that is not the model's."""
    reply = "```python\ndef add(a: List[int], b):\n    return a + b\n```"
    found = extract(reply, prompt=PROMPT, entry_point="add")
    assert found.from_prompt == "from typing import List\n"
    assert run(found.source) == 5


def test_helpers_of_the_prompt_come_along() -> None:
    prompt = "def plus(a, b):\n    return a + b\n\n\ndef add(a, b):\n    '''Use plus.'''\n"
    found = extract("def add(a, b):\n    return plus(a, b)", prompt=prompt, entry_point="add")
    assert "def plus" in found.from_prompt
    assert run(found.source) == 5


@pytest.mark.parametrize("reply", ["", "I can't do that.", "```python\nprint(1\n```", "\0", "def add(", "Sure"])
def test_no_program(reply: str) -> None:
    found = extract(reply, prompt=PROMPT, entry_point="add")
    assert (found.source, found.rule) == (reply, Rule.NOTHING)


def test_without_entry_point_any_doing_statement_counts() -> None:
    assert extract("print(input())").rule is Rule.WHOLE_PROGRAM
    assert extract("Sure").rule is Rule.NOTHING
    assert extract("Here:\n```\nprint(1)\n```").source == "print(1)\n"


def test_completion_is_put_behind_the_prompt_even_when_it_repeats_it() -> None:
    repeated = PROMPT + "    return a + b\n"
    assert complete_prompt(PROMPT, repeated) == PROMPT + repeated


def test_deep_and_long_replies_are_refused_quickly() -> None:
    for hostile in ["(" * 50_000, "-" * 150_000 + "1", "a." * 90_000 + "a", "[" * 300_000, "```\n" * 5_000, "def add(\n" * 5_000]:
        extract(hostile, prompt=PROMPT, entry_point="add")


PIECES = st.sampled_from(
    ["```python\n", "```", "\n", "~~~", WHOLE, PROMPT, "    return a + b\n", "\treturn a", "def ", "add(a, b):", '"""', "prose ", "\r"]
)


@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=12).map("".join)), st.sampled_from(["add", None, "other"]))
def test_never_raises_and_gives_a_program_that_parses(reply: str, entry_point: str | None) -> None:
    found = extract(reply, prompt=PROMPT, entry_point=entry_point)
    if found.rule is Rule.NOTHING:
        assert found.source == reply
    else:
        ast.parse(found.source)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_a_found_program_is_extracted_to_itself(reply: str) -> None:
    found = extract(reply, prompt=PROMPT, entry_point="add")
    again = extract(found.source, prompt=PROMPT, entry_point="add")
    if found.rule is not Rule.NOTHING:
        assert (again.source, again.rule) == (found.source, Rule.WHOLE_PROGRAM)
