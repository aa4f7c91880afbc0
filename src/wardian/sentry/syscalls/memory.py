"""Memory calls that reach the Sentry: file and shared mappings, and what the guest's filter
refused.

Private anonymous mmap, munmap, mprotect, mremap and the common madvise are run by the host under
the guest's filter (design D3); when one of them arrives here its arguments were out of the
ordinary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.platform.layout import GUEST_TOP
from wardian.sentry.errno import EAGAIN, EBUSY, EFAULT, EINVAL, ENOMEM, ENOSPC, ENOSYS, EPERM
from wardian.sentry.kernel.credentials import CAP_IPC_LOCK
from wardian.sentry.kernel.rlimits import RLIMIT_MEMLOCK
from wardian.sentry.kernel.task import NO_REPLY, Task
from wardian.sentry.mm import mapping
from wardian.sentry.mm.mapping import (
    MAP_ANONYMOUS,
    MAP_GROWSDOWN,
    MAP_HUGETLB,
    MAP_LOCKED,
    MAP_PRIVATE,
    MAP_SHARED,
    MAP_TYPE,
    MapRequest,
)
from wardian.sentry.mm.memory import PAGE_SIZE, Memory, page_down, page_up
from wardian.sentry.mm.sizes import Sizes
from wardian.sentry.syscalls.kinds import FD, Addr, Flags, Int, Pid, Size, ULong
from wardian.sentry.vfs.file import O_RDONLY

if TYPE_CHECKING:
    from wardian.sentry.vfs.inode import Inode

MS_ASYNC: Final = 1
MS_INVALIDATE: Final = 2
MS_SYNC: Final = 4
MADV_COLD: Final = 20
MADV_PAGEOUT: Final = 21
MADV_MERGEABLE: Final = 12
MADV_UNMERGEABLE: Final = 13
MADV_HWPOISON: Final = 100
MADV_SOFT_OFFLINE: Final = 101
PROT_GROWSDOWN: Final = 0x01000000
PROT_GROWSUP: Final = 0x02000000
MLOCK_ONFAULT: Final = 1
MCL_CURRENT: Final = 1
MCL_ALL: Final = 7
MCL_ONFAULT: Final = 4
MPOL_MAX: Final = 6
MPOL_MODE_FLAGS: Final = 0xE000
MAX_NODES: Final = 1024
ADDRESS_MASK: Final = (1 << 64) - 1
MINCORE_STEP: Final = 1 << 16
PROBED_PAGES: Final = 16


# -- mappings --------------------------------------------------------------------------------------
def mmap(
    t: Task, address: Addr, length: Size, prot: Int, flags: Flags, fd: FD, offset: ULong
) -> int:
    """mmap(2)."""
    if not flags & MAP_ANONYMOUS:
        if offset % PAGE_SIZE:
            raise EINVAL("offset is not a multiple of the page size")
        file = t.files.get(fd)
        request = mapping.make_request(address, length, prot, flags, offset)
        if flags & MAP_LOCKED:
            check_map_locked(t, request)
        mapping.map_file(t, request, file)
        return NO_REPLY
    request = mapping.make_request(address, length, prot, flags, offset)
    if flags & MAP_LOCKED:
        check_map_locked(t, request)
    if flags & MAP_HUGETLB:
        raise ENOMEM("no huge pages are reserved")
    kind = flags & MAP_TYPE
    if kind == MAP_SHARED and not flags & MAP_GROWSDOWN:
        mapping.map_shared_anonymous(t, request)
    elif kind == MAP_PRIVATE:
        host = t.host
        assert host is not None
        host.map_anonymous(
            request.address, request.length, request.prot, request.host_flags | MAP_ANONYMOUS
        )
    else:
        raise EINVAL("neither MAP_SHARED nor MAP_PRIVATE")
    return NO_REPLY


def munmap(t: Task, address: Addr, length: Size) -> int:
    """munmap(2): only what the filter refused comes here, and it is never valid."""
    raise EINVAL("zero length or outside of the address space")


def mprotect(t: Task, address: Addr, length: Size, prot: ULong) -> int:
    """mprotect(2), as refused by the filter."""
    if address % PAGE_SIZE or prot & ~(0xF | PROT_GROWSDOWN | PROT_GROWSUP):
        raise EINVAL("unaligned, or unknown protection bits")
    if prot & (PROT_GROWSDOWN | PROT_GROWSUP):
        raise EINVAL("no mapping grows on access")
    if length == 0:
        return 0
    raise ENOMEM("outside of the address space")


def pkey_mprotect(t: Task, address: Addr, length: Size, prot: ULong, pkey: Int) -> int:
    """pkey_mprotect(2): there are no protection keys."""
    raise EINVAL("no such protection key")


def pkey_alloc(t: Task, flags: ULong, rights: ULong) -> int:
    """pkey_alloc(2): as on a processor without them."""
    if flags or rights & ~3:
        raise EINVAL("flags must be 0, rights at most 3")
    raise ENOSPC("no protection keys")


def pkey_free(t: Task, pkey: Int) -> int:
    """pkey_free(2)."""
    raise EINVAL("no such protection key")


def mremap(
    t: Task, address: Addr, old_size: Size, new_size: Size, flags: Flags, new_address: Addr
) -> int:
    """mremap(2), as refused by the filter."""
    if flags & ~7 or address % PAGE_SIZE or new_size == 0 or old_size == 0:
        raise EINVAL("unknown flags, unaligned or empty")
    if flags & 6 and (not flags & 1 or new_address % PAGE_SIZE or new_address >= GUEST_TOP):
        raise EINVAL("bad new address")
    if flags & 4 and new_size != old_size:
        raise EINVAL("MREMAP_DONTUNMAP keeps the size")
    if new_size > GUEST_TOP:
        raise EINVAL("larger than any address space")
    if address >= GUEST_TOP:
        raise EFAULT("outside of the address space")
    raise ENOMEM("larger than the address space")


def remap_file_pages(
    t: Task, address: Addr, size: Size, prot: Int, page_offset: Size, flags: Flags
) -> int:
    """remap_file_pages(2): deprecated, and gone here."""
    raise EINVAL("not supported")


def brk(t: Task, address: Addr) -> int:
    """brk(2): normally answered by the stub; asked here, the break stays."""
    return t.memory.process.brk_range()[1]


# -- advice ----------------------------------------------------------------------------------------
def madvise(t: Task, address: Addr, length: Size, advice: Int) -> int:
    """madvise(2), as refused by the filter: pure hints are taken, the rest is not offered."""
    if address % PAGE_SIZE:
        raise EINVAL("address is not page-aligned")
    if advice in (MADV_HWPOISON, MADV_SOFT_OFFLINE):
        raise EPERM("hardware poison is not for guests")
    if length == 0 and 0 <= advice <= 25:
        return 0
    if address + length > GUEST_TOP:
        raise ENOMEM("outside of the address space")
    if advice in (MADV_COLD, MADV_PAGEOUT, MADV_MERGEABLE, MADV_UNMERGEABLE):
        return 0
    raise EINVAL("this advice is not offered")


def msync(t: Task, address: Addr, length: Size, flags: Int) -> int:
    """msync(2). Shared pages are the host's page cache already; MS_SYNC has files written out."""
    if flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) or address % PAGE_SIZE:
        raise EINVAL("unknown flags or unaligned")
    if flags & MS_ASYNC and flags & MS_SYNC:
        raise EINVAL("MS_ASYNC and MS_SYNC exclude each other")
    memory = t.memory
    size = page_up(length) & ADDRESS_MASK
    check_mapped(memory, address, size)
    if flags & MS_INVALIDATE and memory.locked.added(address, address + size) < size:
        raise EBUSY("locked pages cannot be invalidated")
    if flags & MS_SYNC and size:
        sync_files(t, address, address + size)
    return 0


