"""poll(2), ppoll(2), select(2), pselect6(2): wait for any of a set of descriptors.

The set is copied in once and kept in ``call.state``; each run of the handler looks at all of it,
and parks on every file's queue when nothing is ready. The temporary signal mask of the p-variants
stays in force while parked; ``signal_delivery`` puts the old one into a handler's frame.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EBADF, EINVAL, LinuxError
from wardian.sentry.kernel.rlimits import RLIMIT_NOFILE
from wardian.sentry.kernel.signals import set_blocked
from wardian.sentry.kernel.task import PARKED, InterruptAction
from wardian.sentry.syscalls.kinds import Addr, InSigset, Int, InTimespec, InTimeval, Size, UInt
from wardian.sentry.time import SECOND, pack_timespec, pack_timeval, timespec_ns
from wardian.sentry.vfs.file import (
    O_PATH,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    POLLPRI,
    POLLRDBAND,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
)

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

POLLFD: Final = struct.Struct("<ihH")
TIMEVAL: Final = struct.Struct("<qq")
SELECT_ARGUMENT: Final = struct.Struct("<QQ")
MILLISECOND: Final = 1_000_000
SELECT_MAX: Final = 1 << 20

READ_SET: Final = POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR
WRITE_SET: Final = POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR
EXCEPT_SET: Final = POLLPRI


# -- the temporary signal mask ---------------------------------------------------------------------
def swap_mask(t: Task, mask: bytes | None, size: int) -> None:
    """Block ``mask`` until :func:`restore_mask` or a handler's return; None changes nothing."""
    if mask is None:
        return
    if size != 8:
        raise EINVAL("sigset_t has 8 bytes")
    if t.signals.saved_mask < 0:
        t.signals.saved_mask = t.signals.blocked
    set_blocked(t, int.from_bytes(mask, "little"))


def restore_mask(t: Task) -> None:
    """Undo :func:`swap_mask`: the call ends by itself."""
    saved = t.signals.saved_mask
    if saved >= 0:
        t.signals.saved_mask = -1
        set_blocked(t, saved)


# -- time-outs -------------------------------------------------------------------------------------
class TimeLeft(InterruptAction):
    """Writes the time left to where the time-out came from (select(2), "Notes")."""

    def __init__(self, address: int, deadline_ns: int, timeval: bool) -> None:
        self.address = address
        self.deadline_ns = deadline_ns
        self.timeval = timeval

    def interrupted(self, task: Task, restarts: bool) -> None:
        self.write(task)

    def write(self, task: Task) -> None:
        """A read-only or vanished time-out is not an error, as on Linux."""
        left = max(0, self.deadline_ns - task.kernel.clock.monotonic_ns())
        data = pack_timeval(left) if self.timeval else pack_timespec(left)
        try:
            task.memory.process.write(self.address, data)
        except LinuxError:
            pass


def note_time_left(t: Task, argument: int, timeout_ns: int, timeval: bool) -> None:
    """Have the time-out in register ``argument`` updated when the call ends, however it ends."""
    call = t.call
    assert call is not None
    address = call.arg(argument)
    if timeout_ns > 0 and address and call.on_interrupt is None:
        call.on_interrupt = TimeLeft(address, t.deadline(timeout_ns), timeval)


def finish(t: Task, result: int) -> int:
    """The common end of the calls here: unless parked, mask back and time left written."""
    if result != PARKED:
        restore_mask(t)
        call = t.call
        assert call is not None
        action = call.on_interrupt
        if isinstance(action, TimeLeft):
            action.write(t)
    return result


