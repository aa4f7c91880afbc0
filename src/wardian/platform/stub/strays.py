"""Host processes that a guest has forked and the Sentry does not know, and those that were told to
exit and do not.

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
    from wardian.platform.stub.process import StubProcess

LOOK_NS: Final = 100_000_000
PATIENCE: Final = 20
"""Looks at which a process was unknown: those that honest newcomers need are one or two."""
LONG_PATIENCE: Final = 600
"""As many while it waits for a processor: what it has to do before it reports itself takes far less
than the host's clock tick, but on a crowded or throttled machine it may have to wait long."""
STATE: Final = 0  # in proc_pid_stat(5), from the third field on
PPID: Final = 1
UTIME: Final = 11
STIME: Final = 12
MOST_AT_ONCE: Final = 500
"""Processes looked at closely in one look: 50 us each."""


class Strays:
    """The hunt for them in one engine."""

    def __init__(self, engine: StubEngine) -> None:
        self.engine = engine
        self.hunting = False
        self.next_look_ns = 0
        self.seen: dict[int, int] = {}  # unknown pid -> looks
        self.leaving: list[StubProcess] = []  # told to exit since the last look
        self.late: list[StubProcess] = []  # and before

    def begin(self) -> None:
        """A process has ended, or was never heard of: look soon."""
        if not self.hunting:
            self.hunting = True
            self.next_look_ns = time.monotonic_ns() + LOOK_NS

    def see_off(self, process: StubProcess) -> None:
        """It was told to exit, which takes no time: a signal would take more than all the rest. One
        that is still there at the second look is killed."""
        self.leaving.append(process)
        self.begin()

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
        children = self.children()
        unknown = self.unknown(children)
        self.seen = {pid: self.seen.get(pid, 0) + 1 for pid in unknown}
        due = [pid for pid, looks in self.seen.items() if looks > PATIENCE]
        for pid in due[:MOST_AT_ONCE]:
            self.end(pid, self.seen[pid] > LONG_PATIENCE)
        # that nobody is on his way; without /proc we never are
        sure = bool(children) and not unknown
        waiting = self.engine.cloning.give_up(PATIENCE if sure else LONG_PATIENCE)
        late = self.end_late()
        self.hunting = bool(unknown) or waiting or late

    def end_late(self) -> bool:
        """Kill who should have left by the last look. Whether more are to leave."""
        for process in self.late:
            if process.pidfd >= 0:
                process.end()
        self.late = [process for process in self.leaving if process.pidfd >= 0]
        self.leaving = []
        return bool(self.late)

    def unknown(self, children: list[int]) -> list[int]:
        """Those of the zygote's children that are neither guest processes nor in the pool."""
        pool = {fresh.pid for fresh in self.engine.pool.processes}
        return [pid for pid in children if pid not in self.engine.pids and pid not in pool]

    def children(self) -> list[int]:
        """Of the zygote (proc_pid_task(5)); where the host has no such list, those of all that we
        can see."""
        zygote = self.engine.zygote.pid
        listed = self.engine.proc.read(zygote, f"task/{zygote}/children").split()
        if listed:
            return [int(pid) for pid in listed]
        return [pid for pid in self.engine.proc.pids() if self.is_child(self.stat(pid))]

    def stat(self, pid: int) -> list[str]:
        """What follows the name in proc_pid_stat(5); empty when it is gone."""
        return self.engine.proc.read(pid, "stat").rpartition(")")[2].split()

    def is_child(self, stat: list[str]) -> bool:
        return len(stat) > STIME and stat[PPID] == str(self.engine.zygote.pid)

    def end(self, pid: int, at_last: bool) -> None:
        """Kill it, by a descriptor: the number could be another's by now. (Its state does not
        matter: the first thread of a process may be a zombie while others run.) ``at_last``: also
        when it only waits for a processor."""
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return  # gone, or no descriptors left: the next look tries again
        try:
            stat = self.stat(pid)
            if self.is_child(stat) and (at_last or not has_yet_to_run(stat)):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(fd)


def has_yet_to_run(stat: list[str]) -> bool:
    """Whether it waits for a processor or a page (or is stopped) and has used no time so far."""
    return stat[STATE] in ("R", "D", "T") and stat[UTIME] == stat[STIME] == "0"
