"""The system-wide files of proc(5): one function per file, from the kernel to its text.

Numbers are the sandbox's: its processes, its memory limit, its uptime. What the host does besides
is not told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.fs import proc_sysvipc
from wardian.sentry.kernel.uts import UTSNamespace
from wardian.sentry.time import CLOCK_TICK_NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.sentry.kernel.kernel import Kernel

    Render = Callable[[Kernel], bytes]

COMMAND_LINE: Final = b"BOOT_IMAGE=/boot/wardian quiet\n"


def memory_total(kernel: Kernel) -> int:
    """Bytes of memory the sandbox may use."""
    total = kernel.host_cpu.total_memory
    return min(total, kernel.memory_limit) if kernel.memory_limit else total


def cpuinfo(kernel: Kernel) -> bytes:
    """The processors, as the host describes them."""
    if kernel.host_cpu.cpuinfo:
        return kernel.host_cpu.cpuinfo
    return b"".join([b"processor\t: %d\n\n" % cpu for cpu in range(len(kernel.host_cpu.cpus))])


def meminfo(kernel: Kernel) -> bytes:
    """Memory in kB."""
    total = memory_total(kernel)
    used = min(kernel.memory_count.used(kernel), total)
    free = total - used
    rows = [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", used),
        ("Inactive", 0),
        ("Active(anon)", used),
        ("Inactive(anon)", 0),
        ("Active(file)", 0),
        ("Inactive(file)", 0),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", used),
        ("Mapped", 0),
        ("Shmem", 0),
        ("KReclaimable", 0),
        ("Slab", 0),
        ("SReclaimable", 0),
        ("SUnreclaim", 0),
        ("KernelStack", 0),
        ("PageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", total),
        ("Committed_AS", used),
        ("VmallocTotal", 0x7FFFFFFFFC00),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
        ("Percpu", 0),
        ("AnonHugePages", 0),
        ("ShmemHugePages", 0),
        ("ShmemPmdMapped", 0),
    ]
    lines = [f"{name + ':':<16}{value // 1024:>8} kB\n" for name, value in rows]
    for name in ("HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp"):
        lines.append(f"{name + ':':<16}{0:>8}\n")
    lines.append(f"{'Hugepagesize:':<16}{2048:>8} kB\n")
    return "".join(lines).encode()


def cpu_ticks(kernel: Kernel) -> int:
    """CPU time of all processes alive, in clock ticks."""
    return sum([group.cpu_time_ns() for group in kernel.pids.groups()]) // CLOCK_TICK_NS


def stat(kernel: Kernel) -> bytes:
    """Kernel and system statistics."""
    count = len(kernel.host_cpu.cpus)
    uptime = (kernel.clock.monotonic_ns() - kernel.boot_ns) // CLOCK_TICK_NS
    user = cpu_ticks(kernel)
    idle = max(uptime * count - user, 0)
    lines = [f"cpu  {user} 0 0 {idle} 0 0 0 0 0 0\n"]
    for cpu in range(count):
        lines.append(f"cpu{cpu} {user // count} 0 0 {idle // count} 0 0 0 0 0 0\n")
    boot = (kernel.clock.realtime_ns() - kernel.clock.monotonic_ns() + kernel.boot_ns) // 10**9
    running, _ = task_counts(kernel)
    lines.append(f"intr 0\nctxt 0\nbtime {boot}\nprocesses {kernel.pids.last}\n")
    lines.append(f"procs_running {running}\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n")
    return "".join(lines).encode()


def task_counts(kernel: Kernel) -> tuple[int, int]:
    """(running, all) tasks."""
    running = total = 0
    for group in kernel.pids.groups():
        total += len(group.tasks)
        for task in group.tasks:
            if not task.parked:
                running += 1
    return max(running, 1), total


def uptime(kernel: Kernel) -> bytes:
    """Seconds since boot, and idle seconds of all processors."""
    up = (kernel.clock.monotonic_ns() - kernel.boot_ns) // CLOCK_TICK_NS
    idle = max(up * len(kernel.host_cpu.cpus) - cpu_ticks(kernel), 0)
    return b"%d.%02d %d.%02d\n" % (up // 100, up % 100, idle // 100, idle % 100)


def loadavg(kernel: Kernel) -> bytes:
    """Load averages (not kept: 0), tasks, the newest pid."""
    running, total = task_counts(kernel)
    return b"0.00 0.00 0.00 %d/%d %d\n" % (running, total, kernel.pids.last)


def version(kernel: Kernel) -> bytes:
    """The kernel's name, as uname(2) has it."""
    uts: UTSNamespace = kernel.uts
    return (
        uts.sysname
        + b" version "
        + uts.release
        + b" (wardian@wardian) (CPython, mypyc) "
        + uts.version
        + b"\n"
    )


