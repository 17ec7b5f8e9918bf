"""Operations on objects that stay behind: allowed where the reference's object needed them, and nowhere else."""

from __future__ import annotations

import pytest

from groundrun.engine import Engine
from groundrun.judging import Calibration, calibrate, judge
from groundrun.judging.guest.handles import NOT_PLAIN
from groundrun.judging.guest.kinds import ENTRY, Kinds, Met, locate, merge
from groundrun.records import CodeTest, Completion, FileTest, Problem, Test


def _calibrate(engine: Engine, problem: Problem) -> Calibration:
    found = calibrate(engine, problem)
    assert found.passed and found.protected, found.reason
    return found


def _passes(engine: Engine, problem: Problem, source: str, calibration: Calibration) -> bool | None:
    verdict = judge(engine, problem, Completion(task_id="k", text=source), calibration)
    assert verdict.protected
    return verdict.passed


def _problem(reference: str, test: Test | str, entry_point: str | None = "f") -> Problem:
    hidden = (CodeTest(test) if isinstance(test, str) else test,)
    return Problem(task_id="k", prompt="", entry_point=entry_point, reference=reference, hidden=hidden)


BAG = """
class Bag:
    def __init__(self): self.items = []
    def put(self, x): self.items.append(x)
    def names(self): return self.items
    def pair(self): return self.items, self
    def __contains__(self, x): return x in self.items
"""
YES = "class Yes:\n    def __contains__(self, x): return True\n    def __len__(self): return 1\n"


@pytest.mark.exec
@pytest.mark.parametrize(
    ("test", "methods"),
    [
        ("assert 'a' in b and 'b' in b.names()", "names = lambda self: Yes()"),
        ("assert 'a' in b and 'b' in b.names()", "names = lambda self: self"),
        ("assert 'a' in b and 'b' in b.items", "items = Yes()"),
        ("names, same = b.pair()\nassert 'a' in same and 'b' in names", "pair = lambda self: (Yes(), self)"),
        ("names, same = b.pair()\nassert 'a' in same and 'b' in names", "pair = lambda self: [Yes(), self]"),
        ("names, same = b.pair()\nassert 'a' in same and 'b' in names", "pair = lambda self: (self, self)"),
    ],
)
def test_no_operation_is_borrowed_from_another_place(test: str, methods: str, engine: Engine) -> None:
    problem = _problem(BAG, f"b = Bag()\nb.put('a')\nb.put('b')\n{test}\n", "Bag")
    found = _calibrate(engine, problem)
    assert _passes(engine, problem, f"{YES}class Bag(Yes):\n    put = lambda self, x: None\n    {methods}\n", found) is False
    assert _passes(engine, problem, BAG, found)


NODES = """
class Node:
    def __init__(self, value, next=None): self.value, self.next = value, next
def f(n):
    head = None
    for i in range(n): head = Node(i, head)
    return head
"""
WALK = """
def walk(n):
    node, got = f(n), []
    while node is not None:
        got.append(node.value)
        node = node.next
    return got
assert walk(2) == [1, 0] and walk(5) == [4, 3, 2, 1, 0]
"""
TREE = """
class Tree:
    def __init__(self, value, left=None, right=None): self.value, self.left, self.right = value, left, right
def f(xs):
    tree = None
    for x in reversed(xs): tree = Tree(x, None, tree)
    return tree
"""
BALANCED = """
class Tree:
    def __init__(self, value, left=None, right=None): self.value, self.left, self.right = value, left, right
def f(xs):
    return Tree(xs[len(xs) // 2], f(xs[:len(xs) // 2]), f(xs[len(xs) // 2 + 1:])) if xs else None
"""
IN_ORDER = """
def walk(t): return [] if t is None else [*walk(t.left), t.value, *walk(t.right)]
assert walk(f([1, 2, 3, 4])) == [1, 2, 3, 4]
"""
CHAIN = "class Q:\n    def __init__(self): self.n = 0\n    def add(self, x):\n        self.n += x\n        return self\n"
RING = """
class N: pass
def f():
    a, b = N(), N()
    a.to, b.to, a.v, b.v = b, a, 1, 2
    return {'first': a, 'all': [a, b], 'none': [], 'n': 2}
"""
TERMS = """
class Num:
    def __init__(self, v): self.v = v
    def eval(self): return self.v
class Add:
    def __init__(self, *parts): self.parts = parts
    def eval(self): return sum(p.eval() for p in self.parts)
def f(x): return Num(x) if isinstance(x, int) else Add(*map(f, x))
"""
ONE_CLASS = """
class T:
    def __init__(self, x): self.x = x
    @property
    def v(self): return self.x
    @property
    def parts(self): return tuple(map(T, self.x))
    def eval(self): return self.x if isinstance(self.x, int) else sum(p.eval() for p in self.parts)
def f(x): return T(x)
"""
CURRIED = "def f(a): return lambda b: lambda c: a + b + c"
PARTIAL = "from functools import partial\ndef g(a, b, c): return a + b + c\ndef f(a): return lambda b: partial(g, a, b)\n"
COUNTING = "def f():\n    n = 0\n    while True:\n        yield n\n        n += 1\n"
GENERATED = "def g(n):\n    yield f(n)\n    yield f(n)\n"
CACHED = "import functools\n@functools.cache\ndef f(x): return x\n"


