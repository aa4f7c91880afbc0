"""Who may look into another task: the access mode checks of ptrace(2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.kernel.credentials import CAP_SYS_PTRACE
from wardian.sentry.kernel.thread_group import SUID_DUMP_USER

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task


def may_access(t: Task, target: Task) -> bool:
    """The rule of ptrace(2), "Ptrace access mode checking", with the real ids."""
    if target.group is t.group:
        return True
    mine, theirs = t.credentials, target.credentials
    if mine.has_cap(CAP_SYS_PTRACE):
        return True
    same_uid = mine.uid == theirs.uid == theirs.euid == theirs.suid
    same_gid = mine.gid == theirs.gid == theirs.egid == theirs.sgid
    if not (same_uid and same_gid) or target.group.dumpable != SUID_DUMP_USER:
        return False
    return not theirs.cap_permitted & ~mine.cap_permitted
