"""Pool processes: empty, trusted host processes that wait for a program (design D9)."""

from __future__ import annotations

import os
import select
import struct
import time
from _socket import CMSG_SPACE, SCM_CREDENTIALS, SO_PASSCRED, SOL_SOCKET
from typing import TYPE_CHECKING, Final

from wardian import _core
from wardian.platform.stub import sockets
from wardian.platform.stub.poller import EPOLL_CTL_ADD, EPOLL_CTL_DEL
from wardian.platform.stub.process import Space
from wardian.sentry.errno import EFAULT

if TYPE_CHECKING:
    from wardian.platform.stub.engine import StubEngine
    from wardian.platform.stub.thread import StubThread


POOL_SIZE: Final = 2
POOL_BURST: Final = 6
RETRY_NS: Final = 50_000_000
"""After the host has refused a process that a program waits for."""


class PoolProcess:
    """One of them; ``pid`` is 0 until it reported itself."""

    def __init__(self, hub: _core.Hub) -> None:
        self.control, self.theirs = sockets.pair()
        try:
            self.space = Space(hub)
        except OSError:
            self.control.close()
            self.theirs.close()
            raise
        self.control.setsockopt(SOL_SOCKET, SO_PASSCRED, 1)
        self.control.setblocking(False)
        self.pid = 0
        self.pidfd = -1  # opened when it reports itself, if there is a descriptor left
        self.apart = 0  # which processor it is kept off from its birth (Hub.placed)
        self.taken_by: StubThread | None = None
        self.rest: list[tuple[int, bytes]] = []  # what did not fit into the channel

    def write_rest(self) -> None:
        """The image is mapped: place what was too large for the channel, and let it go."""
        assert self.taken_by is not None
        process = self.taken_by.stub_process
        try:
            for address, data in self.rest:
                process.write(address, data)
            self.control.send(b"G")
        except (EFAULT, OSError):
            process.end()  # or killed from outside: its pidfd reports either
        self.rest = []

    def take_pidfd(self) -> int:
        """One for the caller."""
        pidfd, self.pidfd = self.pidfd, -1
        return pidfd if pidfd >= 0 else os.pidfd_open(self.pid)

    def reported(self, pid: int) -> None:
        """It is ready, and this is its number."""
        self.pid = pid
        try:
            self.pidfd = os.pidfd_open(pid)
        except OSError:
            pass  # out of descriptors, or killed from outside: take_pidfd says so

    def close(self) -> None:
        """Give up before it was asked for."""
        self.control.close()
        self.theirs.close()
        self.space.close()


class Pool:
    """The empty processes of one engine."""

    def __init__(self, engine: StubEngine) -> None:
        self.engine = engine
        self.processes: list[PoolProcess] = []
        self.by_fd: dict[
            int, PoolProcess
        ] = {}  # by control socket, while something may come from it
        self.target = POOL_SIZE
        self.due = False  # to be filled when there is nothing more urgent
        self.retry_ns = 0  # or at this time

    def grow(self) -> None:
        """A program had to wait: keep more from now on."""
        self.target = min(POOL_BURST, self.target + 1)
        self.fill()

    def fill(self) -> None:
        """Keep empty processes ready (design D9)."""
        self.due = False
        self.retry_ns = 0
        while len(self.processes) < self.target and not self.engine.zygote_gone:
            try:
                fresh = PoolProcess(self.engine.hub)
            except OSError:  # no descriptors left
                if not self.engine.departed:
                    return  # the end of a process calls us again
                self.engine.take_apart()
                continue
            fresh.apart = self.engine.hub.place_maker(self.engine.zygote.pid)
            try:
                self.engine.zygote.spawn(fresh.space.memfd, fresh.theirs.fileno())
            except OSError:
                fresh.close()
                return
            fresh.theirs.close()
            self.processes.append(fresh)
            self.by_fd[fresh.control.fileno()] = fresh
            self.engine.hub.epoll(EPOLL_CTL_ADD, fresh.control.fileno(), select.EPOLLIN)

    def retry(self, timeout_ns: int) -> int:
        """Fill when it is time to; at most how long to wait until then."""
        left = self.retry_ns - time.monotonic_ns()
        if left <= 0:
            self.fill()
            return timeout_ns
        return left if timeout_ns < 0 else min(timeout_ns, left)

    def event(self, fresh: PoolProcess) -> None:
        """A pool process is ready, asks for the rest of its image, or is gone."""
        try:
            data, ancillary, _, _ = fresh.control.recvmsg(1, CMSG_SPACE(12))
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        if data == b"R" and fresh.pid == 0:
            for level, kind, content in ancillary:
                if level == SOL_SOCKET and kind == SCM_CREDENTIALS:
                    fresh.reported(struct.unpack("3i", content)[0])
            self.engine.programs.begin_next()
            return
        self.stop_listening(fresh)
        if data == b"M" and fresh.taken_by is not None:
            fresh.write_rest()
            return
        if fresh.taken_by is None and fresh in self.processes:
            self.processes.remove(fresh)
            fresh.space.close()
            if fresh.pidfd >= 0:
                os.close(fresh.pidfd)
            if self.engine.programs.waiting and fresh.pid:
                self.fill()
            elif self.engine.programs.waiting:  # the host would not
                self.retry_ns = time.monotonic_ns() + RETRY_NS
        if fresh.taken_by is None:
            fresh.control.close()  # otherwise its process does

    def stop_listening(self, fresh: PoolProcess) -> None:
        """Nothing more is expected from this process; its end is reported by its pidfd."""
        fd = fresh.control.fileno()
        if self.by_fd.pop(fd, None) is not None:
            self.engine.hub.epoll(EPOLL_CTL_DEL, fd)

    def take(self) -> PoolProcess | None:
        for fresh in self.processes:
            if fresh.pid:
                self.processes.remove(fresh)
                return fresh
        return None
