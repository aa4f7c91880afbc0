"""The asyncio API: the twin of ``sdk.sandbox``. ``wardian.aio`` shows what is public."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Unpack, overload

from wardian.sdk import operations
from wardian.sdk.aio_connection import Connection
from wardian.sdk.aio_process import Process, Pump
from wardian.sdk.base import SandboxBase
from wardian.sdk.connection import first_messages
from wardian.sdk.launched import launch
from wardian.sdk.model import Result
from wardian.sdk.operations import MAX_FILE, Data, Started
from wardian.sdk.options import (
    DEVNULL,
    PIPE,
    SandboxOptions,
    Stream,
    StrPath,
    arguments,
)
from wardian.sdk.outcome import MAX_OUTPUT
from wardian.sdk.streams import Input, Streams

__all__ = ["Process", "Sandbox", "run"]


class Sandbox(SandboxBase):
    """A sandbox for asyncio: ``async with Sandbox(...) as box``, or :meth:`start` and
    :meth:`close`. The arguments, and the errors, are those of ``wardian.Sandbox``."""

    _connection: Connection

    def _begin(self) -> None:
        pass  # start() does

    async def start(self) -> Sandbox:
        """Start it."""
        await self._connect(Connection(launch()), waiting=False)
        return self

    async def _connect(self, connection: Connection, waiting: bool) -> None:
        """Talk to its process; ``waiting``: it has been made already."""
        self._connection = connection
        connection.timeout = self._fields["timeout"]
        answers = await connection.ask_all(first_messages(self._fields, waiting))
        self.layers = str(answers[0]["layers"])

    async def __aenter__(self) -> Sandbox:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
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
            exchange = streams.exchange(input, max_output)
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
        steps = self._spawning(words, streams, env, cwd, user)
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
