"""What the Sentry needs from an execution engine: host processes, their threads and their memory.

The stub engine (``platform.stub``) is the one implementation; tests use ``tests/fake_platform.py``.
Everything here is driven by the Sentry's one thread. An engine never waits for a guest: what takes
time is finished later and reported through the :class:`Events` it was given.
"""

from __future__ import annotations

import struct
from typing import Final

from librt.strings import read_i64_le
from mypy_extensions import i64


class SignalFrame:
    """What the engine needs to enter a guest signal handler (sigaction(2), rt_sigframe)."""

    def __init__(self) -> None:
        self.signo = 0
        self.handler = 0
        self.restorer = 0
        self.flags = 0  # sa_flags
        self.siginfo = b""  # 128 bytes, siginfo_t
        self.saved_mask = 0  # goes to uc_sigmask
        self.stack_sp = 0  # the alternate stack, for uc_stack; entered only under SA_ONSTACK
        self.stack_size = 0
        self.stack_flags = 0  # uc_stack.ss_flags as sigaltstack(2) would report them


class Mapping:
    """One piece of an address space to set up at exec, in order."""

    def __init__(
        self,
        address: int,
        length: int,
        prot: int,
        fd: int,
        offset: int,
        data: bytes = b"",
        data_address: int = 0,
    ) -> None:
        self.address = address
        self.length = length  # bytes, whole pages
        self.prot = prot
        self.fd = fd  # host descriptor to map privately, or -1 for anonymous
        self.offset = offset
        self.data = data  # bytes to place at data_address after mapping
        self.data_address = data_address


MOST_MAPPINGS: Final = 700
"""Of one image: more than any linker makes."""


class ExecImage:
    """A program ready to run: mappings (at most MOST_MAPPINGS), entry point and stack pointer."""

    def __init__(self) -> None:
        self.mappings: list[Mapping] = []
        self.entry = 0
        self.stack_pointer = 0
        self.brk_start = 0
        self.sealed: list[int] = []  # descriptors that nobody can write to, though open for that
        self.same_rights = False  # the program may do nothing that its caller might not
        self.patch_areas = (0, 0)  # ranges near the text that the engine may use; 0: none


class HostMapping:
    """One line of the host's /proc/<pid>/maps that belongs to the guest."""

    def __init__(
        self, start: int, end: int, prot: str, offset: int, dev: str, ino: int, name: str
    ) -> None:
        self.start = start
        self.end = end
        self.prot = prot  # like "r-xp"
        self.offset = offset
        self.dev = dev  # like "08:01"
        self.ino = ino
        self.name = name

    def device(self) -> int:
        """``dev`` as st_dev has it."""
        return device_number(self.dev)


def device_number(text: str) -> int:
    """``08:01`` as st_dev has it."""
    major, _, minor = text.partition(":")
    try:
        low = int(minor, 16)
        return (low & 0xFF) | int(major, 16) << 8 | (low & ~0xFF) << 12
    except ValueError:
        return 0


