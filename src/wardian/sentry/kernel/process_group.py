"""Process groups and sessions (credentials(7), setpgid(2), setsid(2)).

A group lives while it has members (zombies included), a session while it has groups; both keep
their number from being used as a pid again (``PidTable.allocate``). The controlling terminal holds
the foreground group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wardian.sentry.kernel.thread_group import ThreadGroup


class ControllingTerminal:
    """A terminal as job control knows it; ``sentry.tty`` subclasses. Only the session of a terminal
    may change its foreground group (tcsetpgrp(3))."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.foreground: ProcessGroup | None = None
        self.rdev = 0  # its device number, for proc_pid_stat(5)

    def leader_exited(self) -> None:
        """The leader of the session it controlled is gone: hang up its open files (vhangup(2))."""


class Session:
    """A set of process groups that may share a controlling terminal."""

    def __init__(self, sid: int, leader: ThreadGroup | None) -> None:
        self.sid = sid
        self.leader = leader  # None once the leader has exited
        self.tty: ControllingTerminal | None = None
        self.groups: list[ProcessGroup] = []


class ProcessGroup:
    """A job: the thread groups that signals from a terminal or kill(-pgid) reach together."""

    def __init__(self, pgid: int, session: Session) -> None:
        self.pgid = pgid
        self.session = session
        self.members: list[ThreadGroup] = []

    def is_orphaned(self) -> bool:
        """No member has a parent in another group of the same session (POSIX "orphaned process
        group")."""
        return self.is_orphaned_without(None)

    def is_orphaned_without(self, ignored: ThreadGroup | None) -> bool:
        """Like :meth:`is_orphaned`, as if ``ignored`` were gone already."""
        for member in self.members:
            parent = member.parent
            if member is ignored or member.zombie or parent is None:
                continue
            if parent.process_group is not self and parent.process_group.session is self.session:
                return False
        return True

    def has_stopped(self) -> bool:
        """True when a member is stopped by job control."""
        return any(member.stopped for member in self.members)
