"""The other end of ``wardian.Sandbox``, in the Sentry: answers the messages of one sandbox.

It is built and confined as for ``wardian do`` (``host.sandbox``), but its pid 1 is the kernel's own
(``kernel.init``), and what runs inside is started by messages, each with one answer. Everything
happens in the Sentry's loop: the socket is one more host descriptor that it watches. When it is
closed, by whatever end of the user's process, the sandbox ends.
"""

from __future__ import annotations

import _signal as signal
from collections import deque
from typing import TYPE_CHECKING

from wardian.host.config import ConfigError
from wardian.host.sandbox import Sandbox, keep_what_there_is, preload
from wardian.host.signals import HostSignals
from wardian.platform.log import Log
from wardian.sdk import wire
from wardian.sdk.launcher import BUG, CLOSED, ENGINE, TIMEOUT
from wardian.sdk.server_commands import Commands, engine_is_gone
from wardian.sdk.server_files import Files, error_of
from wardian.sdk.wire import Decoder, Fields, Message, WireError
from wardian.sentry.errno import LinuxError
from wardian.sentry.kernel.callbacks import CallbackTimer, CallbackWaiter
from wardian.sentry.kernel.loop import Loop

if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Callable

    from wardian.host.confine import Confinement
    from wardian.host.relay import Relay
    from wardian.sdk.launcher import Wish

LOG = Log("wardian.sdk")


class Server:
    """Answers messages for one sandbox."""

    def __init__(self, sandbox: Sandbox, control: Socket) -> None:
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


def run_sentry(wish: Wish, box: Confinement, relay: Relay) -> str:
    """In the Sentry: build, close the last layer, serve; why it ended."""
    preload(wish.config)
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