class HostProcess:
    """One guest address space, in one host process (design D1, D2)."""

    def __init__(self) -> None:
        self.pid = 0  # host pid as the Sentry sees it; never shown to guests

    def read(self, address: int, count: int) -> bytes:
        """Exactly ``count`` bytes of guest memory; EFAULT otherwise."""
        raise NotImplementedError

    def read_some(self, address: int, count: int) -> bytes:
        """As many of ``count`` bytes as can be read from ``address``; maybe none."""
        raise NotImplementedError

    def strings(self, addresses: list[int]) -> list[bytes | None]:
        """Short NUL-terminated strings at up to 64 addresses at once;
        None for those to be read alone."""
        return [None] * len(addresses)

    def write(self, address: int, data: bytes) -> None:
        """Write all of ``data``; EFAULT otherwise."""
        raise NotImplementedError

    def maps(self) -> list[HostMapping]:
        """The guest's mappings, without the engine's own."""
        raise NotImplementedError

    def mapped_files(self) -> set[tuple[int, int]] | None:
        """Device and inode of whatever file is mapped, in the guest's part or not; None when the
        host does not say: there is no process yet, or any more."""
        mappings = self.maps()
        if not mappings:
            return None
        return {(entry.device(), entry.ino) for entry in mappings if entry.ino}

    def brk_range(self) -> tuple[int, int]:
        """Start and current end of the heap that brk(2) manages."""
        raise NotImplementedError

    def cpu_time_ns(self) -> int:
        """CPU time used by all its threads so far."""
        raise NotImplementedError

    def system_time_ns(self, total: int) -> int:
        """How much of ``total``, what :meth:`cpu_time_ns` said last, it was in the kernel."""
        return 0

    def resident_bytes(self) -> int:
        """Resident memory, for getrusage(2), /proc and limits."""
        raise NotImplementedError

    def peak_resident_bytes(self) -> int:
        """The most it ever had; costs more to find out."""
        return self.resident_bytes()

    def set_limit(self, resource: int, soft: int, besides: int) -> None:
        """Have the host enforce RLIMIT_AS or RLIMIT_DATA: ``soft`` bytes. What the engine has
        mapped for itself comes on top, and ``besides``: what Linux would not count."""
        raise NotImplementedError

    def kill(self) -> None:
        """End the host process at once; no guest instruction runs after this returns."""
        raise NotImplementedError


