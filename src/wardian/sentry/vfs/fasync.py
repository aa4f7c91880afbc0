"""Signal-driven I/O: O_ASYNC, F_SETOWN and F_SETSIG (fcntl(2)).

A :class:`SignalIO` waits on the file's queue and signals the owner when input or output becomes
possible. Streams only: files that are always ready never say anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import LinuxError
from wardian.sentry.kernel.siginfo import SigInfo
from wardian.sentry.kernel.signal_numbers import SIGIO
from wardian.sentry.kernel.signal_sending import send_to_group, send_to_process_group, send_to_task
from wardian.sentry.kernel.waitqueue import Registration, Waiter, WaitQueue
from wardian.sentry.vfs.file import (
    O_ASYNC,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
    File,
    FileWatcher,
)
from wardian.sentry.vfs.inode import S_IFIFO

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel

SIG_POLL_IN: Final = 1
SIG_POLL_OUT: Final = 2
SIG_POLL_ERR: Final = 4
SIG_POLL_HUP: Final = 6
BANDS: Final = {
    SIG_POLL_IN: POLLIN | POLLRDNORM,
    SIG_POLL_OUT: POLLOUT | POLLWRNORM | POLLWRBAND,
    SIG_POLL_ERR: POLLERR,
    SIG_POLL_HUP: POLLHUP | POLLERR,
}
"""si_band for each si_code (band_table of fs/fcntl.c)."""


class SignalIO(Waiter):
    """Tells the owner of one file."""

    def __init__(self, kernel: Kernel, file: File, fd: int) -> None:
        self.kernel = kernel
        self.file = file
        self.fd = fd
        self.link = SignalLink(self)
        self.registration: Registration | None = file.poll_queue().add(self, 0)
        file.watchers.append(self.link)

    def woken(self, queue: WaitQueue, events: int) -> None:
        file = self.file
        found = file.poll() & (events if events else -1)
        if not found & (POLLIN | POLLOUT | POLLERR | POLLHUP):
            return
        info = SigInfo(SIGIO)
        if file.owner_signal:
            info.signo = file.owner_signal
            info.code = self.reason(found)
            info.band = BANDS[info.code]
            info.fd = self.fd
            info.is_poll = True
        self.send(info)

    def reason(self, found: int) -> int:
        """si_code for the poll(2) events; the end of a pipe is something to read."""
        inode = self.file.inode
        if found & POLLHUP:
            return SIG_POLL_IN if inode is not None and inode.kind == S_IFIFO else SIG_POLL_HUP
        if found & POLLERR:
            return SIG_POLL_ERR
        return SIG_POLL_IN if found & POLLIN else SIG_POLL_OUT

    def send(self, info: SigInfo) -> None:
        """To a process (its thread group), a thread, or to a process group when negative."""
        owner = self.file.owner_pid
        pids = self.kernel.pids
        try:
            if owner > 0:
                group = pids.group(owner)
                task = pids.task(owner)
                if self.file.owner_is_thread and task is not None:
                    send_to_task(task, info)
                elif group is not None:
                    send_to_group(group, info)
            elif owner < 0:
                process_group = pids.process_group(-owner)
                if process_group is not None:
                    send_to_process_group(process_group, info)
        except LinuxError:
            pass  # the queue of real-time signals is full: Linux falls back to nothing we must keep

    def stop(self) -> None:
        """O_ASYNC was taken off, or the file is gone."""
        if self.registration is not None:
            self.registration.cancel()
            self.registration = None


class SignalLink(FileWatcher):
    """Ends a :class:`SignalIO` with its file."""

    def __init__(self, owner: SignalIO) -> None:
        self.owner = owner

    def file_released(self, file: File) -> None:
        self.owner.stop()


def set_async(kernel: Kernel, file: File, fd: int, on: bool) -> None:
    """Start or stop telling the owner; called after O_ASYNC changed in ``file.flags``."""
    for watcher in list(file.watchers):
        if isinstance(watcher, SignalLink):
            if on:
                return
            watcher.owner.stop()
            file.watchers.remove(watcher)
    if on and file.pollable():
        SignalIO(kernel, file, fd)
    elif on:
        file.flags &= ~O_ASYNC
