"""The asyncio twin. (No plug-in: each test runs its own loop.)"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Coroutine
from typing import Any

import pytest

import wardian
from wardian import aio


def finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine, and fail rather than hang."""
    asyncio.run(asyncio.wait_for(coroutine, 120))


def test_run() -> None:
    async def main() -> None:
        result = await aio.run(["python3", "-c", "print(6*7)"], text=True, timeout=60)
        assert (result.stdout, result.returncode) == ("42\n", 0)

    finish(main())


def test_commands_run_at_the_same_time() -> None:
    async def main() -> None:
        async with aio.Sandbox() as box:
            began = time.monotonic()
            results = await asyncio.gather(*(box.run(["sleep", "1"]) for _ in range(8)))
            assert [result.returncode for result in results] == [0] * 8
            assert time.monotonic() - began < 6

    finish(main())


def test_input_output_and_errors() -> None:
    async def main() -> None:
        async with aio.Sandbox() as box:
            data = os.urandom(1 << 20)
            assert (await box.run(["cat"], input=data)).stdout == data
            with pytest.raises(wardian.SandboxTimeout) as caught:
                await box.run(["sh", "-c", "echo hi; sleep 1000"], timeout=0.5)
            assert caught.value.stdout == b"hi\n"
            with pytest.raises(wardian.OutputTooLarge):
                await box.run(["yes"], max_output=10_000)
            with pytest.raises(wardian.CommandNotFound):
                await box.run(["nonesuch"])
            with pytest.raises(wardian.CommandFailed):
                await box.run(["false"], check=True)
            assert (await box.run(["sh", "-c", "sleep 1000 & echo x"])).stdout == b"x\n"

    finish(main())


def test_a_conversation() -> None:
    async def main() -> None:
        async with aio.Sandbox() as box, await box.spawn(["cat"]) as process:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(b"hello\n")
            await process.stdin.drain()
            assert await process.stdout.readline() == b"hello\n"
            with pytest.raises(wardian.SandboxTimeout):
                await process.wait(0.1)
            await process.terminate()
            waits = await asyncio.gather(*(process.wait(30) for _ in range(3)))
            assert waits == [-signal.SIGTERM] * 3
            assert process.returncode == -signal.SIGTERM and process.usage is not None

    finish(main())


def test_communicate() -> None:
    async def main() -> None:
        async with aio.Sandbox() as box:
            process = await box.spawn(["sh", "-c", "cat; echo err >&2"])
            assert await process.communicate(b"in" * 50_000) == (b"in" * 50_000, b"err\n")
            process = await box.spawn(["sleep", "1000"])
            with pytest.raises(wardian.SandboxTimeout):
                await process.communicate(timeout=0.3)
            assert await process.wait(30) == -signal.SIGKILL

    finish(main())


def test_files() -> None:
    async def main() -> None:
        async with aio.Sandbox() as box:
            data = os.urandom(1_500_000)
            await box.write_file("/tmp/new/file", data)
            assert await box.read_file("/tmp/new/file") == data
            assert b"".join([piece async for piece in box.iter_file("/tmp/new/file")]) == data
            assert await box.listdir("/tmp/new") == ["file"]
            await box.remove("/tmp/new", recursive=True)
            assert not await box.exists("/tmp/new")
            with pytest.raises(FileNotFoundError):
                await box.read_file("/tmp/new/file")

    finish(main())


def test_cancelling_ends_the_command() -> None:
    async def main() -> None:
        async with aio.Sandbox() as box:
            task = asyncio.ensure_future(box.run(["sleep", "1234"]))
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert "1234" not in (await box.run(["ps", "axo", "args"], text=True)).stdout

    finish(main())


def test_cancelling_at_any_moment_leaves_the_conversation_whole() -> None:
    async def main() -> None:
        async with aio.Sandbox() as box:
            for delay in range(20):
                task = asyncio.ensure_future(box.run(["echo", "x"]))
                await asyncio.sleep(delay / 2000)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                reading = asyncio.ensure_future(box.read_file("/etc/passwd"))
                await asyncio.sleep(delay / 20000)
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            assert (await box.run(["echo", "fine"])).stdout == b"fine\n"

    finish(main())


def test_death_reaches_every_waiter() -> None:
    async def main() -> None:
        async with aio.Sandbox() as box:
            process = await box.spawn(["sleep", "1000"])
            waiters = [
                asyncio.ensure_future(process.wait()),
                asyncio.ensure_future(process.wait()),
                asyncio.ensure_future(box.run(["sleep", "1000"])),
            ]
            await asyncio.sleep(0.5)
            os.kill(box._connection.process.pid, signal.SIGKILL)
            for error in await asyncio.gather(*waiters, return_exceptions=True):
                assert isinstance(error, wardian.SandboxDied)
            with pytest.raises(wardian.SandboxDied):
                await box.listdir("/")

    finish(main())


def test_time_of_the_whole_sandbox() -> None:
    async def main() -> None:
        async with aio.Sandbox(timeout=1) as box:
            with pytest.raises(wardian.SandboxTimeout, match="the sandbox was ended after its 1 s"):
                await box.run(["sleep", "1000"])

    finish(main())


def test_bad_options() -> None:
    async def main() -> None:
        with pytest.raises(wardian.ConfigError, match="cannot use /nowhere"):
            await aio.run(["true"], rootfs="/nowhere")

    finish(main())
