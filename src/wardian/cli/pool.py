"""``wardian pool``: a warm process from which ``wardian do`` is forked (``cli.pooled``).

    wardian pool &
    export WARDIAN_POOL=$XDG_RUNTIME_DIR/wardian.sock
    wardian do true

It lives until SIGTERM or SIGINT, and its sandboxes end with it. Only the user who started it is
served: the socket has mode 0600, and the host says who is at its other end. A command has the
caller's words, environment, directory, umask, ignored signals and standard streams; its resource
limits, control group and priority are those of the server.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import socket
import stat
import sys

from wardian.cli.do import main as do_main
from wardian.cli.options import Parser
from wardian.cli.pooled import ANSWER, HEADER, peer_uid
from wardian.host import sandbox, syscalls
from wardian.host.config import ConfigError
from wardian.host.messages import complain
from wardian.host.relay import PYTHONS_OWN

__all__ = ["main"]

DESCRIPTION = (
    "Serve `wardian do` with sandboxes forked from a process that has everything loaded, until "
    "SIGTERM or SIGINT. `wardian do` uses it when WARDIAN_POOL names the socket and no standard "
    "stream is a terminal."
)
TEXT_MAX = 16 << 20
PATIENCE = 5.0
"""How long a caller, who is ourselves, may take to say what it wants."""
HIGHEST = 2**31 - 1
NSIG = 65
UNTOUCHED = {signal.SIGKILL, signal.SIGSTOP, *PYTHONS_OWN}


class Call:
    """A caller and the launcher that works for it."""

    def __init__(self, caller: socket.socket, pid: int) -> None:
        self.caller = caller
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)

    def reap(self) -> None:
        """The launcher has ended: tell how."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        try:
            self.caller.send(ANSWER.pack(128 - code if code < 0 else code), socket.MSG_NOSIGNAL)
        except OSError:
            pass  # nobody wants to know
        self.caller.close()
        os.close(self.pidfd)


class Wanted:
    """What a caller asks for."""

    def __init__(self, caller: socket.socket) -> None:
        caller.settimeout(PATIENCE)
        data, self.fds, _, _ = socket.recv_fds(caller, HEADER.size, 4)
        try:
            self.read(data, caller)
        except BaseException:
            self.close()
            raise

    def read(self, data: bytes, caller: socket.socket) -> None:
        """The words and the environment; OSError for nonsense."""
        if len(self.fds) != 4 or len(data) != HEADER.size:
            raise OSError("bad request")
        size, count, self.umask, self.ignored = HEADER.unpack(data)
        if size > TEXT_MAX:
            raise OSError("request too large")
        text = bytearray()
        while len(text) < size and (piece := caller.recv(size - len(text))):
            text += piece
        parts = bytes(text).split(b"\0")
        self.words = [os.fsdecode(word) for word in parts[:count]]
        self.env = [part.partition(b"=") for part in parts[count:] if part]

    def close(self) -> None:
        """The child has it, or nobody will."""
        for fd in self.fds:
            os.close(fd)


class Server:
    """Forks a launcher for every caller."""

    def __init__(self, listener: socket.socket, stop: int) -> None:
        self.listener = listener
        self.stop = stop  # readable when we shall end
        self.calls: dict[int, Call] = {}  # by pidfd
        self.callers: dict[int, Call] = {}  # by the caller's socket
        self.poller = select.poll()
        self.poller.register(listener.fileno(), select.POLLIN)
        self.poller.register(stop, select.POLLIN)

    def serve(self) -> None:
        """Until the end."""
        while True:
            ready = [fd for fd, _ in self.poller.poll()]
            if self.stop in ready:
                return
            for fd in ready:
                if fd in self.calls:
                    self.ended(self.calls[fd])
                elif fd in self.callers:
                    self.hung_up(self.callers[fd])
            if self.listener.fileno() in ready:  # last: it opens others
                self.accept()

    def accept(self) -> None:
        """One more caller."""
        caller, _ = self.listener.accept()
        try:
            if peer_uid(caller) != os.geteuid():
                raise OSError("not our own user")
            wanted = Wanted(caller)
            try:
                self.start(caller, wanted)
            finally:
                wanted.close()
        except OSError as e:
            complain(f"a caller was turned away: {e}")
            caller.close()

    def start(self, caller: socket.socket, wanted: Wanted) -> None:
        """Fork its launcher."""
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            be_the_launcher(parent, wanted)
        call = Call(caller, pid)
        caller.setblocking(False)
        socket.send_fds(caller, [b"\0"], [call.pidfd])
        self.calls[call.pidfd] = self.callers[caller.fileno()] = call
        self.poller.register(call.pidfd, select.POLLIN)
        self.poller.register(caller.fileno(), 0)  # only its end is of interest

    def hung_up(self, call: Call) -> None:
        """The caller was killed: its sandbox ends at once, as it would have."""
        self.forget_caller(call)
        os.kill(call.pid, signal.SIGKILL)

    def forget_caller(self, call: Call) -> None:
        if self.callers.pop(call.caller.fileno(), None) is not None:
            self.poller.unregister(call.caller.fileno())

    def ended(self, call: Call) -> None:
        """A launcher is done."""
        self.forget_caller(call)
        self.poller.unregister(call.pidfd)
        del self.calls[call.pidfd]
        call.reap()

    def close(self) -> None:
        """Everything ends with us."""
        for call in list(self.calls.values()):
            os.kill(call.pid, signal.SIGKILL)
            self.ended(call)


