"""Calls that reach the Sentry never, or with unusual arguments only; for the compatibility page.

"stub": answered inside the guest, by native/stub/answered.c.
"host": run by the host under the guest's filter when the arguments are in its table (design D3).
"""

from typing import Final

ELSEWHERE: Final[dict[str, str]] = {
    "arch_prctl": "stub",
    "brk": "stub",
    "futex": "host, stub",
    "getegid": "stub, after the first",
    "geteuid": "stub, after the first",
    "getgid": "stub, after the first",
    "getpid": "stub, after the first",
    "gettid": "stub, after the first",
    "getuid": "stub, after the first",
    "madvise": "host",
    "mmap": "host",
    "mprotect": "host",
    "mremap": "host",
    "munmap": "host",
    "rseq": "stub: ENOSYS, as without CONFIG_RSEQ",
    "rt_sigprocmask": "stub, while nothing is pending",
    "sched_yield": "host",
    "set_robust_list": "stub, during the same",
}
