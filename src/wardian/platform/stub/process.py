"""Guest address spaces and the host processes that hold them."""

from __future__ import annotations

import _signal as signal
import os
import resource as rlimits
import time
from typing import TYPE_CHECKING, Final

from wardian import _core
from wardian.platform.hostfds import KEPT, MOST
from wardian.platform.interface import ExecImage, HostMapping, HostProcess, device_number
from wardian.platform.layout import CHANNEL_SIZE, GUEST_TOP, SLOTS
from wardian.platform.log import Log
from wardian.platform.stub.sockets import Control
from wardian.platform.stub.text import Text
from wardian.sentry.errno import EACCES, EAGAIN, EFAULT

if TYPE_CHECKING:
    from wardian.platform.stub.engine import StubEngine
    from wardian.platform.stub.thread import StubThread

LOG: Final = Log("wardian.engine")
SMALLEST_NO_LIMIT: Final = 1 << 60  # beyond any address space
CPUCLOCK_PROF: Final = 0
CPUCLOCK_VIRT: Final = 1
HOST_NO_LIMIT: Final = 1 << 62


class Space:
    """One channel memfd: the slots of the threads that share one address space."""

    def __init__(self, hub: _core.Hub) -> None:
        self.hub = hub
        self.memfd = os.memfd_create("wardian-channel", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.memfd, CHANNEL_SIZE)
            self.index = hub.add_space(self.memfd)
        except OSError:
            os.close(self.memfd)
            raise
        self.next_slot = 1
        self.retired: list[int] = []  # slots whose host thread is ending
        self.users = 0  # host processes that map it

    def key(self, slot: int) -> int:
        """The hub's name for a slot."""
        return self.index << 12 | slot

    def allocate(self) -> int:
        """A free slot, active; EAGAIN when the address space has too many threads."""
        for slot in self.retired:
            if self.hub.host_tid(self.key(slot)) == 0:
                self.retired.remove(slot)
                self.hub.activate(self.key(slot))
                return slot
        if self.next_slot >= SLOTS:
            raise EAGAIN("too many threads in one process")
        slot = self.next_slot
        self.next_slot += 1
        self.hub.activate(self.key(slot))
        return slot

    def is_spare(self) -> bool:
        """False for the last spaces and descriptors, which are kept for programs to be loaded."""
        return self.index < SLOTS - KEPT and self.memfd < MOST

    def claim(self, slot: int) -> None:
        """Use exactly this slot (a forked child stands on its parent's stub stack)."""
        self.next_slot = slot + 1
        self.hub.activate(self.key(slot))

    def retire(self, slot: int, reusable: bool) -> None:
        """The thread of ``slot`` is ending; ``reusable`` when the host kernel reports its end."""
        self.hub.deactivate(self.key(slot))
        if reusable:
            self.retired.append(slot)

    def drop(self) -> None:
        """One host process less; the last one frees the memory."""
        self.users -= 1
        if self.users == 0:
            self.close()

    def close(self) -> None:
        """Free the memory: no host process uses it (any more)."""
        self.hub.remove_space(self.index)
        os.close(self.memfd)


