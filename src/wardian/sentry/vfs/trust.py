"""How long an answer of a file system that others change too is believed.

A superblock without a :class:`Trust` changes through us alone (tmpfs): its dentries are right until
we change them. Elsewhere each dentry knows when it was last looked at (``Dentry.checked_ns``), and
whoever comes by later than the window asks again (``vfs.dcache.look_again``). Attributes are kept
by the file systems and follow the same rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wardian.sentry.hostport import Clock

NEVER: Final = 1 << 62


class Trust:
    """The window of one superblock; 0: every path walk asks again."""

    def __init__(self, clock: Clock | None, window_ns: int) -> None:
        self.clock = clock
        self.window_ns = window_ns
        self.doubted_ns = 0  # before that, something was wrong
        self.now_ns = 0  # when :meth:`floor` was last asked: the date of what is looked up now

    def floor(self) -> int:
        """What was looked at then, or before, has to be looked at again. Reads the clock."""
        if self.clock is None:
            return NEVER
        now = self.clock.monotonic_ns()
        self.now_ns = now
        if not self.window_ns:
            return NEVER
        oldest = now - self.window_ns
        return oldest if oldest > self.doubted_ns else self.doubted_ns

    def doubt(self) -> None:
        """What we believed has turned out wrong: from now on everything is looked at again, once.
        Whoever raises ESTALE calls this, so that those who try again do better."""
        if self.clock is not None:
            self.doubted_ns = self.clock.monotonic_ns()
