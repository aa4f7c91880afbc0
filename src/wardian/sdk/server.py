"""The other end of ``wardian.Sandbox``: one process that holds one sandbox (``python -m
wardian.sdk.server FD``).

The first message on the control socket FD says what sandbox is wanted. It is built and confined as
for ``wardian do`` (``host.sandbox``), but its pid 1 is the kernel's own (``kernel.init``), and what
runs inside is started by further messages, each with one answer. The end of a command is told on a
pipe of its own, so that whoever waits for it needs nothing else. Everything happens in the Sentry's
loop: the socket is one more host descriptor that it watches.

When the socket is closed, by whatever end of the user's process, the sandbox ends. Its last message
says why, from here or, when the Sentry was killed, from the launcher.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from wardian.host.config import Config, ConfigError, Volume
from wardian.host.confine import Confinement
from wardian.host.launch import report_bug, supervise
from wardian.host.program import encode, first_that_runs
from wardian.host.relay import Relay
from wardian.host.sandbox import BUG_STATUS, Sandbox, keep_what_there_is, preload
from wardian.host.signals import HostSignals
from wardian.platform.log import Log
from wardian.sdk import wire
from wardian.sdk.server_files import Files, error_of
from wardian.sdk.wire import NULL, SAME, Decoder, Fields, Message, WireError
from wardian.sentry.errno import EINVAL, ENOENT, ENOTDIR, LinuxError
from wardian.sentry.fs.anon import AnonFS
from wardian.sentry.fs.hoststream import inherited_file
from wardian.sentry.fs.stdio import HOSTFD_MAGIC
from wardian.sentry.kernel.callbacks import CallbackTimer, CallbackWaiter
from wardian.sentry.kernel.credentials import Credentials
from wardian.sentry.kernel.init import Ended
from wardian.sentry.kernel.loop import Loop
from wardian.sentry.kernel.siginfo import SigInfo
from wardian.sentry.kernel.signal_numbers import NSIG
from wardian.sentry.kernel.signal_sending import send_to_group
from wardian.sentry.kernel.task import Task
from wardian.sentry.kernel.thread_group import ThreadGroup
from wardian.sentry.syscalls.dir import chdir
from wardian.sentry.vfs.file import O_RDWR, POLLIN, File
from wardian.sentry.vfs.namei import AT_FDCWD
from wardian.sentry.vfs.open import open_path

LOG = Log("wardian.sdk")

CLOSED, TIMEOUT, ENGINE, KILLED, MEMORY, BUG = (
    "closed",
    "timeout",
    "engine",
    "killed",
    "memory",
    "bug",
)
"""Why a sandbox ended."""


class Command:
    """A command that runs."""

    def __init__(self, group: ThreadGroup, report: int, oom_kills: int) -> None:
        self.group = group
        self.report = report  # host descriptor for the word on its end
        self.oom_kills = oom_kills  # of the whole sandbox when it began
        self.cpu_ns = time.process_time_ns()  # the Sentry's, likewise


class Server:
    """Answers messages for one sandbox."""

    def __init__(self, sandbox: Sandbox, control: socket.socket) -> None:
        self.sandbox = sandbox
        self.kernel = sandbox.kernel
        self.init = sandbox.init
        self.control = control
        self.decoder = Decoder()
        self.unsent: deque[tuple[memoryview, list[int]]] = deque()
        self.streams = AnonFS("hostfd", self.kernel.anonymous_dev(), HOSTFD_MAGIC)
        self.commands: dict[int, Command] = {}
        self.last = 0
        self.why = CLOSED
        self.init.ended = self.command_ended
        self.caller = sandbox.find_user("")  # while the host may be asked
        self.user = self.act_as(sandbox.config.user)
        self.files = Files(self.init.task)
        self.operations: dict[str, Callable[[Message], Fields | Message]] = {
            "spawn": self.spawn,
            "kill": self.kill,
            "end": self.end_command,
            "adopt": self.adopt,
            **self.files.operations,
        }

    def act_as(self, name: str) -> Credentials:
        """Who commands run as; what we make ourselves belongs to them, too."""
        user = self.sandbox.find_user(name) if name else self.caller.copy()
        own = self.init.task.credentials
        own.fsuid, own.fsgid = user.fsuid, user.fsgid
        return user

    def adopt(self, message: Message) -> Fields:
        """Somebody takes this sandbox from a pool, and says what did not need to be known yet
        (``sdk.options.LATE``)."""
        fields = message.fields
        config = self.sandbox.config
        self.user = self.act_as(fields["user"])
        config.env, config.timeout = fields["env"], fields["timeout"]
        config.cwd, config.cwd_required = fields["cwd"], fields["cwd_required"]
        self.limit_time()
        return {}

    def limit_time(self) -> None:
        """The sandbox's own time-out begins."""
        if self.sandbox.config.timeout:
            deadline = self.kernel.clock.monotonic_ns() + int(self.sandbox.config.timeout * 1e9)
            self.kernel.timers.arm(CallbackTimer(self.time_is_up), deadline)

    # -- the conversation --------------------------------------------------------------------------
    def serve(self, first: int) -> None:
        """Answer message ``first``, which asked for the sandbox, and then all others to the end."""
        self.control.setblocking(False)
        poller = self.kernel.poller
        poller.watch(self.control.fileno(), 1).add(CallbackWaiter(self.pump), 0)
        self.limit_time()
        self.say({"id": first, "layers": self.sandbox.box.summary()})
        self.pump()
        keep_what_there_is()
        Loop(self.kernel, self.sandbox.engine, self.sandbox.dispatcher).run()
        if self.engine_is_gone():
            self.why = ENGINE

    def pump(self) -> None:
        """Read what has arrived, write what waits."""
        try:
            while True:
                data, fds = wire.receive(self.control)
                if not data:
                    self.init.end()
                    return
                self.decoder.feed(data, fds)
                while (message := self.decoder.next()) is not None:
                    self.handle(message)
        except BlockingIOError:
            self.flush()
        except (WireError, ConnectionError) as e:
            LOG.error("the control socket: %s", e)
            self.why = BUG
            self.init.end()

    def say(self, fields: Fields, payload: bytes = b"") -> None:
        """Send, now or when there is room."""
        message = Message(fields, payload)
        self.unsent.append((memoryview(wire.encode(message)), message.fds))
        self.flush()

    def flush(self) -> None:
        """Write what the socket takes."""
        while self.unsent:
            data, fds = self.unsent[0]
            try:
                sent = wire.send(self.control, data, fds)
            except BlockingIOError:
                return
            except OSError:  # nobody is there: pump() sees that as well
                self.unsent.clear()
                return
            if sent == len(data):
                self.unsent.popleft()
            else:
                self.unsent[0] = (data[sent:], [])

    def handle(self, message: Message) -> None:
        """Do what a message asks and answer it."""
        fields = message.fields
        self.kernel.current = self.init.task
        try:
            answer = self.operations[fields["op"]](message)
        except ConfigError as e:
            answer = {"error": {"kind": KINDS.get(e.status, "config"), "words": str(e)}}
        except LinuxError as e:
            answer = {"error": error_of(e, fields)}
        except (AttributeError, LookupError, TypeError, ValueError) as e:
            LOG.error("bad message: %r", e)
            answer = {"error": {"kind": "protocol", "words": f"bad message: {e!r}"}}
        finally:
            self.kernel.current = None
            message.close()
        if isinstance(answer, Message):
            self.say({"id": fields.get("id"), **answer.fields}, answer.payload)
        else:
            self.say({"id": fields.get("id"), **answer})

    # -- commands ----------------------------------------------------------------------------------
    def spawn(self, message: Message) -> Fields:
        """Start a command."""
        fields = message.fields
        argv, env = fields["argv"], {**self.sandbox.config.env, **fields["env"]}
        user = fields["user"]
        task = self.init.prepare(self.sandbox.find_user(user) if user else self.user.copy())
        try:
            self.enter_directory(task, fields["cwd"])
            for number, file in enumerate(self.open_streams(fields["streams"], message.fds)):
                task.files.set(number, file, False)
            self.run(task, argv, env)
        except BaseException:
            self.init.discard(task)
            raise
        self.last += 1
        report = message.fds.pop()  # the streams were duplicated, this is the last one
        self.commands[self.last] = Command(task.group, report, self.sandbox.box.oom_kills())
        return {"command": self.last, "pid": task.group.pid}

    def run(self, task: Task, argv: list[str], env: dict[str, str]) -> None:
        """Load the program and let it go."""
        words, variables = encode(argv, env)

        def attempt(path: bytes) -> None:
            image = self.init.load(task, path, words, variables)
            self.init.start(task, image)

        first_that_runs(argv[0], env, attempt)

    def enter_directory(self, task: Task, cwd: str | None) -> None:
        """The command's working directory, or the sandbox's, which may be missing if nobody asked
        for it."""
        place = self.sandbox.config.cwd if cwd is None else cwd
        try:
            chdir(task, os.fsencode(place))  # type: ignore[arg-type]
        except LinuxError as e:
            if cwd is None and not self.sandbox.config.cwd_required:
                return
            words = "no such directory" if isinstance(e, (ENOENT, ENOTDIR)) else str(e)
            raise ConfigError(f"cannot start in {place}: {words} in the sandbox") from None

    def open_streams(self, plan: list[Any], fds: list[int]) -> list[File]:
        """Standard input, output and error."""
        if len(plan) != 3 or len(fds) != 1 + sum(isinstance(entry, int) for entry in plan):
            raise EINVAL("bad streams")
        files: list[File] = []
        for entry in plan:
            if entry == SAME:
                files.append(files[1])
            elif entry == NULL:
                files.append(open_path(self.init.task, AT_FDCWD, b"/dev/null", O_RDWR, 0))
            else:
                fd = os.dup(fds[entry])
                files.append(
                    inherited_file(self.kernel, self.sandbox.host_fs, self.streams, fd, "/dev/fd")
                )
        return files

    def kill(self, message: Message) -> Fields:
        """A signal for a command's first process."""
        signo = message.fields["signal"]
        if not 0 <= signo <= NSIG:
            raise EINVAL("no such signal")
        command = self.commands.get(message.fields["command"])
        if command is not None and signo:
            send_to_group(command.group, SigInfo(signo, 0))
        return {}

    def end_command(self, message: Message) -> Fields:
        """The end of a command and its descendants."""
        command = self.commands.get(message.fields["command"])
        if command is not None:
            self.init.end_tree(command.group)
        return {}

    def command_ended(self, ended: Ended) -> None:
        """Tell whoever waits for it."""
        found = [n for n, command in self.commands.items() if command.group.pid == ended.pid]
        if not found:
            return
        command = self.commands.pop(found[0])
        if ended.host_kills and self.engine_is_gone():
            self.init.end()  # not just this command: who waits shall hear of the whole
        if self.init.task.exited:
            return
        killed = self.sandbox.box.oom_kills() > command.oom_kills
        report = {
            "status": ended.wait_status,
            "user_ns": ended.cpu_ns,
            "system_ns": time.process_time_ns() - command.cpu_ns,
            "max_rss": ended.peak_resident,
            "wall_ns": ended.wall_ns,
            "oom_kills": ended.host_kills if killed else 0,
        }
        try:
            os.write(command.report, json.dumps(report).encode())
        except OSError:
            pass  # nobody waits any more
        os.close(command.report)

    # -- the end -----------------------------------------------------------------------------------
    def engine_is_gone(self) -> bool:
        """The zygote was killed: it takes all guests with it, but we may see them go first."""
        return bool(self.kernel.poller.ready(self.sandbox.engine.zygote.socket.fileno(), POLLIN))

    def time_is_up(self) -> None:
        """The sandbox's own time-out."""
        self.why = TIMEOUT
        self.init.end()


