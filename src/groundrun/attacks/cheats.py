"""Wrong solutions that want to be judged right, or not at all: the tricks that fool harnesses which share a process with the candidate."""

from __future__ import annotations

from groundrun.attacks.attack import Cheat
from groundrun.attacks.guards import Guard
from groundrun.attacks.puzzles import BALANCED, BIGGER_HALF, FILED, GROWN, ORDERED, STRICT
from groundrun.records import Problem

_STATUS = (Guard.SEPARATE_PROCESS, Guard.GRADERS_WORD)
_LOST = (Guard.GRADERS_WORD,)
_BLAMED = (Guard.BLAMED_CANDIDATE,)
_DATA = (Guard.INERT_OBJECTS,)
_APART = (Guard.SEPARATE_PROCESS,)
_BUILTIN = (Guard.BUILTIN_EXCEPTIONS,)
_INERT = (Guard.NOTED_REFUSALS,)
_COPIES = (Guard.ARGUMENT_COPIES,)
_ANSWER = "def bigger_half(numbers):\n"


def _cheat(name: str, tries: str, guards: tuple[Guard, ...], source: str, problem: Problem = BIGGER_HALF, *, unproven: str = "") -> Cheat:
    return Cheat(name=name, tries=tries, guards=guards, source=source, problem=problem, unproven=unproven)


EXITS = (
    _cheat("exit_at_import", "sys.exit(0) while the solution is loaded.", _LOST, "import sys\nsys.exit(0)\n"),
    _cheat("exit_in_function", "sys.exit(0) when called.", _STATUS, f"import sys\n{_ANSWER}    sys.exit(0)\n"),
    _cheat("hard_exit_at_import", "os._exit(0) while the solution is loaded.", _LOST, "import os\nos._exit(0)\n"),
    _cheat("hard_exit_in_function", "os._exit(0) when called.", _LOST, f"import os\n{_ANSWER}    os._exit(0)\n"),
    _cheat(
        "exit_from_thread",
        "os._exit(0) from a thread.",
        _LOST,
        f"import os, threading, time\nthreading.Thread(target=lambda: os._exit(0)).start()\ntime.sleep(0.2)\n{_ANSWER}    time.sleep(1)\n",
    ),
    _cheat(
        "exit_handler",
        "An exit handler that ends with status 0.",
        _STATUS,
        f"import atexit, os\natexit.register(os._exit, 0)\n{_ANSWER}    return []\n",
    ),
    _cheat(
        "excepthook",
        "An excepthook that ends with status 0.",
        _STATUS,
        f"import os, sys\nsys.excepthook = lambda *about: os._exit(0)\n{_ANSWER}    return []\n",
    ),
    _cheat("kill_itself", "SIGKILL to itself when called.", _BLAMED, f"import os\n{_ANSWER}    os.kill(os.getpid(), 9)\n"),
    _cheat(
        "print_passed",
        "Print what a harness prints when a solution passes.",
        _LOST,
        f"import os\n{_ANSWER}    os.write(1, b'passed\\nOK\\n{{\"passed\": true}}\\n')\n    print('passed')\n    os._exit(0)\n",
    ),
    _cheat(
        "swap_assertion_error",
        "Make AssertionError a way to end with status 0.",
        _STATUS,
        "import builtins\nbuiltins.AssertionError = lambda *words: SystemExit(0)\ndef strict_number(text):\n    return 12\n",
        STRICT,
    ),
    _cheat(
        "patch_builtins",
        "Replace sorted, len, isinstance and all by functions that agree.",
        _STATUS,
        "import builtins\nbuiltins.sorted = lambda *a, **k: []\nbuiltins.all = builtins.any = builtins.isinstance = lambda *a: True\n"
        "def ordered(numbers):\n    return []\n",
        ORDERED,
    ),
)

