"""Signals that the host sends to the command line, passed on to the sandbox's first process.

Python's handlers only run between byte codes, so the numbers come through ``signal.set_wakeup_fd`` and the
Sentry's own poller instead. A terminal's keys (Ctrl-C, Ctrl-Z) do not come this way: the guest's line
discipline makes their signals.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

from wardian.sentry.kernel.callbacks import CallbackWaiter
from wardian.sentry.kernel.signals import SigInfo, send_to_group

if TYPE_CHECKING:
    from wardian.sentry.fs.hosttty import HostTerminal
    from wardian.sentry.kernel.kernel import Kernel

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class HostSignals:
    """From construction to :meth:`close` the signals go to the sandbox."""

    def __init__(self, kernel: Kernel, terminal: HostTerminal | None) -> None:
        self.kernel = kernel
        self.terminal = terminal
        self.uid = os.getuid()
        self.ours, theirs = socket.socketpair()
        self.theirs = theirs
        self.ours.setblocking(False)
        theirs.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        for number in (*FORWARDED, signal.SIGWINCH, signal.SIGCONT):
            signal.signal(number, ignore_here)
        self.waiter = CallbackWaiter(self.arrived)
        kernel.poller.watch(self.ours.fileno(), 1).add(self.waiter, 0)

    def arrived(self) -> None:
        """Act on every number that was written since the last time."""
        while True:
            try:
                numbers = self.ours.recv(256)
            except BlockingIOError:
                return
            if not numbers:
                return
            for number in numbers:
                self.act(number)

    def act(self, number: int) -> None:
        """One signal."""
        terminal = self.terminal
        init = self.kernel.init
        if number == signal.SIGWINCH:
            if terminal is not None:
                terminal.window_changed()
        elif number == signal.SIGCONT:
            if terminal is not None:
                terminal.resume()
        elif number in FORWARDED and init is not None and not init.zombie:
            info = SigInfo(number, 0)
            info.uid = self.uid
            send_to_group(init, info)

    def close(self) -> None:
        """Back to where the signals went before."""
        signal.set_wakeup_fd(-1)
        self.kernel.poller.forget(self.ours.fileno())
        self.ours.close()
        self.theirs.close()


def ignore_here(number: int, frame: object) -> None:
    """The byte on the wakeup descriptor says it all."""
