"""The built-in half of ``signal``, as far as it is used. The other half makes enums of the numbers,
and ``enum`` with what it imports takes a third of the time that Python needs to start."""

from collections.abc import Iterable
from signal import struct_siginfo
from typing import Any

SIGCHLD: int
SIGCONT: int
SIGHUP: int
SIGIO: int
SIGINT: int
SIGKILL: int
SIGPIPE: int
SIGQUIT: int
SIGSTOP: int
SIGTERM: int
SIGTSTP: int
SIGTTIN: int
SIGTTOU: int
SIGUSR1: int
SIGUSR2: int
SIGWINCH: int
SIGXFSZ: int

SIG_BLOCK: int
SIG_DFL: int
SIG_IGN: int
SIG_SETMASK: int
SIG_UNBLOCK: int

def getsignal(signalnum: int, /) -> Any: ...
def pidfd_send_signal(pidfd: int, sig: int, siginfo: None = None, flags: int = 0, /) -> None: ...
def pthread_sigmask(how: int, mask: Iterable[int], /) -> set[int]: ...
def signal(signalnum: int, handler: int, /) -> Any: ...
def sigtimedwait(sigset: Iterable[int], timeout: float, /) -> struct_siginfo | None: ...
def sigwaitinfo(sigset: Iterable[int], /) -> struct_siginfo: ...