KINDS = {126: "not-executable", 127: "not-found"}


class ServerSignals(HostSignals):
    """Signals from outside end the sandbox."""

    def act(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.launcher_gone()


class Wish:
    """What sandbox is wanted, by which message, and where the answers go."""

    def __init__(self, control: socket.socket, number: int, fields: Fields) -> None:
        self.control = control
        self.number = number
        self.config = make_config(fields)

    def refuse(self, e: ConfigError) -> int:
        """The sandbox cannot be; the exit status."""
        error = {"kind": "config", "words": str(e)}
        say_now(self.control, {"id": self.number, "error": error})
        return e.status


def run_sentry(wish: Wish, box: Confinement, relay: Relay) -> str:
    """In the Sentry: build, close the last layer, serve; why it ended."""
    box.enter()
    sandbox = Sandbox(wish.config, box)
    sandbox.build()
    try:
        server = Server(sandbox, wish.control)
        sandbox.signals = ServerSignals(sandbox.kernel, sandbox.engine, None, relay.reader)
        box.seal()
        LOG.info("confinement: %s", box.summary())
        server.serve(wish.number)
        return server.why
    finally:
        sandbox.close()


def sentry(wish: Wish, box: Confinement, relay: Relay) -> int:
    """The Sentry's main: whatever goes wrong is told to the client."""
    status = BUG_STATUS
    why = BUG
    try:
        why = run_sentry(wish, box, relay)
        status = 0
    except ConfigError as e:
        return wish.refuse(e)
    except Exception:
        report_bug()
    say_last(wish.control, why)
    return status


def say_last(control: socket.socket, why: str, signo: int = 0) -> None:
    """The last message."""
    say_now(control, {"ended": why, "signal": signo})


def say_now(control: socket.socket, fields: Fields) -> None:
    """Send outside of the loop; nobody may be there."""
    try:
        control.setblocking(True)
        control.sendall(wire.encode(Message(fields)))
    except OSError:
        pass


def first_message(control: socket.socket) -> Message:
    """What sandbox is wanted."""
    decoder = Decoder()
    while (message := decoder.next()) is None:
        data, fds = wire.receive(control)
        if not data:
            raise WireError("nobody asked for anything")
        decoder.feed(data, fds)
    return message


def make_config(fields: Fields) -> Config:
    """The sandbox of a message from ``sdk.options``."""
    fields = dict(fields)
    fields["volumes"] = [Volume(*entry) for entry in fields["volumes"]]
    return Config(argv=[], **fields)


def launch(wish: Wish) -> int:
    """The launcher: start the Sentry, wait, clean up."""

    def killed(signo: int, out_of_memory: bool) -> None:
        say_last(wish.control, MEMORY if out_of_memory else KILLED, signo)

    relay = Relay()
    try:
        preload(wish.config)
        return supervise(wish.config, lambda box: sentry(wish, box, relay), killed, relay)
    except ConfigError as e:
        return wish.refuse(e)


def main(fd: int) -> int:
    """The launcher of a sandbox that has a process of its own."""
    control = socket.socket(fileno=fd)
    control.set_inheritable(False)
    fields = first_message(control).fields
    return launch(Wish(control, int(fields["id"]), fields["config"]))


if __name__ == "__main__":
    os._exit(main(int(sys.argv[1])))  # the interpreter would take apart every module first
