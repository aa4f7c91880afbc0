"""Character devices: device numbers to drivers (devices.txt), and the memory devices of null(4),
random(4).

A device node on any file system opens through :func:`open_device`. Drivers register in
``kernel.devices``; the terminals do so from ``sentry.tty``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EFAULT, EINVAL, ENOSPC, ENXIO
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import File, MapSource
from wardian.sentry.vfs.inode import S_IFCHR, S_IFMT

if TYPE_CHECKING:
    from wardian.sentry.hostport import Clock
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.inode import Inode

STEP: Final = 1 << 16
RANDOM_MAX: Final = 1 << 25
"""A read of /dev/urandom gives at most this much (random(4))."""
ZERO_MAX: Final = 1 << 30


def make_dev(major: int, minor: int) -> int:
    """makedev(3), as st_rdev has it."""
    return (minor & 0xFF) | major << 8 | (minor & ~0xFF) << 12


def dev_major(dev: int) -> int:
    """major(3)."""
    return dev >> 8 & 0xFFF


def dev_minor(dev: int) -> int:
    """minor(3)."""
    return dev & 0xFF | dev >> 12 & 0xFFF00


NULL: Final = (1, 3)
ZERO: Final = (1, 5)
FULL: Final = (1, 7)
RANDOM: Final = (1, 8)
URANDOM: Final = (1, 9)
TTY: Final = (5, 0)
CONSOLE: Final = (5, 1)
PTMX: Final = (5, 2)


class Driver:
    """What opens the nodes of one device number."""

    def open(self, task: Task, inode: Inode, flags: int) -> File:
        """A new open file description; ENXIO and whatever the device says."""
        raise NotImplementedError


class DeviceTable:
    """Character device numbers of one kernel."""

    def __init__(self, clock: Clock) -> None:
        self.drivers: dict[int, Driver] = {}
        self.register(NULL, NullDriver())
        self.register(ZERO, ZeroDriver())
        self.register(FULL, FullDriver())
        self.register(RANDOM, RandomDriver(clock))
        self.register(URANDOM, RandomDriver(clock))

    def register(self, number: tuple[int, int], driver: Driver) -> None:
        """Let ``driver`` open (major, minor)."""
        self.drivers[make_dev(number[0], number[1])] = driver


def open_device(task: Task, inode: Inode, rdev: int, flags: int) -> File:
    """Open a device node; ENXIO when nothing drives it (block devices: always)."""
    driver = task.kernel.devices.drivers.get(rdev)
    if driver is None or inode.mode & S_IFMT != S_IFCHR:
        raise ENXIO(f"no device {dev_major(rdev)}:{dev_minor(rdev)}")
    return driver.open(task, inode, flags)


class MemoryFile(File):
    """What the memory devices share: seeking does nothing, everything is always ready."""

    @property
    def seekable(self) -> bool:
        return True

    def lseek(self, offset: int, whence: int) -> int:
        if not 0 <= whence <= 4:
            raise EINVAL("whence")
        self.offset = 0
        return 0

    def pollable(self) -> bool:
        return False

    def write(self, source: Source, offset: int) -> int:
        return source.waste()


class NullFile(MemoryFile):
    """/dev/null."""

    def read(self, sink: Sink, offset: int) -> int:
        return 0


class ZeroFile(MemoryFile):
    """/dev/zero; mapping it gives anonymous memory (``mm.mapping`` knows)."""

    def read(self, sink: Sink, offset: int) -> int:
        done = 0
        while sink.left > 0 and done < ZERO_MAX:
            try:
                done += sink.put_zeros(min(sink.left, ZERO_MAX - done))
            except EFAULT:
                if done == 0:
                    raise
                break
        return done

    def map(self, shared: bool, writable: bool, offset: int, length: int) -> MapSource:
        return MapSource(-1, 0)


class FullFile(ZeroFile):
    """/dev/full."""

    def write(self, source: Source, offset: int) -> int:
        if source.left == 0:
            return 0
        raise ENOSPC("/dev/full")


class RandomFile(MemoryFile):
    """/dev/random and /dev/urandom: both never block; what is written is taken and forgotten."""

    def __init__(self, inode: Inode, flags: int, clock: Clock) -> None:
        super().__init__(inode, flags)
        self.clock = clock

    def read(self, sink: Sink, offset: int) -> int:
        done = 0
        while sink.left > 0 and done < RANDOM_MAX:
            n = sink.put(self.clock.random(min(sink.left, STEP)))
            if n == 0:
                break
            done += n
        return done

    def pollable(self) -> bool:
        return True


class NullDriver(Driver):
    """/dev/null."""

    def open(self, task: Task, inode: Inode, flags: int) -> File:
        return NullFile(inode, flags)


class ZeroDriver(Driver):
    """/dev/zero."""

    def open(self, task: Task, inode: Inode, flags: int) -> File:
        return ZeroFile(inode, flags)


class FullDriver(Driver):
    """/dev/full."""

    def open(self, task: Task, inode: Inode, flags: int) -> File:
        return FullFile(inode, flags)


class RandomDriver(Driver):
    """/dev/random and /dev/urandom."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def open(self, task: Task, inode: Inode, flags: int) -> File:
        return RandomFile(inode, flags, self.clock)
