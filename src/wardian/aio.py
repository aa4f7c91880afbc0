"""The asyncio API: ``Sandbox``, ``Pool``, ``Process`` and ``run`` as in ``wardian``.

result = await wardian.aio.run(["uname", "-a"], timeout=10, text=True)

async with wardian.aio.Sandbox() as box:
    process = await box.spawn(["cat"])
    ...
"""

from __future__ import annotations

from wardian.sdk.aio import Process, Sandbox, run
from wardian.sdk.aio_pool import Pool

__all__ = ["Pool", "Process", "Sandbox", "run"]
