"""Calls that reach the Sentry never, or with unusual arguments only; for the compatibility page.

"stub": answered inside the guest from the page that the Sentry keeps current (design D8).
"host": run by the host under the guest's filter when the arguments are in its table (design D3).
"""

from typing import Final

ELSEWHERE: Final[dict[str, str]] = {
    "brk": "host",
    "futex": "host",
    "madvise": "host",
    "mmap": "host",
    "mprotect": "host",
    "mremap": "host",
    "munmap": "host",
    "rt_sigreturn": "host",
    "sched_yield": "host",
    "getpid": "stub",
    "gettid": "stub",
    "getuid": "stub",
    "geteuid": "stub",
    "getgid": "stub",
    "getegid": "stub",
    "getppid": "stub",
}
