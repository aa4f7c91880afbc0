"""The engine: takes messages off the hub, answers notifications, keeps the pool of empty processes.

One :meth:`StubEngine.poll` is one turn of the Sentry's loop; it
calls the :class:`Events` it was given.
"""

from __future__ import annotations

import _signal as signal
import errno
import os
import select
from typing import TYPE_CHECKING, Final

from librt.strings import read_i64_le
from mypy_extensions import i64

from wardian import _core
from wardian.platform.interface import Events, ExecImage, Request
from wardian.platform.layout import (
    GRANT_FD_FIRST,
    SHARED_SIZE,
)
from wardian.platform.stub.cloning import Cloning
from wardian.platform.stub.memory_calls import MAP_ANONYMOUS, MEMORY_CALLS, fits
from wardian.platform.stub.poller import EPOLL_CTL_ADD, EPOLL_CTL_DEL, EnginePoller
from wardian.platform.stub.pool import Pool
from wardian.platform.stub.process import ProcFiles, Space, StubProcess
from wardian.platform.stub.programs import Programs, Start
from wardian.platform.stub.strays import Strays
from wardian.platform.stub.thread import Grant, StubThread
from wardian.platform.stub.thread_table import ThreadTable
from wardian.platform.stub.wire import (
    ACTION_RETURN,
    KIND_CHECKIN,
    KIND_CLONED,
    KIND_FAULT,
    KIND_HOSTRET,
    KIND_INTERRUPTED,
    KIND_PATCH,
    KIND_SYSCALL,
    MAYBE_CLONED,
    SYS_MMAP,
    signed_int,
)
from wardian.platform.stub.zygote import Zygote

if TYPE_CHECKING:
    from collections.abc import Callable

    Give = Callable[[object, int, int, bytes | bytearray, int, int, bool], int]
    GiveZeros = Callable[[object, int, int, int, bool], int]
    GiveFile = Callable[[object, int, int, int, int, int, bool], int]
    Take = Callable[[object, int, int, int, int], bytes]
    TakeInto = Callable[[object, int, int, int, bytearray, int, int], int]
    TakeFile = Callable[[object, int, int, int, int, int, int, int], int]

REPORTS: Final = (KIND_HOSTRET, KIND_CLONED, KIND_CHECKIN)
"""What a thread says only when it was told to do something (``StubThread.awaited``)."""
FAULTS: Final = (4, 5, 7, 8, 11)  # SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV
MARSHAL_OFFSET: Final = 0x2000
VALIDATED_OFFSET: Final = 8  # shared_page.validated
PATCHING_OFFSET: Final = 12  # shared_page.patching
ZYGOTE_PATIENCE_MS: Final = 2000
MOST_DEPARTED: Final = 16
"""Processes that have ended and still have their channels."""


