"""Cases of test_core.py: which processors the hub lets guest threads run on. They need two."""

from __future__ import annotations

import os
import subprocess

from guest_half import (
    SLEEPING,
    WRONG_NUMBERS,
    Channel,
    refused,
    refuses_wrong_types,
)

from wardian.platform.layout import SLOT_TID_OFFSET
from wardian.platform.stub.wire import ACTION_RETURN

CPUS = sorted(os.sched_getaffinity(0))[:2]
NAP_NS = 5_000_000  # longer than the patience with a guest that forks


class Guests:
    """A hub that spins on the first of two processors, and processes that stand for its guests."""

    def __init__(self, count: int = 1) -> None:
        os.sched_setaffinity(0, CPUS)
        self.channel = Channel()
        self.hub = self.channel.hub
        self.children = [subprocess.Popen(["sleep", "100"]) for _ in range(count)]
        os.sched_setaffinity(0, CPUS[:1])
        self.hub.set_spin(100_000, 0)
        for slot, child in enumerate(self.children, 1):
            self.hub.activate(self.channel.key(slot))
            self.hub.host_thread(self.channel.key(slot), child.pid, child.pid)

    def places(self) -> list[list[int]]:
        """Where each of them may run."""
        return [sorted(os.sched_getaffinity(child.pid)) for child in self.children]

    def end(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()


APART = CPUS[1:]


def case_a_woken_thread_stays_off_our_processor_until_we_sleep() -> None:
    guests = Guests(2)
    c = guests.channel
    assert guests.places() == [CPUS, CPUS]
    c.take(1)
    c.poke(1, SLEEPING, 1)
    guests.hub.reply(c.key(1), ACTION_RETURN, 0)
    assert guests.places() == [APART, CPUS]
    guests.hub.wait(0)  # that is no sleep
    assert guests.places() == [APART, CPUS]
    guests.hub.wait(NAP_NS)
    assert guests.places() == [CPUS, CPUS]
    c.take(1)
    guests.hub.reply(c.key(1), ACTION_RETURN, 0)  # it has not slept
    assert guests.places() == [CPUS, CPUS]
    guests.end()


def case_one_that_waits_for_us_is_left_where_it_is() -> None:
    guests = Guests()
    c = guests.channel
    c.take(1)
    guests.hub.place(c.key(1))
    guests.hub.wait(NAP_NS)
    assert guests.places() == [APART]
    os.sched_setaffinity(0, APART)  # woken by a Sentry that has moved
    c.poke(1, SLEEPING, 1)
    guests.hub.reply(c.key(1), ACTION_RETURN, 0)
    assert guests.places() == [CPUS[:1]]
    guests.hub.wait(NAP_NS)
    assert guests.places() == [CPUS]
    guests.end()


def case_a_child_is_let_go_as_its_parent() -> None:
    guests = Guests(2)
    c = guests.channel
    os.sched_setaffinity(guests.children[1].pid, APART)  # as a fork of the first inherits it
    guests.hub.place(c.key(1), c.key(2))
    assert guests.places() == [APART, APART]
    guests.hub.host_thread(c.key(2), 0, 0)  # it has not reported itself
    guests.hub.wait(NAP_NS)
    assert guests.places() == [CPUS, APART]
    guests.hub.host_thread(c.key(2), guests.children[1].pid, 0)
    c.poke(2, SLOT_TID_OFFSET, guests.children[1].pid)
    guests.hub.wait(NAP_NS)
    assert guests.places() == [CPUS, CPUS]
    guests.end()


def keep_apart_as_many_as_can_be(c: Channel, pid: int) -> None:
    for slot in range(10, 110):  # more than are remembered
        c.hub.activate(c.key(slot))
        c.hub.host_thread(c.key(slot), pid, pid)
        c.hub.place(c.key(slot))


def case_a_child_that_cannot_be_remembered_has_a_parent_that_is_free() -> None:
    guests = Guests(2)
    c = guests.channel
    guests.hub.place(c.key(1))
    crowd = guests.children[1].pid
    keep_apart_as_many_as_can_be(c, crowd)
    assert guests.places() == [APART, APART]
    c.hub.activate(c.key(200))
    guests.hub.place(c.key(1), c.key(200))
    assert guests.places() == [CPUS, APART]
    guests.end()


def case_nor_has_one_whose_slot_lies_about_its_thread_by_then() -> None:
    """Thread 0 would be our own, and the Sentry's filter ends a Sentry that names it."""
    guests = Guests(2)
    c = guests.channel
    mine, crowd = (child.pid for child in guests.children)
    guests.hub.host_thread(c.key(1), mine, 0)
    c.poke(1, SLOT_TID_OFFSET, mine)
    guests.hub.place(c.key(1))
    keep_apart_as_many_as_can_be(c, crowd)
    c.poke(1, SLOT_TID_OFFSET, 1)
    c.hub.activate(c.key(200))
    guests.hub.place(c.key(1), c.key(200))
    assert sorted(os.sched_getaffinity(0)) == CPUS[:1]
    assert guests.places() == [APART, APART]
    guests.end()


def case_a_slot_that_names_a_strange_thread_moves_nobody() -> None:
    guests = Guests(2)
    c = guests.channel
    mine, strange = (child.pid for child in guests.children)
    guests.hub.host_thread(c.key(1), mine, 0)
    for claim in (strange, os.getpid(), 1, 0, (1 << 32) - 1):
        c.poke(1, SLOT_TID_OFFSET, claim)
        guests.hub.place(c.key(1))
        assert guests.places() == [CPUS, CPUS]
    assert sorted(os.sched_getaffinity(0)) == CPUS[:1]
    guests.end()


def case_slots_that_are_given_up_are_forgotten() -> None:
    guests = Guests()
    c = guests.channel
    pid = guests.children[0].pid
    for turn in range(300):  # more than are remembered at once
        slot = 1 + turn % 100
        c.hub.activate(c.key(slot))
        c.hub.host_thread(c.key(slot), pid, pid)
        c.hub.place(c.key(slot))
        c.hub.deactivate(c.key(slot))
        if turn % 70 == 0:
            c.hub.wait(NAP_NS)
    c.hub.wait(NAP_NS)
    c.hub.activate(c.key(1))
    c.hub.host_thread(c.key(1), pid, pid)
    os.sched_setaffinity(pid, CPUS)
    c.hub.place(c.key(1))
    assert guests.places() == [APART]
    c.hub.wait(NAP_NS)
    assert guests.places() == [CPUS]
    c.hub.place(c.key(1))
    c.hub.remove_space(c.space)
    c.hub.wait(NAP_NS)
    guests.end()


def case_what_a_maker_makes_stays_off_our_processor_until_we_sleep() -> None:
    guests = Guests(2)
    c = guests.channel
    maker, made = (child.pid for child in guests.children)
    apart = guests.hub.place_maker(maker)
    assert guests.places() == [APART, CPUS] and apart == CPUS[0] + 1
    os.sched_setaffinity(made, APART)  # as it inherits it
    guests.hub.placed(c.key(2), apart)
    guests.hub.wait(NAP_NS)
    assert guests.places() == [APART, CPUS], "the maker has no slot, and only makes"
    guests.hub.set_spin(0, 0)
    assert guests.hub.place_maker(maker) == 0
    assert guests.places() == [CPUS, CPUS]
    os.sched_setaffinity(made, APART)  # it was asked for before, and is made now
    guests.hub.placed(c.key(2), 0)
    assert guests.places() == [CPUS, CPUS]
    assert guests.hub.place_maker(0) == 0
    assert sorted(os.sched_getaffinity(0)) == CPUS[:1]
    guests.end()


def case_made_when_no_more_can_be_remembered() -> None:
    guests = Guests(3)
    c = guests.channel
    made, crowd, _ = (child.pid for child in guests.children)
    keep_apart_as_many_as_can_be(c, crowd)
    os.sched_setaffinity(made, APART)
    guests.hub.placed(c.key(1), CPUS[0] + 1)
    assert guests.places()[0] == CPUS
    guests.hub.host_thread(c.key(3), 0, 0)  # nobody knows which it is: it stays where it is
    guests.hub.placed(c.key(3), CPUS[0] + 1)
    assert sorted(os.sched_getaffinity(0)) == CPUS[:1]
    guests.end()


def case_nobody_is_placed_without_spinning() -> None:
    guests = Guests()
    guests.hub.set_spin(0, 0)
    guests.hub.place(guests.channel.key(1))
    assert guests.places() == [CPUS]
    guests.end()


def case_arguments_are_checked() -> None:
    guests = Guests()
    c = guests.channel
    refuses_wrong_types(c.hub.host_thread, c.key(1), 5, 5)
    refused(c.hub.place, c.key(1), "1")
    refused(c.hub.place, c.key(1), c.key(1), 0)
    refused(c.hub.place)
    refused(c.hub.place_maker)
    refused(c.hub.place_maker, "1")
    refused(c.hub.placed, c.key(1))
    refused(c.hub.host_thread, c.key(1), 5)
    for wrong in WRONG_NUMBERS:
        refused(c.hub.place, wrong)
        refused(c.hub.placed, wrong, 0)
        refused(c.hub.placed, c.key(1), wrong)
        refused(c.hub.host_thread, wrong, 5, 5)
    guests.end()
