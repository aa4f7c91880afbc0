"""A process of ours as its user has it: the process itself, the socket to it, its log.

:func:`launch` starts one; :func:`received` takes over one that a pool's server has started
(``sdk.pool_server``).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

from wardian.sdk.errors import SandboxError

PASSED_ON = ("LD_LIBRARY_PATH", "TMPDIR", "WARDIAN_INTERPRETED")
SANDBOX = ("wardian.sdk.launcher", "sandbox", "the sandbox's launcher")
POOL = ("wardian.sdk.pool_server", "pool", "the pool's server")
"""Module, what it serves, who it is."""
BOOT = (
    "import gc, os, sys; gc.disable(); fd, sys.path[:] = int(sys.argv[1]), sys.argv[2:]; "
    "from wardian._typing import stand_in; stand_in(); "
    "from {} import main; os._exit(main(fd))"
)
"""With our own search path, and nothing that the user's site adds; as quick to start and to end as
the command line (``cli.main``)."""
DESCRIPTORS = 4
"""What a pool's server sends of a sandbox: socket, log, pipe with its exit status, pidfd."""


class PooledProcess:
    """A launcher that a pool's server has started and waits for; as ``subprocess.Popen``."""

    def __init__(self, pid: int, status: int, pidfd: int) -> None:
        self.pid = pid
        self.status = status  # the server writes the exit status here once it is known
        self.pidfd = pidfd
        self.returncode: int | None = None
        self.ended = False
        self.lock = threading.Lock()
        weakref.finalize(self, close_all, (status, pidfd))

    def kill(self) -> None:
        """SIGKILL; not to anybody else, however late."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def read_status(self) -> None:
        """It has ended: one thread learns how, the others from that one."""
        if not self.ended:
            text = os.read(self.status, 16)
            self.returncode = int(text) if text else None
            self.ended = True

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit status, None when the server is gone and nobody knows it."""
        if not self.ended:
            poller = select.poll()
            poller.register(self.status, select.POLLIN)
            if not poller.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired("sandbox", timeout or 0.0)
            with self.lock:
                self.read_status()
        return self.returncode


def close_all(fds: Sequence[int]) -> None:
    """close(2) each."""
    for fd in fds:
        os.close(fd)


class Launched:
    """The three together; whoever has it owns them. ``what`` it serves and ``who`` it is, in
    words."""

    def __init__(
        self,
        process: subprocess.Popen[bytes] | PooledProcess,
        control: socket.socket,
        log: int,
        what: str,
        who: str,
    ) -> None:
        self.process = process
        self.control = control
        self.log = log
        self.what = what
        self.who = who


def command(module: str, fd: int) -> list[str]:
    """The words that start ``module`` with its end of the socket."""
    if not sys.executable:
        raise SandboxError("cannot start a sandbox: this Python does not know its own program")
    package = str(Path(__file__).resolve().parent.parent.parent)
    search = [os.path.abspath(entry) for entry in sys.path if entry]
    if package not in search:
        search.append(package)
    return [sys.executable, "-I", "-S", "-X", "utf8", "-c", BOOT.format(module), str(fd), *search]


def launch(kind: tuple[str, str, str] = SANDBOX) -> Launched:
    """Start a process that serves a socket."""
    module, what, who = kind
    ours, theirs = socket.socketpair()
    log = os.memfd_create("wardian-log", os.MFD_CLOEXEC)
    try:
        process = subprocess.Popen(
            command(module, theirs.fileno()),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            cwd="/",
            env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
        )
    except BaseException:
        ours.close()
        os.close(log)
        raise
    finally:
        theirs.close()
    return Launched(process, ours, log, what, who)


def received(pid: int, fds: list[int]) -> Launched:
    """What a pool's server has sent; takes the descriptors."""
    control, log, status, pidfd = fds[:DESCRIPTORS]
    del fds[:DESCRIPTORS]
    process = PooledProcess(pid, status, pidfd)
    return Launched(process, socket.socket(fileno=control), log, *SANDBOX[1:])
