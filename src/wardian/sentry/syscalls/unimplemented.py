"""System calls that have no row: which errno they give, and one line in the log for each.

Most answer ENOSYS, as a kernel built without them does. :data:`ANSWERS` holds the others: calls
that a kernel refuses to an unprivileged caller, where programs expect that refusal.
``docs/syscalls.md`` lists both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.platform.log import Log
from wardian.sentry.abi.numbers import syscall_name
from wardian.sentry.errno import EACCES, ENOSYS, EPERM

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

ANSWERS: Final[dict[str, str]] = {
    "acct": "EPERM",
    "bpf": "EPERM",
    "create_module": "ENOSYS",
    "delete_module": "EPERM",
    "fanotify_init": "EPERM",
    "finit_module": "EPERM",
    "fsopen": "EPERM",
    "fspick": "EPERM",
    "init_module": "EPERM",
    "io_uring_setup": "EPERM",  # what kernel.io_uring_disabled=2 gives; callers fall back to epoll
    "ioperm": "EPERM",
    "iopl": "EPERM",
    "kcmp": "EPERM",
    "kexec_file_load": "EPERM",
    "kexec_load": "EPERM",
    "move_mount": "EPERM",
    "open_by_handle_at": "EPERM",
    "open_tree": "EPERM",
    "perf_event_open": "EACCES",  # kernel.perf_event_paranoid >= 2
    "ptrace": "EPERM",
    "quotactl": "EPERM",
    "quotactl_fd": "EPERM",
    "reboot": "EPERM",
    "settimeofday": "EPERM",
    "swapoff": "EPERM",
    "swapon": "EPERM",
    "syslog": "EPERM",
    "userfaultfd": "EPERM",  # vm.unprivileged_userfaultfd=0
    "vhangup": "EPERM",
}

LOG: Final = Log("wardian.syscalls")
NUMBERS_REMEMBERED: Final = 4096


class UnimplementedLog:
    """Remembers which numbers were named already; the Kernel owns one."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def note(self, nr: int, comm: bytes) -> None:
        """Log call ``nr`` the first time that it is made."""
        if nr in self.seen or len(self.seen) >= NUMBERS_REMEMBERED:
            return
        self.seen.add(nr)
        name = syscall_name(nr)
        LOG.warning(
            "%s is not implemented (%s), called by %r",
            name,
            ANSWERS.get(name, "ENOSYS"),
            comm.decode("utf-8", "replace"),
        )


def unimplemented(t: Task, nr: int) -> int:
    """Refuse a call that the table does not have."""
    t.kernel.unimplemented.note(nr, t.name)
    name = syscall_name(nr)
    answer = ANSWERS.get(name, "ENOSYS")
    if answer == "EPERM":
        raise EPERM(f"{name} is not available")
    if answer == "EACCES":
        raise EACCES(f"{name} is not available")
    raise ENOSYS(f"{name} is not implemented")
