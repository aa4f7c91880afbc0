"""What a run imports. Each module takes a tenth of a millisecond or more of every start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

PYTHON = """__future__ _bisect _heapq _signal _socket _struct bisect encodings.ascii errno
    fcntl gc heapq librt librt.strings resource select struct""".split()
"""Of the standard library and librt, beyond what Python imports for itself. Slow to import, and
never needed by a plain run: argparse, logging, signal, socket, typing (``wardian._typing``)."""

LAUNCHER = """wardian wardian._core wardian._typing wardian.cli wardian.cli.do wardian.cli.main
    wardian.cli.do_options wardian.host wardian.host.capabilities wardian.host.cgroups
    wardian.host.config wardian.host.confine wardian.host.filters wardian.host.filters_gen
    wardian.host.grants wardian.host.landlock
    wardian.host.launch wardian.host.layers wardian.host.messages wardian.host.namespaces
    wardian.host.relay wardian.host.syscalls wardian.platform wardian.platform.log
    wardian.platform.terminal""".split()
"""All of ours that the launcher has: it waits as long as the sandbox lives, so it is small."""

UNWANTED = (
    "wardian.sentry.strace", "wardian.sentry.profile", "wardian.sentry.net.host_", "wardian.sdk",
    "wardian.oci",
)  # fmt: skip
"""What a Sentry without options has no need of."""

DRIVER = """
import os, sys
fd, first, end = os.open({out!r}, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC), os.getpid(), os._exit
def report(status):  # where a process ends, with a descriptor for files cannot be opened any more
    who = "launcher" if os.getpid() == first else "sentry"
    os.write(fd, " ".join([who, *sys.modules, chr(10)]).encode())
    end(status)
os._exit = report
from wardian.cli.main import main
sys.argv = ["wardian", "do", "true"]
main()
"""


def run(code: str) -> str:
    """What ``code`` prints in a fresh interpreter that has nothing of its site."""
    whole = f"import sys; sys.path[:] = {[str(SOURCE), *sys.path]!r}\n{code}"
    env = {name: value for name, value in os.environ.items() if name != "WARDIAN_INTERPRETED"}
    command = [sys.executable, "-I", "-S", "-c", whole]
    return subprocess.check_output(command, env=env, text=True, timeout=60)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What the launcher and the Sentry of `wardian do true` have imported when they end."""
    out = tmp_path_factory.mktemp("start") / "modules"
    run(DRIVER.format(out=str(out)))
    found: dict[str, set[str]] = {"launcher": set(), "sentry": set()}
    for line in out.read_text().splitlines():
        who, *modules = line.split()
        found[who] |= set(modules)
    assert "wardian.sentry.kernel.dispatch" in found["sentry"]
    return found


def test_the_launcher_has_nothing_of_the_sentry(processes: dict[str, set[str]]) -> None:
    ours = {name for name in processes["launcher"] if name.startswith("wardian")}
    assert ours <= set(LAUNCHER)


def test_nor_has_that_of_the_python_api() -> None:
    code = "from wardian._typing import stand_in; stand_in(); import wardian.sdk.launcher, sys; "
    modules = set(run(code + "print(*sys.modules)").split())
    others = {"wardian.sdk", "wardian.sdk.launcher", "wardian.sdk.wire"}
    ours = {name for name in modules if name.startswith("wardian")}
    assert "wardian.host.launch" in ours
    assert ours - others <= set(LAUNCHER)
    assert not modules & {"socket", "selectors", "signal", "logging", "subprocess", "argparse"}


def test_the_sentry_has_nothing_of_options_not_given(processes: dict[str, set[str]]) -> None:
    assert not [name for name in processes["sentry"] if name.startswith(UNWANTED)]


def test_hardly_anything_else_is_imported(processes: dict[str, set[str]]) -> None:
    bare = set(run("import os, io, encodings.utf_8; print(*sys.modules)").split())
    others = {n for n in processes["launcher"] | processes["sentry"] if not n.startswith("wardian")}
    # The stand-ins for typing are ours.
    assert others - bare - {"__main__", "typing", "mypy_extensions"} <= set(PYTHON)


def test_the_stand_in_gives_way_to_the_real_module() -> None:
    said = run(
        "from wardian._typing import stand_in; stand_in(); from typing import Final; "
        "before = 're' in sys.modules; from typing import NamedTuple; "
        "from typing import Final as Real; "
        "import typing; print(before, typing.Final is Real, typing.NamedTuple is NamedTuple, "
        "Final[int] is Final)"
    )
    assert said.split() == ["False", "True", "True", "True"]
