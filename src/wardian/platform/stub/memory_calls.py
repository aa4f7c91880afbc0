"""``--memory-mode=validated``: what the Sentry lets a guest ask of the host's memory manager.

The same rules as the guest's own filter has (``host.guest_policy``, own memory), applied a second
time by another hand: a call that the filter notified goes on only when it fits these, too. A test
holds both against each other.
"""

from __future__ import annotations

from typing import Final

from wardian.platform.layout import GUEST_TOP, TRUSTED_BASE

SYS_MMAP: Final = 9
SYS_MPROTECT: Final = 10
SYS_MUNMAP: Final = 11
SYS_MREMAP: Final = 25
SYS_MADVISE: Final = 28
MEMORY_CALLS: Final = (SYS_MMAP, SYS_MPROTECT, SYS_MUNMAP, SYS_MREMAP, SYS_MADVISE)

FENCE: Final = TRUSTED_BASE - GUEST_TOP
PROT_ALL: Final = 7
PRIVATE_ANONYMOUS: Final = 0x22
MAP_ANONYMOUS: Final = 0x20
# FIXED, 32BIT, DENYWRITE, EXECUTABLE, NORESERVE, POPULATE, NONBLOCK, STACK, FIXED_NOREPLACE
MAP_FREE: Final = 0x10 | 0x40 | 0x800 | 0x1000 | 0x4000 | 0x8000 | 0x10000 | 0x20000 | 0x100000
MREMAP_MAYMOVE: Final = 1
MREMAP_PLACED: Final = (3, 5, 7)  # MAYMOVE with FIXED, DONTUNMAP or both
# NORMAL..DONTNEED, FREE, DONTFORK, DOFORK, HUGEPAGE..DODUMP, WIPEONFORK, KEEPONFORK, POPULATE_*
ADVICE: Final = (0, 1, 2, 3, 4, 8, 10, 11, 14, 15, 16, 17, 18, 19, 22, 23)


def fits(nr: int, a: int, b: int, c: int, d: int, e: int) -> bool:
    """Whether the call, with these first five arguments, stays within the guest's own memory."""
    if a >= GUEST_TOP or b >= FENCE:
        return False
    if nr == SYS_MMAP:
        return c & ~PROT_ALL == 0 and d & ~MAP_FREE == PRIVATE_ANONYMOUS
    if nr == SYS_MPROTECT:
        return c & ~PROT_ALL == 0
    if nr == SYS_MUNMAP:
        return True
    if nr == SYS_MADVISE:
        return c & 0xFFFFFFFF in ADVICE
    if nr != SYS_MREMAP or c >= FENCE:
        return False
    return d & ~MREMAP_MAYMOVE == 0 or (d in MREMAP_PLACED and e < GUEST_TOP)
