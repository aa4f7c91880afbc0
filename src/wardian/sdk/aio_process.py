"""A command that runs in a sandbox, for asyncio: the twin of ``sdk.process``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

from wardian.sdk import operations
from wardian.sdk.aio_connection import Connection, ready
from wardian.sdk.connection import check_signal
from wardian.sdk.errors import SandboxError, SandboxTimeout
from wardian.sdk.model import Result
from wardian.sdk.operations import Started
from wardian.sdk.outcome import (
    GRACE,
    Ending,
    ProcessBase,
    make_result,
    out_of_memory,
    timed_out,
    too_large,
)
from wardian.sdk.streams import Exchange, read_report


class Pump:
    """Moves a command's input and output until it has ended."""

    def __init__(self, connection: Connection, started: Started, exchange: Exchange) -> None:
        self.connection = connection
        self.started = started
        self.exchange = exchange
        self.loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self.loop.create_future()
        self.watched: dict[int, Callable[[int], Any]] = {}  # descriptor -> how to unwatch it

    async def run(self, args: Sequence[str], timeout: float | None, text: bool) -> Result[Any]:
        """The result; a command that takes too long or writes too much is ended."""
        exchange = self.exchange
        try:
            finished = await self.until(timeout)
        except BaseException:
            with contextlib.suppress(SandboxError):
                await self.connection.perform(operations.end(self.started.number))
            raise
        if not finished:
            await self.end()
            if exchange.too_large:
                raise too_large(args, exchange.max_output)
            raise timed_out(args, timeout or 0.0, exchange, text)
        if exchange.report is None:
            raise await self.connection.death()
        return make_result(args, *exchange.data(), text, Ending(exchange.report))

    async def until(self, timeout: float | None) -> bool:
        """Pump until the command has ended; False when time or room runs out first."""
        self.watch()
        try:
            async with asyncio.timeout(timeout):
                await self.over
        except TimeoutError:
            return self.exchange.done
        finally:
            for fd in list(self.watched):
                self.watched.pop(fd)(fd)
        return not self.exchange.too_large

    def watch(self) -> None:
        """Watch exactly what the exchange waits for."""
        reading, writing = self.exchange.to_read(), self.exchange.to_write()
        for fd in self.watched.keys() - {*reading, *writing}:
            self.watched.pop(fd)(fd)
        for fd in reading:
            if fd not in self.watched:
                self.loop.add_reader(fd, self.ready, fd)
                self.watched[fd] = self.loop.remove_reader
        for fd in writing:
            if fd not in self.watched:
                self.loop.add_writer(fd, self.ready, fd)
                self.watched[fd] = self.loop.remove_writer

    def ready(self, fd: int) -> None:
        """``fd`` is ready."""
        if self.over.done():
            return
        if fd == self.exchange.input:  # may be closed now: the loop must have forgotten it
            self.watched.pop(fd)(fd)
        try:
            self.exchange.ready(fd)
            self.watch()
        except Exception as e:
            self.over.set_exception(e)
            return
        if self.exchange.done or self.exchange.too_large:
            self.over.set_result(None)

    async def end(self) -> None:
        """Kill the command and its descendants, and see it end."""
        await self.connection.perform(operations.end(self.started.number))
        if not self.exchange.done:
            try:
                async with asyncio.timeout(GRACE):
                    await ready(self.exchange.exit)
            except TimeoutError:
                self.connection.kill()
            self.exchange.ready(self.exchange.exit)
        if self.exchange.report is None:
            raise await self.connection.death()


class Process(ProcessBase):
    """A command started by ``Sandbox.spawn``; ``stdin`` is an ``asyncio.StreamWriter``, ``stdout``
    and ``stderr`` are ``asyncio.StreamReader``, or None for what is no pipe."""

    def __init__(self, connection: Connection, args: list[str], started: Started, fd: int) -> None:
        super().__init__(args, started, fd)
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._connection = connection
        self._transports: list[asyncio.BaseTransport] = []
        self._watcher: asyncio.Task[Ending] | None = None

    async def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the status. SandboxTimeout after ``timeout`` seconds (it goes on then),
        OutOfMemory when the memory limit ended it, SandboxDied."""
        if self._watcher is None:
            self._watcher = asyncio.ensure_future(self._watch())
        try:
            async with asyncio.timeout(timeout):
                end = await asyncio.shield(self._watcher)
        except TimeoutError:
            raise SandboxTimeout(f"{self.args[0]} still runs after {timeout:g} s") from None
        if end.out_of_memory:
            raise out_of_memory(self.args, end)
        return end.returncode

    async def _watch(self) -> Ending:
        await ready(self._exit)
        report = read_report(self._exit)
        if report is None:
            raise await self._connection.death()
        self._ending = Ending(report)
        return self._ending

    async def kill(self, sig: int = signal.SIGKILL) -> None:
        """Send a signal to the command itself; nothing when it has ended."""
        if self._ending is None:
            await self._connection.perform(operations.kill(self._started.number, check_signal(sig)))

    async def terminate(self) -> None:
        """SIGTERM."""
        await self.kill(signal.SIGTERM)

    async def communicate(
        self, input: bytes | None = None, timeout: float | None = None
    ) -> tuple[bytes, bytes]:
        """Give it ``input``, read its output to the end of the files, wait for its end. When time
        runs out the command is ended: SandboxTimeout."""
        try:
            async with asyncio.timeout(timeout):
                _, out, err = await asyncio.gather(
                    self._feed(input or b""), read_all(self.stdout), read_all(self.stderr)
                )
                await self.wait()
        except TimeoutError:
            await self._connection.perform(operations.end(self._started.number))
            words = f"{self.args[0]} was ended: it took longer than {timeout:g} s"
            raise SandboxTimeout(words) from None
        return out, err

    async def _feed(self, data: bytes) -> None:
        if self.stdin is None:
            return
        with contextlib.suppress(ConnectionError):
            self.stdin.write(data)
            await self.stdin.drain()
        self.stdin.close()

    async def _connect(self, fds: list[int]) -> None:
        """Streams over our ends of the pipes."""
        loop = asyncio.get_running_loop()
        if fds[0] >= 0:
            reader = asyncio.StreamReader()
            transport, protocol = await loop.connect_write_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fds[0], "wb", 0)
            )
            self.stdin = asyncio.StreamWriter(transport, protocol, None, loop)
            self._transports.append(transport)
        self.stdout = await self._reader(fds[1])
        self.stderr = await self._reader(fds[2])

    async def _reader(self, fd: int) -> asyncio.StreamReader | None:
        if fd < 0:
            return None
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0)
        )
        self._transports.append(transport)
        return reader

    async def __aenter__(self) -> Process:
        return self

    async def __aexit__(self, *_: object) -> None:
        for transport in self._transports:
            transport.close()
        if self._ending is None and not self._connection.closed:
            await self._connection.perform(operations.end(self._started.number))
            with contextlib.suppress(SandboxError):
                await self.wait(GRACE)


async def read_all(reader: asyncio.StreamReader | None) -> bytes:
    """Everything from a stream."""
    return b"" if reader is None else await reader.read()
