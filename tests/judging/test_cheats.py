"""Wrong programs that want to be judged right, or not to be judged at all. Each is judged failed, on every rung."""

from __future__ import annotations

import pytest

from groundrun.engine import Engine
from groundrun.judging import Calibration, calibrate, judge
from groundrun.records import CallTest, CodeTest, Completion, Limits, Outcome, Problem, Verdict

pytestmark = pytest.mark.attack

REFERENCE = "def gap(numbers):\n    return max(numbers) - min(numbers)\n"
CHECK = """
def check(gap):
    assert gap([3, 1, 7]) == 6
    assert gap([5]) == 0
    assert all(map(lambda pair: gap(pair[0]) == pair[1], [([1, 2], 1), ([0, -4], 4)]))
    secret_4711 = 40
    assert abs(gap([2, 42, 7]) - secret_4711) < 1e-6
"""
LIMITS = Limits(cpu_s=1.0, wall_s=3.0, memory_bytes=256 << 20)
PROBLEM = Problem(
    task_id="gap",
    prompt="",
    entry_point="gap",
    reference=REFERENCE,
    hidden=(CodeTest(source=CHECK, call="check"), CallTest(arguments="([9, 4],)", expected="5")),
    limits=LIMITS,
)

HEAD = "import atexit, builtins, gc, os, signal, socket, struct, sys, threading, time\n"
CHEATS = {
    "sys.exit at import": "sys.exit(0)",
    "sys.exit in the function": "def gap(numbers):\n    sys.exit(0)",
    "os._exit at import": "os._exit(0)",
    "os._exit in the function": "def gap(numbers):\n    os._exit(0)",
    "os._exit in a thread": """
def gap(numbers):
    threading.Thread(target=lambda: os._exit(0)).start()
    time.sleep(1)
""",
    "exit handler": "atexit.register(os._exit, 0)\ndef gap(numbers):\n    raise SystemExit(0)",
    "exception hook": "sys.excepthook = lambda *a: os._exit(0)\ndef gap(numbers):\n    return None",
    "always equal": """
class Equal:
    __hash__ = None
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __sub__(self, other): return 0
    def __bool__(self): return True
def gap(numbers):
    return Equal()
""",
    "int that is always equal": """
class Equal(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __sub__(self, other): return 0
    __hash__ = int.__hash__
def gap(numbers):
    return Equal(1)
""",
    "metaclass": """
class Meta(type):
    def __eq__(self, other): return True
    __hash__ = type.__hash__
    def __sub__(self, other): return 0
class Equal(metaclass=Meta): pass
def gap(numbers):
    return Equal
""",
    "constants of the callers": """
def gap(numbers):
    frame = sys._getframe()
    while frame:
        for value in frame.f_code.co_consts:
            if type(value) is int and value > 1:
                return value
        for name, value in {**frame.f_globals, **frame.f_locals}.items():
            if name.startswith("secret") or name == "expected":
                return value
        frame = frame.f_back
    return 6 if numbers == [3, 1, 7] else None
""",
    "patches every function it finds": """
def gap(numbers):
    for thing in gc.get_objects():
        if isinstance(thing, type(gap)) and thing.__name__ in ("check", "report", "run_test"):
            thing.__code__ = (lambda *a, **k: None).__code__
        if isinstance(thing, list) and thing and thing[0] is None:
            thing[:] = [True] * len(thing)
    return None
""",
    "its own report": """
import json
def gap(numbers):
    said = json.dumps({"passed": [True, True], "failures": [], "lost": False, "used": [], "mutated": [], "returned": []}).encode()
    for thing in gc.get_objects():
        if type(thing).__name__ == "GuestJob":
            thing.report(said)
    os._exit(0)
""",
    "reads the test through /proc": """
import glob
def gap(numbers):
    for place in [name for pattern in ("/proc/*/cmdline", "/proc/*/environ", "*", "../*/*") for name in glob.glob(pattern)]:
        try:
            text = open(place, "rb").read()
        except OSError:
            continue
        if b"secret_4711" in text:
            return 40 if numbers == [2, 42, 7] else 6
    os._exit(0)
""",
    "kills itself": "def gap(numbers):\n    os.kill(os.getpid(), 9)",
    "prints success": "print('passed OK')\ndef gap(numbers):\n    print('passed'); return 'passed'",
    "swaps AssertionError": """
builtins.AssertionError = type("Never", (Exception,), {})
builtins.abs = lambda x: 0
def gap(numbers):
    return None
""",
    "skips": "import unittest\ndef gap(numbers):\n    raise unittest.SkipTest('not today')",
    "skip of a class of its own": "import unittest\nclass Mine(unittest.SkipTest, ValueError): pass\ndef gap(numbers):\n    raise Mine()",
    "interrupts": "def gap(numbers):\n    raise KeyboardInterrupt",
    "ends a generator": "def gap(numbers):\n    raise GeneratorExit",
    "ends the test's map": "def gap(numbers):\n    if len(numbers) == 2: raise StopIteration\n    return {7: 6, 5: 0}.get(numbers[-1], 0)",
    "speaks out of turn": """
def channel():
    for number in range(3, 64):
        try:
            if socket.socket(fileno=os.dup(number)).family == socket.AF_UNIX: return number
        except OSError: pass
def gap(numbers):
    os.write(channel(), b"\\xff" * 5000)
    return None
""",
    "answers for the next call": """
def gap(numbers):
    server = sys._getframe(1)
    while server and "sequence" not in server.f_locals:
        server = server.f_back
    this, sequence = server.f_locals["self"], server.f_locals["sequence"]
    for number in range(sequence, sequence + 5):
        this.answer((number, "ready", True, b"", ()))
    this.answer((sequence, "passed", True, b"", ()))
    return True
""",
    "endless": "def gap(numbers):\n    while True: pass",
    "sleeps": "def gap(numbers):\n    time.sleep(1000)",
    "ignores signals and burns": "signal.signal(signal.SIGXCPU, signal.SIG_IGN)\ndef gap(numbers):\n    while True: pass",
    "an endless generator": "def gap(numbers):\n    while True: yield 6",
    "colliding keys": """
def gap(numbers):
    return {k * (2**61 - 1): k for k in range(1, 3000)}
""",
    "a bomb of shared lists": """
def gap(numbers):
    bomb = []
    for _ in range(200):
        bomb = [bomb, bomb]
    return bomb
""",
    "a bomb of shared tuples as a key": """
def gap(numbers):
    bomb = ()
    for _ in range(60):
        bomb = (bomb, bomb)
    sys.setrecursionlimit(10**6)
    return [bomb]
""",
    "a cycle": "def gap(numbers):\n    a = []; a.append(a); return a",
    "very deep": "def gap(numbers):\n    a = []\n    for _ in range(100000): a = [a]\n    return a",
    "a huge number": "def gap(numbers):\n    return 1 << (8 * 40_000_000)",
    "a promise of 4 GB": """
def gap(numbers):
    for number in range(3, 64):
        try:
            os.write(number, struct.pack("<I", 0xFFFFFFF0))
        except OSError:
            pass
    time.sleep(2)
""",
    "eats memory": "def gap(numbers):\n    return len(bytearray(1 << 34))",
    "writes without end": "def gap(numbers):\n    while True: print('x' * 100000)",
    "not there": "def hole(numbers):\n    return 0",
    "does not compile": "def gap(numbers:\n    return 0",
    "nothing at all": "",
}


