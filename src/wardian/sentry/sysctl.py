"""Kernel parameters that can be read and written (sysctl(8)): names, first values, current values.

``kernel.sysctls`` holds them; ``fs.proc_sys`` shows them. Code that honours one asks
:meth:`Sysctls.number`.
"""

from typing import Final

from wardian.sentry.errno import EINVAL

LENGTH_MAX: Final = 4096

DEFAULTS: Final[list[tuple[str, int, str]]] = [
    ("fs/aio-max-nr", 0o644, "65536"),
    ("fs/aio-nr", 0o444, "0"),
    ("fs/dentry-state", 0o444, "0\t0\t45\t0\t0\t0"),
    ("fs/epoll/max_user_watches", 0o644, "1048576"),
    ("fs/file-max", 0o644, "9223372036854775807"),
    ("fs/inotify/max_queued_events", 0o644, "16384"),
    ("fs/inotify/max_user_instances", 0o644, "128"),
    ("fs/inotify/max_user_watches", 0o644, "524288"),
    ("fs/lease-break-time", 0o644, "45"),
    ("fs/leases-enable", 0o644, "1"),
    ("fs/mount-max", 0o444, "10000"),
    ("fs/mqueue/msg_max", 0o644, "10"),
    ("fs/mqueue/msgsize_max", 0o644, "8192"),
    ("fs/mqueue/queues_max", 0o644, "256"),
    ("fs/nr_open", 0o444, "1048576"),
    ("fs/overflowgid", 0o644, "65534"),
    ("fs/overflowuid", 0o644, "65534"),
    ("fs/pipe-max-size", 0o644, "1048576"),
    ("fs/pipe-user-pages-hard", 0o644, "0"),
    ("fs/pipe-user-pages-soft", 0o644, "16384"),
    ("fs/protected_fifos", 0o444, "1"),
    ("fs/protected_hardlinks", 0o444, "1"),
    ("fs/protected_regular", 0o444, "2"),
    ("fs/protected_symlinks", 0o444, "1"),
    ("fs/suid_dumpable", 0o644, "0"),
    ("kernel/cap_last_cap", 0o444, "40"),
    ("kernel/core_pattern", 0o644, "core"),
    ("kernel/core_uses_pid", 0o644, "0"),
    ("kernel/dmesg_restrict", 0o644, "1"),
    ("kernel/io_uring_disabled", 0o444, "2"),
    ("kernel/keys/maxkeys", 0o644, "200"),
    ("kernel/kptr_restrict", 0o644, "1"),
    ("kernel/msgmax", 0o644, "8192"),
    ("kernel/msgmnb", 0o644, "16384"),
    ("kernel/msgmni", 0o644, "32000"),
    ("kernel/ngroups_max", 0o444, "65536"),
    ("kernel/numa_balancing", 0o644, "0"),
    ("kernel/overflowgid", 0o644, "65534"),
    ("kernel/overflowuid", 0o644, "65534"),
    ("kernel/panic", 0o644, "0"),
    ("kernel/perf_event_paranoid", 0o644, "4"),
    ("kernel/pid_max", 0o444, "32768"),
    ("kernel/printk", 0o644, "4\t4\t1\t7"),
    ("kernel/pty/max", 0o644, "4096"),
    ("kernel/random/entropy_avail", 0o444, "256"),
    ("kernel/random/poolsize", 0o444, "256"),
    ("kernel/random/urandom_min_reseed_secs", 0o644, "60"),
    ("kernel/random/write_wakeup_threshold", 0o644, "256"),
    ("kernel/randomize_va_space", 0o644, "2"),
    ("kernel/sched_rt_runtime_us", 0o644, "950000"),
    ("kernel/sem", 0o644, "32000\t1024000000\t500\t32000"),
    ("kernel/shmall", 0o644, "18446744073692774399"),
    ("kernel/shmmax", 0o644, "18446744073692774399"),
    ("kernel/shmmni", 0o644, "4096"),
    ("kernel/sysrq", 0o644, "0"),
    ("kernel/tainted", 0o444, "0"),
    ("kernel/threads-max", 0o444, "32468"),
    ("kernel/unprivileged_bpf_disabled", 0o444, "2"),
    ("kernel/yama/ptrace_scope", 0o644, "0"),
    ("net/core/netdev_max_backlog", 0o644, "1000"),
    ("net/core/optmem_max", 0o644, "131072"),
    ("net/core/rmem_default", 0o644, "212992"),
    ("net/core/rmem_max", 0o644, "212992"),
    ("net/core/somaxconn", 0o644, "4096"),
    ("net/core/wmem_default", 0o644, "212992"),
    ("net/core/wmem_max", 0o644, "212992"),
    ("net/ipv4/conf/all/forwarding", 0o644, "0"),
    ("net/ipv4/conf/default/forwarding", 0o644, "0"),
    ("net/ipv4/ip_default_ttl", 0o644, "64"),
    ("net/ipv4/ip_forward", 0o644, "0"),
    ("net/ipv4/ip_local_port_range", 0o644, "32768\t60999"),
    ("net/ipv4/ip_local_reserved_ports", 0o644, ""),
    ("net/ipv4/ip_nonlocal_bind", 0o644, "0"),
    ("net/ipv4/ip_unprivileged_port_start", 0o644, "1024"),
    ("net/ipv4/ping_group_range", 0o644, "1\t0"),
    ("net/ipv4/tcp_allowed_congestion_control", 0o644, "reno cubic"),
    ("net/ipv4/tcp_available_congestion_control", 0o444, "reno cubic"),
    ("net/ipv4/tcp_congestion_control", 0o644, "cubic"),
    ("net/ipv4/tcp_fastopen", 0o644, "0"),
    ("net/ipv4/tcp_fin_timeout", 0o644, "60"),
    ("net/ipv4/tcp_keepalive_intvl", 0o644, "75"),
    ("net/ipv4/tcp_keepalive_probes", 0o644, "9"),
    ("net/ipv4/tcp_keepalive_time", 0o644, "7200"),
    ("net/ipv4/tcp_max_syn_backlog", 0o644, "1024"),
    ("net/ipv4/tcp_mem", 0o644, "94281\t125709\t188562"),
    ("net/ipv4/tcp_rmem", 0o644, "4096\t131072\t6291456"),
    ("net/ipv4/tcp_sack", 0o644, "1"),
    ("net/ipv4/tcp_syncookies", 0o644, "1"),
    ("net/ipv4/tcp_timestamps", 0o644, "1"),
    ("net/ipv4/tcp_tw_reuse", 0o644, "2"),
    ("net/ipv4/tcp_window_scaling", 0o644, "1"),
    ("net/ipv4/tcp_wmem", 0o644, "4096\t16384\t4194304"),
    ("net/ipv6/bindv6only", 0o644, "0"),
    ("net/ipv6/conf/all/disable_ipv6", 0o644, "0"),
    ("net/ipv6/conf/all/forwarding", 0o644, "0"),
    ("net/ipv6/conf/default/disable_ipv6", 0o644, "0"),
    ("net/unix/max_dgram_qlen", 0o644, "512"),
    ("user/max_inotify_instances", 0o644, "128"),
    ("user/max_inotify_watches", 0o644, "524288"),
    ("user/max_user_namespaces", 0o444, "0"),
    ("vm/compact_memory", 0o200, "0"),
    ("vm/dirty_background_ratio", 0o644, "10"),
    ("vm/dirty_ratio", 0o644, "20"),
    ("vm/drop_caches", 0o200, "0"),
    ("vm/max_map_count", 0o644, "65530"),
    ("vm/min_free_kbytes", 0o644, "67584"),
    ("vm/mmap_min_addr", 0o444, "65536"),
    ("vm/nr_hugepages", 0o444, "0"),
    ("vm/oom_kill_allocating_task", 0o644, "0"),
    ("vm/overcommit_kbytes", 0o644, "0"),
    ("vm/overcommit_memory", 0o644, "0"),
    ("vm/overcommit_ratio", 0o644, "50"),
    ("vm/panic_on_oom", 0o644, "0"),
    ("vm/swappiness", 0o644, "60"),
    ("vm/unprivileged_userfaultfd", 0o644, "0"),
    ("vm/vfs_cache_pressure", 0o644, "100"),
    ("vm/zone_reclaim_mode", 0o644, "0"),
]
"""Name below /proc/sys, permissions, first value. Words are separated by tabs, as Linux shows
them."""


class Sysctls:
    """The parameters of one kernel."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.permissions: dict[str, int] = {}
        for name, permissions, value in DEFAULTS:
            self.values[name] = value
            self.permissions[name] = permissions

    def names(self) -> list[tuple[str, int]]:
        """(name, permissions) of all."""
        return list(self.permissions.items())

    def get(self, name: str) -> str:
        """The text of a parameter."""
        return self.values[name]

    def number(self, name: str) -> int:
        """A parameter that is one number."""
        return int(self.values[name])

    def set(self, name: str, text: str) -> None:
        """Change one; EINVAL when numbers are expected and something else comes."""
        if len(text) > LENGTH_MAX:
            raise EINVAL("value too long")
        old = self.values[name].split()
        words = text.split()
        if old and all(is_number(word) for word in old):
            if not words or len(words) > len(old) or not all(is_number(word) for word in words):
                raise EINVAL("numbers expected")
            self.values[name] = "\t".join([*words, *old[len(words) :]])
        else:
            self.values[name] = text


def is_number(word: str) -> bool:
    """A decimal number of at most 64 bits, maybe negative."""
    digits = word[1:] if word.startswith("-") else word
    return digits.isdecimal() and digits.isascii() and int(digits[:21]) < 1 << 64
