"""The machine and the system as a whole (uname(2), sysinfo(2), getrandom(2), sethostname(2),
...)."""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import EFAULT, EINVAL, EPERM
from wardian.sentry.fs.proc_texts import memory_total
from wardian.sentry.kernel.credentials import CAP_SYS_ADMIN, CAP_SYSLOG
from wardian.sentry.kernel.task import Task
from wardian.sentry.kernel.uts import NAME_LENGTH, UTSNamespace
from wardian.sentry.syscalls.kinds import Addr, Flags, Int, OutBuf, Size, UInt, ULong
from wardian.sentry.time import SECOND

UTS_FIELD: Final = NAME_LENGTH + 1
SYSINFO: Final = struct.Struct("<q3QQQQQQQHxxxxxxQQI4x")

GRND_NONBLOCK: Final = 1
GRND_RANDOM: Final = 2
GRND_INSECURE: Final = 4
RANDOM_CHUNK: Final = 1 << 16
RANDOM_MAX: Final = 1 << 22
"""At most so much in one call; a shorter result than asked for is allowed beyond 256 bytes."""

PER_MASK: Final = 0xFFFF_FFFF


# -- uname ------------------------------------------------------------------------------------
def uname(t: Task, name: Addr) -> int:
    """uname(2)."""
    t.copy_out(name, pack_utsname(t.kernel.uts))
    return 0


def pack_utsname(uts: UTSNamespace) -> bytes:
    """A struct new_utsname."""
    fields = (uts.sysname, uts.nodename, uts.release, uts.version, uts.machine, uts.domainname)
    return b"".join(field[:NAME_LENGTH].ljust(UTS_FIELD, b"\0") for field in fields)


def sethostname(t: Task, name: Addr, length: Int) -> int:
    """sethostname(2)."""
    t.kernel.uts.nodename = given_name(t, name, length)
    return 0


def setdomainname(t: Task, name: Addr, length: Int) -> int:
    """setdomainname(2)."""
    t.kernel.uts.domainname = given_name(t, name, length)
    return 0


def given_name(t: Task, name: int, length: int) -> bytes:
    """A new name of ``length`` bytes; EPERM, EINVAL."""
    if not t.credentials.has_cap(CAP_SYS_ADMIN):
        raise EPERM("needs CAP_SYS_ADMIN")
    if not 0 <= length <= NAME_LENGTH:
        raise EINVAL("the name is too long")
    return t.copy_in(name, length).partition(b"\0")[0] if length else b""


# -- sysinfo and randomness -------------------------------------------------------------------
def sysinfo(t: Task, info: Addr) -> int:
    """sysinfo(2): the sandbox's size and age, as /proc/meminfo and /proc/uptime have them."""
    kernel = t.kernel
    total = memory_total(kernel)
    free = max(total - kernel.memory_count.used(kernel), 0)
    uptime = (kernel.clock.monotonic_ns() - kernel.boot_ns) // SECOND
    tasks = min(len(kernel.pids.tasks), 0xFFFF)
    t.copy_out(info, SYSINFO.pack(uptime, 0, 0, 0, total, free, 0, 0, 0, 0, tasks, 0, 0, 1))
    return 0


def getrandom(t: Task, ubuf: OutBuf, length: Size, flags: Flags) -> int:
    """getrandom(2)."""
    if flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE):
        raise EINVAL("unknown flag")
    if flags & (GRND_RANDOM | GRND_INSECURE) == GRND_RANDOM | GRND_INSECURE:
        raise EINVAL("GRND_RANDOM and GRND_INSECURE exclude each other")
    count = min(length, RANDOM_MAX)
    clock = t.kernel.clock
    if count <= RANDOM_CHUNK:
        if count:
            t.copy_out(ubuf, clock.random(count))
        return count
    return fill_random(t, ubuf, count)


def fill_random(t: Task, address: int, count: int) -> int:
    """Fill in pieces; the bytes written before a fault, EFAULT when there are none."""
    done = 0
    while done < count:
        step = min(RANDOM_CHUNK, count - done)
        try:
            t.memory.process.write(address + done, t.kernel.clock.random(step))
        except EFAULT:
            if done == 0:
                raise
            break
        done += step
    return done


# -- odds and ends ----------------------------------------------------------------------------
def personality(t: Task, persona: UInt) -> int:
    """personality(2): the flags are kept; only PER_LINUX programs run."""
    old = t.group.personality
    if persona != PER_MASK:
        t.group.personality = persona
    return old


def syslog(t: Task, kind: Int, buf: Addr, length: Int) -> int:
    """syslog(2): there is no kernel log to read."""
    if kind in (2, 3, 4) and (not buf or length < 0):
        raise EINVAL("buf must not be null, length not negative")
    if not 0 <= kind <= 10:
        raise EINVAL("no such action")
    if kind not in (3, 10) and not t.credentials.has_cap(CAP_SYSLOG):
        raise EPERM("needs CAP_SYSLOG")
    return 0


def seccomp(t: Task, op: UInt, flags: UInt, uargs: Addr) -> int:
    """seccomp(2): guests cannot install filters of their own."""
    raise EINVAL("no seccomp in here")


def reboot(t: Task, magic1: Int, magic2: Int, cmd: UInt, arg: Addr) -> int:
    """reboot(2)."""
    return refuse()


def iopl(t: Task, level: UInt) -> int:
    """iopl(2)."""
    return refuse()


def ioperm(t: Task, first: ULong, number: ULong, turn_on: Int) -> int:
    """ioperm(2)."""
    return refuse()


def vhangup(t: Task) -> int:
    """vhangup(2)."""
    return refuse()


def swapon(t: Task, path: Addr, flags: Flags) -> int:
    """swapon(2)."""
    return refuse()


def swapoff(t: Task, path: Addr) -> int:
    """swapoff(2)."""
    return refuse()


def acct(t: Task, name: Addr) -> int:
    """acct(2)."""
    return refuse()


def init_module(t: Task, image: Addr, length: ULong, args: Addr) -> int:
    """init_module(2)."""
    return refuse()


def finit_module(t: Task, fd: Int, args: Addr, flags: Flags) -> int:
    """finit_module(2)."""
    return refuse()


def delete_module(t: Task, name: Addr, flags: Flags) -> int:
    """delete_module(2)."""
    return refuse()


def refuse() -> int:
    """EPERM: what only the owner of a real machine may do, whatever the guest's capabilities."""
    raise EPERM("not in a sandbox")
