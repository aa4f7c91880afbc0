"""Cases of test_core.py: a hub whose channel holds whatever a hostile guest writes there."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import Any

from guest_half import DATA_SIZE, HEAD, REP_SEQ, REQ_SEQ, REQUEST, Channel

from wardian.platform.interface import HEAD_SIZE
from wardian.platform.layout import CHANNEL_SIZE, SLOT_SIZE, SLOTS
from wardian.platform.stub.wire import ACTION_RETURN, SIGINFO_OFFSET


def check_taken(found: Any, active: set[int]) -> int | None:
    """What wait() answered makes sense, whatever the guest wrote: its key, if it is a request."""
    if isinstance(found, list):
        return None
    key, _, length, zero = HEAD.unpack_from(found)
    assert key in active and zero == 0
    assert length <= DATA_SIZE and len(found) == HEAD_SIZE + length
    return int(key)


def answer(hub: Any, key: int, chance: random.Random) -> None:
    """Answer, in one of the ways the engine does."""
    choice = chance.randrange(6)
    if choice == 0:
        hub.park(key)
    elif choice == 1:
        hub.queue_out(key, chance.getrandbits(64), bytes(chance.randrange(DATA_SIZE)))
        hub.queue_out(key, chance.getrandbits(64), bytes(chance.randrange(DATA_SIZE)))
    elif choice == 2:
        hub.put(key, SIGINFO_OFFSET, bytes(128))
    hub.reply(key, chance.getrandbits(8), chance.getrandbits(63), bytes(8 * chance.randrange(13)))


def case_random_bytes_in_the_channel() -> None:
    c = Channel()
    chance = random.Random(1)
    slots = [1, 2, 3, 63, 64, 65, 200, SLOTS - 1]
    active = {c.key(slot) for slot in slots}
    for key in active:
        c.hub.activate(key)
    requests = 0
    for turn in range(40000):
        for _ in range(chance.randrange(4)):
            offset = chance.choice([0, *slots]) * SLOT_SIZE
            offset += chance.choice([REQ_SEQ, REP_SEQ, REQUEST, REQUEST + 4, chance.randrange(640)])
            junk = chance.randbytes(chance.choice([1, 4, 8, 64]))
            c.memory[offset : offset + len(junk)] = junk[: CHANNEL_SIZE - offset]
        if turn % 3 == 0:  # the ready maps: page 1 of the shared memory
            at = 0x1000 + 8 * chance.randrange(66)
            c.shared[at : at + 8] = chance.randbytes(8)
        if turn % 50 == 0:
            c.ring()
        key = check_taken(c.hub.wait(0), active)
        if key is not None:
            requests += 1
            answer(c.hub, key, chance)
        if turn % 500 == 0:  # threads and processes come and go
            key = chance.choice(sorted(active))
            c.hub.deactivate(key)
            c.hub.activate(key)
    assert requests > 1000
    assert c.hub.statistics()["requests"] == requests


SCRIBBLER = """
import mmap, random, sys
channel, shared = (mmap.mmap(int(fd), 0) for fd in sys.argv[1:])
chance = random.Random(2)
words = [chance.randbytes(8) for _ in range(50)] + [b"\\xff" * 8, bytes(8), b"\\x00~\\0\\0" * 2]
places = [slot * 0x8000 + at for slot in range(9) for at in range(0, 512, 8)]
while True:
    for _ in range(1000):
        at = chance.choice(places)
        channel[at : at + 8] = chance.choice(words)
    at = 0x1000 + 8 * chance.randrange(66)
    shared[at : at + 8] = chance.choice(words)
"""


def case_bytes_that_change_while_they_are_read() -> None:
    c = Channel()
    c.hub.set_spin(20000, 100)
    for slot in range(1, 9):
        c.hub.activate(c.key(slot))
    active = {c.key(slot) for slot in range(1, 9)}
    plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    guest = subprocess.Popen(
        [sys.executable, "-c", SCRIBBLER, str(c.memfd), str(c.shared_fd)],
        pass_fds=(c.memfd, c.shared_fd),
        env=plain,
    )
    chance = random.Random(3)
    try:
        for _ in range(10000):
            key = check_taken(c.hub.wait(100_000), active)
            if key is not None:
                answer(c.hub, key, chance)
    finally:
        guest.kill()
        guest.wait()


def case_busy_threads_leave_the_hub_small() -> None:
    """Requests that keep coming must not grow what the hub remembers of them."""
    c = Channel()
    slots = range(1, 65)
    for slot in slots:
        c.hub.activate(c.key(slot))
        c.say(slot)
    c.ring()
    for turn in range(50_000):
        found = c.hub.wait(0)
        if isinstance(found, list):
            continue
        key = HEAD.unpack_from(found)[0]
        c.hub.reply(key, ACTION_RETURN, 0)
        c.say(key & (SLOTS - 1))
        if turn % 16 == 0:
            c.ring()
    assert c.hub.statistics()["pending_room"] <= 1024
