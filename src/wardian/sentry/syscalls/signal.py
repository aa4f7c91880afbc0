"""Signal system calls (signal(7)); the rules live in ``kernel.signal_*``."""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import EAGAIN, EBADF, EINVAL, ENOMEM, EPERM, ESRCH
from wardian.sentry.kernel.credentials import CAP_KILL
from wardian.sentry.kernel.pidfd import PidFD
from wardian.sentry.kernel.process_group import ProcessGroup
from wardian.sentry.kernel.siginfo import SI_TKILL, SI_USER, SIGINFO_SIZE, SigInfo, user_siginfo
from wardian.sentry.kernel.signal_numbers import (
    MINSIGSTKSZ,
    NSIG,
    SA_KNOWN,
    SIG_DFL,
    SIG_IGN,
    SIGCONT,
    SIGKILL,
    SIGSTOP,
    SS_AUTODISARM,
    SS_DISABLE,
    SS_ONSTACK,
    UNBLOCKABLE,
    bit,
)
from wardian.sentry.kernel.signal_sending import discard_everywhere, send_to_group, send_to_task
from wardian.sentry.kernel.signals import (
    dequeue,
    lease_mask,
    pending_mask,
    recalculate,
    set_blocked,
    set_temporary_mask,
)
from wardian.sentry.kernel.task import Task
from wardian.sentry.kernel.thread_group import ThreadGroup
from wardian.sentry.syscalls.kinds import (
    FD,
    Addr,
    Flags,
    InSigaction,
    InSiginfo,
    InSigset,
    InStack,
    Int,
    InTimespec,
    Pid,
    Signo,
    Size,
)
from wardian.sentry.time import timespec_ns

SIGSET_SIZE: Final = 8
SIGACTION: Final = struct.Struct("<QQQQ")
STACK: Final = struct.Struct("<QiiQ")
RAW_SIGINFO: Final = struct.Struct("<iii4xiIQ")  # signo, errno, code, pid, uid, value
RAW_SIGINFO_USED: Final = 48

SIG_BLOCK: Final = 0
SIG_UNBLOCK: Final = 1
SIG_SETMASK: Final = 2

PIDFD_SIGNAL_THREAD: Final = 1
PIDFD_SIGNAL_THREAD_GROUP: Final = 2
PIDFD_SIGNAL_PROCESS_GROUP: Final = 4


# -- actions and masks ------------------------------------------------------------------------
def rt_sigaction(
    t: Task, signum: Signo, act: InSigaction | None, oldact: Addr, sigsetsize: Size
) -> int:
    """sigaction(2)."""
    if sigsetsize != SIGSET_SIZE:
        raise EINVAL("sigsetsize must be 8")
    if not 1 <= signum <= NSIG or (act is not None and signum in (SIGKILL, SIGSTOP)):
        raise EINVAL("no such signal, or one whose action is fixed")
    action = t.group.actions.get(signum)
    old = SIGACTION.pack(action.handler, action.flags, action.restorer, action.mask)
    if act is not None:
        handler, flags, restorer, mask = SIGACTION.unpack(act)
        action.handler = handler
        action.flags = flags & SA_KNOWN
        action.restorer = restorer
        action.mask = mask & ~UNBLOCKABLE
        if handler in (SIG_DFL, SIG_IGN) and t.group.actions.ignores(signum):
            discard_everywhere(t.group, bit(signum))
    if oldact:
        t.copy_out(oldact, old)
    return 0


def rt_sigprocmask(t: Task, how: Int, set_: InSigset | None, oldset: Addr, sigsetsize: Size) -> int:
    """sigprocmask(2)."""
    if sigsetsize != SIGSET_SIZE:
        raise EINVAL("sigsetsize must be 8")
    old = t.signals.blocked
    if set_ is not None:
        mask = int.from_bytes(set_, "little")
        if how == SIG_BLOCK:
            set_blocked(t, old | mask)
        elif how == SIG_UNBLOCK:
            set_blocked(t, old & ~mask)
        elif how == SIG_SETMASK:
            set_blocked(t, mask)
        else:
            raise EINVAL("how must be SIG_BLOCK, SIG_UNBLOCK or SIG_SETMASK")
    if oldset:
        t.copy_out(oldset, old.to_bytes(8, "little"))
    lease_mask(t)
    return 0


