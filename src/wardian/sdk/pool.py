"""``wardian.Pool``: sandboxes that are ready before they are asked for.

:class:`PoolBase` is what the blocking and the asyncio pool share; ``sdk.pool_server`` is the
process behind both.
"""

from __future__ import annotations

import weakref
from typing import Any, Unpack

from wardian.sdk.connection import Connection, Link
from wardian.sdk.errors import ConfigError
from wardian.sdk.launched import POOL, launch, received
from wardian.sdk.options import LATE, TimedOptions, sandbox_fields
from wardian.sdk.sandbox import Sandbox
from wardian.sdk.wire import Message

READY_MAX = 1000


class PoolBase:
    """The arguments, checked, and the sandboxes that were taken; ``wardian.Pool`` says what the
    arguments mean."""

    def __init__(self, ready: int = 1, **options: Unpack[TimedOptions]) -> None:
        if not 0 <= ready <= READY_MAX:
            raise ConfigError(f"bad number of ready sandboxes {ready!r}: 0 to {READY_MAX}")
        self._ready = ready
        self._options = options
        self._fields = sandbox_fields(options)
        self._links: weakref.WeakSet[Link] = weakref.WeakSet()
        self._begin()

    def _begin(self) -> None:
        """Start it, when that can be done without waiting for a loop."""

    def _opening(self) -> Message:
        """The first message: nothing of :data:`LATE` in it, which may be secret."""
        late = {"env": {}, "cwd": "/", "cwd_required": False, "user": "", "timeout": 0.0}
        return Message({"op": "open", "config": {**self._fields, **late}, "ready": self._ready})

    def _wanted(self, options: TimedOptions) -> tuple[dict[str, Any], bool]:
        """The fields of a sandbox, and whether those that wait will do."""
        merged: dict[str, Any] = {**self._options, **options}
        fields = sandbox_fields(merged)
        return fields, all(fields[n] == self._fields[n] for n in fields if n not in LATE)

    def _adopt(self, link: Link) -> None:
        """The pool is needed as long as its sandbox, and ends it in the end."""
        link.pool = self
        self._links.add(link)


def request(waiting: bool) -> Message:
    """Ask the server for one that waits, or for one that will be told what to be."""
    return Message({"op": "take" if waiting else "make"})


class Pool(PoolBase):
    """Ready sandboxes, all alike: for many short jobs, each in a sandbox of its own.

        with wardian.Pool(4, memory="512m", network="none") as pool:
            with pool.sandbox() as box:
                box.run(["python3", "job.py"])

    ready
        How many sandboxes wait, with nothing running in them. Each that is taken is replaced.
    options
        Those of ``Sandbox``: what the waiting ones are like, and the default for all others.

    The first is ready when the pool is. No sandbox is used twice. Those of one pool are forks of
    one process: see SECURITY.md for what that means. Use it in a ``with`` statement, or call
    :meth:`close`. Threads may share it.
    """

    def _begin(self) -> None:
        self._connection = Connection(launch(POOL))
        self._connection.ask_all([self._opening()])

    def sandbox(self, **options: Unpack[TimedOptions]) -> Sandbox:
        """A sandbox as ``Sandbox(...)`` makes it, with the pool's options where ``options`` do not
        say otherwise. ``env``, ``cwd``, ``user`` and ``timeout`` may differ from the pool's; with
        other options it is made now, which takes longer."""
        fields, waiting = self._wanted(options)
        answer = self._connection.ask_checked(request(waiting))
        connection = Connection(received(answer.fields["pid"], answer.fds))
        self._adopt(connection)
        box = Sandbox._of_pool(fields)
        box._connect(connection, waiting)
        return box

    def close(self) -> None:
        """End all its sandboxes, those in use as well. Nothing of them is left on the host
        afterwards."""
        links = list(self._links)
        for link in links:
            link.hang_up()
        self._connection.close()
        for link in links:
            if isinstance(link, Connection):
                link.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