def sync_files(t: Task, start: int, end: int) -> None:
    """fsync(2) of the host's files that are mapped shared between ``start`` and ``end``."""
    memory = t.memory
    if not memory.file_mappings.records:
        return
    for entry in memory.process.maps():
        if entry.start >= end or entry.end <= start or not entry.prot.endswith("s"):
            continue
        record = memory.file_mappings.find(entry.device(), entry.ino)
        if record is not None and record.path is not None:
            sync_inode(t, record.path.inode)


def sync_inode(t: Task, inode: Inode) -> None:
    """fsync(2) of what is not open any more; nothing to do for a file that cannot be synced."""
    file = inode.open(t, O_RDONLY).hold()
    try:
        file.fsync(False)
    except EINVAL:
        pass
    finally:
        file.drop()


def mincore(t: Task, address: Addr, length: Size, vector: Addr) -> int:
    """mincore(2): every mapped page counts as resident, so nothing is told about the host's
    cache."""
    if address % PAGE_SIZE:
        raise EINVAL("address is not page-aligned")
    check_mapped(t.memory, address, length)
    pages = page_up(length) // PAGE_SIZE
    done = 0
    while done < pages:
        step = min(pages - done, MINCORE_STEP)
        t.memory.process.write(vector + done, b"\x01" * step)
        done += step
    return 0


