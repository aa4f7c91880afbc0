"""Signals: numbers, actions, pending sets and sending (signal(7), kill(2), sigaction(2)).

Sending ends here with a signal in a pending set and, when some task should look, a call of
``kernel.hooks.signal_pending``. Taking it out again and acting on it is ``kernel.signal_delivery``.
Masks are 64-bit sets with bit ``1 << (signo - 1)``, as in the ABI.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EAGAIN
from wardian.sentry.kernel.rlimits import RLIMIT_SIGPENDING
from wardian.sentry.kernel.waitqueue import WaitQueue

if TYPE_CHECKING:
    from wardian.platform.interface import HostThread
    from wardian.sentry.kernel.process_group import ProcessGroup
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.kernel.thread_group import ThreadGroup

SIGHUP: Final = 1
SIGINT: Final = 2
SIGQUIT: Final = 3
SIGILL: Final = 4
SIGTRAP: Final = 5
SIGABRT: Final = 6
SIGBUS: Final = 7
SIGFPE: Final = 8
SIGKILL: Final = 9
SIGUSR1: Final = 10
SIGSEGV: Final = 11
SIGUSR2: Final = 12
SIGPIPE: Final = 13
SIGALRM: Final = 14
SIGTERM: Final = 15
SIGSTKFLT: Final = 16
SIGCHLD: Final = 17
SIGCONT: Final = 18
SIGSTOP: Final = 19
SIGTSTP: Final = 20
SIGTTIN: Final = 21
SIGTTOU: Final = 22
SIGURG: Final = 23
SIGXCPU: Final = 24
SIGXFSZ: Final = 25
SIGVTALRM: Final = 26
SIGPROF: Final = 27
SIGWINCH: Final = 28
SIGIO: Final = 29
SIGPWR: Final = 30
SIGSYS: Final = 31
SIGRTMIN: Final = 32  # as the kernel counts; the C library keeps the first two
NSIG: Final = 64

ALL_SIGNALS: Final = (1 << 64) - 1
UNBLOCKABLE: Final = 1 << (SIGKILL - 1) | 1 << (SIGSTOP - 1)
STOP_SIGNALS: Final = (
    1 << (SIGSTOP - 1) | 1 << (SIGTSTP - 1) | 1 << (SIGTTIN - 1) | 1 << (SIGTTOU - 1)
)
CONT_SIGNAL: Final = 1 << (SIGCONT - 1)
IGNORED_BY_DEFAULT: Final = (
    1 << (SIGCONT - 1) | 1 << (SIGCHLD - 1) | 1 << (SIGWINCH - 1) | 1 << (SIGURG - 1)
)
CORE_SIGNALS: Final = (
    1 << (SIGQUIT - 1)
    | 1 << (SIGILL - 1)
    | 1 << (SIGTRAP - 1)
    | 1 << (SIGABRT - 1)
    | 1 << (SIGFPE - 1)
    | 1 << (SIGSEGV - 1)
    | 1 << (SIGBUS - 1)
    | 1 << (SIGSYS - 1)
    | 1 << (SIGXCPU - 1)
    | 1 << (SIGXFSZ - 1)
)
SYNCHRONOUS: Final = (
    1 << (SIGSEGV - 1)
    | 1 << (SIGBUS - 1)
    | 1 << (SIGILL - 1)
    | 1 << (SIGTRAP - 1)
    | 1 << (SIGFPE - 1)
    | 1 << (SIGSYS - 1)
)

SIG_DFL: Final = 0
SIG_IGN: Final = 1

SA_NOCLDSTOP: Final = 0x1
SA_NOCLDWAIT: Final = 0x2
SA_SIGINFO: Final = 0x4
SA_UNSUPPORTED: Final = 0x400
SA_EXPOSE_TAGBITS: Final = 0x800
SA_RESTORER: Final = 0x04000000
SA_ONSTACK: Final = 0x08000000
SA_RESTART: Final = 0x10000000
SA_NODEFER: Final = 0x40000000
SA_RESETHAND: Final = 0x80000000
SA_KNOWN: Final = (
    SA_NOCLDSTOP
    | SA_NOCLDWAIT
    | SA_SIGINFO
    | SA_EXPOSE_TAGBITS
    | SA_RESTORER
    | SA_ONSTACK
    | SA_RESTART
    | SA_NODEFER
    | SA_RESETHAND
)

SS_ONSTACK: Final = 1
SS_DISABLE: Final = 2
SS_AUTODISARM: Final = 1 << 31
MINSIGSTKSZ: Final = 2048

SI_USER: Final = 0
SI_KERNEL: Final = 0x80
SI_QUEUE: Final = -1
SI_TIMER: Final = -2
SI_MESGQ: Final = -3
SI_ASYNCIO: Final = -4
SI_SIGIO: Final = -5
SI_TKILL: Final = -6

CLD_EXITED: Final = 1
CLD_KILLED: Final = 2
CLD_DUMPED: Final = 3
CLD_TRAPPED: Final = 4
CLD_STOPPED: Final = 5
CLD_CONTINUED: Final = 6

SEGV_MAPERR: Final = 1
SEGV_ACCERR: Final = 2
BUS_ADRALN: Final = 1
BUS_ADRERR: Final = 2
POLL_IN: Final = 1

SIGINFO_SIZE: Final = 128

HEAD: Final = struct.Struct("<iiii")  # si_signo, si_errno, si_code, padding
KILL_PART: Final = struct.Struct("<iIQ")  # pid, uid, value
TIMER_PART: Final = struct.Struct("<iiQ")  # timer id, overrun, value
CHILD_PART: Final = struct.Struct("<iIiiqq")  # pid, uid, status, padding, utime, stime
FAULT_PART: Final = struct.Struct("<Qh")  # address, lsb
POLL_PART: Final = struct.Struct("<qi")  # band, fd
SYS_PART: Final = struct.Struct("<QiI")  # call address, number, architecture


def bit(signo: int) -> int:
    """The mask of one signal."""
    return 1 << (signo - 1)


class SigInfo:
    """siginfo_t (sigaction(2)); which fields count depends on the signal and on ``code``."""

    def __init__(self, signo: int, code: int = SI_KERNEL) -> None:
        self.signo = signo
        self.code = code
        self.errno = 0
        self.pid = 0
        self.uid = 0
        self.status = 0
        self.utime = 0  # clock ticks
        self.stime = 0
        self.value = 0  # sigval, 64 bits
        self.timer_id = 0
        self.overrun = 0
        self.addr = 0
        self.band = 0
        self.fd = 0
        self.is_poll = False  # of a file's readiness, whatever the signal is (F_SETSIG)
        self.raw = b""  # when set: the 128 bytes as rt_sigqueueinfo(2) was given them
        self.timer: SignalTimer | None = None  # the timer that sent it, waiting to be told

    def pack(self) -> bytes:
        """The 128 bytes a guest sees."""
        if self.raw:
            return self.raw
        head = HEAD.pack(self.signo, self.errno, self.code, 0)
        return (head + self.pack_part()).ljust(SIGINFO_SIZE, b"\0")

    def pack_part(self) -> bytes:
        """The union behind the head (siginfo_layout() of Linux decides which member)."""
        if self.code == SI_TIMER:
            return TIMER_PART.pack(self.timer_id, self.overrun, self.value)
        if self.code == SI_SIGIO or self.is_poll:
            return POLL_PART.pack(self.band, self.fd)
        if self.code <= 0 or self.code == SI_KERNEL:
            return KILL_PART.pack(self.pid, self.uid, self.value)
        if self.signo == SIGCHLD:
            return CHILD_PART.pack(self.pid, self.uid, self.status, 0, self.utime, self.stime)
        if self.signo == SIGIO:
            return POLL_PART.pack(self.band, self.fd)
        return FAULT_PART.pack(self.addr, 0)


class SignalTimer:
    """A timer whose next period starts when its signal was taken (timer_getoverrun(2))."""

    def taken(self, info: SigInfo) -> None:
        """The signal is about to be delivered: fill in the overrun, start the next period."""
        raise NotImplementedError

    def dropped(self) -> None:
        """The signal was thrown away: start the next period."""
        raise NotImplementedError


def user_siginfo(signo: int, code: int, pid: int, uid: int) -> SigInfo:
    """What kill(2) and tgkill(2) send."""
    info = SigInfo(signo, code)
    info.pid = pid
    info.uid = uid
    return info


class Action:
    """One struct sigaction."""

    def __init__(self) -> None:
        self.handler: int = SIG_DFL
        self.flags = 0
        self.restorer = 0
        self.mask = 0


class SignalActions:
    """The actions of a thread group (shared by CLONE_SIGHAND); those never set are not kept."""

    def __init__(self) -> None:
        self.actions: dict[int, Action] = {}

    def get(self, signo: int) -> Action:
        """The action for ``signo``, to read or change."""
        action = self.actions.get(signo)
        if action is None:
            action = Action()
            self.actions[signo] = action
        return action

    def handler(self, signo: int) -> int:
        """SIG_DFL, SIG_IGN or an address."""
        action = self.actions.get(signo)
        return action.handler if action is not None else SIG_DFL

    def copy(self) -> SignalActions:
        """For fork(2)."""
        new = SignalActions()
        for signo, old in self.actions.items():
            if old.handler == SIG_DFL and not old.flags:
                continue
            made = new.get(signo)
            made.handler, made.flags = old.handler, old.flags
            made.restorer, made.mask = old.restorer, old.mask
        return new

    def reset_for_exec(self) -> None:
        """execve(2): handlers become SIG_DFL, ignored signals stay ignored; flags and masks go."""
        for action in self.actions.values():
            if action.handler != SIG_IGN:
                action.handler = SIG_DFL
            action.flags = 0
            action.restorer = 0
            action.mask = 0

    def reset_to_default(self) -> None:
        """CLONE_CLEAR_SIGHAND: handlers become SIG_DFL; ignored signals stay ignored."""
        self.reset_for_exec()

    def ignores(self, signo: int) -> bool:
        """True when the action throws the signal away."""
        handler = self.handler(signo)
        if handler == SIG_IGN:
            return True
        return handler == SIG_DFL and bool(IGNORED_BY_DEFAULT & bit(signo))


class PendingSignals:
    """A set of pending signals: the mask, and the siginfo of each in order of arrival."""

    def __init__(self) -> None:
        self.mask = 0
        self.queue: list[SigInfo] = []

    def add(self, info: SigInfo) -> None:
        """Queue ``info``; standard signals are queued once (signal(7))."""
        if info.signo < SIGRTMIN and self.mask & bit(info.signo):
            return
        self.queue.append(info)
        self.mask |= bit(info.signo)

    def take(self, wanted: int) -> SigInfo | None:
        """Remove and return the most urgent signal of the ``wanted`` set."""
        candidates = self.mask & wanted
        if not candidates:
            return None
        urgent = candidates & SYNCHRONOUS
        lowest = urgent if urgent else candidates
        signo = (lowest & -lowest).bit_length()
        return self.take_one(signo)

    def take_one(self, signo: int) -> SigInfo:
        """Remove and return the oldest entry of ``signo``, which is pending."""
        found: SigInfo | None = None
        more = False
        for info in self.queue:
            if info.signo == signo:
                if found is not None:
                    more = True
                    break
                found = info
        if found is not None:
            self.queue.remove(found)
        else:
            found = SigInfo(signo, SI_USER)  # there was no room for more (see has_room)
        if not more:
            self.mask &= ~bit(signo)
        return found

    def discard(self, mask: int) -> None:
        """Throw away every pending signal of ``mask``."""
        if not self.mask & mask:
            return
        dropped = [info for info in self.queue if bit(info.signo) & mask]
        self.queue = [info for info in self.queue if not bit(info.signo) & mask]
        self.mask &= ~mask
        for info in dropped:
            if info.timer is not None:
                info.timer.dropped()


class TaskSignals:
    """The signal state of one task."""

    def __init__(self) -> None:
        self.mask = 0  # what ``blocked`` is while no lease is out
        self.lease: HostThread | None = None  # who changes it without asking (rt_sigprocmask(2))
        self.pending = PendingSignals()  # sent to this task alone
        self.saved_mask = -1  # to put back when a sigsuspend or ppoll ends; -1: none
        self.waiting = 0  # what sigtimedwait(2) waits for
        self.attention = False  # a deliverable signal may be pending: look before going back
        self.queue = WaitQueue()  # woken when a signal becomes pending, blocked or not (signalfd)
        self.stack_sp = 0  # sigaltstack(2)
        self.stack_size = 0
        self.stack_flags: int = SS_DISABLE

    @property
    def blocked(self) -> int:
        """The signal mask; whoever asks ends the lease."""
        if self.lease is not None:
            self.end_lease()
        return self.mask

    @blocked.setter
    def blocked(self, mask: int) -> None:
        if self.lease is not None:
            self.end_lease()
        self.mask = mask

    def end_lease(self) -> None:
        """Take the mask back from the engine."""
        lease = self.lease
        if lease is not None:
            self.lease = None
            self.mask = lease.recall_mask() & ALL_SIGNALS & ~UNBLOCKABLE

    def peek(self) -> int:
        """The mask; a lease goes on."""
        lease = self.lease
        self.end_lease()
        if lease is not None and lease.lease_mask(self.mask):
            self.lease = lease
        return self.mask

    def copy_for_clone(self, keep_stack: bool) -> TaskSignals:
        """A child's: mask kept, nothing pending; the alternate stack only with a memory of its own
        or CLONE_VFORK (sigaltstack(2))."""
        new = TaskSignals()
        new.mask = self.peek()
        if keep_stack:
            new.stack_sp = self.stack_sp
            new.stack_size = self.stack_size
            new.stack_flags = self.stack_flags
        return new

    def reset_stack(self) -> None:
        """No alternate stack (execve(2))."""
        self.stack_sp = 0
        self.stack_size = 0
        self.stack_flags = SS_DISABLE


def pending_mask(task: Task) -> int:
    """Everything pending for ``task``, its thread group's signals included (sigpending(2))."""
    return task.signals.pending.mask | task.group.pending.mask


