"""The one door to host files: every host call that ``fs.host`` makes is a method here.

The Sentry's file code is handed a :class:`HostFS`; tests hand it a subclass that counts or fails.
Names given to the ``*at`` methods are single components and are never followed when they are
symbolic links; longer paths go through :meth:`HostFS.openat2` alone, which the host kernel
resolves under :data:`RESOLVE`. So a host tree that changes underneath us, even in hostile hands,
cannot lead a call out of the granted directory (openat2(2)).

Failures are raised as ``LinuxError``. The default implementation calls through ctypes and ``os``;
the C core may override the hot methods (openat2, stat, getdents) with the same results.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from typing import Final

from wardian.sentry.errno import ENFILE, LinuxError, error_of, from_os_error
from wardian.sentry.vfs.inode import Attributes, StatFs

RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x02, 0x04, 0x08
RESOLVE: Final = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS
"""How the host resolves every path we give it: below the directory, no links of any kind."""

SYS_GETDENTS64, SYS_STATX, SYS_OPENAT2, SYS_FCHMODAT2 = 217, 332, 437, 452
SYS_KCMP, SYS_RENAMEAT2 = 312, 316
SYS_SETXATTRAT, SYS_GETXATTRAT, SYS_LISTXATTRAT, SYS_REMOVEXATTRAT = 463, 464, 465, 466

AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH = 0x100, 0x1000
AT_STATX_DONT_SYNC = 0x4000
STATX_ALL: Final = 0xFFF
UTIME_OMIT: Final = (1 << 30) - 2

EMFILE_NR, ENOENT_NR, ENOTDIR_NR, ENOSYS_NR = 24, 2, 20, 38

DIRENT_BYTES: Final = 32768
BUFFER_BYTES: Final = 65536  # also the largest extended attribute

_OPEN_HOW: Final = struct.Struct("=QQQ")
_STATX: Final = struct.Struct("=IIQIIIHHQQQQqIIqIIqIIqIIIIII")
_STATFS: Final = struct.Struct("=qqQQQQQiiqqq")
_DIRENT: Final = struct.Struct("=QqHB")
_XATTR_ARGS: Final = struct.Struct("=QII")


class HostEntry:
    """One name of a host directory as getdents64(2) gives it; ``position`` continues after it."""

    def __init__(self, name: bytes, ino: int, kind: int, position: int) -> None:
        self.name = name
        self.ino = ino
        self.kind = kind  # S_IFMT bits, 0 when the file system does not say
        self.position = position


def parse_dirents(data: bytes) -> list[HostEntry]:
    """Split a getdents64(2) buffer."""
    entries: list[HostEntry] = []
    at = 0
    while at < len(data):
        ino, position, length, kind = _DIRENT.unpack_from(data, at)
        name = data[at + 19 : data.index(b"\0", at + 19)]
        entries.append(HostEntry(name, ino, kind << 12, position))
        at += length
    return entries


def _function(name: str, *kinds: type) -> Callable[..., int]:
    """A C library function with fixed argument types; a new one each time: types never clash."""
    function = ctypes.CDLL(None, use_errno=True)[name]
    function.argtypes = kinds
    function.restype = ctypes.c_long
    return function


class HostFS:
    """The host's file system calls."""

    def __init__(self) -> None:
        number = ctypes.c_long
        fd = ctypes.c_int
        text = ctypes.c_char_p
        size = ctypes.c_size_t
        flags = ctypes.c_uint
        self._buffer = ctypes.create_string_buffer(BUFFER_BYTES)
        self._address = ctypes.addressof(self._buffer)
        pointer = ctypes.c_void_p
        self._openat2 = _function("syscall", number, fd, text, text, size)
        self._statx = _function("syscall", number, fd, text, flags, flags, pointer)
        self._getdents = _function("syscall", number, fd, pointer, size)
        self._fchmodat2 = _function("syscall", number, fd, text, flags, flags)
        self._renameat2 = _function("syscall", number, fd, text, fd, text, flags)
        self._xattr_value = _function("syscall", number, fd, text, flags, text, pointer, size)
        self._xattr_list = _function("syscall", number, fd, text, flags, pointer, size)
        self._xattr_remove = _function("syscall", number, fd, text, flags, text)
        self._kcmp = _function("syscall", number, fd, fd, fd, number, number)
        self._fstatfs = _function("fstatfs", fd, pointer)
        self._syncfs = _function("syncfs", fd)
        self._fallocate = _function("fallocate", fd, fd, number, number)

    # -- opening and closing -----------------------------------------------------------------------
    def openat2(self, dirfd: int, path: bytes, flags: int, mode: int = 0) -> int:
        """Open below ``dirfd`` without following any link; the new descriptor is close-on-exec."""
        how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, mode, RESOLVE)
        fd = self._openat2(SYS_OPENAT2, dirfd, path, how, 24)
        if fd < 0:
            raise _last_error()
        return fd

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
        return self._kcmp(SYS_KCMP, pid, pid, 0, one, two) == 0

    # -- attributes ------------------------------------------------------------------------------
    def stat(self, dirfd: int, name: bytes) -> Attributes | None:
        """Attributes of ``name`` itself in ``dirfd`` (b"": of ``dirfd``); None when not there."""
        flags = AT_SYMLINK_NOFOLLOW if name else AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH
        if self._statx(SYS_STATX, dirfd, name, flags, STATX_ALL, self._address) < 0:
            number = ctypes.get_errno()
            if number in (ENOENT_NR, ENOTDIR_NR):
                return None
            raise error_of(number)
        return _attributes(_STATX.unpack_from(self._buffer))

    def fstat(self, fd: int) -> Attributes:
        """Attributes of an open file, O_PATH included."""
        attributes = self.stat(fd, b"")
        assert attributes is not None
        return attributes

    def chmod(self, dirfd: int, name: bytes, mode: int) -> None:
        """Change permission bits of ``name`` itself; through a descriptor before Linux 6.6."""
        if self._fchmodat2(SYS_FCHMODAT2, dirfd, name, mode, AT_SYMLINK_NOFOLLOW) == 0:
            return
        number = ctypes.get_errno()
        if number != ENOSYS_NR:
            raise error_of(number)
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
            raise from_os_error(e) from None

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        """fchown(2)."""
        try:
            os.fchown(fd, uid, gid)
        except OSError as e:
            raise from_os_error(e) from None

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
        if self._fstatfs(fd, self._address) < 0:
            raise _last_error()
        fields = _STATFS.unpack_from(self._buffer)
        result = StatFs(fields[0])
        result.block_size = fields[1]
        result.blocks, result.blocks_free, result.blocks_available = fields[2:5]
        result.files, result.files_free = fields[5:7]
        result.name_max = fields[9]
        return result

    # -- contents --------------------------------------------------------------------------------
    def pread(self, fd: int, count: int, offset: int) -> bytes:
        """pread(2)."""
        try:
            return os.pread(fd, count, offset)
        except OSError as e:
            raise from_os_error(e) from None

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        """pwrite(2)."""
        try:
            return os.pwrite(fd, data, offset)
        except OSError as e:
            raise from_os_error(e) from None

    def append(self, fd: int, data: bytes) -> int:
        """Write at the end, wherever others have moved it meanwhile (RWF_APPEND, pwritev2(2))."""
        try:
            return os.pwritev(fd, [data], 0, os.RWF_APPEND)
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
        if self._fallocate(fd, mode, offset, length) < 0:
            raise _last_error()

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
        if self._syncfs(fd) < 0:
            raise _last_error()

    # -- directories -----------------------------------------------------------------------------
    def getdents(self, fd: int) -> list[HostEntry]:
        """The next entries of an open directory; none at the end."""
        count = self._getdents(SYS_GETDENTS64, fd, self._address, DIRENT_BYTES)
        if count < 0:
            raise _last_error()
        return parse_dirents(ctypes.string_at(self._address, count))

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
        if self._renameat2(SYS_RENAMEAT2, old_dirfd, old, dirfd, name, flags) < 0:
            raise _last_error()

    # -- extended attributes -----------------------------------------------------------------------
    # The *xattrat calls exist since Linux 6.13; before that a descriptor is opened, which needs
    # read permission and cannot reach symbolic links: those then have no attributes.
    def getxattr(self, dirfd: int, name: bytes, attribute: bytes) -> bytes:
        """Value of an extended attribute of ``name`` itself."""
        how = _XATTR_ARGS.pack(self._address, BUFFER_BYTES, 0)
        got = self._xattr_value(SYS_GETXATTRAT, dirfd, name, AT_SYMLINK_NOFOLLOW, attribute,
                                _address_of(how), len(how))
        if got >= 0:
            return ctypes.string_at(self._address, got)
        number = ctypes.get_errno()
        if number != ENOSYS_NR:
            raise error_of(number)
        fd = self.openat2(dirfd, name, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return os.getxattr(fd, attribute)
        except OSError as e:
            raise from_os_error(e) from None
        finally:
            self.close(fd)

    def listxattr(self, dirfd: int, name: bytes) -> list[bytes]:
        """Names of the extended attributes of ``name`` itself."""
        got = self._xattr_list(SYS_LISTXATTRAT, dirfd, name, AT_SYMLINK_NOFOLLOW,
                               self._address, BUFFER_BYTES)
        if got >= 0:
            text = ctypes.string_at(self._address, got)
            return [part for part in text.split(b"\0") if part]
        number = ctypes.get_errno()
        if number != ENOSYS_NR:
            raise error_of(number)
        fd = self.openat2(dirfd, name, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return [os.fsencode(part) for part in os.listxattr(fd)]
        except OSError as e:
            raise from_os_error(e) from None
        finally:
            self.close(fd)

    def setxattr(self, dirfd: int, name: bytes, attribute: bytes, value: bytes, flags: int) -> None:
        """Set an extended attribute of ``name`` itself."""
        how = _XATTR_ARGS.pack(_address_of(value), len(value), flags)
        if self._xattr_value(SYS_SETXATTRAT, dirfd, name, AT_SYMLINK_NOFOLLOW, attribute,
                             _address_of(how), len(how)) == 0:
            return
        number = ctypes.get_errno()
        if number != ENOSYS_NR:
            raise error_of(number)
        fd = self.openat2(dirfd, name, os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.setxattr(fd, attribute, value, flags)
        except OSError as e:
            raise from_os_error(e) from None
        finally:
            self.close(fd)

    def removexattr(self, dirfd: int, name: bytes, attribute: bytes) -> None:
        """Remove an extended attribute of ``name`` itself."""
        if self._xattr_remove(SYS_REMOVEXATTRAT, dirfd, name, AT_SYMLINK_NOFOLLOW, attribute) == 0:
            return
        number = ctypes.get_errno()
        if number != ENOSYS_NR:
            raise error_of(number)
        fd = self.openat2(dirfd, name, os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.removexattr(fd, attribute)
        except OSError as e:
            raise from_os_error(e) from None
        finally:
            self.close(fd)


def _address_of(data: bytes) -> int | None:
    """Where the bytes of ``data`` are, for a struct; the caller keeps ``data`` alive."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value


def _last_error() -> LinuxError:
    """The exception for the call that just failed; our descriptor limit is the guest's ENFILE."""
    number = ctypes.get_errno()
    if number == EMFILE_NR:
        return ENFILE("the Sentry is out of descriptors")
    return error_of(number)


def _attributes(fields: tuple[int, ...]) -> Attributes:
    """statx(2)'s struct, unpacked, as attributes; ``dev`` is the host's."""
    result = Attributes()
    result.blocksize = fields[1]
    result.nlink = fields[3]
    result.uid = fields[4]
    result.gid = fields[5]
    result.mode = fields[6]
    result.ino = fields[8]
    result.size = fields[9]
    result.blocks = fields[10]
    result.atime_ns = fields[12] * 1_000_000_000 + fields[13]
    result.btime_ns = fields[15] * 1_000_000_000 + fields[16]
    result.ctime_ns = fields[18] * 1_000_000_000 + fields[19]
    result.mtime_ns = fields[21] * 1_000_000_000 + fields[22]
    result.rdev = os.makedev(fields[24], fields[25])
    result.dev = os.makedev(fields[26], fields[27])
    return result