@pytest.mark.exec
@pytest.mark.parametrize(
    ("reference", "test", "entry_point", "other"),
    [
        (NODES, WALK, "f", NODES.replace("Node", "Link")),
        (TREE, IN_ORDER, "f", BALANCED),
        (CHAIN, "q = Q()\nassert q.add(1).add(2) is q and q.add(3).n == 6", "Q", CHAIN.replace("Q:", "Q(dict):")),
        (RING, "d = f()\na = d['first']\nassert a.to.to is a and [n.v for n in d['all']] == [1, 2] and d['n'] == 2", "f", RING),
        (TERMS, "assert f(3).eval() == 3 and f([1, [2, 3]]).eval() == 6 and f([1]).parts[0].v == 1", "f", ONE_CLASS),
        (CURRIED, "assert f(1)(2)(3) == 6", "f", PARTIAL),
        (COUNTING, "g = f()\nassert [next(g), next(g), next(g)] == [0, 1, 2]", "f", "import itertools\ndef f(): return itertools.count()"),
        (NODES + "def g(n): return iter([f(n), f(n)])", "assert [n.value for n in g(3)] == [2, 2]", "g", NODES + GENERATED),
        (CACHED, "f(1), f(1)\nassert f.cache_info().hits == 1", "f", CACHED.replace("cache", "lru_cache(None)")),
    ],
)  # fmt: skip
def test_structures_are_judged_through_handles(reference: str, test: str, entry_point: str, other: str, engine: Engine) -> None:
    problem = _problem(reference, test, entry_point)
    found = _calibrate(engine, problem)
    assert found.operations
    assert _passes(engine, problem, other, found)


SHELF = """
class Shelf:
    def __init__(self): self.books = {}
    def put(self, book): self.books[book] = 1
    def names(self): return list(self.books)
    def pair(self): return self, [1, 2]
    def each(self): return iter(self.books)
"""
SHELVED = """
s = Shelf()
s.put('b')
s.put('a')
assert sorted(s.names()) == ['a', 'b'] and len(list(s.names())) == 2
same, numbers = s.pair()
assert same is s and sum(numbers) == 3
it = s.each()
assert next(it) == 'b'
assert list(it) == ['a']
"""


@pytest.mark.exec
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("list(self.books)", "self.books.keys()"),
        ("list(self.books)", "iter(self.books)"),
        ("list(self.books)", "map(str, self.books)"),
        ("return list(self.books)", "yield from self.books"),
        ("[1, 2]", "(n for n in (1, 2))"),
        ("iter(self.books)", "(book for book in self.books)"),
    ],
)
def test_an_iterator_may_come_where_the_reference_gave_a_list(old: str, new: str, engine: Engine) -> None:
    problem = _problem(SHELF, SHELVED, "Shelf")
    found = _calibrate(engine, problem)
    assert found.operations and _passes(engine, problem, SHELF.replace(old, new), found)


@pytest.mark.exec
def test_an_iterator_that_the_reference_left_alone_may_have_no_end(engine: Engine) -> None:
    source = "import itertools\nclass C:\n    def all(self): return itertools.count()\n    def n(self): return 3\n"
    problem = _problem(source, "c = C()\nassert c.all() is not None and c.n() == 3", "C")
    assert _passes(engine, problem, source, _calibrate(engine, problem))