def lease_mask(task: Task) -> None:
    """Let ``task`` change its mask without asking: with nothing pending that concerns nobody but
    itself (design D8)."""
    signals = task.signals
    if task.host is None or pending_mask(task) or signals.saved_mask >= 0:
        return
    if task.host.lease_mask(signals.blocked):
        signals.lease = task.host


def dequeue(task: Task, wanted: int) -> SigInfo | None:
    """Take the most urgent pending signal of the ``wanted`` set, the task's own before its group's
    (delivery, sigtimedwait(2), signalfd(2))."""
    info = task.signals.pending.take(wanted)
    if info is None:
        info = task.group.pending.take(wanted)
    if info is not None and info.timer is not None:
        info.timer.taken(info)
    return info


def recalculate(task: Task) -> None:
    """Set ``attention`` from the pending sets and the mask."""
    signals = task.signals
    deliverable = pending_mask(task) & ~(signals.blocked | signals.waiting)
    signals.attention = deliverable != 0 or task.group.exiting


def set_blocked(task: Task, mask: int) -> None:
    """Replace the signal mask; SIGKILL and SIGSTOP stay unblocked.

    Group signals this task can no longer take are offered to its siblings.
    """
    mask &= ALL_SIGNALS & ~UNBLOCKABLE
    signals = task.signals
    newly = mask & ~signals.blocked
    signals.blocked = mask
    if newly & task.group.pending.mask:
        retarget(task, newly)
    recalculate(task)