@pytest.fixture(scope="module")
def calibration(each_engine: Engine) -> Calibration:
    found = calibrate(each_engine, PROBLEM)
    assert found.passed and found.protected and not found.operations and not found.writes_back
    return found


def _judge(engine: Engine, source: str, calibration: Calibration, problem: Problem = PROBLEM) -> Verdict:
    return judge(engine, problem, Completion(task_id=problem.task_id, text="", solution=source), calibration)


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_fails(name: str, each_engine: Engine, calibration: Calibration) -> None:
    verdict = _judge(each_engine, HEAD + CHEATS[name], calibration)
    assert verdict.passed is False and verdict.score == 0.0 and verdict.protected
    assert verdict.reason and not any(word in verdict.reason for word in ("4711", "assert "))
    assert verdict.isolation is not None and verdict.isolation.rung.value == each_engine.isolation.rung.value


def test_an_honest_program_still_passes_after_all_that(each_engine: Engine, calibration: Calibration) -> None:
    verdict = _judge(each_engine, "def gap(n):\n    print('working')\n    s = sorted(n)\n    return s[-1] - s[0]\n", calibration)
    assert verdict.passed and verdict.score == 1.0 and [test.passed for test in verdict.tests] == [True, True]


@pytest.mark.parametrize(
    ("cheat", "outcome"),
    [
        ("endless", Outcome.CPU_LIMIT),
        ("sleeps", Outcome.WALL_LIMIT),
        ("kills itself", Outcome.SIGNALLED),
        ("eats memory", Outcome.MEMORY_LIMIT),
        ("writes without end", Outcome.OUTPUT_LIMIT),
        ("does not compile", Outcome.RAISED),
    ],
)
def test_the_outcome_says_how_it_ended(cheat: str, outcome: Outcome, engine: Engine) -> None:
    limits = Limits(cpu_s=0.5, wall_s=1.0 if outcome is Outcome.WALL_LIMIT else 30.0, memory_bytes=256 << 20)
    problem = Problem(task_id="gap", prompt="", entry_point="gap", hidden=PROBLEM.hidden, limits=limits)
    found = Calibration(protected=True, passed=True, reason="")
    assert _judge(engine, HEAD + CHEATS[cheat], found, problem).outcome is outcome


