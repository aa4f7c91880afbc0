"""Where things lie in a guest process, and which descriptors it has.

The stub, the guest's seccomp filter (``host.guest_policy``) and the loader must agree on these numbers;
``native/`` gets them as a generated header. The host address space of a guest process::

    0                        GUEST_TOP            TRUSTED_BASE                  2^47
    |  the guest's own memory  |  PROT_NONE fence   |  stub, channel, stacks      |
"""

from typing import Final

GUEST_TOP: Final = 0x7000_0000_0000
"""First address the guest may not map."""
TRUSTED_BASE: Final = 0x7E00_0000_0000
"""First address of the stub. A guest mapping below GUEST_TOP and shorter than the fence ends before it."""

LOADER_TEXT: Final = 0x7E00_0000_1000
"""Runs only before the first guest instruction; the second filter closes it."""
LOADER_TEXT_END: Final = 0x7E00_0000_2000
STUB_TEXT: Final = 0x7E00_0000_2000
STUB_TEXT_END: Final = 0x7E00_0001_0000

CHANNEL_BASE: Final = 0x7E00_1000_0000
CHANNEL_SIZE: Final = 0x800_0000
SLOT_SIZE: Final = 0x8000
SLOTS: Final = 4096

SHARED_BASE: Final = 0x7E00_2000_0000
"""Two pages the Sentry keeps current (design D8)."""
VDSO_BASE: Final = 0x7E00_3000_0000
STACKS_BASE: Final = 0x7E00_4000_0000
STACK_SIZE: Final = 0x1_0000

DOORBELL_FD: Final = 3
CHANNEL_FD: Final = 4
CONTROL_FD: Final = 5
"""Loader only."""
GRANT_FD_FIRST: Final = 64
"""A descriptor granted to the thread of slot ``i`` is installed as ``GRANT_FD_FIRST + i``."""
