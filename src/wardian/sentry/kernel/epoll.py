"""epoll(7): an interest list, and a ready list that the watched files' wait queues feed.

An :class:`EpollItem` is a waiter on its file's queue for as long as it is registered; being woken
puts it on the ready list once, so :meth:`Epoll.collect` looks only at items that something happened
to. Items do not keep their file open: the last ``File.drop`` removes them (epoll(7), Questions and
answers, 6).
"""

from __future__ import annotations

from typing import Final

from wardian.sentry.errno import EEXIST, EINVAL, ELOOP, ENOENT, ENOSPC
from wardian.sentry.fs.anon import AnonFile
from wardian.sentry.kernel.waitqueue import Registration, Waiter, WaitQueue
from wardian.sentry.vfs.file import (
    O_RDWR,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLRDNORM,
    File,
    FileWatcher,
)
from wardian.sentry.vfs.inode import Inode

EPOLL_CTL_ADD: Final = 1
EPOLL_CTL_DEL: Final = 2
EPOLL_CTL_MOD: Final = 3

EPOLLEXCLUSIVE: Final = 1 << 28
EPOLLWAKEUP: Final = 1 << 29
EPOLLONESHOT: Final = 1 << 30
EPOLLET: Final = 1 << 31
PRIVATE_BITS: Final = EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET
EXCLUSIVE_OK: Final = 0x1 | 0x4 | POLLERR | POLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE

ALWAYS: Final = POLLERR | POLLHUP
MAX_NESTS: Final = 4
MAX_ITEMS: Final = 1 << 20


class WatchLink(FileWatcher):
    """Ties an item to the life of its file."""

    def __init__(self, item: EpollItem) -> None:
        self.item = item

    def file_released(self, file: File) -> None:
        self.item.epoll.forget(self.item)


class EpollItem(Waiter):
    """One watched file in one epoll."""

    def __init__(self, epoll: Epoll, fd: int, file: File, events: int, data: bytes) -> None:
        self.epoll = epoll
        self.fd = fd
        self.file = file
        self.events = events
        self.data = data
        self.told = 0  # the events of ``record``
        self.record = b""
        self.queued = False  # on the ready list
        self.dead = False
        self.link = WatchLink(self)
        self.registration: Registration | None = None

    def woken(self, queue: WaitQueue, events: int) -> None:
        if self.dead or not self.events & ~PRIVATE_BITS:
            return
        if events and not events & self.events:
            return
        self.epoll.enqueue(self)

    def takes(self) -> bool:
        return bool(self.epoll.queue.registrations)  # somebody waits (ep_poll_callback)

    def ready(self) -> int:
        """The wanted events that are true now."""
        wanted = self.events & ~PRIVATE_BITS
        return self.file.poll() & wanted if wanted else 0

    def tell(self, events: int) -> bytes:
        """The struct epoll_event that says so; mostly the one of last time."""
        if events != self.told:
            self.told = events
            self.record = events.to_bytes(4, "little") + self.data
        return self.record

    def number(self) -> int:
        """The data as /proc shows it."""
        return int.from_bytes(self.data, "little")

    def change(self, events: int, data: bytes) -> None:
        """Watch for other events, or be known by other data."""
        self.events = events
        if data != self.data:
            self.data = data
            self.told = 0
        if self.registration is not None:
            self.registration.events = events & ~PRIVATE_BITS


