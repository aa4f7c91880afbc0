"""The engine: takes messages off the hub, answers notifications, keeps the pool of empty processes.

One :meth:`StubEngine.poll` is one turn of the Sentry's loop; it calls the :class:`Events` it was given.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import struct
from typing import Final

from librt.strings import read_i64_le
from mypy_extensions import i64

from wardian import _core
from wardian.platform.interface import CloneRequest, Events, ExecImage, Request
from wardian.platform.layout import (
    CHANNEL_FD,
    CHECKIN_CODE,
    CONTROL_FD,
    GRANT_FD_FIRST,
    SHARED_SIZE,
    STACK_SIZE,
    STACKS_BASE,
)
from wardian.platform.stub.memory_calls import MAP_ANONYMOUS, MEMORY_CALLS, fits
from wardian.platform.stub.pool import PoolProcess, encode_image
from wardian.platform.stub.process import ProcFiles, Space, StubProcess
from wardian.platform.stub.thread import CLONE_SETTLS, Grant, StubThread, slot_tid_address
from wardian.platform.stub.wire import (
    DATA_OFFSET,
    KIND_CHECKIN,
    KIND_CLONED,
    KIND_FAULT,
    KIND_HOSTRET,
    KIND_INTERRUPTED,
    KIND_SYSCALL,
    SYS_ARCH_PRCTL,
    SYS_CLONE,
    SYS_MMAP,
    signed,
)
from wardian.platform.stub.zygote import Zygote
from wardian.sentry.hostport import HostPoller
from wardian.sentry.kernel.waitqueue import WaitQueue

EPOLL_CTL_ADD: Final = 1
EPOLL_CTL_DEL: Final = 2
MARSHAL_OFFSET: Final = 0x2000
VALIDATED_OFFSET: Final = 8  # shared_page.validated
POOL_SIZE: Final = 2
POOL_BURST: Final = 6


class EnginePoller(HostPoller):
    """Readiness of host descriptors through the hub's epoll set."""

    def __init__(self, hub: _core.Hub) -> None:
        self.hub = hub
        self.queues: dict[int, WaitQueue] = {}

    def watch(self, fd: int, events: int) -> WaitQueue:
        queue = self.queues.get(fd)
        if queue is None:
            queue = WaitQueue()
            self.queues[fd] = queue
            wanted = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET
            try:
                self.hub.epoll(EPOLL_CTL_ADD, fd, wanted)
            except PermissionError:
                pass  # a regular file is always ready
        return queue

    def forget(self, fd: int) -> None:
        if self.queues.pop(fd, None) is not None:
            try:
                self.hub.epoll(EPOLL_CTL_DEL, fd)
            except OSError:
                pass

    def ready(self, fd: int, events: int) -> int:
        poller = select.poll()
        poller.register(fd, events)
        found = poller.poll(0)
        return found[0][1] if found else 0


class Start:
    """A program on its way into a pool process: for a thread that has one already (execve), or for ``owner``."""

    def __init__(self, image: ExecImage, thread: StubThread | None, owner: object | None) -> None:
        self.image = image
        self.thread = thread
        self.owner = owner


