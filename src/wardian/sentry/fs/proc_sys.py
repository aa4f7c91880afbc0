"""/proc/sys (sysctl(8)): kernel parameters, as a table.

Most values are texts that root may change; they are kept in :class:`Sysctls` for whoever wants to
honour them. A few are computed or change the kernel: those have a class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.errno import EPERM
from wardian.sentry.fs.pseudo import FixedDir, PseudoFS, TextInode
from wardian.sentry.kernel.credentials import CAP_SYS_ADMIN
from wardian.sentry.kernel.uts import NAME_LENGTH
from wardian.sentry.sysctl import Sysctls

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task


class SysctlText(TextInode):
    """A value of the table; numbers stay numbers when written."""

    def __init__(self, fs: PseudoFS, name: str, permissions: int, values: Sysctls) -> None:
        super().__init__(fs, fs.next_ino(), permissions)
        self.parameter = name
        self.values = values

    def render(self) -> bytes:
        return self.values.get(self.parameter).encode() + b"\n"

    def store(self, task: Task, data: bytes) -> None:
        if not task.credentials.has_cap(CAP_SYS_ADMIN):
            raise EPERM("kernel parameters are set with CAP_SYS_ADMIN")
        text = data.split(b"\0")[0].strip().decode("ascii", "replace")
        self.values.set(self.parameter, text)


class HostnameText(TextInode):
    """kernel/hostname and kernel/domainname, as sethostname(2)."""

    def __init__(self, fs: PseudoFS, domain: bool) -> None:
        super().__init__(fs, fs.next_ino(), 0o644)
        self.domain = domain

    def render(self) -> bytes:
        uts = self.fs.kernel.uts
        return (uts.domainname if self.domain else uts.nodename) + b"\n"

    def store(self, task: Task, data: bytes) -> None:
        if not task.credentials.has_cap(CAP_SYS_ADMIN):
            raise EPERM("names are set with CAP_SYS_ADMIN")
        name = data.split(b"\n")[0].split(b"\0")[0][:NAME_LENGTH]
        if self.domain:
            self.fs.kernel.uts.domainname = name
        else:
            self.fs.kernel.uts.nodename = name


class UtsText(TextInode):
    """kernel/ostype, osrelease and version."""

    def __init__(self, fs: PseudoFS, field: str) -> None:
        super().__init__(fs, fs.next_ino(), 0o444)
        self.field = field

    def render(self) -> bytes:
        uts = self.fs.kernel.uts
        if self.field == "ostype":
            return uts.sysname + b"\n"
        if self.field == "osrelease":
            return uts.release + b"\n"
        return uts.version + b"\n"


class UuidText(TextInode):
    """kernel/random/uuid: a fresh one each time; boot_id: the same one."""

    def __init__(self, fs: PseudoFS, fixed: bool) -> None:
        super().__init__(fs, fs.next_ino(), 0o444)
        self.fixed = format_uuid(fs.kernel.clock.random(16)) if fixed else b""

    def render(self) -> bytes:
        return self.fixed or format_uuid(self.fs.kernel.clock.random(16))


def format_uuid(data: bytes) -> bytes:
    """16 random bytes as a version 4 UUID line."""
    raw = bytearray(data)
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}\n".encode()


class FileCountText(TextInode):
    """fs/file-nr: allocated, free, maximum."""

    def __init__(self, fs: PseudoFS) -> None:
        super().__init__(fs, fs.next_ino(), 0o444)

    def render(self) -> bytes:
        count = 0
        for group in self.fs.kernel.pids.groups():
            task = group.any_task()
            if task is not None:
                count += len(task.files.fds())
        return b"%d\t0\t%s\n" % (count, self.fs.kernel.sysctls.get("fs/file-max").encode())


def build_sys(fs: PseudoFS, kernel: Kernel) -> FixedDir:
    """The directory /proc/sys."""
    root = FixedDir(fs)
    for name, permissions in kernel.sysctls.names():
        add(root, name, SysctlText(fs, name, permissions, kernel.sysctls))
    add(root, "kernel/hostname", HostnameText(fs, False))
    add(root, "kernel/domainname", HostnameText(fs, True))
    for field in ("ostype", "osrelease", "version"):
        add(root, "kernel/" + field, UtsText(fs, field))
    add(root, "kernel/random/uuid", UuidText(fs, False))
    add(root, "kernel/random/boot_id", UuidText(fs, True))
    add(root, "fs/file-nr", FileCountText(fs))
    return root


def add(root: FixedDir, name: str, inode: TextInode) -> None:
    """Enter ``inode`` at a path below ``root``."""
    parts = name.encode().split(b"/")
    directory = root
    for part in parts[:-1]:
        directory = directory.subdirectory(part)
    directory.add(parts[-1], inode)
