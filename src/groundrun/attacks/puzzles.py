"""The problems that cheats pretend to solve: small ones of our own, each with the kind of test that its cheats are after."""

from __future__ import annotations

from groundrun.records import CallTest, CodeTest, FileTest, Limits, Problem

_LIMITS = Limits(cpu_s=0.6, wall_s=1.0, memory_bytes=256 << 20)

BIGGER_HALF = Problem(
    task_id="attacks/bigger_half",
    prompt='def bigger_half(numbers):\n    """The larger half of the numbers, smallest first; of an odd count the middle one too."""\n',
    entry_point="bigger_half",
    reference="def bigger_half(numbers):\n    return sorted(numbers)[len(numbers) // 2:]\n",
    hidden=(
        CodeTest(
            source=(
                "def check(candidate):\n"
                "    assert candidate([3, 1, 2, 4]) == [3, 4]\n"
                "    assert candidate([9]) == [9], 'one'\n"
                "    assert candidate([5, 5, 1, 0, -2]) == [1, 5, 5]\n"
                "    assert candidate([7, 7, 7, 7]) == [7, 7]\n"
            ),
            call="check",
        ),
    ),
    limits=_LIMITS,
)

ORDERED = Problem(
    task_id="attacks/ordered",
    prompt='def ordered(numbers):\n    """The numbers, smallest first."""\n',
    entry_point="ordered",
    reference="def ordered(numbers):\n    return sorted(numbers)\n",
    hidden=(
        CodeTest(source="numbers = [3, 1, 2]\nassert ordered(numbers) == sorted(numbers)\n", name="against the argument"),
        CallTest(
            arguments="([4, 2, 8],)",
            expected="[2, 4, 8]",
            oracle="def oracle(arguments, got, expected):\n    return got == sorted(arguments[0])\n",
            name="oracle on the arguments",
        ),
    ),
    limits=_LIMITS,
)

STRICT = Problem(
    task_id="attacks/strict_number",
    prompt='def strict_number(text):\n    """The number that a text of digits stands for. Raises ValueError for any other text."""\n',
    entry_point="strict_number",
    reference=("def strict_number(text):\n    if not text.isdigit():\n        raise ValueError(text)\n    return int(text)\n"),
    hidden=(
        CodeTest(
            source=(
                "try:\n    strict_number('x1')\nexcept Exception:\n    pass\nelse:\n    raise AssertionError('no exception')\n"
                "try:\n    answer = strict_number('12')\nexcept BaseException:\n    answer = 12\nassert answer == 12\n"
            ),
        ),
    ),
    limits=_LIMITS,
)

BALANCED = Problem(
    task_id="attacks/balanced",
    prompt='def balanced(text):\n    """Whether every opened bracket is closed."""\n',
    entry_point="balanced",
    reference=(
        "def balanced(text):\n    depth = 0\n    for letter in text:\n        depth += (letter == '(') - (letter == ')')\n"
        "        if depth < 0:\n            return False\n    return depth == 0\n"
    ),
    hidden=(
        CodeTest(source="assert balanced('(())')\nassert not balanced(')(')\nassert balanced('') is True\n"),
        CallTest(arguments="('(()',)", expected="False"),
    ),
    limits=_LIMITS,
)

FILED = Problem(
    task_id="attacks/filed",
    prompt='def strict_number(text):\n    """The number that a text of digits stands for. Raises ValueError for any other text."""\n',
    reference=STRICT.reference,
    hidden=(
        FileTest(
            "import unittest\nfrom solution import *\n\nclass TestNumber(unittest.TestCase):\n"
            "    def test_digits(self):\n        self.assertEqual(strict_number('12'), 12)\n"
            "    def test_length(self):\n        self.assertTrue(all(len(str(strict_number(text))) == len(text) for text in ('1', '20')))\n"
            "    def test_letters(self):\n        self.assertRaises(ValueError, strict_number, 'x1')\n"
        ),
    ),
    limits=_LIMITS,
)

GROWN = Problem(
    task_id="attacks/grow",
    prompt='def grow(numbers):\n    """Append the sum of the list to it, in place, and return the list."""\n',
    entry_point="grow",
    reference="def grow(numbers):\n    numbers.append(sum(numbers))\n    return numbers\n",
    hidden=(
        CodeTest(source="numbers = [1, 2]\nassert grow(numbers) is numbers\nassert numbers == [1, 2, 3]\nassert grow([4]) == [4, 4]\n"),
    ),
    limits=_LIMITS,
)
