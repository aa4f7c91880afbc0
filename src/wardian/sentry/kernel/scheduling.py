"""What sched_setscheduler(2) and friends set. The host's scheduler runs the threads (design D1):
the values are kept and shown, and not passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

SCHED_OTHER: Final = 0
SCHED_FIFO: Final = 1
SCHED_RR: Final = 2
SCHED_BATCH: Final = 3
SCHED_IDLE: Final = 5
SCHED_DEADLINE: Final = 6
SCHED_RESET_ON_FORK: Final = 0x40000000


class Scheduling:
    """Policy, priority and CPU mask of one task."""

    def __init__(self) -> None:
        self.policy: int = SCHED_OTHER
        self.priority = 0  # real-time priority
        self.reset_on_fork = False
        self.affinity = 0  # CPU bit mask; 0: all


def scheduling(task: Task) -> Scheduling:
    """The task's values, to read or change."""
    if task.scheduling is None:
        task.scheduling = Scheduling()
    return task.scheduling


def child_scheduling(parent: Task) -> Scheduling | None:
    """What a new task inherits (sched(7), "The reset-on-fork flag")."""
    old = parent.scheduling
    if old is None:
        return None
    new = Scheduling()
    new.affinity = old.affinity
    if not old.reset_on_fork:
        new.policy = old.policy
        new.priority = old.priority
    return new
