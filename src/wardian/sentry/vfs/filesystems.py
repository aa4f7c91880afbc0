"""What mount(2) can mount by name: /proc/filesystems. ``Kernel.filesystems`` holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.inode import SuperBlock


class FileSystemType:
    """Makes superblocks of one kind."""

    def make(self, task: Task, source: bytes, options: bytes) -> SuperBlock:
        """The superblock for one mount; EINVAL for options it does not know."""
        raise NotImplementedError


class SharedFileSystem(FileSystemType):
    """A kind of which a kernel has one instance that every mount shows: proc, sysfs, devpts."""

    def __init__(self, sb: SuperBlock) -> None:
        self.sb = sb

    def make(self, task: Task, source: bytes, options: bytes) -> SuperBlock:
        return self.sb
