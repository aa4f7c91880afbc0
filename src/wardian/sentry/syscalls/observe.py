"""The one place where every system call, signal and end of a task can be seen (strace, profiles).

Compiled, so that a compiled observer costs little; the tracer, which is not worth compiling, is an
interpreted subclass all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

if TYPE_CHECKING:
    from wardian.platform.interface import Request
    from wardian.sentry.kernel.task import Call, Task


@mypyc_attr(allow_interpreted_subclasses=True)
class CallObserver:
    """Subclass and give to the dispatcher; must not raise."""

    def arrived(self, task: Task, call: Call) -> None:
        """A call has come; its handler has not run yet."""

    def resumed(self, task: Task) -> None:
        """The handler of a call that was parked is about to run again."""

    def finished(self, task: Task, request: Request, result: int | None) -> None:
        """``result`` is what the guest gets; None when no reply is sent now (maybe never)."""
        raise NotImplementedError

    def interrupted(self, task: Task, request: Request) -> None:
        """A signal handler ends a waiting call, which may run again afterwards."""
        self.finished(task, request, -4)

    def signal(self, task: Task, signo: int, siginfo: bytes) -> None:
        """A signal handler is entered."""

    def ended(self, task: Task) -> None:
        """A task is gone."""

    def timers(self, firing: bool) -> None:
        """Timers are about to fire, or have fired."""
