"""The filters of guests and of the Sentry, compiled ahead.

Assembling them from the policies (``host.guest_policy``, ``host.sentry_policy``) takes longer than
most of what a start does. ``tools/gen_confinement.py`` does it; ``make check`` and
``tests/tools/test_gen_confinement.py`` compare.
"""

from __future__ import annotations

from wardian.host import syscalls
from wardian.host.filters_gen import FIRST, SECOND, SENTRY

NR_GETXATTRAT = 464


def guest_filters(validated: bool) -> tuple[bytes, bytes]:
    """What the zygote installs, and what a loader adds."""
    return bytes.fromhex(FIRST[validated]), bytes.fromhex(SECOND)


def sentry_filter(writes: bool, network: bool, xattrat: bool) -> tuple[int, bytes]:
    """How many calls it lets through, and the program."""
    calls, program = SENTRY[writes, network, xattrat]
    return calls, bytes.fromhex(program)


def install(program: bytes, debug: bool = False) -> None:
    """For every thread of this process, for good. Needs no_new_privs."""
    flags = syscalls.SECCOMP_FILTER_FLAG_TSYNC
    if debug:
        flags |= syscalls.SECCOMP_FILTER_FLAG_LOG
    syscalls.install_filter(program, flags)


def host_has_xattrat() -> bool:
    """Whether getxattrat(2) exists; asked before the filter is installed."""
    try:
        syscalls.syscall(NR_GETXATTRAT, -1, b"\0", 0, b"\0", b"\0" * 16, 16)
    except OSError as error:
        return error.errno != 38  # ENOSYS
    return True
