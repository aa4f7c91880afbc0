"""Wardian runs unmodified Linux programs in a sealed case, on a Linux kernel written in Python.

    import wardian

    result = wardian.run(["python3", "-c", "print(6*7)"], timeout=10, text=True)
    result.stdout                                                  # "42\\n"

    with wardian.Sandbox(memory="512m", network="none") as box:
        box.write_file("/tmp/data", b"...")
        box.run(["sort", "/tmp/data"], check=True)

    with wardian.Pool(4, network="none") as pool:                  # sandboxes that are ready
        with pool.sandbox() as box:
            ...

``wardian.aio`` has the same for asyncio. What is public is in ``__all__``; it is imported when
first used, so that the command line starts fast.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing

if TYPE_CHECKING:
    from typing import Any

    from wardian import aio
    from wardian.sdk.errors import (
        CommandFailed,
        CommandNotExecutable,
        CommandNotFound,
        ConfigError,
        OutOfMemory,
        OutputTooLarge,
        SandboxDied,
        SandboxError,
        SandboxTimeout,
    )
    from wardian.sdk.model import Mount, Result, Usage
    from wardian.sdk.options import DEVNULL, PIPE, STDOUT
    from wardian.sdk.pool import Pool
    from wardian.sdk.process import Process
    from wardian.sdk.sandbox import Sandbox, run

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "CommandFailed",
    "CommandNotExecutable",
    "CommandNotFound",
    "ConfigError",
    "Mount",
    "OutOfMemory",
    "OutputTooLarge",
    "Pool",
    "Process",
    "Result",
    "Sandbox",
    "SandboxDied",
    "SandboxError",
    "SandboxTimeout",
    "Usage",
    "aio",
    "run",
]

_HOMES = {
    "wardian.aio": ("aio",),
    "wardian.sdk.errors": (
        "CommandFailed",
        "CommandNotExecutable",
        "CommandNotFound",
        "ConfigError",
        "OutOfMemory",
        "OutputTooLarge",
        "SandboxDied",
        "SandboxError",
        "SandboxTimeout",
    ),
    "wardian.sdk.model": ("Mount", "Result", "Usage"),
    "wardian.sdk.options": ("DEVNULL", "PIPE", "STDOUT"),
    "wardian.sdk.pool": ("Pool",),
    "wardian.sdk.process": ("Process",),
    "wardian.sdk.sandbox": ("Sandbox", "run"),
}

if os.environ.get("WARDIAN_INTERPRETED"):
    from wardian import _interpreted

    _interpreted.install()


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module  # not for submodules, which get here first

            module = import_module(home)
            value = module if name == "aio" else getattr(module, name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'wardian' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
