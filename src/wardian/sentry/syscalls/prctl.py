"""prctl(2)."""

from __future__ import annotations

from typing import Final

from wardian.sentry.errno import EFAULT, EINVAL, EPERM
from wardian.sentry.kernel.credentials import (
    CAP_LAST_CAP,
    CAP_SETPCAP,
    SECBIT_KEEP_CAPS,
    SECBIT_NO_CAP_AMBIENT_RAISE,
    Credentials,
)
from wardian.sentry.kernel.signal_numbers import NSIG
from wardian.sentry.kernel.task import Task
from wardian.sentry.kernel.thread_group import SUID_DUMP_USER
from wardian.sentry.syscalls.kinds import Int, ULong

PR_SET_PDEATHSIG: Final = 1
PR_GET_PDEATHSIG: Final = 2
PR_GET_DUMPABLE: Final = 3
PR_SET_DUMPABLE: Final = 4
PR_GET_KEEPCAPS: Final = 7
PR_SET_KEEPCAPS: Final = 8
PR_GET_TIMING: Final = 13
PR_SET_TIMING: Final = 14
PR_SET_NAME: Final = 15
PR_GET_NAME: Final = 16
PR_GET_SECCOMP: Final = 21
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_READ: Final = 23
PR_CAPBSET_DROP: Final = 24
PR_GET_TSC: Final = 25
PR_SET_TSC: Final = 26
PR_GET_SECUREBITS: Final = 27
PR_SET_SECUREBITS: Final = 28
PR_SET_TIMERSLACK: Final = 29
PR_GET_TIMERSLACK: Final = 30
PR_SET_CHILD_SUBREAPER: Final = 36
PR_GET_CHILD_SUBREAPER: Final = 37
PR_SET_NO_NEW_PRIVS: Final = 38
PR_GET_NO_NEW_PRIVS: Final = 39
PR_GET_TID_ADDRESS: Final = 40
PR_SET_THP_DISABLE: Final = 41
PR_GET_THP_DISABLE: Final = 42
PR_CAP_AMBIENT: Final = 47
PR_GET_AUXV: Final = 0x41555856

PR_CAP_AMBIENT_IS_SET: Final = 1
PR_CAP_AMBIENT_RAISE: Final = 2
PR_CAP_AMBIENT_LOWER: Final = 3
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

PR_TSC_ENABLE: Final = 1
TIMER_SLACK_NS: Final = 50_000
COMM_LENGTH: Final = 16


def prctl(t: Task, option: Int, arg2: ULong, arg3: ULong, arg4: ULong, arg5: ULong) -> int:
    """prctl(2)."""
    if option == PR_SET_NAME:
        return set_name(t, arg2)
    if option == PR_GET_NAME:
        t.copy_out(arg2, t.name.ljust(COMM_LENGTH, b"\0"))
        return 0
    if option in (
        PR_CAPBSET_READ,
        PR_CAPBSET_DROP,
        PR_GET_SECUREBITS,
        PR_SET_SECUREBITS,
        PR_GET_KEEPCAPS,
        PR_SET_KEEPCAPS,
        PR_CAP_AMBIENT,
    ):
        return capability_option(t, option, arg2, arg3, arg4 | arg5)
    if option in (PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS):
        return no_new_privs(t, option, arg2, arg3 | arg4 | arg5)
    if option in (PR_SET_PDEATHSIG, PR_GET_PDEATHSIG):
        return death_signal(t, option, arg2)
    if option == PR_GET_TIMERSLACK:
        return TIMER_SLACK_NS
    return group_option(t, option, arg2, arg3, arg4, arg5)


def set_name(t: Task, address: int) -> int:
    """PR_SET_NAME: up to 15 bytes of a string that may be longer."""
    data = t.memory.process.read_some(address, COMM_LENGTH - 1)
    name, end, _ = data.partition(b"\0")
    if not end and len(data) < COMM_LENGTH - 1:
        raise EFAULT("name runs into unmapped memory")
    t.name = name
    return 0


def death_signal(t: Task, option: int, argument: int) -> int:
    """PR_SET_PDEATHSIG and PR_GET_PDEATHSIG."""
    if option == PR_GET_PDEATHSIG:
        return put_int(t, argument, t.death_signal)
    if argument > NSIG:
        raise EINVAL("no such signal")
    t.death_signal = argument
    return 0


def no_new_privs(t: Task, option: int, value: int, rest: int) -> int:
    """PR_SET_NO_NEW_PRIVS and PR_GET_NO_NEW_PRIVS."""
    if option == PR_GET_NO_NEW_PRIVS:
        if value | rest:
            raise EINVAL("unused arguments must be 0")
        return int(t.credentials.no_new_privs)
    if value != 1 or rest:
        raise EINVAL("can only be set to 1")
    new = t.credentials.copy()
    new.no_new_privs = True
    t.credentials = new
    return 0


