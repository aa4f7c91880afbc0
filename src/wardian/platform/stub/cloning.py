"""clone(2) on the host: threads, forks and vforks, and how a new process proves what it is.

The filter lets the stub make these calls without asking: their flags are fixed, and a thread or a
process that no slot belongs to can say nothing (``strays`` ends such processes). A child runs
beside its parent from the start, and the parent does not wait for it.

A new process reports itself on the channel that was made for it. The host's word for who that is
would cost a notification (two sleeps of a guest thread); instead the parent keeps a nonce, told
with the order, in memory of the stub, so its child has it too and no other process. The number
that the child claims is its own when the memory of that host process holds the nonce.
"""

from __future__ import annotations

import errno
import os
import select
import time
from typing import TYPE_CHECKING, Final

from wardian import _core
from wardian.platform.interface import CloneRequest
from wardian.platform.layout import (
    BLOCK_ROOM,
    FORK_FLAGS,
    NONCE_OFFSET,
    STACK_SIZE,
    STACKS_BASE,
    THREAD_FLAGS,
    VFORK_FLAGS,
)
from wardian.platform.stub.births import Kits
from wardian.platform.stub.poller import EPOLL_CTL_ADD, EPOLL_CTL_DEL
from wardian.platform.stub.process import StubProcess
from wardian.platform.stub.thread import CLONE_SETTLS, StubThread
from wardian.platform.stub.wire import ACTION_CLONE, KIND_CHECKIN, KIND_CLONED, MAYBE_CLONED, WORDS
from wardian.sentry.errno import EAGAIN, LinuxError

if TYPE_CHECKING:
    from wardian.platform.stub.engine import StubEngine

PID_END: Final = 1 << 22
LOOK_AGAIN_NS: Final = 200_000
PATIENCE_NS: Final = 5_000_000_000
"""How long a fork waits for another thread to take what it was sent, which it does as soon as it
runs."""