# -- poll ------------------------------------------------------------------------------------------
class PollSet:
    """The pollfd array of one call."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.entries: list[tuple[int, int]] = []  # (fd, events)
        for fd, events, _ in POLLFD.iter_unpack(data):
            self.entries.append((fd, events & 0xFFFF))
        self.found: list[int] = []

    def look(self, t: Task) -> int:
        """Fill ``found`` with revents; how many are not zero."""
        found: list[int] = []
        ready = 0
        files = t.files
        for fd, events in self.entries:
            revents = 0
            if fd >= 0:
                file = files.find(fd)
                if file is None or file.flags & O_PATH:
                    revents = POLLNVAL
                else:
                    revents = file.poll() & (events | POLLERR | POLLHUP)
                if revents:
                    ready += 1
            found.append(revents)
        self.found = found
        return ready

    def park(self, t: Task) -> None:
        """Wait on every file."""
        for fd, events in self.entries:
            file = t.files.find(fd) if fd >= 0 else None
            if file is not None:
                t.park(file.poll_queue(), events | POLLERR | POLLHUP)

    def write(self, t: Task, address: int) -> None:
        """Give the array back with its revents."""
        if self.entries:
            parts = [
                POLLFD.pack(self.entries[i][0], signed16(self.entries[i][1]), self.found[i])
                for i in range(len(self.entries))
            ]
            t.copy_out(address, b"".join(parts))


def signed16(value: int) -> int:
    return value - 0x10000 if value & 0x8000 else value


def poll_set(t: Task, address: int, count: int) -> PollSet:
    """The call's array, copied in at the first run."""
    call = t.call
    assert call is not None
    state = call.state
    if isinstance(state, PollSet):
        return state
    limit, _ = t.group.rlimits.get(RLIMIT_NOFILE)
    if count > limit:
        raise EINVAL("more entries than RLIMIT_NOFILE")
    made = PollSet(t.copy_in(address, count * POLLFD.size) if count else b"")
    call.state = made
    return made


def wait_poll(t: Task, address: int, count: int, timeout_ns: int) -> int:
    """poll until something is ready or ``timeout_ns`` (negative: none) has passed."""
    fds = poll_set(t, address, count)
    deadline = t.deadline(timeout_ns)
    ready = fds.look(t)
    if ready or timeout_ns == 0 or t.expired():
        fds.write(t, address)
        return ready
    fds.park(t)
    return t.park_until(deadline)


def poll(t: Task, fds: Addr, nfds: UInt, timeout: Int) -> int:
    """poll(2)."""
    return wait_poll(t, fds, nfds, timeout * MILLISECOND if timeout >= 0 else -1)


def ppoll(
    t: Task,
    fds: Addr,
    nfds: UInt,
    timeout: InTimespec | None,
    mask: InSigset | None,
    mask_size: Size,
) -> int:
    """ppoll(2)."""
    timeout_ns = -1
    if timeout is not None:
        timeout_ns = timespec_ns(timeout)
    swap_mask(t, mask, mask_size)
    try:
        note_time_left(t, 2, timeout_ns, False)
        return finish(t, wait_poll(t, fds, nfds, timeout_ns))
    except LinuxError:
        restore_mask(t)
        raise


