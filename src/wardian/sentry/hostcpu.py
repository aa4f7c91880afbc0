"""What the processor and the host tell every program: auxiliary-vector values and /proc texts.

Read once, before the Sentry confines itself; ``kernel.host_cpu`` holds it. Guests run on the real
processor, so its features are theirs to see; nothing else of the host's /proc is passed on.
"""

import os
from typing import Final

from wardian import _core

AT_HWCAP: Final = 16
AT_CLKTCK: Final = 17
AT_HWCAP2: Final = 26
AT_MINSIGSTKSZ: Final = 51

_AUXV_LIMIT: Final = 4096
_CPUINFO_LIMIT: Final = 4 << 20


class HostCpu:
    """The defaults serve tests; :func:`read_host_cpu` gives the machine's."""

    def __init__(self) -> None:
        self.hwcap = 0
        self.hwcap2 = 0
        self.minimum_signal_stack = 2048
        self.clock_ticks = 100
        self.platform = b"x86_64"
        self.cpus: list[int] = [0]  # that the sandbox may run on
        self.cpuinfo = b""  # text of /proc/cpuinfo, those processors only
        self.total_memory = 1 << 30  # bytes
        self.total_swap = 0

    def cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        """What the processor's instruction of that name puts into eax, ebx, ecx and edx."""
        return _core.cpuid(leaf, subleaf)


def read_host_cpu() -> HostCpu:
    """The values of this machine, as far as they can be read."""
    host = HostCpu()
    vector = parse_auxv(_read("/proc/self/auxv", _AUXV_LIMIT))
    host.hwcap = vector.get(AT_HWCAP, 0)
    host.hwcap2 = vector.get(AT_HWCAP2, 0)
    host.minimum_signal_stack = vector.get(AT_MINSIGSTKSZ, 2048)
    host.clock_ticks = vector.get(AT_CLKTCK, 100)
    host.cpus = sorted(os.sched_getaffinity(0))
    host.cpuinfo = select_cpuinfo(_read("/proc/cpuinfo", _CPUINFO_LIMIT), host.cpus)
    meminfo = _read("/proc/meminfo", 1 << 16)
    host.total_memory = _kibibytes(meminfo, b"MemTotal:") or 1 << 30
    host.total_swap = _kibibytes(meminfo, b"SwapTotal:")
    return host


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


def parse_auxv(data: bytes) -> dict[int, int]:
    """The pairs of an auxiliary vector (getauxval(3)) up to AT_NULL."""
    pairs: dict[int, int] = {}
    for at in range(0, len(data) - 15, 16):
        kind = int.from_bytes(data[at : at + 8], "little")
        if kind == 0:
            break
        pairs[kind] = int.from_bytes(data[at + 8 : at + 16], "little")
    return pairs


def select_cpuinfo(text: bytes, cpus: list[int]) -> bytes:
    """The blocks of /proc/cpuinfo that describe ``cpus``, numbered from 0."""
    kept: list[bytes] = []
    for block in text.split(b"\n\n"):
        first, _, rest = block.partition(b"\n")
        name, _, number = first.partition(b":")
        if name.strip() != b"processor" or not number.strip().isdigit():
            continue
        if int(number) in cpus:
            kept.append(b"processor\t: %d\n" % len(kept) + rest.rstrip(b"\n") + b"\n\n")
    return b"".join(kept)


def _kibibytes(text: bytes, key: bytes) -> int:
    for line in text.splitlines():
        if line.startswith(key):
            words = line.split()
            if len(words) >= 2 and words[1].isdigit():
                return int(words[1]) * 1024
    return 0


def _read(name: str, limit: int) -> bytes:
    try:
        with open(name, "rb") as file:
            return file.read(limit)
    except OSError:
        return b""
