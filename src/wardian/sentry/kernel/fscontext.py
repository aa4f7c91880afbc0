"""What a task's path names are relative to (struct fs_struct): root, current directory, umask."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wardian.sentry.vfs.dentry import Path


class FSContext:
    """Root directory, working directory and umask; CLONE_FS makes tasks share it, ``users``
    counts them."""

    def __init__(self, root: Path, cwd: Path, umask: int = 0o022) -> None:
        self.root = root
        self.cwd = cwd
        self.umask = umask
        self.users = 1

    def clone(self) -> FSContext:
        """A copy for fork(2) or unshare(2)."""
        return FSContext(self.root, self.cwd, self.umask)