class Epoll(AnonFile):
    """One epoll instance; its :attr:`queue` is woken when an item may have become ready."""

    def __init__(self, inode: Inode) -> None:
        super().__init__(inode, O_RDWR)
        # By descriptor. One may stand for several files, one after the other, when the older ones
        # live on in other descriptors (epoll(7), Questions and answers, 0 and 6).
        self.items: dict[int, list[EpollItem]] = {}
        self.count = 0
        self.ready: list[EpollItem] = []

    # -- interest list -----------------------------------------------------------------------------
    def find(self, fd: int, file: File) -> EpollItem | None:
        """The item of ``file`` at ``fd``."""
        items = self.items.get(fd)
        if items is not None:
            for item in items:
                if item.file is file:
                    return item
        return None

    def all_items(self) -> list[EpollItem]:
        """In no particular order."""
        return [item for items in self.items.values() for item in items]

    def add(self, fd: int, file: File, events: int, data: bytes) -> None:
        """EPOLL_CTL_ADD."""
        if self.find(fd, file) is not None:
            raise EEXIST("already in the interest list")
        if events & EPOLLEXCLUSIVE and (events & ~EXCLUSIVE_OK or isinstance(file, Epoll)):
            raise EINVAL("not allowed with EPOLLEXCLUSIVE")
        if isinstance(file, Epoll):
            check_nesting(self, file)
        if self.count >= MAX_ITEMS:
            raise ENOSPC("too many watches")
        item = EpollItem(self, fd, file, events | ALWAYS, data)
        self.items.setdefault(fd, []).append(item)
        self.count += 1
        file.watchers.append(item.link)
        item.registration = file.poll_queue().add(item, item.events & ~PRIVATE_BITS)
        item.registration.exclusive = bool(events & EPOLLEXCLUSIVE)
        if item.ready():
            self.enqueue(item)

    def modify(self, fd: int, file: File, events: int, data: bytes) -> None:
        """EPOLL_CTL_MOD."""
        item = self.find(fd, file)
        if item is None:
            raise ENOENT("not in the interest list")
        if (item.events | events) & EPOLLEXCLUSIVE:
            raise EINVAL("EPOLLEXCLUSIVE items cannot be modified")
        item.change(events | ALWAYS, data)
        if item.ready():
            self.enqueue(item)

    def delete(self, fd: int, file: File) -> None:
        """EPOLL_CTL_DEL."""
        item = self.find(fd, file)
        if item is None:
            raise ENOENT("not in the interest list")
        file.watchers.remove(item.link)
        self.forget(item)

    def forget(self, item: EpollItem) -> None:
        """Drop an item; its file's ``watchers`` is the caller's business."""
        if item.dead:
            return
        item.dead = True
        if item.registration is not None:
            item.registration.cancel()
            item.registration = None
        items = self.items[item.fd]
        items.remove(item)
        if not items:
            del self.items[item.fd]
        self.count -= 1
        if item.queued:
            item.queued = False
            self.ready.remove(item)

    def release(self) -> None:
        for item in self.all_items():
            item.file.watchers.remove(item.link)
            self.forget(item)

    # -- ready list --------------------------------------------------------------------------------
    def enqueue(self, item: EpollItem) -> None:
        """Put an item on the ready list and tell those who wait for this epoll."""
        if not item.queued:
            item.queued = True
            self.ready.append(item)
        self.queue.wake(POLLIN | POLLRDNORM)

    def collect(self, limit: int) -> list[bytes]:
        """Up to ``limit`` struct epoll_event of what is true now, in the order it became ready.

        Level-triggered items go to the end of the ready list, so that ``limit`` starves none.
        """
        found: list[bytes] = []
        again: list[EpollItem] = []
        seen = 0
        ready = self.ready
        for item in ready:
            if len(found) >= limit:
                break
            seen += 1
            events = item.ready()
            if not events:
                item.queued = False
                continue
            found.append(item.tell(events))
            if item.events & EPOLLONESHOT:
                item.events &= PRIVATE_BITS
                item.queued = False
            elif item.events & EPOLLET:
                item.queued = False
            else:
                again.append(item)
        del ready[:seen]
        ready.extend(again)
        return found

    # -- as a file ---------------------------------------------------------------------------------
    def poll(self) -> int:
        """Readable when an item is; others leave the list. Nesting bounds the recursion."""
        while self.ready:
            item = self.ready[0]
            if item.ready():
                return POLLIN | POLLRDNORM
            item.queued = False
            del self.ready[0]
        return 0

    def fdinfo(self) -> str:
        lines = []
        for item in self.all_items():
            inode = item.file.inode
            ino = inode.ino if inode is not None else 0
            dev = inode.sb.dev if inode is not None else 0
            lines.append(
                f"tfd: {item.fd:8d} events: {item.events:8x} data: {item.number():16x}"
                f"  pos:{item.file.offset} ino:{ino:x} sdev:{dev:x}\n"
            )
        return "".join(lines)

    def describe(self) -> str:
        return "anon_inode:[eventpoll]"


def control(epoll: Epoll, op: int, fd: int, file: File, events: int, data: bytes) -> None:
    """epoll_ctl(2) once the descriptors are resolved."""
    if file is epoll:
        raise EINVAL("an epoll cannot watch itself")
    if op == EPOLL_CTL_ADD:
        epoll.add(fd, file, events, data)
    elif op == EPOLL_CTL_MOD:
        epoll.modify(fd, file, events, data)
    elif op == EPOLL_CTL_DEL:
        epoll.delete(fd, file)
    else:
        raise EINVAL("no such operation")


def height_below(root: Epoll, forbidden: Epoll) -> int:
    """How many epolls deep the watching goes, ``root`` included; ELOOP when it meets ``forbidden``.

    Level by level: the nesting that exists is already at most MAX_NESTS + 1 deep, so this ends.
    """
    level: list[Epoll] = [root]
    height = 0
    while level:
        height += 1
        if height > MAX_NESTS + 1:
            raise ELOOP("epoll instances nested too deeply")
        below: dict[int, Epoll] = {}
        for epoll in level:
            if epoll is forbidden:
                raise ELOOP("epoll instances would watch each other")
            for item in epoll.all_items():
                if isinstance(item.file, Epoll):
                    below[id(item.file)] = item.file
        level = list(below.values())
    return height


def height_above(leaf: Epoll) -> int:
    """How many epolls watch ``leaf``, one above the other, with it."""
    level: list[Epoll] = [leaf]
    height = 0
    while level and height <= MAX_NESTS + 1:
        height += 1
        above: dict[int, Epoll] = {}
        for epoll in level:
            for link in epoll.watchers:
                if isinstance(link, WatchLink):
                    above[id(link.item.epoll)] = link.item.epoll
        level = list(above.values())
    return height


def check_nesting(outer: Epoll, inner: Epoll) -> None:
    """ELOOP when ``outer`` watching ``inner`` makes a circle or a chain of more than five."""
    if height_above(outer) + height_below(inner, outer) > MAX_NESTS + 1:
        raise ELOOP("epoll instances nested too deeply")
