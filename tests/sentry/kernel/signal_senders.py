"""What the tests of signals share."""

from support import (
    fork,
    make_kernel,
    make_task,
)
from wardian.sentry.kernel.siginfo import user_siginfo
from wardian.sentry.kernel.signal_sending import (
    send_to_group,
)
from wardian.sentry.kernel.task import Task

HANDLER = 0x40_1000


def ordinary() -> Task:
    """A process that is not init, with its parent pid 1."""
    kernel = make_kernel()
    return fork(make_task(kernel))


def handle(task: Task, signo: int, flags: int = 0, mask: int = 0) -> None:
    action = task.group.actions.get(signo)
    action.handler = HANDLER
    action.flags = flags
    action.mask = mask


def send(task: Task, signo: int, code: int = 0) -> None:
    send_to_group(task.group, user_siginfo(signo, code, 1, 0))
