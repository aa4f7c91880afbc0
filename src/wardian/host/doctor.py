"""What this host gives: the examination behind ``wardian doctor``.

Two parts. What Wardian cannot run without is probed call by call; the layers of confinement are
found by putting them on for real, in a child process that does nothing else. So the answer holds
for this user, in this container, with this security module, and needs no list of what each of them
is known to refuse.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import re
import signal
import struct
import sys
from typing import TYPE_CHECKING

from wardian.host import confine, layers, seccomp_bpf, syscalls
from wardian.platform import layout

if TYPE_CHECKING:
    from collections.abc import Callable

OK = "ok"
MISSING = "missing"
PARTLY = "partly"
UNKNOWN = "unknown"

NEEDED = "needed"
LAYER = "layer"
FASTER = "faster"

MIN_KERNEL = (5, 9)
_AT_HWCAP2 = 26
_HWCAP2_FSGSBASE = 2


class Check:
    """One line of the report."""

    def __init__(self, kind: str, name: str, state: str, detail: str, remedy: str = "") -> None:
        self.kind = kind
        self.name = name
        self.state = state
        self.detail = detail
        self.remedy = remedy

    def as_dict(self) -> dict[str, str]:
        """For --json."""
        return {
            "kind": self.kind,
            "name": self.name,
            "state": self.state,
            "detail": self.detail,
            "remedy": self.remedy,
        }


class Report:
    """All checks, and what follows from them."""

    def __init__(self, checks: list[Check]) -> None:
        self.checks = checks

    def can_run(self) -> bool:
        """Whether everything that is needed is there."""
        return all(check.state == OK for check in self.checks if check.kind == NEEDED)

    def lacking(self) -> list[str]:
        """Names of layers that are not, or not wholly, there."""
        return [check.name for check in self.checks if check.kind == LAYER and check.state != OK]

    def as_dict(self) -> dict[str, object]:
        """For --json."""
        return {
            "can_run": self.can_run(),
            "lacking": self.lacking(),
            "checks": [check.as_dict() for check in self.checks],
        }


def examine(stub: str) -> Report:
    """Look at everything; takes some tens of milliseconds and leaves nothing behind."""
    return Report([*_needed(), *_layers(stub), *_faster()])


# -- what Wardian cannot do without --------------------------------------------------------------


def _needed() -> list[Check]:
    return [
        _kernel(),
        _processor(),
        _probe(
            "seccomp",
            "filters with notifications",
            _listener,
            "a kernel with CONFIG_SECCOMP_FILTER; in a container, a runtime that does not use up "
            "the one notification listener a process may have",
        ),
        _probe(
            "guest memory",
            "process_vm_readv of a child",
            _read_child,
            "sysctl kernel.yama.ptrace_scope=1 or 0; in a container, a seccomp profile with "
            "process_vm_readv (Docker: kernel 4.8 or --cap-add SYS_PTRACE)",
        ),
        _probe(
            "address space",
            "14 TiB can be reserved",
            _reserve,
            "ulimit -v unlimited; sysctl vm.overcommit_memory=0 or 1",
        ),
        _probe("files", "openat2", _openat2, "Linux 5.6, a seccomp profile that knows openat2"),
        _probe("pidfd", "pidfd_open", _pidfd, "Linux 5.3, a seccomp profile that knows pidfd_open"),
    ]


def _kernel() -> Check:
    release, machine = os.uname().release, os.uname().machine
    if sys.platform != "linux" or machine != "x86_64":
        return Check(NEEDED, "kernel", MISSING, f"{sys.platform} {machine}", "Linux on x86-64")
    state = OK if _version() >= MIN_KERNEL else MISSING
    wanted = ".".join(map(str, MIN_KERNEL))
    return Check(NEEDED, "kernel", state, f"Linux {release}", f"Linux {wanted} or newer")


def _processor() -> Check:
    """The guest's thread pointer is set without a system call."""
    features = _auxiliary_value(_AT_HWCAP2)
    if features & _HWCAP2_FSGSBASE:
        return Check(NEEDED, "processor", OK, "FSGSBASE")
    remedy = "Linux 5.9 without nofsgsbase, on a processor from 2012 or later"
    return Check(NEEDED, "processor", MISSING, "no FSGSBASE", remedy)