class StubProcess(HostProcess):
    """A host process running guest code. A vfork(2) child shares its
    parent's space but is one of its own."""

    def __init__(self, engine: StubEngine, space: Space) -> None:
        super().__init__()
        self.engine = engine
        self.space = space
        self.pid = 0  # until the host process is known: a forked one that has yet to report itself
        self.pidfd = -1
        space.users += 1
        self.threads: list[StubThread] = []
        self.brk_start = 0
        self.text = Text(self)
        self.control: Control | None = None
        self.limited: set[int] = set()  # resources that the host limits
        self.limits: dict[int, tuple[int, int]] = {}  # to be set when the host process is known
        self.cpu_base_ns = 0  # used by programs that ran in it before
        self.user_ns = 0  # of the time used, as told last
        self.system_ns = 0
        self.threaded = False  # it has had more than one thread
        self.ended = False  # we ended it, or know that it ended

    def born(self, pid: int, pidfd: int) -> None:
        """The host process is known now."""
        self.pid = pid
        self.pidfd = pidfd
        self.engine.follow(self)
        for resource, (soft, besides) in self.limits.items():
            self.set_limit(resource, soft, besides)
        self.limits.clear()

    def new_program(self, image: ExecImage) -> None:
        """Another program is loaded in place of the one that ran."""
        self.brk_start = image.brk_start
        self.text.load(image)
        for resource in self.limited:  # the new program's own come when it is loaded
            self.set_limit(resource, SMALLEST_NO_LIMIT, 0)
        self.cpu_base_ns += self.cpu_time_ns()
        self.user_ns = self.system_ns = 0

    def inherit(self, parent: StubProcess) -> None:
        """What a process to come has from its parent."""
        self.brk_start = parent.brk_start
        self.text.inherit(parent.text)
        self.limited = parent.limited.copy()

    def sharing(self) -> StubProcess:
        """One to come that will share this one's memory (vfork)."""
        child = StubProcess(self.engine, self.space)
        child.inherit(self)
        if self.control is not None:
            child.control = self.control.share()
        return child

    def can_send(self, thread: StubThread) -> bool:
        """Whether descriptors can be sent to ``thread`` right now."""
        return self.control is not None and self.control.is_free(thread)

    def read_some(self, address: int, count: int) -> bytes:
        if not 0 <= address < GUEST_TOP:  # sums of guest registers may be longer than one
            return b""
        try:
            return _core.vm_read(self.pid, address, count)
        except OSError:
            return b""

    def read(self, address: int, count: int) -> bytes:
        data = self.read_some(address, count) if count else b""
        if len(data) != count:
            raise EFAULT(f"{count} bytes at {address:#x} cannot be read")
        return data

    def strings(self, addresses: list[int]) -> list[bytes | None]:
        return _core.vm_strings(self.pid, addresses)

    def write(self, address: int, data: bytes) -> None:
        try:
            written = _core.vm_write(self.pid, address, data) if 0 <= address < GUEST_TOP else 0
        except OSError:
            written = 0
        if written != len(data):
            raise EFAULT(f"{len(data)} bytes at {address:#x} cannot be written")

    def maps(self) -> list[HostMapping]:
        # The host writes a newline in a file's name in another way, but no other kind of line end.
        lines = self.engine.proc.read(self.pid, "maps").split("\n")
        found = [parse_mapping(line) for line in lines]
        return [m for m in found if m is not None and (m.end <= GUEST_TOP or m.name == "[vdso]")]

    def mapped_files(self) -> set[tuple[int, int]] | None:
        text = self.engine.proc.read(self.pid, "maps") if self.pid else ""
        if not text:
            return None
        found: set[tuple[str, str]] = set()
        for line in text.split("\n"):
            fields = line.split(None, 5)
            if len(fields) > 4 and fields[4] != "0":
                found.add((fields[3], fields[4]))
        return {(device_number(dev), int(ino)) for dev, ino in found}

    def brk_range(self) -> tuple[int, int]:
        # The stub keeps the break in the guest's own memory; what the
        # host has mapped there is the truth.
        start = (self.brk_start + 4095) & ~4095
        for mapping in self.maps():
            if mapping.start <= start < mapping.end:
                return self.brk_start, mapping.end
        return self.brk_start, self.brk_start

    def cpu_time_ns(self) -> int:
        if not self.pid:
            return 0
        return max(0, _core.cpu_time(self.pid, False) - self.cpu_base_ns)

    def system_time_ns(self, total: int) -> int:
        if not self.pid:
            return 0
        # The host's ticks say how to divide the exact time, and neither part may ever go back
        # (cputime_adjust).
        try:
            user = time.clock_gettime_ns(~self.pid << 3 | CPUCLOCK_VIRT)
            ticks = time.clock_gettime_ns(~self.pid << 3 | CPUCLOCK_PROF)
        except OSError:
            return min(self.system_ns, total)
        system = total * (ticks - user) // ticks if ticks > 0 else 0
        self.system_ns = min(max(system, self.system_ns), max(total - self.user_ns, 0))
        self.user_ns = total - self.system_ns
        return self.system_ns

    def resident_bytes(self) -> int:
        fields = self.engine.proc.read(self.pid, "statm").split()
        return int(fields[1]) * 4096 if len(fields) > 1 else 0

    def peak_resident_bytes(self) -> int:
        return self.status_bytes("VmHWM:")

    def private_bytes(self) -> int:
        """Resident memory that is neither of a file nor shared."""
        fields = self.engine.proc.read(self.pid, "statm").split()
        return (int(fields[1]) - int(fields[2])) * 4096 if len(fields) > 2 else 0

    def set_limit(self, resource: int, soft: int, besides: int) -> None:
        if not self.pid:
            self.limits[resource] = (soft, besides)
            return
        self.limited.add(resource)
        own = self.engine.proc.own_bytes(self.engine.zygote.pid, resource)
        if own == 0:
            LOG.warning("the size of a guest process cannot be seen: its limit is not enforced")
            return
        # The soft limit is enough: no guest can make the call that would raise it.
        limit = soft + besides + own if soft < SMALLEST_NO_LIMIT else HOST_NO_LIMIT
        try:
            _, hard = rlimits.prlimit(self.pid, resource)
            if hard != rlimits.RLIM_INFINITY:
                limit = min(limit, hard)
            elif limit == HOST_NO_LIMIT:
                limit = rlimits.RLIM_INFINITY
            rlimits.prlimit(self.pid, resource, (limit, hard))
        except (OSError, ValueError):
            LOG.warning("the host does not let us limit the memory of a guest process")

    def status_bytes(self, name: str) -> int:
        """A line of the host's /proc/<pid>/status; 0 when there is none."""
        return self.engine.proc.status_bytes(self.pid, name)

    def end(self) -> None:
        """End the host process; its death is reported as one from outside."""
        if not self.pid:
            return  # when it reports itself
        try:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def kill(self) -> None:
        if self.ended:
            return
        self.ended = True
        if self.pid:
            self.end()
            self.leave_threads()

    def leave_threads(self) -> None:
        """None of them will speak again."""
        for thread in self.threads:
            self.engine.forget_thread(thread)
            if self.space.users > 1:
                self.space.retire(thread.slot, thread.reports_end)
        self.threads.clear()

    def gone(self) -> None:
        """The host process has ended, or will never be: free what belonged to it."""
        self.ended = True
        self.leave_threads()
        if self.control is not None:
            self.control.drop()
            self.control = None
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        self.space.drop()


