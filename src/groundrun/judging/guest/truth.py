"""What the reference says: its result for every input of a differential test, found once, in a jail of its own, before any candidate runs.

Payload: JSON `{"name", "inputs", "tolerance", "oracle"}`. Report: JSON `{"seconds", "left_out", "refused"}`: processor time of each call;
the numbers of inputs whose result is too large to cross from any candidate, asked of nobody; and of those whose result, once it has
crossed, would not be taken for right: NaN, say, or an oracle that refuses. The answer itself goes to standard output, which the reference
can't reach by `print`: a pickle of `(inputs, results, digests)` without what was left out; only jailed graders load it.
`digests` maps a place to (length, BLAKE2b) where a result is a long string and no oracle wants to see it: equal strings need no more.

Each call gets a copy of its own of the arguments. A result that no other process could load is kept as NaN, which equals nothing and can
only be told from None.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import sys
import time
import types
from typing import Any

from groundrun.engine.guest.decoding import DecodeError, decode
from groundrun.engine.guest.job import GuestJob
from groundrun.engine.guest.transport import EncodeError, encode
from groundrun.judging.guest.differential import Rule, digest_of, load_oracle

PROTOCOL = 4  # the newest that every interpreter from 3.10 on reads
NAME = "reference"
LONG = 4096  # characters of a string from which on its digest is kept


def main(job: GuestJob) -> None:
    """Run the reference on every input. What it raises ends the run."""
    task = json.loads(job.payload)
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
    for number, data in enumerate(kept):
        arguments = pickle.loads(data)
        began = time.process_time()
        result = entry(*arguments)
        seconds.append(round(time.process_time() - began, 6))
        try:
            crossed = decode(encode(result, keep=lambda item: (0, "")), restore=lambda place, name: object())
        except (EncodeError, DecodeError):
            left_out.append(number)
            continue
        pristine = pickle.loads(data)
        if not (rule.agree(crossed, result) if oracle is None else oracle(pristine, crossed, result)):
            refused.append(number)
        if oracle is None and type(result) is str and len(result) > LONG:
            digests[len(results)] = (len(result), digest_of(result))
            result = None
        asked.append(pristine)
        results.append(result if _can_be_kept(result) else math.nan)
    job.report(json.dumps({"seconds": seconds, "left_out": left_out, "refused": refused}).encode())
    view = memoryview(pickle.dumps((asked, results, digests), PROTOCOL))
    while view:
        view = view[os.write(out, view) :]


def _can_be_kept(result: object) -> bool:
    """Whether a grader, which has the standard library and not the reference, can load it."""
    try:
        return NAME.encode() not in pickle.dumps(result, PROTOCOL) if _is_odd(result) else True
    except Exception:
        return False


def _is_odd(result: object) -> bool:
    """Quick: results of the commonest types need no trial."""
    if type(result) in (int, float, bool, str, bytes, complex, types.NoneType):
        return False
    if type(result) in (list, tuple, set, frozenset):
        return any(map(_is_odd, result))  # type: ignore[call-overload]
    return type(result) is not dict or any(_is_odd(key) or _is_odd(value) for key, value in result.items())