SWALLOWING = """
def check(f):
    for value in range(3):
        try:
            assert f(value) == value
        except BaseException:
            pass
"""


@pytest.mark.parametrize(
    "body",
    [
        "raise SystemExit",
        "raise KeyboardInterrupt",
        "return object()",
        "import os; os._exit(0)",
        "import unittest; raise unittest.SkipTest",
    ],
)
def test_test_code_that_swallows_everything_cannot_undo_a_failure(body: str, engine: Engine) -> None:
    problem = Problem(task_id="p", prompt="", entry_point="f", reference="def f(x): return x", hidden=(CodeTest(SWALLOWING, "check"),))
    strict = calibrate(engine, problem)
    assert strict.passed and strict.protected
    assert _judge(engine, f"def f(x):\n    {body}\n", strict, problem).passed is False
    assert _judge(engine, "def f(x):\n    return 17\n", strict, problem).passed is True  # what the test forgives is forgiven


def test_emptying_the_arguments_pleases_no_oracle(engine: Engine) -> None:
    cheat = "def f(xs):\n    xs.clear()\n    return []\n"
    code = CodeTest("def check(f):\n    xs = [3, 1, 2]\n    assert f(xs) == sorted(xs)\n", "check")
    oracle = "def oracle(arguments, got, expected):\n    return got == sorted(arguments[0])\n"
    for reference in ("def f(xs): return sorted(xs)", "def f(xs):\n    xs.sort()\n    return xs\n"):
        for test in (code, CallTest(arguments="([3, 1, 2],)", oracle=oracle)):
            problem = Problem(task_id="p", prompt="", entry_point="f", reference=reference, hidden=(test,))
            found = calibrate(engine, problem)
            assert found.passed and found.protected and not found.writes_back
            assert _judge(engine, cheat, found, problem).passed is False
            assert _judge(engine, reference, found, problem).passed is True


