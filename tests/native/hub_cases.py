"""Cases of test_core.py: wardian._core.Hub, used well and badly."""

from __future__ import annotations

import os
import select
import struct
import sys
from collections.abc import Callable
from typing import Any

from guest_half import (
    DATA_SIZE,
    HEAD,
    REP_SEQ,
    REPLY,
    REQ_SEQ,
    SLEEPING,
    WRONG_NUMBERS,
    WRONG_TYPES,
    Channel,
    memfd,
    refused,
    refuses_wrong_types,
)

from wardian import _core
from wardian.platform.interface import HEAD_SIZE
from wardian.platform.layout import CHANNEL_SIZE, DATA_IN_ARGS, SHARED_SIZE, SLOT_SIZE, SLOTS
from wardian.platform.stub.wire import (
    ACTION_CLONE,
    ACTION_EXEC,
    ACTION_EXIT_GROUP,
    ACTION_RETURN,
    DATA_OFFSET,
    KIND_SYSCALL,
    SIGINFO_OFFSET,
)

EPOLL_CTL_ADD, EPOLL_CTL_DEL = 1, 2


def case_request_arrives_as_one_copy() -> None:
    c = Channel()
    c.hub.activate(c.key(1))
    taken = c.take(1, b"hello")
    assert HEAD.unpack_from(taken) == (c.key(1), KIND_SYSCALL, 5, 0)
    assert struct.unpack_from("<7Q", taken, 16) == (39, 1, 2, 3, 4, 5, 6)
    assert taken[HEAD_SIZE:] == b"hello"
    c.hub.reply(c.key(1), ACTION_RETURN, 0)
    assert c.take(1)[16:] == taken[16:HEAD_SIZE]
    assert c.hub.pointers(c.key(1)) == (7, 8)
    assert c.hub.wait(0) == []


def case_lengths_beyond_the_slot_count_as_nothing() -> None:
    c = Channel()
    c.hub.activate(c.key(1))
    for length in (DATA_SIZE + 1, SLOT_SIZE, 1 << 31, (1 << 32) - 1):
        assert len(c.take(1, b"x", length)) == HEAD_SIZE
        c.hub.reply(c.key(1), ACTION_RETURN, 0)
    assert len(c.take(1, b"x", DATA_SIZE)) == HEAD_SIZE + DATA_SIZE


def case_last_slot_of_a_space_is_whole() -> None:
    c = Channel()
    last = SLOTS - 1
    c.hub.activate(c.key(last))
    assert len(c.take(last, bytes(DATA_SIZE))) == HEAD_SIZE + DATA_SIZE
    assert c.hub.queue_out(c.key(last), 0, bytes(DATA_SIZE - 16))
    c.hub.put(c.key(last), SLOT_SIZE - 3, b"end")
    c.hub.reply(c.key(last), ACTION_RETURN, 0, bytes(96))
    assert c.memory[-3:] == b"end"


def case_reply_reaches_the_slot() -> None:
    c = Channel()
    c.hub.activate(c.key(2))
    c.take(2)
    c.poke(2, SLEEPING, 1)  # nobody sleeps there: the wake-up goes nowhere
    c.hub.reply(c.key(2), ACTION_RETURN, -5, struct.pack("<12Q", *range(12)))
    at = 2 * SLOT_SIZE + REPLY
    assert struct.unpack_from("<2HIq32x12Q", c.memory, at) == (ACTION_RETURN, 0, 0, -5, *range(12))
    assert c.peek(2, REP_SEQ) == c.peek(2, REQ_SEQ) == 1
    c.hub.reply(c.key(2), 0, 0)  # to nobody's request: the stub has its answer already
    assert c.peek(2, REP_SEQ) == 1


def case_few_bytes_arrive_in_place_of_arguments() -> None:
    c = Channel()
    c.hub.activate(c.key(1))
    for length, data in ((24, 24), (9, 9), (25, 0), (DATA_SIZE, 0)):
        taken = c.take(1, bytes(DATA_SIZE), DATA_IN_ARGS | length)
        assert struct.unpack_from("<7Q", taken, 16) == (39, 1, 2, 3, 0, 0, 0)
        assert taken[HEAD_SIZE:] == struct.pack("<3Q", 4, 5, 6)[:data]
        c.hub.reply(c.key(1), ACTION_RETURN, 0)


