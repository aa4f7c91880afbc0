"""sysfs(5): what programs look for in /sys: processors, memory nodes, huge pages, interfaces,
cgroups.

A tree of fixed texts, made when it is mounted. The cgroup files under /sys/fs/cgroup tell the
sandbox's limits, so that runtimes that size themselves (JVM, Go, node, .NET) see what they really
have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.fs.proc_texts import memory_total
from wardian.sentry.fs.pseudo import FixedDir, FixedText, PseudoFS, PseudoLink, TextInode
from wardian.sentry.hostcpu import cpu_list, cpu_mask
from wardian.sentry.vfs.inode import Inode

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.sentry.kernel.kernel import Kernel

    Render = Callable[[Kernel], bytes]

SYSFS_MAGIC: Final = 0x62656572
CGROUP2_SUPER_MAGIC: Final = 0x63677270
CPU_PERIOD_US: Final = 100_000


class KernelText(TextInode):
    """A text computed from the kernel."""

    def __init__(self, fs: PseudoFS, function: Render) -> None:
        super().__init__(fs, fs.next_ino(), 0o444)
        self.function = function

    def render(self) -> bytes:
        return self.function(self.fs.kernel)


class SysFS(PseudoFS):
    """One mounted sysfs."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel, "sysfs", SYSFS_MAGIC)
        self.top = FixedDir(self)
        for name in (
            "block",
            "bus",
            "class",
            "dev",
            "devices",
            "firmware",
            "fs",
            "kernel",
            "module",
            "power",
        ):
            self.top.subdirectory(name.encode())
        fill_cpus(self.top, len(kernel.host_cpu.cpus))
        fill_nodes(self.top, len(kernel.host_cpu.cpus))
        fill_kernel(self.top)
        fill_interfaces(self.top)
        self.top.subdirectory(b"fs").subdirectory(b"cgroup")

    def root(self) -> Inode:
        return self.top


