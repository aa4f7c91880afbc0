"""One guest address space, as far as the Sentry has to know it (design D2).

The host process is the truth about what is mapped where: most mmap(2), munmap(2) and mprotect(2)
calls never reach the Sentry. Kept here is what the host cannot know: which guest file a host inode
belongs to, where exec placed the program, its arguments and its stack, and how many tasks share it.
``mm.image`` fills a new one at exec; ``fork`` copies; ``fs.proc_pid`` shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.platform.layout import PATCH_AREA_SIZE
from wardian.sentry.mm.file_mappings import FileMappings
from wardian.sentry.mm.locked import LockedRanges

if TYPE_CHECKING:
    from wardian.platform.interface import HostProcess
    from wardian.sentry.vfs.dentry import Path

PAGE_SIZE: Final = 4096
GUEST_BOTTOM: Final = 0x1_0000
"""vm.mmap_min_addr."""
PATCH_ROOM: Final = PATCH_AREA_SIZE + PAGE_SIZE
"""What is reserved next to a program: an area for the engine, and a page for ``mm.alternatives``,
which is the page closest to the program."""


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
        self.patch_low = 0  # such room below the program; there is another at guard_low

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
        return 0 <= start - self.patch_low < PATCH_ROOM and self.patch_low > 0


class Memory:
    """An address space shared by the tasks that clone(2) with CLONE_VM made."""

    def __init__(self, process: HostProcess) -> None:
        self.process = process
        self.users = 1  # tasks; the one it is made for is counted already
        self.exe: Path | None = None
        self.layout = Layout()
        self.auxv = b""
        self.file_mappings = FileMappings()
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
            self.file_mappings = FileMappings()  # a zombie keeps no files
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
        child.file_mappings = self.file_mappings.copy()
        return child


def page_down(address: int) -> int:
    """The start of the page that holds ``address``."""
    return address & -PAGE_SIZE


def page_up(address: int) -> int:
    """``address`` rounded up to a page boundary."""
    return (address + PAGE_SIZE - 1) & -PAGE_SIZE