class HostThread:
    """One guest thread. Exactly one *finishing* method answers each request the thread made."""

    def __init__(self, process: HostProcess) -> None:
        self.process = process
        self.owner: object | None = None  # whose thread it is: the Sentry's Task

    # -- finishing a request -----------------------------------------------------------------------
    def complete(self, result: int) -> None:
        """Return ``result`` (negative errno for failure) from the system
        call; outs queued are copied first."""
        raise NotImplementedError

    def queue_out(self, address: int, data: bytes) -> bool:
        """Have ``data`` copied to the guest with the coming reply (EFAULT replaces the result when
        it cannot be). False when it does not fit: the caller writes through the process instead."""
        raise NotImplementedError

    # The contents of reads and writes. ``now``: not with the reply. They answer how many bytes were
    # moved: fewer where guest memory ends; none for a bad address, which is OSError EFAULT where a
    # host file takes part. (With the reply, a bad address is EFAULT only then.)
    def give(self, address: int, data: bytes | bytearray, start: int, count: int, now: bool) -> int:
        """Bytes of ``data`` to the guest."""
        raise NotImplementedError

    def give_zeros(self, address: int, count: int, now: bool) -> int:
        """Zeros to the guest; maybe fewer than could be."""
        raise NotImplementedError

    def give_file(self, address: int, fd: int, offset: int, count: int, now: bool) -> int:
        """pread(2) of a host file to the guest; fewer bytes at its end too."""
        raise NotImplementedError

    def take(self, address: int, sent: int, count: int) -> bytes:
        """Bytes of the guest: from offset ``sent`` of what came with the request, or if that is
        -1 from memory."""
        raise NotImplementedError

    def take_into(self, address: int, sent: int, buffer: bytearray, start: int, count: int) -> int:
        """The same into a part of ``buffer``."""
        raise NotImplementedError

    def take_file(
        self, address: int, sent: int, fd: int, offset: int, count: int, flags: int
    ) -> int:
        """The same into a host file: pwrite(2), or pwritev2(2) with RWF_* ``flags``."""
        raise NotImplementedError

    def resume(self) -> None:
        """Go on after an interruption or fault, registers as they were."""
        raise NotImplementedError

    def deliver(self, frame: SignalFrame, result: int, in_syscall: bool, report: bool) -> None:
        """Enter a signal handler; ``result`` is what the interrupted call will return afterwards
        (when ``in_syscall``). A restart is asked for with :data:`RESTART` as result. A frame that
        does not fit on the guest's stack is reported as ``Events.frame_fault``. ``report``: more
        signals wait, so ``Events.interrupted`` follows before the handler's first instruction."""
        raise NotImplementedError

    def sigreturn(self) -> None:
        """Finish rt_sigreturn(2): registers from the guest's frame."""
        raise NotImplementedError

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
        """Finish mmap(2) of a host descriptor; the guest sees the host's result.

        ``read_only``: the guest must not be able to write to the file through the mapping, whatever
        mprotect(2) it makes later and however ``fd`` was opened. ``fd`` may be closed as soon as
        this returns: an engine that installs it later keeps a duplicate.
        """
        raise NotImplementedError

    def unmap(self, address: int, length: int) -> None:
        """Finish shmdt(2): munmap(2) of the range; the guest sees the host's result."""
        raise NotImplementedError

    def map_anonymous(self, address: int, length: int, prot: int, flags: int) -> None:
        """Finish mmap(2) of private anonymous memory with these
        arguments instead of the guest's own."""
        raise NotImplementedError

    def drop_outs(self) -> None:
        """Forget what :meth:`queue_out` collected: the handler will run again."""

    def pointers(self) -> tuple[int, int]:
        """Instruction and stack pointer of the request: what the thread says, for display."""
        return (0, 0)

    def lease_mask(self, mask: int) -> bool:
        """Let the engine answer rt_sigprocmask(2) by itself until :meth:`recall_mask`, starting
        from ``mask``; False when it will not."""
        return False

    def recall_mask(self) -> int:
        """End the lease; the mask as the guest has it now, any 64 bits."""
        raise NotImplementedError

    def robust_list(self) -> int:
        """The address of set_robust_list(2) calls that the engine answered by itself during a
        lease; 0 for none."""
        return 0

    def forget_robust_list(self) -> None:
        """Another one counts now."""

    def tell_ids(self, pid: int, tid: int, uid: int, euid: int, gid: int, egid: int) -> None:
        """The engine may answer getpid(2) and its like by itself from now on, with these."""

    def forget_ids(self) -> None:
        """They have changed: ask again."""

    def park(self) -> None:
        """The answer will take long: the guest thread may sleep at once."""

    def sigreturn_and_report(self) -> None:
        """As :meth:`sigreturn`, then report ``Events.interrupted`` before guest code runs."""
        raise NotImplementedError

    def clone(self, request: CloneRequest) -> None:
        """Make a host thread or process: ``Events.cloned`` reports the child at once, then
        ``Events.clone_answered`` or ``Events.clone_finished`` what became of the parent. EAGAIN."""
        raise NotImplementedError

    def exec(self, image: ExecImage) -> None:
        """Replace this thread's program: afterwards ``self`` runs ``image`` in ``self.process``,
        a fresh host process unless the engine keeps the old one (``image.same_rights``). An old
        process is killed if this thread was its last user."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Forget this thread without an answer: its process is about to be killed or replaced."""
        raise NotImplementedError

    def exit(self, clear_tid: int) -> None:
        """End this thread; the word at ``clear_tid`` (0: none) becomes 0 and its futex is woken."""
        raise NotImplementedError

    def exit_process(self) -> bool:
        """End the process whose only thread this is; False when it has others, or a request was not
        made: it must be killed."""
        raise NotImplementedError

    # -- at any time -------------------------------------------------------------------------------
    def interrupt(self) -> None:
        """Make a thread that runs guest code report itself (``Events.interrupted``) soon."""
        raise NotImplementedError

    def cpu_time_ns(self) -> int:
        """CPU time used by this thread."""
        raise NotImplementedError


RESTART = -(1 << 62)
"""Result for :meth:`HostThread.deliver`: run the same system call again after the handler."""


class CloneRequest:
    """clone(2) towards the host."""

    def __init__(self) -> None:
        self.thread = False  # CLONE_THREAD
        self.share_memory = False  # CLONE_VM; always with ``thread``
        self.stack = 0  # new stack pointer, 0 to keep
        self.set_tls = False
        self.tls = 0
        self.tid = 0  # what the parent's call returns: the child's number in the guest
        self.parent_tid_at = 0  # where the child's number is to stand, before the child runs
        self.child_tid_at = 0  # and where in the child's memory; 0: nowhere
        self.cookie: object | None = None  # handed back in Events


