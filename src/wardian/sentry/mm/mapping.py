"""mmap(2): what a request means, and whether it may be (mm/mmap.c, do_mmap).

Private anonymous memory of ordinary shape never comes here: the guest maps it itself under its
filter (design D3). This module checks everything else and has the engine do it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from wardian.platform.layout import GUEST_TOP, TRUSTED_BASE
from wardian.sentry.errno import (
    EACCES,
    EBADF,
    EINVAL,
    ENODEV,
    ENOMEM,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
)
from wardian.sentry.fs.devices import ZeroFile
from wardian.sentry.mm import memfd
from wardian.sentry.mm.file_mappings import FileMapping
from wardian.sentry.mm.memory import GUEST_BOTTOM, PAGE_SIZE, page_down, page_up
from wardian.sentry.mm.program_file import file_size, read_at
from wardian.sentry.mm.unmapped import remember
from wardian.sentry.vfs.dentry import MS_NOEXEC
from wardian.sentry.vfs.file import O_PATH, File, MapSource

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

PROT_READ: Final = 1
PROT_WRITE: Final = 2
PROT_EXEC: Final = 4
PROT_MASK: Final = 7

MAP_SHARED: Final = 0x01
MAP_PRIVATE: Final = 0x02
MAP_SHARED_VALIDATE: Final = 0x03
MAP_TYPE: Final = 0x0F
MAP_FIXED: Final = 0x10
MAP_ANONYMOUS: Final = 0x20
MAP_32BIT: Final = 0x40
MAP_GROWSDOWN: Final = 0x100
MAP_DENYWRITE: Final = 0x800
MAP_EXECUTABLE: Final = 0x1000
MAP_LOCKED: Final = 0x2000
MAP_NORESERVE: Final = 0x4000
MAP_POPULATE: Final = 0x8000
MAP_NONBLOCK: Final = 0x10000
MAP_STACK: Final = 0x20000
MAP_HUGETLB: Final = 0x40000
MAP_SYNC: Final = 0x80000
MAP_FIXED_NOREPLACE: Final = 0x100000

PASSED_FLAGS: Final = (
    MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK
)
"""What the host is told besides the type; the rest changes nothing or is done by the Sentry."""
VALIDATED_FLAGS: Final = (
    MAP_TYPE
    | MAP_FIXED
    | MAP_ANONYMOUS
    | MAP_32BIT
    | MAP_GROWSDOWN
    | MAP_DENYWRITE
    | MAP_EXECUTABLE
    | MAP_LOCKED
    | MAP_NORESERVE
    | MAP_POPULATE
    | MAP_NONBLOCK
    | MAP_STACK
    | MAP_HUGETLB
    | MAP_FIXED_NOREPLACE
)
MAX_COPIED: Final = 1 << 30
COPY_STEP: Final = 1 << 20


class MapRequest:
    """One mmap(2), made regular: whole pages, a sensible address, flags the host knows."""

    def __init__(self, address: int, length: int, prot: int, flags: int, offset: int) -> None:
        self.address = address
        self.length = length
        self.prot = prot
        self.flags = flags
        self.offset = offset

    @property
    def fixed(self) -> bool:
        return bool(self.flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))

    @property
    def host_flags(self) -> int:
        """Type and placement, for the engine."""
        shared = self.flags & MAP_TYPE in (MAP_SHARED, MAP_SHARED_VALIDATE)
        return self.flags & PASSED_FLAGS | (MAP_SHARED if shared else MAP_PRIVATE)


LONGEST: Final = TRUSTED_BASE - GUEST_TOP - PAGE_SIZE
"""That the guest's filter lets the host map, wherever it starts: the fence behind it is longer."""


def make_request(address: int, length: int, prot: int, flags: int, offset: int) -> MapRequest:
    """Check sizes and addresses; EINVAL, ENOMEM, EPERM, EOVERFLOW."""
    if offset % PAGE_SIZE:
        raise EINVAL("offset is not a multiple of the page size")
    if length == 0:
        raise EINVAL("length is zero")
    size = page_up(length)
    if size > LONGEST:
        raise ENOMEM("longer than a mapping may be")
    if offset + size > 1 << 64:
        raise EOVERFLOW("offset and length overflow")
    request = MapRequest(address, size, prot & PROT_MASK, flags, offset)
    if not request.fixed:
        address = page_down(address)
        inside = GUEST_BOTTOM <= address <= GUEST_TOP - size
        request.address = address if inside else 0
        return request
    if address % PAGE_SIZE:
        raise EINVAL("fixed address is not page-aligned")
    if address + size > GUEST_TOP:
        raise ENOMEM("fixed address outside of the address space")
    if address < GUEST_BOTTOM:
        raise EPERM("below vm.mmap_min_addr")
    return request


