"""The one place where every finished system call can be seen (strace, audit, profiles)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wardian.platform.interface import Request
    from wardian.sentry.kernel.task import Task


class CallObserver:
    """Subclass and give to the dispatcher; must not raise."""

    def finished(self, task: Task, request: Request, result: int | None) -> None:
        """``result`` is what the guest gets, None when the call does not return (exit, exec)."""
        raise NotImplementedError
