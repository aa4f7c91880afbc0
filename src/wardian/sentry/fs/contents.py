"""The bytes of a file kept in memory (tmpfs, memfd, overlay upper files).

Small files that nobody mapped live in a ``bytearray``: thousands of them cost no host descriptor.
A file that grows past :data:`SMALL_MAX` or is mapped moves to a host memfd, which is sparse and
can be granted to guests (design D2). The memory goes when the object does: whoever can still
reach the file keeps it alive.
"""

from __future__ import annotations

import fcntl
import os
from typing import Final

from wardian.platform.hostfds import for_guest
from wardian.sentry.errno import (
    EFBIG,
    EMFILE,
    ENFILE,
    ENOSPC,
    ENXIO,
    EOPNOTSUPP,
    LinuxError,
    from_os_error,
)
from wardian.sentry.fs.hostsyscall import host_syscall_function
from wardian.sentry.vfs.buffers import Sink, Source

SMALL_MAX: Final = 64 * 1024
PIECE: Final = 1 << 20
PAGE: Final = 4096
SIZE_MAX: Final = (1 << 63) - PAGE

SYS_FALLOCATE: Final = 285
FALLOC_FL_KEEP_SIZE: Final = 0x01
FALLOC_FL_PUNCH_HOLE: Final = 0x02

MFD_CLOEXEC: Final = 0x1
MFD_ALLOW_SEALING: Final = 0x2
MFD_EXEC: Final = 0x10
SEEK_DATA: Final = 3
F_ADD_SEALS: Final = 1033


class Reclaimer:
    """Who may know of files that nobody uses and that are kept all the same."""

    def reclaim(self, quota: Quota, count: int, inodes: int) -> None:
        """Let go of some, or all, until ``quota`` has room for ``count`` bytes and ``inodes``."""
        raise NotImplementedError


class Quota:
    """How much one file system may hold, alone and as a part of a ``whole``; 0 means no limit."""

    def __init__(
        self, bytes_limit: int = 0, inodes_limit: int = 0, whole: Quota | None = None
    ) -> None:
        self.bytes_limit: int = bytes_limit
        self.inodes_limit: int = inodes_limit
        self.whole = whole
        if whole is not None:
            self.bytes_limit = bytes_limit or whole.bytes_limit
            self.inodes_limit = inodes_limit or whole.inodes_limit
        self.bytes_used = 0
        self.inodes_used = 0
        self.reclaimer: Reclaimer | None = None  # of a whole

    def room(self) -> int:
        """Bytes that may still be charged."""
        room = max(0, self.bytes_limit - self.bytes_used) if self.bytes_limit else SIZE_MAX
        if self.whole is not None:
            return min(room, self.whole.room())
        return room

    def inodes_free(self) -> int:
        """Inodes that may still be made."""
        free = max(0, self.inodes_limit - self.inodes_used) if self.inodes_limit else SIZE_MAX
        if self.whole is not None:
            return min(free, self.whole.inodes_free())
        return free

    def charge(self, count: int) -> None:
        """Account for ``count`` bytes, negative ones to give back."""
        self.bytes_used += count
        if self.whole is not None:
            self.whole.charge(count)

    def add_inode(self) -> None:
        """Charge one inode; ENOSPC."""
        if self.inodes_free() == 0:
            self.reclaim(0, 1)
        if self.inodes_free() == 0:
            raise ENOSPC("no inodes left")
        self.count_inodes(1)

    def count_inodes(self, count: int) -> None:
        """Account for ``count`` inodes, negative ones to give back."""
        self.inodes_used += count
        if self.whole is not None:
            self.whole.count_inodes(count)

    def reclaim(self, count: int, inodes: int) -> None:
        """There is no room for ``count`` bytes and ``inodes``: see whether some can be made."""
        whole = self if self.whole is None else self.whole
        if whole.reclaimer is not None:
            whole.reclaimer.reclaim(self, count, inodes)


def create_memfd(name: str) -> int:
    """A host memfd whose mappings may be executable; raises a LinuxError."""
    try:
        return for_guest(os.memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC))
    except OSError:
        pass  # before Linux 6.3 there is no MFD_EXEC
    try:
        return for_guest(os.memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING))
    except OSError as e:
        raise from_os_error(e) from None


