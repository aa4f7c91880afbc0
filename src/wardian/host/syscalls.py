"""Host system calls that Python has no name for, for the launcher and the doctor.

:func:`syscall` makes any call; the named functions below say what each is for. The C core's
``host_syscall`` is used when it is built; ctypes (some 6 ms to import) otherwise. Not for hot
paths.

Buffers the host reads are ``bytes``, buffers it fills are ``bytearray``. Failures are ``OSError``.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SysArg = int | bytes | bytearray | None


def _by_ctypes() -> Callable[..., int]:
    import ctypes

    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long

    def call(number: int, *args: SysArg) -> int:
        converted: list[object] = []
        for arg in args:
            if isinstance(arg, bytearray):
                converted.append((ctypes.c_char * len(arg)).from_buffer(arg))
            elif isinstance(arg, bytes):
                converted.append(ctypes.c_char_p(arg))
            else:
                converted.append(ctypes.c_long(arg or 0))
        result = int(function(ctypes.c_long(number), *converted))
        if result == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    return call


def _from_core(name: str) -> Callable[..., int] | None:
    try:
        from wardian import _core
    except ImportError:
        return None
    found: Callable[..., int] | None = getattr(_core, name, None)
    return found


_found: list[Callable[..., int]] = []


def syscall(number: int, *args: SysArg) -> int:
    """syscall(2) with up to six arguments; ``None`` is a null pointer."""
    if not _found:
        _found.append(_from_core("host_syscall") or _by_ctypes())
    return _found[0](number, *args)


# amd64 numbers (arch/x86/entry/syscalls/syscall_64.tbl)
NR_RT_SIGACTION = 13
NR_CAPGET = 125
NR_CAPSET = 126
NR_PIVOT_ROOT = 155
NR_PRCTL = 157
NR_MOUNT = 165
NR_UMOUNT2 = 166
NR_UNSHARE = 272
NR_SETNS = 308
NR_PROCESS_VM_READV = 310
NR_SECCOMP = 317
NR_OPEN_TREE = 428
NR_MOVE_MOUNT = 429
NR_FSOPEN = 430
NR_FSCONFIG = 431
NR_FSMOUNT = 432
NR_OPENAT2 = 437
NR_MOUNT_SETATTR = 442
NR_LANDLOCK_CREATE_RULESET = 444
NR_LANDLOCK_ADD_RULE = 445
NR_LANDLOCK_RESTRICT_SELF = 446
NR_MSEAL = 462

CLONE_NEWNS = 0x0002_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

MS_REC = 0x4000
MS_PRIVATE = 0x4_0000
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8

SIGSET_BYTES = 8

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_GET_ACTION_AVAIL = 2
SECCOMP_GET_NOTIF_SIZES = 3
SECCOMP_FILTER_FLAG_TSYNC = 1
SECCOMP_FILTER_FLAG_LOG = 2
SECCOMP_FILTER_FLAG_NEW_LISTENER = 8

_OPEN_TREE_CLONE = 1
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_MOVE_MOUNT_F_EMPTY_PATH = 4
_FSMOUNT_CLOEXEC = 1


def path(name: str | bytes) -> bytes:
    """A path as the host wants it."""
    return os.fsencode(name) + b"\0"


def prctl(option: int, arg2: int = 0, arg3: int = 0) -> int:
    """prctl(2)."""
    return syscall(NR_PRCTL, option, arg2, arg3, 0, 0)


def ignore_signal(number: int, ignored: bool) -> None:
    """rt_sigaction(2): SIG_IGN or SIG_DFL for any signal, those that glibc keeps for itself (32 and
    33) too, which signal.signal() refuses."""
    action = struct.pack("<4Q", ignored, 0, 0, 0)  # SIG_IGN is 1: asm/signal.h
    syscall(NR_RT_SIGACTION, number, action, None, SIGSET_BYTES)


def unshare(flags: int) -> None:
    """unshare(2)."""
    syscall(NR_UNSHARE, flags)


def setns(fd: int, kind: int) -> None:
    """setns(2)."""
    syscall(NR_SETNS, fd, kind)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    syscall(NR_PIVOT_ROOT, path(new_root), path(put_old))


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    syscall(NR_MOUNT, path(source), path(target), path(kind), flags, path(data))


def umount2(target: str, flags: int) -> None:
    """umount2(2)."""
    syscall(NR_UMOUNT2, path(target), flags)


def clone_tree(directory: str | bytes, recursive: bool = True) -> int:
    """open_tree(2) with OPEN_TREE_CLONE: a descriptor of a copy that is mounted nowhere."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return syscall(NR_OPEN_TREE, AT_FDCWD, path(directory), flags)


def mount_setattr(fd: int, attr_set: int, recursive: bool = True) -> None:
    """mount_setattr(2) of the tree that ``fd`` stands for."""
    attributes = struct.pack("<4Q", attr_set, 0, 0, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    syscall(NR_MOUNT_SETATTR, fd, b"\0", flags, attributes, len(attributes))


def new_tmpfs(size: str, attributes: int) -> int:
    """A descriptor of a new tmpfs that is mounted nowhere."""
    return _new_mount(b"tmpfs", {b"size": size.encode()}, attributes)


def new_proc(attributes: int) -> int:
    """A descriptor of a new proc, of the caller's pid namespace, with only processes in it."""
    return _new_mount(b"proc", {b"subset": b"pid"}, attributes)


def _new_mount(kind: bytes, options: dict[bytes, bytes], attributes: int) -> int:
    """fsopen(2), fsconfig(2), fsmount(2)."""
    context = syscall(NR_FSOPEN, kind + b"\0", 1)
    try:
        for key, value in options.items():
            syscall(NR_FSCONFIG, context, _FSCONFIG_SET_STRING, key + b"\0", value + b"\0", 0)
        syscall(NR_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return syscall(NR_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


def attach(fd: int, target: str) -> None:
    """Mount at ``target`` what ``fd`` stands for (move_mount(2))."""
    syscall(NR_MOVE_MOUNT, fd, b"\0", AT_FDCWD, path(target), _MOVE_MOUNT_F_EMPTY_PATH)


def install_filter(program: bytes, flags: int = 0) -> int:
    """seccomp(2) SECCOMP_SET_MODE_FILTER; the listener's descriptor when ``flags`` ask for one."""
    memory = bytearray(program)  # stays in place for the length of the call
    address = address_of(memory)
    fprog = struct.pack("<HxxxxxxQ", len(program) // 8, address)
    return syscall(NR_SECCOMP, SECCOMP_SET_MODE_FILTER, flags, fprog)


def address_of(buffer: bytearray) -> int:
    """Where a buffer lies, for structures that point to it. The caller keeps it alive and
    unresized."""
    function = _from_core("address_of")
    if function:
        return function(buffer)
    import ctypes

    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))