def group_option(t: Task, option: int, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    """Options of the thread group, and the few that only answer."""
    group = t.group
    if option == PR_GET_DUMPABLE:
        return group.dumpable
    if option == PR_SET_DUMPABLE:
        if arg2 > SUID_DUMP_USER:
            raise EINVAL("dumpable is 0 or 1")
        group.dumpable = arg2
        return 0
    if option == PR_SET_CHILD_SUBREAPER:
        group.child_subreaper = arg2 != 0
        return 0
    if option == PR_GET_CHILD_SUBREAPER:
        return put_int(t, arg2, int(group.child_subreaper))
    if option == PR_GET_TID_ADDRESS:
        t.copy_out(arg2, t.clear_child_tid.to_bytes(8, "little"))
        return 0
    if option == PR_GET_AUXV:
        return get_auxv(t, arg2, arg3, arg4 | arg5)
    return constant_option(t, option, arg2, arg3 | arg4 | arg5)


def get_auxv(t: Task, address: int, size: int, rest: int) -> int:
    """PR_GET_AUXV: how long it is, whatever fits of it."""
    if rest:
        raise EINVAL("unused arguments must be 0")
    auxv = t.memory.auxv
    t.copy_out(address, auxv[:size])
    return len(auxv)


def constant_option(t: Task, option: int, argument: int, rest: int) -> int:
    """Options with one possible answer; EINVAL for those this kernel does not have (seccomp
    included)."""
    if option in (PR_GET_SECCOMP, PR_GET_TIMING, PR_GET_THP_DISABLE):
        return 0
    if option == PR_SET_TIMERSLACK or (option == PR_SET_TIMING and argument == 0):
        return 0
    if option == PR_SET_THP_DISABLE and not rest:
        return 0
    if option == PR_GET_TSC:
        return put_int(t, argument, PR_TSC_ENABLE)
    if option == PR_SET_TSC and argument == PR_TSC_ENABLE:
        return 0
    raise EINVAL(f"no such option: {option}")


def put_int(t: Task, address: int, value: int) -> int:
    """Store a C int; 0."""
    t.copy_out(address, value.to_bytes(4, "little"))
    return 0


# -- capabilities -----------------------------------------------------------------------------
def capability_option(t: Task, option: int, arg2: int, arg3: int, rest: int) -> int:
    """Bounding and ambient set, securebits and keep-caps (capabilities(7))."""
    c = t.credentials
    if option == PR_CAPBSET_READ:
        check_cap(arg2)
        return c.cap_bounding >> arg2 & 1
    if option == PR_CAPBSET_DROP:
        return drop_bounding(t, arg2)
    if option == PR_CAP_AMBIENT:
        return ambient(t, arg2, arg3, rest)
    if option == PR_GET_KEEPCAPS:
        return int(c.keep_caps)
    if option == PR_GET_SECUREBITS:
        return c.securebits | (SECBIT_KEEP_CAPS if c.keep_caps else 0)
    new = c.copy()
    if option == PR_SET_KEEPCAPS:
        if arg2 > 1:
            raise EINVAL("keep-caps is 0 or 1")
        if c.securebits & SECBIT_KEEP_CAPS << 1:
            raise EPERM("locked")
        new.keep_caps = arg2 == 1
    else:
        set_securebits(t, new, arg2)
    t.credentials = new
    return 0


def check_cap(cap: int) -> None:
    """EINVAL unless there is such a capability."""
    if cap > CAP_LAST_CAP:
        raise EINVAL("no such capability")


def drop_bounding(t: Task, cap: int) -> int:
    """PR_CAPBSET_DROP."""
    if not t.credentials.has_cap(CAP_SETPCAP):
        raise EPERM("needs CAP_SETPCAP")
    check_cap(cap)
    new = t.credentials.copy()
    new.cap_bounding &= ~(1 << cap)
    t.credentials = new
    return 0


def set_securebits(t: Task, new: Credentials, bits: int) -> None:
    """PR_SET_SECUREBITS: locked bits stay, only CAP_SETPCAP may."""
    old = new.securebits | (SECBIT_KEEP_CAPS if new.keep_caps else 0)
    locks = old & 0xAA
    locked = locks >> 1
    changed = (old ^ bits) & locked
    if bits & ~0xFF or locks & ~bits or changed or not t.credentials.has_cap(CAP_SETPCAP):
        raise EPERM("unknown or locked bits, or no CAP_SETPCAP")
    new.securebits = bits & ~SECBIT_KEEP_CAPS
    new.keep_caps = bool(bits & SECBIT_KEEP_CAPS)


def ambient(t: Task, what: int, cap: int, rest: int) -> int:
    """PR_CAP_AMBIENT."""
    c = t.credentials
    if what == PR_CAP_AMBIENT_CLEAR_ALL:
        if cap | rest:
            raise EINVAL("unused arguments must be 0")
        return set_ambient(t, 0)
    if rest:
        raise EINVAL("unused arguments must be 0")
    check_cap(cap)
    one = 1 << cap
    if what == PR_CAP_AMBIENT_IS_SET:
        return int(bool(c.cap_ambient & one))
    if what == PR_CAP_AMBIENT_LOWER:
        return set_ambient(t, c.cap_ambient & ~one)
    if what != PR_CAP_AMBIENT_RAISE:
        raise EINVAL("no such operation")
    if not c.cap_permitted & c.cap_inheritable & one or c.securebits & SECBIT_NO_CAP_AMBIENT_RAISE:
        raise EPERM("not both permitted and inheritable")
    return set_ambient(t, c.cap_ambient | one)


def set_ambient(t: Task, caps: int) -> int:
    """Replace the ambient set; 0."""
    new = t.credentials.copy()
    new.cap_ambient = caps
    t.credentials = new
    return 0
