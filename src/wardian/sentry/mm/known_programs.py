"""Programs that were parsed before: a file that is as it was needs no second look at its headers.

Each inode keeps what was found out about it (``Inode.program``), with the size and times that it
had. Two changes within one tick of the file system's clock can leave the same times: what was
changed a moment before it was looked at is not remembered. Nor is one that may be changed by stores
to a shared mapping, which leave its times as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wardian.sentry.hostport import Clock
    from wardian.sentry.mm.alternatives import PatchedText
    from wardian.sentry.mm.elf import ElfProgram
    from wardian.sentry.vfs.file import File
    from wardian.sentry.vfs.inode import Attributes

MOMENT_NS: Final = 1_000_000_000
"""Longer than a tick, also of file systems that keep whole seconds."""


class KnownProgram:
    """A parsed program, and the state of the file that it is true for."""

    def __init__(self, program: ElfProgram, attributes: Attributes) -> None:
        self.program = program
        self.size = attributes.size
        self.mtime_ns = attributes.mtime_ns
        self.ctime_ns = attributes.ctime_ns
        self.recalled = False  # it was looked for, and found, since it was read
        self.patchable: bool | None = None  # mm.alternatives; None: nobody has looked yet
        self.patched_text: PatchedText | None = None
        self.failures = 0  # to patch it

    def holds(self, attributes: Attributes) -> bool:
        """Whether the file has not been changed."""
        return (
            self.size == attributes.size
            and self.mtime_ns == attributes.mtime_ns
            and self.ctime_ns == attributes.ctime_ns
        )


def recall(file: File) -> KnownProgram | None:
    """What is known of an open file; None when it must be read."""
    inode = file.inode
    if inode is None:
        return None
    known = inode.program
    if not isinstance(known, KnownProgram):
        return None
    if known.holds(inode.getattr()):
        known.recalled = True
        return known
    inode.program = None
    return None


def remember(file: File, before: Attributes, program: ElfProgram, clock: Clock) -> KnownProgram:
    """``program`` was read from ``file``, which had these attributes before."""
    known = KnownProgram(program, before)
    inode = file.inode
    changed = max(before.mtime_ns, before.ctime_ns)
    if (
        inode is not None
        and not inode.mapped_writable
        and 0 <= changed < clock.realtime_ns() - MOMENT_NS
    ):
        inode.program = known
    return known
