"""The blocking API: :func:`run` and :class:`Sandbox`. ``wardian`` shows what is public."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Unpack, overload

from wardian.sdk import operations
from wardian.sdk.base import SandboxBase
from wardian.sdk.connection import Connection, first_messages
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
from wardian.sdk.process import Process, Pump
from wardian.sdk.streams import Input, Streams


class Sandbox(SandboxBase):
    """A sandbox: a Linux kernel of its own, for as many commands as are wanted.

    rootfs
        The directory that is the root inside; None: this machine's own root. It is never written
        to: changes stay in a memory overlay and are gone with the sandbox.
    mounts
        Directories and files of the host, shown inside.
    tmpfs
        Places for empty memory file systems.
    network
        ``"loopback"``: a loopback of its own, nothing else. ``"host"``: TCP and UDP through the
        host. ``"none"``: not even a loopback.
    memory, cpus, pids
        Limits of all that runs inside: bytes or text such as ``"512m"``, processors, tasks.
    env
        Variables on top of a small environment (PATH, HOME, LANG, ...). The caller's own
        environment stays outside: pass ``dict(os.environ)`` to share it.
    cwd
        Where commands start. Default: the current directory if it exists inside, else ``/``.
    user
        ``"UID[:GID]"``, a number, or a name from the sandbox's ``/etc/passwd``. Default: the
        caller's ids.
    hostname
        What ``uname -n`` prints inside.
    timeout
        Seconds until the whole sandbox is ended.
    read_only
        No overlay: the root cannot be written to.
    file_access
        How the root's host files are looked at. ``"cached"``: what the host changes shows after two
        milliseconds at the latest. ``"shared"``: at once; slower. ``"exclusive"``: nobody else
        changes them while the sandbox lives; fastest for large trees.

    Use it in a ``with`` statement, or call :meth:`close`. Threads may share it. Errors are
    subclasses of ``SandboxError``; those of file operations are ``OSError``.
    """

    def _begin(self) -> None:
        self._connect(Connection(launch()), waiting=False)

    def _connect(self, connection: Connection, waiting: bool) -> None:
        """Talk to its process; ``waiting``: it has been made already."""
        self._connection = connection
        connection.timeout = self._fields["timeout"]
        answers = connection.ask_all(first_messages(self._fields, waiting))
        self.layers = str(answers[0]["layers"])

    def __repr__(self) -> str:
        return f"<Sandbox {'closed' if self._connection.closed else 'open'}>"

    # -- commands ----------------------------------------------------------------------------------
    @overload
    def run(
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
    def run(
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

    def run(
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
        """Run a command to its end.

        ``input`` is its standard input, empty by default. ``env`` is on top of the sandbox's,
        ``cwd`` and ``user`` are instead of the sandbox's. After ``timeout`` seconds the command and
        its descendants are ended (SandboxTimeout, with what was written until then), likewise after
        ``max_output`` bytes (OutputTooLarge). With ``text`` the output is str, with ``check`` a
        status other than 0 is CommandFailed. Descendants that outlive the command go on, and are
        not waited for.
        """
        words = arguments(argv)
        streams = Streams(PIPE if input else DEVNULL, PIPE, PIPE)
        try:
            started = self._start(words, streams, env, cwd, user)
            exchange = streams.exchange(input, max_output)
            try:
                result = Pump(self._connection, started, exchange).run(words, timeout, text)
            finally:
                exchange.close_input()
        finally:
            streams.close()
        return result.check() if check else result

    @overload
    def spawn(
        self,
        argv: Sequence[StrPath],
        *,
        stdin: Stream = PIPE,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | int | None = None,
        text: Literal[False] = False,
    ) -> Process[bytes]: ...

    @overload
    def spawn(
        self,
        argv: Sequence[StrPath],
        *,
        stdin: Stream = PIPE,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | int | None = None,
        text: Literal[True],
    ) -> Process[str]: ...

    def spawn(
        self,
        argv: Sequence[StrPath],
        *,
        stdin: Stream = PIPE,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | int | None = None,
        text: bool = False,
    ) -> Process[Any]:
        """Start a command and go on. Each stream is PIPE, DEVNULL (or None), a file or descriptor
        of ours, which the command then reads or writes itself; ``stderr`` may be STDOUT."""
        words = arguments(argv)
        streams = Streams(stdin, stdout, stderr)
        try:
            started = self._start(words, streams, env, cwd, user)
        except BaseException:
            streams.close()
            raise
        return Process(self._connection, words, started, streams, text)

    def _start(
        self,
        words: list[str],
        streams: Streams,
        env: Mapping[str, str] | None,
        cwd: str | None,
        user: str | int | None,
    ) -> Started:
        started = self._connection.perform(self._spawning(words, streams, env, cwd, user))
        streams.sent()
        return started

    # -- files -------------------------------------------------------------------------------------
    def read_file(self, path: StrPath, *, limit: int = MAX_FILE) -> bytes:
        """The contents of a file inside; OSError (EFBIG) when there are more than ``limit`` bytes.
        File operations are root's; relative paths start at the root."""
        return self._connection.perform(operations.read_file(path, limit))

    def iter_file(self, path: StrPath) -> Iterator[bytes]:
        """The contents in pieces, for files of any size."""
        perform = self._connection.perform
        handle = perform(operations.open_file(path, "r"))
        try:
            while piece := perform(operations.read_piece(handle)):
                yield piece
        finally:
            perform(operations.close_file(handle))

    def write_file(self, path: StrPath, data: Data, *, mode: int | None = None) -> int:
        """Make or replace a file, which belongs to the sandbox's user; the number of bytes written.

        ``data`` is bytes, str, a file open for reading in binary, or an iterable of bytes. Missing
        directories on the way are made. ``mode`` is the permissions, by default 0644 for a new
        file.
        """
        return self._connection.perform(operations.write_file(path, data, mode))

    def listdir(self, path: StrPath = "/") -> list[str]:
        """The names in a directory, sorted."""
        return self._connection.perform(operations.listdir(path))

    def exists(self, path: StrPath) -> bool:
        """Whether there is something at ``path``."""
        return self._connection.perform(operations.exists(path))

    def remove(self, path: StrPath, *, recursive: bool = False) -> None:
        """Remove a file or an empty directory; with ``recursive`` a directory with its contents."""
        self._connection.perform(operations.remove(path, recursive))

    # -- the end -----------------------------------------------------------------------------------
    def close(self) -> None:
        """End everything inside. Nothing of the sandbox is left on the host afterwards."""
        self._connection.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@overload
def run(
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
def run(
    argv: Sequence[StrPath],
    *,
    input: Input = None,
    timeout: float | None = None,
    text: Literal[True],
    check: bool = False,
    max_output: int = MAX_OUTPUT,
    **options: Unpack[SandboxOptions],
) -> Result[str]: ...


def run(
    argv: Sequence[StrPath],
    *,
    input: Input = None,
    timeout: float | None = None,
    text: bool = False,
    check: bool = False,
    max_output: int = MAX_OUTPUT,
    **options: Unpack[SandboxOptions],
) -> Result[Any]:
    """Run one command in a sandbox of its own: ``Sandbox(**options).run(argv, ...)``.

        wardian.run(["python3", "-c", "print(6*7)"], timeout=10).stdout

    ``options`` are those of ``Sandbox``: env, cwd, user, memory, network, mounts, ...
    """
    words = arguments(argv)
    with Sandbox(**options) as box:
        if text:
            return box.run(
                words, input=input, timeout=timeout, text=True, check=check, max_output=max_output
            )
        return box.run(words, input=input, timeout=timeout, check=check, max_output=max_output)
