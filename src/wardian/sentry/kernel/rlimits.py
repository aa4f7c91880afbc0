"""Resource limits of a thread group (getrlimit(2)).

A limit is a pair (soft, hard); :data:`RLIM_INFINITY` is the largest 64-bit number, as in the ABI.
What each limit does is enforced where the resource is handed out.
"""

from typing import Final

RLIMIT_CPU: Final = 0
RLIMIT_FSIZE: Final = 1
RLIMIT_DATA: Final = 2
RLIMIT_STACK: Final = 3
RLIMIT_CORE: Final = 4
RLIMIT_RSS: Final = 5
RLIMIT_NPROC: Final = 6
RLIMIT_NOFILE: Final = 7
RLIMIT_MEMLOCK: Final = 8
RLIMIT_AS: Final = 9
RLIMIT_LOCKS: Final = 10
RLIMIT_SIGPENDING: Final = 11
RLIMIT_MSGQUEUE: Final = 12
RLIMIT_NICE: Final = 13
RLIMIT_RTPRIO: Final = 14
RLIMIT_RTTIME: Final = 15
RLIM_NLIMITS: Final = 16

RLIM_INFINITY: Final = (1 << 64) - 1

NOFILE_MAX: Final = 1 << 20
"""fs.nr_open: no RLIMIT_NOFILE may go above."""

MIB: Final = 1 << 20


class Rlimits:
    """The sixteen limits of one thread group."""

    def __init__(self) -> None:
        self.soft = [RLIM_INFINITY] * RLIM_NLIMITS
        self.hard = [RLIM_INFINITY] * RLIM_NLIMITS
        self.set(RLIMIT_STACK, 8 * MIB, RLIM_INFINITY)
        self.set(RLIMIT_CORE, 0, RLIM_INFINITY)
        self.set(RLIMIT_NPROC, 32768, 32768)
        self.set(RLIMIT_NOFILE, 1024, NOFILE_MAX)
        self.set(RLIMIT_MEMLOCK, 8 * MIB, 8 * MIB)
        self.set(RLIMIT_SIGPENDING, 32768, 32768)
        self.set(RLIMIT_MSGQUEUE, 819200, 819200)
        self.set(RLIMIT_NICE, 0, 0)
        self.set(RLIMIT_RTPRIO, 0, 0)

    def get(self, resource: int) -> tuple[int, int]:
        """(soft, hard)."""
        return self.soft[resource], self.hard[resource]

    def set(self, resource: int, soft: int, hard: int) -> None:
        """Replace one limit; the caller checked permission."""
        self.soft[resource] = soft
        self.hard[resource] = hard

    def copy(self) -> "Rlimits":
        """For fork(2)."""
        new = Rlimits()
        new.soft = list(self.soft)
        new.hard = list(self.hard)
        return new
