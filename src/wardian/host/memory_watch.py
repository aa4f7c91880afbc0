"""Keeps ``--memory`` where no control group can: looks now and then, ends the largest guest.

An approximation: a program may overshoot between two looks, and memory shared by a vfork(2) is
counted twice. What stays the same is what users see: the one program dies of SIGKILL (137), the
sandbox goes on.
"""

from __future__ import annotations

import _signal as signal
from typing import TYPE_CHECKING

from wardian.platform.log import Log
from wardian.sentry.kernel.callbacks import CallbackTimer

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.platform.stub.engine import StubEngine
    from wardian.sentry.kernel.kernel import Kernel

LOG = Log("wardian.memory")
SLOW_NS = 100_000_000
FAST_NS = 10_000_000
"""How often to look; fast from half of the limit on."""


class MemoryWatch:
    """Looks from the moment it is made."""

    def __init__(
        self, kernel: Kernel, engine: StubEngine, limit: int, killed: Callable[[], None]
    ) -> None:
        self.kernel = kernel
        self.engine = engine
        self.limit = limit
        self.killed = killed  # told of each program that was ended
        self.timer = CallbackTimer(self.look)
        self.arm(SLOW_NS)

    def arm(self, pause_ns: int) -> None:
        self.kernel.timers.arm(self.timer, self.kernel.clock.monotonic_ns() + pause_ns)

    def look(self) -> None:
        """Add up; end the largest when it is too much."""
        sizes = [(process.private_bytes(), process) for process in self.engine.processes.values()]
        total = sum([size for size, _ in sizes]) + self.kernel.file_space.bytes_used
        if total > self.limit and sizes:
            size, largest = max(sizes, key=lambda pair: pair[0])
            LOG.warning("out of memory: a program that uses %d MiB is ended", size >> 20)
            try:
                signal.pidfd_send_signal(largest.pidfd, signal.SIGKILL)
                self.killed()
            except ProcessLookupError:
                pass
        self.arm(FAST_NS if total > self.limit // 2 else SLOW_NS)
