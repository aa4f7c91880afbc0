"""Capabilities of the Sentry (capabilities(7)): all dropped, but for those a sandbox asks for.

An ordinary user has none to drop; no_new_privs then sees to it that none come back. Root keeps
only what the sandbox's files need (:func:`needed_for_files`), and inside a user namespace, where
there is one, so that they mean nothing outside it.
"""

from __future__ import annotations

import os
import struct

from wardian.host import syscalls

CHOWN = 0
DAC_OVERRIDE = 1
DAC_READ_SEARCH = 2
FOWNER = 3
FSETID = 4
NET_BIND_SERVICE = 10
NET_RAW = 13
SYS_CHROOT = 18
SYS_PTRACE = 19
SYS_ADMIN = 21
SETPCAP = 8

_VERSION_3 = 0x2008_0522
_HEADER = struct.Struct("<II")
_DATA = struct.Struct("<6I")
_LAST = 63  # more than any kernel has
_SECUREBITS = 0xEF
"""SECBIT_NOROOT, SECBIT_NO_SETUID_FIXUP, SECBIT_NO_CAP_AMBIENT_RAISE and SECBIT_KEEP_CAPS_LOCKED,
all locked: root executing a program, such as the stub, gets nothing from being root."""


def needed_for_files(writable_volume: bool) -> frozenset[int]:
    """What root in the sandbox needs to use files of others as root does."""
    if writable_volume:
        return frozenset((CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID))
    return frozenset((DAC_READ_SEARCH,))


def effective() -> int:
    """The effective set of this thread, as bits."""
    data = bytearray(_DATA.size)
    syscalls.syscall(syscalls.NR_CAPGET, _HEADER.pack(_VERSION_3, 0), data)
    low, _, _, high, _, _ = _DATA.unpack(bytes(data))
    return int(low | high << 32)


def has(capability: int) -> bool:
    """Whether this thread may use ``capability`` now."""
    return bool(effective() >> capability & 1)


def no_new_privs() -> None:
    """prctl(PR_SET_NO_NEW_PRIVS): needed before an unprivileged filter, and for good."""
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)


def drop(keep: frozenset[int] = frozenset()) -> None:
    """Give up every capability but ``keep``, in every set, and any way to get one back by exec."""
    if has(SETPCAP):
        syscalls.prctl(syscalls.PR_SET_SECUREBITS, _SECUREBITS)
        _drop_bounding(keep)
    try:
        syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError:  # before Linux 4.3 there is no such set
        pass
    _set(sum(1 << capability for capability in keep) & _permitted())
    no_new_privs()


def _permitted() -> int:
    data = bytearray(_DATA.size)
    syscalls.syscall(syscalls.NR_CAPGET, _HEADER.pack(_VERSION_3, 0), data)
    _, low, _, _, high, _ = _DATA.unpack(bytes(data))
    return int(low | high << 32)


def _set(bits: int) -> None:
    low, high = bits & 0xFFFF_FFFF, bits >> 32
    data = _DATA.pack(low, low, 0, high, high, 0)
    syscalls.syscall(syscalls.NR_CAPSET, _HEADER.pack(_VERSION_3, 0), data)


def _drop_bounding(keep: frozenset[int]) -> None:
    for capability in range(_LAST):
        if capability in keep:
            continue
        try:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
        except OSError:  # EINVAL: past the last one this host knows
            break


def names_of(bits: int) -> list[str]:
    """For reports."""
    known = {
        CHOWN: "chown",
        DAC_OVERRIDE: "dac_override",
        DAC_READ_SEARCH: "dac_read_search",
        FOWNER: "fowner",
        FSETID: "fsetid",
        NET_BIND_SERVICE: "net_bind_service",
        NET_RAW: "net_raw",
        SYS_CHROOT: "sys_chroot",
        SYS_PTRACE: "sys_ptrace",
        SYS_ADMIN: "sys_admin",
    }
    return [known.get(bit, str(bit)) for bit in range(_LAST) if bits >> bit & 1]


def is_root() -> bool:
    """Whether files are accessed as the host's root (or the root of our user namespace)."""
    return os.geteuid() == 0
