"""Landlock (landlock(7)): what the Sentry may open, also where there are no namespaces.

Must be entered by the one thread of the Sentry *before the zygote starts*: a process may only look
into (process_vm_readv(2)) or signal processes of its own Landlock domain or of one nested in it,
so guests have to be born inside. The same rule keeps a Sentry that was taken over out of the
user's other processes. Afterwards no mount can be changed any more, so the empty root comes first.

Descriptors opened earlier keep working as they are; opening below an earlier directory descriptor
is checked. Landlock does not restrict stat(2), chmod(2) and the like: the Sentry's seccomp filter
does.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING

from wardian.host import syscalls

if TYPE_CHECKING:
    from collections.abc import Sequence

_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REMOVE_DIR = 1 << 4
REMOVE_FILE = 1 << 5
MAKE_CHAR = 1 << 6
MAKE_DIR = 1 << 7
MAKE_REG = 1 << 8
MAKE_SOCK = 1 << 9
MAKE_FIFO = 1 << 10
MAKE_BLOCK = 1 << 11
MAKE_SYM = 1 << 12
REFER = 1 << 13  # ABI 2
TRUNCATE = 1 << 14  # ABI 3
IOCTL_DEV = 1 << 15  # ABI 5
NET_BIND_TCP = 1 << 0  # ABI 4
NET_CONNECT_TCP = 1 << 1
SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0  # ABI 6
SCOPE_SIGNAL = 1 << 1

READ = EXECUTE | READ_FILE | READ_DIR
CHANGE = (
    WRITE_FILE
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SOCK
    | MAKE_FIFO
    | MAKE_SYM
    | REFER
    | TRUNCATE
)
_FILE_ONLY = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV


class Grant:
    """What may be done beneath (or to) the file that ``fd`` stands for.

    ``listing``: directories may be listed, and no more. ``owned``: ``fd`` was opened for this only.
    """

    def __init__(
        self, fd: int, writable: bool = False, listing: bool = False, owned: bool = False
    ) -> None:
        self.fd = fd
        self.rights = READ_DIR if listing else READ | (CHANGE if writable else 0)
        self.owned = owned


def abi() -> int:
    """The version of Landlock this host has, 0 for none."""
    try:
        return syscalls.syscall(
            syscalls.NR_LANDLOCK_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION
        )
    except OSError:
        return 0


def handled_files(version: int) -> int:
    """The rights on files that a host of this version can deny."""
    bits = 13 + (version >= 2) + (version >= 3) + (version >= 5)
    return (1 << bits) - 1


def restrict(grants: Sequence[Grant], network: bool = False) -> int:
    """Allow this thread, and what it forks, only ``grants``; no TCP unless ``network``. Needs
    no_new_privs. Gives the ABI version used; raises OSError where there is no Landlock."""
    version = abi()
    files = handled_files(version)
    tcp = NET_BIND_TCP | NET_CONNECT_TCP if version >= 4 and not network else 0
    scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL if version >= 6 else 0
    attributes = struct.pack("<3Q", files, tcp, scoped)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = syscalls.syscall(syscalls.NR_LANDLOCK_CREATE_RULESET, attributes, size, 0)
    try:
        for grant in grants:
            _allow(ruleset, grant, files)
        syscalls.syscall(syscalls.NR_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _allow(ruleset: int, grant: Grant, handled: int) -> None:
    rights = grant.rights & handled
    mode = os.fstat(grant.fd).st_mode
    if stat.S_ISLNK(mode):
        return  # a link cannot be opened, and what it leads to has its own rule
    if not stat.S_ISDIR(mode):
        rights &= _FILE_ONLY
    rule = struct.pack("<Qi", rights, grant.fd)
    syscalls.syscall(syscalls.NR_LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
