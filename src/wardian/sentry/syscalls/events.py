"""eventfd(2), epoll(7), timerfd_create(2), signalfd(2) and inotify(7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from librt.strings import read_i32_le

from wardian.sentry.errno import EFAULT, EINVAL, ENOTDIR, EPERM, LinuxError
from wardian.sentry.fs.anon import anon_inode, install_new
from wardian.sentry.kernel.epoll import EPOLL_CTL_DEL, Epoll, control
from wardian.sentry.kernel.eventfd import EventFd
from wardian.sentry.kernel.inotify import (
    IN_ALL_EVENTS,
    IN_DONT_FOLLOW,
    IN_MASK_ADD,
    IN_MASK_CREATE,
    IN_ONLYDIR,
    IN_VALID,
    Inotify,
)
from wardian.sentry.kernel.signalfd import SignalFd
from wardian.sentry.kernel.timerfd import TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET, TimerFd
from wardian.sentry.syscalls.kinds import (
    FD,
    Addr,
    ClockId,
    Flags,
    InEpollEvent,
    InItimerspec,
    InSigset,
    Int,
    InTimespec,
    OutBuf,
    Size,
    UInt,
    UserPath,
)
from wardian.sentry.syscalls.poll import MILLISECOND, finish, restore_mask, swap_mask
from wardian.sentry.time import (
    CLOCK_BOOTTIME,
    CLOCK_BOOTTIME_ALARM,
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    CLOCK_REALTIME_ALARM,
    itimerspec_ns,
    pack_itimerspec,
    timespec_ns,
)
from wardian.sentry.vfs.file import O_CLOEXEC, O_NONBLOCK, POLLIN
from wardian.sentry.vfs.namei import resolve
from wardian.sentry.vfs.permissions import check

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

EFD_SEMAPHORE: Final = 1
EPOLL_EVENT_SIZE: Final = 12  # struct epoll_event is packed: events, then 8 bytes of data
MAX_EPOLL_EVENTS: Final = (2**31 - 1) // EPOLL_EVENT_SIZE
CAP_WAKE_ALARM: Final = 35


def check_flags(flags: int, allowed: int) -> None:
    """EINVAL for a flag that is not ``allowed``."""
    if flags & ~allowed:
        raise EINVAL(f"unknown flags {flags & ~allowed:#x}")


# -- eventfd ---------------------------------------------------------------------------------------
def eventfd2(t: Task, count: UInt, flags: Flags) -> int:
    """eventfd2(2)."""
    check_flags(flags, EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK)
    semaphore = flags & EFD_SEMAPHORE != 0
    file = EventFd(anon_inode(t), flags & O_NONBLOCK, count, semaphore)
    return install_new(t, file, flags & O_CLOEXEC != 0)


def eventfd(t: Task, count: UInt) -> int:
    """eventfd(2), the old call without flags."""
    return install_new(t, EventFd(anon_inode(t), 0, count, False), False)


# -- epoll -----------------------------------------------------------------------------------------
def epoll_create(t: Task, size: Int) -> int:
    """epoll_create(2)."""
    if size <= 0:
        raise EINVAL("size must be positive")
    return install_new(t, Epoll(anon_inode(t)), False)


def epoll_create1(t: Task, flags: Flags) -> int:
    """epoll_create1(2)."""
    check_flags(flags, O_CLOEXEC)
    return install_new(t, Epoll(anon_inode(t)), flags & O_CLOEXEC != 0)


def epoll_of(t: Task, fd: int) -> Epoll:
    """The epoll behind ``fd``; EBADF, EINVAL."""
    file = t.files.get(fd)
    if not isinstance(file, Epoll):
        raise EINVAL("not an epoll descriptor")
    return file


def epoll_ctl(t: Task, epfd: FD, op: Int, fd: FD, event: InEpollEvent | None) -> int:
    """epoll_ctl(2)."""
    if event is None and op != EPOLL_CTL_DEL:
        raise EFAULT("no event")
    outer = t.files.get(epfd)
    file = t.files.get(fd)
    if not file.pollable():
        raise EPERM("the file does not support epoll")
    if not isinstance(outer, Epoll):
        raise EINVAL("not an epoll descriptor")
    if event is None:
        control(outer, op, fd, file, 0, b"")
    else:
        control(outer, op, fd, file, int(read_i32_le(event, 0)) & 0xFFFFFFFF, event[4:])
    return 0


def wait_epoll(t: Task, epfd: int, address: int, limit: int, timeout_ns: int) -> int:
    """Collect ready events, or wait for one until ``timeout_ns`` (negative: none) has passed."""
    if not 0 < limit <= MAX_EPOLL_EVENTS:
        raise EINVAL("maxevents out of range")
    epoll = epoll_of(t, epfd)
    deadline = t.deadline(timeout_ns)
    found = epoll.collect(limit)
    if found:
        t.copy_out(address, b"".join(found))
        return len(found)
    if timeout_ns == 0 or t.expired():
        return 0
    t.park(epoll.queue, POLLIN)
    return t.park_until(deadline)


def epoll_wait(t: Task, epfd: FD, events: OutBuf, maxevents: Int, timeout: Int) -> int:
    """epoll_wait(2)."""
    timeout_ns = timeout * MILLISECOND if timeout >= 0 else -1
    return wait_epoll(t, epfd, events, maxevents, timeout_ns)


def masked_epoll(
    t: Task,
    epfd: int,
    address: int,
    limit: int,
    timeout_ns: int,
    mask: bytes | None,
    mask_size: int,
) -> int:
    """:func:`wait_epoll` under a temporary signal mask."""
    swap_mask(t, mask, mask_size)
    try:
        return finish(t, wait_epoll(t, epfd, address, limit, timeout_ns))
    except LinuxError:
        restore_mask(t)
        raise


def epoll_pwait(
    t: Task,
    epfd: FD,
    events: OutBuf,
    maxevents: Int,
    timeout: Int,
    mask: InSigset | None,
    mask_size: Size,
) -> int:
    """epoll_pwait(2)."""
    timeout_ns = timeout * MILLISECOND if timeout >= 0 else -1
    return masked_epoll(t, epfd, events, maxevents, timeout_ns, mask, mask_size)


def epoll_pwait2(
    t: Task,
    epfd: FD,
    events: OutBuf,
    maxevents: Int,
    timeout: InTimespec | None,
    mask: InSigset | None,
    mask_size: Size,
) -> int:
    """epoll_pwait2(2)."""
    timeout_ns = timespec_ns(timeout) if timeout is not None else -1
    return masked_epoll(t, epfd, events, maxevents, timeout_ns, mask, mask_size)


# -- timerfd ---------------------------------------------------------------------------------------
def timerfd_create(t: Task, clock: ClockId, flags: Flags) -> int:
    """timerfd_create(2)."""
    check_flags(flags, O_CLOEXEC | O_NONBLOCK)
    alarm = clock in (CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM)
    if not alarm and clock not in (CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME):
        raise EINVAL("no timers on this clock")
    if alarm and not t.credentials.has_cap(CAP_WAKE_ALARM):
        raise EPERM("alarm clocks need CAP_WAKE_ALARM")
    file = TimerFd(t.kernel, anon_inode(t), flags & O_NONBLOCK, clock)
    return install_new(t, file, flags & O_CLOEXEC != 0)


def timerfd_of(t: Task, fd: int) -> TimerFd:
    """The timer behind ``fd``; EBADF, EINVAL."""
    file = t.files.get(fd)
    if not isinstance(file, TimerFd):
        raise EINVAL("not a timerfd")
    return file


def timerfd_settime(t: Task, fd: FD, flags: Flags, new: InItimerspec, old: Addr) -> int:
    """timerfd_settime(2)."""
    check_flags(flags, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)
    interval, value = itimerspec_ns(new)
    timer = timerfd_of(t, fd)
    old_value, old_interval = timer.gettime()
    timer.settime(flags, value, interval)
    if old:
        t.copy_out(old, pack_itimerspec(old_interval, old_value))
    return 0


def timerfd_gettime(t: Task, fd: FD, current: Addr) -> int:
    """timerfd_gettime(2)."""
    value, interval = timerfd_of(t, fd).gettime()
    t.copy_out(current, pack_itimerspec(interval, value))
    return 0


# -- signalfd --------------------------------------------------------------------------------------
def signalfd4(t: Task, fd: FD, mask: InSigset, mask_size: Size, flags: Flags) -> int:
    """signalfd4(2)."""
    if mask_size != 8:
        raise EINVAL("sigset_t has 8 bytes")
    check_flags(flags, O_CLOEXEC | O_NONBLOCK)
    wanted = int.from_bytes(mask, "little")
    if fd == -1:
        file = SignalFd(t.kernel, t, anon_inode(t), flags & O_NONBLOCK, wanted)
        return install_new(t, file, flags & O_CLOEXEC != 0)
    old = t.files.get(fd)
    if not isinstance(old, SignalFd):
        raise EINVAL("not a signalfd")
    old.set_mask(wanted)
    return fd


def signalfd(t: Task, fd: FD, mask: InSigset, mask_size: Size) -> int:
    """signalfd(2), the old call without flags."""
    return signalfd4(t, fd, mask, mask_size, Flags(0))


# -- inotify ---------------------------------------------------------------------------------------
def inotify_init1(t: Task, flags: Flags) -> int:
    """inotify_init1(2)."""
    check_flags(flags, O_CLOEXEC | O_NONBLOCK)
    file = Inotify(anon_inode(t), flags & O_NONBLOCK)
    return install_new(t, file, flags & O_CLOEXEC != 0)


def inotify_init(t: Task) -> int:
    """inotify_init(2)."""
    return install_new(t, Inotify(anon_inode(t), 0), False)


def inotify_of(t: Task, fd: int) -> Inotify:
    """The inotify instance behind ``fd``; EBADF, EINVAL."""
    file = t.files.get(fd)
    if not isinstance(file, Inotify):
        raise EINVAL("not an inotify descriptor")
    return file


def inotify_add_watch(t: Task, fd: FD, path: UserPath, mask: Flags) -> int:
    """inotify_add_watch(2)."""
    if not mask & IN_ALL_EVENTS or mask & ~IN_VALID:
        raise EINVAL("no valid events")
    if mask & IN_MASK_ADD and mask & IN_MASK_CREATE:
        raise EINVAL("IN_MASK_ADD and IN_MASK_CREATE exclude each other")
    instance = inotify_of(t, fd)
    found = resolve(t, -100, path, follow=not mask & IN_DONT_FOLLOW)
    if mask & IN_ONLYDIR and not found.inode.is_dir:
        raise ENOTDIR("IN_ONLYDIR")
    check(t.credentials, found.inode, 4)
    return instance.add(found.inode, mask)


def inotify_rm_watch(t: Task, fd: FD, wd: Int) -> int:
    """inotify_rm_watch(2)."""
    inotify_of(t, fd).remove_wd(wd)
    return 0
