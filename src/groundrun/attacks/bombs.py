"""Wrong solutions that attack the grader: answers that are slow to decode or compare, endless, huge, or no answers at all.

What they want is a mask: no verdict is better than a failed one, for a policy that is trained on verdicts.
"""

from __future__ import annotations

from groundrun.attacks.attack import Cheat
from groundrun.attacks.guards import Guard
from groundrun.attacks.puzzles import BALANCED, BIGGER_HALF
from groundrun.records import Problem

_CAPS = (Guard.DECODER_CAPS, Guard.BLAMED_CANDIDATE)
_LIMITS = (Guard.BLAMED_CANDIDATE,)
_FRAMES = (Guard.CHECKED_ANSWERS, Guard.BLAMED_CANDIDATE)
_WRONG_AT_ONCE = "also without a cap it arrives, and its first part is found wrong: only a test that walks all of an answer would suffer"
_ANSWER = "def bigger_half(numbers):\n"
_CHANNEL = "import os, socket, struct\nchannel = socket.socket(fileno=3)\n"


def _bomb(
    name: str, tries: str, source: str, guards: tuple[Guard, ...] = _CAPS, problem: Problem = BIGGER_HALF, *, unproven: str = ""
) -> Cheat:
    return Cheat(name=name, tries=tries, guards=guards, source=source, problem=problem, unproven=unproven)


