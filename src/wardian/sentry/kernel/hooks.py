"""What signals and exit ask of whoever runs the tasks (``kernel.dispatch``; a fake in tests)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy_extensions import trait

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.kernel.thread_group import ThreadGroup


@trait  # the dispatcher has two bases, of which mypyc takes only one as a class
class TaskHooks:
    """The dispatcher's half. None of these may raise; all may be called for a task in any state."""

    def signal_pending(self, task: Task) -> None:
        """A signal waits for ``task``: interrupt it if it runs guest code; if it is parked, call
        ``next_delivery`` and end its call with EINTR or a restart when that gives a handler. A task
        that was woken already is left alone: its handler looks once more, so that what woke it is
        not lost, and ``task.signals.attention`` is looked at when it parks again or has its
        result."""
        raise NotImplementedError

    def group_exit(self, group: ThreadGroup) -> None:
        """``group.exiting`` became true: see to it that ``exit_task(task, group.exit_code)`` is
        called for each of ``group.tasks``, at once or soon, and that no guest instruction runs any
        more."""
        raise NotImplementedError

    def stop(self, task: Task) -> None:
        """``task.group.stopped`` became true: keep the task from running guest code and handlers. A
        parked task stays parked; one that is woken stays aside until :meth:`continue_`."""
        raise NotImplementedError

    def continue_(self, task: Task) -> None:
        """``task.group.stopped`` became false: let the task go on, signals first."""
        raise NotImplementedError

    def task_exited(self, task: Task) -> None:
        """``exit_task`` is done with ``task``: forget it, release a vfork(2) parent, end the host
        thread unless the exit came from the task's own call."""
        raise NotImplementedError
