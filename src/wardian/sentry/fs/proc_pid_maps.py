"""maps, smaps and smaps_rollup of /proc/<pid> (proc_pid_maps(5), proc_pid_smaps(5)): the host's
list of mappings under the guest's own names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.platform.interface import HostMapping
from wardian.sentry.fs.devices import dev_major, dev_minor
from wardian.sentry.fs.proc_pid_status import dead
from wardian.sentry.vfs.namei import path_text

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

VDSO_LENGTH: Final = 0x2000
KB: Final = 1024


class MapLine:
    """One line of maps."""

    def __init__(self, entry: HostMapping) -> None:
        self.start = entry.start
        self.end = entry.end
        self.prot = entry.prot
        self.offset = 0
        self.dev = 0
        self.ino = 0
        self.name = b""

    def continues_in(self, other: MapLine) -> bool:
        """Take in the next line when both show one piece of a file: the engine has patched what
        lies between (mm.alternatives, call sites)."""
        here = (self.prot, self.dev, self.ino, self.name)
        there = (other.prot, other.dev, other.ino, other.name)
        if not self.ino or self.end != other.start or here != there:
            return False
        if self.offset + self.end - self.start != other.offset:
            return False
        self.end = other.end
        return True

    def text(self) -> bytes:
        """The line without its newline."""
        head = (
            f"{self.start:08x}-{self.end:08x} {self.prot} {self.offset:08x} "
            f"{dev_major(self.dev):02x}:{dev_minor(self.dev):02x} {self.ino} "
        ).encode()
        return head.ljust(73) + self.name if self.name else head


def map_lines(task: Task) -> list[MapLine]:
    """Every mapping with the guest's own names; host inodes are not shown."""
    memory = task.memory
    layout = memory.layout
    heap_start, heap_end = memory.process.brk_range()
    lines: list[MapLine] = []
    for entry in memory.process.maps():
        if layout.is_reserved(entry.start, entry.prot):
            continue
        line = MapLine(entry)
        if entry.ino:
            name_file(line, entry, task)
        elif layout.stack_low <= entry.start < layout.stack_high:
            line.name = b"[stack]"
        elif heap_start <= entry.start and entry.end <= heap_end:
            line.name = b"[heap]"
        elif entry.name == "[vdso]":
            line.name = b"[vdso]"
        if not (lines and lines[-1].continues_in(line)):
            lines.append(line)
    if layout.vdso and not any(line.name == b"[vdso]" for line in lines):
        end = layout.vdso + VDSO_LENGTH
        line = MapLine(HostMapping(layout.vdso, end, "r-xp", 0, "00:00", 0, ""))
        line.name = b"[vdso]"
        lines.append(line)
    return lines


def name_file(line: MapLine, entry: HostMapping, task: Task) -> None:
    """Give a file's mapping the guest's name, device and inode."""
    record = task.memory.file_mappings.find(entry.device(), entry.ino)
    if record is None:
        return
    line.offset = entry.offset
    line.name = record.name
    if record.path is not None:
        line.name = path_text(record.path, task.fs.root).replace(b"\n", b"\\012")
        inode = record.path.dentry.inode
        if inode is not None:
            line.dev, line.ino = inode.sb.dev, inode.ino


def maps(task: Task) -> bytes:
    """The mappings."""
    if dead(task):
        return b""
    return b"".join([line.text() + b"\n" for line in map_lines(task)])


SMAPS_ROWS: Final = (
    "Rss",
    "Pss",
    "Pss_Dirty",
    "Shared_Clean",
    "Shared_Dirty",
    "Private_Clean",
    "Private_Dirty",
    "Referenced",
    "Anonymous",
    "KSM",
    "LazyFree",
    "AnonHugePages",
    "ShmemPmdMapped",
    "FilePmdMapped",
    "Shared_Hugetlb",
    "Private_Hugetlb",
    "Swap",
    "SwapPss",
    "Locked",
)


def smaps(task: Task) -> bytes:
    """The mappings with sizes; residence per mapping is not known and shown as 0."""
    if dead(task):
        return b""
    rest = "".join([f"{name + ':':<16}{0:>8} kB\n" for name in SMAPS_ROWS])
    parts: list[bytes] = []
    for line in map_lines(task):
        size = (line.end - line.start) // KB
        parts.append(
            line.text()
            + b"\n"
            + (
                f"{'Size:':<16}{size:>8} kB\n{'KernelPageSize:':<16}{4:>8} kB\n"
                f"{'MMUPageSize:':<16}{4:>8} kB\n{rest}THPeligible:           0\n"
                f"VmFlags: {flag_words(line.prot)}\n"
            ).encode()
        )
    return b"".join(parts)


def flag_words(prot: str) -> str:
    """VmFlags of a protection."""
    words = [word for letter, word in (("r", "rd"), ("w", "wr"), ("x", "ex")) if letter in prot]
    return " ".join([*words, *(["sh"] if prot.endswith("s") else []), "mr", "mw", "me"])


def smaps_rollup(task: Task) -> bytes:
    """Sums of smaps."""
    if dead(task):
        return b""
    resident = task.memory.process.resident_bytes() // KB
    head = b"00000000-700000000000 ---p 00000000 00:00 0".ljust(73) + b"[rollup]\n"
    rows: list[str] = []
    for name in SMAPS_ROWS:
        counted = name in ("Rss", "Pss", "Pss_Dirty", "Private_Dirty", "Referenced", "Anonymous")
        rows.append(f"{name + ':':<16}{resident if counted else 0:>8} kB\n")
    return head + "".join(rows).encode()
