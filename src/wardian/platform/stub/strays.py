"""Host processes that a guest has forked and the Sentry does not know.

A guest that makes the stub's clone call by itself has a process that can ask for nothing, and yet
runs, also after its maker has ended. The host knows all children of the zygote, whose children all
guest processes are. Whenever a guest process has ended we look there, and end who is still unknown
when every honest newcomer has long reported.
"""

from __future__ import annotations

import _signal as signal
import os
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wardian.platform.stub.engine import StubEngine

LOOK_NS: Final = 100_000_000
PATIENCE: Final = 20
"""Looks at which a process was unknown: those that honest newcomers need are one or two."""


class Strays:
    """The hunt for them in one engine."""

    def __init__(self, engine: StubEngine) -> None:
        self.engine = engine
        self.hunting = False
        self.next_look_ns = 0
        self.seen: dict[int, int] = {}  # unknown pid -> looks

    def begin(self) -> None:
        """A process has ended, or was never heard of: look soon."""
        if not self.hunting:
            self.hunting = True
            self.next_look_ns = time.monotonic_ns() + LOOK_NS

    def hunt(self, timeout_ns: int) -> int:
        """Look when it is time to; at most how long to wait until the next look."""
        now = time.monotonic_ns()
        if now >= self.next_look_ns:
            self.next_look_ns = now + LOOK_NS
            self.look()
            if not self.hunting:
                return timeout_ns
        left = self.next_look_ns - now
        return left if timeout_ns < 0 else min(timeout_ns, left)

    def look(self) -> None:
        unknown = self.unknown()
        self.seen = {pid: self.seen.get(pid, 0) + 1 for pid in unknown}
        for pid, looks in self.seen.items():
            if looks > PATIENCE:
                self.end(pid)
        waiting = self.engine.cloning.give_up(PATIENCE)
        self.hunting = bool(unknown) or waiting

    def unknown(self) -> list[int]:
        """Children of the zygote that are neither guest processes nor in the pool."""
        pool = [fresh.pid for fresh in self.engine.pool.processes]
        return [
            pid
            for pid in self.children()
            if pid not in self.engine.pids and pid not in pool and self.is_guest(pid)
        ]

    def children(self) -> list[int]:
        """Of the zygote (proc_pid_task(5)); where the host has no such list, all we can see."""
        zygote = self.engine.zygote.pid
        listed = self.engine.proc.read(zygote, f"task/{zygote}/children").split()
        return [int(pid) for pid in listed] or self.engine.proc.pids()

    def is_guest(self, pid: int) -> bool:
        """Whether it is a living child of the zygote (proc_pid_stat(5))."""
        fields = self.engine.proc.read(pid, "stat").rpartition(")")[2].split()
        return (
            len(fields) > 1 and fields[0] not in "ZX" and fields[1] == str(self.engine.zygote.pid)
        )

    def end(self, pid: int) -> None:
        """Kill it, by a descriptor: the number could be another's by now."""
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return  # gone, or no descriptors left: the next look tries again
        try:
            if pid in self.unknown():
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(fd)
