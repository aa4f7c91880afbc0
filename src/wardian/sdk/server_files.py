"""Files of the sandbox for the API: the server's half of ``sdk.operations``.

Every call goes through the sandbox's own VFS, as its pid 1: root inside, and no more than that
outside. Only regular files and directories can be opened; nothing here waits.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from wardian.sdk.wire import Fields, Message
from wardian.sentry.errno import (
    EAGAIN,
    EBADF,
    EEXIST,
    EINVAL,
    EIO,
    EISDIR,
    EMFILE,
    ENOENT,
    ENOTDIR,
    LinuxError,
)
from wardian.sentry.kernel.task import Task
from wardian.sentry.vfs import namei, names
from wardian.sentry.vfs.buffers import BytesSink, BytesSource
from wardian.sentry.vfs.file import (
    O_CREAT,
    O_DIRECTORY,
    O_NONBLOCK,
    O_RDONLY,
    O_TRUNC,
    O_WRONLY,
    File,
)
from wardian.sentry.vfs.inode import S_IFDIR, S_IFMT, S_IFREG, AttributeChange
from wardian.sentry.vfs.namei import AT_FDCWD
from wardian.sentry.vfs.open import open_path

MAX_HANDLES = 256
MAX_NAMES = 4096
"""In one answer."""
MAX_READ = 1 << 20
NEW_FILE = 0o644
NEW_DIRECTORY = 0o755

KINDS = {0o100000: "file", 0o040000: "directory", 0o120000: "link"}


class Files:
    """Open handles, and what is done with them and with paths."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.handles: dict[int, File] = {}
        self.last = 0
        self.operations: dict[str, Callable[[Message], Fields | Message]] = {
            "open": self.open,
            "read": self.read,
            "write": self.write,
            "list": self.list,
            "close-file": self.close,
            "stat": self.stat,
            "remove": self.remove,
        }

    def close_all(self) -> None:
        """The sandbox ends."""
        for file in self.handles.values():
            file.drop()
        self.handles.clear()

    # -- handles -----------------------------------------------------------------------------------
    def open(self, message: Message) -> Fields:
        """A handle on a file or directory."""
        if len(self.handles) >= MAX_HANDLES:
            raise EMFILE("too many files are open at once")
        path, mode = path_of(message.fields), message.fields["mode"]
        if mode == "w":
            file = self.open_to_write(path, message.fields["bits"])
        else:
            wanted = S_IFDIR if mode == "d" else S_IFREG
            check_kind(namei.resolve(self.task, AT_FDCWD, path).inode.mode, wanted)
            flags = O_RDONLY | O_NONBLOCK | (O_DIRECTORY if mode == "d" else 0)
            file = open_path(self.task, AT_FDCWD, path, flags, 0)
        self.last += 1
        self.handles[self.last] = file.hold()
        return {"handle": self.last}

    def open_to_write(self, path: bytes, bits: int | None) -> File:
        """A new or emptied file; the directories on the way are made when missing."""
        try:
            check_kind(namei.resolve(self.task, AT_FDCWD, path).inode.mode, S_IFREG)
        except ENOENT:
            self.make_directories(path.rpartition(b"/")[0])
        flags = O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK
        file = open_path(self.task, AT_FDCWD, path, flags, NEW_FILE if bits is None else bits)
        if bits is not None and file.inode is not None:
            change = AttributeChange()
            change.mode = bits & 0o7777
            file.inode.setattr(change)
        return file

    def make_directories(self, path: bytes) -> None:
        """mkdir -p."""
        at = path.find(b"/", 1)
        while at != -1:
            self.make_directory(path[:at])
            at = path.find(b"/", at + 1)
        if path:
            self.make_directory(path)

    def make_directory(self, path: bytes) -> None:
        try:
            names.mkdir(self.task, AT_FDCWD, path, NEW_DIRECTORY)
        except EEXIST:
            pass

    def handle(self, message: Message) -> File:
        """The open file that the message means."""
        file = self.handles.get(message.fields["handle"])
        if file is None:
            raise EBADF("no such handle")
        return file

    def close(self, message: Message) -> Fields:
        """Give a handle back."""
        file = self.handle(message)
        del self.handles[message.fields["handle"]]
        file.drop()
        return {}

    # -- contents ----------------------------------------------------------------------------------
    def read(self, message: Message) -> Message:
        """The next bytes."""
        file = self.handle(message)
        sink = BytesSink(min(message.fields["count"], MAX_READ))
        got = file.read(sink, file.offset)
        if got < 0:
            raise EAGAIN("nothing to read now")
        file.offset += got
        return Message({}, payload=sink.data)

    def write(self, message: Message) -> Fields:
        """The next bytes, all of them."""
        file = self.handle(message)
        source = BytesSource(message.payload)
        while source.left:
            written = file.write(source, file.offset)
            if written <= 0:
                raise EIO("cannot be written")
            file.offset += written
        return {}

    def list(self, message: Message) -> Fields:
        """The next names of a directory; none at the end."""
        file = self.handle(message)
        found: list[str] = []
        while len(found) < MAX_NAMES:
            batch = file.readdir(file.offset)
            if not batch:
                break
            found += [os.fsdecode(entry.name) for entry in batch if entry.name not in (b".", b"..")]
            file.offset = batch[-1].position
        return {"names": found}

    # -- names -------------------------------------------------------------------------------------
    def stat(self, message: Message) -> Fields:
        """What is at a path; an empty kind for nothing."""
        try:
            place = namei.resolve(
                self.task, AT_FDCWD, path_of(message.fields), message.fields["follow"]
            )
        except (ENOENT, ENOTDIR):
            return {"kind": ""}
        return {"kind": KINDS.get(place.inode.mode & S_IFMT, "special")}

    def remove(self, message: Message) -> Fields:
        """A file, or an empty directory."""
        path = path_of(message.fields)
        try:
            names.unlink(self.task, AT_FDCWD, path)
        except EISDIR:
            names.rmdir(self.task, AT_FDCWD, path)
        return {}


def path_of(fields: Fields) -> bytes:
    """The path a message names."""
    path = fields["path"]
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
        raise EINVAL("bad path")
    return os.fsencode(path)


def check_kind(mode: int, wanted: int) -> None:
    """Only what can be read and written without waiting."""
    kind = mode & S_IFMT
    if kind == wanted:
        return
    if wanted == S_IFDIR:
        raise ENOTDIR("not a directory")
    if kind == S_IFDIR:
        raise EISDIR("a directory")
    raise EINVAL("neither a regular file nor a directory")


def error_of(error: LinuxError, fields: Fields) -> Fields:
    """A failed operation as the client raises it."""
    return {"kind": "os", "errno": error.number, "path": fields.get("path")}