def case_the_first_few_bytes_stand_beside_the_result() -> None:
    c = Channel()
    key = c.key(1)
    c.hub.activate(key)
    small = SLOT_SIZE + REPLY + 16
    c.take(1)
    assert c.hub.queue_out(key, 5, bytes(range(1, 17)))
    assert c.hub.queue_out(key, 6, b"more")
    c.hub.reply(key, ACTION_RETURN, 0)
    assert struct.unpack_from("<2HI", c.memory, SLOT_SIZE + REPLY) == (ACTION_RETURN, 1, 1)
    assert struct.unpack_from("<2Q16s", c.memory, small) == (5, 16, bytes(range(1, 17)))
    assert struct.unpack_from("<2Q4s", c.memory, SLOT_SIZE + DATA_OFFSET) == (6, 4, b"more")
    c.take(1)
    assert c.hub.queue_out(key, 7, bytes(17)) and c.hub.queue_out(key, 8, b"behind it")
    c.hub.reply(key, ACTION_RETURN, 0)
    assert struct.unpack_from("<2HI", c.memory, SLOT_SIZE + REPLY) == (ACTION_RETURN, 0, 2)
    c.take(1)
    assert c.hub.queue_out(key, 7, b"forgotten")
    c.hub.drop_outs(key)
    c.hub.reply(key, ACTION_RETURN, 0)
    assert struct.unpack_from("<2HI", c.memory, SLOT_SIZE + REPLY) == (ACTION_RETURN, 0, 0)


def case_reply_refuses_bad_arguments() -> None:
    c = Channel()
    c.hub.activate(c.key(1))
    refuses_wrong_types(c.hub.reply, c.key(1), ACTION_RETURN, 0)
    for wrong in ("", 0, None, bytearray(8)):
        refused(c.hub.reply, c.key(1), ACTION_RETURN, 0, wrong)
    refused(c.hub.reply, c.key(1), ACTION_RETURN, 0, b"", b"")
    refused(c.hub.reply, c.key(1), 1, 0, bytes(97))
    refused(c.hub.reply, c.key(1), 1, 0, bytes(1 << 20))
    refused(c.hub.reply, c.key(1), 1, 1 << 63)


def case_outs_fill_the_slot_and_no_more() -> None:
    c = Channel()
    key = c.key(1)
    c.hub.activate(key)
    assert not c.hub.queue_out(key, 0, b"x")  # no request, no reply to come
    c.take(1)
    assert not c.hub.queue_out(key, 0, bytes(DATA_SIZE - 15))
    assert not c.hub.queue_out(key, 0, bytes(1 << 20))
    assert c.hub.queue_out(key, (1 << 64) - 1, b"a few bytes more!")
    assert c.hub.queue_out(key, 0, bytes(DATA_SIZE - 40 - 16))
    assert not c.hub.queue_out(key, 0, b"")
    c.hub.drop_outs(key)
    count = 0
    while c.hub.queue_out(key, count, b""):
        count += 1
    assert count == 1 + DATA_SIZE // 16
    c.hub.reply(key, ACTION_RETURN, 0)
    assert struct.unpack_from("<2HI", c.memory, SLOT_SIZE + REPLY) == (ACTION_RETURN, 1, count - 1)
    refuses_wrong_types(c.hub.queue_out, key, 0, b"")
    for number in (-1, 1 << 64):
        refused(c.hub.queue_out, key, number, b"")


def case_put_stays_inside_the_reply_part_of_the_slot() -> None:
    c = Channel()
    key = c.key(1)
    c.hub.activate(key)
    c.hub.put(key, SIGINFO_OFFSET, bytes(128))
    c.hub.put(key, SLOT_SIZE, b"")
    for offset, data in [
        (127, b""), (0, b"x"), (-1, b""), (SLOT_SIZE, b"x"), (SLOT_SIZE - 1, b"xy"),
        (sys.maxsize, b"x"), (-sys.maxsize - 1, b"x"), (1 << 70, b""),
        (128, bytes(SLOT_SIZE - 127)),
    ]:  # fmt: skip
        refused(c.hub.put, key, offset, data)
    refused(c.hub.put, key, None, b"")
    refused(c.hub.put, key, 128, "text")
    refused(c.hub.put, key)


