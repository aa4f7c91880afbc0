"""Where things lie in a guest process, and which descriptors it has.

The stub, the guest's seccomp filter (``host.guest_policy``) and the loader must agree on these
numbers; ``native/include/channel.h`` repeats them and a test compares both. The host address space
of a guest process::

    0                        GUEST_TOP            TRUSTED_BASE                  2^47
    |  the guest's own memory  |  PROT_NONE fence   |  stub, channel, stacks      |
"""

from typing import Final

GUEST_TOP: Final = 0x7000_0000_0000
"""First address the guest may not map."""
TRUSTED_BASE: Final = 0x7E00_0000_0000
"""First address of the stub. A guest mapping below GUEST_TOP and
shorter than the fence ends before it."""

LOADER_TEXT: Final = 0x7E00_0000_1000
"""Runs only before the first guest instruction; the second filter closes it."""
LOADER_TEXT_END: Final = 0x7E00_0000_4000
STUB_TEXT: Final = 0x7E00_0000_4000
STUB_TEXT_END: Final = 0x7E00_0001_0000

CHANNEL_BASE: Final = 0x7E00_1000_0000
CHANNEL_SIZE: Final = 0x800_0000
SLOT_SIZE: Final = 0x8000
SLOT_TID_OFFSET: Final = 240
"""Where in its slot the host kernel keeps a thread's tid."""
SLOT_ROBUST_OFFSET: Final = 288
SLOTS: Final = 4096
DATA_SIZE: Final = SLOT_SIZE - 512
SMALL_SIZE: Final = 16  # bytes that travel beside the request or the result
DATA_IN_ARGS: Final = 1 << 31  # in the length of a request's data: such bytes came
"""Of a slot: what comes with a request or goes with a reply."""

SHARED_BASE: Final = 0x7E00_2000_0000
SHARED_SIZE: Final = 0x4000
"""Pages 0 and 2 the Sentry keeps current (hand-off state, marshalling table);
page 1 guests write (ready map)."""
VDSO_BASE: Final = 0x7E00_3000_0000
STACKS_BASE: Final = 0x7E00_4000_0000
STACK_SIZE: Final = 0x1_0000
BLOCK_ROOM: Final = 128
"""At the top of each stub stack: the stub's own words about the thread (struct thread_block)."""
NONCE_OFFSET: Final = 64
"""Where in them the nonce of the thread's last clone stands."""
TRUSTED_END: Final = 0x7E00_5000_0000
"""The rest up to the host stack is a fence again."""
MASK_LEASE: Final = 0x100
"""In a slot's signal mask: the thread may change it by itself."""
PATCH_AREA_SIZE: Final = 0x10_0000
"""Of each of the two ranges that exec reserves for the trampolines of patched call sites."""

DOORBELL_FD: Final = 3
CHANNEL_FD: Final = 4
CONTROL_FD: Final = 5
"""The loader's orders come here, and later descriptors to map."""
SHARED_FD: Final = 6
ZYGOTE_FD: Final = 7
"""These two only in the zygote."""
RECEIVED_FD_FIRST: Final = 6
"""Descriptors from here to GRANT_FD_FIRST came over CONTROL_FD:
host files, open for reading only."""
GRANT_FD_FIRST: Final = 64
"""A descriptor granted to the thread of slot ``i`` is installed as ``GRANT_FD_FIRST + i``."""

THREAD_FLAGS: Final = 0x125_0F00
"""clone(2) flags of a new thread on the host: CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM,
CHILD_SETTID and CHILD_CLEARTID (into its slot)."""
THREAD_FLAGS_TLS: Final = THREAD_FLAGS | 0x8_0000
"""The same with CLONE_SETTLS."""
FORK_FLAGS: Final = 0x100_8000
"""Those of a forked process: CLONE_PARENT (the zygote has all) and CLONE_CHILD_SETTID (the child's
tid into its own copy of a stub stack)."""
VFORK_FLAGS: Final = 0x120_8100
"""Those of a process that shares its parent's memory: CLONE_VM, PARENT, and CHILD_SETTID and
CHILD_CLEARTID as for threads."""
VFORK_FLAGS_TLS: Final = VFORK_FLAGS | 0x8_0000
"""The same with CLONE_SETTLS."""
UNFIT_ERRNO: Final = 4095
"""What the filter of ``--memory-mode=validated`` answers the stub for a memory
call that must become a message."""
