"""The asyncio twin of ``sdk.pool``."""

from __future__ import annotations

from typing import Unpack

from wardian.sdk.aio import Sandbox
from wardian.sdk.aio_connection import Connection
from wardian.sdk.launched import POOL, launch, received
from wardian.sdk.options import TimedOptions
from wardian.sdk.pool import PoolBase, request


class Pool(PoolBase):
    """Ready sandboxes for asyncio: ``async with Pool(4, ...) as pool``, or :meth:`start` and
    :meth:`close`. The arguments are those of ``wardian.Pool``."""

    _connection: Connection

    async def start(self) -> Pool:
        """Start it."""
        self._connection = Connection(launch(POOL))
        await self._connection.ask_all([self._opening()])
        return self

    async def sandbox(self, **options: Unpack[TimedOptions]) -> Sandbox:
        """As ``wardian.Pool.sandbox``; the sandbox has been started."""
        fields, waiting = self._wanted(options)
        answer = await self._connection.ask_checked(request(waiting))
        connection = Connection(received(answer.fields["pid"], answer.fds))
        self._adopt(connection)
        box = Sandbox._of_pool(fields)
        await box._connect(connection, waiting)
        return box

    async def close(self) -> None:
        """End all its sandboxes, those in use as well. Nothing of them is left on the host
        afterwards."""
        links = list(self._links)
        for link in links:
            link.hang_up()
        await self._connection.close()
        for link in links:
            if isinstance(link, Connection):
                await link.close()

    async def __aenter__(self) -> Pool:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()