def case_keys_that_name_no_active_channel_are_refused() -> None:
    c = Channel()
    c.hub.activate(c.key(1))
    calls: list[Callable[[Any], Any]] = [
        c.hub.park, c.hub.drop_outs, c.hub.deactivate, c.hub.host_tid,
        lambda k: c.hub.reply(k, 1, 0), lambda k: c.hub.queue_out(k, 0, b""),
        lambda k: c.hub.put(k, 128, b"x"),
    ]  # fmt: skip
    nowhere = [c.key(0), c.key(SLOTS - 1), (c.space + 1) << 12 | 1, 0xFFFFFFFF]
    for call in calls:
        for key in [*nowhere, *WRONG_NUMBERS, (1 << 32) | c.key(1), *WRONG_TYPES]:
            refused(call, key)
    for key in [c.key(0), (c.space + 1) << 12 | 1, 0xFFFFFFFF, *WRONG_NUMBERS, *WRONG_TYPES]:
        refused(c.hub.activate, key)
    for index in [c.space + 1, SLOTS, 0xFFFFFFFF, *WRONG_NUMBERS, *WRONG_TYPES]:
        refused(c.hub.remove_space, index)


def case_removed_space_leaves_nothing_behind() -> None:
    c = Channel()
    for slot in range(1, 40):
        c.hub.activate(c.key(slot))
        c.say(slot)
    c.ring()
    c.hub.wait(0)
    c.hub.reply(c.key(1), ACTION_RETURN, 0)  # watched now; the others are pending
    c.hub.remove_space(c.space)
    assert c.hub.wait(0) == []
    refused(c.hub.reply, c.key(1), ACTION_RETURN, 0)
    assert c.hub.add_space(c.memfd) == c.space
    assert c.hub.wait(0) == []
    refused(c.hub.reply, c.key(1), ACTION_RETURN, 0)


def case_watched_slot_given_to_another_thread() -> None:
    c = Channel()
    for slot in range(1, 9):
        c.hub.activate(c.key(slot))
    for turn in range(200):
        slot = turn % 8 + 1
        c.take(slot)
        c.hub.reply(c.key(slot), ACTION_RETURN, turn)
        if turn % 3 == 0:
            c.hub.activate(c.key(slot))  # as it is, still watched
        if turn % 5 == 0:
            c.hub.deactivate(c.key(slot))
            c.hub.reply(c.key(slot), ACTION_RETURN, 0)  # watches an inactive slot
            c.hub.activate(c.key(slot))
    c.hub.remove_space(c.space)
    assert c.hub.wait(0) == []


def case_every_space_is_taken() -> None:
    c = Channel()
    spaces = [c.hub.add_space(c.memfd) for _ in range(300)]
    for index in spaces:
        c.hub.activate(index << 12 | 1)
    c.say(1)  # one memfd is everybody's channel: all of them see the request
    c.ring()
    taken = [c.hub.wait(0) for _ in range(302)]
    keys = {HEAD.unpack_from(found)[0] for found in taken if isinstance(found, bytes)}
    assert keys == {index << 12 | 1 for index in spaces}
    for index in reversed(spaces):
        c.hub.remove_space(index)


def case_channel_that_cannot_be_mapped() -> None:
    c = Channel()
    read_end, _ = os.pipe()
    for fd in (-1, 10000, read_end, *WRONG_NUMBERS, *WRONG_TYPES):
        refused(c.hub.add_space, fd)
    for shared, doorbell in [(-1, c.doorbell), (c.shared_fd, -1), (read_end, c.doorbell)]:
        refused(_core.Hub, shared, doorbell)
    refuses_wrong_types(_core.Hub, c.shared_fd, c.doorbell)


def case_channel_that_is_too_short() -> None:
    """Reading past the end of a file's mapping is SIGBUS: a short one must be refused."""
    c = Channel()
    for size in (0, 4096, CHANNEL_SIZE - 1):
        refused(c.hub.add_space, memfd(size))
    for size in (0, SHARED_SIZE - 1):
        refused(_core.Hub, memfd(size), c.doorbell)


def case_hub_without_init() -> None:
    """What __new__ answers is a whole Hub or nothing."""
    refused(_core.Hub.__new__, _core.Hub)
    for method in ("wait", "statistics"):
        refused(getattr(_core.Hub, method), object())
    c = Channel()
    c.hub.activate(c.key(1))
    try:
        c.hub.__init__(c.shared_fd, c.doorbell)
    except TypeError:
        pass
    assert len(c.take(1)) == HEAD_SIZE  # still the same hub


def case_freed_hub() -> None:
    for _ in range(20):
        c = Channel()
        c.hub.activate(c.key(3))
        c.take(3)
        wait = c.hub.wait  # keeps the hub alive
        del c.hub
        assert wait(0) == []
        del wait
    assert len(os.listdir("/proc/self/fd")) < 20 * 5 + 20


