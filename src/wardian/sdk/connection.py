"""The user's end of a sandbox: starting its process, asking it things, and finding out how it died.

:class:`Link` is what the blocking and the asyncio API share: the server process, the socket, and
the post-mortem. :class:`Connection` adds the blocking conversation.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any, TypeVar

from wardian.sdk import wire
from wardian.sdk.errors import OutOfMemory, SandboxDied, SandboxError, SandboxTimeout
from wardian.sdk.launched import Launched
from wardian.sdk.model import signal_name
from wardian.sdk.operations import Steps, answer_error
from wardian.sdk.options import LATE
from wardian.sdk.wire import Decoder, Fields, Message, WireError

T = TypeVar("T")

PATIENCE = 60.0
"""How long an answer may take. The server never waits for guests: later means that it hangs."""
CLOSE_PATIENCE = 10.0
LAST_WORDS = 4096


class Link:
    """One sandbox's process, as seen from outside."""

    def __init__(self, launched: Launched) -> None:
        self.owner = os.getpid()
        self.process = launched.process
        self.socket = launched.control
        self.log = launched.log
        self.what, self.who = launched.what, launched.who
        self.pool: object = None  # which lives as long as its sandboxes
        self.socket.setblocking(False)
        self.decoder = Decoder()
        self.number = 0
        self.ended: Fields | None = None  # the server's last message
        self.timeout = 0.0  # of the whole sandbox, for the words of its error
        self.closed = False
        self.finish = weakref.finalize(self, abandon, self.socket, self.log)
        LINKS.add(self)

    # -- messages ----------------------------------------------------------------------------------
    def check(self) -> None:
        """SandboxError when nothing can be asked any more."""
        if self.owner != os.getpid():
            words = f"the {self.what} belongs to the process that made it, not to a fork"
            raise SandboxError(words)
        if self.closed:
            raise SandboxError(f"the {self.what} is closed")

    def numbered(self, message: Message | None) -> bytes:
        """The bytes of the next request."""
        self.check()
        self.number += 1
        if message is None:
            return b""
        message.fields = {"id": self.number, **message.fields}
        return wire.encode(message)

    def receive(self) -> bool:
        """Take what has arrived; False at the end, BlockingIOError when there is nothing."""
        try:
            data, fds = wire.receive(self.socket)
        except ConnectionError:
            return False
        self.decoder.feed(data, fds)
        return bool(data)

    def next_answer(self) -> Message | None:
        """The answer to the last request, if it is here; those to earlier ones, which somebody gave
        up, are dropped."""
        while (message := self.decoder.next()) is not None:
            if "ended" in message.fields:
                self.ended = message.fields
            elif message.fields.get("id") == self.number:
                return message
        return None

    # -- the end -----------------------------------------------------------------------------------
    def kill(self) -> None:
        """End the sandbox from outside; its Sentry and its guests go with the launcher."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    def reap(self, patience: float) -> int | None:
        """The launcher's exit status; it ends by itself once it has cleaned up."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.wait()

    def last_words(self) -> str:
        """The last line of the server's log."""
        size = os.fstat(self.log).st_size
        text = os.pread(self.log, LAST_WORDS, max(0, size - LAST_WORDS)).decode(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        return lines[-1].removeprefix("wardian: ") if lines else ""

    def post_mortem(self) -> SandboxError:
        """Why the sandbox is gone, once its process has ended."""
        if self.closed:
            return SandboxError(f"the {self.what} was closed")
        status = self.reap(CLOSE_PATIENCE)
        ended = self.ended or {}
        why = ended.get("ended")
        if why == "timeout":
            return SandboxTimeout(f"the sandbox was ended after its {self.timeout:g} s")
        if why == "memory":
            return OutOfMemory("the sandbox ran out of memory")
        if why == "engine":
            return SandboxDied("the sandbox's processes were killed from outside")
        if why == "killed":
            return SandboxDied(f"the sandbox was killed by {signal_name(ended['signal'])}")
        if why == "bug":
            words = self.last_words()
            return SandboxDied(f"internal error of the sandbox, please report it: {words}")
        if why == "closed":
            return SandboxDied("the sandbox was ended from outside")
        if status is not None and status < 0:
            return SandboxDied(f"{self.who} was killed by {signal_name(-status)}")
        return SandboxDied(f"the {self.what} failed: {self.last_words() or f'status {status}'}")

    @property
    def shuttable(self) -> bool:
        """There is something to end, and it is ours."""
        return self.finish.alive and self.owner == os.getpid()

    def hang_up(self) -> None:
        """Let it end, without waiting for that."""
        self.closed = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def shut(self) -> None:
        """Nothing is asked any more."""
        self.closed = True
        self.decoder.close()
        self.finish()


def advance(steps: Steps[Any], answer: Message | None, error: BaseException | None) -> Message:
    """The next message of a conversation: after ``answer``, or after a failure, or the first."""
    if error is not None:
        return steps.throw(error)
    return next(steps) if answer is None else steps.send(answer)


LINKS: weakref.WeakSet[Link] = weakref.WeakSet()


def abandon(sock: socket.socket, log: int) -> None:
    """The last user is gone: the server sees its socket close, and ends."""
    sock.close()
    os.close(log)


def after_fork() -> None:
    """A forked child must not keep its parent's sandboxes alive."""
    for link in list(LINKS):
        link.finish()


os.register_at_fork(after_in_child=after_fork)


class Connection(Link):
    """Asks and waits for the answer, one thread at a time."""

    def __init__(self, launched: Launched) -> None:
        super().__init__(launched)
        self.lock = threading.Lock()
        self.error: SandboxError | None = None

    def perform(self, steps: Steps[T]) -> T:
        """Hold one of ``sdk.operations``'s conversations."""
        answer: Message | None = None
        error: BaseException | None = None
        while True:
            try:
                message = advance(steps, answer, error)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            answer, error = None, None
            try:
                answer = self.ask(message)
                error = answer_error(answer.fields)
            except BaseException as e:
                error = e

    def ask(self, message: Message | None) -> Message:
        """One request (None: it has been asked by others) and its answer; what the sandbox died
        of."""
        deadline = time.monotonic() + PATIENCE
        with self.lock:
            if self.error is not None:
                raise self.error
            data, fds = self.numbered(message), message.fds if message else []
            try:
                if self.send(data, fds, deadline) and (answer := self.answer(deadline)):
                    return answer
            except WireError as e:
                self.kill()
                self.error = SandboxDied(f"the sandbox's process talks nonsense: {e}")
                raise self.error from None
            self.error = self.post_mortem()
            raise self.error

    def send(self, data: bytes, fds: list[int], deadline: float) -> bool:
        """All of a message; False when nobody listens."""
        view = memoryview(data)
        while view:
            try:
                view = view[wire.send(self.socket, view, fds) :]
                fds = []
            except BlockingIOError:
                self.wait(select.POLLOUT, deadline)
            except ConnectionError:
                self.drain(deadline)
                return False
        return True

    def answer(self, deadline: float) -> Message | None:
        """The answer to the last request; None when the sandbox ends instead."""
        while True:
            message = self.next_answer()
            if message is not None:
                return message
            try:
                if not self.receive():
                    self.next_answer()
                    return None
            except BlockingIOError:
                self.wait(select.POLLIN, deadline)

    def drain(self, deadline: float) -> None:
        """Read to the end: the last message says why there is one."""
        with contextlib.suppress(WireError):
            while self.answer(deadline) is not None:
                pass

    def wait(self, events: int, deadline: float) -> None:
        """Until the socket is ready; a server that is not in time is ended."""
        left = deadline - time.monotonic()
        if left > 0 and wait_for(self.socket.fileno(), events, left):
            return
        self.kill()
        self.error = SandboxDied("the sandbox does not answer any more, and was killed")
        raise self.error

    def death(self) -> SandboxError:
        """Somebody saw the sandbox end: why it did."""
        with self.lock:
            if self.error is None and not self.closed:
                try:
                    self.drain(time.monotonic() + CLOSE_PATIENCE)
                except SandboxError as e:
                    return e
            if self.error is None:
                self.error = self.post_mortem()
            return self.error

    def ask_all(self, messages: Sequence[Message | None]) -> list[Fields]:
        """Ask one after the other; nothing is left when one is refused."""
        try:
            return [self.ask_checked(message).fields for message in messages]
        except BaseException:
            self.kill()
            self.close()
            raise

    def ask_checked(self, message: Message | None) -> Message:
        """Ask; the answer, when it is no error."""
        answer = self.ask(message)
        error = answer_error(answer.fields)
        if error is not None:
            raise error
        return answer

    def close(self) -> None:
        """End the sandbox and wait until nothing is left of it."""
        if not self.shuttable:
            return
        with self.lock:
            self.hang_up()
            self.reap(CLOSE_PATIENCE)
            self.shut()


def wait_for(fd: int, events: int, timeout: float | None) -> bool:
    """poll(2) of one descriptor."""
    poller = select.poll()
    poller.register(fd, events)
    return bool(poller.poll(None if timeout is None else max(0.0, timeout) * 1000))


def check_signal(sig: int) -> int:
    """A signal's number."""
    if not 0 <= sig <= signal.NSIG - 1:
        raise ValueError(f"bad signal {sig}")
    return int(sig)


def first_messages(fields: dict[str, Any], waiting: bool) -> list[Message | None]:
    """How the talk with a sandbox begins: what it shall be, or, when it has been told already,
    the rest (``sdk.options.LATE``)."""
    if not waiting:
        return [Message({"config": fields})]
    return [None, Message({"op": "adopt", **{name: fields[name] for name in LATE}})]
