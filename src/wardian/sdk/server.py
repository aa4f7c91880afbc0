"""The other end of ``wardian.Sandbox``: one process that holds one sandbox (``python -m
wardian.sdk.server FD``).

The first message on the control socket FD says what sandbox is wanted. It is built and confined as
for ``wardian do`` (``host.sandbox``), but its pid 1 is the kernel's own (``kernel.init``), and what
runs inside is started by further messages, each with one answer. Everything happens in the Sentry's
loop: the socket is one more host descriptor that it watches.

When the socket is closed, by whatever end of the user's process, the sandbox ends. Its last message
says why, from here or, when the Sentry was killed, from the launcher.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable

from wardian.host.config import Config, ConfigError, Volume
from wardian.host.confine import Confinement
from wardian.host.launch import report_bug, supervise
from wardian.host.relay import Relay
from wardian.host.sandbox import BUG_STATUS, Sandbox, keep_what_there_is, preload
from wardian.host.signals import HostSignals
from wardian.platform.log import Log
from wardian.sdk import wire
from wardian.sdk.server_commands import Commands, engine_is_gone
from wardian.sdk.server_files import Files, error_of
from wardian.sdk.wire import Decoder, Fields, Message, WireError
from wardian.sentry.errno import LinuxError
from wardian.sentry.kernel.callbacks import CallbackTimer, CallbackWaiter
from wardian.sentry.kernel.loop import Loop

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


class Server:
    """Answers messages for one sandbox."""

    def __init__(self, sandbox: Sandbox, control: socket.socket) -> None:
        self.sandbox = sandbox
        self.kernel = sandbox.kernel
        self.init = sandbox.init
        self.control = control
        self.decoder = Decoder()
        self.unsent: deque[tuple[memoryview, list[int]]] = deque()
        self.why = CLOSED
        self.commands = Commands(sandbox)
        self.files = Files(self.init.task)
        self.operations: dict[str, Callable[[Message], Fields | Message]] = {
            "adopt": self.adopt,
            **self.commands.operations,
            **self.files.operations,
        }

    def adopt(self, message: Message) -> Fields:
        """Somebody takes this sandbox from a pool, and says what did not need to be known yet
        (``sdk.options.LATE``)."""
        fields = message.fields
        config = self.sandbox.config
        commands = self.commands
        commands.user = commands.act_as(fields["user"])
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
        if engine_is_gone(self.sandbox):
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

    # -- the end -----------------------------------------------------------------------------------
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
