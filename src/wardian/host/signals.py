"""The Sentry's end of ``host.relay``: signals for the command line act on the sandbox."""

from __future__ import annotations

import _signal as signal
import os
from typing import TYPE_CHECKING

from wardian.host.relay import BACKGROUND, FOREGROUND, FORWARDED, WHOLE_JOB
from wardian.sentry.kernel.callbacks import CallbackWaiter
from wardian.sentry.kernel.exit import exit_group
from wardian.sentry.kernel.siginfo import SigInfo
from wardian.sentry.kernel.signal_sending import send_to_group, send_to_process_group

if TYPE_CHECKING:
    from wardian.platform.stub.engine import StubEngine
    from wardian.sentry.fs.hosttty import HostTerminal
    from wardian.sentry.kernel.kernel import Kernel


class HostSignals:
    """The Sentry's half: acts on the numbers that arrive."""

    def __init__(
        self, kernel: Kernel, engine: StubEngine, terminal: HostTerminal | None, fd: int
    ) -> None:
        self.kernel = kernel
        self.engine = engine
        self.terminal = terminal
        self.uid = os.getuid()
        self.fd = fd  # the relay's reading end
        self.waiter = CallbackWaiter(self.arrived)
        kernel.poller.watch(fd, 1).add(self.waiter, 0)

    def arrived(self) -> None:
        """Act on every number that was written since the last time."""
        while True:
            try:
                numbers = os.read(self.fd, 256)
            except BlockingIOError:
                return
            if not numbers:
                self.launcher_gone()
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
        elif number == signal.SIGTSTP:
            self.engine.stop_all()
            if terminal is not None:
                terminal.foreground(False)
        elif number == signal.SIGCONT:
            self.engine.continue_all()
        elif number in (FOREGROUND, BACKGROUND):
            if terminal is not None:
                terminal.foreground(number == FOREGROUND)
        elif number & ~WHOLE_JOB in FORWARDED and init is not None and not init.zombie:
            info = SigInfo(number & ~WHOLE_JOB, 0)
            info.uid = self.uid
            if number & WHOLE_JOB:
                send_to_process_group(init.process_group, info)
            else:
                send_to_group(init, info)

    def launcher_gone(self) -> None:
        """Nobody waits for the command any more; as a rule the host has ended us by now."""
        self.kernel.poller.forget(self.fd)
        if self.kernel.init is not None:
            exit_group(self.kernel.init, signal.SIGKILL)

    def close(self) -> None:
        """No more signals."""
        self.kernel.poller.forget(self.fd)
        os.close(self.fd)