def rt_sigpending(t: Task, uset: Addr, sigsetsize: Size) -> int:
    """sigpending(2)."""
    if sigsetsize > SIGSET_SIZE:
        raise EINVAL("sigsetsize must be at most 8")
    pending = pending_mask(t) & t.signals.blocked
    t.copy_out(uset, pending.to_bytes(8, "little")[:sigsetsize])
    return 0


def sigaltstack(t: Task, uss: InStack | None, uoss: Addr) -> int:
    """sigaltstack(2)."""
    _, sp = t.host.pointers() if t.host is not None else (0, 0)
    on_stack = on_alternate_stack(t, sp)
    signals = t.signals
    flags = SS_DISABLE if not signals.stack_size else SS_ONSTACK if on_stack else 0
    flags |= signals.stack_flags & SS_AUTODISARM
    old = STACK.pack(signals.stack_sp, signed32(flags), 0, signals.stack_size)
    if uss is not None:
        if on_stack:
            raise EPERM("running on the alternate stack")
        sp, new_flags, _, size = STACK.unpack(uss)
        set_alternate_stack(t, sp, new_flags & 0xFFFF_FFFF, size)
    if uoss:
        t.copy_out(uoss, old)
    return 0


def signed32(value: int) -> int:
    """A 32-bit pattern as the C int it is."""
    return value - (1 << 32) if value & 0x8000_0000 else value


def on_alternate_stack(t: Task, sp: int) -> bool:
    """Whether the thread runs on its alternate stack; never so with SS_AUTODISARM."""
    signals = t.signals
    if signals.stack_flags & SS_AUTODISARM:
        return False
    return signals.stack_sp < sp <= signals.stack_sp + signals.stack_size


def set_alternate_stack(t: Task, sp: int, flags: int, size: int) -> None:
    """Install or remove the alternate stack; EINVAL, ENOMEM."""
    mode = flags & ~SS_AUTODISARM
    if mode not in (0, SS_ONSTACK, SS_DISABLE):
        raise EINVAL("ss_flags must be 0, SS_DISABLE or SS_AUTODISARM")
    if mode == SS_DISABLE:
        t.signals.reset_stack()
        return
    if size < MINSIGSTKSZ:
        raise ENOMEM("the alternate stack is too small")
    t.signals.stack_sp = sp
    t.signals.stack_size = size
    t.signals.stack_flags = flags & SS_AUTODISARM


# -- waiting ----------------------------------------------------------------------------------
def pause(t: Task) -> int:
    """pause(2)."""
    return t.park(None)


def rt_sigsuspend(t: Task, unewset: InSigset, sigsetsize: Size) -> int:
    """sigsuspend(2): always ends by a signal handler."""
    if sigsetsize != SIGSET_SIZE:
        raise EINVAL("sigsetsize must be 8")
    set_temporary_mask(t, int.from_bytes(unewset, "little"))
    return t.park(None)


def rt_sigtimedwait(
    t: Task, uthese: InSigset, uinfo: Addr, uts: InTimespec | None, sigsetsize: Size
) -> int:
    """sigtimedwait(2)."""
    if sigsetsize != SIGSET_SIZE:
        raise EINVAL("sigsetsize must be 8")
    these = int.from_bytes(uthese, "little") & ~UNBLOCKABLE
    timeout = timespec_ns(uts) if uts is not None else -1
    signals = t.signals
    info = dequeue(t, these)
    if info is None and timeout != 0:
        deadline = t.deadline(timeout)
        if not t.expired():
            signals.waiting = these
            recalculate(t)
            t.park_until(deadline)
            return t.park(signals.queue)
    signals.waiting = 0
    recalculate(t)
    if info is None:
        raise EAGAIN("no signal in time")
    if uinfo:
        t.copy_out(uinfo, info.pack())
    return info.signo