class Events:
    """What an engine tells the Sentry; the Sentry subclasses it."""

    def syscall(self, thread: HostThread, raw: bytes) -> None:
        """A guest thread made a system call: the message of a :class:`Request`."""
        raise NotImplementedError

    def fault(
        self, thread: HostThread, signo: int, code: int, address: int, siginfo: bytes
    ) -> None:
        """A guest instruction faulted with host signal ``signo``."""
        raise NotImplementedError

    def interrupted(self, thread: HostThread) -> None:
        """A thread stopped because of :meth:`HostThread.interrupt`;
        answer it with resume or deliver."""
        raise NotImplementedError

    def frame_fault(self, thread: HostThread) -> None:
        """A signal frame could not be written or read: the guest dies of SIGSEGV."""
        raise NotImplementedError

    def map_answered(self, thread: HostThread) -> None:
        """``map_file`` was answered at once: the guest has the host's
        result, nothing more is reported."""
        raise NotImplementedError

    def mapped(self, thread: HostThread, result: int) -> None:
        """The host's call of ``map_file``, ``map_anonymous`` or ``unmap`` is done, with ``result``:
        so says the guest; the thread waits for ``complete``."""
        raise NotImplementedError

    def cloned(self, parent: HostThread, child: HostThread, request: CloneRequest) -> None:
        """The child is on its way: it runs by itself as soon as the host has made it. A process
        reports itself first, as if it had been interrupted (:meth:`interrupted`). A LinuxError that
        this raises fails the clone: there is to be no child."""
        raise NotImplementedError

    def clone_answered(self, parent: HostThread, request: CloneRequest) -> None:
        """The parent goes on with the child's number; nothing more is reported, unless the host
        refuses (:meth:`clone_finished`)."""
        raise NotImplementedError

    def clone_finished(self, parent: HostThread, number: int, request: CloneRequest) -> None:
        """The parent waits for its ``complete``; ``number`` is 0, or the
        host's errno: no child came to be."""
        raise NotImplementedError

    def exec_done(self, thread: HostThread) -> None:
        """``thread`` runs its new program in ``thread.process``."""
        raise NotImplementedError

    def launched(self, thread: HostThread, owner: object | None) -> None:
        """The program of ``owner`` has a host process: ``thread`` runs it."""
        raise NotImplementedError

    def engine_lost(self) -> None:
        """No program can be started any more: the engine itself was killed from outside."""
        raise NotImplementedError

    def process_died(self, process: HostProcess, killed_by: int) -> None:
        """A host process ended without the Sentry having ended it."""
        raise NotImplementedError


class Request:
    """One system call as it arrived: number, raw arguments, and the bytes the stub sent along.

    ``raw`` is the whole message (:data:`MESSAGE`), taken by copy once; nothing the
    guest does later changes it (rule 1). Fields are read from it when they are asked for.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.nr = int(read_i64_le(raw, 16))

    def arg(self, index: i64) -> int:
        """Argument ``index`` as the unsigned 64-bit register it was."""
        return register(self.raw, 24 + 8 * index)

    @property
    def args(self) -> tuple[int, int, int, int, int, int]:
        """All six arguments."""
        return (self.arg(0), self.arg(1), self.arg(2), self.arg(3), self.arg(4), self.arg(5))

    @property
    def data(self) -> bytes:
        """The marshalled in-arguments, in the order of their declaration."""
        return self.raw[HEAD_SIZE:]


def register(raw: bytes, at: i64) -> int:
    """The unsigned 64-bit number at offset ``at`` of a message."""
    value: i64 = read_i64_le(raw, at)
    if value >= 0:
        return int(value)
    return int(value) + 0x1_0000_0000_0000_0000


MESSAGE: Final = struct.Struct("<4I7Q")
"""key, kind, length, 0; nr, six arguments; the data follows (native/core/hub.h)."""
HEAD_SIZE: Final = 72


def message(nr: int, args: tuple[int, int, int, int, int, int], data: bytes = b"") -> bytes:
    """A system call put together by hand."""
    words = [word & 0xFFFF_FFFF_FFFF_FFFF for word in (nr, *args)]
    return MESSAGE.pack(0, 1, len(data), 0, *words) + data