TEXT = Problem(
    task_id="t",
    prompt="",
    entry_point="f",
    reference="def f(s): return s.upper()",
    hidden=(
        CodeTest("def check(f):\n    assert f('ab').startswith('AB')\n    assert 'A' in f('xa')\n    assert f('k').isupper()\n", "check"),
    ),
)
OBLIGING = """
class Obliging:
    def startswith(self, part): return True
    def isupper(self): return True
    def __contains__(self, part): return True
    def __iter__(self): return iter('ABKX')
    def __len__(self): return 1
    def __str__(self): return 'AB'
"""


def test_methods_of_its_own_do_not_answer_for_a_string(engine: Engine) -> None:
    found = calibrate(engine, TEXT)
    assert found.passed and found.operations == ()
    for kind in ("", "(str)"):
        source = OBLIGING.replace("class Obliging", f"class Obliging{kind}") + "def f(s): return Obliging()\n"
        assert _judge(engine, source, found, TEXT).passed is False


def test_operations_beyond_the_reference_are_refused_where_handles_are_allowed(engine: Engine) -> None:
    check = "assert next(iter(f(1))) == 1\nassert f(0).name.startswith('x')\n"
    reference = """
class Bag:
    name = 'xyz'
    def __iter__(self): return iter([1])
def f(x): return Bag()
"""
    problem = Problem(task_id="h", prompt="", entry_point="f", reference=reference, hidden=(CodeTest(check),))
    found = calibrate(engine, problem)
    assert found.passed and found.protected and {each for _, each, gives in found.operations if not gives} == {"iter", "next", "get name"}
    assert _judge(engine, reference, found, problem).passed is True
    cheat = reference.replace(
        "    name = 'xyz'", "    @property\n    def name(self): return self\n    def startswith(self, x): return True"
    )
    assert _judge(engine, cheat, found, problem).passed is False


def test_an_object_that_changes_its_mind_while_it_is_iterated(engine: Engine) -> None:
    check = """
def check(f):
    got = f([2, 1])
    assert all(a <= b for a, b in zip(list(got), list(got)[1:]))
    assert sorted(got) == [1, 2]
"""
    problem = Problem(task_id="i", prompt="", entry_point="f", reference="def f(x): return sorted(x)", hidden=(CodeTest(check, "check"),))
    cheat = """
class Fickle:
    def __init__(self, x): self.x, self.asked = x, 0
    def __iter__(self):
        self.asked += 1
        return iter([] if self.asked < 3 else self.x)
def f(x): return Fickle(x)
"""
    assert _judge(engine, cheat, calibrate(engine, problem), problem).passed is False


def test_what_kills_the_grader_is_the_candidates_failure_never_a_mask(engine: Engine) -> None:
    check = "def check(f):\n    assert len(set(f(3))) == 3\n    assert f(1) == [0]\n"
    problem = Problem(
        task_id="k", prompt="", entry_point="f", reference="def f(n): return list(range(n))", hidden=(CodeTest(check, "check"),)
    )
    quick = Calibration(protected=True, passed=True, reason="", grader_cpu_s=0.0)
    hungry = "def f(n): return range(10**12)\n"  # set() of it needs more memory than the grader has
    verdict = _judge(engine, hungry, quick, problem)
    assert verdict.passed is False and verdict.protected


LEAK = "def gap(n): raise type(f'saw {n}', (ValueError,), {})(n)"


def test_a_hidden_expectation_is_not_in_what_may_be_shown(engine: Engine, each_engine: Engine) -> None:
    found = calibrate(engine, PROBLEM)
    for source in ("def gap(n): return -1", "def gap(n): raise ValueError(str(n))", "def gap(n): raise SystemExit(str(n))", LEAK):
        verdict = _judge(engine, source, found)
        assert verdict.evidence is not None
        shown = repr(verdict.evidence.redacted()) + verdict.reason
        assert not any(word in shown for word in ("[3, 1, 7]", "== 6", "4711"))
