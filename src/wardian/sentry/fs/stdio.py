"""Giving the first process its descriptors 0, 1 and 2 from those the Sentry was started with.

Runs before confinement (it opens the user's terminal and reads /proc/self/fd). What is a terminal
becomes the guest's terminal through ``fs.hosttty``; what is one of the guest's own devices
(/dev/null) is opened there; the rest are streams. A descriptor that was closed stays closed. Two
descriptors of one host description (``2>&1``) share one in the guest.

Everything is duplicated: the caller should afterwards point its own 0, 1 and 2 elsewhere, so that
the last guest's close is the last one and a reader of our output sees the end.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import LinuxError
from wardian.sentry.fs.anon import AnonFS
from wardian.sentry.fs.devices import FULL, NULL, RANDOM, URANDOM, ZERO, make_dev
from wardian.sentry.fs.hostcalls import HostFS
from wardian.sentry.fs.hoststream import inherited_file
from wardian.sentry.fs.hosttty import HostTerminal, own_description
from wardian.sentry.vfs.file import O_ACCMODE, O_RDWR, File
from wardian.sentry.vfs.inode import S_IFCHR, S_IFMT
from wardian.sentry.vfs.namei import AT_FDCWD
from wardian.sentry.vfs.open import open_path

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

HOSTFD_MAGIC: Final = 0x09041934
DEVICES: Final = (
    (NULL, b"/dev/null"),
    (ZERO, b"/dev/zero"),
    (FULL, b"/dev/full"),
    (RANDOM, b"/dev/random"),
    (URANDOM, b"/dev/urandom"),
)


class Inheritance:
    """The first process's standard descriptors in the making."""

    def __init__(self, task: Task, host: HostFS, foreground: bool) -> None:
        self.task = task
        self.foreground = foreground
        self.host = host
        self.terminal: HostTerminal | None = None
        self.terminal_file: File | None = None
        self.fs = AnonFS("hostfd", task.kernel.anonymous_dev(), HOSTFD_MAGIC)
        self.files: list[tuple[int, File]] = []  # host descriptor, its guest file

    def inherit(self, fds: list[int]) -> None:
        """Install host descriptor ``fds[n]`` as the guest's ``n``; -1 and closed: none."""
        keys = bool(fds) and is_terminal(fds[0])
        for number in range(len(fds)):
            fd = fds[number]
            if fd < 0 or not is_open(fd):
                continue
            file = self.known(fd)
            if file is None:
                file = self.terminal_end(fd, keys) if is_terminal(fd) else self.other(fd)
                self.files.append((fd, file))
            self.task.files.set(number, file, False)
        if self.terminal is not None:
            self.terminal.start()

    def known(self, fd: int) -> File | None:
        """The guest file of an earlier descriptor with the same host description."""
        for earlier, file in self.files:
            if self.host.same_description(earlier, fd):
                return file
        return None

    def other(self, fd: int) -> File:
        """Anything but a terminal."""
        attributes = self.host.fstat(fd)
        if attributes.mode & S_IFMT == S_IFCHR:
            device = self.guest_device(attributes.rdev, fcntl.fcntl(fd, fcntl.F_GETFL) & O_ACCMODE)
            if device is not None:
                return device
        copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
        return inherited_file(self.task.kernel, self.host, self.fs, copy)

    def guest_device(self, rdev: int, flags: int) -> File | None:
        """The guest's own device of that number, by the name it usually has."""
        for number, path in DEVICES:
            if make_dev(number[0], number[1]) != rdev:
                continue
            try:
                file = open_path(self.task, AT_FDCWD, path, flags, 0)
            except LinuxError:
                return None
            if file.inode is not None and file.inode.getattr().rdev == rdev:
                return file
            file.hold().drop()
        return None

    def terminal_end(self, fd: int, keys: bool) -> File:
        """The guest terminal: one pty however many descriptors lead to the user's."""
        if self.terminal_file is not None:
            return self.terminal_file
        kernel = self.task.kernel
        credentials = self.task.credentials
        pty = kernel.devpts.new_pty(credentials.uid, credentials.gid)
        pty.locked = False
        kernel.console = pty
        copy, nonblocking = own_description(fd)
        self.terminal = HostTerminal(pty, kernel.poller, copy, nonblocking, keys, self.foreground)
        path = f"/dev/pts/{pty.index}".encode()
        try:
            file = open_path(self.task, AT_FDCWD, path, O_RDWR, 0)
        except LinuxError:  # a root file system without devpts
            file = kernel.devpts.slaves[pty.index].open(self.task, O_RDWR)
        self.terminal_file = file
        return file


def inherit_stdio(
    task: Task, host: HostFS, fds: list[int], foreground: bool = True
) -> HostTerminal | None:
    """Give ``task`` the host descriptors ``fds`` as 0, 1, 2; the terminal, if there is one, of
    which we are the ``foreground`` job or not."""
    inheritance = Inheritance(task, host, foreground)
    inheritance.inherit(fds)
    return inheritance.terminal


def is_open(fd: int) -> bool:
    """True when ``fd`` is a descriptor of ours."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def is_terminal(fd: int) -> bool:
    """isatty(3)."""
    return fd >= 0 and os.isatty(fd)