# -- sending ----------------------------------------------------------------------------------
def kill(t: Task, pid: Pid, sig: Signo) -> int:
    """kill(2)."""
    check_signo(sig)
    if pid > 0:
        group = group_of(t, pid)
        if group is None:
            raise ESRCH("no such process")
        send_checked(t, group, sig)
    elif pid == -1:
        kill_everyone(t, sig)
    else:
        process_group = t.group.process_group if pid == 0 else t.kernel.pids.process_group(-pid)
        if process_group is None:
            raise ESRCH("no such process group")
        kill_process_group(t, process_group, sig)
    return 0


def check_signo(sig: int) -> None:
    """EINVAL unless ``sig`` is a signal or 0."""
    if not 0 <= sig <= NSIG:
        raise EINVAL("no such signal")


def group_of(t: Task, pid: int) -> ThreadGroup | None:
    """The thread group that ``pid`` names, by any of its threads as kill(2) allows."""
    task = t.kernel.pids.task(pid)
    return task.group if task is not None else t.kernel.pids.group(pid)


def kill_process_group(t: Task, process_group: ProcessGroup, sig: int) -> None:
    """Send to all members; fails only when it failed for each of them."""
    members = list(process_group.members)
    if not members:
        raise ESRCH("nobody is in that process group")
    kill_several(t, members, sig)


def kill_everyone(t: Task, sig: int) -> None:
    """kill(-1): all but init and the caller itself."""
    others = [g for g in t.kernel.pids.groups() if g is not t.group and g is not t.kernel.init]
    if not others:
        raise ESRCH("there is nobody else")
    kill_several(t, others, sig)


def kill_several(t: Task, groups: list[ThreadGroup], sig: int) -> None:
    """Send to each group; EPERM when not one may be sent to."""
    sent = False
    for group in groups:
        if may_signal(t, group, sig):
            deliver_from(t, group, sig)
            sent = True
    if not sent:
        raise EPERM("no permission to signal any of them")


def send_checked(t: Task, group: ThreadGroup, sig: int) -> None:
    """Send to one group; EPERM."""
    if not may_signal(t, group, sig):
        raise EPERM("no permission to signal that process")
    deliver_from(t, group, sig)


def deliver_from(t: Task, group: ThreadGroup, sig: int) -> None:
    """Send ``sig`` (0: nothing) as from ``t``."""
    if sig:
        send_to_group(group, user_siginfo(sig, SI_USER, t.group.pid, t.credentials.uid))


def may_signal(t: Task, group: ThreadGroup, sig: int) -> bool:
    """kill(2), "Permissions"."""
    leader = group.leader
    if group is t.group or leader is None:
        return True
    mine, theirs = t.credentials, leader.credentials
    for uid in (mine.euid, mine.uid):
        if uid in (theirs.suid, theirs.uid):
            return True
    if mine.has_cap(CAP_KILL):
        return True
    return sig == SIGCONT and group.session is t.group.session


def tgkill(t: Task, tgid: Pid, tid: Pid, sig: Signo) -> int:
    """tgkill(2)."""
    if tgid <= 0 or tid <= 0:
        raise EINVAL("ids must be positive")
    return send_to_thread(t, tgid, tid, sig)


def tkill(t: Task, tid: Pid, sig: Signo) -> int:
    """tkill(2)."""
    if tid <= 0:
        raise EINVAL("ids must be positive")
    return send_to_thread(t, 0, tid, sig)


