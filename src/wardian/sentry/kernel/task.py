"""Task: one guest thread as the Sentry knows it. The parts have
their own modules; this is the knot.

A task runs guest code on a :class:`~wardian.platform.interface.HostThread` until a system call, a
fault or an interruption. A handler that cannot finish calls :meth:`Task.park` and returns
:data:`PARKED`; when woken, the dispatcher runs the handler again with the same request (design D5).
What must survive between runs of one call (a deadline, bytes already moved) is kept in
``task.call``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from wardian.platform.interface import HostThread, Request
from wardian.sentry.errno import EFAULT, ENAMETOOLONG
from wardian.sentry.kernel.timers import Timer
from wardian.sentry.kernel.waitqueue import MORE, Registration, Waiter, WaitQueue

if TYPE_CHECKING:
    from wardian.sentry.kernel.credentials import Credentials
    from wardian.sentry.kernel.fdtable import FDTable
    from wardian.sentry.kernel.fscontext import FSContext
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.scheduling import Scheduling
    from wardian.sentry.kernel.signals import TaskSignals
    from wardian.sentry.kernel.thread_group import ThreadGroup
    from wardian.sentry.mm.file_mappings import FileMapping
    from wardian.sentry.mm.memory import Memory
    from wardian.sentry.vfs.file import File

PARKED: Final = -(1 << 61)
"""A handler's result when it parked the task: no reply is sent, the handler will run again."""

NO_REPLY: Final = -(1 << 61) + 1
"""A handler's result when it answered the thread itself (exit, exec,
clone, sigreturn, mapped files)."""


RUNNING: Final = 0
"""``Task.host_state``: the host thread runs guest code."""
IN_CALL: Final = 1
"""It made a system call that is not answered yet."""
INTERRUPTED: Final = 2
"""It stands at an interruption or a fault."""
MAPPING: Final = 3
"""It runs guest code as soon as it has mapped a file, or a program, and nobody tells when that is.
Whatever comes from it next comes after it."""

SYS_MMAP: Final = 9
SYS_SHMAT: Final = 30


class CallState:
    """What a handler keeps in ``Call.state`` when giving the call up must undo something.

    Whoever drops a parked call without running its handler again
    (EINTR, exit) calls :meth:`abandon`.
    """

    def abandon(self) -> None:
        """The call ends unfinished: release what it held."""


@mypyc_attr(free_list_len=1)
class Call(Request):
    """The system call in progress, with the progress that outlives a restart of its handler."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        self.deadline_ns = -1  # monotonic; fixed when the handler first ran
        self.done = 0  # bytes or items already moved
        self.state: object | None = None  # anything else a handler keeps
        self.restarts = 0
        self.trace: object | None = None  # strace's record; its results are written at once
        self.on_interrupt: InterruptAction | None = None  # run before a signal ends the call
        # held from the first park on: close(2) elsewhere does not matter
        self.file: File | None = None

    def hold_file(self, file: File) -> None:
        """Keep ``file`` for the restarts of this call; ``vfs.io.file_of`` gives it back."""
        if self.file is None:
            self.file = file.hold()

    def finish(self) -> None:
        """The call has its result, was interrupted, or its task died: let go of what it held."""
        file = self.file
        if file is not None:
            self.file = None
            file.drop()


class InterruptAction:
    """What a blocked call still does when a signal handler ends it
    (nanosleep(2) writes the time left)."""

    def interrupted(self, task: Task, restarts: bool) -> None:
        """Called by the dispatcher before the signal frame;
        ``restarts``: the call will run again."""
        raise NotImplementedError


class WakeTimer(Timer):
    """Wakes a parked task at its deadline."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def fire(self) -> None:
        self.task.unpark()


