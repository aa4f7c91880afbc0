"""Opening and reading program files, for exec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EACCES, EIO, ELOOP, ENOENT, ENOTDIR, LinuxError
from wardian.sentry.vfs import namei, permissions
from wardian.sentry.vfs.buffers import BytesSink
from wardian.sentry.vfs.dentry import MS_NOEXEC, Path
from wardian.sentry.vfs.file import O_RDONLY, File
from wardian.sentry.vfs.inode import S_IFMT, S_IFREG

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

AT_FDCWD: Final = -100


class PathClosed(EACCES):
    """The program may be there or not: the way to it is closed."""


class InterpreterMissing(ENOENT):
    """The program is there, but not what it names to run it; execve(2) says ENOENT for both."""


def open_interpreter(task: Task, name: bytes) -> File:
    """:func:`open_exec` of what a ``#!`` line or PT_INTERP names; the failure's words say which."""
    text = name.decode("utf-8", "backslashreplace")
    try:
        return open_exec(task, AT_FDCWD, name)
    except (ENOENT, ENOTDIR):
        raise InterpreterMissing(f"its interpreter {text} does not exist") from None
    except LinuxError as error:
        error.words = f"its interpreter {text}: {error.words or error.name}"
        raise


def check_executable(task: Task, path: Path) -> None:
    """EACCES unless ``task`` may execute the regular file at ``path`` (execve(2))."""
    if path.inode.is_dir:
        raise EACCES("it is a directory")
    if path.inode.mode & S_IFMT != S_IFREG:
        raise EACCES("not a regular file")
    if path.mount.flags & MS_NOEXEC:
        raise EACCES("the file system is mounted noexec")
    permissions.check(task.credentials, path.inode, permissions.MAY_EXEC)


def open_exec(task: Task, dirfd: int, name: bytes, follow: bool = True) -> File:
    """Open a program or interpreter for execution: ENOENT, EACCES, ELOOP and others.

    Read permission is not needed (execve(2)). The caller holds the result.
    """
    if not name:
        raise ENOENT("empty path")
    try:
        path = namei.resolve(task, dirfd, name, follow)
    except EACCES:
        raise PathClosed("a directory on the way may not be searched") from None
    if path.inode.is_symlink:
        raise ELOOP("a symbolic link, and AT_SYMLINK_NOFOLLOW")
    return open_path_exec(task, path)


def open_exec_again(task: Task, opened: File) -> File:
    """Like :func:`open_exec`, for what a descriptor shows: execveat(2) with AT_EMPTY_PATH."""
    if opened.path is not None:
        return open_path_exec(task, opened.path)
    inode = opened.inode
    if inode is None or inode.mode & S_IFMT != S_IFREG:
        raise EACCES("not a regular file")
    permissions.check(task.credentials, inode, permissions.MAY_EXEC)
    return inode.open(task, O_RDONLY)


def open_path_exec(task: Task, path: Path) -> File:
    """Like :func:`open_exec`, for a place that is known already (execveat(2) of a descriptor)."""
    check_executable(task, path)
    file = path.inode.open(task, O_RDONLY)
    file.path = path
    return file


def file_size(file: File) -> int:
    """st_size of an open file."""
    return file.inode.getattr().size if file.inode is not None else 0


def read_at(file: File, offset: int, count: int) -> bytes:
    """Up to ``count`` bytes at ``offset``, fewer only at the end of the file; EIO."""
    sink = BytesSink(count)
    while sink.left > 0:
        n = file.read(sink, offset)
        if n == 0:
            break
        if n < 0:
            raise EIO("a program file must not block")
        offset += n
    return sink.data
