"""The asyncio API: ``Sandbox``, ``Process`` and ``run`` as in ``wardian``, with coroutines.

result = await wardian.aio.run(["uname", "-a"], timeout=10, text=True)

async with wardian.aio.Sandbox() as box:
    process = await box.spawn(["cat"])
    ...
"""

from __future__ import annotations

from wardian.sdk.aio import Process, Sandbox, run

__all__ = ["Process", "Sandbox", "run"]
