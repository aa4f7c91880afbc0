"""status, stat and statm of /proc/<pid> (proc_pid_status(5), proc_pid_stat(5)): what ps shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.hostcpu import cpu_list, cpu_mask
from wardian.sentry.kernel.rlimits import RLIM_INFINITY, RLIMIT_SIGPENDING
from wardian.sentry.kernel.signal_numbers import NSIG, SIG_DFL, SIG_IGN, bit
from wardian.sentry.mm.memory import Layout
from wardian.sentry.mm.sizes import Sizes
from wardian.sentry.time import CLOCK_TICK_NS

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

KB: Final = 1024


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


def status(task: Task) -> bytes:
    """Readable status."""
    group, c = task.group, task.credentials
    letter = state(task)
    zombie = letter == "Z"
    lines = [f"Umask:\t{task.fs.umask:04o}"] if not zombie else []
    lines.append(f"State:\t{letter} ({STATE_NAMES[letter]})")
    lines.append(f"Tgid:\t{group.pid}\nNgid:\t0\nPid:\t{task.tid}\nPPid:\t{parent_pid(task)}")
    lines.append("TracerPid:\t0")
    lines.append(f"Uid:\t{c.uid}\t{c.euid}\t{c.suid}\t{c.fsuid}")
    lines.append(f"Gid:\t{c.gid}\t{c.egid}\t{c.sgid}\t{c.fsgid}")
    lines.append(f"FDSize:\t{0 if zombie else fd_size(task)}")
    lines.append("Groups:\t" + "".join([f"{gid} " for gid in c.groups]))
    lines.append(f"NStgid:\t{group.pid}\nNSpid:\t{task.tid}")
    lines.append(f"NSpgid:\t{group.process_group.pgid}\nNSsid:\t{group.session.sid}\nKthread:\t0")
    if not zombie:
        lines += status_memory(task)
    lines.append(f"Threads:\t{max(len(group.tasks), 1)}")
    ignored, caught = signal_sets(task)
    signals = task.signals
    queued = len(signals.pending.queue) + len(group.pending.queue)
    lines.append(f"SigQ:\t{queued}/{group.rlimits.soft[RLIMIT_SIGPENDING]}")
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
    place = Layout()
    if letter != "Z":
        sizes = Sizes(task.memory)
        size, resident = sizes.total, sizes.resident // 4096
        place = task.memory.layout
    ignored, caught = signal_sets(task)
    session = group.session
    tty, foreground = 0, -1
    if session.tty is not None:
        tty = session.tty.rdev
        foreground = session.tty.foreground.pgid if session.tty.foreground is not None else 0
    start = (start_ns - task.kernel.boot_ns) // CLOCK_TICK_NS
    last = (1 << 31) - 1
    children_user = group.children_cpu_ns - group.children_system_ns
    text = (
        f") {letter} {parent_pid(task)} {group.process_group.pgid} {session.sid} {tty} {foreground}"
        f" 4194560 0 0 0 0 {user_ns // CLOCK_TICK_NS} {system_ns // CLOCK_TICK_NS}"
        f" {children_user // CLOCK_TICK_NS} {group.children_system_ns // CLOCK_TICK_NS}"
        f" {20 + group.nice} {group.nice} {max(len(group.tasks), 1)} 0 {max(start, 0)} {size}"
        f" {resident} {RLIM_INFINITY} {place.start_code} {place.end_code} {place.start_stack} 0 0"
        f" {task.signals.pending.mask & last} {task.signals.blocked & last} {ignored & last}"
        f" {caught & last} 0 0 0 {group.exit_signal} 0 0 0 0 0 0 {place.start_data}"
        f" {place.end_data} {place.start_brk} {place.arg_start} {place.arg_end}"
        f" {place.env_start} {place.env_end}"
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
