"""The text files of /proc/<pid> (proc(5)): one function per file, from a task to its text.

Functions get a live task, or the dead leader of a zombie: then memory, files and paths are not
looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.platform.interface import HostMapping
from wardian.sentry.fs.devices import dev_major, dev_minor
from wardian.sentry.kernel.rlimits import RLIM_INFINITY
from wardian.sentry.kernel.signals import NSIG, SIG_DFL, SIG_IGN, bit
from wardian.sentry.mm.sizes import Sizes
from wardian.sentry.vfs.dentry import (
    MS_NOATIME,
    MS_NODEV,
    MS_NODIRATIME,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RELATIME,
    Dentry,
    Mount,
    Path,
)
from wardian.sentry.vfs.namei import path_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.sentry.kernel.task import Task

    Render = Callable[[Task], bytes]

TICK_NS: Final = 10_000_000
TEXT_MAX: Final = 2 << 20  # bytes of arguments or environment shown
VDSO_LENGTH: Final = 0x2000
KB: Final = 1024

LIMIT_ROWS: Final = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
]


# -- state -----------------------------------------------------------------------------------------
def dead(task: Task) -> bool:
    """True when no thread is left whose memory, files and paths could be looked at."""
    return task.exited and not task.group.tasks


def state(task: Task) -> str:
    """The one-letter state of proc_pid_stat(5)."""
    group = task.group
    if group.zombie or task.exited:
        return "Z"
    if group.stopped:
        return "T"
    return "S" if task.parked else "R"


STATE_NAMES: Final = {"R": "running", "S": "sleeping", "T": "stopped", "Z": "zombie"}


def parent_pid(task: Task) -> int:
    """PPid; 0 for init."""
    parent = task.group.parent
    return parent.pid if parent is not None else 0


def signal_sets(task: Task) -> tuple[int, int]:
    """(ignored, caught)."""
    ignored = caught = 0
    for signo in range(1, NSIG + 1):
        handler = task.group.actions.get(signo).handler
        if handler == SIG_IGN:
            ignored |= bit(signo)
        elif handler != SIG_DFL:
            caught |= bit(signo)
    return ignored, caught


def escape_name(name: bytes) -> bytes:
    """A command name inside a line: newline and backslash as Linux escapes them."""
    return name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")


# -- files of every process ------------------------------------------------------------------------
def status(task: Task) -> bytes:
    """Readable status."""
    group, c = task.group, task.credentials
    letter = state(task)
    dead = letter == "Z"
    lines = [f"Umask:\t{task.fs.umask:04o}"] if not dead else []
    lines.append(f"State:\t{letter} ({STATE_NAMES[letter]})")
    lines.append(f"Tgid:\t{group.pid}\nNgid:\t0\nPid:\t{task.tid}\nPPid:\t{parent_pid(task)}")
    lines.append("TracerPid:\t0")
    lines.append(f"Uid:\t{c.uid}\t{c.euid}\t{c.suid}\t{c.fsuid}")
    lines.append(f"Gid:\t{c.gid}\t{c.egid}\t{c.sgid}\t{c.fsgid}")
    lines.append(f"FDSize:\t{0 if dead else fd_size(task)}")
    lines.append("Groups:\t" + "".join([f"{gid} " for gid in c.groups]))
    lines.append(f"NStgid:\t{group.pid}\nNSpid:\t{task.tid}")
    lines.append(f"NSpgid:\t{group.process_group.pgid}\nNSsid:\t{group.session.sid}\nKthread:\t0")
    if not dead:
        lines += status_memory(task)
    lines.append(f"Threads:\t{max(len(group.tasks), 1)}")
    ignored, caught = signal_sets(task)
    signals = task.signals
    queued = len(signals.pending.queue) + len(group.pending.queue)
    lines.append(f"SigQ:\t{queued}/{group.rlimits.soft[11]}")
    for name, mask in (
        ("SigPnd", signals.pending.mask),
        ("ShdPnd", group.pending.mask),
        ("SigBlk", signals.blocked),
        ("SigIgn", ignored),
        ("SigCgt", caught),
        ("CapInh", c.cap_inheritable),
        ("CapPrm", c.cap_permitted),
        ("CapEff", c.cap_effective),
        ("CapBnd", c.cap_bounding),
        ("CapAmb", c.cap_ambient),
    ):
        lines.append(f"{name}:\t{mask:016x}")
    count = len(task.kernel.host_cpu.cpus)
    lines.append(f"NoNewPrivs:\t{int(c.no_new_privs)}\nSeccomp:\t0\nSeccomp_filters:\t0")
    lines.append(f"Cpus_allowed:\t{cpu_mask(count)}\nCpus_allowed_list:\t{cpu_list(count)}")
    lines.append("Mems_allowed:\t00000001\nMems_allowed_list:\t0")
    lines.append("voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0")
    return b"Name:\t" + escape_name(task.name) + b"\n" + ("\n".join(lines) + "\n").encode()


def status_memory(task: Task) -> list[str]:
    """The Vm lines of status."""
    sizes = Sizes(task.memory)
    peak = max(task.group.peak_resident, sizes.resident)
    rows = [
        ("VmPeak", sizes.total),
        ("VmSize", sizes.total),
        ("VmLck", task.memory.locked.total()),
        ("VmPin", 0),
        ("VmHWM", peak),
        ("VmRSS", sizes.resident),
        ("RssAnon", sizes.resident),
        ("RssFile", 0),
        ("RssShmem", 0),
        ("VmData", sizes.data),
        ("VmStk", sizes.stack),
        ("VmExe", sizes.program),
        ("VmLib", sizes.libraries),
        ("VmPTE", 0),
        ("VmSwap", 0),
        ("HugetlbPages", 0),
    ]
    lines = [f"{name}:\t{value // KB:8} kB" for name, value in rows]
    return [*lines, "CoreDumping:\t0", "THP_enabled:\t1"]


def fd_size(task: Task) -> int:
    """Slots allocated: the next multiple of 64, as Linux grows its tables."""
    fds = task.files.fds()
    return max((max(fds) + 64) // 64 * 64, 64) if fds else 64


def cpu_mask(count: int) -> str:
    """Groups of 32 bits, as Cpus_allowed has them."""
    mask, words = (1 << count) - 1, []
    for _ in range((count + 31) // 32):
        words.append(f"{mask & 0xFFFFFFFF:08x}" if mask >> 32 else f"{mask & 0xFFFFFFFF:x}")
        mask >>= 32
    return ",".join(reversed(words))


def cpu_list(count: int) -> str:
    """``0-3``."""
    return "0" if count <= 1 else f"0-{count - 1}"


def stat_of_group(task: Task) -> bytes:
    """/proc/<pid>/stat: times of the whole process."""
    system = task.group.system_time_ns()
    user = max(task.group.cpu_time_ns() - system, 0)
    return stat_line(task, user, system, task.group.start_ns)


def stat_of_task(task: Task) -> bytes:
    """/proc/<pid>/task/<tid>/stat."""
    cpu = task.host.cpu_time_ns() if task.host is not None and not task.exited else 0
    return stat_line(task, cpu, 0, task.start_ns)


def stat_line(task: Task, user_ns: int, system_ns: int, start_ns: int) -> bytes:
    """The 52 fields of proc_pid_stat(5)."""
    group = task.group
    letter = state(task)
    size = resident = 0
    numbers = [0] * 9
    if letter != "Z":
        sizes = Sizes(task.memory)
        size, resident = sizes.total, sizes.resident // 4096
        m = task.memory.layout
        numbers = [
            m.start_code,
            m.end_code,
            m.start_stack,
            m.start_data,
            m.end_data,
            m.start_brk,
            m.arg_start,
            m.arg_end,
            m.env_start,
        ]
    ignored, caught = signal_sets(task)
    session = group.session
    tty, foreground = 0, -1
    if session.tty is not None:
        tty = session.tty.rdev
        foreground = session.tty.foreground.pgid if session.tty.foreground is not None else 0
    start = (start_ns - task.kernel.boot_ns) // TICK_NS
    last = (1 << 31) - 1
    env_end = task.memory.layout.env_end if letter != "Z" else 0
    children_user = group.children_cpu_ns - group.children_system_ns
    text = (
        f") {letter} {parent_pid(task)} {group.process_group.pgid} {session.sid} {tty} {foreground}"
        f" 4194560 0 0 0 0 {user_ns // TICK_NS} {system_ns // TICK_NS}"
        f" {children_user // TICK_NS} {group.children_system_ns // TICK_NS}"
        f" {20 + group.nice} {group.nice} {max(len(group.tasks), 1)} 0 {max(start, 0)} {size}"
        f" {resident} {RLIM_INFINITY} {numbers[0]} {numbers[1]} {numbers[2]} 0 0"
        f" {task.signals.pending.mask & last} {task.signals.blocked & last} {ignored & last}"
        f" {caught & last} 0 0 0 {group.exit_signal} 0 0 0 0 0 0 {numbers[3]} {numbers[4]}"
        f" {numbers[5]} {numbers[6]} {numbers[7]} {numbers[8]} {env_end}"
        f" {group.exit_code if letter == 'Z' else 0}\n"
    )
    return b"%d (" % task.tid + task.name + text.encode()


def statm(task: Task) -> bytes:
    """Sizes in pages."""
    if dead(task):
        return b"0 0 0 0 0 0 0\n"
    sizes = Sizes(task.memory)
    return b"%d %d 0 %d 0 %d 0\n" % (
        sizes.total // 4096,
        sizes.resident // 4096,
        sizes.program // 4096,
        (sizes.data + sizes.stack) // 4096,
    )


def cmdline(task: Task) -> bytes:
    """The arguments as they are in memory now: programs rewrite them to show a title."""
    if dead(task):
        return b""
    layout = task.memory.layout
    if not layout.arg_start or layout.arg_end < layout.arg_start:
        return task.group.cmdline
    data = read_text(task, layout.arg_start, layout.arg_end)
    if data and data[-1] != 0 and layout.env_end > layout.arg_end:
        data = read_text(task, layout.arg_start, layout.env_end)
        end = data.find(b"\0")
        return data if end < 0 else data[: end + 1]
    return data


def environ(task: Task) -> bytes:
    """The environment as it was at exec, as memory has it now."""
    if dead(task):
        return b""
    layout = task.memory.layout
    if not layout.env_start or layout.env_end < layout.env_start:
        return task.group.environ
    return read_text(task, layout.env_start, layout.env_end)


def read_text(task: Task, start: int, end: int) -> bytes:
    """Guest memory, bounded."""
    return task.memory.process.read_some(start, min(end - start, TEXT_MAX))


def comm(task: Task) -> bytes:
    """The command name."""
    return task.name + b"\n"


def auxv(task: Task) -> bytes:
    """The auxiliary vector of exec."""
    return b"" if dead(task) else task.memory.auxv


def limits(task: Task) -> bytes:
    """Resource limits as a table."""
    lines = [f"{'Limit':<25} {'Soft Limit':<20} {'Hard Limit':<20} Units     \n"]
    rlimits = task.group.rlimits
    for resource, (name, unit) in enumerate(LIMIT_ROWS):
        soft, hard = rlimits.get(resource)
        lines.append(f"{name:<25} {limit_text(soft):<20} {limit_text(hard):<20} {unit:<10}\n")
    return "".join(lines).encode()


def limit_text(value: int) -> str:
    """A number or ``unlimited``."""
    return "unlimited" if value == RLIM_INFINITY else str(value)


def io(task: Task) -> bytes:
    """I/O accounting: not kept."""
    names = (
        "rchar",
        "wchar",
        "syscr",
        "syscw",
        "read_bytes",
        "write_bytes",
        "cancelled_write_bytes",
    )
    return "".join([f"{name}: 0\n" for name in names]).encode()


def oom_score_adj(task: Task) -> bytes:
    """What was set; the host's OOM killer is not told."""
    return b"%d\n" % task.group.oom_score_adj


