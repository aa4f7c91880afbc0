"""The one door to host files: every host call that ``fs.host`` makes is a method here.

The Sentry's file code is handed a :class:`HostFS`; tests hand it a subclass that counts or fails.
Names given to the ``*at`` methods are single components and are never followed when they are
symbolic links; longer paths go through :meth:`HostFS.openat2` alone, which the host kernel
resolves under
:data:`RESOLVE`. So a host tree that changes underneath us, even in hostile hands, cannot lead a
call out of the granted directory (openat2(2)).

Failures are raised as ``LinuxError``. The hot calls (stat, getdents) go through functions of the C
core made for them, where that is built.
"""

from __future__ import annotations

import os
import struct
from typing import Final

from librt.strings import read_i64_le

from wardian.platform.hostfds import for_guest
from wardian.sentry.errno import E2BIG, ENFILE, EPERM, LinuxError, from_os_error
from wardian.sentry.fs.hostsyscall import (
    address_function,
    core_function,
    host_syscall_function,
)
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.inode import Attributes, DirEntry, StatFs

RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x02, 0x04, 0x08
RESOLVE: Final = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS
"""How the host resolves every path we give it: below the directory, no links of any kind."""

SYS_FSTATFS: Final = 138
SYS_GETDENTS64: Final = 217
SYS_FALLOCATE: Final = 285
SYS_SYNCFS: Final = 306
SYS_KCMP: Final = 312
SYS_RENAMEAT2: Final = 316
SYS_STATX: Final = 332
SYS_OPENAT2: Final = 437
SYS_FCHMODAT2: Final = 452
SYS_SETXATTRAT: Final = 463
SYS_GETXATTRAT: Final = 464
SYS_LISTXATTRAT: Final = 465
SYS_REMOVEXATTRAT: Final = 466

AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_EMPTY_PATH: Final = 0x1000
STATX_ALL: Final = 0xFFF

INO_MASK: Final = (1 << 63) - 1
"""Numbers stay signed; who uses the highest bit (few do) is shown without it, here as in C."""

OVERFLOW_ID: Final = 65534  # unless the host's administrator changed it
EINVAL_NR: Final = 22
EMFILE_NR: Final = 24
ENOENT_NR: Final = 2
ENOTDIR_NR: Final = 20
ENOSYS_NR: Final = 38

DIRENT_BYTES: Final = 32768
SCRATCH_BYTES: Final = 65536  # also the largest extended attribute
SECOND: Final = 1_000_000_000

_OPEN_HOW: Final = struct.Struct("=QQQ")
_STATX: Final = struct.Struct("=IIQIIIHHQQQQqIIqIIqIIqIIIIII")
_STATFS: Final = struct.Struct("=qqQQQQQiiqqq")
_DIRENT: Final = struct.Struct("=QqHB")
_XATTR_ARGS: Final = struct.Struct("=QII")


def parse_dirents(data: bytes) -> list[DirEntry]:
    """Split a getdents64(2) buffer; a kind is 0 when the file system does not say."""
    entries: list[DirEntry] = []
    at = 0
    while at < len(data):
        ino, position, length, kind = _DIRENT.unpack_from(data, at)
        name = data[at + 19 : data.index(b"\0", at + 19)]
        entries.append(DirEntry(name, ino & INO_MASK, kind << 12, position))
        at += length
    return entries


