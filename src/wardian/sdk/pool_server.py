"""The process behind ``wardian.Pool``: has everything imported, and makes sandboxes by fork.

    user's process ── control socket ── this one
                                          └─ launcher ── Sentry ── zygote ...    for each sandbox

It holds sandboxes that nobody has taken yet, and the sockets to those. A sandbox that was taken
speaks with its user over a socket of its own; we wait for its launcher only, to tell how it ended.
Nothing that a guest says arrives here: no guest data, and nothing that a guest could break.

A child lets go of every descriptor that is not its own before it does anything else; it shares with
its sisters what a fork shares: addresses, and the secret of Python's hashes (SECURITY.md). It has
SIGTERM sent to it when we end, which is the orderly end of a sandbox. We end with the control
socket.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import socket
import time

import wardian.sdk.server
import wardian.sentry.net.host
import wardian.sentry.net.host_interfaces  # noqa: F401
from wardian.host import syscalls
from wardian.host.launch import report_bug
from wardian.host.layers import words
from wardian.host.messages import complain
from wardian.sdk import wire
from wardian.sdk.launcher import Wish, first_message, launch
from wardian.sdk.wire import Decoder, Fields, Message, WireError

__all__ = ["main"]

CLOSE_SECONDS = 8.0
"""How long sandboxes may take to end before they are killed."""
SPARES_MAX = 1000
HIGHEST = 2**31 - 1


class Child:
    """A sandbox's launcher."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.status = status  # where its exit status is wanted
        self.ended = False

    def signal(self, number: int) -> None:
        """It may be a zombie, never somebody else: we have not waited for it."""
        os.kill(self.pid, number)

    def reap(self) -> None:
        """It has ended: tell how."""
        _, status = os.waitpid(self.pid, 0)
        self.ended = True
        try:
            os.write(self.status, b"%d" % os.waitstatus_to_exitcode(status))
        except OSError:
            pass  # nobody wants to know
        os.close(self.status)
        os.close(self.pidfd)


class Spare:
    """A sandbox that nobody has taken yet, with the user's end of everything."""

    def __init__(self, child: Child, control: socket.socket, log: int, status: int) -> None:
        self.child = child
        self.control = control
        self.log = log
        self.status = status
        self.settled = False  # it is ready, or has failed: its answer can be read

    def message(self, number: int) -> Message:
        """What hands it over."""
        fds = [self.control.fileno(), self.log, self.status, self.child.pidfd]
        return Message({"id": number, "pid": self.child.pid}, b"", fds)

    def close(self) -> None:
        """It is somebody else's now, or nobody's."""
        self.control.close()
        os.close(self.log)
        os.close(self.status)