def oom_adj(task: Task) -> bytes:
    """The old scale of the same."""
    return b"%d\n" % (task.group.oom_score_adj * 17 // 1000)


def zero(task: Task) -> bytes:
    """Files whose number is always 0."""
    return b"0\n"


def wchan(task: Task) -> bytes:
    """Not told."""
    return b"0"


def no_login(task: Task) -> bytes:
    """No audit identity was set."""
    return b"4294967295"


def personality(task: Task) -> bytes:
    """personality(2)."""
    return b"%08x\n" % task.group.personality


def cgroup(task: Task) -> bytes:
    """The root of the version 2 hierarchy."""
    return b"0::/\n"


def id_map(task: Task) -> bytes:
    """The initial user namespace."""
    return b"         0          0 4294967295\n"


def setgroups(task: Task) -> bytes:
    """setgroups(2) is allowed."""
    return b"allow\n"


def sched(task: Task) -> bytes:
    """Scheduling: little is known."""
    return (
        escape_name(task.name)
        + (
            f" ({task.tid}, #threads: {len(task.group.tasks)})\n"
            "policy                                       :"
            "                    0\n"
        ).encode()
    )


def schedstat(task: Task) -> bytes:
    """CPU time, waiting time, slices."""
    cpu = task.host.cpu_time_ns() if task.host is not None and not task.exited else 0
    return b"%d 0 0\n" % cpu


def syscall(task: Task) -> bytes:
    """The call that a parked task waits in."""
    call = task.call
    if not task.parked or call is None:
        return b"running\n"
    ip, sp = task.host.pointers() if task.host is not None else (0, 0)
    numbers = " ".join([f"{value:#x}" for value in (*call.args, sp, ip)])
    return f"{call.nr} {numbers}\n".encode()


def children(task: Task) -> bytes:
    """Child processes of the whole group, shown at its leader."""
    if task is not task.group.leader:
        return b""
    return b"".join([b"%d " % child.pid for child in task.group.children])


def coredump_filter(task: Task) -> bytes:
    """No core files are written."""
    return b"00000033\n"


def timerslack(task: Task) -> bytes:
    """The default, 50 us."""
    return b"50000\n"


# -- memory maps -----------------------------------------------------------------------------------
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
        lines.append(line)
    if layout.vdso and not any(line.name == b"[vdso]" for line in lines):
        end = layout.vdso + VDSO_LENGTH
        line = MapLine(HostMapping(layout.vdso, end, "r-xp", 0, "00:00", 0, ""))
        line.name = b"[vdso]"
        lines.append(line)
    return lines


def name_file(line: MapLine, entry: HostMapping, task: Task) -> None:
    """Give a file's mapping the guest's name, device and inode."""
    record = task.memory.find_file_mapping(parse_dev(entry.dev), entry.ino)
    if record is None:
        return
    line.offset = entry.offset
    line.name = record.name
    if record.path is not None:
        line.name = path_text(record.path, task.fs.root).replace(b"\n", b"\\012")
        inode = record.path.dentry.inode
        if inode is not None:
            line.dev, line.ino = inode.sb.dev, inode.ino


def parse_dev(text: str) -> int:
    """``08:01`` as st_dev."""
    major, _, minor = text.partition(":")
    try:
        low = int(minor, 16)
        return (low & 0xFF) | int(major, 16) << 8 | (low & ~0xFF) << 12
    except ValueError:
        return 0


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


# -- mounts ----------------------------------------------------------------------------------------
MOUNT_FLAGS: Final = [
    (MS_NOSUID, "nosuid"),
    (MS_NODEV, "nodev"),
    (MS_NOEXEC, "noexec"),
    (MS_NOATIME, "noatime"),
    (MS_NODIRATIME, "nodiratime"),
    (MS_RELATIME, "relatime"),
]


def mount_options(mount: Mount) -> str:
    """``rw,nosuid,...``."""
    words = ["ro" if mount.read_only else "rw"]
    words += [word for flag, word in MOUNT_FLAGS if mount.flags & flag]
    return ",".join(words)


def visible_mounts(task: Task) -> list[tuple[Mount, bytes]]:
    """Mounts below the task's root, with their places."""
    found: list[tuple[Mount, bytes]] = []
    for mount in task.kernel.mounts.mounts():
        place = path_text(Path(mount, mount.root), task.fs.root)
        if place.startswith(b"/"):
            found.append((mount, place))
    return found


def escape_path(text: bytes) -> bytes:
    """Blanks and backslashes as octal (getmntent(3))."""
    for raw in (b"\\", b" ", b"\t", b"\n", b"#"):
        text = text.replace(raw, b"\\%03o" % raw[0])
    return text


def mounts(task: Task) -> bytes:
    """The mounts, as in fstab(5)."""
    if dead(task):
        return b""
    lines: list[bytes] = []
    for mount, place in visible_mounts(task):
        options = mount_options(mount) + mount.sb.options()
        lines.append(
            b"%s %s %s %s 0 0\n"
            % (
                escape_path(mount.source.encode()),
                escape_path(place),
                mount.sb.name.encode(),
                escape_path(options.encode()),
            )
        )
    return b"".join(lines)


def place_in_file_system(dentry: Dentry) -> bytes:
    """The path of a mount's root in its own file system: ``/``, but for bind mounts."""
    names: list[bytes] = []
    while not dentry.is_root:
        names.append(dentry.name)
        dentry = dentry.parent
    return b"/" + b"/".join(reversed(names))


def mountinfo(task: Task) -> bytes:
    """The mounts with ids."""
    if dead(task):
        return b""
    lines: list[bytes] = []
    for mount, place in visible_mounts(task):
        sb = mount.sb
        parent = mount.parent.mount_id if mount.parent is not None else 0
        inner = place_in_file_system(mount.root)
        rights = "ro" if sb.read_only else "rw"
        lines.append(
            b"%d %d %d:%d %s %s %s - %s %s %s\n"
            % (
                mount.mount_id,
                parent,
                dev_major(sb.dev),
                dev_minor(sb.dev),
                escape_path(inner),
                escape_path(place),
                mount_options(mount).encode(),
                sb.name.encode(),
                escape_path(mount.source.encode()),
                escape_path((rights + sb.options()).encode()),
            )
        )
    return b"".join(lines)


def mountstats(task: Task) -> bytes:
    """The mounts in words."""
    if dead(task):
        return b""
    return b"".join(
        [
            b"device %s mounted on %s with fstype %s\n"
            % (escape_path(mount.source.encode()), escape_path(place), mount.sb.name.encode())
            for mount, place in visible_mounts(task)
        ]
    )


COMMON: Final[list[tuple[bytes, int, Render]]] = [
    (b"auxv", 0o400, auxv),
    (b"cgroup", 0o444, cgroup),
    (b"cmdline", 0o444, cmdline),
    (b"environ", 0o400, environ),
    (b"gid_map", 0o444, id_map),
    (b"io", 0o400, io),
    (b"limits", 0o444, limits),
    (b"maps", 0o444, maps),
    (b"mountinfo", 0o444, mountinfo),
    (b"mounts", 0o444, mounts),
    (b"oom_score", 0o444, zero),
    (b"personality", 0o400, personality),
    (b"projid_map", 0o444, id_map),
    (b"sched", 0o444, sched),
    (b"schedstat", 0o444, schedstat),
    (b"sessionid", 0o444, no_login),
    (b"setgroups", 0o444, setgroups),
    (b"smaps", 0o444, smaps),
    (b"smaps_rollup", 0o444, smaps_rollup),
    (b"statm", 0o444, statm),
    (b"status", 0o444, status),
    (b"syscall", 0o400, syscall),
    (b"uid_map", 0o444, id_map),
    (b"wchan", 0o444, wchan),
]
"""Name, permissions and text of the read-only files in both /proc/<pid> and its task directories.
"""

ONLY_GROUP: Final[list[tuple[bytes, int, Render]]] = [
    (b"mountstats", 0o400, mountstats),
    (b"stat", 0o444, stat_of_group),
]
ONLY_TASK: Final[list[tuple[bytes, int, Render]]] = [
    (b"children", 0o444, children),
    (b"stat", 0o444, stat_of_task),
]
PROTECTED: Final = (
    b"auxv",
    b"environ",
    b"io",
    b"maps",
    b"mountstats",
    b"personality",
    b"smaps",
    b"smaps_rollup",
    b"syscall",
)
"""Files that need the rights of ptrace(2) to be read."""