def host_fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2), which Python has only in part."""
    try:
        host_syscall_function()(SYS_FALLOCATE, fd, mode, offset, length)
    except OSError as e:
        raise from_os_error(e) from None


class Contents:
    """The data of one file. Holes read as zeros; only used pages are charged to the quota."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.size = 0
        self.small = bytearray()
        self.fd = -1  # the host memfd once there is one
        self.charged = 0
        self.dense_end = 0  # host pages below are all there, and counted in ``charged``
        self.dense = True  # no host page at or above ``dense_end``

    def __del__(self) -> None:
        self.quota.charge(-self.charged)
        if self.fd >= 0:
            os.close(self.fd)

    # -- data --------------------------------------------------------------------------------------
    def read(self, sink: Sink, offset: int) -> int:
        """Fill ``sink`` from ``offset``; the bytes put."""
        left = min(sink.left, self.size - offset)
        if left <= 0:
            return 0
        if self.fd < 0:
            return sink.put_part(self.small, offset, left)
        try:
            return sink.put_file(self.fd, offset, left)
        except OSError as e:
            raise from_os_error(e) from None

    def write(self, source: Source, offset: int) -> int:
        """Write from ``source``; the bytes taken, fewer when the quota, guest memory or the largest
        size ends, or the file that they come from cannot be read. ENOSPC, EFAULT, EFBIG, EIO."""
        done = 0
        while source.left:
            try:
                taken = self._write_piece(source, offset + done)
            except LinuxError:
                if done:
                    return done
                raise
            if taken == 0:
                break
            done += taken
        return done

    def _write_piece(self, source: Source, offset: int) -> int:
        wanted = min(source.left, PIECE)
        if offset + wanted > SIZE_MAX:
            raise EFBIG("beyond the largest file size")
        wanted = self._within_quota(offset, wanted)
        if self.fd < 0 and offset + wanted > SMALL_MAX:
            self.memory()
        if self.fd < 0:
            taken = self._write_small(source, offset, wanted)
        else:
            try:
                taken = source.take_file(self.fd, offset, wanted, 0)
            except OSError as e:
                raise from_os_error(e) from None
        end = offset + taken
        self.size = max(self.size, end)
        self._charge(offset, end)
        return taken

    def _write_small(self, source: Source, offset: int, count: int) -> int:
        small = self.small
        before = len(small)
        if offset + count <= before:
            return source.take_into(small, offset, count)
        taken = 0
        small.extend(bytes(offset + count - before))
        try:
            taken = source.take_into(small, offset, count)
        finally:  # no byte may stay that was not written
            if taken < count:
                del small[max(before, offset + taken) if taken else before :]
        return taken

    def _pwrite(self, piece: bytes, offset: int) -> None:
        while piece:
            try:
                n = os.pwrite(self.fd, piece, offset)
            except OSError as e:
                raise from_os_error(e) from None
            if n == len(piece):  # nearly always
                return
            piece = piece[n:]
            offset += n

    # -- size --------------------------------------------------------------------------------------
    def truncate(self, length: int) -> None:
        """Cut or extend with a hole."""
        if length > SIZE_MAX:
            raise EFBIG("beyond the largest file size")
        if self.fd < 0 and length > SMALL_MAX:
            self.memory()
        if self.fd < 0:
            small = self.small
            if length < len(small):
                del small[length:]
            else:
                small.extend(bytes(length - len(small)))
        else:
            self._ftruncate(length)
            self.dense_end = min(self.dense_end, round_up(length))
        self.size = length
        self._recount()

    def _ftruncate(self, length: int) -> None:
        try:
            os.ftruncate(self.fd, length)
        except OSError as e:
            raise from_os_error(e) from None

    def allocate(self, mode: int, offset: int, length: int) -> None:
        """fallocate(2): plain, KEEP_SIZE and PUNCH_HOLE; EOPNOTSUPP for the rest, as tmpfs."""
        end = offset + length
        if mode == FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
            self._punch(offset, min(end, self.size))
        elif mode in (0, FALLOC_FL_KEEP_SIZE):
            if end > SIZE_MAX:
                raise EFBIG("beyond the largest file size")
            if self._within_quota(offset, length) < length:
                raise ENOSPC("file system full")
            self._reserve(mode, offset, length)
            if mode == 0:
                self.size = max(self.size, end)
        else:
            raise EOPNOTSUPP("fallocate mode")
        self._recount()

    def _reserve(self, mode: int, offset: int, length: int) -> None:
        end = offset + length
        if self.fd < 0 and end <= SMALL_MAX:
            if mode == 0 and end > len(self.small):
                self.small.extend(bytes(end - len(self.small)))
            return
        host_fallocate(self.memory(), mode, offset, length)
        self.dense = False

    def _punch(self, offset: int, end: int) -> None:
        if end <= offset:
            return
        if self.fd < 0:
            self.small[offset:end] = bytes(end - offset)
            return
        host_fallocate(self.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, end - offset)
        self.dense = False
        self.dense_end = min(self.dense_end, offset - offset % PAGE)

    def seek(self, offset: int, whence: int) -> int:
        """SEEK_DATA and SEEK_HOLE; ENXIO at or past the end."""
        if not 0 <= offset < self.size:
            raise ENXIO("no data there")
        if self.fd < 0:
            return offset if whence == SEEK_DATA else self.size
        try:
            return os.lseek(self.fd, offset, whence)
        except OSError as e:
            raise from_os_error(e) from None

    # -- host memory -----------------------------------------------------------------------------
    def memory(self) -> int:
        """The host memfd, made now if there is none; borrowed by the caller."""
        if self.fd < 0:
            self.fd = self._create_memfd()
            self._pwrite(bytes(self.small), 0)
            self._ftruncate(self.size)
            self.small = bytearray()
            self.dense_end = self.charged
        return self.fd

    def _create_memfd(self) -> int:
        try:
            return create_memfd("wardian-file")
        except (EMFILE, ENFILE):
            self.quota.reclaim(SIZE_MAX, 0)  # files that nobody uses have descriptors as well
            return create_memfd("wardian-file")

    def seal(self, seals: int) -> None:
        """F_ADD_SEALS on the host object, which knows of writable mappings (EBUSY)."""
        try:
            fcntl.fcntl(self.memory(), F_ADD_SEALS, seals)
        except OSError as e:
            raise from_os_error(e) from None

    # -- accounting ------------------------------------------------------------------------------
    def blocks(self) -> int:
        """Used 512-byte blocks; the host is asked, as guests may have touched mapped pages."""
        if self.fd >= 0:
            self.dense = False
            self._recount()
        return self.charged // 512

    def _within_quota(self, offset: int, count: int) -> int:
        """How many of ``count`` bytes at ``offset`` may be written; ENOSPC for none."""
        if not self.quota.bytes_limit:
            return count
        have = self.dense_end if self.fd >= 0 else self.charged
        free_from = max(offset - offset % PAGE, have)
        if offset + count <= free_from:
            return count
        wanted = offset + count - free_from
        room = self.quota.room()
        if room < wanted:
            self.quota.reclaim(wanted, 0)
            room = self.quota.room()
        count = min(count, free_from + room - offset)
        if count <= 0:
            raise ENOSPC("file system full")
        return count

    def _charge(self, offset: int, end: int) -> None:
        """Account for a write of [offset, end)."""
        if self.fd < 0:
            if len(self.small) > self.charged:
                self._recount()
            return
        if end <= self.dense_end:
            return
        if offset > self.dense_end or not self.dense:
            self.dense = False
            self._recount()
            return
        self.dense_end = round_up(end)
        self._set_charged(self.dense_end)

    def _recount(self) -> None:
        if self.fd < 0:
            self._set_charged(round_up(len(self.small)))
            return
        if self.dense and self.size >= self.dense_end:
            self._set_charged(self.dense_end)
            return
        used = os.fstat(self.fd).st_blocks * 512
        self._set_charged(used)
        self.dense = used == self.dense_end

    def _set_charged(self, used: int) -> None:
        self.quota.charge(used - self.charged)
        self.charged = used


def round_up(length: int) -> int:
    """To whole pages."""
    return (length + PAGE - 1) & ~(PAGE - 1)
