"""Host memfds: memory that several guests may share, and copies of files that have no host
descriptor.

The maker owns the descriptor. memfds are counted by the memory cgroup against whoever touches them
first.
"""

import fcntl
import os

from wardian.platform.hostfds import for_guest
from wardian.sentry.errno import EIO, from_os_error


def create(length: int, sealable: bool = False) -> int:
    """A new memfd of ``length`` zero bytes (sparse); ENFILE, ENOMEM, EFBIG."""
    fd = -1
    sealing = os.MFD_ALLOW_SEALING if sealable else 0
    try:
        fd = for_guest(os.memfd_create("wardian", os.MFD_CLOEXEC | sealing))
        os.ftruncate(fd, length)
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        raise from_os_error(error) from error
    return fd


def write_at(fd: int, data: bytes, offset: int) -> None:
    """Write all of ``data``; ENOSPC and the like."""
    view = memoryview(data)
    while view:
        try:
            n = os.pwrite(fd, view, offset)
        except OSError as error:
            raise from_os_error(error) from error
        if n <= 0:
            raise EIO("short write to a memfd")
        view = view[n:]
        offset += n


def close(fd: int) -> None:
    """Give up a descriptor."""
    try:
        os.close(fd)
    except OSError as error:
        raise from_os_error(error) from error


def seal(fd: int) -> None:
    """Let nobody change it from now on, whoever may hold it."""
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    try:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    except OSError as error:
        raise from_os_error(error) from error