class StubEngine:
    """All guest processes of one sandbox. ``events`` is set before the first :meth:`poll`."""

    def __init__(self, stub: str, filters: tuple[bytes, bytes], marshal: bytes, proc_dir: int,
                 validated: bool = False) -> None:
        self.events = Events()
        self.shared_fd = os.memfd_create("wardian-shared", os.MFD_CLOEXEC)
        os.ftruncate(self.shared_fd, SHARED_SIZE)
        os.pwrite(self.shared_fd, marshal, MARSHAL_OFFSET)
        self.validated = validated  # guests' memory calls are notified and checked
        if validated:
            os.pwrite(self.shared_fd, b"\1", VALIDATED_OFFSET)
        self.doorbell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.hub = _core.Hub(self.shared_fd, self.doorbell)
        self.poller = EnginePoller(self.hub)
        self.proc = ProcFiles(proc_dir)
        self.threads: dict[int, StubThread] = {}
        self.finishing: dict[int, int] = {}  # key -> result to report after the mprotect of a filled mapping
        self.processes: dict[int, StubProcess] = {}  # by pidfd
        self.cloning: list[StubThread] = []  # parents whose clone notification or check-in is awaited
        self.checked_in: dict[int, StubThread] = {}  # nonce -> parent
        self.pool: list[PoolProcess] = []
        self.pool_fds: dict[int, PoolProcess] = {}
        self.pool_target = POOL_SIZE
        self.waiting: list[Start] = []  # programs without a pool process yet, in order
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
        self.report_maps = False  # every mmap's result is wanted (tracing)
        # Not SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: it brings the guest to our core, and there both spin.
        self.fill_pool()

    @property
    def vdso(self) -> int:
        """Where every guest process has its vDSO; 0 for none."""
        return self.zygote.vdso

    # -- one turn ------------------------------------------------------------------------------------
    def poll(self, timeout_ns: int) -> None:
        """Wait for something to happen and tell ``events``; at most ``timeout_ns`` (-1: no limit)."""
        found = self.hub.wait(timeout_ns)
        if isinstance(found, bytes):
            self.message(found)
            return
        for fd, events in found:
            self.host_event(fd, events)

    def message(self, data: bytes) -> None:
        """One message of a guest thread."""
        head: i64 = read_i64_le(data, 0)
        kind: i64 = head >> 32
        thread = self.threads.get(int(head & 0xFFFFFFFF))
        if thread is None:
            return
        process = thread.stub_process
        if process.granted_to is thread:
            process.granted_to = None
        first = int(read_i64_le(data, 24))
        if kind == KIND_SYSCALL:
            self.events.syscall(thread, Request(data))
        elif kind == KIND_INTERRUPTED:
            thread.interrupt_sent = False
            self.events.interrupted(thread)
        elif kind == KIND_FAULT:
            fault = Request(data)
            self.events.fault(thread, fault.nr & 0x7F, signed(fault.arg(0)), fault.arg(1), fault.data)
        elif kind == KIND_HOSTRET and thread.grant is None:
            thread.host_call_done(first)
        elif kind == KIND_HOSTRET:
            # The call was refused before it was notified, or not made as told.
            self.drop_grant(thread)
            thread.host_call_done(first if first < 0 else -errno.EFAULT)
        elif kind == KIND_CLONED:
            self.clone_returned(thread, first)
        elif kind == KIND_CHECKIN and thread.unasked:
            thread.unasked = False
            self.clone_came_up(thread)
        else:
            self.events.frame_fault(thread)

    def host_event(self, fd: int, events: int) -> None:
        """A host descriptor became ready."""
        if fd == self.listener:
            self.notified()
        elif fd in self.processes:
            self.process_ended(self.processes[fd])
        elif fd in self.pool_fds:
            self.pool_event(self.pool_fds[fd])
        elif fd == self.zygote.socket.fileno():
            self.zygote_event()
        else:
            queue = self.poller.queues.get(fd)
            if queue is not None:
                # Whoever waits to read or write hears of the end, too, as poll(2) reports it unasked.
                queue.wake(0 if events & (select.EPOLLHUP | select.EPOLLERR) else events)

    # -- threads and processes --------------------------------------------------------------------------
    def forget_thread(self, thread: StubThread) -> None:
        """The thread will not speak again."""
        self.threads.pop(thread.key, None)
        self.drop_grant(thread)
        self.finishing.pop(thread.key, None)
        if thread in self.cloning:
            self.cloning.remove(thread)
            self.hub.expect(-1)
        self.checked_in.pop(thread.clone_nonce, None)

    def new_process(self, space: Space, pid: int) -> StubProcess:
        """Start to follow a host process."""
        process = StubProcess(self, space, pid)
        self.processes[process.pidfd] = process
        self.hub.epoll(EPOLL_CTL_ADD, process.pidfd, select.EPOLLIN)
        return process

    def process_ended(self, process: StubProcess) -> None:
        """Its pidfd says that the host process is gone."""
        expected = process.ended
        self.hub.epoll(EPOLL_CTL_DEL, process.pidfd)
        del self.processes[process.pidfd]
        if not expected:
            process.ended = True
            self.events.process_died(process, 9)
        process.gone()

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

    # -- notifications (design D3, second class) ------------------------------------------------------------
    def notified(self) -> None:
        """Answer one notification: go on, after checking every argument, or EPERM."""
        notification = _core.notify_receive(self.listener)
        if notification is None:
            return
        ident, tid, nr, a, b, c, d, e, f = notification
        if nr == SYS_ARCH_PRCTL and a == CHECKIN_CODE:
            self.check_in(ident, tid, b)
        elif nr == SYS_CLONE:
            self.clone_notified(ident, tid, a, b, c, d, e)
        elif self.validated and nr in MEMORY_CALLS and (nr != SYS_MMAP or d & MAP_ANONYMOUS):
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
        thread = self.thread_of([t for t in self.threads.values() if t.slot == slot and t.grant is not None], tid)
        if thread is None or thread.grant is None or thread.grant.args != args:
            self.refuse(ident)
            return
        grant = thread.grant
        _core.notify_add_fd(self.listener, ident, grant.fd, args[4])
        if thread.stub_process.control is None:
            self.give_control(thread.stub_process, ident)
        self.drop_grant(thread)
        _core.notify_send(self.listener, ident, 0, 0, True)

    def give_control(self, process: StubProcess, ident: int) -> None:
        """A forked process gets a control socket of its own with its first notified mapping."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        if _core.notify_add_fd(self.listener, ident, theirs.fileno(), CONTROL_FD):
            process.control = ours
        else:
            ours.close()
        theirs.close()

    def drop_grant(self, thread: StubThread) -> None:
        grant: Grant | None = thread.grant
        if grant is not None:
            os.close(grant.fd)
            thread.grant = None
            self.hub.expect(-1)

    # -- clone -------------------------------------------------------------------------------------------
    def begin_thread(self, parent: StubThread, slot: int) -> None:
        """A thread of the same process: the filter lets its clone pass without asking, since a thread that
        no slot belongs to can say nothing. It runs as soon as the host has made it."""
        request = parent.clone_request
        assert request is not None
        child = StubThread(self, parent.stub_process, slot, 0)
        child.reports_end = True
        child.unasked = True
        parent.clone_child = child
        parent.clone_returned = False
        parent.clone_up = True
        self.events.cloned(parent, child, request)

    def begin_clone(self, parent: StubThread, slot: int, flags: int, tls: int) -> None:
        """Expect the notification of this clone."""
        parent.clone_expect = (flags, slot, tls)
        parent.clone_child = None
        parent.clone_returned = False
        parent.clone_up = False
        self.cloning.append(parent)
        self.hub.expect(1)
        if parent.clone_nonce:
            self.checked_in[parent.clone_nonce] = parent

    def clone_notified(self, ident: int, tid: int, flags: int, stack: int, ptid: int, ctid: int, tls: int) -> None:
        parent = self.thread_of(self.cloning, tid)
        if parent is None or not self.clone_as_told(parent, flags, stack, ptid, ctid, tls):
            self.refuse(ident)
            return
        self.cloning.remove(parent)
        _core.notify_send(self.listener, ident, 0, 0, True)

    def clone_as_told(self, parent: StubThread, flags: int, stack: int, ptid: int, ctid: int, tls: int) -> bool:
        """Every argument is what the Sentry asked for."""
        told, slot, told_tls = parent.clone_expect
        if slot == 0:
            return flags == told & ~CLONE_SETTLS and stack == 0 and ptid == 0 and ctid == 0
        word = slot_tid_address(slot)
        base = STACKS_BASE + slot * STACK_SIZE
        return (flags == told and ptid == word and ctid == word and base <= stack < base + STACK_SIZE
                and (tls == told_tls or not flags & CLONE_SETTLS))

    def check_in(self, ident: int, tid: int, nonce: int) -> None:
        """A forked child speaks for the first time: only it knows the nonce."""
        parent = self.checked_in.pop(nonce, None)
        if parent is None:
            self.refuse(ident)
            return
        self.hub.expect(-1)
        request = parent.clone_request
        assert request is not None
        try:
            child = self.forked_child(parent, request, ident, tid)
        except OSError:
            self.refuse(ident)
            return
        parent.clone_child = child
        if request.share_memory:
            parent.clone_up = True
            self.events.cloned(parent, child, request)
        _core.notify_send(self.listener, ident, 0, 0, False)
        self.clone_settled(parent)

    def forked_child(self, parent: StubThread, request: CloneRequest, ident: int, tid: int) -> StubThread:
        """The new host process: with the parent's channel (vfork) or one of its own."""
        if request.share_memory:
            process = self.new_process(parent.stub_process.space, tid)
            child = StubThread(self, process, parent.clone_expect[1], tid)
            child.reports_end = True
        else:
            space = Space(self.hub)
            space.claim(parent.slot)
            process = self.new_process(space, tid)
            child = StubThread(self, process, parent.slot, tid)
            process.brk_start = parent.stub_process.brk_start
            _core.notify_add_fd(self.listener, ident, space.memfd, CHANNEL_FD)
        child.unasked = True
        child.clone_parent = parent
        return child

    def clone_came_up(self, child: StubThread) -> None:
        """A forked child stands on its own channel."""
        parent = child.clone_parent
        child.clone_parent = None
        if parent is None or parent.clone_request is None:
            return
        request = parent.clone_request
        parent.clone_up = True
        self.events.cloned(parent, child, request)
        self.clone_settled(parent)

    def clone_returned(self, parent: StubThread, result: int) -> None:
        """The parent's clone call came back."""
        request = parent.clone_request
        if request is None:
            self.events.frame_fault(parent)
            return
        if result < 0:
            self.clone_failed(parent, request, -result)
            return
        parent.clone_returned = True
        self.clone_settled(parent)

    def clone_settled(self, parent: StubThread) -> None:
        """Report the end of a clone when both halves are in."""
        request = parent.clone_request
        if request is None or not parent.clone_returned or not parent.clone_up:
            return
        parent.clone_request = None
        parent.clone_up = False
        self.events.clone_finished(parent, 0, request)

    def clone_failed(self, parent: StubThread, request: CloneRequest, number: int) -> None:
        """The host would not."""
        if parent in self.cloning:
            self.cloning.remove(parent)
            self.hub.expect(-1)
        elif self.checked_in.pop(parent.clone_nonce, None) is not None:
            self.hub.expect(-1)
        child = parent.clone_child
        if child is not None:
            self.forget_thread(child)
            if child in child.stub_process.threads:
                child.stub_process.threads.remove(child)
        parent.clone_request = None
        self.events.clone_finished(parent, number, request)

    # -- exec and the pool ---------------------------------------------------------------------------------
    def fill_pool(self) -> None:
        """Keep empty processes ready (design D9)."""
        while len(self.pool) < self.pool_target and not self.zygote_gone:
            fresh = PoolProcess(self.hub)
            try:
                self.zygote.spawn(fresh.space.memfd, fresh.theirs.fileno())
            except OSError:
                fresh.close()
                return
            fresh.theirs.close()
            self.pool.append(fresh)
            self.pool_fds[fresh.control.fileno()] = fresh
            self.hub.epoll(EPOLL_CTL_ADD, fresh.control.fileno(), select.EPOLLIN)

    def pool_event(self, fresh: PoolProcess) -> None:
        """A pool process is ready, asks for the rest of its image, or is gone."""
        try:
            data, ancillary, _, _ = fresh.control.recvmsg(1, socket.CMSG_SPACE(12))
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        if data == b"R" and fresh.pid == 0:
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    fresh.pid = struct.unpack("3i", content)[0]
            if self.waiting:
                self.begin(self.waiting.pop(0))
            return
        self.stop_listening(fresh)
        if data == b"M" and fresh.taken_by is not None:
            fresh.write_rest()
            return
        if fresh.taken_by is None and fresh in self.pool:
            self.pool.remove(fresh)
            fresh.space.users += 1
            fresh.space.drop()
            if self.waiting:
                self.fill_pool()
        if fresh.taken_by is None:
            fresh.control.close()  # otherwise its process does

    def stop_listening(self, fresh: PoolProcess) -> None:
        """Nothing more is expected from this process; its end is reported by its pidfd."""
        fd = fresh.control.fileno()
        if self.pool_fds.pop(fd, None) is not None:
            self.hub.epoll(EPOLL_CTL_DEL, fd)

    def take_from_pool(self) -> PoolProcess | None:
        for fresh in self.pool:
            if fresh.pid:
                self.pool.remove(fresh)
                return fresh
        return None

    def exec(self, thread: StubThread, image: ExecImage) -> None:
        """Run ``image`` in a pool process, as ``thread``; the old host process ends with its last user."""
        self.begin(Start(image, thread, None))

    def launch(self, image: ExecImage, owner: object) -> None:
        """Run ``image`` as a program without a parent on the host; ``Events.launched`` reports, now or later."""
        self.begin(Start(image, None, owner))

    def begin(self, start: Start) -> None:
        """Move in, or wait for a pool process to move into."""
        fresh: PoolProcess | None = None
        process: StubProcess | None = None
        while process is None:
            fresh = self.take_from_pool()
            if fresh is None:
                self.waiting.append(start)
                self.pool_target = min(POOL_BURST, self.pool_target + 1)
                self.fill_pool()
                return
            try:
                process = self.new_process(fresh.space, fresh.pid)
            except ProcessLookupError:  # killed from outside while it waited
                fresh.space.drop()
        assert fresh is not None
        fresh.space.claim(1)
        if start.thread is None:
            thread = StubThread(self, process, 1, fresh.pid)
            self.load(fresh, thread, start.image)
            self.events.launched(thread, start.owner)
        else:
            self.move(start.thread, process, fresh.pid)
            self.load(fresh, start.thread, start.image)
            self.events.exec_done(start.thread)
        self.fill_pool()

    def move(self, thread: StubThread, process: StubProcess, tid: int) -> None:
        """``thread`` leaves its old host process for slot 1 of an empty one."""
        self.leave_process(thread)
        thread.process = process
        thread.stub_process = process
        thread.slot = 1
        thread.key = process.space.key(1)
        thread.host_tid = tid
        thread.tid_is_fact = True
        thread.reports_end = False
        thread.unasked = False
        thread.interrupt_sent = False
        process.threads.append(thread)
        self.threads[thread.key] = thread

    def forget_start(self, owner: object) -> None:
        """``owner`` ended before its program had a process."""
        self.waiting = [start for start in self.waiting if start.owner is not owner or start.thread is not None]

    def leave_process(self, thread: StubThread) -> None:
        """Part with the old program's host process."""
        old = thread.stub_process
        self.forget_thread(thread)
        if thread in old.threads:
            old.threads.remove(thread)
        old.space.retire(thread.slot, thread.reports_end)
        if not old.threads:
            old.kill()

    def load(self, fresh: PoolProcess, thread: StubThread, image: ExecImage) -> None:
        """Send the image to the pool process."""
        thread.stub_process.brk_start = image.brk_start
        fresh.taken_by = thread
        message, data, fds = encode_image(image, fresh)
        thread.stub_process.control = fresh.control
        self.hub.put(thread.key, DATA_OFFSET, data)
        if not fresh.rest:
            self.stop_listening(fresh)
        try:
            socket.send_fds(fresh.control, [message], fds)
        except BrokenPipeError:
            pass  # killed from outside: its pidfd reports that

    def stop_all(self) -> None:
        """No guest instruction runs until :meth:`continue_all` (or its process is killed)."""
        self.signal_all(signal.SIGSTOP)

    def continue_all(self) -> None:
        """After :meth:`stop_all`."""
        self.signal_all(signal.SIGCONT)

    def signal_all(self, number: int) -> None:
        for process in self.processes.values():
            try:
                signal.pidfd_send_signal(process.pidfd, number)
            except ProcessLookupError:
                pass

    def close(self) -> None:
        """End every guest process; afterwards nothing of this engine is left on the host."""
        self.zygote.socket.close()
        for process in list(self.processes.values()):
            process.kill()
        for fresh in self.pool_fds.values():
            fresh.control.close()
        try:
            os.waitpid(self.zygote.pid, 0)
        except ChildProcessError:
            pass
