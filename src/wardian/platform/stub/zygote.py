"""Starting the zygote and asking it for pool processes (native/stub/zygote.c is the other half)."""

from __future__ import annotations

import os
import struct
from fcntl import F_DUPFD_CLOEXEC, fcntl
from typing import Final

from wardian.platform.layout import DOORBELL_FD, SHARED_FD, ZYGOTE_FD
from wardian.platform.stub import sockets

HIGH_FD: Final = 200
"""From where on descriptors wait so that the zygote's fixed numbers can be given in any order."""


class ZygoteError(Exception):
    """The zygote could not be started; the text says why and what to do."""


EXIT_REASONS: Final = {
    20: "the vDSO could not be moved",
    21: "the address space could not be reserved (RLIMIT_AS, overcommit?)",
    22: "shared memory could not be mapped",
    23: "shared memory could not be mapped",
    24: "the stub stacks could not be reserved",
    44: "PR_SET_NO_NEW_PRIVS was refused",
    45: "the host refused the seccomp filter (no CONFIG_SECCOMP_FILTER, or a listener is already "
    "installed)",
    47: "the CPU or host kernel lacks FSGSBASE",
}


class Zygote:
    """The first guest-side process; ends all the others when its socket closes."""

    def __init__(self, stub: str, shared_fd: int, doorbell: int) -> None:
        ours, theirs = sockets.pair()
        self.socket = ours
        self.pid = spawn(stub, shared_fd, doorbell, theirs.fileno())
        theirs.close()
        self.listener = -1
        self.vdso = 0

    def install_filters(self, first: bytes, second: bytes) -> None:
        """Hand over the guest filters; afterwards ``listener`` and ``vdso`` are known."""
        header = struct.pack("<2H", len(first) // 8, len(second) // 8)
        try:
            self.socket.send(header + first + second)
            data, listener = sockets.receive_fd(self.socket, 8)
        except OSError as e:
            raise ZygoteError(f"the zygote went away: {e.strerror}") from None
        if len(data) != 8 or listener < 0:
            raise ZygoteError(self.why_dead())
        self.vdso = int.from_bytes(data, "little")
        self.listener = listener

    def why_dead(self) -> str:
        """What its exit status says."""
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            return "the zygote ended"
        code = os.waitstatus_to_exitcode(status)
        return EXIT_REASONS.get(code, f"the zygote ended with status {code}")

    def spawn(self, channel: int, control: int) -> None:
        """Ask for one pool process with this channel memfd and control socket."""
        sockets.send_fds(self.socket, b"S", [channel, control])


def spawn(stub: str, shared_fd: int, doorbell: int, zygote_socket: int) -> int:
    """Start the stub program with the descriptors it expects; its host pid."""
    sources = [(doorbell, DOORBELL_FD), (shared_fd, SHARED_FD), (zygote_socket, ZYGOTE_FD)]
    high = [fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD) for fd, _ in sources]
    actions: list[tuple[int, int] | tuple[int, int, int] | tuple[int, int, str, int, int]] = []
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    actions += [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
    actions += [
        (os.POSIX_SPAWN_DUP2, fd, target) for fd, (_, target) in zip(high, sources, strict=True)
    ]
    try:
        return os.posix_spawn(stub, ["wardian-guest"], {}, file_actions=actions)
    except OSError as e:
        raise ZygoteError(f"cannot start {stub}: {e.strerror}") from None
    finally:
        for fd in [*high, null]:
            os.close(fd)