def send_to_thread(t: Task, tgid: int, tid: int, sig: int) -> int:
    """Send to one thread, of group ``tgid`` unless that is 0."""
    check_signo(sig)
    target = t.kernel.pids.task(tid)
    group = target.group if target is not None else t.kernel.pids.group(tid)
    if group is None or (tgid and group.pid != tgid):
        raise ESRCH("no such thread")
    if not may_signal(t, group, sig):
        raise EPERM("no permission to signal that thread")
    if sig and target is not None:
        send_to_task(target, user_siginfo(sig, SI_TKILL, t.group.pid, t.credentials.uid))
    return 0


def rt_sigqueueinfo(t: Task, tgid: Pid, sig: Signo, uinfo: InSiginfo) -> int:
    """rt_sigqueueinfo(2)."""
    info = given_siginfo(sig, uinfo)
    check_forgery(t, info, tgid)
    check_signo(sig)
    group = group_of(t, tgid) if tgid > 0 else None
    if group is None:
        raise ESRCH("no such process")
    if not may_signal(t, group, sig):
        raise EPERM("no permission to signal that process")
    if sig:
        send_to_group(group, info)
    return 0


def rt_tgsigqueueinfo(t: Task, tgid: Pid, tid: Pid, sig: Signo, uinfo: InSiginfo) -> int:
    """rt_tgsigqueueinfo(2)."""
    if tgid <= 0 or tid <= 0:
        raise EINVAL("ids must be positive")
    info = given_siginfo(sig, uinfo)
    check_forgery(t, info, tid)
    check_signo(sig)
    target = t.kernel.pids.task(tid)
    if target is None or target.group.pid != tgid:
        raise ESRCH("no such thread")
    if not may_signal(t, target.group, sig):
        raise EPERM("no permission to signal that thread")
    if sig:
        send_to_task(target, info)
    return 0


def given_siginfo(sig: int, data: bytes) -> SigInfo:
    """A siginfo the guest made up; only its signal number is ours."""
    _, number, code, pid, uid, value = RAW_SIGINFO.unpack_from(data)
    info = SigInfo(sig, code)
    info.errno = number
    info.pid = pid
    info.uid = uid
    info.value = value
    raw = (sig & 0xFFFF_FFFF).to_bytes(4, "little") + data[4:RAW_SIGINFO_USED]
    info.raw = raw.ljust(SIGINFO_SIZE, b"\0")
    return info


def check_forgery(t: Task, info: SigInfo, pid: int) -> None:
    """Only to itself may a process pretend that the kernel or kill(2) sent a signal; EPERM."""
    if (info.code >= 0 or info.code == SI_TKILL) and pid not in (t.tid, t.group.pid):
        raise EPERM("si_code is not the caller's to use")


def pidfd_send_signal(t: Task, pidfd: FD, sig: Signo, uinfo: InSiginfo | None, flags: Flags) -> int:
    """pidfd_send_signal(2)."""
    scopes = (0, PIDFD_SIGNAL_THREAD, PIDFD_SIGNAL_THREAD_GROUP, PIDFD_SIGNAL_PROCESS_GROUP)
    if flags not in scopes:
        raise EINVAL("flags must name one scope at most")
    file = t.files.get(pidfd)
    if not isinstance(file, PidFD):
        raise EBADF("not a pidfd")
    group = file.group
    check_signo(sig)
    info = user_siginfo(sig, SI_USER, t.group.pid, t.credentials.uid)
    if uinfo is not None:
        info = given_siginfo(sig, uinfo)
        if RAW_SIGINFO.unpack_from(uinfo)[0] != sig:
            raise EINVAL("si_signo differs from sig")
        check_forgery(t, info, group.pid)
    if group.reaped:
        raise ESRCH("the process is gone")
    if flags == PIDFD_SIGNAL_PROCESS_GROUP:
        kill_process_group(t, group.process_group, sig)
        return 0
    if not may_signal(t, group, sig):
        raise EPERM("no permission to signal that process")
    if not sig:
        return 0
    leader = group.leader
    if flags == PIDFD_SIGNAL_THREAD and leader is not None:
        send_to_task(leader, info)
    else:
        send_to_group(group, info)
    return 0