class Cloning:
    """The clones on their way in one engine."""

    def __init__(self, engine: StubEngine) -> None:
        self.engine = engine
        self.kits = Kits(engine)
        self.unborn: dict[int, StubThread] = {}  # by what tells us of a death before the report
        self.delayed: list[StubThread] = []  # forks until another thread has taken its descriptor
        self.next_look_ns = 0  # at them
        self.orphans: dict[StubThread, int] = {}  # of whom no more can be heard, and looks at them

    # -- the order ---------------------------------------------------------------------------------
    def begin(self, parent: StubThread, request: CloneRequest) -> None:
        """Have the stub make a child; EAGAIN."""
        if request.share_memory:
            self.share(parent, request)
        elif parent.stub_process.can_send(parent):
            self.fork(parent, request)
        elif parent.stub_process.control is None:
            raise EAGAIN("the process has no socket to be sent its child's channel")
        else:
            parent.clone_request = request
            parent.clone_until_ns = time.monotonic_ns() + PATIENCE_NS
            self.delayed.append(parent)

    def try_delayed(self, timeout_ns: int) -> int:
        """Forks that had to wait: the socket may be free by now. At most how long to wait."""
        now = time.monotonic_ns()
        if now >= self.next_look_ns:
            for parent in list(self.delayed):
                self.try_again(parent, now)
            self.next_look_ns = now + LOOK_AGAIN_NS
        if not self.delayed:
            return timeout_ns
        left = self.next_look_ns - now
        return left if timeout_ns < 0 else min(timeout_ns, left)

    def try_again(self, parent: StubThread, now: int) -> None:
        """One of them."""
        request = parent.clone_request
        free = parent.stub_process.can_send(parent)
        if request is None or not (free or now >= parent.clone_until_ns):
            return
        self.delayed.remove(parent)
        if not free:
            self.refused(parent, request, errno.EAGAIN)
            return
        try:
            self.fork(parent, request)
        except LinuxError as error:
            self.refused(parent, request, error.number)

    def share(self, parent: StubThread, request: CloneRequest) -> None:
        """A thread, or a process in the same memory, on a slot of the same channel."""
        process = parent.stub_process
        slot = process.space.allocate()
        if request.thread:
            process.threaded = True
        else:
            process = process.sharing()
        child = StubThread(self.engine, process, slot, 0)
        child.reports_end = True
        self.announce(parent, child, request)
        flags = THREAD_FLAGS if request.thread else VFORK_FLAGS
        self.order(parent, child, request, flags, slot)

    def fork(self, parent: StubThread, request: CloneRequest) -> None:
        """A process with a copy of the memory."""
        control = parent.stub_process.control
        assert control is not None
        kit = self.kits.take()
        process = StubProcess(self.engine, kit.space)
        process.inherit(parent.stub_process)
        process.control = kit.control
        kit.space.claim(parent.slot)
        child = StubThread(self.engine, process, parent.slot, 0)
        try:
            self.announce(parent, child, request)
            kit.send(control, parent)
        except OSError as e:
            self.not_made(child)
            raise EAGAIN(f"the parent cannot be sent its child's channel: {e}") from None
        finally:
            kit.theirs.close()
        self.watch(kit.control.socket.fileno(), child)
        self.order(parent, child, request, FORK_FLAGS, 0)

    def announce(self, parent: StubThread, child: StubThread, request: CloneRequest) -> None:
        """Tell of a child to come, before anything of it is sent: the kernel may not be able to
        have it."""
        try:
            self.engine.events.cloned(parent, child, request)
        except LinuxError:
            self.not_made(child)
            raise

    def order(
        self, parent: StubThread, child: StubThread, request: CloneRequest, flags: int, slot: int
    ) -> None:
        nonce = 0
        if not request.thread:
            nonce = int.from_bytes(os.urandom(7), "little") + 1
            child.awaited = KIND_CHECKIN
            child.nonce_slot = parent.slot
        child.clone_nonce = nonce
        parent.clone_request = request
        parent.clone_child = child
        child.clone_parent = parent
        if request.set_tls:
            flags |= CLONE_SETTLS
        waits = request.share_memory and not request.thread
        parent.awaited = KIND_CLONED if waits else MAYBE_CLONED
        words = WORDS[7].pack(
            flags,
            slot,
            request.stack,
            request.tls,
            nonce,
            request.parent_tid_at,
            request.child_tid_at,
        )
        self.engine.hub.place(parent.key, child.key)
        self.engine.hub.reply(parent.key, ACTION_CLONE, request.tid, words)
        if not waits:
            self.engine.events.clone_answered(parent, request)

    # -- the child ---------------------------------------------------------------------------------
    def reported(self, child: StubThread, pid: int) -> None:
        """A new process speaks for the first time."""
        process = child.stub_process
        if not self.bear(child, process, pid):
            self.died(child)
            return
        if process.ended:
            process.end()
        else:
            self.engine.events.interrupted(child)

    def bear(self, child: StubThread, process: StubProcess, pid: int) -> bool:
        """Follow the host process from now on, if it is the one that we had made."""
        pidfd = child.watched_by
        if self.is_watched(child, pid):
            del self.unborn[pidfd]
            child.watched_by = -1
        else:
            pidfd = self.open_child(child, pid)
            if pidfd < 0:
                return False
            self.stop_watching(child)
            try:
                self.engine.hub.epoll(EPOLL_CTL_ADD, pidfd, select.EPOLLIN)
            except OSError:
                os.close(pidfd)
                return False
        child.host_tid = pid
        child.tid_is_fact = True
        process.born(pid, pidfd)
        child.tell_host_thread()
        return True

    def is_watched(self, child: StubThread, pid: int) -> bool:
        """Whether it is the child of a vfork that its parent named, and that had the nonce then.
        Another child may have become it since, where two parents named the same one."""
        return (
            child.watched_by >= 0 and 0 < pid == child.watched_pid and pid not in self.engine.pids
        )

    def open_child(self, child: StubThread, pid: int) -> int:
        """A pidfd of the host process ``pid``; -1 unless it is not known yet and has the nonce."""
        if not 0 < pid < PID_END or pid in self.engine.pids:
            return -1
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return -1
        where = STACKS_BASE + (child.nonce_slot + 1) * STACK_SIZE - BLOCK_ROOM + NONCE_OFFSET
        if _core.vm_word(pid, where) == child.clone_nonce:
            return pidfd
        os.close(pidfd)
        return -1

    def died(self, child: StubThread) -> None:
        """No host process will ever be heard of: it was killed first, or is none of ours."""
        process = child.stub_process
        self.stop_watching(child)
        self.orphans.pop(child, None)
        self.engine.strays.begin()
        if not process.ended:
            process.ended = True
            self.engine.events.process_died(process, 9)
        process.gone()

    def watch(self, fd: int, child: StubThread) -> None:
        """Hear of the child's end before its report by this descriptor: the socket's other end is
        closed when nobody holds it any more, or a pidfd."""
        self.unborn[fd] = child
        child.watched_by = fd
        self.engine.hub.epoll(EPOLL_CTL_ADD, fd, select.EPOLLIN)

    def stop_watching(self, child: StubThread) -> None:
        fd = child.watched_by
        if fd < 0:
            return
        child.watched_by = -1
        del self.unborn[fd]
        self.engine.hub.epoll(EPOLL_CTL_DEL, fd)
        control = child.stub_process.control
        if control is None or control.socket.fileno() != fd:
            os.close(fd)

    def died_unborn(self, fd: int) -> None:
        """A child that was to report itself ended instead, or is none: a parent that the host has
        refused a fork closes the child's socket before it says so."""
        child = self.unborn[fd]
        parent = child.clone_parent
        if parent is not None and parent.clone_child is child:
            self.stop_watching(child)
            self.expect_soon(child)
        else:
            self.died(child)

    def expect_soon(self, child: StubThread) -> None:
        """To be heard of, by its report or what its parent says next, or never."""
        self.orphans[child] = 0
        self.engine.strays.begin()

    # -- the parent --------------------------------------------------------------------------------
    def went_on(self, parent: StubThread) -> None:
        """The parent says something else: the host has made the child, which reports itself soon.
        (The end of its socket can be late: whoever holds a copy keeps it open.)"""
        child = parent.clone_child
        self.forget(parent)
        if child is None or child.awaited != KIND_CHECKIN:
            return
        if child in self.orphans:
            self.died(child)
        else:
            self.expect_soon(child)

    def returned(self, parent: StubThread, result: int) -> None:
        """The parent's clone call came back, it says: of a vfork, or with an error."""
        request = parent.clone_request
        child = parent.clone_child
        self.forget(parent)
        if request is None or child is None:
            self.engine.events.frame_fault(parent)
        elif result < 0 and (request.thread or child.awaited == KIND_CHECKIN):
            if child in child.stub_process.threads:  # it was not ended meanwhile
                self.not_made(child)
            self.refused(parent, request, -result if result > -4096 else errno.EAGAIN)
        elif result < 0 or request.thread or not request.share_memory:
            self.engine.events.frame_fault(parent)  # we have heard of it; or it was not to say so
        else:
            if child.awaited == KIND_CHECKIN and child.watched_by < 0:
                self.watch_pid(child, result)
            self.engine.events.clone_finished(parent, 0, request)

    def watch_pid(self, child: StubThread, pid: int) -> None:
        """The number is the parent's word, and held against the nonce."""
        fd = self.open_child(child, pid)
        if fd < 0:
            self.died(child)
        else:
            self.watch(fd, child)
            child.watched_pid = pid

    def refused(self, parent: StubThread, request: CloneRequest, number: int) -> None:
        """No child."""
        self.forget(parent)
        self.engine.events.clone_finished(parent, number, request)

    def not_made(self, child: StubThread) -> None:
        """The host would not: nobody stands where the child was to."""
        process = child.stub_process
        self.stop_watching(child)
        self.orphans.pop(child, None)
        if not process.pid:
            process.gone()
            self.engine.strays.begin()  # if the parent has lied, there is somebody
            return
        self.engine.forget_thread(child)
        process.threads.remove(child)
        process.space.retire(child.slot, True)

    def parent_gone(self, thread: StubThread) -> None:
        """The thread ended, perhaps before it made the child that it was to make."""
        child = thread.clone_child
        if child is not None and child.awaited == KIND_CHECKIN:
            self.expect_soon(child)
        self.forget(thread)

    def give_up(self, patience: int) -> bool:
        """Called now and then: orphans that have not spoken for so many times never will. Whether
        there are more."""
        for child, looks in list(self.orphans.items()):
            self.orphans[child] = looks + 1
            if child.awaited != KIND_CHECKIN or child.stub_process.pid:
                del self.orphans[child]
            elif looks >= patience:
                self.died(child)
        return bool(self.orphans)

    def forget(self, thread: StubThread) -> None:
        """Nothing more is to come of this thread's clone."""
        if thread.clone_child is not None:
            thread.clone_child.clone_parent = None
        thread.clone_request = None
        thread.clone_child = None
        if thread in self.delayed:
            self.delayed.remove(thread)
