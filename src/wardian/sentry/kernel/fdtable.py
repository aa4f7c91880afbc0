"""Descriptor tables (struct files_struct): small integers to open file descriptions.

A table holds one reference to each description it shows (:meth:`File.hold`). ``limit`` follows
the soft RLIMIT_NOFILE of the thread group; whoever changes that limit sets it here. POSIX record
locks belong to the table, as on Linux, so closing any descriptor of a file gives them up
(fcntl(2)).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EBADF, EMFILE

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Call, Task
    from wardian.sentry.vfs.file import File

O_PATH: Final = 0x200000
NR_OPEN: Final = 1 << 20  # /proc/sys/fs/nr_open: no table grows beyond


class FDTable:
    """One table; CLONE_FILES makes tasks share it and ``users`` counts them."""

    def __init__(self, limit: int = 1024) -> None:
        self.limit = limit
        self.users = 1
        self.slots: list[File | None] = []
        self.cloexec: set[int] = set()
        self.lowest_free = 0  # no free slot is below this one
        self.lock_task: Task | None = None  # who waits for a POSIX lock, see vfs.locks
        self.lock_call: Call | None = None
        self.lock_blocker: FDTable | None = None

    def get(self, fd: int) -> File:
        """The description behind ``fd``; EBADF."""
        slots = self.slots
        if 0 <= fd < len(slots):
            file = slots[fd]
            if file is not None:
                return file
        raise EBADF(f"descriptor {fd} is not open")

    def find(self, fd: int) -> File | None:
        """Like :meth:`get` without the error."""
        return self.slots[fd] if 0 <= fd < len(self.slots) else None

    # -- adding ------------------------------------------------------------------------------------
    def check_room(self) -> None:
        """EMFILE when :meth:`install` would fail: asked before an open has side effects."""
        if self._free_from(0) >= min(self.limit, NR_OPEN):
            raise EMFILE(f"{self.limit} descriptors in use")

    def install(self, file: File, cloexec: bool, lowest: int = 0) -> int:
        """Put ``file`` in the lowest free slot not below ``lowest``; EMFILE (then a new file is
        released)."""
        fd = self._free_from(lowest)
        if fd >= min(self.limit, NR_OPEN):
            file.hold()
            file.drop()
            raise EMFILE(f"{self.limit} descriptors in use")
        self._put(fd, file, cloexec)
        return fd

    def set(self, fd: int, file: File, cloexec: bool) -> None:
        """Make ``fd`` mean ``file``, closing what it was (dup2(2)); EBADF when out of range."""
        if not 0 <= fd < min(self.limit, NR_OPEN):
            raise EBADF(f"descriptor {fd} is out of range")
        old = self.find(fd)
        file.hold()
        if old is not None:
            self.close(fd)
        self._put(fd, file, cloexec)
        file.drop()

    def _put(self, fd: int, file: File, cloexec: bool) -> None:
        slots = self.slots
        missing = fd + 1 - len(slots)
        if missing > 0:
            slots.extend([None] * missing)
        assert slots[fd] is None
        slots[fd] = file.hold()
        if cloexec:
            self.cloexec.add(fd)
        if fd == self.lowest_free:
            self.lowest_free = fd + 1

    def _free_from(self, lowest: int) -> int:
        slots = self.slots
        fd = max(lowest, self.lowest_free)
        while fd < len(slots) and slots[fd] is not None:
            fd += 1
        if lowest <= self.lowest_free:
            self.lowest_free = min(fd, len(slots))
        return fd

    # -- removing ----------------------------------------------------------------------------------
    def close(self, fd: int) -> None:
        """close(2)."""
        file = self.get(fd)
        self.slots[fd] = None
        self.cloexec.discard(fd)
        if fd < self.lowest_free:
            self.lowest_free = fd
        inode = file.inode
        if inode is not None and inode.locks is not None and not file.flags & O_PATH:
            inode.locks.forget_table(self)
        file.drop()

    def close_all(self) -> None:
        """The last user is gone: close every descriptor."""
        for fd in self.fds():
            self.close(fd)
        self.slots.clear()
        self.lowest_free = 0

    def exec_close(self) -> None:
        """execve(2): close the descriptors marked close-on-exec."""
        for fd in sorted(self.cloexec):
            self.close(fd)

    # -- the whole table -------------------------------------------------------------------------
    def fds(self) -> list[int]:
        """Open descriptors in order."""
        return [fd for fd, file in enumerate(self.slots) if file is not None]

    def clone(self) -> FDTable:
        """A copy for fork(2) or unshare(2)."""
        copy = FDTable(self.limit)
        copy.slots = list(self.slots)
        copy.cloexec = set(self.cloexec)
        copy.lowest_free = self.lowest_free
        for file in self.slots:
            if file is not None:
                file.hold()
        return copy

    def leave(self) -> None:
        """One user less (exit, exec, unshare); the last one closes everything."""
        self.users -= 1
        if self.users == 0:
            self.close_all()
