"""The pid table: numbers for tasks, process groups and sessions (pid_namespaces(7); one namespace).

A number stays taken while a task, a zombie, a process group or a session uses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EAGAIN
from wardian.sentry.kernel.process_group import ProcessGroup, Session

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.kernel.thread_group import ThreadGroup

PID_MAX: Final = 32768
RESERVED_PIDS: Final = 300  # after wrapping round, as Linux does


class PidTable:
    """Every task, thread group, process group and session of the sandbox."""

    def __init__(self, max_tasks: int = PID_MAX - RESERVED_PIDS) -> None:
        self.tasks: dict[int, Task] = {}
        self.groups_by_pid: dict[int, ThreadGroup] = {}
        self.process_groups: dict[int, ProcessGroup] = {}
        self.sessions: dict[int, Session] = {}
        self.last = 0
        self.max_tasks = max_tasks

    # -- numbers -----------------------------------------------------------------------------------
    def allocate(self) -> int:
        """The next free number; EAGAIN when there are as many tasks as allowed."""
        if len(self.tasks) >= self.max_tasks:
            raise EAGAIN("as many tasks as allowed")
        for _ in range(PID_MAX):
            self.last += 1
            if self.last >= PID_MAX:
                self.last = RESERVED_PIDS
            if not self.taken(self.last):
                return self.last
        raise EAGAIN("no process id is free")

    def taken(self, number: int) -> bool:
        """True when something still goes by ``number``."""
        return (
            number in self.tasks
            or number in self.groups_by_pid
            or number in self.process_groups
            or number in self.sessions
        )

    # -- lookup ------------------------------------------------------------------------------------
    def task(self, tid: int) -> Task | None:
        """The live task ``tid``."""
        return self.tasks.get(tid)

    def group(self, pid: int) -> ThreadGroup | None:
        """The thread group ``pid``, a zombie included until it is waited for."""
        return self.groups_by_pid.get(pid)

    def process_group(self, pgid: int) -> ProcessGroup | None:
        return self.process_groups.get(pgid)

    def session(self, sid: int) -> Session | None:
        return self.sessions.get(sid)

    def groups(self) -> list[ThreadGroup]:
        """All thread groups by pid, zombies included."""
        return [self.groups_by_pid[pid] for pid in sorted(self.groups_by_pid)]

    # -- change ------------------------------------------------------------------------------------
    def add_task(self, task: Task) -> None:
        """Enter a new task, and its thread group when it is the leader."""
        self.tasks[task.tid] = task
        if task.group.leader is task:
            self.groups_by_pid[task.group.pid] = task.group

    def remove_task(self, task: Task) -> None:
        """A task is gone; its thread group stays until :meth:`remove_group`."""
        if self.tasks.get(task.tid) is task:
            del self.tasks[task.tid]

    def remove_group(self, group: ThreadGroup) -> None:
        """A zombie was waited for."""
        self.groups_by_pid.pop(group.pid, None)

    def new_session(self, group: ThreadGroup) -> Session:
        """Make ``group`` leader of a new session and process group of its own number
        (setsid(2))."""
        session = Session(group.pid, group)
        self.sessions[session.sid] = session
        self.join(group, self.new_process_group(group.pid, session))
        return session

    def new_process_group(self, pgid: int, session: Session) -> ProcessGroup:
        """An empty process group; :meth:`join` it at once."""
        process_group = ProcessGroup(pgid, session)
        self.process_groups[pgid] = process_group
        session.groups.append(process_group)
        return process_group

    def join(self, group: ThreadGroup, process_group: ProcessGroup) -> None:
        """Move ``group`` to ``process_group``."""
        if group in process_group.members:
            return
        old = group.process_group
        process_group.members.append(group)
        group.process_group = process_group
        if group in old.members:
            old.members.remove(group)
            self.discard_empty(old)

    def leave(self, group: ThreadGroup) -> None:
        """Take a waited-for ``group`` out of its process group."""
        process_group = group.process_group
        if group in process_group.members:
            process_group.members.remove(group)
        self.discard_empty(process_group)

    def discard_empty(self, process_group: ProcessGroup) -> None:
        """Forget a process group without members, and its session without groups."""
        if process_group.members:
            return
        if self.process_groups.get(process_group.pgid) is process_group:
            del self.process_groups[process_group.pgid]
        session = process_group.session
        if process_group in session.groups:
            session.groups.remove(process_group)
        if not session.groups and self.sessions.get(session.sid) is session:
            del self.sessions[session.sid]
