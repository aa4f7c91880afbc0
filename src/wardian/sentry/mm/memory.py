"""One guest address space, as far as the Sentry has to know it (design D2).

The host process is the truth about what is mapped where: most mmap(2), munmap(2) and mprotect(2)
calls never reach the Sentry. Kept here is what the host cannot know: which guest file a host inode
belongs to, where exec placed the program, its arguments and its stack, and how many tasks share it.
``mm.image`` fills a new one at exec; ``fork`` copies; ``fs.proc_pid`` shows it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from wardian.platform.layout import PATCH_AREA_SIZE
from wardian.sentry.mm.locked import LockedRanges

if TYPE_CHECKING:
    from wardian.platform.interface import HostProcess
    from wardian.sentry.vfs.dentry import Path

PAGE_SIZE: Final = 4096
GUEST_BOTTOM: Final = 0x1_0000
"""vm.mmap_min_addr."""
MAX_FILE_MAPPINGS: Final = 65530
"""Records kept, as vm.max_map_count bounds the mappings themselves."""


class Layout:
    """Where exec placed things: the numbers of proc_pid_stat(5), and struct mm_struct's."""

    def __init__(self) -> None:
        self.start_code = 0
        self.end_code = 0
        self.start_data = 0
        self.end_data = 0
        self.start_brk = 0
        self.start_stack = 0
        self.stack_low = 0  # the stack's mapping, for "[stack]" in /proc/<pid>/maps
        self.stack_high = 0
        self.guard_low = 0  # [guard_low, stack_low) and all above stack_high is reserved
        self.arg_start = 0
        self.arg_end = 0
        self.env_start = 0
        self.env_end = 0
        self.vdso = 0
        self.patch_low = 0  # the engine's, next to the program; another is at guard_low

    def copy(self) -> Layout:
        """The same numbers, for fork or before prctl(PR_SET_MM) changes one."""
        new = Layout()
        new.start_code, new.end_code = self.start_code, self.end_code
        new.start_data, new.end_data = self.start_data, self.end_data
        new.start_brk, new.start_stack = self.start_brk, self.start_stack
        new.stack_low, new.stack_high = self.stack_low, self.stack_high
        new.arg_start, new.arg_end = self.arg_start, self.arg_end
        new.env_start, new.env_end = self.env_start, self.env_end
        new.guard_low = self.guard_low
        new.vdso = self.vdso
        new.patch_low = self.patch_low
        return new

    def is_reserved(self, start: int, prot: str) -> bool:
        """True for what exec mapped without access around the stack, and for the engine's own
        text in it; no one is shown these."""
        if prot[1] == "w":
            return False
        if self.guard_low <= start < self.stack_low or start >= self.stack_high > 0:
            return True
        return 0 <= start - self.patch_low < PATCH_AREA_SIZE and self.patch_low > 0


class FileMapping:
    """A guest file that was mapped, found again by its host inode.

    The host chooses most addresses and unmaps without telling, so ``start`` (0: chosen by the host)
    and ``length`` say what was asked for; ``dev``/``ino`` name the host inode in the host's list.
    """

    def __init__(
        self, start: int, length: int, path: Path | None, offset: int, shared: bool
    ) -> None:
        self.start = start
        self.length = length
        self.path = path
        self.offset = offset
        self.shared = shared
        self.dev = 0
        self.ino = 0
        self.name = b""  # shown when there is no path: memfd, shared anonymous memory


class Memory:
    """An address space shared by the tasks that clone(2) with CLONE_VM made."""

    def __init__(self, process: HostProcess) -> None:
        self.process = process
        self.users = 1  # tasks; the one it is made for is counted already
        self.exe: Path | None = None
        self.layout = Layout()
        self.auxv = b""
        self.file_mappings: list[FileMapping] = []
        self.locked = LockedRanges()  # mlock(2), against RLIMIT_MEMLOCK

    def hold(self) -> Memory:
        """One more task shares this space (CLONE_VM)."""
        self.users += 1
        return self

    def drop(self) -> bool:
        """A task left; True when it was the last. Ending the host process is the engine's part."""
        self.users -= 1
        if self.users == 0:
            self.set_exe(None)
        return self.users == 0

    def set_exe(self, path: Path | None) -> None:
        """The program it runs, which nobody may open for writing meanwhile (ETXTBSY)."""
        if path is not None:
            path.inode.deny_write_access()
        if self.exe is not None:
            self.exe.inode.allow_write_access()
        self.exe = path

    def fork(self, process: HostProcess) -> Memory:
        """The child's copy after fork(2); locks are not inherited (mlock(2))."""
        child = Memory(process)
        child.set_exe(self.exe)
        child.layout = self.layout.copy()
        child.auxv = self.auxv
        child.file_mappings = list(self.file_mappings)
        return child

    def add_file_mapping(self, mapping: FileMapping, host_fd: int) -> None:
        """Remember ``mapping`` of the open ``host_fd``, instead
        of an older one of the same file."""
        if host_fd >= 0:
            status = os.fstat(host_fd)
            mapping.dev, mapping.ino = status.st_dev, status.st_ino
        records = self.file_mappings
        for index in range(len(records)):
            if records[index].ino == mapping.ino and records[index].dev == mapping.dev:
                records[index] = mapping
                return
        if len(records) >= MAX_FILE_MAPPINGS:
            del records[0]
        records.append(mapping)

    def find_file_mapping(self, dev: int, ino: int) -> FileMapping | None:
        """The record of a host inode.

        On some host file systems (overlay, btrfs) the device number in the list of mappings is not
        the one stat(2) gives; then the inode number alone decides.
        """
        by_inode: FileMapping | None = None
        for record in self.file_mappings:
            if record.ino == ino and ino != 0:
                if record.dev == dev:
                    return record
                by_inode = record
        return by_inode


def page_down(address: int) -> int:
    """The start of the page that holds ``address``."""
    return address & -PAGE_SIZE


def page_up(address: int) -> int:
    """``address`` rounded up to a page boundary."""
    return (address + PAGE_SIZE - 1) & -PAGE_SIZE
