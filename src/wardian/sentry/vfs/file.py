"""Open file descriptions (open(2), "Open file descriptions"): what a descriptor refers to.

Subclass :class:`File` per kind of file. Operations are non-blocking: ``read`` and ``write``
return the byte count or :data:`~wardian.sentry.errno.WOULD_BLOCK`; they raise a ``LinuxError``
for failure. Whether to wait (O_NONBLOCK) is decided once, in ``sentry.syscalls``, with
:meth:`poll_queue`. The file offset and the partial-result rules live in ``sentry.vfs.io``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EBADF, EINVAL, ENODEV, ENOTDIR, ENOTTY, ESPIPE
from wardian.sentry.kernel.waitqueue import WaitQueue
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.notify import IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, notify_path

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.dentry import Path
    from wardian.sentry.vfs.file_part import FilePart
    from wardian.sentry.vfs.inode import DirEntry, Inode

POLLIN: Final = 0x1
POLLPRI: Final = 0x2
POLLOUT: Final = 0x4
POLLERR: Final = 0x8
POLLHUP: Final = 0x10
POLLNVAL: Final = 0x20
POLLRDNORM: Final = 0x40
POLLRDBAND: Final = 0x80
POLLWRNORM: Final = 0x100
POLLWRBAND: Final = 0x200
POLLRDHUP: Final = 0x2000

O_ACCMODE: Final = 0x3
O_RDONLY: Final = 0x0
O_WRONLY: Final = 0x1
O_RDWR: Final = 0x2
O_CREAT: Final = 0x40
O_EXCL: Final = 0x80
O_NOCTTY: Final = 0x100
O_TRUNC: Final = 0x200
O_APPEND: Final = 0x400
O_NONBLOCK: Final = 0x800
O_DSYNC: Final = 0x1000
O_ASYNC: Final = 0x2000
O_DIRECT: Final = 0x4000
O_LARGEFILE: Final = 0x8000
O_DIRECTORY: Final = 0x10000
O_NOFOLLOW: Final = 0x20000
O_NOATIME: Final = 0x40000
O_CLOEXEC: Final = 0x80000
O_SYNC: Final = 0x101000
O_PATH: Final = 0x200000
O_TMPFILE: Final = 0x410000


class MapSource:
    """What mmap(2) of a file hands to the platform: a host descriptor to map, or page contents to
    copy.

    ``host_fd`` is borrowed, not owned: it must stay open while the platform installs it. -1
    means the file has no host descriptor: a MAP_PRIVATE mapping is then filled by reading the file.
    """

    def __init__(self, host_fd: int, host_offset: int, memory_size: int = -1) -> None:
        self.host_fd = host_fd
        self.host_offset = host_offset
        self.memory_size = memory_size  # of a file in our own memory; -1: it is none


class FileWatcher:
    """Something tied to an open file description that must go when it does: an epoll item."""

    def file_released(self, file: File) -> None:
        """The last descriptor of ``file`` was closed; let go of it."""
        raise NotImplementedError


class File:
    """One open file description; shared by descriptors that dup(2) or fork(2) made."""

    def __init__(self, inode: Inode | None, flags: int) -> None:
        self.inode = inode
        self.flags = flags  # O_ACCMODE and status flags, as F_GETFL shows them
        self.offset = 0
        self.path: Path | None = None  # where it was opened; for /proc/self/fd, *at(2), getcwd
        self.references = 0  # held by descriptor tables, messages in flight, mappings
        self.queue = WaitQueue()
        self.owner_pid = 0  # fcntl(2) F_SETOWN
        self.owner_is_thread = False  # F_OWNER_TID
        self.owner_signal = 0
        self.watchers: list[FileWatcher] = []
        self.written: Inode | None = None  # the regular file this counts as a writer of

    # -- life ------------------------------------------------------------------------------------
    def hold(self) -> File:
        """Count one more holder."""
        self.references += 1
        return self

    def drop(self) -> None:
        """Count one holder less; the last one out calls :meth:`release`."""
        self.references -= 1
        if self.references == 0:
            if self.watchers:
                for watcher in list(self.watchers):
                    watcher.file_released(self)
                self.watchers.clear()
            if self.inode is not None and self.inode.locks is not None:
                self.inode.locks.forget_file(self)
            if self.written is not None:
                self.written.put_write_access()
                self.written = None
            if self.path is not None and not self.flags & O_PATH:
                notify_path(self.path, IN_CLOSE_WRITE if self.writable else IN_CLOSE_NOWRITE)
            self.release()

    def release(self) -> None:
        """The last holder is gone: free what is held."""

    def opened(self) -> bool:
        """False while a blocking open(2) must wait on :meth:`poll_queue` for the other end (a
        FIFO)."""
        return True

    # -- access ----------------------------------------------------------------------------------
    @property
    def readable(self) -> bool:
        return self.flags & O_ACCMODE in (O_RDONLY, O_RDWR) and not self.flags & O_PATH

    @property
    def writable(self) -> bool:
        return self.flags & O_ACCMODE in (O_WRONLY, O_RDWR) and not self.flags & O_PATH

    @property
    def nonblocking(self) -> bool:
        return bool(self.flags & O_NONBLOCK)

    # -- data ------------------------------------------------------------------------------------
    def read(self, sink: Sink, offset: int) -> int:
        """Read at ``offset`` (not for streams) into ``sink``; count, 0 at end, or WOULD_BLOCK."""
        raise EINVAL("this file cannot be read")

    def write(self, source: Source, offset: int) -> int:
        """Write from ``source`` at ``offset`` (ignored by streams); count or WOULD_BLOCK."""
        raise EINVAL("this file cannot be written")

    def writes_all(self) -> bool:
        """True for streams whose blocking write(2) goes on until all bytes are taken (pipe,
        terminal, stream socket); elsewhere a short count from :meth:`write` is the result."""
        return False

    @property
    def seekable(self) -> bool:
        """False for streams: lseek, pread and pwrite then say ESPIPE."""
        return False

    def lseek(self, offset: int, whence: int) -> int:
        """Move and return the file offset; lseek(2)."""
        raise ESPIPE("not seekable")

    def end(self) -> int:
        """Where the next O_APPEND write goes: the size now."""
        return self.inode.getattr().size if self.inode is not None else 0

    def poll(self) -> int:
        """The poll(2) events that are true now."""
        return POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM

    def poll_queue(self) -> WaitQueue:
        """The queue woken when :meth:`poll` may have changed."""
        return self.queue

    def timeout_ns(self, writing: bool) -> int:
        """How long a blocking read or write waits at most (a socket's SO_RCVTIMEO, SO_SNDTIMEO);
        -1: for ever."""
        return -1

    def pollable(self) -> bool:
        """False for regular files and directories: epoll_ctl(2) says EPERM."""
        return True

    # -- the rest ----------------------------------------------------------------------------------
    def ioctl(self, task: Task, command: int, argument: int) -> int:
        """ioctl(2); ``argument`` is a guest address or an integer, as the command says."""
        raise ENOTTY("no such ioctl")

    def readdir(self, position: int) -> list[DirEntry]:
        """Directory entries from ``position`` on, ``.`` and ``..`` included; some, not all, of
        them."""
        raise ENOTDIR("not a directory")

    def packed_entries(self, position: int, count: int) -> tuple[bytes, int] | None:
        """:meth:`readdir` for those who have the struct linux_dirent64 records at hand: at most
        ``count`` bytes of them and the position after them. None: use :meth:`readdir`."""
        return None

    def fsync(self, data_only: bool) -> None:
        """fsync(2) and fdatasync(2)."""
        raise EINVAL("fsync not supported")

    def truncate(self, length: int) -> None:
        """ftruncate(2)."""
        raise EINVAL("not a regular file")

    def allocate(self, mode: int, offset: int, length: int) -> None:
        """fallocate(2)."""
        raise ENODEV("not a regular file")

    def part(self, offset: int, count: int) -> FilePart | None:
        """``count`` bytes by reference, all before the end; None where they must be copied."""
        return None

    def map(self, shared: bool, writable: bool, offset: int, length: int) -> MapSource:
        """What to map for mmap(2) at file ``offset``."""
        raise ENODEV("this file cannot be mapped")

    def set_flags(self, flags: int) -> None:
        """fcntl(2) F_SETFL: O_APPEND, O_ASYNC, O_DIRECT, O_NOATIME and O_NONBLOCK may change."""
        changeable = O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK
        self.flags = (self.flags & ~changeable) | (flags & changeable)

    def fdinfo(self) -> str:
        """Extra lines for /proc/<pid>/fdinfo/<fd>."""
        return ""

    def describe(self) -> str:
        """The text of the /proc/<pid>/fd link when there is no path: ``pipe:[123]``; bytes that
        are no UTF-8 as os.fsdecode() has them."""
        return "anon_inode:[file]"


def check_readable(file: File) -> None:
    """Raise EBADF unless the description was opened for reading."""
    if not file.readable:
        raise EBADF("not open for reading")


def check_writable(file: File) -> None:
    """Raise EBADF unless the description was opened for writing."""
    if not file.writable:
        raise EBADF("not open for writing")