class PoolServer:
    """Answers the user's process."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.decoder = Decoder()
        self.poller = select.poll()
        self.poller.register(control.fileno(), select.POLLIN)
        self.children: dict[int, Child] = {}  # by pidfd
        self.spares: list[Spare] = []
        self.wanted = 0  # spares there should be
        self.due = 0  # spares to be made
        self.config: Fields = {}  # of spares
        self.opened = 0  # the message that waits for all spares to be settled

    # -- sandboxes ---------------------------------------------------------------------------------
    def fork(self, config: Fields | None) -> Spare:
        """A new sandbox: as ``config`` says, or else as its first message will."""
        ours, theirs = socket.socketpair()
        fds: list[int] = []
        try:
            fds.append(os.memfd_create("wardian-log", os.MFD_CLOEXEC))
            fds += os.pipe2(os.O_CLOEXEC)
            log, status_reader, status_writer = fds
            child = Child(self.start(theirs, log, config), status_writer)
        except OSError:
            ours.close()
            for fd in fds:
                os.close(fd)
            raise
        finally:
            theirs.close()
        self.children[child.pidfd] = child
        self.poller.register(child.pidfd, select.POLLIN)
        return Spare(child, ours, log, status_reader)

    def start(self, control: socket.socket, log: int, config: Fields | None) -> int:
        """fork(2)."""
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            be_the_launcher(parent, control, log, config)
        return pid

    def fill(self) -> None:
        """One more spare, if one is wanted: whoever asks meanwhile need not wait for all."""
        if not self.due:
            return
        self.due -= 1
        try:
            spare = self.fork(self.config)
        except OSError as e:
            self.due = 0  # until the next one is taken
            complain(f"cannot make a sandbox ready: {e.strerror}")
            return
        self.spares.append(spare)
        self.poller.register(spare.control.fileno(), select.POLLIN)

    def take(self) -> Spare:
        """The oldest spare, which is the likeliest to be ready."""
        if not self.spares:
            return self.fork(self.config)
        spare = self.spares.pop(0)
        if not spare.settled:
            self.poller.unregister(spare.control.fileno())
        return spare

    def settle(self, fd: int) -> None:
        """A spare's answer is there: it stays in the socket, for whoever takes it."""
        self.poller.unregister(fd)
        for spare in self.spares:
            if spare.control.fileno() == fd:
                spare.settled = True

    def tell_opened(self) -> None:
        """All spares are settled: what the first of them says is what all would."""
        if self.opened and not self.due and all(spare.settled for spare in self.spares):
            error = refusal(self.spares[0]) if self.spares else None
            self.say(Message({"id": self.opened, **({"error": error} if error else {})}))
            self.opened = 0

    def child_ended(self, child: Child) -> None:
        """One that nobody has taken is not made again until one is asked for: it might fail for
        ever."""
        self.poller.unregister(child.pidfd)
        del self.children[child.pidfd]
        child.reap()

    # -- messages ----------------------------------------------------------------------------------
    def handle(self, message: Message) -> None:
        """Answer one."""
        fields = message.fields
        number = int(fields["id"])
        if fields["op"] == "open":
            self.config = fields["config"]
            self.wanted = self.due = min(int(fields["ready"]), SPARES_MAX)
            self.opened = number
            return
        try:
            self.hand_out(number, fields["op"] == "take")
        except OSError as e:
            error = {"kind": "config", "words": f"cannot start a sandbox: {words(e)}"}
            self.say(Message({"id": number, "error": error}))

    def hand_out(self, number: int, like_spares: bool) -> None:
        """Give a sandbox to the user."""
        self.drop_failed()
        spare = self.take() if like_spares else self.fork(None)
        try:
            self.say(spare.message(number))
        finally:
            spare.close()
        self.due = max(0, self.wanted - len(self.spares))

    def drop_failed(self) -> None:
        """Spares that are gone are nothing to hand out."""
        for spare in [s for s in self.spares if s.child.ended]:
            self.spares.remove(spare)
            if not spare.settled:
                self.poller.unregister(spare.control.fileno())
            spare.close()

    def say(self, message: Message) -> None:
        """Send; the user's process reads each answer before it asks again."""
        wire.send(self.control, wire.encode(message), message.fds)

    def read(self) -> bool:
        """What has arrived; False at the end."""
        data, fds = wire.receive(self.control)
        self.decoder.feed(data, fds)
        while (message := self.decoder.next()) is not None:
            self.handle(message)
        return bool(data)

    # -- running -----------------------------------------------------------------------------------
    def serve(self) -> None:
        """Until the user's process has closed its end."""
        going = True
        while going:
            self.tell_opened()
            found = [fd for fd, _ in self.poller.poll(0 if self.due else None)]
            for fd in found:
                if fd in self.children:
                    self.child_ended(self.children[fd])
                elif fd != self.control.fileno():
                    self.settle(fd)
            if self.control.fileno() in found:  # last: it may close others
                going = self.read()
            else:
                self.fill()

    def close(self) -> None:
        """Every sandbox ends, in order; those that do not are killed."""
        for spare in self.spares:
            spare.close()
        deadline = time.monotonic() + CLOSE_SECONDS
        self.end_all(signal.SIGTERM, deadline)
        self.end_all(signal.SIGKILL, deadline + 1)

    def end_all(self, number: int, deadline: float) -> None:
        """Signal all that are left and wait for them."""
        for child in self.children.values():
            child.signal(number)
        poller = select.poll()
        for fd in self.children:
            poller.register(fd, select.POLLIN)
        while self.children and (left := deadline - time.monotonic()) > 0:
            for fd, _ in poller.poll(left * 1000):
                poller.unregister(fd)
                self.child_ended(self.children[fd])


def refusal(spare: Spare) -> Fields | None:
    """The error in a spare's answer, which is left where it is."""
    decoder = Decoder()
    try:
        size = wire.PIECE
        decoder.feed(spare.control.recv(size, socket.MSG_PEEK | socket.MSG_DONTWAIT), [])
        answer = decoder.next()
    except (BlockingIOError, WireError):
        return None
    return None if answer is None else answer.fields.get("error")


def be_the_launcher(parent: int, control: socket.socket, log: int, config: Fields | None) -> None:
    """In the child; never returns."""
    status = 125
    try:
        gc.disable()  # until host.sandbox.keep_what_there_is
        keep_only(control.fileno(), log)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == parent:
            status = launch(make_wish(control, config))
    except WireError:
        pass  # nobody asked for anything
    except BaseException:
        report_bug()
    finally:
        os._exit(status)


def keep_only(control: int, log: int) -> None:
    """A session of our own, the log as output, and of all descriptors just our own."""
    os.setsid()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.closerange(3, control)
    os.closerange(control + 1, HIGHEST)


def make_wish(control: socket.socket, config: Fields | None) -> Wish:
    """From the pool, or from the first message."""
    if config is not None:
        return Wish(control, 1, config)
    fields = first_message(control).fields
    return Wish(control, int(fields["id"]), fields["config"])


def main(fd: int) -> int:
    """Serve the socket."""
    control = socket.socket(fileno=fd)
    control.set_inheritable(False)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.freeze()  # no child's collection shall touch, and so copy, what all share
    gc.enable()
    server = PoolServer(control)
    try:
        server.serve()
    except (OSError, WireError) as e:
        complain(str(e))
    finally:
        server.close()
    return 0
