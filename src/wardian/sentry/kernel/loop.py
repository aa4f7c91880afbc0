"""The Sentry's loop: woken tasks, due timers, then whatever the engine has;
until the first process is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.platform.stub.engine import StubEngine
from wardian.sentry.kernel.dispatch import Dispatcher

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel

LINGER_NS: Final = 2000
LINGER_CALLS: Final = 16


class Loop:
    """Drives one kernel on one engine."""

    def __init__(self, kernel: Kernel, engine: StubEngine, dispatcher: Dispatcher) -> None:
        self.kernel = kernel
        self.engine = engine
        self.dispatcher = dispatcher
        self.stopped = False

    def turn(self) -> None:
        """One round: never blocks while there is something to do."""
        kernel = self.kernel
        timeout = -1
        if kernel.timers.heap:
            timeout = self.run_timers()
        if kernel.run_list:
            if not kernel.hurry:
                self.linger()
            kernel.hurry = False
            self.dispatcher.run_woken()
            timeout = 0
        self.engine.poll(timeout)

    def linger(self) -> None:
        """Let those who run go on for a moment before the woken ones do: more is about to come."""
        for _ in range(LINGER_CALLS):
            if self.kernel.hurry or not self.engine.glance(LINGER_NS):
                break

    def run_timers(self) -> int:
        """Fire what is due; nanoseconds until the next one, -1 for none."""
        timers = self.kernel.timers
        deadline = timers.next_deadline()
        if deadline < 0:
            return -1
        now = self.kernel.clock.monotonic_ns()
        if deadline <= now:
            observer = self.dispatcher.observer
            if observer is not None:
                observer.timers(True)
            timers.run(now)
            if observer is not None:
                observer.timers(False)
            return self.until_timer()
        return deadline - now

    def until_timer(self) -> int:
        """Nanoseconds until the next timer, -1 for none."""
        kernel = self.kernel
        deadline = kernel.timers.next_deadline() if kernel.timers.heap else -1
        return -1 if deadline < 0 else max(0, deadline - kernel.clock.monotonic_ns())

    def run(self) -> int:
        """Until init has ended; its wait(2) status."""
        init = self.kernel.init
        assert init is not None
        while not init.zombie and not self.stopped:
            self.turn()
        return init.exit_code
