"""The system-call table: every call Wardian answers, numbered once (arch/x86/entry/syscalls/syscall_64.tbl).

``tools/gen_syscalls.py`` reads this file and the handlers' signatures and writes ``dispatch_gen.py`` (decoding),
``marshal_gen.py`` (what the stub sends along) and ``strace_gen.py``. ``restart`` says what a signal handler
does to a blocked call: "auto" restarts it under SA_RESTART, "never" always gives EINTR, "nohand" restarts
only when no handler ran (signal(7)).
"""

from collections.abc import Callable


class Row:
    """One system call: name, handler, amd64 number, and how strace prints it."""

    def __init__(self, name: str, handler: Callable[..., int], amd64: int, flags: str, restart: str) -> None:
        self.name = name
        self.handler = handler
        self.amd64 = amd64
        self.flags = flags
        self.restart = restart


ROWS: list[Row] = []


def row(name: str, handler: Callable[..., int], amd64: int, flags: str = "", restart: str = "auto") -> None:
    """Declare one system call; ``flags`` names the constants of its ``Flags`` arguments, space-separated."""
    ROWS.append(Row(name, handler, amd64, flags, restart))


# -- files, directories, descriptors (syscalls/file.py, dir.py, stat.py, descriptors.py, xattr.py, mount.py) --

# -- pipes, eventfd, epoll, poll, timerfd, signalfd, splice, inotify (syscalls/poll.py, events.py, pipe.py) --

# -- sockets (syscalls/socket.py) --

# -- memory (syscalls/memory.py) --

# -- tasks, ids, wait, prctl, rlimits, system (syscalls/process.py, ids.py, system.py) --

# -- signals (syscalls/signal.py) --

# -- time (syscalls/time.py) --

# -- clone, exec, exit, futex helpers (syscalls/task.py) --