BOMBS = (
    _bomb(
        "colliding_keys",
        "A dict and a set of 6,000 numbers with the same hash.",
        "import sys\n_P = sys.hash_info.modulus\n"
        + _ANSWER
        + "    return {n * _P: 0 for n in range(6000)}, {n * _P for n in range(6000)}\n",
        _LIMITS,
    ),
    _bomb(
        "colliding_dict",
        "Copies of a dict of 6,000 numbers with the same hash: copying is cheap, building is not.",
        "import sys\n_P = sys.hash_info.modulus\n"
        + _ANSWER
        + "    made = {n * _P: 0 for n in range(6000)}\n    return [made.copy() for _ in range(24)]\n",
        _LIMITS,
    ),
    _bomb(
        "shared_graph",
        "A list that holds itself twice, forty levels deep.",
        _ANSWER + "    made = [1]\n    for _ in range(40):\n        made = [made, made]\n    return made\n",
        (),
        unproven=_WRONG_AT_ONCE,
    ),
    _bomb(
        "shared_graph_of_tuples",
        "A tuple as dict key that holds itself twice, forty levels deep, so that hashing it never ends.",
        "import sys\n" + _ANSWER + "    made = (1,)\n    for _ in range(40):\n        made = (made, made)\n"
        "    frame = sys._getframe(1)\n    return {1: made, 2: [made]}\n",
        (),
        unproven=_WRONG_AT_ONCE,
    ),
    _bomb(
        "deep_nesting",
        "A list nested a million levels deep.",
        _ANSWER + "    made = []\n    for _ in range(1000000):\n        made = [made]\n    return made\n",
    ),
    _bomb(
        "cyclic",
        "A list that holds itself.",
        _ANSWER + "    made = []\n    made.append(made)\n    return made\n",
        (),
        unproven=_WRONG_AT_ONCE,
    ),
    _bomb("huge_number", "A number of a hundred million bits.", _ANSWER + "    return 1 << 100_000_000\n", (), unproven=_WRONG_AT_ONCE),
    _bomb("huge_text", "A text of two hundred million letters.", _ANSWER + "    return 'x' * 200_000_000\n", _LIMITS),
    _bomb("many_values", "A list of three million lists.", _ANSWER + "    return [[] for _ in range(3_000_000)]\n", _LIMITS),
    _bomb(
        "nan",
        "NaN, which equals nothing and hides in containers.",
        "_N = float('nan')\n" + _ANSWER + "    return [_N] * len(numbers)\n",
        (),
        unproven=_WRONG_AT_ONCE,
    ),
    _bomb(
        "endless_iterator",
        "An iterator without end.",
        "import itertools\n" + _ANSWER + "    return itertools.count()\n",
    ),
    _bomb("endless_loop", "Never answer, busily.", _ANSWER + "    while True:\n        pass\n", _LIMITS),
    _bomb("endless_sleep", "Never answer, idly.", "import time\n" + _ANSWER + "    time.sleep(1000)\n", _LIMITS),
    _bomb(
        "eat_memory",
        "Die of memory when called.",
        _ANSWER + "    made = []\n    while True:\n        made.append(bytearray(1 << 24))\n",
        _LIMITS,
    ),
    _bomb(
        "overflow_the_stack",
        "Die of the stack when called.",
        "import sys\nsys.setrecursionlimit(10 ** 9)\n" + _ANSWER + "    return bigger_half(numbers)\n",
        _LIMITS,
    ),
    _bomb(
        "kill_everything",
        "SIGKILL to everything that can be named, when called.",
        "import os\n" + _ANSWER + "    for pid in (os.getppid() or 1, 0):\n        try:\n            os.kill(pid, 9)\n"
        "        except OSError:\n            pass\n    return []\n",
        _LIMITS,
    ),
    _bomb("close_channel", "Hang up on the grader.", _CHANNEL + "channel.shutdown(2)\n" + _ANSWER + "    return []\n", _FRAMES),
    _bomb(
        "noise_on_channel",
        "Write noise on the channel.",
        _CHANNEL + "channel.sendall(os.urandom(5000))\n" + _ANSWER + "    return []\n",
        _FRAMES,
    ),
    _bomb(
        "endless_frame",
        "Announce a frame of four gigabytes and send it slowly.",
        _CHANNEL + "channel.sendall(b'\\xff' * 4)\nchannel.settimeout(1)\ntry:\n    while True:\n"
        "        channel.sendall(bytes(1 << 16))\nexcept OSError:\n    pass\n" + _ANSWER + "    return []\n",
        _FRAMES,
    ),
    _bomb(
        "half_a_frame",
        "Announce a frame, and never end it.",
        _CHANNEL + "import time\nchannel.sendall(struct.pack('<I', 100) + b'x')\ntime.sleep(100)\n",
        _LIMITS,
    ),
    _bomb(
        "answers_in_advance",
        "Send answers to questions that were not asked yet.",
        "import sys\nframe = sys._getframe()\nwhile frame and 'send_frame' not in frame.f_globals:\n"
        "    frame = frame.f_back\nspace = frame.f_globals\n"
        "for number in range(200):\n"
        "    space['send_frame'](3, space['encode']((number, 'ready' if number == 0 else 'value', True, b'', ())))\n"
        "def balanced(text):\n    return True\n",
        _FRAMES,
        BALANCED,
    ),
    _bomb(
        "raw_collisions",
        "A dict with colliding keys written straight to the channel, past the encoder.",
        "import sys\n_P = sys.hash_info.modulus\nframe = sys._getframe()\n"
        "while frame and 'send_frame' not in frame.f_globals:\n    frame = frame.f_back\nspace = frame.f_globals\n"
        "space['send_frame'](3, space['encode']((0, 'ready', {n * _P: 0 for n in range(20000)}, b'', ())))\n" + _ANSWER + "    return []\n",
        _LIMITS,
    ),
    _bomb(
        "noisy_call",
        "Print a gigabyte when called.",
        _ANSWER + "    while True:\n        print('x' * 1_000_000)\n",
        _LIMITS,
    ),
    _bomb(
        "noisy_descriptors",
        "Send descriptors and out-of-band bytes to the grader with an honest answer.",
        _CHANNEL
        + _ANSWER
        + "    pair = socket.socketpair()\n    socket.send_fds(channel, [struct.pack('<I', 0)], [pair[0].fileno()] * 50)\n"
        "    channel.send(b'x', socket.MSG_OOB)\n    return []\n",
        _FRAMES,
    ),
)