class HostFS:
    """The host's file system calls."""

    def __init__(self) -> None:
        self.call = host_syscall_function()  # (number, *args) -> int; OSError
        self.core_stat = core_function("host_stat")
        self.core_getdents = core_function("host_getdents")
        self.core_dirents = core_function("host_dirents")
        self.scratch = bytearray(SCRATCH_BYTES)
        self.scratch_at: int = address_function()(self.scratch)
        self.unknown_uid = overflow_id("uid")
        self.unknown_gid = overflow_id("gid")

    # -- opening and closing -----------------------------------------------------------------------
    def openat2(self, dirfd: int, path: bytes, flags: int, mode: int = 0) -> int:
        """Open below ``dirfd`` without following any link; the new descriptor is close-on-exec."""
        how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, mode, RESOLVE)
        try:
            fd: int = self.call(SYS_OPENAT2, dirfd, path, how, len(how))
        except OSError as e:
            raise _error(e) from None
        return for_guest(fd)

    def close(self, fd: int) -> None:
        """close(2); errors have nobody to go to."""
        try:
            os.close(fd)
        except OSError:
            pass

    def same_description(self, one: int, two: int) -> bool:
        """True when two of our descriptors are dup(2)s of each other; kcmp(2), False when it is not
        allowed."""
        pid = os.getpid()
        try:
            answer: int = self.call(SYS_KCMP, pid, pid, 0, one, two)
        except OSError:
            return False
        return answer == 0

    # -- attributes ------------------------------------------------------------------------------
    def stat(self, dirfd: int, name: bytes) -> Attributes | None:
        """Attributes of ``name`` itself in ``dirfd`` (b"": of ``dirfd``); None when not there."""
        if self.core_stat is None:
            return self.slow_stat(dirfd, name)
        try:
            fields: bytes | None = self.core_stat(dirfd, name)
        except OSError as e:
            raise from_os_error(e) from None
        if fields is None:
            return None
        a = unpack_attributes(fields)
        self.name_owner(a)
        return a

    def name_owner(self, a: Attributes) -> None:
        """Who is unknown to our user namespace is root, as nearly all of them are on the host: its
        files shall not look like those of "nobody"."""
        if a.uid == self.unknown_uid:
            a.uid = 0
        if a.gid == self.unknown_gid:
            a.gid = 0

    def slow_stat(self, dirfd: int, name: bytes) -> Attributes | None:
        """:meth:`stat` without the C core's help."""
        flags = AT_SYMLINK_NOFOLLOW if name else AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH
        try:
            self.call(SYS_STATX, dirfd, name, flags, STATX_ALL, self.scratch)
        except OSError as e:
            if e.errno in (ENOENT_NR, ENOTDIR_NR):
                return None
            raise from_os_error(e) from None
        attributes = _attributes(_STATX.unpack_from(self.scratch))
        self.name_owner(attributes)
        return attributes

    def fstat(self, fd: int) -> Attributes:
        """Attributes of an open file, O_PATH included."""
        attributes = self.stat(fd, b"")
        assert attributes is not None
        return attributes

    def chmod(self, dirfd: int, name: bytes, mode: int) -> None:
        """Change permission bits of ``name`` itself; through a descriptor before Linux 6.6."""
        try:
            self.call(SYS_FCHMODAT2, dirfd, name, mode, AT_SYMLINK_NOFOLLOW)
            return
        except OSError as e:
            if e.errno != ENOSYS_NR:
                raise from_os_error(e) from None
        fd = self.openat2(dirfd, name, os.O_RDONLY | os.O_NONBLOCK)
        try:
            self.fchmod(fd, mode)
        finally:
            self.close(fd)

    def fchmod(self, fd: int, mode: int) -> None:
        """fchmod(2)."""
        try:
            os.fchmod(fd, mode)
        except OSError as e:
            raise from_os_error(e) from None

    def chown(self, dirfd: int, name: bytes, uid: int, gid: int) -> None:
        """fchownat(2) of ``name`` itself; -1 leaves an id alone."""
        try:
            os.chown(name, uid, gid, dir_fd=dirfd, follow_symlinks=False)
        except OSError as e:
            raise _chown_error(e) from None

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        """fchown(2)."""
        try:
            os.fchown(fd, uid, gid)
        except OSError as e:
            raise _chown_error(e) from None

    def utimens(self, dirfd: int, name: bytes, atime_ns: int, mtime_ns: int) -> None:
        """utimensat(2) of ``name`` itself."""
        try:
            os.utime(name, ns=(atime_ns, mtime_ns), dir_fd=dirfd, follow_symlinks=False)
        except OSError as e:
            raise from_os_error(e) from None

    def futimens(self, fd: int, atime_ns: int, mtime_ns: int) -> None:
        """futimens(3)."""
        try:
            os.utime(fd, ns=(atime_ns, mtime_ns))
        except OSError as e:
            raise from_os_error(e) from None

    def fstatfs(self, fd: int) -> StatFs:
        """fstatfs(2)."""
        try:
            self.call(SYS_FSTATFS, fd, self.scratch)
        except OSError as e:
            raise from_os_error(e) from None
        fields = _STATFS.unpack_from(self.scratch)
        result = StatFs(fields[0])
        result.block_size = fields[1]
        result.blocks, result.blocks_free, result.blocks_available = fields[2:5]
        result.files, result.files_free = fields[5:7]
        result.name_max = fields[9]
        return result

    # -- contents --------------------------------------------------------------------------------
    def read(self, fd: int, sink: Sink, offset: int) -> int:
        """pread(2), as much as ``sink`` takes."""
        try:
            return sink.put_file(fd, offset, sink.left)
        except OSError as e:
            raise from_os_error(e) from None

    def write(self, fd: int, source: Source, offset: int) -> int:
        """pwrite(2), some of what ``source`` has."""
        try:
            return source.take_file(fd, offset, source.left, 0)
        except OSError as e:
            raise from_os_error(e) from None

    def append(self, fd: int, source: Source) -> int:
        """Write at the end, wherever others have moved it meanwhile (RWF_APPEND, pwritev2(2))."""
        try:
            return source.take_file(fd, 0, source.left, os.RWF_APPEND)
        except OSError as e:
            raise from_os_error(e) from None

    def lseek(self, fd: int, offset: int, whence: int) -> int:
        """lseek(2)."""
        try:
            return os.lseek(fd, offset, whence)
        except OSError as e:
            raise from_os_error(e) from None

    def ftruncate(self, fd: int, length: int) -> None:
        """ftruncate(2)."""
        try:
            os.ftruncate(fd, length)
        except OSError as e:
            raise from_os_error(e) from None

    def fallocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        """fallocate(2)."""
        try:
            self.call(SYS_FALLOCATE, fd, mode, offset, length)
        except OSError as e:
            raise from_os_error(e) from None

    def fsync(self, fd: int, data_only: bool) -> None:
        """fsync(2) or fdatasync(2)."""
        try:
            if data_only:
                os.fdatasync(fd)
            else:
                os.fsync(fd)
        except OSError as e:
            raise from_os_error(e) from None

    def syncfs(self, fd: int) -> None:
        """syncfs(2)."""
        try:
            self.call(SYS_SYNCFS, fd)
        except OSError as e:
            raise from_os_error(e) from None

    # -- directories -----------------------------------------------------------------------------
    def packed_dirents(self, fd: int, count: int) -> tuple[bytes, int] | None:
        """The next struct linux_dirent64 records of an open directory, at most ``count`` bytes, and
        the position after them; None without the C core."""
        if self.core_dirents is None:
            return None
        try:
            packed: tuple[bytes, int] = self.core_dirents(fd, count)
        except OSError as e:
            raise from_os_error(e) from None
        return packed

    def getdents(self, fd: int) -> list[DirEntry]:
        """The next entries of an open directory; none at the end."""
        try:
            if self.core_getdents is not None:
                found: list[tuple[bytes, int, int, int]] = self.core_getdents(fd)
                return [DirEntry(name, ino, kind << 12, at) for name, ino, kind, at in found]
            count: int = self.call(SYS_GETDENTS64, fd, self.scratch, DIRENT_BYTES)
        except OSError as e:
            raise from_os_error(e) from None
        return parse_dirents(bytes(self.scratch[:count]))

    def readlink(self, dirfd: int, name: bytes) -> bytes:
        """readlinkat(2)."""
        try:
            return os.readlink(name, dir_fd=dirfd)
        except OSError as e:
            raise from_os_error(e) from None

    def mkdir(self, dirfd: int, name: bytes, mode: int) -> None:
        """mkdirat(2)."""
        try:
            os.mkdir(name, mode, dir_fd=dirfd)
        except OSError as e:
            raise from_os_error(e) from None

    def mknod(self, dirfd: int, name: bytes, mode: int) -> None:
        """mknodat(2) of a FIFO or socket; devices are never made on the host."""
        try:
            os.mknod(name, mode, dir_fd=dirfd)
        except OSError as e:
            raise from_os_error(e) from None

    def symlink(self, target: bytes, dirfd: int, name: bytes) -> None:
        """symlinkat(2)."""
        try:
            os.symlink(target, name, dir_fd=dirfd)
        except OSError as e:
            raise from_os_error(e) from None

    def link(self, old_dirfd: int, old: bytes, dirfd: int, name: bytes) -> None:
        """linkat(2), a symbolic link itself being linked."""
        try:
            os.link(old, name, src_dir_fd=old_dirfd, dst_dir_fd=dirfd, follow_symlinks=False)
        except OSError as e:
            raise from_os_error(e) from None

    def unlink(self, dirfd: int, name: bytes) -> None:
        """unlinkat(2)."""
        try:
            os.unlink(name, dir_fd=dirfd)
        except OSError as e:
            raise from_os_error(e) from None

    def rmdir(self, dirfd: int, name: bytes) -> None:
        """unlinkat(2) with AT_REMOVEDIR."""
        try:
            os.rmdir(name, dir_fd=dirfd)
        except OSError as e:
            raise from_os_error(e) from None

    def rename(self, old_dirfd: int, old: bytes, dirfd: int, name: bytes, flags: int) -> None:
        """renameat2(2)."""
        try:
            self.call(SYS_RENAMEAT2, old_dirfd, old, dirfd, name, flags)
        except OSError as e:
            raise from_os_error(e) from None

    # -- extended attributes -----------------------------------------------------------------------
    # The *xattrat calls exist since Linux 6.13; before that a descriptor is opened, which needs
    # read permission and cannot reach symbolic links: those then have no attributes.
    def getxattr(self, dirfd: int, name: bytes, attribute: bytes) -> bytes:
        """Value of an extended attribute of ``name`` itself."""
        how = _XATTR_ARGS.pack(self.scratch_at, SCRATCH_BYTES, 0)
        try:
            count: int = self.call(
                SYS_GETXATTRAT, dirfd, name, AT_SYMLINK_NOFOLLOW, attribute, how, len(how)
            )
            return bytes(self.scratch[:count])
        except OSError as e:
            if e.errno != ENOSYS_NR:
                raise from_os_error(e) from None
        fd = self.openat2(dirfd, name, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return os.getxattr(fd, attribute)
        except OSError as e:
            raise from_os_error(e) from None
        finally:
            self.close(fd)

    def listxattr(self, dirfd: int, name: bytes) -> list[bytes]:
        """Names of the extended attributes of ``name`` itself."""
        try:
            count: int = self.call(
                SYS_LISTXATTRAT, dirfd, name, AT_SYMLINK_NOFOLLOW, self.scratch, SCRATCH_BYTES
            )
            return [part for part in bytes(self.scratch[:count]).split(b"\0") if part]
        except OSError as e:
            if e.errno != ENOSYS_NR:
                raise from_os_error(e) from None
        fd = self.openat2(dirfd, name, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return [os.fsencode(part) for part in os.listxattr(fd)]
        except OSError as e:
            raise from_os_error(e) from None
        finally:
            self.close(fd)

    def setxattr(self, dirfd: int, name: bytes, attribute: bytes, value: bytes, flags: int) -> None:
        """Set an extended attribute of ``name`` itself."""
        if len(value) > SCRATCH_BYTES:
            raise E2BIG("extended attribute")
        self.scratch[: len(value)] = value
        how = _XATTR_ARGS.pack(self.scratch_at, len(value), flags)
        try:
            self.call(SYS_SETXATTRAT, dirfd, name, AT_SYMLINK_NOFOLLOW, attribute, how, len(how))
            return
        except OSError as e:
            if e.errno != ENOSYS_NR:
                raise from_os_error(e) from None
        fd = self.openat2(dirfd, name, os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.setxattr(fd, attribute, value, flags)
        except OSError as e:
            raise from_os_error(e) from None
        finally:
            self.close(fd)

    def removexattr(self, dirfd: int, name: bytes, attribute: bytes) -> None:
        """Remove an extended attribute of ``name`` itself."""
        try:
            self.call(SYS_REMOVEXATTRAT, dirfd, name, AT_SYMLINK_NOFOLLOW, attribute)
            return
        except OSError as e:
            if e.errno != ENOSYS_NR:
                raise from_os_error(e) from None
        fd = self.openat2(dirfd, name, os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.removexattr(fd, attribute)
        except OSError as e:
            raise from_os_error(e) from None
        finally:
            self.close(fd)


def unpack_attributes(fields: bytes) -> Attributes:
    """What the C core's host_stat packed."""
    a = Attributes()
    a.ino = int(read_i64_le(fields, 0))
    a.mode = int(read_i64_le(fields, 8))
    a.nlink = int(read_i64_le(fields, 16))
    a.uid = int(read_i64_le(fields, 24))
    a.gid = int(read_i64_le(fields, 32))
    a.dev = int(read_i64_le(fields, 40))
    a.rdev = int(read_i64_le(fields, 48))
    a.size = int(read_i64_le(fields, 56))
    a.blocksize = int(read_i64_le(fields, 64))
    a.blocks = int(read_i64_le(fields, 72))
    a.atime_ns = int(read_i64_le(fields, 80))
    a.mtime_ns = int(read_i64_le(fields, 88))
    a.ctime_ns = int(read_i64_le(fields, 96))
    a.btime_ns = int(read_i64_le(fields, 104))
    return a


def overflow_id(kind: str) -> int:
    """The "uid" or "gid" that the host shows us for ids our user namespace has no number for; -1
    when root has one (user_namespaces(7))."""
    try:
        with open(f"/proc/self/{kind}_map") as file:
            if any(line.split()[0] == "0" for line in file):
                return -1
    except (OSError, IndexError):
        return -1
    try:
        with open(f"/proc/sys/kernel/overflow{kind}") as file:
            return int(file.read())
    except (OSError, ValueError):
        return OVERFLOW_ID


def _error(e: OSError) -> LinuxError:
    """The exception for a failed open; our own descriptor limit is the guest's ENFILE."""
    if e.errno == EMFILE_NR:
        return ENFILE("the Sentry is out of descriptors")
    return from_os_error(e)


def _chown_error(e: OSError) -> LinuxError:
    """The host says EINVAL for an id that our user namespace has no number for."""
    return EPERM("an id unknown to us") if e.errno == EINVAL_NR else from_os_error(e)


def _attributes(fields: tuple[int, ...]) -> Attributes:
    """statx(2)'s struct, unpacked, as attributes; ``dev`` is the host's."""
    result = Attributes()
    result.blocksize = fields[1]
    result.nlink = fields[3]
    result.uid = fields[4]
    result.gid = fields[5]
    result.mode = fields[6]
    result.ino = fields[8] & INO_MASK
    result.size = fields[9]
    result.blocks = fields[10]
    result.atime_ns = fields[12] * SECOND + fields[13]
    result.btime_ns = fields[15] * SECOND + fields[16]
    result.ctime_ns = fields[18] * SECOND + fields[19]
    result.mtime_ns = fields[21] * SECOND + fields[22]
    result.rdev = os.makedev(fields[24], fields[25])
    result.dev = os.makedev(fields[26], fields[27])
    return result