def filesystems(kernel: Kernel) -> bytes:
    """File-system types that mount(2) knows."""
    names = ["sysfs", "tmpfs", "proc", "devtmpfs", "devpts", "overlay", "cgroup2"]
    return "".join([f"nodev\t{name}\n" for name in names]).encode()


def devices(kernel: Kernel) -> bytes:
    """Device major numbers."""
    return (
        b"Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n"
        b"136 pts\n\nBlock devices:\n"
    )


def vmstat(kernel: Kernel) -> bytes:
    """A few counters that programs look for."""
    free = (memory_total(kernel) - kernel.memory_count.used(kernel)) // 4096
    return b"nr_free_pages %d\npgpgin 0\npgpgout 0\npswpin 0\npswpout 0\npgfault 0\n" % max(free, 0)


def command_line(kernel: Kernel) -> bytes:
    """The boot parameters."""
    return COMMAND_LINE


def partitions(kernel: Kernel) -> bytes:
    """No disks."""
    return b"major minor  #blocks  name\n\n"


def swaps(kernel: Kernel) -> bytes:
    """No swap."""
    return b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


def misc(kernel: Kernel) -> bytes:
    """Minor numbers of misc devices: none."""
    return b""


def interrupts(kernel: Kernel) -> bytes:
    """A head line; there are no devices."""
    heads = "".join([f"{'CPU' + str(cpu):>11}" for cpu in range(len(kernel.host_cpu.cpus))])
    return f"    {heads}\n".encode()


def cgroups(kernel: Kernel) -> bytes:
    """Controllers; hierarchy 0 says that all belong to version 2."""
    names = (b"cpuset", b"cpu", b"cpuacct", b"memory", b"pids")
    head = b"#subsys_name\thierarchy\tnum_cgroups\tenabled\n"
    return head + b"".join([name + b"\t0\t1\t1\n" for name in names])


def consoles(kernel: Kernel) -> bytes:
    """No consoles."""
    return b""


def pressure(kernel: Kernel) -> bytes:
    """Pressure-stall information: none is measured."""
    line = b"avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    return b"some " + line + b"full " + line


FILES: Final[list[tuple[str, int, Render]]] = [
    ("cgroups", 0o444, cgroups),
    ("cmdline", 0o444, command_line),
    ("consoles", 0o444, consoles),
    ("cpuinfo", 0o444, cpuinfo),
    ("devices", 0o444, devices),
    ("diskstats", 0o444, misc),
    ("filesystems", 0o444, filesystems),
    ("interrupts", 0o444, interrupts),
    ("loadavg", 0o444, loadavg),
    ("locks", 0o444, misc),
    ("meminfo", 0o444, meminfo),
    ("misc", 0o444, misc),
    ("modules", 0o444, misc),
    ("partitions", 0o444, partitions),
    ("pressure/cpu", 0o444, pressure),
    ("pressure/io", 0o444, pressure),
    ("pressure/memory", 0o444, pressure),
    ("stat", 0o444, stat),
    ("swaps", 0o444, swaps),
    ("sysvipc/msg", 0o444, proc_sysvipc.message_queues),
    ("sysvipc/sem", 0o444, proc_sysvipc.semaphores),
    ("sysvipc/shm", 0o444, proc_sysvipc.shared_memory),
    ("uptime", 0o444, uptime),
    ("version", 0o444, version),
    ("vmstat", 0o444, vmstat),
]
"""Path below /proc, permissions, text."""