def _auxiliary_value(kind: int) -> int:
    with open("/proc/self/auxv", "rb") as file:
        data = file.read()
    for key, value in struct.iter_unpack("<QQ", data[: len(data) // 16 * 16]):
        if key == kind:
            return int(value)
    return 0


def _probe(name: str, detail: str, action: Callable[[], None], remedy: str) -> Check:
    """Run ``action`` in a child; it fails by raising."""
    failure = in_child(action)
    if failure:
        return Check(NEEDED, name, MISSING, f"{detail}: {failure}", remedy)
    return Check(NEEDED, name, OK, detail)


def in_child(action: Callable[[], None]) -> str:
    """Run ``action`` in a forked child; "" or why it failed."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        words = ""
        try:
            os.close(reader)
            action()
        except OSError as error:
            words = error.strerror or str(error)
        except Exception as error:
            words = repr(error)
        finally:
            os.write(writer, words.encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"the child died of {signal.Signals(os.WTERMSIG(status)).name}"
    return said


def _listener() -> None:
    for action in (seccomp_bpf.TRAP, seccomp_bpf.USER_NOTIF, seccomp_bpf.KILL_PROCESS):
        syscalls.syscall(
            syscalls.NR_SECCOMP, syscalls.SECCOMP_GET_ACTION_AVAIL, 0, struct.pack("<I", action)
        )
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    allow = seccomp_bpf.assemble([seccomp_bpf.Instruction(seccomp_bpf.RET_K, seccomp_bpf.ALLOW)])
    os.close(syscalls.install_filter(allow, syscalls.SECCOMP_FILTER_FLAG_NEW_LISTENER))


def _read_child() -> None:
    """A grandchild waits while its memory, which is a copy of ours, is read."""
    there = bytearray(b"wardian!")
    here = bytearray(len(there))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        local = struct.pack("<QQ", syscalls.address_of(here), len(here))
        remote = struct.pack("<QQ", syscalls.address_of(there), len(there))
        syscalls.syscall(syscalls.NR_PROCESS_VM_READV, child, local, 1, remote, 1, 0)
    finally:
        os.close(writer)
        os.waitpid(child, 0)
    if here != there:
        raise OSError(errno.EIO, "it read something else")


def _reserve() -> None:
    size = layout.TRUSTED_BASE - layout.GUEST_TOP
    mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=0).close()


def _openat2() -> None:
    how = struct.pack("<3Q", os.O_PATH | os.O_CLOEXEC, 0, 0x08)  # RESOLVE_BENEATH
    directory = os.open("/", os.O_PATH | os.O_CLOEXEC)
    os.close(syscalls.syscall(syscalls.NR_OPENAT2, directory, b".\0", how, len(how)))


def _pidfd() -> None:
    os.close(os.pidfd_open(os.getpid()))


# -- layers --------------------------------------------------------------------------------------


def _layers(stub: str) -> list[Check]:
    """Put every layer on, in a child, and have it say how that went."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            _confined(stub, writer)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read()
    os.waitpid(child, 0)
    if not said:
        return [Check(LAYER, "all", UNKNOWN, "the confined child died", "report this as a bug")]
    return [_as_check(*entry) for entry in json.loads(said)]


def _as_check(name: str, state: str, detail: str, remedy: str) -> Check:
    states = {layers.APPLIED: OK, layers.PARTLY: PARTLY, layers.NOT_ASKED: OK}
    return Check(LAYER, name, states.get(state, MISSING), detail, remedy)


def _confined(stub: str, writer: int) -> None:
    """The launcher's part; the Sentry's is in a child of it."""
    plan = confine.Plan(stub)
    plan.grants = [confine.FileGrant("/")]
    plan.limits.memory, plan.limits.cpus, plan.limits.pids = 256 << 20, 1.0, 64
    box = confine.Confinement(plan)
    box.prepare()
    sentry = os.fork()
    if sentry == 0:
        try:
            box.enter()
            box.seal()
            entries = [(x.name, x.state, x.detail, x.remedy) for x in box.layers.all]
            os.write(writer, json.dumps(entries).encode())
        finally:
            os._exit(0)
    os.waitpid(sentry, 0)
    box.finish()


# -- what makes it faster ------------------------------------------------------------------------


_FASTER = (
    ("notification wake-ups", (6, 6), "calls that the Sentry decides take 6 instead of 46 us"),
    ("sealed stub", (6, 10), "not even the guest itself can change the stub's pages"),
)


def _faster() -> list[Check]:
    have = _version()
    return [
        Check(FASTER, name, OK if have >= since else MISSING, detail, "Linux {}.{}".format(*since))
        for name, since, detail in _FASTER
    ]


def _version() -> tuple[int, ...]:
    """The host kernel's first two numbers."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)
