"""The text files of /proc/<pid> (proc(5)): one function per file, from a task to its text. What is
longer stands in ``proc_pid_status``, ``proc_pid_maps`` and ``proc_pid_mounts``.

Functions get a live task, or the dead leader of a zombie: then memory, files and paths are not
looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.fs.proc_pid_maps import maps, smaps, smaps_rollup
from wardian.sentry.fs.proc_pid_mounts import mountinfo, mounts, mountstats
from wardian.sentry.fs.proc_pid_status import (
    dead,
    escape_name,
    stat_of_group,
    stat_of_task,
    statm,
    status,
)
from wardian.sentry.kernel.rlimits import RLIM_INFINITY

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.sentry.kernel.task import Task

    Render = Callable[[Task], bytes]

TEXT_MAX: Final = 2 << 20  # bytes of arguments or environment shown

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