def set_temporary_mask(task: Task, mask: int) -> None:
    """Use ``mask`` until the call ends (sigsuspend, ppoll, pselect, epoll_pwait); may be repeated
    when the handler runs again. A signal handler returns to the mask saved here; without one the
    call itself ends with :func:`restore_mask`."""
    signals = task.signals
    if signals.saved_mask < 0:
        signals.saved_mask = signals.blocked
    set_blocked(task, mask)


def restore_mask(task: Task) -> None:
    """Put the mask back that :func:`set_temporary_mask` saved; harmless when there is none."""
    saved = task.signals.saved_mask
    if saved >= 0:
        task.signals.saved_mask = -1
        set_blocked(task, saved)


def retarget(task: Task, mask: int) -> None:
    """Find another task for the pending group signals of ``mask`` that ``task`` will not take."""
    waiting = task.group.pending.mask & mask
    signo = 1
    while waiting:
        if waiting & 1:
            for other in task.group.tasks:
                if other is not task and wants(other, signo):
                    attend(other)
                    break
        waiting >>= 1
        signo += 1


def wants(task: Task, signo: int) -> bool:
    """True when ``task`` would take ``signo`` now."""
    if task.exited:
        return False
    signals = task.signals
    return not (signals.blocked | signals.waiting) & bit(signo)


