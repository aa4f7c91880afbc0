"""A command that runs in a sandbox."""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import threading
import time
from collections.abc import Sequence
from typing import IO, Any, AnyStr, Generic, cast

from wardian.sdk import operations
from wardian.sdk.connection import Connection, check_signal, wait_for
from wardian.sdk.errors import SandboxError, SandboxTimeout
from wardian.sdk.model import Result
from wardian.sdk.operations import Started
from wardian.sdk.outcome import (
    GRACE,
    MAX_OUTPUT,
    Ending,
    ProcessBase,
    make_result,
    out_of_memory,
    timed_out,
    too_large,
)
from wardian.sdk.streams import Exchange, Streams, input_bytes, read_report


class Pump:
    """Moves a command's input and output until it has ended, blocking."""

    def __init__(self, connection: Connection, started: Started, exchange: Exchange) -> None:
        self.connection = connection
        self.started = started
        self.exchange = exchange

    def run(self, args: Sequence[str], timeout: float | None, text: bool) -> Result[Any]:
        """The result; a command that takes too long or writes too much is ended."""
        exchange = self.exchange
        try:
            finished = self.until(timeout)
        except BaseException:
            with contextlib.suppress(SandboxError):
                self.connection.perform(operations.end(self.started.number))
            raise
        if not finished:
            self.end()
            if exchange.too_large:
                raise too_large(args, exchange.max_output)
            raise timed_out(args, timeout or 0.0, exchange, text)
        if exchange.report is None:
            raise self.connection.death()
        return make_result(args, *exchange.data(), text, Ending(exchange.report))

    def until(self, timeout: float | None) -> bool:
        """Pump until the command has ended; False when time or room runs out first."""
        exchange = self.exchange
        deadline = None if timeout is None else time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            while not exchange.done:
                left = None if deadline is None else deadline - time.monotonic()
                if exchange.too_large or (left is not None and left <= 0):
                    return False
                self.watch(selector)
                for key, _ in selector.select(left):
                    exchange.ready(key.fd)
        return not exchange.too_large

    def watch(self, selector: selectors.DefaultSelector) -> None:
        """Watch exactly what the exchange waits for."""
        wanted = dict.fromkeys(self.exchange.to_read(), selectors.EVENT_READ)
        wanted.update(dict.fromkeys(self.exchange.to_write(), selectors.EVENT_WRITE))
        watched = {cast(int, key.fileobj) for key in selector.get_map().values()}
        for fd in watched - wanted.keys():
            selector.unregister(fd)
        for fd in wanted.keys() - watched:
            selector.register(fd, wanted[fd])

    def end(self) -> None:
        """Kill the command and its descendants, and see it end."""
        self.connection.perform(operations.end(self.started.number))
        if not self.exchange.done and not wait_for(self.exchange.exit, select.POLLIN, GRACE):
            self.connection.kill()
        if not self.exchange.done:
            self.exchange.ready(self.exchange.exit)
        if self.exchange.report is None:
            raise self.connection.death()


class Process(ProcessBase, Generic[AnyStr]):
    """A command started by ``Sandbox.spawn``.

    ``stdin``, ``stdout`` and ``stderr`` are files for those streams that are pipes, else None;
    ``pid`` is its number inside. As a context manager it ends the command if it still runs.
    """

    def __init__(
        self,
        connection: Connection,
        args: list[str],
        started: Started,
        streams: Streams,
        text: bool,
    ) -> None:
        super().__init__(args, started, streams.exit)
        self.stdin: IO[AnyStr] | None = open_stream(streams.ours[0], "w", text)
        self.stdout: IO[AnyStr] | None = open_stream(streams.ours[1], "r", text)
        self.stderr: IO[AnyStr] | None = open_stream(streams.ours[2], "r", text)
        self._text = text
        self._connection = connection
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """The status if the command has ended, else None; SandboxDied and its like."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the status. SandboxTimeout after ``timeout`` seconds (it goes on then),
        OutOfMemory when the memory limit ended it, SandboxDied."""
        status = self._look(timeout)
        if status is None:
            raise SandboxTimeout(f"{self.args[0]} still runs after {timeout:g} s")
        if self._ending is not None and self._ending.out_of_memory:
            raise out_of_memory(self.args, self._ending)
        return status

    def _look(self, timeout: float | None) -> int | None:
        if self._ending is None:
            if not wait_for(self._exit, select.POLLIN, timeout):
                return None
            with self._lock:
                if self._ending is None:
                    self._settle(read_report(self._exit))
        return self.returncode

    def _settle(self, report: dict[str, Any] | None) -> None:
        if report is None:
            raise self._connection.death()
        self._ending = Ending(report)

    def kill(self, sig: int = signal.SIGKILL) -> None:
        """Send a signal to the command itself; nothing when it has ended."""
        if self.poll() is None:
            self._connection.perform(operations.kill(self._started.number, check_signal(sig)))

    def terminate(self) -> None:
        """SIGTERM."""
        self.kill(signal.SIGTERM)

    def communicate(
        self,
        input: AnyStr | None = None,
        timeout: float | None = None,
        max_output: int = MAX_OUTPUT,
    ) -> tuple[AnyStr, AnyStr]:
        """Give it ``input``, read all its output, wait for its end. Errors as those of
        ``Sandbox.run``."""
        fds = [-1 if f is None or f.closed else f.fileno() for f in self._streams()]
        if fds[0] >= 0:
            fds[0] = os.dup(fds[0])  # the exchange closes it
            close_quietly(cast(IO[Any], self.stdin))  # after writing what it has buffered
        with self._lock:
            exchange = Exchange(fds, self._exit, input_bytes(input), max_output)
            try:
                result = Pump(self._connection, self._started, exchange).run(
                    self.args, timeout, self._text
                )
            finally:
                exchange.close_input()
                if exchange.report is not None:
                    self._ending = Ending(exchange.report)
        self._close_streams()
        return result.stdout, result.stderr

    def _streams(self) -> list[IO[AnyStr] | None]:
        return [self.stdin, self.stdout, self.stderr]

    def _close_streams(self) -> None:
        for stream in self._streams():
            if stream is not None:
                close_quietly(stream)

    def __enter__(self) -> Process[AnyStr]:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_streams()
        if self._ending is None and not self._connection.closed:
            self._connection.perform(operations.end(self._started.number))
            self._look(GRACE)


def close_quietly(stream: IO[Any]) -> None:
    """Close; what could not be written any more is lost anyhow."""
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def open_stream(fd: int, mode: str, text: bool) -> IO[Any] | None:
    """A file over our end of a pipe."""
    if fd < 0:
        return None
    if text:
        return os.fdopen(fd, mode, encoding="utf-8", errors="replace", newline="")
    return os.fdopen(fd, mode + "b")