def be_the_launcher(parent: int, wanted: Wanted) -> None:
    """In the child, as `wardian do` in a process of its own; never returns."""
    status = 125
    try:
        gc.disable()  # until host.sandbox.keep_what_there_is
        take_over(wanted)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            status = do_main(wanted.words)
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else 0
    except BaseException:
        sys.__excepthook__(*sys.exc_info())
    finally:
        sys.stdout.flush()
        os._exit(status)


def take_over(wanted: Wanted) -> None:
    """The caller's streams, directory, environment, umask and ignored signals; nothing of ours."""
    os.setsid()
    os.fchdir(wanted.fds[3])
    for number, fd in enumerate(wanted.fds[:3]):
        os.dup2(fd, number)
    os.closerange(3, HIGHEST)
    os.environ.clear()
    for name, _, value in wanted.env:
        os.environb[name] = value
    os.umask(wanted.umask)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    for number in set(range(1, NSIG)) - UNTOUCHED:
        syscalls.ignore_signal(number, bool(wanted.ignored >> number - 1 & 1))


def default_socket() -> str:
    """In the user's own directory for such things."""
    directory = os.environ.get("XDG_RUNTIME_DIR")
    if not directory:
        raise ConfigError("XDG_RUNTIME_DIR is not set: say --socket=PATH")
    return os.path.join(directory, "wardian.sock")


def listen(path: str) -> socket.socket:
    """A socket that only we can reach, in a directory where only we can put one."""
    directory = os.path.dirname(os.path.abspath(path))
    try:
        info = os.stat(directory)
        if info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o022:
            raise ConfigError(f"cannot listen in {directory}: others can write to it")
        if not is_free(path):
            raise ConfigError(f"cannot listen on {path}: in use")
        listener = socket.socket(socket.AF_UNIX)
        os.umask(0o177)
        unfinished = f"{path}.{os.getpid()}"
        listener.bind(unfinished)
        listener.listen(128)
        os.rename(unfinished, path)  # who sees it can connect
    except OSError as e:
        raise ConfigError(f"cannot listen on {path}: {e.strerror or e}") from None
    return listener


def is_free(path: str) -> bool:
    """Nothing is there, or a socket that nobody listens on."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
        return False
    except (FileNotFoundError, ConnectionRefusedError):
        return True


def stop_pipe() -> int:
    """Readable from the first SIGTERM or SIGINT on."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return reader


def main(arguments: list[str]) -> int:
    """The command; answers the exit status."""
    parser = Parser(prog="wardian pool", allow_abbrev=False, description=DESCRIPTION)
    parser.add_argument(
        "--socket", metavar="PATH", help="listen there (default: $XDG_RUNTIME_DIR/wardian.sock)"
    )
    options = parser.parse_args(arguments)
    try:
        path = options.socket or default_socket()
        stop = stop_pipe()
        listener = listen(path)
    except ConfigError as e:
        complain(str(e))
        return e.status
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = Server(listener, stop)
    sandbox.keep_what_there_is()
    try:
        server.serve()
    finally:
        os.unlink(path)
        server.close()
    return 0
