"""clone(2) on the host: threads, forks and vforks, and the proof
that a forked child is what it says.

A thread needs no permission (the filter knows its flags). A fork is notified twice: the parent's
clone call, which must be the one it was told to make, and the child's check-in with a nonce that
only its memory holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian import _core
from wardian.platform.interface import CloneRequest
from wardian.platform.layout import CHANNEL_FD, STACK_SIZE, STACKS_BASE
from wardian.platform.stub.process import Space
from wardian.platform.stub.thread import CLONE_SETTLS, StubThread, slot_tid_address

if TYPE_CHECKING:
    from wardian.platform.stub.engine import StubEngine


class Cloning:
    """The clones on their way in one engine."""

    def __init__(self, engine: StubEngine) -> None:
        self.engine = engine
        self.cloning: list[StubThread] = []  # parents whose clone notification is awaited
        self.checked_in: dict[int, StubThread] = {}  # nonce -> parent, until the child checks in

    def forget(self, parent: StubThread) -> None:
        """Nothing more is to come of this thread's clone."""
        awaited = self.checked_in.pop(parent.clone_nonce, None) is not None
        if parent in self.cloning:
            self.cloning.remove(parent)
            awaited = True
        if awaited:
            self.engine.hub.expect(-1)

    def begin_thread(self, parent: StubThread, slot: int) -> None:
        """A thread of the same process: the filter lets its clone pass without asking, since a
        thread that no slot belongs to can say nothing. It runs as soon as the host has made it."""
        request = parent.clone_request
        assert request is not None
        child = StubThread(self.engine, parent.stub_process, slot, 0)
        child.reports_end = True
        child.unasked = True
        parent.clone_child = child
        parent.clone_returned = False
        parent.clone_up = True
        self.engine.events.cloned(parent, child, request)

    def begin_clone(self, parent: StubThread, slot: int, flags: int, tls: int) -> None:
        """Expect the notification of this clone."""
        parent.clone_expect = (flags, slot, tls)
        parent.clone_child = None
        parent.clone_returned = False
        parent.clone_up = False
        self.cloning.append(parent)
        self.engine.hub.expect(1)
        if parent.clone_nonce:
            self.checked_in[parent.clone_nonce] = parent

    def notified(
        self, ident: int, tid: int, flags: int, stack: int, ptid: int, ctid: int, tls: int
    ) -> None:
        parent = self.engine.thread_of(self.cloning, tid)
        if parent is None or not self.as_told(parent, flags, stack, ptid, ctid, tls):
            self.engine.refuse(ident)
            return
        self.cloning.remove(parent)
        _core.notify_send(self.engine.listener, ident, 0, 0, True)

    def as_told(
        self, parent: StubThread, flags: int, stack: int, ptid: int, ctid: int, tls: int
    ) -> bool:
        """Every argument is what the Sentry asked for."""
        told, slot, told_tls = parent.clone_expect
        if slot == 0:
            return flags == told & ~CLONE_SETTLS and stack == 0 and ptid == 0 and ctid == 0
        word = slot_tid_address(slot)
        base = STACKS_BASE + slot * STACK_SIZE
        return (
            flags == told
            and ptid == word
            and ctid == word
            and base <= stack < base + STACK_SIZE
            and (tls == told_tls or not flags & CLONE_SETTLS)
        )

    def check_in(self, ident: int, tid: int, nonce: int) -> None:
        """A forked child speaks for the first time: only it knows the nonce."""
        parent = self.checked_in.pop(nonce, None)
        if parent is None:
            self.engine.refuse(ident)
            return
        self.engine.hub.expect(-1)
        request = parent.clone_request
        assert request is not None
        try:
            child = self.forked_child(parent, request, ident, tid)
        except OSError:
            self.engine.refuse(ident)
            return
        parent.clone_child = child
        if request.share_memory:
            parent.clone_up = True
            self.engine.events.cloned(parent, child, request)
        _core.notify_send(self.engine.listener, ident, 0, 0, False)
        self.settle(parent)

    def forked_child(
        self, parent: StubThread, request: CloneRequest, ident: int, tid: int
    ) -> StubThread:
        """The new host process: with the parent's channel (vfork) or one of its own."""
        if request.share_memory:
            process = self.engine.new_process(parent.stub_process.space, tid)
            child = StubThread(self.engine, process, parent.clone_expect[1], tid)
            child.reports_end = True
        else:
            space = Space(self.engine.hub)
            space.claim(parent.slot)
            try:
                process = self.engine.new_process(space, tid)
            except OSError:
                space.close()
                raise
            child = StubThread(self.engine, process, parent.slot, tid)
            process.brk_start = parent.stub_process.brk_start
            _core.notify_add_fd(self.engine.listener, ident, space.memfd, CHANNEL_FD)
        child.unasked = True
        child.clone_parent = parent
        return child

    def came_up(self, child: StubThread) -> None:
        """A forked child stands on its own channel."""
        parent = child.clone_parent
        child.clone_parent = None
        if parent is None or parent.clone_request is None:
            return
        request = parent.clone_request
        parent.clone_up = True
        self.engine.events.cloned(parent, child, request)
        self.settle(parent)

    def returned(self, parent: StubThread, result: int) -> None:
        """The parent's clone call came back."""
        request = parent.clone_request
        if request is None:
            self.engine.events.frame_fault(parent)
            return
        if result < 0:
            self.failed(parent, request, -result)
            return
        parent.clone_returned = True
        self.settle(parent)

    def settle(self, parent: StubThread) -> None:
        """Report the end of a clone when both halves are in."""
        request = parent.clone_request
        if request is None or not parent.clone_returned or not parent.clone_up:
            return
        parent.clone_request = None
        parent.clone_up = False
        self.engine.events.clone_finished(parent, 0, request)

    def failed(self, parent: StubThread, request: CloneRequest, number: int) -> None:
        """The host would not."""
        self.forget(parent)
        child = parent.clone_child
        if child is not None:
            self.engine.forget_thread(child)
            if child in child.stub_process.threads:
                child.stub_process.threads.remove(child)
        parent.clone_request = None
        self.engine.events.clone_finished(parent, number, request)
