"""Asking a sandbox from asyncio: the twin of ``sdk.connection.Connection``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TypeVar

from wardian.sdk import wire
from wardian.sdk.connection import (
    CLOSE_PATIENCE,
    PATIENCE,
    Link,
    advance,
)
from wardian.sdk.errors import SandboxDied, SandboxError
from wardian.sdk.launched import Launched
from wardian.sdk.operations import Steps, answer_error
from wardian.sdk.wire import Fields, Message, WireError

T = TypeVar("T")


class Connection(Link):
    """Asks and waits for the answer, one task at a time."""

    def __init__(self, launched: Launched) -> None:
        super().__init__(launched)
        self.lock = asyncio.Lock()
        self.error: SandboxError | None = None

    async def perform(self, steps: Steps[T]) -> T:
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
                # to its end even when we are cancelled: half a message must not be sent
                answer = await asyncio.shield(asyncio.ensure_future(self.ask(message)))
                error = answer_error(answer.fields)
            except BaseException as e:
                error = e

    async def ask_all(self, messages: Sequence[Message | None]) -> list[Fields]:
        """Ask one after the other; nothing is left when one is refused."""
        try:
            return [(await self.ask_checked(message)).fields for message in messages]
        except BaseException:
            self.kill()
            await self.close()
            raise

    async def ask_checked(self, message: Message | None) -> Message:
        """Ask; the answer, when it is no error."""
        answer = await self.ask(message)
        error = answer_error(answer.fields)
        if error is not None:
            raise error
        return answer

    async def ask(self, message: Message | None) -> Message:
        """One request (None: it has been asked by others) and its answer; what the sandbox died
        of."""
        async with self.lock:
            if self.error is not None:
                raise self.error
            data, fds = self.numbered(message), message.fds if message else []
            try:
                async with asyncio.timeout(PATIENCE):
                    if await self.send(data, fds) and (answer := await self.answer()):
                        return answer
            except WireError as e:
                self.kill()
                self.error = SandboxDied(f"the sandbox's process talks nonsense: {e}")
            except TimeoutError:
                self.kill()
                self.error = SandboxDied("the sandbox does not answer any more, and was killed")
            if self.error is None:
                self.error = await asyncio.to_thread(self.post_mortem)
            raise self.error

    async def send(self, data: bytes, fds: list[int]) -> bool:
        """All of a message; False when nobody listens."""
        view = memoryview(data)
        while view:
            try:
                view = view[wire.send(self.socket, view, fds) :]
                fds = []
            except BlockingIOError:
                await ready(self.socket.fileno(), write=True)
            except ConnectionError:
                await self.drain()
                return False
        return True

    async def answer(self) -> Message | None:
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
                await ready(self.socket.fileno())

    async def drain(self) -> None:
        """Read to the end: the last message says why there is one."""
        with contextlib.suppress(WireError):
            while await self.answer() is not None:
                pass

    async def death(self) -> SandboxError:
        """Somebody saw the sandbox end: why it did."""
        async with self.lock:
            if self.error is None and not self.closed:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_PATIENCE):
                        await self.drain()
            if self.error is None:
                self.error = await asyncio.to_thread(self.post_mortem)
            return self.error

    async def close(self) -> None:
        """End the sandbox and wait until nothing is left of it."""
        if not self.shuttable:
            return
        async with self.lock:
            self.hang_up()
            await asyncio.to_thread(self.reap, CLOSE_PATIENCE)
            self.shut()


async def ready(fd: int, write: bool = False) -> None:
    """Wait until ``fd`` is; nobody else may wait for it meanwhile."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    add, remove = (
        (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    )
    add(fd, resolve, future)
    try:
        await future
    finally:
        remove(fd)


def resolve(future: asyncio.Future[None]) -> None:
    """Wake who waits for ``future``."""
    if not future.done():
        future.set_result(None)
