"""clone(2) on the host: threads, forks and vforks, and the proof
that a forked child is what it says.

A thread needs no permission (the filter knows its flags). A fork is notified twice: the parent's
clone call, which must be the one it was told to make, and the child's check-in with a nonce that
only its memory holds.
"""

from __future__ import annotations

import errno
import os
import select
from typing import TYPE_CHECKING, Final

from wardian import _core
from wardian.platform.interface import CloneRequest
from wardian.platform.layout import CHANNEL_FD, CONTROL_FD, STACK_SIZE, STACKS_BASE
from wardian.platform.stub.poller import EPOLL_CTL_ADD, EPOLL_CTL_DEL
from wardian.platform.stub.process import Space
from wardian.platform.stub.thread import CLONE_SETTLS, StubThread, slot_tid_address
from wardian.platform.stub.wire import KIND_CHECKIN

if TYPE_CHECKING:
    from wardian.platform.stub.engine import StubEngine


PID_END: Final = 1 << 22


class Cloning:
    """The clones on their way in one engine."""

    def __init__(self, engine: StubEngine) -> None:
        self.engine = engine
        self.cloning: list[StubThread] = []  # parents whose clone notification is awaited
        self.checked_in: dict[int, StubThread] = {}  # nonce -> parent, until the child checks in
        self.unborn: dict[
            int, StubThread
        ] = {}  # pidfd of a child that has yet to check in -> parent

    def forget(self, thread: StubThread) -> None:
        """Nothing more is to come of this thread's clone, or of the clone that made it."""
        self.stop_awaiting(thread)
        parent = thread.clone_parent
        thread.clone_parent = None
        if parent is not None:
            self.lost(parent)
        child = thread.clone_child
        if child is not None and child.clone_parent is thread:  # no parent, no task
            child.clone_parent = None
            child.stub_process.kill()

    def stop_awaiting(self, parent: StubThread) -> None:
        """Expect neither its clone call nor its child any more."""
        awaited = self.checked_in.pop(parent.clone_nonce, None) is not None
        if parent in self.cloning:
            self.cloning.remove(parent)
            awaited = True
        if awaited:
            self.engine.hub.expect(-1)
        if parent.clone_allowed:
            parent.clone_allowed = False
            self.engine.strays.begin()
        for fd, other in list(self.unborn.items()):
            if other is parent:
                self.stop_watching(fd)

    def begin_thread(self, parent: StubThread, slot: int) -> None:
        """A thread of the same process: the filter lets its clone pass without asking, since a
        thread that no slot belongs to can say nothing. It runs as soon as the host has made it."""
        request = parent.clone_request
        assert request is not None
        child = StubThread(self.engine, parent.stub_process, slot, 0)
        child.reports_end = True
        child.unasked = True
        parent.clone_child = child
        parent.clone_expect = (0, slot, 0)
        parent.clone_returned = False
        parent.clone_lost = False
        parent.clone_up = True
        self.engine.events.cloned(parent, child, request)

    def begin_clone(self, parent: StubThread, slot: int, flags: int, tls: int) -> None:
        """Expect the notification of this clone."""
        parent.clone_expect = (flags, slot, tls)
        parent.clone_child = None
        parent.clone_returned = False
        parent.clone_up = False
        parent.clone_lost = False
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
        parent.clone_allowed = True
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
        parent = self.checked_in.get(nonce)
        if parent is None or tid in self.engine.pids:
            self.engine.refuse(ident)
            return
        parent.clone_allowed = False
        self.stop_awaiting(parent)
        request = parent.clone_request
        assert request is not None
        try:
            child = self.forked_child(parent, request, ident, tid)
        except OSError:
            self.engine.refuse(ident)
            self.engine.strays.begin()
            self.lost(parent)
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
            try:
                if not space.is_spare() or not self.give_channel(ident, space):
                    raise OSError(errno.EMFILE, "no room for one more process")
                process = self.engine.new_process(space, tid)
            except OSError:
                space.close()
                raise
            space.claim(parent.slot)
            child = StubThread(self.engine, process, parent.slot, tid)
            child.awaited = KIND_CHECKIN
            child.clone_parent = parent
            process.brk_start = parent.stub_process.brk_start
        child.unasked = True
        return child

    def give_channel(self, ident: int, space: Space) -> bool:
        """Give the child its channel. Its parent's control socket goes: it could take from there
        what is meant for its parent, which may be another user by now. A file that cannot be
        received from, nor mapped under that number, keeps the place (``StubEngine.give_control``).
        """
        return self.engine.install(ident, space.memfd, CHANNEL_FD) and self.engine.install(
            ident, space.memfd, CONTROL_FD
        )

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
        """The parent's clone call came back, it says."""
        request = parent.clone_request
        if request is None:
            self.engine.events.frame_fault(parent)
            return
        if result < 0:
            self.failed(parent, request, -result if result > -4096 else errno.EAGAIN)
            return
        parent.clone_returned = True
        if parent.clone_nonce in self.checked_in:
            self.watch_unborn(parent, result)
        self.settle(parent)

    def watch_unborn(self, parent: StubThread, pid: int) -> None:
        """The child has not checked in: hear of its end, lest the parent waits for ever for one
        that was killed first. The number is the parent's word: a lie harms nobody else."""
        try:
            fd = os.pidfd_open(pid if 0 < pid < PID_END else PID_END)
        except OSError:
            self.lost(parent)
            return
        self.unborn[fd] = parent
        self.engine.hub.epoll(EPOLL_CTL_ADD, fd, select.EPOLLIN)

    def stop_watching(self, fd: int) -> None:
        del self.unborn[fd]
        self.engine.hub.epoll(EPOLL_CTL_DEL, fd)
        os.close(fd)

    def died_unborn(self, fd: int) -> None:
        """A child that was to check in ended instead."""
        parent = self.unborn[fd]
        self.stop_watching(fd)
        self.lost(parent)

    def lost(self, parent: StubThread) -> None:
        """No child will come of this fork: the parent is told so when its own half is in."""
        self.stop_awaiting(parent)
        parent.clone_lost = True
        self.settle(parent)

    def settle(self, parent: StubThread) -> None:
        """Report the end of a clone when both halves are in."""
        request = parent.clone_request
        if request is None or not parent.clone_returned:
            return
        if parent.clone_lost:
            self.failed(parent, request, errno.EAGAIN)
        elif parent.clone_up:
            parent.clone_request = None
            parent.clone_up = False
            self.engine.events.clone_finished(parent, 0, request)

    def failed(self, parent: StubThread, request: CloneRequest, number: int) -> None:
        """The host would not, or the child is gone already."""
        self.stop_awaiting(parent)
        parent.clone_request = None
        child = parent.clone_child
        parent.clone_child = None
        if child is not None:
            child.clone_parent = None
            self.engine.forget_thread(child)
            process = child.stub_process
            if child in process.threads:
                process.threads.remove(child)
            if process is not parent.stub_process:
                process.kill()  # the parent has lied, or the child never came up
        slot = parent.clone_expect[1]
        if slot and request.share_memory:
            parent.stub_process.space.retire(slot, True)
        self.engine.events.clone_finished(parent, number, request)