def parse_mapping(line: str) -> HostMapping | None:
    """One line of /proc/<pid>/maps (proc_pid_maps(5))."""
    fields = line.split(None, 5)
    if len(fields) < 5:
        return None
    start, _, end = fields[0].partition("-")
    name = fields[5] if len(fields) > 5 else ""
    return HostMapping(
        int(start, 16), int(end, 16), fields[1], int(fields[2], 16), fields[3], int(fields[4]), name
    )


class ProcFiles:
    """Reads the host's /proc files of guest processes below one
    directory descriptor, or nothing."""

    def __init__(self, directory: int) -> None:
        self.directory = directory
        self.sizes: dict[int, int] = {}  # of own_bytes

    def own_bytes(self, zygote: int, resource: int) -> int:
        """How much of RLIMIT_AS or RLIMIT_DATA the engine takes in every guest process: stub,
        channel and fences, which all have from the zygote. 0 when that cannot be found out."""
        known = self.sizes.get(resource, 0)
        if known == 0:
            name = "VmSize:" if resource == rlimits.RLIMIT_AS else "VmData:"
            known = self.sizes[resource] = self.status_bytes(zygote, name)
        return known

    def reopen(self, fd: int) -> int:
        """``fd`` opened again, for reading alone; EACCES where the host's /proc is out of reach."""
        try:
            return _core.openat2(
                self.directory, f"self/fd/{fd}".encode(), os.O_RDONLY | os.O_CLOEXEC, 0, 0
            )
        except OSError as e:
            raise EACCES(f"a file open for writing cannot be mapped read-only here: {e}") from None

    def status_bytes(self, pid: int, name: str) -> int:
        """A line of /proc/<pid>/status that counts kB; 0 when there is none."""
        for line in self.read(pid, "status").split("\n"):
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        return 0

    def pids(self) -> list[int]:
        """All processes that we can see."""
        if self.directory < 0:
            return []
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            fd = _core.openat2(self.directory, b".", flags, 0, 0)
        except OSError:
            return []
        try:
            return [int(name) for name in os.listdir(fd) if name.isdigit()]
        except OSError:
            return []
        finally:
            os.close(fd)

    def read(self, pid: int, name: str) -> str:
        """The text of /proc/<pid>/<name>; empty when it cannot be read."""
        if self.directory < 0:
            return ""
        try:
            fd = _core.openat2(
                self.directory, f"{pid}/{name}".encode(), os.O_RDONLY | os.O_CLOEXEC, 0, 0
            )
        except OSError:
            return ""
        parts: list[bytes] = []
        try:
            while piece := os.read(fd, 65536):
                parts.append(piece)
        except OSError:
            pass
        finally:
            os.close(fd)
        return b"".join(parts).decode("utf-8", "replace")