def check_mapped(memory: Memory, address: int, length: int) -> None:
    """ENOMEM unless every page of the range is mapped."""
    end = address + page_up(length)
    if end > GUEST_TOP:
        raise ENOMEM("outside of the address space")
    if length == 0:
        return
    if end - address <= PROBED_PAGES * PAGE_SIZE:
        count = end - address
        if len(memory.process.read_some(address, count)) == count:
            return
    for entry in memory.process.maps():
        if entry.start <= address < entry.end:
            address = entry.end
            if address >= end:
                return
    raise ENOMEM("not all of it is mapped")


# -- locking ---------------------------------------------------------------------------------------
def mlock(t: Task, address: Addr, length: Size) -> int:
    """mlock(2): counted against RLIMIT_MEMLOCK; the host decides about residence."""
    return _lock(t, address, length)


def mlock2(t: Task, address: Addr, length: Size, flags: Int) -> int:
    """mlock2(2)."""
    if flags & ~MLOCK_ONFAULT:
        raise EINVAL("flags must be MLOCK_ONFAULT or 0")
    return _lock(t, address, length)


def _lock(t: Task, address: int, length: int) -> int:
    check_lock_allowed(t)
    start, end = locked_range(address, length)
    memory = t.memory
    limit = t.group.rlimits.soft[RLIMIT_MEMLOCK]
    if not t.credentials.has_cap(CAP_IPC_LOCK):
        locked = memory.locked
        if locked.total() + locked.added(start, end) > limit:
            locked.forget_unmapped(memory.process.maps())
        if locked.total() + locked.added(start, end) > limit:
            raise ENOMEM("RLIMIT_MEMLOCK")
    check_mapped(memory, start, end - start)
    if start < end and not memory.locked.add(start, end):
        raise ENOMEM("too many locked ranges")
    return 0


def check_lock_allowed(t: Task) -> None:
    """EPERM for who may lock nothing."""
    if t.group.rlimits.soft[RLIMIT_MEMLOCK] == 0 and not t.credentials.has_cap(CAP_IPC_LOCK):
        raise EPERM("RLIMIT_MEMLOCK is 0")


def locked_range(address: int, length: int) -> tuple[int, int]:
    """Whole pages that hold the range; EINVAL."""
    start = page_down(address)
    end = start + page_up(length + address % PAGE_SIZE)
    if end >= 1 << 64:
        raise EINVAL("range wraps around")
    return start, end


def munlock(t: Task, address: Addr, length: Size) -> int:
    """munlock(2)."""
    start, end = locked_range(address, length)
    check_mapped(t.memory, start, end - start)
    if not t.memory.locked.remove(start, end):
        raise ENOMEM("too many locked ranges")
    return 0