_ALWAYS = "    __eq__ = lambda self, other: True\n    __ne__ = lambda self, other: False\n    __hash__ = object.__hash__\n"
EQUALS = (
    _cheat("equal_object", "An object that equals everything.", _DATA, f"class All:\n{_ALWAYS}\n{_ANSWER}    return All()\n"),
    *(
        _cheat(
            f"equal_{kind}",
            f"A subclass of {kind} that equals everything.",
            _DATA,
            f"class All({kind}):\n{_ALWAYS}\n{_ANSWER}    return All()\n",
        )
        for kind in ("int", "list", "str", "tuple", "float", "dict")
    ),
    _cheat(
        "equal_inside",
        "A list of objects that equal everything.",
        _DATA,
        f"class All:\n{_ALWAYS}\n{_ANSWER}    return [All()] * ((len(numbers) + 1) // 2)\n",
    ),
    _cheat(
        "equal_metaclass",
        "A class whose metaclass equals everything.",
        _DATA,
        f"class Meta(type):\n{_ALWAYS}\nclass All(metaclass=Meta):\n    pass\n{_ANSWER}    return All\n",
    ),
    _cheat(
        "true_object",
        "An object that is true or false as the test wants it.",
        (),
        "import itertools\nclass Maybe:\n    turns = itertools.cycle([True, False, True])\n"
        "    def __bool__(self):\n        return next(self.turns)\n"
        f"{_ALWAYS}def balanced(text):\n    return Maybe()\n",
        BALANCED,
        unproven="its test asks 'is True', which no object of a candidate is in any process",
    ),
    _cheat(
        "not_implemented",
        "NotImplemented, which leaves comparing to the other side.",
        (),
        f"{_ANSWER}    return NotImplemented\n",
        unproven="Python's own == takes it for no answer; only a judge that asked __eq__ by itself would not",
    ),
    _cheat(
        "uncrossable_value",
        "A value that can't cross, in the hope of a weaker judge.",
        (Guard.JUDGE_BY_REFERENCE,),
        "import threading\nclass All:\n" + _ALWAYS + f"    lock = threading.Lock()\n{_ANSWER}    return All()\n",
    ),
    _cheat(
        "uncrossable_exception",
        "An exception whose arguments can't cross.",
        (),
        f"{_ANSWER}    raise AssertionError(open('/dev/null'), lambda: 1)\n",
        unproven="an exception fails the test in every process; what could be won is a mask, by a transport that breaks on its arguments",
    ),
)

LOOKING = (
    _cheat(
        "constants_of_callers",
        "Read the expected value out of the code of whoever calls.",
        _APART,
        "import dis, sys\n"
        + _ANSWER
        + "    frame = sys._getframe(1)\n    while frame:\n        found = []\n        for step in dis.get_instructions(frame.f_code):\n"
        "            if step.offset > frame.f_lasti:\n                if step.opname == 'COMPARE_OP':\n                    return found\n"
        "                if step.opname in ('LOAD_CONST', 'LOAD_SMALL_INT'):\n"
        "                    found += step.argval if isinstance(step.argval, tuple) else [step.argval]\n"
        "        frame = frame.f_back\n    return []\n",
    ),
    _cheat(
        "results_of_callers",
        "Write 'passed' into every list, dict and value found in the frames of callers.",
        _LOST,
        "import os, sys\n" + _ANSWER + "    frame = sys._getframe(1)\n    while frame:\n"
        "        for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):\n"
        "            try:\n                if type(value) is list:\n                    value.append('passed')\n"
        "                elif type(value) is dict and value is not sys.modules:\n"
        "                    value['passed'] = True\n                elif hasattr(value, 'value'):\n"
        "                    value.value = 0\n            except Exception:\n                pass\n"
        "        frame = frame.f_back\n    os._exit(0)\n",
    ),
    _cheat(
        "garbage_collector",
        "Find result lists and proxies through the garbage collector.",
        _LOST,
        "import gc, os\n" + _ANSWER + "    for item in gc.get_objects():\n        try:\n"
        "            if type(item).__name__ in ('ListProxy', 'Value', 'Synchronized', 'GuestJob'):\n"
        "                getattr(item, 'append', getattr(item, 'report', print))"
        '(b\'{"passed": [true], "failures": [], "lost": false, "used": [], "touched": []}\')\n'
        "        except Exception:\n            pass\n    os._exit(0)\n",
    ),
    _cheat(
        "own_test_file",
        "Find the tests as files, on the command line or in the working folder.",
        _LOST,
        "import glob, os\ntext = ''\n"
        "for path in ['/proc/self/cmdline', *glob.glob('*'), *glob.glob('../*'), *glob.glob('/tmp/*'), *glob.glob('/groundrun/*/*')]:\n"
        "    try:\n        text += open(path).read()\n    except (OSError, UnicodeDecodeError):\n        pass\n"
        "if 'one' in text and 'check' in text and 'assert' in text:\n    os._exit(0)\n" + _ANSWER + "    return []\n",
    ),
    _cheat(
        "tests_in_memory",
        "Search the own memory for the tests.",
        _APART,
        "import ast, gc\n" + _ANSWER + "    for item in gc.get_objects():\n"
        "        parts = list(item.values()) if type(item) is dict else list(item) if type(item) is list else []\n"
        "        parts += [value for part in parts if type(part) is dict for value in part.values()]\n"
        "        for value in parts:\n"
        "            if type(value) is str and 'def check(' + 'candidate)' in value:\n"
        "                for node in ast.walk(ast.parse(value)):\n"
        "                    if isinstance(node, ast.Compare) and ast.literal_eval(node.left.args[0]) == numbers:\n"
        "                        return ast.literal_eval(node.comparators[0])\n    return []\n",
    ),
    _cheat(
        "patch_transport",
        "Replace the parts of the function server that live in the own process, so that arguments seem to be results.",
        _LOST,
        "import sys\n" + _ANSWER + "    server = sys._getframe(1).f_globals\n    frame = sys._getframe(1)\n"
        "    while '_describe' not in frame.f_globals:\n        frame = frame.f_back\n"
        "    space = frame.f_globals\n    honest = space['encode']\n"
        "    def say(self, data):\n"
        "        number = space['VALUE_HEAD'].unpack_from(data)[1]\n"
        "        space['send_frame'](self._channel, honest((number, 'value', numbers, b'', ((0, []), (1, True)))))\n"
        "    space['_Server']._send = say\n    return numbers\n",
    ),
)