def check_file(request: MapRequest, file: File) -> None:
    """May ``file`` be mapped like that? EACCES, EPERM, EINVAL, EOPNOTSUPP."""
    kind = request.flags & MAP_TYPE
    if kind == MAP_SHARED_VALIDATE and request.flags & ~VALIDATED_FLAGS:
        raise EOPNOTSUPP("flags that MAP_SHARED_VALIDATE does not know")
    if kind not in (MAP_SHARED, MAP_SHARED_VALIDATE, MAP_PRIVATE):
        raise EINVAL("neither MAP_SHARED nor MAP_PRIVATE")
    if kind != MAP_PRIVATE and request.prot & PROT_WRITE and not file.writable:
        raise EACCES("shared writable mapping of a file not open for writing")
    if not file.readable:
        raise EACCES("file is not open for reading")
    path = file.path
    if request.prot & PROT_EXEC and path is not None and path.mount.flags & MS_NOEXEC:
        raise EPERM("the file system is mounted noexec")
    if request.flags & (MAP_GROWSDOWN | MAP_HUGETLB):
        raise EINVAL("not for files")


def map_file(t: Task, request: MapRequest, file: File) -> None:
    """Check, then have the engine finish mmap(2) of ``file``."""
    if file.flags & O_PATH:
        raise EBADF("opened with O_PATH")
    check_file(request, file)
    shared = request.flags & MAP_TYPE != MAP_PRIVATE
    if isinstance(file, ZeroFile):
        map_zero(t, request, shared)
        return
    writable = shared and file.writable
    source = file.map(shared, writable, request.offset, request.length)
    if writable and file.inode is not None:
        file.inode.mapped_writable = True
        file.inode.program = None
    if source.host_fd >= 0:
        _finish(t, request, source, file, shared)
        return
    if shared:
        raise ENODEV("this file cannot be shared")
    fd = copy_to_memfd(file, request.offset, request.length)
    try:
        _finish(t, request, MapSource(fd, 0), file, False)
    finally:
        memfd.close(fd)


def map_zero(t: Task, request: MapRequest, shared: bool) -> None:
    """/dev/zero: anonymous memory by another name (zero(4))."""
    if shared:
        map_shared_anonymous(t, request)
        return
    host = t.host
    assert host is not None
    host.map_anonymous(
        request.address, request.length, request.prot, request.host_flags | MAP_ANONYMOUS
    )


def map_shared_anonymous(t: Task, request: MapRequest) -> None:
    """MAP_SHARED | MAP_ANONYMOUS: a memfd that fork(2) shares."""
    fd = memfd.create(request.length)
    try:
        record = FileMapping(request.address, request.length, None, 0, True)
        record.name = b"/dev/zero (deleted)"
        remember(t, record, fd)
        _engine_map(t, request, MapSource(fd, 0), False)
    finally:
        memfd.close(fd)


def copy_to_memfd(file: File, offset: int, length: int) -> int:
    """A memfd with the file's bytes from ``offset`` on, for files without a host descriptor."""
    left = min(length, max(file_size(file) - offset, 0))
    if left > MAX_COPIED:
        raise ENOMEM("file is too large to be copied")
    fd = memfd.create(page_up(left))
    try:
        done = 0
        while done < left:
            data = read_at(file, offset + done, min(COPY_STEP, left - done))
            if not data:
                break
            memfd.write_at(fd, data, done)
            done += len(data)
    except BaseException:
        memfd.close(fd)
        raise
    return fd


def _finish(t: Task, request: MapRequest, source: MapSource, file: File, shared: bool) -> None:
    record = FileMapping(request.address, request.length, file.path, request.offset, shared)
    if file.path is None:
        record.name = os.fsencode(file.describe())
    else:
        record.memory_size = source.memory_size
    remember(t, record, source.host_fd)
    _engine_map(t, request, source, shared and not file.writable)


def _engine_map(t: Task, request: MapRequest, source: MapSource, read_only: bool) -> None:
    host = t.host
    assert host is not None
    host.map_file(
        request.address,
        request.length,
        request.prot,
        request.host_flags,
        source.host_fd,
        source.host_offset,
        read_only,
    )
