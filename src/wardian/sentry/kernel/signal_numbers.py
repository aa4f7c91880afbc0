"""Signal numbers, the sets that signal(7) makes of them, and the flags of sigaction(2) and
sigaltstack(2). Masks are 64-bit sets with bit ``1 << (signo - 1)``, as in the ABI.
"""

from __future__ import annotations

from typing import Final

SIGHUP: Final = 1
SIGINT: Final = 2
SIGQUIT: Final = 3
SIGILL: Final = 4
SIGTRAP: Final = 5
SIGABRT: Final = 6
SIGBUS: Final = 7
SIGFPE: Final = 8
SIGKILL: Final = 9
SIGUSR1: Final = 10
SIGSEGV: Final = 11
SIGUSR2: Final = 12
SIGPIPE: Final = 13
SIGALRM: Final = 14
SIGTERM: Final = 15
SIGSTKFLT: Final = 16
SIGCHLD: Final = 17
SIGCONT: Final = 18
SIGSTOP: Final = 19
SIGTSTP: Final = 20
SIGTTIN: Final = 21
SIGTTOU: Final = 22
SIGURG: Final = 23
SIGXCPU: Final = 24
SIGXFSZ: Final = 25
SIGVTALRM: Final = 26
SIGPROF: Final = 27
SIGWINCH: Final = 28
SIGIO: Final = 29
SIGPWR: Final = 30
SIGSYS: Final = 31
SIGRTMIN: Final = 32  # as the kernel counts; the C library keeps the first two
NSIG: Final = 64

ALL_SIGNALS: Final = (1 << 64) - 1
UNBLOCKABLE: Final = 1 << (SIGKILL - 1) | 1 << (SIGSTOP - 1)
STOP_SIGNALS: Final = (
    1 << (SIGSTOP - 1) | 1 << (SIGTSTP - 1) | 1 << (SIGTTIN - 1) | 1 << (SIGTTOU - 1)
)
CONT_SIGNAL: Final = 1 << (SIGCONT - 1)
IGNORED_BY_DEFAULT: Final = (
    1 << (SIGCONT - 1) | 1 << (SIGCHLD - 1) | 1 << (SIGWINCH - 1) | 1 << (SIGURG - 1)
)
SYNCHRONOUS: Final = (
    1 << (SIGSEGV - 1)
    | 1 << (SIGBUS - 1)
    | 1 << (SIGILL - 1)
    | 1 << (SIGTRAP - 1)
    | 1 << (SIGFPE - 1)
    | 1 << (SIGSYS - 1)
)

SIG_DFL: Final = 0
SIG_IGN: Final = 1

SA_NOCLDSTOP: Final = 0x1
SA_NOCLDWAIT: Final = 0x2
SA_SIGINFO: Final = 0x4
SA_EXPOSE_TAGBITS: Final = 0x800
SA_RESTORER: Final = 0x04000000
SA_ONSTACK: Final = 0x08000000
SA_RESTART: Final = 0x10000000
SA_NODEFER: Final = 0x40000000
SA_RESETHAND: Final = 0x80000000
SA_KNOWN: Final = (
    SA_NOCLDSTOP
    | SA_NOCLDWAIT
    | SA_SIGINFO
    | SA_EXPOSE_TAGBITS
    | SA_RESTORER
    | SA_ONSTACK
    | SA_RESTART
    | SA_NODEFER
    | SA_RESETHAND
)

SS_ONSTACK: Final = 1
SS_DISABLE: Final = 2
SS_AUTODISARM: Final = 1 << 31
MINSIGSTKSZ: Final = 2048


def bit(signo: int) -> int:
    """The mask of one signal."""
    return 1 << (signo - 1)
