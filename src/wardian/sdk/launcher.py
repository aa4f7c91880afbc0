"""The launcher of a ``wardian.Sandbox`` (``sdk.launched`` starts it).

The first message on the control socket FD says what sandbox is wanted; its Sentry answers that and
all others (``sdk.server``). The last message says why it ended, from there or, when the Sentry was
killed, from here.

Nothing of the Sentry is imported here: the launcher waits as long as the sandbox lives.
"""

from __future__ import annotations

import os
from _socket import socket as Socket

from wardian.host.config import Config, ConfigError, Volume
from wardian.host.launch import report_bug, supervise
from wardian.host.messages import OWN_STATUS
from wardian.host.relay import Relay
from wardian.sdk import wire
from wardian.sdk.wire import Decoder, Fields, Message, WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wardian.host.confine import Confinement

CLOSED, TIMEOUT, ENGINE, KILLED, MEMORY, BUG = (
    "closed",
    "timeout",
    "engine",
    "killed",
    "memory",
    "bug",
)
"""Why a sandbox ended."""


class Wish:
    """What sandbox is wanted, by which message, and where the answers go."""

    def __init__(self, control: Socket, number: int, fields: Fields) -> None:
        self.control = control
        self.number = number
        self.config = make_config(fields)

    def refuse(self, e: ConfigError) -> int:
        """The sandbox cannot be; the exit status."""
        error = {"kind": "config", "words": str(e)}
        say_now(self.control, {"id": self.number, "error": error})
        return e.status


def sentry(wish: Wish, box: Confinement, relay: Relay) -> int:
    """The Sentry's main: whatever goes wrong is told to the client."""
    status = OWN_STATUS
    why = BUG
    try:
        from wardian.sdk.server import run_sentry  # not in the launcher

        why = run_sentry(wish, box, relay)
        status = 0
    except ConfigError as e:
        return wish.refuse(e)
    except Exception:
        report_bug()
    say_last(wish.control, why)
    return status


def say_last(control: Socket, why: str, signo: int = 0) -> None:
    """The last message."""
    say_now(control, {"ended": why, "signal": signo})


def say_now(control: Socket, fields: Fields) -> None:
    """Send outside of the loop; nobody may be there."""
    try:
        control.setblocking(True)
        control.sendall(wire.encode(Message(fields)))
    except OSError:
        pass


def first_message(control: Socket) -> Message:
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
        return supervise(wish.config, lambda box: sentry(wish, box, relay), killed, relay)
    except ConfigError as e:
        return wish.refuse(e)


def main(fd: int) -> int:
    """The launcher of a sandbox that has a process of its own."""
    control = Socket(fileno=fd)
    os.set_inheritable(fd, False)
    fields = first_message(control).fields
    return launch(Wish(control, int(fields["id"]), fields["config"]))