class CgroupFS(PseudoFS):
    """cgroup version 2 as one read-only group: /sys/fs/cgroup."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel, "cgroup2", CGROUP2_SUPER_MAGIC)
        self.top = FixedDir(self)
        for name, function in CGROUP_FILES:
            self.top.add(name.encode(), KernelText(self, function))

    def root(self) -> Inode:
        return self.top


def put(root: FixedDir, path: str, text: str) -> None:
    """Enter a fixed text at ``path``, whose directories are made as needed."""
    fs = root.fs
    directory, name = place_of(root, path)
    directory.add(name, FixedText(fs, fs.next_ino(), 0o444, text.encode() + b"\n"))


def put_link(root: FixedDir, path: str, target: str) -> None:
    """Enter a symbolic link at ``path``."""
    fs = root.fs
    directory, name = place_of(root, path)
    directory.add(name, PseudoLink(fs, fs.next_ino(), target.encode()))


def place_of(root: FixedDir, path: str) -> tuple[FixedDir, bytes]:
    """The directory of ``path``, and its last name."""
    parts = path.encode().split(b"/")
    directory = root
    for part in parts[:-1]:
        directory = directory.subdirectory(part)
    return directory, parts[-1]


def fill_cpus(root: FixedDir, count: int) -> None:
    """/sys/devices/system/cpu: each processor is a core of its own in one package."""
    base = "devices/system/cpu"
    everything = cpu_list(count)
    for name in ("online", "possible", "present"):
        put(root, f"{base}/{name}", everything)
    for name, text in (
        ("offline", ""),
        ("isolated", ""),
        ("kernel_max", str(count - 1)),
        ("smt/active", "0"),
        ("smt/control", "notsupported"),
    ):
        put(root, f"{base}/{name}", text)
    for cpu in range(count):
        topology = f"{base}/cpu{cpu}/topology"
        own_mask = mask_of(cpu)
        rows = [
            ("physical_package_id", "0"),
            ("die_id", "0"),
            ("core_id", str(cpu)),
            ("thread_siblings", own_mask),
            ("thread_siblings_list", str(cpu)),
            ("core_cpus", own_mask),
            ("core_cpus_list", str(cpu)),
            ("core_siblings", cpu_mask(count)),
            ("core_siblings_list", everything),
            ("package_cpus", cpu_mask(count)),
            ("package_cpus_list", everything),
        ]
        for name, text in rows:
            put(root, f"{topology}/{name}", text)
        if cpu:
            put(root, f"{base}/cpu{cpu}/online", "1")


def mask_of(cpu: int) -> str:
    """The mask of one processor."""
    words = [f"{1 << cpu % 32:x}"] + ["00000000"] * (cpu // 32)
    return ",".join(words)


def fill_nodes(root: FixedDir, count: int) -> None:
    """/sys/devices/system/node: one memory node."""
    base = "devices/system/node"
    for name in ("online", "possible", "has_cpu", "has_memory", "has_normal_memory"):
        put(root, f"{base}/{name}", "0")
    put(root, f"{base}/node0/cpulist", cpu_list(count))
    put(root, f"{base}/node0/cpumap", cpu_mask(count))
    put(root, f"{base}/node0/distance", "10")
    node = root.subdirectory(b"devices").subdirectory(b"system").subdirectory(b"node")
    node.subdirectory(b"node0").add(b"meminfo", KernelText(root.fs, node_meminfo))


def node_meminfo(kernel: Kernel) -> bytes:
    """Memory of the one node, as much as libnuma reads."""
    total = memory_total(kernel) // 1024
    free = max(total - kernel.memory_count.used(kernel) // 1024, 0)
    return (
        b"Node 0 MemTotal:       %d kB\nNode 0 MemFree:        %d kB\n"
        b"Node 0 MemUsed:        %d kB\n" % (total, free, total - free)
    )


def fill_kernel(root: FixedDir) -> None:
    """/sys/kernel: huge pages and little else."""
    base = "kernel/mm/transparent_hugepage"
    put(root, f"{base}/enabled", "always [madvise] never")
    put(root, f"{base}/defrag", "always defer defer+madvise [madvise] never")
    put(root, f"{base}/shmem_enabled", "always within_size advise [never] deny force")
    put(root, f"{base}/hpage_pmd_size", "2097152")
    put(root, f"{base}/use_zero_page", "1")
    put(root, f"{base}/khugepaged/defrag", "1")
    for name in (
        "nr_hugepages",
        "free_hugepages",
        "resv_hugepages",
        "surplus_hugepages",
        "nr_overcommit_hugepages",
    ):
        put(root, f"kernel/mm/hugepages/hugepages-2048kB/{name}", "0")
    for name in ("debug", "tracing", "security"):
        root.subdirectory(b"kernel").subdirectory(name.encode())


def fill_interfaces(root: FixedDir) -> None:
    """/sys/class/net: the loopback interface."""
    base = "devices/virtual/net/lo"
    rows = [
        ("address", "00:00:00:00:00:00"),
        ("addr_len", "6"),
        ("broadcast", "00:00:00:00:00:00"),
        ("carrier", "1"),
        ("dev_id", "0x0"),
        ("dormant", "0"),
        ("flags", "0x9"),
        ("ifindex", "1"),
        ("iflink", "1"),
        ("link_mode", "0"),
        ("mtu", "65536"),
        ("operstate", "unknown"),
        ("type", "772"),
        ("tx_queue_len", "1000"),
        ("statistics/rx_bytes", "0"),
        ("statistics/tx_bytes", "0"),
        ("statistics/rx_packets", "0"),
        ("statistics/tx_packets", "0"),
    ]
    for name, text in rows:
        put(root, f"{base}/{name}", text)
    put_link(root, "class/net/lo", "../../devices/virtual/net/lo")
    for name in ("block", "tty", "mem", "misc"):
        root.subdirectory(b"class").subdirectory(name.encode())


# -- cgroup ----------------------------------------------------------------------------------------
def memory_max(kernel: Kernel) -> bytes:
    """The limit of --memory."""
    return b"%d\n" % kernel.memory_limit if kernel.memory_limit else b"max\n"


def memory_current(kernel: Kernel) -> bytes:
    """Resident memory."""
    return b"%d\n" % kernel.memory_count.used(kernel)


def cpu_max(kernel: Kernel) -> bytes:
    """The quota of --cpus."""
    if kernel.cpu_limit <= 0:
        return b"max %d\n" % CPU_PERIOD_US
    return b"%d %d\n" % (int(kernel.cpu_limit * CPU_PERIOD_US), CPU_PERIOD_US)


def pids_max(kernel: Kernel) -> bytes:
    """The limit of --pids."""
    return b"%d\n" % kernel.pids.max_tasks


def pids_current(kernel: Kernel) -> bytes:
    """Tasks alive."""
    return b"%d\n" % len(kernel.pids.tasks)


def cgroup_procs(kernel: Kernel) -> bytes:
    """Every process."""
    return b"".join([b"%d\n" % group.pid for group in kernel.pids.groups()])


def cgroup_threads(kernel: Kernel) -> bytes:
    """Every task."""
    return b"".join([b"%d\n" % tid for tid in sorted(kernel.pids.tasks)])


def cpu_stat(kernel: Kernel) -> bytes:
    """CPU time."""
    used = sum([group.cpu_time_ns() for group in kernel.pids.groups()]) // 1000
    return (
        b"usage_usec %d\nuser_usec %d\nsystem_usec 0\nnr_periods 0\nnr_throttled 0\n"
        b"throttled_usec 0\n" % (used, used)
    )


def memory_stat(kernel: Kernel) -> bytes:
    """Memory by kind."""
    used = kernel.memory_count.used(kernel)
    return b"anon %d\nfile 0\nkernel 0\nshmem 0\ninactive_file 0\nactive_file 0\n" % used


def memory_events(kernel: Kernel) -> bytes:
    """Nothing has happened that we know of."""
    return b"low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n"


def no_limit(kernel: Kernel) -> bytes:
    """max."""
    return b"max\n"


def zero(kernel: Kernel) -> bytes:
    """0."""
    return b"0\n"


def controllers(kernel: Kernel) -> bytes:
    """What the group controls."""
    return b"cpu memory pids\n"


def nothing(kernel: Kernel) -> bytes:
    """Empty."""
    return b""


def domain(kernel: Kernel) -> bytes:
    """cgroup.type."""
    return b"domain\n"


def cgroup_events(kernel: Kernel) -> bytes:
    """Populated, not frozen."""
    return b"populated 1\nfrozen 0\n"


def cpu_weight(kernel: Kernel) -> bytes:
    """The default."""
    return b"100\n"


def cpuset(kernel: Kernel) -> bytes:
    """All processors."""
    return cpu_list(len(kernel.host_cpu.cpus)).encode() + b"\n"


CGROUP_FILES: Final[list[tuple[str, Render]]] = [
    ("cgroup.controllers", controllers),
    ("cgroup.events", cgroup_events),
    ("cgroup.max.depth", no_limit),
    ("cgroup.max.descendants", no_limit),
    ("cgroup.procs", cgroup_procs),
    ("cgroup.subtree_control", nothing),
    ("cgroup.threads", cgroup_threads),
    ("cgroup.type", domain),
    ("cpu.max", cpu_max),
    ("cpu.stat", cpu_stat),
    ("cpu.weight", cpu_weight),
    ("cpuset.cpus.effective", cpuset),
    ("cpuset.mems.effective", zero),
    ("memory.current", memory_current),
    ("memory.events", memory_events),
    ("memory.high", no_limit),
    ("memory.low", zero),
    ("memory.max", memory_max),
    ("memory.min", zero),
    ("memory.stat", memory_stat),
    ("memory.swap.current", zero),
    ("memory.swap.max", zero),
    ("pids.current", pids_current),
    ("pids.max", pids_max),
]
