"""What the reference says: its result for every input of a differential test, found once, in a jail of its own, before any candidate runs.

Payload: JSON `{"name", "inputs", "tolerance", "oracle"}`. Report: JSON `{"seconds", "left_out", "refused", "uncrossable"}`: processor time
of each call; the numbers of inputs that are asked of nobody, because they or the reference's result are too large to cross, or because
the reference raised; those where the reference raised, or its result would not be taken for right once it has crossed (NaN, say, or an
oracle that refuses); and in words why an input can't cross at all. The answer itself goes to standard output, which the reference can't
reach by `print`: a pickle of `(inputs, results, digests)` without what was left out; only jailed graders load it.
`digests` maps a place to (length, BLAKE2b) where a result is a long string and no oracle wants to see it: equal strings need no more.

Each call gets a copy of its own of the arguments. A result that no other process could load is kept as NaN, which equals nothing and can
only be told from None.
"""

from __future__ import annotations

import functools
import gc
import json
import math
import operator
import os
import pickle
import sys
import time
import types
from array import array
from typing import Any

from groundrun.engine.guest.decoding import DecodeError, decode
from groundrun.engine.guest.job import GuestJob
from groundrun.engine.guest.transport import MAX_BYTES, EncodeError, encode
from groundrun.judging.guest.differential import GC_THRESHOLD, Rule, digest_of, load_oracle

PROTOCOL = 4  # the newest that every interpreter from 3.10 on reads
NAME = "reference"
LONG = 4096  # characters of a string from which on its digest is kept


def main(job: GuestJob) -> None:
    """Run the reference on every input. What it raises ends the run."""
    task = json.loads(job.payload)
    gc.set_threshold(*GC_THRESHOLD)
    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.path.insert(0, os.getcwd())
    inputs = eval(compile(task["inputs"].strip(), "<inputs>", "eval", dont_inherit=True), {"inf": math.inf, "nan": math.nan})
    kept = [pickle.dumps(tuple(arguments), PROTOCOL) for arguments in inputs]  # apart, so that no input shares a list with another
    module = types.ModuleType(NAME)
    sys.modules[NAME] = module
    exec(compile(job.source, "<reference>", "exec", dont_inherit=True), module.__dict__)
    entry = module.__dict__[task["name"]]
    rule = Rule(task["tolerance"])
    oracle = load_oracle(task["oracle"], rule.agree)
    asked: list[Any] = []
    results: list[Any] = []
    seconds: list[float] = []
    digests: dict[int, tuple[int, bytes]] = {}
    left_out: list[int] = []
    refused: list[int] = []
    uncrossable = ""
    for number, data in enumerate(kept):
        arguments, pristine = pickle.loads(data), pickle.loads(data)
        foreign = _find_foreign(pristine)
        if foreign and not uncrossable:
            uncrossable = f"input {number} holds a {foreign}, which is not plain data"
        began = time.process_time()
        try:
            result = entry(*arguments)
        except Exception:
            refused.append(number)
            left_out.append(number)
            continue
        finally:
            seconds.append(round(time.process_time() - began, 6))
        try:
            crossed, odd = (result, "") if _is_flat(result) else _cross(result)
        except (EncodeError, DecodeError):
            foreign = None
        if foreign is None:
            left_out.append(number)
            continue
        try:
            right = rule.agree(crossed, result) if oracle is None else bool(oracle(pristine, crossed, result))
        except Exception:
            right = False
        if not right:
            refused.append(number)
        if oracle is None and type(result) is str and len(result) > LONG:
            digests[len(results)] = (len(result), digest_of(result))
            result = None
        asked.append(pristine)
        results.append(result if not odd or _can_be_kept(result) else math.nan)
    job.report(json.dumps({"seconds": seconds, "left_out": left_out, "refused": refused, "uncrossable": uncrossable}).encode())
    view = memoryview(pickle.dumps((asked, results, digests), PROTOCOL))
    while view:
        view = view[os.write(out, view) :]


def _find_foreign(arguments: object) -> str | None:
    """The type of a part that is not plain data, empty when there is none; None when the whole is too large to cross."""
    odd: list[str] = []
    try:
        encode(arguments, keep=functools.partial(_note, odd))
    except EncodeError:
        return None
    return odd[0] if odd else ""


def _cross(value: object) -> tuple[object, str]:
    """A value as it arrives on the other side, and the type of a part that doesn't. Raises EncodeError or DecodeError for one too large."""
    odd: list[str] = []
    data = encode(value, keep=functools.partial(_note, odd))
    return decode(data, restore=lambda place, name: object()), odd[0] if odd else ""


def _note(odd: list[str], item: object) -> tuple[int, str]:
    odd.append(type(item).__name__)
    return 0, ""


def _is_flat(value: Any) -> bool:
    """Whether this is a list or tuple of small numbers that certainly arrives as it is: long ones need no trial."""
    if type(value) not in (list, tuple) or len(value) > MAX_BYTES // 16 or not set(map(type, value)) <= {int, float}:
        return False
    try:
        array("q", [each for each in value if type(each) is int])
    except OverflowError:
        return False
    return not any(map(operator.ne, value, value))  # NaN


def _can_be_kept(result: object) -> bool:
    """Whether a grader, which has the standard library and not the reference, can load it."""
    try:
        return NAME.encode() not in pickle.dumps(result, PROTOCOL)
    except Exception:
        return False