def attend(task: Task) -> None:
    """Have ``task`` look at its signals soon."""
    task.signals.attention = True
    task.kernel.hooks.signal_pending(task)


# -- sending ----------------------------------------------------------------------------------
def send_to_task(task: Task, info: SigInfo) -> None:
    """Send to one task (tgkill(2), faults, timers with SIGEV_THREAD_ID)."""
    send(task, task.group, info, task)


def send_to_group(group: ThreadGroup, info: SigInfo) -> None:
    """Send to a thread group: any of its tasks that does not block the signal takes it."""
    task = group.any_task()
    if task is not None:
        send(task, group, info, None)


def send_to_process_group(process_group: ProcessGroup, info: SigInfo) -> None:
    """Send to every member (terminal signals; kill(2) checks permission for each itself)."""
    for group in list(process_group.members):
        send_to_group(group, info)


def send(task: Task, group: ThreadGroup, info: SigInfo, only: Task | None) -> None:
    """Queue ``info`` for ``only`` or the whole ``group``; ``task`` judges whether it is ignored."""
    if group.zombie or group.exiting or (only is not None and only.exited):
        return
    job_control_effects(group, info.signo)
    if is_ignored(task, info.signo):
        if info.timer is not None:
            info.timer.dropped()
        return
    if info.signo == SIGKILL:
        group.begin_exit(SIGKILL)
        return
    pending = group.pending if only is None else only.signals.pending
    if has_room(group, info):
        pending.add(info)
    elif info.signo >= SIGRTMIN and info.code != SI_USER:
        raise EAGAIN("RLIMIT_SIGPENDING")
    else:
        pending.mask |= bit(info.signo)
    announce(group, info.signo, only)