def mlockall(t: Task, flags: Int) -> int:
    """mlockall(2). What is mapped later is not counted: the host maps it without telling."""
    if flags == 0 or flags & ~MCL_ALL or flags == MCL_ONFAULT:
        raise EINVAL("unknown flags")
    check_lock_allowed(t)
    if not flags & MCL_CURRENT:
        return 0
    memory = t.memory
    limit = t.group.rlimits.soft[RLIMIT_MEMLOCK]
    if not t.credentials.has_cap(CAP_IPC_LOCK) and Sizes(memory).total > limit:
        raise ENOMEM("RLIMIT_MEMLOCK")
    for entry in memory.process.maps():
        if not memory.layout.is_reserved(entry.start, entry.prot):
            memory.locked.add(entry.start, entry.end)
    return 0


def munlockall(t: Task) -> int:
    """munlockall(2)."""
    t.memory.locked.clear()
    return 0


def check_map_locked(t: Task, request: MapRequest) -> None:
    """MAP_LOCKED: EPERM, EAGAIN (mmap(2)). Like mlock(2), but what is mapped is not counted."""
    if t.credentials.has_cap(CAP_IPC_LOCK):
        return
    check_lock_allowed(t)
    if t.memory.locked.total() + request.length > t.group.rlimits.soft[RLIMIT_MEMLOCK]:
        raise EAGAIN("RLIMIT_MEMLOCK")


# -- NUMA: one node --------------------------------------------------------------------------------
def get_mempolicy(
    t: Task, mode: Addr, mask: Addr, max_node: ULong, address: Addr, flags: ULong
) -> int:
    """get_mempolicy(2): the default policy, node 0."""
    if flags & ~7 or (mask and not 0 < max_node <= 1 << 16):
        raise EINVAL("unknown flags or bad node count")
    if mode:
        t.copy_out(mode, bytes(4))
    if mask:
        words = bytearray((max_node + 63) // 64 * 8)
        if flags & 4 and words:  # MPOL_F_MEMS_ALLOWED
            words[0] = 1
        t.copy_out(mask, bytes(words))
    return 0


def set_mempolicy(t: Task, mode: Int, mask: Addr, max_node: ULong) -> int:
    """set_mempolicy(2): any valid policy is fulfilled by the one node."""
    if not 0 <= mode & ~MPOL_MODE_FLAGS <= MPOL_MAX or max_node > 1 << 16:
        raise EINVAL("unknown policy")
    return 0


def mbind(
    t: Task, address: Addr, length: ULong, mode: Int, mask: Addr, max_node: ULong, flags: Flags
) -> int:
    """mbind(2): as :func:`set_mempolicy`."""
    if address % PAGE_SIZE or flags & ~7:
        raise EINVAL("unaligned or unknown flags")
    return set_mempolicy(t, mode, mask, max_node)


# -- not offered -----------------------------------------------------------------------------------
def membarrier(t: Task, command: Int, flags: Flags, cpu: Int) -> int:
    """membarrier(2): not offered; callers fall back."""
    raise ENOSYS("membarrier is not offered")


def userfaultfd(t: Task, flags: Flags) -> int:
    """userfaultfd(2)."""
    raise ENOSYS("userfaultfd is not offered")


def process_madvise(
    t: Task, pidfd: FD, vector: Addr, count: Size, advice: Int, flags: Flags
) -> int:
    """process_madvise(2)."""
    raise ENOSYS("process_madvise is not offered")


def migrate_pages(t: Task, pid: Pid, max_node: ULong, old: Addr, new: Addr) -> int:
    """migrate_pages(2): there is one node."""
    raise ENOSYS("migrate_pages is not offered")


def move_pages(
    t: Task, pid: Pid, count: ULong, pages: Addr, nodes: Addr, status: Addr, flags: Int
) -> int:
    """move_pages(2): there is one node."""
    raise ENOSYS("move_pages is not offered")
