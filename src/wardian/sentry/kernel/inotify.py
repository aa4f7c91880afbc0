"""inotify(7): watches on inodes, and a queue of events that is read from a descriptor.

The events come from ``vfs.notify``. A watch keeps its inode alive, not its name.
"""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import EEXIST, EINVAL, ENOSPC, ENOTTY, WOULD_BLOCK
from wardian.sentry.fs.anon import AnonFile
from wardian.sentry.kernel.task import Task
from wardian.sentry.vfs.buffers import Sink
from wardian.sentry.vfs.file import O_RDONLY, POLLIN, POLLRDNORM
from wardian.sentry.vfs.inode import Inode
from wardian.sentry.vfs.notify import (
    IN_DELETE_SELF,
    IN_IGNORED,
    IN_ISDIR,
    IN_Q_OVERFLOW,
    IN_UNMOUNT,
    InodeWatch,
)

IN_ALL_EVENTS: Final = 0xFFF
IN_ONLYDIR: Final = 0x1000000
IN_DONT_FOLLOW: Final = 0x2000000
IN_EXCL_UNLINK: Final = 0x4000000
IN_MASK_CREATE: Final = 0x10000000
IN_MASK_ADD: Final = 0x20000000
IN_ONESHOT: Final = 0x80000000
IN_VALID: Final = (
    IN_ALL_EVENTS
    | IN_ONLYDIR
    | IN_DONT_FOLLOW
    | IN_EXCL_UNLINK
    | IN_MASK_CREATE
    | IN_MASK_ADD
    | IN_ONESHOT
    | IN_UNMOUNT
    | IN_Q_OVERFLOW
    | IN_IGNORED
    | IN_ISDIR
)

MAX_EVENTS: Final = 16384  # /proc/sys/fs/inotify/max_queued_events
MAX_WATCHES: Final = 65536
HEAD: Final = struct.Struct("<iIII")  # wd, mask, cookie, len
FIONREAD: Final = 0x541B


class Watch(InodeWatch):
    """One watch descriptor."""

    def __init__(self, owner: Inotify, wd: int, inode: Inode, mask: int) -> None:
        self.owner = owner
        self.wd = wd
        self.inode = inode
        self.mask = mask

    def event(self, mask: int, name: bytes, cookie: int) -> None:
        wanted = self.mask & IN_ALL_EVENTS
        if mask & (wanted | IN_UNMOUNT):
            self.owner.push(self.wd, mask & (wanted | IN_UNMOUNT | IN_ISDIR), cookie, name)
            if self.mask & IN_ONESHOT:
                self.owner.remove(self)
                return
        if mask & (IN_DELETE_SELF | IN_UNMOUNT):
            self.owner.remove(self)


class Inotify(AnonFile):
    """One inotify instance."""

    def __init__(self, inode: Inode, flags: int) -> None:
        super().__init__(inode, O_RDONLY | flags)
        self.watches_by_wd: dict[int, Watch] = {}
        self.by_inode: dict[int, Watch] = {}  # by id(); the watch keeps the inode
        self.last_wd = 0
        self.events: list[bytes] = []
        self.bytes_queued = 0

    # -- watches -----------------------------------------------------------------------------------
    def add(self, inode: Inode, mask: int) -> int:
        """inotify_add_watch(2) once the path is resolved; the watch descriptor."""
        old = self.by_inode.get(id(inode))
        if old is not None:
            if mask & IN_MASK_CREATE:
                raise EEXIST("already watched")
            keep = old.mask if mask & IN_MASK_ADD else 0
            old.mask = keep | mask
            return old.wd
        if len(self.by_inode) >= MAX_WATCHES:
            raise ENOSPC("too many watches")
        self.last_wd += 1
        watch = Watch(self, self.last_wd, inode, mask)
        self.watches_by_wd[watch.wd] = watch
        self.by_inode[id(inode)] = watch
        if inode.watches is None:
            inode.watches = []
        inode.watches.append(watch)
        return watch.wd

    def remove_wd(self, wd: int) -> None:
        """inotify_rm_watch(2)."""
        watch = self.watches_by_wd.get(wd)
        if watch is None:
            raise EINVAL("no such watch descriptor")
        self.remove(watch)

    def remove(self, watch: Watch) -> None:
        """End a watch and say so in the queue; harmless when done twice."""
        if self.detach(watch):
            self.push(watch.wd, IN_IGNORED, 0, b"")

    def detach(self, watch: Watch) -> bool:
        """Take a watch out of the tables; False when it was not in them."""
        if self.watches_by_wd.pop(watch.wd, None) is None:
            return False
        self.by_inode.pop(id(watch.inode), None)
        watches = watch.inode.watches
        if watches is not None and watch in watches:
            watches.remove(watch)
        return True

    def release(self) -> None:
        for watch in list(self.watches_by_wd.values()):
            self.detach(watch)

    # -- events ------------------------------------------------------------------------------------
    def push(self, wd: int, mask: int, cookie: int, name: bytes) -> None:
        """Queue an event; one equal to the last is not repeated."""
        padded = b""
        if name:
            room = (len(name) + HEAD.size) // HEAD.size * HEAD.size
            padded = name.ljust(room, b"\0")
        event = HEAD.pack(wd, mask, cookie, len(padded)) + padded
        if self.events and self.events[-1] == event:
            return
        if len(self.events) >= MAX_EVENTS:
            event = HEAD.pack(-1, IN_Q_OVERFLOW, 0, 0)
            if self.events[-1] == event:
                return
        self.events.append(event)
        self.bytes_queued += len(event)
        self.queue.wake(POLLIN | POLLRDNORM)

    def read(self, sink: Sink, offset: int) -> int:
        if not self.events:
            return WOULD_BLOCK
        if sink.left < len(self.events[0]):
            raise EINVAL("no room for the next event")
        count = 0
        total = 0
        for event in self.events:
            if sink.left < len(event):
                break
            total += sink.put(event)
            count += 1
        del self.events[:count]
        self.bytes_queued -= total
        return total

    def poll(self) -> int:
        return POLLIN | POLLRDNORM if self.events else 0

    def ioctl(self, task: Task, command: int, argument: int) -> int:
        if command != FIONREAD:
            raise ENOTTY("no such inotify ioctl")
        task.copy_out(argument, self.bytes_queued.to_bytes(4, "little"))
        return 0

    def fdinfo(self) -> str:
        lines = []
        for watch in self.watches_by_wd.values():
            mask = watch.mask & ~(IN_MASK_ADD | IN_MASK_CREATE)
            lines.append(
                f"inotify wd:{watch.wd:x} ino:{watch.inode.ino:x} "
                f"sdev:{watch.inode.sb.dev:x} mask:{mask:x} ignored_mask:0\n"
            )
        return "".join(lines)

    def describe(self) -> str:
        return "anon_inode:inotify"
