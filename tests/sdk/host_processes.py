"""The host's processes behind a sandbox, and users' processes to start and kill."""

from __future__ import annotations

import contextlib
import sys
import textwrap
import time
from pathlib import Path

import wardian
from wardian import aio

Owner = wardian.Sandbox | wardian.Pool | aio.Sandbox | aio.Pool


def launcher(box: Owner) -> int:
    """Of a sandbox, or the server of a pool."""
    return box._connection.process.pid


def sentry(box: Owner) -> int:
    return children(launcher(box))[0]


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def zygote(box: Owner) -> int:
    return children(sentry(box))[0]


def descendants(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            found += children(each)
    return found


def gone(pids: list[int]) -> bool:
    """Whether none of them is left, but for zombies of other parents, in good time."""
    for _ in range(200):
        left = [pid for pid in pids if state(pid) not in ("", "Z")]
        if not left:
            return True
        time.sleep(0.05)
    return False


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def script(text: str) -> list[str]:
    code = f"import sys; sys.path[:] = {sys.path!r}\n" + textwrap.dedent(text)
    return [sys.executable, "-c", code]