def announce(group: ThreadGroup, signo: int, only: Task | None) -> None:
    """Wake signalfds and sigtimedwaits, and choose the task that takes the signal."""
    if only is not None:
        only.signals.queue.wake(0)
        if wants(only, signo):
            attend(only)
        return
    for task in list(group.tasks):
        task.signals.queue.wake(0)
    target = group.any_task()
    if target is None or takes(target, signo):
        return
    for task in group.tasks:
        if takes(task, signo):
            return


def takes(task: Task, signo: int) -> bool:
    """Have ``task`` take the group's signal if it does not block it; True when it will."""
    if task.signals.waiting & bit(signo):
        return True  # its sigtimedwait was woken already
    if wants(task, signo):
        attend(task)
        return True
    return False


def job_control_effects(group: ThreadGroup, signo: int) -> None:
    """SIGCONT and SIGKILL start a stopped group and SIGCONT cancels pending stops, even when
    blocked or ignored; a stop signal cancels a pending SIGCONT."""
    if STOP_SIGNALS & bit(signo):
        discard_everywhere(group, CONT_SIGNAL)
        return
    if signo == SIGCONT:
        discard_everywhere(group, STOP_SIGNALS)
    if signo in (SIGCONT, SIGKILL) and group.stopped:
        continue_group(group, signo == SIGCONT)