@pytest.mark.exec
def test_an_object_that_lacks_an_operation_is_the_reason(engine: Engine) -> None:
    problem = _problem(SHELF, SHELVED, "Shelf")
    odd = SHELF.replace("return list(self.books)", "return Odd()") + "class Odd: pass\n"
    verdict = judge(engine, problem, Completion(task_id="k", text=odd))
    assert verdict.passed is False and verdict.reason == NOT_PLAIN


@pytest.mark.exec
def test_members_of_modules_have_kinds_of_their_own(engine: Engine) -> None:
    file = FileTest("""
import solution
from solution import Bag, make
def test_all():
    bag = make()
    bag.put('a')
    assert 'a' in bag and 'a' in bag.names() and type(bag) is not Bag
    solution.default.put('b')
    assert 'b' in solution.default and solution.names == ['c']
    assert solution.default is solution.get_default()
""", style="pytest")  # fmt: skip
    more = "def make(): return Bag()\ndefault = Bag()\ndef get_default(): return default\nnames = ['c']\n"
    problem = _problem(BAG + more, file, None)
    found = _calibrate(engine, problem)
    assert _passes(engine, problem, BAG + more, found)
    cheat = f"{YES}class Bag(Yes):\n    put = lambda s, x: None\n    names = lambda s: Yes()\n{more}"
    assert _passes(engine, problem, cheat, found) is False


def _use(*uses: tuple[str, str, str]) -> set[tuple[str, str, str]]:
    return set(uses)


@pytest.mark.unit
def test_kinds_that_came_about_in_one_place_become_one() -> None:
    uses, names = merge(
        _use((ENTRY, "call", "<B>"), (ENTRY, "call", "<A>"), ("<A>", "get x", "<C>"), ("<B>", "get x", "<D>"), ("<D>", "len", ""))
    )
    assert names == {"<B>": "<A>", "<D>": "<C>"}
    assert uses == ((("<A>", "get x", "<C>"), ("<C>", "len", ""), (ENTRY, "call", "<A>")))
    assert merge(()) == ((), {})


@pytest.mark.unit
def test_an_attribute_that_was_always_none_may_hold_another_of_its_kind() -> None:
    uses, _ = merge(_use(("<N>", "get left", "None"), ("<N>", "get next", "None"), ("<N>", "get next", "<M>"), (ENTRY, "get x", "None")))
    assert uses == (("<N>", "get left", "<N>"), ("<N>", "get next", "<M>"))


@pytest.mark.unit
@pytest.mark.parametrize(
    ("value", "positions"),
    [
        ("@", [""]),
        (["@", "@"], ["[]", "[]"]),
        (["@", None, []], ["[]"]),
        (["@", 1], ["[0]"]),
        (("a", {"k": "@", "n": 1}), ["[1][k]"]),
        ([["@", "@"], ["@"]], ["[][]"] * 3),
        ({1: "@", 2: [1]}, ["[1]"]),
        ({1, 2}, []),
    ],
)
def test_positions_of_objects_in_an_answer(value: object, positions: list[str]) -> None:
    met: list[Met] = []

    def build(part: object) -> object:
        if part == "@":
            met.append(Met(len(met), "x"))
            return met[-1]
        if isinstance(part, dict):
            return {key: build(each) for key, each in part.items()}
        return type(part)(map(build, part)) if isinstance(part, (list, tuple)) else part

    locate(build(value))
    assert [each.position for each in met] == positions


@pytest.mark.unit
def test_the_same_container_twice_and_cycles_end() -> None:
    met = Met(0, "x")
    inner: list[object] = [met]
    inner.append(inner)
    locate([inner, inner])
    assert met.position == "[][]"
    bomb: list[object] = [Met(1, "x")]
    for _ in range(200):
        bomb = [bomb, bomb]
    locate(bomb)


@pytest.mark.unit
def test_an_object_in_an_unknown_place_can_do_nothing() -> None:
    learning, met = Kinds(None), Met(0, "m.Bag")
    met.position = ""
    assert learning.sort(met, ENTRY, "call") == "<m.Bag>"
    learned, _ = merge(learning.used)
    kinds = Kinds([*learned, ("<m.Bag>", "len", "")])
    kind = kinds.sort(met, ENTRY, "call")
    assert kind == "<m.Bag>" and kinds.permits(kind, "len") and not kinds.permits(kind, "iter")
    nothing = kinds.sort(met, kind, "get names")
    assert not kinds.permits(nothing, "len") and list(kinds.operations_of(nothing) or ()) == []
