"""How large an address space is, and the limits on that (getrlimit(2), RLIMIT_AS and RLIMIT_DATA).

The host process maps memory itself (design D2), so the host enforces these limits. It counts what
the engine and exec have mapped there besides, which is therefore added to them: exec reserves
ranges around the stack, and maps the stack whole, which on Linux grows and is never data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.platform.layout import GUEST_TOP
from wardian.sentry.kernel.rlimits import RLIM_INFINITY, RLIMIT_AS, RLIMIT_DATA, Rlimits
from wardian.sentry.mm.memory import PATCH_ROOM

if TYPE_CHECKING:
    from wardian.sentry.mm.memory import Memory

INITIAL_STACK: Final = 132 << 10
"""What a program's stack counts for at first (setup_arg_pages)."""


class Sizes:
    """Bytes of an address space by kind."""

    def __init__(self, memory: Memory) -> None:
        self.total = 0
        self.data = 0
        self.stack = 0
        self.program = 0
        self.libraries = 0
        layout = memory.layout
        for entry in memory.process.maps():
            length = entry.end - entry.start
            if layout.is_reserved(entry.start, entry.prot):
                continue
            self.total += length
            if layout.stack_low <= entry.start < layout.stack_high:
                self.stack += length
            elif "x" in entry.prot and entry.ino:
                if layout.start_code <= entry.start < layout.end_code:
                    self.program += length
                else:
                    self.libraries += length
            elif "w" in entry.prot and entry.prot.endswith("p"):
                self.data += length
        self.resident = memory.process.resident_bytes()


def pass_limit(memory: Memory, resource: int, soft: int) -> None:
    """Have the host enforce RLIMIT_AS or RLIMIT_DATA. Nothing is measured: the program may be
    changing its memory, or still be on its way into its host process."""
    layout = memory.layout
    besides = layout.stack_high - layout.stack_low
    if resource == RLIMIT_AS and layout.stack_high:
        besides += layout.stack_low - layout.guard_low + GUEST_TOP - layout.stack_high
        besides += PATCH_ROOM if layout.patch_low else 0
        besides -= INITIAL_STACK
    memory.process.set_limit(resource, soft, besides)


def pass_limits(memory: Memory, limits: Rlimits) -> None:
    """The limits that a program inherits, for the fresh host process it runs in."""
    for resource in (RLIMIT_AS, RLIMIT_DATA):
        if limits.soft[resource] != RLIM_INFINITY:
            pass_limit(memory, resource, limits.soft[resource])