def served(threads: int, turns: int) -> dict[int, int]:
    """How often each slot is answered when all threads ask again at once."""
    c = Channel()
    counts = dict.fromkeys(range(1, threads + 1), 0)
    for slot in counts:
        c.hub.activate(c.key(slot))
        c.say(slot)
        c.announce(slot)
    for _ in range(turns):
        slot = HEAD.unpack_from(c.hub.wait(0))[0] & (SLOTS - 1)
        counts[slot] += 1
        c.hub.reply(c.key(slot), ACTION_RETURN, 0)
        c.say(slot)
        c.announce(slot)
    return counts


def case_no_thread_starves_beside_busy_ones() -> None:
    for threads in (2, 5, 6, 8, 13, 100):
        counts = served(threads, threads * 40)
        assert min(counts.values()) >= 10, counts


def case_late_thread_is_heard_among_busy_ones() -> None:
    c = Channel()
    for slot in range(1, 6):
        c.hub.activate(c.key(slot))
    for slot in range(1, 5):
        c.say(slot)
        c.announce(slot)
    heard = set()
    for turn in range(60):
        if turn == 40:  # four are watched by now and never silent
            c.say(5)
            c.announce(5)
        slot = HEAD.unpack_from(c.hub.wait(0))[0] & (SLOTS - 1)
        heard.add(slot)
        c.hub.reply(c.key(slot), ACTION_RETURN, 0)
        if slot != 5:
            c.say(slot)
            c.announce(slot)
    assert 5 in heard


def case_waiting() -> None:
    c = Channel()
    c.hub.set_spin(20000, 100)
    assert c.hub.wait(1) == []
    assert c.hub.wait(2_000_000) == []
    refuses_wrong_types(c.hub.wait, 0)
    refused(c.hub.wait, 1 << 63)
    os.eventfd_write(c.doorbell, 1)
    read_end, write_end = os.pipe()
    c.hub.epoll(EPOLL_CTL_ADD, read_end, select.EPOLLIN)
    os.write(write_end, b"x")
    for timeout in (-1, -(1 << 63), (1 << 63) - 1, (1 << 63) - 1_000_000, 1 << 62):
        assert (read_end, 1) in (c.hub.wait(timeout) or c.hub.wait(timeout))
    c.hub.set_spin((1 << 64) - 1, (1 << 32) - 1)
    assert (read_end, 1) in c.hub.wait(0)


def case_a_guest_that_forks_or_loads_a_program_is_waited_for() -> None:
    """The host has work with it for longer than a spin; elsewhere that is the time to sleep."""
    c = Channel()
    c.hub.set_spin(20000, 100)
    c.hub.activate(c.key(1))
    c.hub.activate(c.key(2))
    for action in (ACTION_RETURN, ACTION_CLONE, ACTION_EXEC, ACTION_EXIT_GROUP):
        assert c.take(1)
        c.hub.reply(c.key(1), action, 0)
        sleeps = c.hub.statistics()["sleeps"]
        assert c.hub.wait(500_000) == []
        assert c.hub.statistics()["sleeps"] == sleeps + (action == ACTION_RETURN)
        assert c.hub.wait(5_000_000) == []  # but not for ever
        assert c.hub.statistics()["sleeps"] == sleeps + 1 + (action == ACTION_RETURN)
    c.hub.place(c.key(1))
    sleeps = c.hub.statistics()["sleeps"]
    assert c.hub.wait(500_000) == []
    assert c.hub.statistics()["sleeps"] == sleeps


def case_descriptors_and_settings_refuse_nonsense() -> None:
    c = Channel()
    refuses_wrong_types(c.hub.epoll, 1, c.memfd, 1)
    refused(c.hub.epoll, 1, -1, 1)
    refused(c.hub.epoll, 99, c.doorbell, 1)
    refused(c.hub.epoll, EPOLL_CTL_DEL, c.memfd)
    for method in (c.hub.set_notify, c.hub.expect):
        refuses_wrong_types(method, 0)
        refused(method, 1 << 63)
    for count in (2**31 - 1, 2**31 - 1, -(2**31), -(2**31), 1):
        c.hub.expect(count)
    c.hub.set_notify(9999)  # polled while spinning; nothing there
    c.hub.set_spin(50000, 10)
    assert c.hub.wait(10000) == []
    refuses_wrong_types(c.hub.set_spin, 1, 1)
    assert set(c.hub.statistics()) >= {"requests", "waits", "sleeps"}