# -- select ----------------------------------------------------------------------------------------
class SelectSet:
    """The three descriptor sets of one call, as integers with a bit per descriptor."""

    def __init__(self, count: int, reads: int, writes: int, excepts: int) -> None:
        self.count = count
        self.size = (count + 63) // 64 * 8
        self.wanted = (reads, writes, excepts)
        self.fds: list[int] = []
        self.reads = 0
        self.writes = 0
        self.excepts = 0
        every = (reads | writes | excepts) & ((1 << count) - 1)
        while every:
            lowest = every & -every
            self.fds.append(lowest.bit_length() - 1)
            every ^= lowest

    def look(self, t: Task) -> int:
        """Find what is ready; the number of bits. EBADF for a descriptor that is not open."""
        self.reads = self.writes = self.excepts = 0
        ready = 0
        reads, writes, excepts = self.wanted
        for fd in self.fds:
            file = t.files.find(fd)
            if file is None or file.flags & O_PATH:
                raise EBADF(f"descriptor {fd} is not open")
            events = file.poll()
            one = 1 << fd
            if reads & one and events & READ_SET:
                self.reads |= one
                ready += 1
            if writes & one and events & WRITE_SET:
                self.writes |= one
                ready += 1
            if excepts & one and events & EXCEPT_SET:
                self.excepts |= one
                ready += 1
        return ready

    def park(self, t: Task) -> None:
        """Wait on every file."""
        reads, writes, excepts = self.wanted
        for fd in self.fds:
            one = 1 << fd
            events = POLLERR | POLLHUP
            if reads & one:
                events |= READ_SET
            if writes & one:
                events |= WRITE_SET
            if excepts & one:
                events |= EXCEPT_SET
            t.park(t.files.get(fd).poll_queue(), events)

    def write(self, t: Task, addresses: tuple[int, int, int]) -> None:
        """Give the sets back."""
        found = (self.reads, self.writes, self.excepts)
        for i in range(3):
            if addresses[i] and self.size:
                t.copy_out(addresses[i], found[i].to_bytes(self.size, "little"))


def select_set(t: Task, count: int, addresses: tuple[int, int, int]) -> SelectSet:
    """The call's sets, copied in at the first run."""
    call = t.call
    assert call is not None
    state = call.state
    if isinstance(state, SelectSet):
        return state
    if count < 0:
        raise EINVAL("negative number of descriptors")
    # Linux looks no further than the table is large; bits beyond do not count.
    count = min(count, max(256, (len(t.files.slots) + 63) // 64 * 64), SELECT_MAX)
    size = (count + 63) // 64 * 8
    sets = [0, 0, 0]
    for i in range(3):
        if addresses[i] and size:
            sets[i] = int.from_bytes(t.copy_in(addresses[i], size), "little")
    made = SelectSet(count, sets[0], sets[1], sets[2])
    call.state = made
    return made


def wait_select(t: Task, count: int, addresses: tuple[int, int, int], timeout_ns: int) -> int:
    """select until something is ready or ``timeout_ns`` (negative: none) has passed."""
    fds = select_set(t, count, addresses)
    deadline = t.deadline(timeout_ns)
    ready = fds.look(t)
    if ready or timeout_ns == 0 or t.expired():
        fds.write(t, addresses)
        return ready
    fds.park(t)
    return t.park_until(deadline)


def select_timeout_ns(timeout: bytes) -> int:
    """A select(2) time-out; microseconds beyond a second carry over, as on Linux."""
    seconds, microseconds = TIMEVAL.unpack(timeout)
    seconds += microseconds // 1_000_000
    if seconds < 0 or microseconds < 0:
        raise EINVAL("negative time-out")
    return int(seconds * SECOND + microseconds % 1_000_000 * 1000)


def select(
    t: Task, nfds: Int, reads: Addr, writes: Addr, excepts: Addr, timeout: InTimeval | None
) -> int:
    """select(2)."""
    timeout_ns = select_timeout_ns(timeout) if timeout is not None else -1
    note_time_left(t, 4, timeout_ns, True)
    return finish(t, wait_select(t, nfds, (reads, writes, excepts), timeout_ns))


def pselect6(
    t: Task,
    nfds: Int,
    reads: Addr,
    writes: Addr,
    excepts: Addr,
    timeout: InTimespec | None,
    mask: Addr,
) -> int:
    """pselect6(2): ``mask`` points to a pointer to the mask and its size."""
    timeout_ns = timespec_ns(timeout) if timeout is not None else -1
    if mask:
        address, size = SELECT_ARGUMENT.unpack(t.copy_in(mask, SELECT_ARGUMENT.size))
        swap_mask(t, t.copy_in(address, 8) if address else None, size)
    try:
        note_time_left(t, 4, timeout_ns, False)
        return finish(t, wait_select(t, nfds, (reads, writes, excepts), timeout_ns))
    except LinuxError:
        restore_mask(t)
        raise