def discard_everywhere(group: ThreadGroup, mask: int) -> None:
    """Throw away pending signals of the group and of each task."""
    group.pending.discard(mask)
    for task in group.tasks:
        task.signals.pending.discard(mask)


def continue_group(group: ThreadGroup, report: bool) -> None:
    """End a job-control stop; ``report`` makes wait(2) and SIGCHLD tell the parent."""
    group.stopped = False
    group.stop_unreported = False
    if report:
        group.continue_unreported = True
        notify_parent_of_job_control(group, CLD_CONTINUED, SIGCONT)
    for task in list(group.tasks):
        group.kernel.hooks.continue_(task)


def notify_parent_of_job_control(group: ThreadGroup, code: int, status: int) -> None:
    """SIGCHLD (unless SA_NOCLDSTOP) and a wake-up for wait(2)."""
    parent = group.parent
    if parent is None:
        return
    parent.wait_queue.wake(0)  # first: see exit.notify_parent
    action = parent.actions.get(SIGCHLD)
    if action.handler != SIG_IGN and not action.flags & SA_NOCLDSTOP:
        info = SigInfo(SIGCHLD, code)
        info.pid = group.pid
        info.status = status
        leader = group.leader
        if leader is not None:
            info.uid = leader.credentials.uid
        ticks = group.cpu_time_ns() // 10_000_000
        info.utime = ticks
        send_to_group(parent, info)


def is_ignored(task: Task, signo: int) -> bool:
    """True when the signal need not even become pending. A blocked signal always does: its action
    may have changed when it is unblocked."""
    if task.signals.blocked & bit(signo) and signo != SIGKILL:
        return False
    group = task.group
    if group.unkillable and group.actions.handler(signo) == SIG_DFL:
        return True
    if signo in (SIGKILL, SIGSTOP):
        return False
    return group.actions.ignores(signo)


def has_room(group: ThreadGroup, info: SigInfo) -> bool:
    """Whether ``info`` may be queued under RLIMIT_SIGPENDING. Standard signals of the kernel and
    of kill(2) always may, and those of timers, which have their place already; a standard signal
    of sigqueue(3) and a real-time one of kill(2) go on without their siginfo (send_signal_locked).
    Linux counts what a user's processes have queued together; here it is each process."""
    if info.timer is not None or (info.signo < SIGRTMIN and info.code >= 0):
        return True
    limit, _ = group.rlimits.get(RLIMIT_SIGPENDING)
    return queued_count(group) < limit


def queued_count(group: ThreadGroup) -> int:
    """How many signals are queued for ``group`` and its tasks, and POSIX timers that may be."""
    count = len(group.pending.queue)
    for task in group.tasks:
        count += len(task.signals.pending.queue)
    return count if group.timers is None else count + group.timers.count()


def force(task: Task, info: SigInfo) -> None:
    """Send a fault: one that is blocked or ignored kills (the action becomes SIG_DFL)."""
    signo = info.signo
    action = task.group.actions.get(signo)
    if task.signals.blocked & bit(signo) or action.handler == SIG_IGN:
        action.handler = SIG_DFL
        task.signals.blocked &= ~bit(signo)
    if action.handler == SIG_DFL:
        task.group.unkillable = False
    task.signals.pending.add(info)
    task.signals.attention = True


def flush_for_exec(task: Task) -> None:
    """execve(2): actions (no longer shared by CLONE_SIGHAND) reset, alternate stack and POSIX
    timers gone; the mask and pending signals stay."""
    group = task.group
    group.leave_host_process()
    group.actions = group.actions.copy()
    group.actions.reset_for_exec()
    if group.timers is not None:
        group.timers.delete_posix()
    task.signals.reset_stack()