class Task(Waiter):
    """One guest thread; composed of parts, each of which owns its own rules."""

    def __init__(
        self,
        kernel: Kernel,
        tid: int,
        group: ThreadGroup,
        credentials: Credentials,
        files: FDTable,
        fs: FSContext,
        memory: Memory,
        signals: TaskSignals,
    ) -> None:
        self.kernel = kernel
        self.tid = tid
        self.group = group
        self.credentials = credentials
        self.files = files
        self.fs = fs
        self.memory = memory
        self.signals = signals
        self.name = b""  # comm, at most 15 bytes
        self.host: HostThread | None = None
        self.call: Call | None = None
        self.registrations: list[Registration] = []
        self.wake_timer = WakeTimer(self)
        self.parked = False
        self.exited = False
        self.clear_child_tid = 0
        self.host_state = RUNNING
        self.held = False  # stopped with an answer (held_result) that waits for SIGCONT
        self.held_result = 0
        self.aside = False  # woken while stopped: its handler runs after SIGCONT
        # kernel.clone's state while a vfork(2) parent waits for us
        self.vfork: object | None = None
        self.image: object | None = None  # the program being loaded by execve(2)
        self.coming: FileMapping | None = None  # what it maps when :meth:`may_be_mapping`
        self.robust_list = 0
        self.holds_no_lock = False  # said when it exits: the list need not be read
        self.start_ns = kernel.clock.monotonic_ns()
        self.death_signal = 0  # prctl(2) PR_SET_PDEATHSIG
        self.scheduling: Scheduling | None = None  # made when sched_*(2) first changes something

    # -- the host thread ---------------------------------------------------------------------------
    def is_away(self) -> bool:
        """Whether it runs guest code, or is about to, and would have to be interrupted."""
        return self.host_state == RUNNING or self.host_state == MAPPING

    def may_be_mapping(self) -> bool:
        """Whether the mmap(2) that it was told to make last may still be to come."""
        if self.host_state != IN_CALL:
            return self.host_state == MAPPING
        call = self.call
        return call is not None and call.nr in (SYS_MMAP, SYS_SHMAT)

    def is_loading(self) -> bool:
        """Whether its memory may still be that of the program before execve(2)."""
        return self.host_state == MAPPING and self.coming is None and not self.exited

    # -- blocking ----------------------------------------------------------------------------------
    def park(self, queue: WaitQueue | None, events: int = 0) -> int:
        """Wait for ``events`` on ``queue`` (None: only the deadline or a signal); returns PARKED.

        May be called several times to wait for several queues.
        """
        if queue is not None:
            self.registrations.append(queue.add(self, events))
        self.parked = True
        return PARKED

    def park_until(self, deadline_ns: int) -> int:
        """Also wake at ``deadline_ns`` (monotonic; -1: never); returns PARKED."""
        if deadline_ns >= 0:
            self.kernel.timers.arm(self.wake_timer, deadline_ns)
        self.parked = True
        return PARKED

    def deadline(self, timeout_ns: int) -> int:
        """The deadline of this call: now + ``timeout_ns`` when
        first asked, the same after restarts.

        A negative time-out means none (-1).
        """
        call = self.call
        assert call is not None
        if timeout_ns < 0:
            return -1
        if call.deadline_ns < 0:
            call.deadline_ns = self.kernel.clock.monotonic_ns() + timeout_ns
        return call.deadline_ns

    def expired(self) -> bool:
        """True when the deadline of this call has passed."""
        call = self.call
        assert call is not None
        return 0 <= call.deadline_ns <= self.kernel.clock.monotonic_ns()

    def woken(self, queue: WaitQueue, events: int) -> None:
        if events & MORE:
            self.unpark_soon()
        else:
            self.unpark()

    def unpark(self) -> None:
        """Put a parked task on the run list: its handler will run again."""
        self.kernel.hurry = True
        self.unpark_soon()

    def unpark_soon(self) -> None:
        """The same when a little later is better."""
        if not self.parked:
            return
        self.parked = False
        self.forget_waits()
        self.kernel.run_list.append(self)

    def forget_waits(self) -> None:
        """Leave every wait queue and disarm the deadline."""
        for registration in self.registrations:
            registration.cancel()
        self.registrations.clear()
        self.kernel.timers.cancel(self.wake_timer)

    # -- guest memory ------------------------------------------------------------------------------
    def copy_in(self, address: int, count: int) -> bytes:
        """``count`` bytes of guest memory; EFAULT."""
        return self.memory.process.read(address, count)

    def copy_out(self, address: int, data: bytes) -> None:
        """Write to guest memory, with the reply when it fits; EFAULT (then or now)."""
        host = self.host
        call = self.call
        if (
            host is not None
            and call is not None
            and call.trace is None
            and host.queue_out(address, data)
        ):
            return
        self.memory.process.write(address, data)

    def copy_in_string(self, address: int, limit: int = 4096) -> bytes:
        """A NUL-terminated string without its NUL; EFAULT, or ENAMETOOLONG past ``limit`` bytes."""
        parts: list[bytes] = []
        total = 0
        while total < limit:
            step = min(256, 4096 - address % 4096, limit - total)
            piece = self.memory.process.read_some(address, step)
            end = piece.find(b"\0")
            if end >= 0:
                parts.append(piece[:end])
                return b"".join(parts)
            if len(piece) < step:
                raise EFAULT("string runs into unmapped memory")
            parts.append(piece)
            total += step
            address += step
        raise ENAMETOOLONG(f"string longer than {limit} bytes")
