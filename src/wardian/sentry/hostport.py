"""The one door from the Sentry to the host: clocks, randomness and readiness of host descriptors.

Tests pass fakes (``tests/fake_host.py``). Host *files* go through ``sentry.fs.host``; host memory
and processes through ``wardian.platform``.
"""

import os
import time

from wardian.sentry.kernel.waitqueue import WaitQueue


class Clock:
    """The host's clocks."""

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def realtime_ns(self) -> int:
        """CLOCK_REALTIME."""
        return time.time_ns()

    def random(self, count: int) -> bytes:
        """``count`` bytes from getrandom(2)."""
        return os.urandom(count)


class HostPoller:
    """Readiness of host descriptors the kernel owns (host sockets,
    the user's terminal and pipes)."""

    def watch(self, fd: int, events: int) -> WaitQueue:
        """Wake the returned queue with poll(2) events as ``fd`` becomes ready. Edge-triggered: try
        the operation first, and again after each wake."""
        raise NotImplementedError

    def forget(self, fd: int) -> None:
        """Stop watching, before ``fd`` is closed."""
        raise NotImplementedError

    def ready(self, fd: int, events: int) -> int:
        """The poll(2) events of ``events`` that are true now."""
        raise NotImplementedError