class StubEngine:
    """All guest processes of one sandbox. ``events`` is set before the first :meth:`poll`."""

    def __init__(
        self,
        stub: str,
        filters: tuple[bytes, bytes],
        marshal: bytes,
        proc_dir: int,
        validated: bool = False,
        patching: bool = True,
    ) -> None:
        self.events = Events()
        self.shared_fd = os.memfd_create("wardian-shared", os.MFD_CLOEXEC)
        os.ftruncate(self.shared_fd, SHARED_SIZE)
        os.pwrite(self.shared_fd, marshal, MARSHAL_OFFSET)
        self.validated = validated  # guests' memory calls are notified and checked
        if validated:
            os.pwrite(self.shared_fd, b"\1", VALIDATED_OFFSET)
        if patching:
            os.pwrite(self.shared_fd, b"\1", PATCHING_OFFSET)
        self.doorbell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.hub = _core.Hub(self.shared_fd, self.doorbell)
        # Bound once: looking a method up costs as much as the call.
        self.wait: Callable[[int], bytes | list[tuple[int, int]]] = self.hub.wait
        self.give: Give = self.hub.give
        self.give_zeros: GiveZeros = self.hub.give_zeros
        self.give_file: GiveFile = self.hub.give_file
        self.take: Take = self.hub.take
        self.take_into: TakeInto = self.hub.take_into
        self.take_file: TakeFile = self.hub.take_file
        self.poller = EnginePoller(self.hub)
        self.proc = ProcFiles(proc_dir)
        self.threads = ThreadTable()
        self.processes: dict[int, StubProcess] = {}  # by pidfd
        self.pids: set[int] = set()  # of all of them
        self.departed: list[StubProcess] = []  # ended as expected, and not taken apart yet
        self.stopped = False  # and all that are still to come
        self.cloning = Cloning(self)
        self.strays = Strays(self)
        self.pool = Pool(self)
        self.programs = Programs(self)
        self.zygote = Zygote(stub, self.shared_fd, self.doorbell)
        self.zygote.install_filters(filters[0], filters[1])
        self.listener = self.zygote.listener
        os.set_blocking(self.listener, False)
        self.hub.set_notify(self.listener)
        if validated:
            self.hub.expect(1)  # at any time
        self.hub.epoll(EPOLL_CTL_ADD, self.listener, select.EPOLLIN)
        self.zygote.socket.setblocking(False)
        self.hub.epoll(EPOLL_CTL_ADD, self.zygote.socket.fileno(), select.EPOLLIN)
        self.zygote_gone = False
        self.patched = 0  # call sites that the stub was let rewrite, and those that it was not
        self.unpatched = 0
        self.traced = False  # every call, and the result of every mmap, is wanted
        self.pool.fill()
        self.cloning.kits.fill()

    @property
    def vdso(self) -> int:
        """Where every guest process has its vDSO; 0 for none."""
        return self.zygote.vdso

    # -- one turn ----------------------------------------------------------------------------------
    def poll(self, timeout_ns: int) -> None:
        """Wait for something to happen and tell ``events``; at
        most ``timeout_ns`` (-1: no limit)."""
        if self.strays.hunting:
            timeout_ns = self.strays.hunt(timeout_ns)
        if self.cloning.delayed:
            timeout_ns = self.cloning.try_delayed(timeout_ns)
        if self.pool.retry_ns:
            timeout_ns = self.pool.retry(timeout_ns)
        due = self.pool.due or self.cloning.kits.due or bool(self.departed)
        found = self.wait(0 if due else timeout_ns)
        if due and not found:
            self.prepare()
            found = self.wait(timeout_ns)
        if isinstance(found, bytes):
            self.message(found)
            return
        for fd, events in found:
            self.host_event(fd, events)

    def prepare(self) -> None:
        """What has ended is taken apart, and what forks and programs to come will need is made:
        nobody wants anything just now."""
        self.take_apart()
        if self.cloning.kits.due:
            self.cloning.kits.fill()
        if self.pool.due:
            self.pool.fill()

    def glance(self, spin_ns: int) -> bool:
        """Take a request that is there or comes within ``spin_ns``, which is waited for only while
        a thread can make one; False when there was none."""
        found = self.hub.glance(spin_ns)
        if found is None:
            return False
        self.message(found)
        return True

    def message(self, data: bytes) -> None:
        """One message of a guest thread."""
        head: i64 = read_i64_le(data, 0)
        kind: i64 = head >> 32
        thread = self.threads.get(head & 0xFFFFFFFF)
        if thread is None:
            return
        if kind == KIND_SYSCALL and thread.awaited == 0:
            self.events.syscall(thread, data)
            return
        if thread.awaited == MAYBE_CLONED:
            thread.awaited = kind if kind == KIND_CLONED else 0
            if kind != KIND_CLONED:
                self.cloning.went_on(thread)
            self.message(data)
            return
        if thread.awaited != (kind if kind in REPORTS else 0):
            self.tampered(thread)
            return
        if kind == KIND_PATCH:
            self.patch_asked(thread, Request(data))
            return
        thread.awaited = 0
        first = int(read_i64_le(data, 24))
        if kind == KIND_INTERRUPTED:
            thread.interrupt_sent = False
            self.events.interrupted(thread)
        elif kind == KIND_FAULT:
            self.fault(thread, Request(data))
        elif kind == KIND_HOSTRET and thread.grant is None:
            thread.host_call_done(first)
        elif kind == KIND_HOSTRET:
            # The call was refused before it was notified, or not made as told.
            self.drop_grant(thread)
            thread.host_call_done(first if first < 0 else -errno.EFAULT)
        elif kind == KIND_CLONED:
            self.cloning.returned(thread, first)
        elif kind == KIND_CHECKIN:
            self.cloning.reported(thread, first)
        else:
            self.events.frame_fault(thread)

    def patch_asked(self, thread: StubThread, request: Request) -> None:
        """A call site has trapped often: may the stub rewrite it?"""
        yes = thread.stub_process.text.holds(request.arg(0), request.arg(1))
        self.patched += yes
        self.unpatched += not yes
        self.hub.reply(thread.key, ACTION_RETURN, int(yes))

    def fault(self, thread: StubThread, request: Request) -> None:
        """A host signal that an instruction of the guest caused."""
        code = signed_int(request.arg(0))
        if request.nr in FAULTS:
            self.events.fault(thread, request.nr, code, request.arg(1), request.data)
        else:
            self.tampered(thread)

    def tampered(self, thread: StubThread) -> None:
        """A message that the stub would not send now: the guest wrote it, and dies of it."""
        if thread.owner is None:
            thread.stub_process.kill()  # a forked child that has not come up
        else:
            self.events.frame_fault(thread)

    def host_event(self, fd: int, events: int) -> None:
        """A host descriptor became ready."""
        if fd == self.listener:
            self.notified()
        elif fd in self.processes:
            self.process_ended(self.processes[fd])
        elif fd in self.cloning.unborn:
            self.cloning.died_unborn(fd)
        elif fd in self.pool.by_fd:
            self.pool.event(self.pool.by_fd[fd])
        elif fd == self.zygote.socket.fileno():
            self.zygote_event()
        else:
            queue = self.poller.queues.get(fd)
            if queue is not None:
                # Whoever waits to read or write hears of the end,
                # too, as poll(2) reports it unasked.
                queue.wake(0 if events & (select.EPOLLHUP | select.EPOLLERR) else events)

    # -- threads and processes ---------------------------------------------------------------------
    def forget_thread(self, thread: StubThread) -> None:
        """The thread will not speak again."""
        self.threads.remove(thread.key)
        self.drop_grant(thread)
        self.cloning.parent_gone(thread)

    def new_process(self, space: Space, pid: int, pidfd: int) -> StubProcess:
        """A host process whose number is known."""
        process = StubProcess(self, space)
        try:
            self.hub.epoll(EPOLL_CTL_ADD, pidfd, select.EPOLLIN)
        except OSError:
            os.close(pidfd)
            raise
        process.born(pid, pidfd)
        return process

    def follow(self, process: StubProcess) -> None:
        """Hear of its end: its pidfd is one of those that are listened to."""
        self.processes[process.pidfd] = process
        self.pids.add(process.pid)
        if self.stopped:
            self.send_signal(process, signal.SIGSTOP)

    def process_ended(self, process: StubProcess) -> None:
        """Its pidfd says that the host process is gone."""
        expected = process.ended
        self.hub.epoll(EPOLL_CTL_DEL, process.pidfd)
        del self.processes[process.pidfd]
        self.pids.discard(process.pid)
        if not expected:
            process.ended = True
            self.events.process_died(process, 9)
            process.leave_threads()
        self.departed.append(process)
        if len(self.departed) >= MOST_DEPARTED:
            self.take_apart()
        self.strays.begin()
        if self.programs.waiting:
            self.pool.fill()

    def take_apart(self) -> None:
        """Free what belonged to processes that are gone: parents wait for the end, not for this."""
        for process in self.departed:
            process.gone()
        self.departed.clear()

    def zygote_event(self) -> None:
        """Nothing is ever sent after the start: this is its end, and the end of all guests."""
        if self.zygote_gone:
            return
        self.zygote_gone = True
        self.hub.epoll(EPOLL_CTL_DEL, self.zygote.socket.fileno())
        for process in list(self.processes.values()):
            if not process.ended:
                self.events.process_died(process, 9)
                process.kill()
        self.events.engine_lost()

    # -- notifications (design D3, second class) ---------------------------------------------------
    def notified(self) -> None:
        """Answer one notification: go on, after checking every argument, or EPERM."""
        notification = _core.notify_receive(self.listener)
        if notification is None:
            return
        ident, tid, nr, a, b, c, d, e, f = notification
        if self.validated and nr in MEMORY_CALLS and (nr != SYS_MMAP or d & MAP_ANONYMOUS):
            number = 0 if fits(nr, a, b, c, d, e) else -errno.EPERM
            _core.notify_send(self.listener, ident, 0, number, number == 0)
        elif nr == SYS_MMAP:
            self.map_notified(ident, tid, (a, b, c, d, e, f))
        else:
            self.refuse(ident)

    def refuse(self, ident: int) -> None:
        _core.notify_send(self.listener, ident, 0, -errno.EPERM, False)

    def thread_of(self, candidates: list[StubThread], tid: int) -> StubThread | None:
        """The candidate that is host thread ``tid``, checked against the host kernel."""
        for thread in candidates:
            if thread.tid() != tid:
                continue
            if thread.tid_is_fact:
                return thread
            try:
                _core.tgkill(thread.process.pid, tid, 0)
            except OSError:
                continue
            return thread
        return None

    def map_notified(self, ident: int, tid: int, args: tuple[int, int, int, int, int, int]) -> None:
        slot = (args[4] & 0xFFFFFFFF) - GRANT_FD_FIRST
        thread = self.thread_of(
            [t for t in self.threads.all() if t.slot == slot and t.grant is not None], tid
        )
        if thread is None or thread.grant is None or thread.grant.args != args:
            self.refuse(ident)
            return
        if not self.install(ident, thread.grant.fd, args[4]):
            self.refuse(ident)
            return
        self.drop_grant(thread)
        _core.notify_send(self.listener, ident, 0, 0, True)

    def install(self, ident: int, fd: int, number: int) -> bool:
        """Put a descriptor into the notifying process; False when that is gone, or has no room."""
        try:
            return _core.notify_add_fd(self.listener, ident, fd, number)
        except OSError:
            return False

    def drop_grant(self, thread: StubThread) -> None:
        grant: Grant | None = thread.grant
        if grant is not None:
            os.close(grant.fd)
            thread.grant = None
            self.hub.expect(-1)

    # -- programs ----------------------------------------------------------------------------------
    def exec(self, thread: StubThread, image: ExecImage) -> None:
        """Run ``image`` as ``thread``, here or in a pool process; the old host process ends with
        its last user."""
        self.programs.exec(thread, image)

    def launch(self, image: ExecImage, owner: object) -> None:
        """Run ``image`` as a program without a parent on the host;
        ``Events.launched`` reports, now or later."""
        self.programs.begin(Start(image, None, owner))

    def forget_start(self, owner: object) -> None:
        """``owner`` ended before its program had a process."""
        self.programs.forget_start(owner)

    # -- all at once -------------------------------------------------------------------------------
    def stop_all(self) -> None:
        """No guest instruction runs until :meth:`continue_all` (or its process is killed)."""
        self.stopped = True
        self.signal_all(signal.SIGSTOP)

    def continue_all(self) -> None:
        """After :meth:`stop_all`."""
        self.stopped = False
        self.signal_all(signal.SIGCONT)

    def signal_all(self, number: int) -> None:
        for process in self.processes.values():
            self.send_signal(process, number)

    def send_signal(self, process: StubProcess, number: int) -> None:
        try:
            signal.pidfd_send_signal(process.pidfd, number)
        except ProcessLookupError:
            pass

    def close(self) -> None:
        """End every guest process; afterwards nothing of this engine is left on the host."""
        self.zygote.socket.close()
        for process in list(self.processes.values()):
            process.kill()
            process.end()  # if it was only told to
        for fresh in self.pool.by_fd.values():
            fresh.control.close()
            if fresh.pidfd >= 0:
                os.close(fresh.pidfd)
        self.cloning.kits.close()
        try:
            self.await_zygote()
        except OSError:
            pass  # somebody has waited for it already

    def await_zygote(self) -> None:
        """It ends by itself when its socket closes, unless somebody has put it out of action."""
        fd = os.pidfd_open(self.zygote.pid)
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        if not poller.poll(ZYGOTE_PATIENCE_MS):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        os.waitpid(self.zygote.pid, 0)
        os.close(fd)
