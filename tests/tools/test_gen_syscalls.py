"""The generator: fresh output, and what it makes of a small table of its own."""

from pathlib import Path

import pytest

import gen_syscalls as gen

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT / "src/wardian/sentry/syscalls"


HANDLERS = """
def openat(t: Task, dirfd: FD, path: UserPath, flags: Flags, mode: Mode) -> int: ...
def linkat(t: Task, a: FD, old: UserPath, b: FD, new: UserPath | None, flags: Flags) -> int: ...
def write(t: Task, fd: FD, data: InBuf, count: Size) -> int: ...
def connect(t: Task, fd: FD, addr: InBuf, addrlen: Int) -> int: ...
def epoll_ctl(t: Task, epfd: FD, op: Int, fd: FD, event: InEpollEvent | None) -> int: ...
def nothing(t: Task) -> int: ...
def strange(t: Task, x: Whatever) -> int: ...
def bufless(t: Task, data: InBuf) -> int: ...
"""
TABLE = """
from wardian.sentry.syscalls import area
row("openat", area.openat, 257, flags="O_...")
row("linkat", area.linkat, 265)
row("write", area.write, 1)
row("connect", area.connect, 42, restart="never")
row("epoll_ctl", area.epoll_ctl, 233)
row("getppid", area.nothing, 110)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "syscalls"
    target.mkdir()
    (tmp_path / "abi").mkdir()
    (tmp_path / "abi/numbers.py").write_text((REAL.parent / "abi/numbers.py").read_text())
    for name in ("kinds.py", "unimplemented.py", "elsewhere.py"):
        (target / name).write_text((REAL / name).read_text())
    (target / "area.py").write_text(HANDLERS)
    (target / "table.py").write_text(TABLE)
    return target


def test_the_committed_files_are_fresh_and_every_row_is_usable() -> None:
    warn: list[str] = []
    files = gen.render(warn)
    assert warn == []
    assert gen.stale(files) == [], "run tools/gen_syscalls.py"


def test_rows_carry_the_number_that_linux_gives_the_name() -> None:
    from wardian.sentry.abi.numbers import NUMBERS

    calls = gen.read_calls(REAL, gen.read_kinds(REAL / "kinds.py"), [])
    assert [c for c in calls if NUMBERS.get(c.name) != c.nr] == []


def test_marshal_entries_describe_each_argument(folder: Path, tmp_path: Path) -> None:
    text = gen.render([], folder, tmp_path)[folder / "marshal_gen.py"]
    scope: dict[str, bytes] = {}
    exec(text, scope)
    table = scope["MARSHAL"]
    assert len(table) == 512 * 8
    assert table[257 * 8 : 258 * 8] == bytes((0, 1, 0, 0, 0, 0, 0, 0))
    assert table[265 * 8 : 266 * 8] == bytes((0, 1, 0, 1, 0, 0, 0, 0))
    assert table[1 * 8 : 2 * 8] == bytes((0, 3, 0, 0, 0, 0, 1, 0))  # contents that may stay apart
    assert table[233 * 8 : 234 * 8] == bytes((0, 0, 0, 0x40 | 12, 0, 0, 0, 0))
    assert table[110 * 8 : 111 * 8] == bytes(8)


def test_dispatch_decodes_by_kind(folder: Path, tmp_path: Path) -> None:
    warn: list[str] = []
    text = gen.render(warn, folder, tmp_path)[folder / "dispatch_gen.py"]
    assert warn == []
    assert "return area.openat(" in text and "Mode(read_i64_le(a, 48) & 0xFFFFFFFF)" in text
    assert (
        "FD(read_i32_le(a, 24))" in text and "UserPath(string(t, a, 72, register(a, 32)))" in text
    )
    assert "p1 = skip(a, 72)" in text and "n3 = string_or_none(t, a, p1, register(a, 48))" in text
    assert 'cast("UserPath | None", n3)' in text
    assert "InBuf(sent(a, 72, register(a, 40)))" in text
    assert "InBuf(buf(t, a, 72, register(a, 32), read_i32_le(a, 40)))" in text
    assert "struct_or_none(t, a, 72, register(a, 48), 12)" in text
    compile(text, "dispatch_gen.py", "exec")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('row("x", area.strange, 300)', "unknown kind Whatever"),
        ('row("x", area.bufless, 300)', "followed by its length"),
        ('row("x", area.missing, 300)', "no function area.missing"),
        ('row("x", gone.call, 300)', "cannot read gone.py"),
        ('row("x", area.nothing, 1)', "number 1 is taken by write"),
        ('row("x", area.nothing, 512)', "out of range"),
    ],
)
def test_an_unusable_row_is_left_out_with_a_reason(
    folder: Path, tmp_path: Path, line: str, words: str
) -> None:
    (folder / "table.py").write_text(TABLE + line + "\n")
    warn: list[str] = []
    text = gen.render(warn, folder, tmp_path)[folder / "strace_gen.py"]
    assert len(warn) == 1 and words in warn[0]
    assert '"openat"' in text and '"x"' not in text


def test_restart_kinds_are_in_the_dispatch_table(folder: Path, tmp_path: Path) -> None:
    text = gen.render([], folder, tmp_path)[folder / "dispatch_gen.py"]
    hexes = text.split("bytes.fromhex(")[1].split(")")[0]
    table = bytes.fromhex("".join(hexes.replace('"', "").split()))
    assert table[42] == 1 and table[1] == 0


def test_calls_that_the_page_says_run_on_the_host_are_in_the_guest_policy() -> None:
    from wardian.sentry.syscalls.elsewhere import ELSEWHERE

    policy = (ROOT / "docs/confinement.md").read_text()
    host = [name for name, where in ELSEWHERE.items() if "host" in where]
    assert [name for name in host if f"| `{name}` |" not in policy] == []


def test_the_compatibility_page_names_every_call(folder: Path, tmp_path: Path) -> None:
    text = gen.render([], folder, tmp_path)[tmp_path / "syscalls.md"]
    assert "| 257 | openat | Sentry | `dirfd` `path` `flags` `mode` |" in text
    assert "| 101 | ptrace | EPERM |" in text
    assert "| 180 | nfsservctl | ENOSYS |" in text
