"""What the Sentry itself may ask of the host once the zygote runs: a list with a reason per call.

The first rule of a call that fits decides. Any other call ends the Sentry
(SECCOMP_RET_KILL_PROCESS), and with it the sandbox: it comes from a bug or from an attacker, and
in both cases going on with the user's files in hand is worse than stopping. An errno instead would
let an attacker look for gaps at leisure. Three exceptions, in :data:`REFUSED`: calls that the C
library and CPython make by themselves, and have a way to do without, are refused with an errno, so
that an ordinary bug still ends in its own traceback. With ``debug`` everything else is refused
with EPERM too, and logged by the host's audit.

All modules must be imported before: afterwards no file can be opened by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.host import seccomp_bpf as bpf
from wardian.sentry.abi.numbers import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Sequence

MEMORY = "memory"
FILES = "host files below a granted directory"
GUESTS = "guest processes"
EVENTS = "waiting"
SELF = "itself"
VOLUME = "writable volumes"
NETWORK = "--network=host"

MOST_CALLS = 60
"""How many calls the filter of an ordinary sandbox may let through."""

_EPERM, _ENOENT, _EACCES, _EOPNOTSUPP = 1, 2, 13, 95
_PROT_READ_WRITE = 3
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_INT_MAX = 0x7FFF_FFFF
_SIGNALS = (0, 9, 18, 19, 23)  # exists?, SIGKILL, SIGCONT, SIGSTOP, SIGURG (the engine's interrupt)
_FUTEX_OPS = (0, 1, 9, 10)  # WAIT, WAKE, WAIT_BITSET, WAKE_BITSET
_FUTEX_FLAGS = 128 | 256
_FCNTLS = (1, 2, 3, 4, 1030, 1032, 1033, 1034)  # GETFD..SETFL, DUPFD_CLOEXEC, GETPIPE_SZ, *_SEALS
_IOCTLS = (
    0xC050_2100,  # SECCOMP_IOCTL_NOTIF_RECV
    0xC018_2101,  # SECCOMP_IOCTL_NOTIF_SEND
    0x4008_2102,  # SECCOMP_IOCTL_NOTIF_ID_VALID
    0x4018_2103,  # SECCOMP_IOCTL_NOTIF_ADDFD
    0x5401,  # TCGETS
    0x5402,  # TCSETS
    0x5403,  # TCSETSW
    0x5404,  # TCSETSF
    0x540F,  # TIOCGPGRP
    0x5411,  # SIOCOUTQ
    0x5413,  # TIOCGWINSZ
    0x541B,  # FIONREAD
    0x5421,  # FIONBIO
    0x5451,  # FIOCLEX
)


def _rule(call: str, group: str, reason: str, *when: bpf.Condition) -> bpf.Rule:
    return bpf.Rule(call, NUMBERS[call], bpf.ALLOW, when, group, reason)


def _memory() -> list[bpf.Rule]:
    no_code = bpf.Bits("prot", 2, _PROT_READ_WRITE)
    return [
        _rule("mmap", MEMORY, "malloc; channels and shared memory. Never executable", no_code),
        _rule("mprotect", MEMORY, "malloc's arenas. Never executable", no_code),
        _rule("munmap", MEMORY, "malloc; the channel of a process that ended"),
        _rule("mremap", MEMORY, "realloc of large blocks"),
        _rule("madvise", MEMORY, "malloc gives memory back"),
        _rule("brk", MEMORY, "malloc"),
        _rule("memfd_create", MEMORY, "channels, shared memory and mapped tmpfs files"),
        _rule("ftruncate", MEMORY, "sizes a memfd; truncates a file that is open for writing"),
        _rule("fallocate", MEMORY, "punches holes into a memfd, reserves file space"),
    ]


def _files(xattrat: bool) -> list[bpf.Rule]:
    """``xattrat``: the host has getxattrat(2) (Linux 6.13); the calls on descriptors replace it."""
    attribute_calls = [
        _rule("getxattrat" if xattrat else "fgetxattr", FILES, "extended attributes"),
        _rule("listxattrat" if xattrat else "flistxattr", FILES, "extended attributes"),
    ]
    return [
        _rule(
            "openat2",
            FILES,
            "the only way to open: below a granted descriptor (RESOLVE_BENEATH). Without that "
            "flag it reaches an empty root",
        ),
        _rule("close", FILES, "gives a descriptor back"),
        _rule("read", FILES, "files, standard input, the doorbell"),
        _rule("write", FILES, "files, standard output, the log"),
        _rule("pread64", FILES, "files"),
        _rule("pwrite64", FILES, "files, memfds"),
        _rule("preadv2", FILES, "standard input, without waiting for it (RWF_NOWAIT)"),
        _rule("pwritev2", FILES, "appends where the host's file ends now (RWF_APPEND)"),
        _rule("lseek", FILES, "SEEK_DATA and SEEK_HOLE; rewinds a directory"),
        _rule("fstat", FILES, "attributes"),
        _rule("newfstatat", FILES, "attributes, as the C library's fstat asks for them"),
        _rule("statx", FILES, "attributes"),
        _rule("fstatfs", FILES, "statfs of the guest; kernel file systems are recognised by it"),
        _rule("getdents64", FILES, "directories"),
        _rule("readlinkat", FILES, "symbolic links, which the guest's own path walk follows"),
        *attribute_calls,
    ]


def _guests() -> list[bpf.Rule]:
    signals = bpf.IntIn("signal", 2, _SIGNALS)
    return [
        _rule("process_vm_readv", GUESTS, "arguments that the stub did not send along"),
        _rule("process_vm_writev", GUESTS, "results that do not fit into the channel"),
        _rule(
            "futex",
            GUESTS,
            "wakes guest threads; CPython's own locks",
            bpf.IntIn("op", 1, _FUTEX_OPS, _FUTEX_FLAGS),
        ),
        _rule(
            "ioctl",
            GUESTS,
            "seccomp notifications; the user's terminal, but for TIOCSTI and the like",
            bpf.IntIn("request", 1, _IOCTLS),
        ),
        _rule("pidfd_open", GUESTS, "to hear of the end of a guest process"),
        _rule(
            "pidfd_send_signal", GUESTS, "ends a guest process", bpf.IntIn("signal", 1, _SIGNALS)
        ),
        _rule("tgkill", GUESTS, "interrupts one guest thread", signals),
        _rule(
            "sched_setaffinity",
            GUESTS,
            "keeps guest threads off the processor it spins on",
            bpf.IntRange("pid", 0, 2, _INT_MAX),
        ),
        _rule("wait4", GUESTS, "reaps the zygote"),
        _rule("prlimit64", GUESTS, "passes limits on to a guest process"),
        _rule(
            "socketpair",
            GUESTS,
            "the control socket of a pool process",
            bpf.IntIn("family", 0, [_AF_UNIX]),
        ),
        _rule(
            "setsockopt",
            GUESTS,
            "SO_PASSCRED on it: the host says who wrote",
            bpf.IntIn("level", 1, [1]),
        ),
        _rule("sendmsg", GUESTS, "orders and descriptors for the zygote and pool processes"),
        _rule("recvmsg", GUESTS, "their answers"),
        _rule("sendto", GUESTS, "short orders; never to an address", bpf.Equal("address", 4, 0)),
        _rule("recvfrom", GUESTS, "short answers", bpf.Equal("address", 4, 0)),
    ]


def _events() -> list[bpf.Rule]:
    return [
        _rule("epoll_pwait2", EVENTS, "the Sentry sleeps here until the next timer"),
        _rule("epoll_wait", EVENTS, "or here; looks at what is ready"),
        _rule("epoll_ctl", EVENTS, "descriptors to wait for"),
        _rule("poll", EVENTS, "is this descriptor ready now?"),
        _rule("eventfd2", EVENTS, "completions of helper threads"),
        _rule("clock_gettime", EVENTS, "processor time of guests; clocks where there is no vDSO"),
        _rule("clock_nanosleep", EVENTS, "short waits while ending a sandbox"),
        _rule("restart_syscall", EVENTS, "the host restarts a sleep after a stop and continue"),
    ]


def _self() -> list[bpf.Rule]:
    return [
        _rule(
            "fcntl",
            SELF,
            "duplicates, close-on-exec, non-blocking, seals of a memfd",
            bpf.IntIn("command", 1, _FCNTLS),
        ),
        _rule("getrandom", SELF, "the guest's getrandom, addresses, nonces"),
        _rule("getpid", SELF, "CPython asks now and then"),
        _rule("getpgrp", SELF, "whether the user's terminal is ours to change"),
        _rule("gettid", SELF, "CPython's locks and faulthandler"),
        _rule("rt_sigaction", SELF, "signal handlers of CPython"),
        _rule("rt_sigprocmask", SELF, "around them"),
        _rule("rt_sigreturn", SELF, "out of them"),
        _rule("exit", SELF, "the end of a helper thread"),
        _rule("exit_group", SELF, "the end"),
    ]


def _volume(xattrat: bool) -> list[bpf.Rule]:
    return [
        _rule("mkdirat", VOLUME, "mkdir"),
        _rule("mknodat", VOLUME, "FIFOs and sockets; devices need a capability it does not have"),
        _rule("symlinkat", VOLUME, "symlink"),
        _rule("linkat", VOLUME, "link"),
        _rule("unlinkat", VOLUME, "unlink, rmdir"),
        _rule("renameat2", VOLUME, "rename"),
        _rule("fchmod", VOLUME, "chmod"),
        _rule("fchmodat2", VOLUME, "chmod without opening"),
        _rule("fchown", VOLUME, "chown"),
        _rule("fchownat", VOLUME, "chown without opening"),
        _rule("utimensat", VOLUME, "utimensat"),
        _rule("fsync", VOLUME, "fsync"),
        _rule("fdatasync", VOLUME, "fdatasync"),
        _rule("syncfs", VOLUME, "sync"),
        _rule("setxattrat" if xattrat else "fsetxattr", VOLUME, "setxattr"),
        _rule("removexattrat" if xattrat else "fremovexattr", VOLUME, "removexattr"),
    ]


def _network() -> list[bpf.Rule]:
    families = bpf.IntIn("family", 0, [_AF_INET, _AF_INET6])
    return [
        _rule(
            "socket",
            NETWORK,
            "TCP and UDP; no raw, packet, netlink or Unix sockets",
            families,
            bpf.IntIn("type", 1, [1, 2], 0o2000000 | 0o4000),
        ),
        _rule("connect", NETWORK, "connect"),
        _rule("bind", NETWORK, "bind"),
        _rule("listen", NETWORK, "listen"),
        _rule("accept4", NETWORK, "accept"),
        _rule("sendto", NETWORK, "send"),
        _rule("recvfrom", NETWORK, "receive"),
        _rule("shutdown", NETWORK, "shutdown"),
        _rule("getsockname", NETWORK, "getsockname"),
        _rule("getpeername", NETWORK, "getpeername"),
        _rule("getsockopt", NETWORK, "socket options and errors"),
        _rule("setsockopt", NETWORK, "socket options"),
    ]


REFUSED = {
    "openat": (_EACCES, "a late import, the source lines of a traceback: there is nothing to open"),
    "open": (_EACCES, "the same"),
    "getsockname": (_EOPNOTSUPP, "CPython asks it of every socket it makes an object for"),
    "getpeername": (_EOPNOTSUPP, "CPython asks it of a socket object that nobody closed"),
    "getcwd": (_ENOENT, "CPython asks when it shortens file names"),
    "sched_getaffinity": (_EPERM, "the C library counts processors for malloc"),
}
"""Call -> (errno, reason): not let through, but not worth dying for."""


def rows(
    writable_volume: bool = False, network: bool = False, xattrat: bool = True
) -> list[bpf.Rule]:
    """All calls let through."""
    found = [*_memory(), *_files(xattrat), *_guests(), *_events(), *_self()]
    if writable_volume:
        found += _volume(xattrat)
    if network:
        found += _network()
    return found


def refused_rows() -> list[bpf.Rule]:
    """All calls that fail instead of ending the Sentry."""
    return [
        bpf.Rule(call, NUMBERS[call], bpf.ERRNO | number, (), SELF, reason)
        for call, (number, reason) in REFUSED.items()
    ]


def sentry_filter(allowed: Sequence[bpf.Rule], debug: bool = False) -> bytes:
    """The program for ``allowed``, from :func:`rows`."""
    default = bpf.ERRNO | _EPERM if debug else bpf.KILL_PROCESS
    return bpf.compile_rules([*allowed, *refused_rows()], default, foreign=bpf.KILL_PROCESS)


def debug_filter(writable_volume: bool, network: bool, xattrat: bool) -> bytes:
    """For ``--debug``: whatever is not let through fails instead of killing."""
    return sentry_filter(rows(writable_volume, network, xattrat), debug=True)
