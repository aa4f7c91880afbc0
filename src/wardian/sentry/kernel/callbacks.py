"""Timers and waiters that call a function: for code outside the compiled kernel, which cannot
subclass its classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.kernel.timers import Timer
from wardian.sentry.kernel.waitqueue import Waiter, WaitQueue

if TYPE_CHECKING:
    from collections.abc import Callable


class CallbackTimer(Timer):
    """Calls ``function`` when it fires."""

    def __init__(self, function: Callable[[], None]) -> None:
        super().__init__()
        self.function = function

    def fire(self) -> None:
        self.function()


class CallbackWaiter(Waiter):
    """Calls ``function`` when it is woken."""

    def __init__(self, function: Callable[[], None]) -> None:
        self.function = function

    def woken(self, queue: WaitQueue, events: int) -> None:
        self.function()
