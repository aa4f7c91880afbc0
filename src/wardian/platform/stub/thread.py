"""Guest threads: how each answer of the Sentry is put on the channel."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

from wardian import _core
from wardian.platform.hostfds import for_guest
from wardian.platform.interface import (
    RESTART,
    CloneRequest,
    ExecImage,
    HostThread,
    SignalFrame,
)
from wardian.platform.layout import (
    GRANT_FD_FIRST,
    GUEST_TOP,
    SLOT_ROBUST_OFFSET,
)
from wardian.platform.stub.process import StubProcess
from wardian.platform.stub.wire import (
    ACTION_EXIT,
    ACTION_EXIT_GROUP,
    ACTION_HOSTCALL,
    ACTION_MAP,
    ACTION_RESUME,
    ACTION_RETURN,
    ACTION_SIGNAL,
    ACTION_SIGRETURN,
    DELIVER,
    IDS,
    IDS_OFFSET,
    INTERRUPT_SIGNAL,
    KIND_HOSTRET,
    SIGINFO_OFFSET,
    SYS_MMAP,
    SYS_MUNMAP,
    WORDS,
)
from wardian.sentry.errno import from_os_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.platform.stub.engine import StubEngine

CLONE_SETTLS: Final = 0x80000

SA_ONSTACK: Final = 0x08000000


class Grant:
    """A notified host call that a thread was told to make:
    exactly these arguments and no others."""

    def __init__(self, nr: int, args: tuple[int, int, int, int, int, int], fd: int) -> None:
        self.nr = nr
        self.args = args
        self.fd = fd  # to be installed first, -1 for none; owned


class StubThread(HostThread):
    """One guest thread on its channel slot."""

    def __init__(self, engine: StubEngine, process: StubProcess, slot: int, host_tid: int) -> None:
        super().__init__(process)
        self.engine = engine
        self.stub_process = process
        self.slot = slot
        self.key = process.space.key(slot)
        self.handle: object = self.key  # the same, as the number that the hub's functions take
        self.reply: Callable[[object, int, int], None] = engine.hub.reply
        self.queue: Callable[[object, int, bytes], bool] = engine.hub.queue_out
        self.host_tid = host_tid  # 0 until the host kernel's word was checked
        self.tid_is_fact = host_tid != 0  # told by the host kernel, not read from the slot
        self.reports_end = False  # the host kernel clears the slot's tid when the thread is gone
        self.awaited = 0  # KIND_* of the report it was told to make; nothing else until then
        self.grant: Grant | None = None
        self.clone_request: CloneRequest | None = None
        self.clone_child: StubThread | None = None
        self.clone_parent: StubThread | None = None  # that has yet to say what became of it
        self.clone_nonce = 0
        self.clone_until_ns = 0  # how long a fork waits for a free socket
        self.nonce_slot = 0  # of the parent, whose stub stack has the nonce
        self.watched_by = -1  # what tells of the end of a process that has not reported itself
        self.watched_pid = 0  # whose pidfd that is; 0: it is a socket
        self.interrupt_sent = False
        process.threads.append(self)
        engine.threads.add(self.key, self)
        self.tell_host_thread()

    def stand_on(self, slot: int) -> None:
        """Speak on another slot, of ``stub_process``, from now on."""
        self.slot = slot
        self.key = self.stub_process.space.key(slot)
        self.handle = self.key

    def tell_host_thread(self) -> None:
        """Who speaks on the slot, for the hub to place."""
        pid = self.stub_process.pid
        if pid:
            self.engine.hub.host_thread(self.key, pid, self.host_tid)

    # -- finishing a request -----------------------------------------------------------------------
    def complete(self, result: int) -> None:
        self.reply(self.handle, ACTION_RETURN, result)

    def queue_out(self, address: int, data: bytes) -> bool:
        if not 0 <= address < GUEST_TOP:
            return False  # the write that follows says EFAULT
        return self.queue(self.handle, address, data)

    def give(self, address: int, data: bytes | bytearray, start: int, count: int, now: bool) -> int:
        if not 0 <= address < GUEST_TOP:  # sums of guest registers may be longer than one
            return 0
        return self.engine.give(self.handle, self.process.pid, address, data, start, count, now)

    def give_zeros(self, address: int, count: int, now: bool) -> int:
        if not 0 <= address < GUEST_TOP:
            return 0
        return self.engine.give_zeros(self.handle, self.process.pid, address, count, now)

    def give_file(self, address: int, fd: int, offset: int, count: int, now: bool) -> int:
        if not 0 <= address < GUEST_TOP:
            address = GUEST_TOP
        return self.engine.give_file(self.handle, self.process.pid, address, fd, offset, count, now)

    def take(self, address: int, sent: int, count: int) -> bytes:
        if not 0 <= address < GUEST_TOP:
            return b""
        return self.engine.take(self.handle, self.process.pid, address, sent, count)

    def take_into(self, address: int, sent: int, buffer: bytearray, start: int, count: int) -> int:
        if not 0 <= address < GUEST_TOP:
            return 0
        pid = self.process.pid
        return self.engine.take_into(self.handle, pid, address, sent, buffer, start, count)

    def take_file(
        self, address: int, sent: int, fd: int, offset: int, count: int, flags: int
    ) -> int:
        if not 0 <= address < GUEST_TOP:
            address = GUEST_TOP
        pid = self.process.pid
        return self.engine.take_file(self.handle, pid, address, sent, fd, offset, count, flags)

    def drop_outs(self) -> None:
        """Forget what :meth:`queue_out` collected: the handler will run again."""
        self.engine.hub.drop_outs(self.handle)

    def pointers(self) -> tuple[int, int]:
        return self.engine.hub.pointers(self.key)

    def lease_mask(self, mask: int) -> bool:
        if self.engine.traced:
            return False
        self.engine.hub.lease_mask(self.key, mask)
        return True

    def recall_mask(self) -> int:
        try:
            return self.engine.hub.recall_mask(self.key)
        except ValueError:
            return 0  # its process is gone

    def robust_list(self) -> int:
        try:
            return self.engine.hub.robust_list(self.key)
        except ValueError:
            return 0  # its process is gone

    def forget_robust_list(self) -> None:
        self.engine.hub.put(self.key, SLOT_ROBUST_OFFSET, bytes(8))

    def tell_ids(self, pid: int, tid: int, uid: int, euid: int, gid: int, egid: int) -> None:
        if not self.engine.traced:
            ids = IDS.pack(1, pid, tid, uid, euid, gid, egid)
            self.engine.hub.put(self.key, IDS_OFFSET, ids)

    def forget_ids(self) -> None:
        self.engine.hub.put(self.key, IDS_OFFSET, bytes(IDS.size))

    def park(self) -> None:
        """The answer will take long: the guest thread may sleep at once."""
        self.engine.hub.park(self.handle)

    def resume(self) -> None:
        self.engine.hub.reply(self.key, ACTION_RESUME, 0)

    def deliver(self, frame: SignalFrame, result: int, in_syscall: bool, report: bool) -> None:
        state = 0 if not in_syscall else 2 if result == RESTART else 1
        use_stack = 1 if frame.flags & SA_ONSTACK and frame.stack_sp and frame.stack_size else 0
        params = DELIVER.pack(
            frame.signo,
            frame.handler,
            frame.restorer,
            frame.flags & 0xFFFFFFFFFFFFFFFF,
            frame.saved_mask,
            frame.stack_sp,
            frame.stack_size,
            frame.stack_flags,
            use_stack,
            state,
            int(report),
        )
        self.engine.hub.put(self.key, SIGINFO_OFFSET, frame.siginfo)
        self.engine.hub.reply(self.key, ACTION_SIGNAL, 0 if state != 1 else result, params)

    def sigreturn(self) -> None:
        self.engine.hub.reply(self.key, ACTION_SIGRETURN, 0, WORDS[1].pack(0))

    def sigreturn_and_report(self) -> None:
        """As :meth:`sigreturn`, then report ``interrupted`` before
        guest code runs: more signals wait."""
        self.engine.hub.reply(self.key, ACTION_SIGRETURN, 0, WORDS[1].pack(1))

    def map_file(
        self,
        address: int,
        length: int,
        prot: int,
        flags: int,
        fd: int,
        offset: int,
        read_only: bool,
    ) -> None:
        if read_only and opened_for_writing(fd):
            reopened = self.engine.proc.reopen(fd)
            try:
                self.map_descriptor(address, length, prot, flags, reopened, offset)
            finally:
                os.close(reopened)
        else:
            self.map_descriptor(address, length, prot, flags, fd, offset)

    def map_descriptor(
        self, address: int, length: int, prot: int, flags: int, fd: int, offset: int
    ) -> None:
        """Finish mmap(2) of ``fd`` as it was opened."""
        if self.send_descriptor(fd):
            self.engine.hub.reply(
                self.key, ACTION_MAP, 0, WORDS[5].pack(address, length, prot, flags, offset)
            )
            self.stub_process.text.map(address, length, prot, flags)
            self.engine.events.map_answered(self)
            return
        number = GRANT_FD_FIRST + self.slot
        try:
            granted = for_guest(os.dup(fd))
        except OSError as e:
            raise from_os_error(e) from None
        self.grant = Grant(SYS_MMAP, (address, length, prot, flags, number, offset), granted)
        self.host_call(SYS_MMAP, address, length, prot, flags, number, offset)

    def send_descriptor(self, fd: int) -> bool:
        """Send ``fd`` ahead of the answer; False when the mapping must be notified instead: the
        file could be mapped writable, another thread has yet to take its own, or the caller wants
        the result."""
        process = self.stub_process
        control = process.control
        if self.engine.traced or self.engine.validated:
            return False
        if control is None or opened_for_writing(fd) or not control.is_free(self):
            return False
        try:
            control.send(self, [fd])
        except OSError:
            return False
        return True

    def unmap(self, address: int, length: int) -> None:
        self.host_call(SYS_MUNMAP, address, length, 0, 0, 0, 0)

    def map_anonymous(self, address: int, length: int, prot: int, flags: int) -> None:
        self.host_call(SYS_MMAP, address, length, prot, flags, 0xFFFFFFFF, 0)

    def host_call(self, nr: int, a: int, b: int, c: int, d: int, e: int, f: int) -> None:
        """Have the stub make one host call; a ``grant`` is set first when it will be notified."""
        if self.grant is not None:
            self.engine.hub.expect(1)
        self.awaited = KIND_HOSTRET
        self.engine.hub.reply(self.key, ACTION_HOSTCALL, 0, WORDS[7].pack(nr, a, b, c, d, e, f))

    def host_call_done(self, result: int) -> None:
        """The stub made it, and says what came of it."""
        self.engine.events.mapped(self, result)

    def clone(self, request: CloneRequest) -> None:
        self.engine.cloning.begin(self, request)

    def exec(self, image: ExecImage) -> None:
        self.engine.exec(self, image)

    def abandon(self) -> None:
        if not self.process.pid:
            return  # a fork on its way, which is to be heard
        self.engine.forget_thread(self)
        if self in self.stub_process.threads:
            self.stub_process.threads.remove(self)

    def exit(self, clear_tid: int) -> None:
        process = self.stub_process
        self.engine.forget_thread(self)
        process.threads.remove(self)
        if not process.threads:
            process.ended = True
        self.engine.hub.reply(self.key, ACTION_EXIT, 0, WORDS[1].pack(clear_tid))
        process.space.retire(self.slot, self.reports_end)

    def exit_process(self) -> bool:
        process = self.stub_process
        if len(process.threads) > 1 or not process.pid or process.ended:
            return False
        self.engine.forget_thread(self)
        process.threads.remove(self)
        process.ended = True
        self.engine.hub.reply(self.key, ACTION_EXIT_GROUP, 0)
        process.space.retire(self.slot, self.reports_end)
        self.engine.strays.see_off(process)
        return True

    # -- at any time -------------------------------------------------------------------------------
    def interrupt(self) -> None:
        tid = self.tid() if self.process.pid else 0
        if tid and not self.interrupt_sent:
            self.interrupt_sent = True
            try:
                _core.tgkill(self.process.pid, tid, INTERRUPT_SIGNAL)
            except OSError:
                self.interrupt_sent = False

    def tid(self) -> int:
        """The host tid: the slot's claim, which tgkill(2) holds against the process each time."""
        if self.host_tid == 0:
            self.host_tid = self.engine.hub.host_tid(self.key)
        return self.host_tid

    def cpu_time_ns(self) -> int:
        # The host refuses other processes' thread clocks: proc_pid_schedstat has the same number.
        tid = self.tid()
        fields = self.engine.proc.read(tid, "schedstat").split() if tid else []
        return int(fields[0]) if fields else 0


def opened_for_writing(fd: int) -> bool:
    """Whether a host descriptor may be written to."""
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