RAISING = (
    *(
        _cheat(
            f"raise_{name.lower()}",
            f"Raise {name} where any exception is expected, and where none is.",
            _BUILTIN if name in ("SkipTest", "StopIteration") else _INERT,
            f"import unittest\ndef strict_number(text):\n    raise {expression}\n",
            STRICT,
        )
        for name, expression in (
            ("SkipTest", "unittest.SkipTest('not today')"),
            ("SystemExit", "SystemExit(0)"),
            ("KeyboardInterrupt", "KeyboardInterrupt"),
            ("GeneratorExit", "GeneratorExit"),
            ("StopIteration", "StopIteration"),
            ("BaseException", "BaseException()"),
        )
    ),
    _cheat(
        "raise_own_exception",
        "Raise an exception of an own class whose text is a program.",
        _INERT,
        "class Skipped(BaseException):\n    __module__ = '_pytest.outcomes'\n"
        "    def __str__(self):\n        import os\n        os._exit(0)\n"
        "def strict_number(text):\n    raise Skipped\n",
        STRICT,
    ),
)

ARGUMENTS = (
    _cheat(
        "empty_the_argument",
        "Empty the argument in place, so that the test compares nothing with nothing.",
        _COPIES,
        "def ordered(numbers):\n    numbers.clear()\n    return []\n",
        ORDERED,
    ),
    _cheat(
        "empty_and_return_the_argument",
        "Empty the argument and return it, where the reference changes and returns its own.",
        (),
        "def grow(numbers):\n    numbers.clear()\n    return numbers\n",
        GROWN,
        unproven="its test sees the emptied list in one process too",
    ),
    _cheat(
        "argument_that_sorts_itself",
        "Change the argument from a thread.",
        _COPIES,
        "import threading, time\ndef ordered(numbers):\n"
        "    threading.Thread(target=numbers.clear, daemon=True).start()\n    time.sleep(0.05)\n    return []\n",
        ORDERED,
    ),
)

_NUMBER = "def strict_number(text):\n"
TEST_FILES = (
    _cheat(
        "skip_a_test_file",
        "Skip every test of a test file.",
        _STATUS,
        f"import unittest\n{_NUMBER}    raise unittest.SkipTest('no')\n",
        FILED,
    ),
    _cheat("end_a_test_file", "End the run of a test file.", _LOST, f"import os\n{_NUMBER}    os._exit(0)\n", FILED),
    _cheat(
        "report_of_a_test_file",
        "Print what unittest prints when all tests pass, at the end too.",
        _STATUS,
        "import atexit, os\nsaid = b'Ran 3 tests in 0.000s\\n\\nOK\\n'\natexit.register(os.write, 2, said)\n"
        f"{_NUMBER}    os.write(2, said)\n",
        FILED,
    ),
    _cheat(
        "patch_unittest",
        "Replace the assertions of unittest, and running tests altogether.",
        _STATUS,
        "import unittest\nunittest.TestCase.assertEqual = unittest.TestCase.run = lambda *a, **k: None\n"
        f"unittest.TestCase.assertTrue = unittest.TestCase.assertRaises = unittest.TestCase.run\n{_NUMBER}    return 12\n",
        FILED,
    ),
    _cheat(
        "names_for_import_all",
        "Define a builtin that a test file would use, for its 'import *'.",
        (Guard.REFERENCE_NAMES,),
        "def len(item):\n    return 1\n"
        "__all__ = ['len', 'strict_number']\n"
        f"{_NUMBER}    if text == 'x1':\n        raise ValueError\n    return 12\n",
        FILED,
    ),
)

CHEATS = (*EXITS, *EQUALS, *LOOKING, *RAISING, *ARGUMENTS, *TEST_FILES)
