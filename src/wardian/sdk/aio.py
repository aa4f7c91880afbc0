"""The asyncio API: the twin of ``sdk.sandbox`` and ``sdk.process``. ``wardian.aio`` shows what is
public."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar, Unpack, overload

from wardian.sdk import operations, wire
from wardian.sdk.base import SandboxBase
from wardian.sdk.connection import (
    CLOSE_PATIENCE,
    PATIENCE,
    Link,
    advance,
    check_signal,
    start_fields,
)
from wardian.sdk.errors import SandboxDied, SandboxError, SandboxTimeout
from wardian.sdk.model import Result, Usage, ending
from wardian.sdk.operations import MAX_FILE, Data, Started, Steps, answer_error
from wardian.sdk.options import (
    DEVNULL,
    PIPE,
    SandboxOptions,
    Stream,
    StrPath,
    arguments,
    directory,
    environment,
    user_text,
)
from wardian.sdk.process import (
    GRACE,
    MAX_OUTPUT,
    Ending,
    make_result,
    out_of_memory,
    timed_out,
    too_large,
)
from wardian.sdk.sandbox import Input
from wardian.sdk.streams import Exchange, Streams, read_report
from wardian.sdk.wire import Message, WireError

T = TypeVar("T")


class Connection(Link):
    """Asks and waits for the answer, one task at a time."""

    def __init__(self) -> None:
        super().__init__()
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

    async def ask(self, message: Message) -> Message:
        """One request and its answer; what the sandbox died of."""
        async with self.lock:
            if self.error is not None:
                raise self.error
            data = self.numbered(message)
            try:
                async with asyncio.timeout(PATIENCE):
                    if await self.send(data, message.fds) and (answer := await self.answer()):
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
        if self.closed or self.owner != os.getpid():
            return
        async with self.lock:
            self.closed = True
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
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


class Process:
    """A command started by ``Sandbox.spawn``; ``stdin`` is an ``asyncio.StreamWriter``, ``stdout``
    and ``stderr`` are ``asyncio.StreamReader``, or None for what is no pipe."""

    def __init__(self, connection: Connection, args: list[str], started: Started, fd: int) -> None:
        self.args = args
        self.pid = started.pid
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._connection = connection
        self._started = started
        self._exit = fd
        weakref.finalize(self, os.close, fd)
        self._transports: list[asyncio.BaseTransport] = []
        self._ending: Ending | None = None
        self._watcher: asyncio.Task[Ending] | None = None

    def __repr__(self) -> str:
        state = "runs" if self._ending is None else ending(self._ending.returncode)
        return f"<Process {self.pid} {self.args!r} {state}>"

    @property
    def returncode(self) -> int | None:
        """The status once :meth:`wait` knows it; -N for signal N."""
        return None if self._ending is None else self._ending.returncode

    @property
    def usage(self) -> Usage | None:
        """What it cost, once it has ended."""
        return None if self._ending is None else self._ending.usage

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

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for transport in self._transports:
            transport.close()
        if self._ending is None and not self._connection.closed:
            await self._connection.perform(operations.end(self._started.number))
            with contextlib.suppress(SandboxError):
                await self.wait(GRACE)


async def read_all(reader: asyncio.StreamReader | None) -> bytes:
    """Everything from a stream."""
    return b"" if reader is None else await reader.read()


class Sandbox(SandboxBase):
    """A sandbox for asyncio: ``async with Sandbox(...) as box``, or :meth:`start` and
    :meth:`close`. The arguments, and the errors, are those of ``wardian.Sandbox``."""

    _connection: Connection

    def _begin(self) -> None:
        pass  # start() does

    async def start(self) -> Sandbox:
        """Start it."""
        self._connection = Connection()
        self._connection.timeout = self._fields["timeout"]
        try:
            answer = await self._connection.ask(start_fields(self._fields))
            error = answer_error(answer.fields)
            if error is not None:
                raise error
            self.layers = answer.fields["layers"]
        except BaseException:
            self._connection.kill()
            await self._connection.close()
            raise
        return self

    async def __aenter__(self) -> Sandbox:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End everything inside. Nothing of the sandbox is left on the host afterwards."""
        await self._connection.close()

    # -- commands ----------------------------------------------------------------------------------
    @overload
    async def run(
        self,
        argv: Sequence[StrPath],
        *,
        input: Input = None,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | int | None = None,
        text: Literal[False] = False,
        check: bool = False,
        max_output: int = MAX_OUTPUT,
    ) -> Result[bytes]: ...

    @overload
    async def run(
        self,
        argv: Sequence[StrPath],
        *,
        input: Input = None,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | int | None = None,
        text: Literal[True],
        check: bool = False,
        max_output: int = MAX_OUTPUT,
    ) -> Result[str]: ...

    async def run(
        self,
        argv: Sequence[StrPath],
        *,
        input: Input = None,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | int | None = None,
        text: bool = False,
        check: bool = False,
        max_output: int = MAX_OUTPUT,
    ) -> Result[Any]:
        """Run a command to its end, as ``wardian.Sandbox.run``. Cancelled, it ends the command."""
        words = arguments(argv)
        streams = Streams(PIPE if input else DEVNULL, PIPE, PIPE)
        try:
            started = await self._start(words, streams, env, cwd, user)
            data = input.encode() if isinstance(input, str) else input or b""
            exchange = Exchange(streams.ours, streams.exit, data, max_output)
            streams.ours[0] = -1  # the exchange closes it
            try:
                result = await Pump(self._connection, started, exchange).run(words, timeout, text)
            finally:
                exchange.close_input()
        finally:
            streams.close()
        return result.check() if check else result

    async def spawn(
        self,
        argv: Sequence[StrPath],
        *,
        stdin: Stream = PIPE,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | int | None = None,
    ) -> Process:
        """Start a command and go on, as ``wardian.Sandbox.spawn``; always with bytes."""
        words = arguments(argv)
        streams = Streams(stdin, stdout, stderr)
        try:
            started = await self._start(words, streams, env, cwd, user)
        except BaseException:
            streams.close()
            raise
        process = Process(self._connection, words, started, streams.exit)
        await process._connect(streams.ours)
        return process

    async def _start(
        self,
        words: list[str],
        streams: Streams,
        env: Mapping[str, str] | None,
        cwd: str | None,
        user: str | int | None,
    ) -> Started:
        place = None if cwd is None else directory(cwd)
        steps = operations.spawn(words, streams, environment(env), place, user_text(user))
        task = asyncio.ensure_future(self._connection.perform(steps))
        try:
            started = await asyncio.shield(task)
        except asyncio.CancelledError:  # it starts nevertheless, and nobody would know it
            started = await task
            await self._connection.perform(operations.end(started.number))
            raise
        streams.sent()
        return started

    # -- files -------------------------------------------------------------------------------------
    async def read_file(self, path: StrPath, *, limit: int = MAX_FILE) -> bytes:
        """As ``wardian.Sandbox.read_file``."""
        return await self._connection.perform(operations.read_file(path, limit))

    async def iter_file(self, path: StrPath) -> AsyncIterator[bytes]:
        """As ``wardian.Sandbox.iter_file``."""
        perform = self._connection.perform
        handle = await perform(operations.open_file(path, "r"))
        try:
            while piece := await perform(operations.read_piece(handle)):
                yield piece
        finally:
            await perform(operations.close_file(handle))

    async def write_file(self, path: StrPath, data: Data, *, mode: int | None = None) -> int:
        """As ``wardian.Sandbox.write_file``."""
        return await self._connection.perform(operations.write_file(path, data, mode))

    async def listdir(self, path: StrPath = "/") -> list[str]:
        """As ``wardian.Sandbox.listdir``."""
        return await self._connection.perform(operations.listdir(path))

    async def exists(self, path: StrPath) -> bool:
        """As ``wardian.Sandbox.exists``."""
        return await self._connection.perform(operations.exists(path))

    async def remove(self, path: StrPath, *, recursive: bool = False) -> None:
        """As ``wardian.Sandbox.remove``."""
        await self._connection.perform(operations.remove(path, recursive))


@overload
async def run(
    argv: Sequence[StrPath],
    *,
    input: Input = None,
    timeout: float | None = None,
    text: Literal[False] = False,
    check: bool = False,
    max_output: int = MAX_OUTPUT,
    **options: Unpack[SandboxOptions],
) -> Result[bytes]: ...


@overload
async def run(
    argv: Sequence[StrPath],
    *,
    input: Input = None,
    timeout: float | None = None,
    text: Literal[True],
    check: bool = False,
    max_output: int = MAX_OUTPUT,
    **options: Unpack[SandboxOptions],
) -> Result[str]: ...


async def run(
    argv: Sequence[StrPath],
    *,
    input: Input = None,
    timeout: float | None = None,
    text: bool = False,
    check: bool = False,
    max_output: int = MAX_OUTPUT,
    **options: Unpack[SandboxOptions],
) -> Result[Any]:
    """Run one command in a sandbox of its own, as ``wardian.run``."""
    words = arguments(argv)
    async with Sandbox(**options) as box:
        if text:
            return await box.run(
                words, input=input, timeout=timeout, text=True, check=check, max_output=max_output
            )
        return await box.run(
            words, input=input, timeout=timeout, check=check, max_output=max_output
        )
