"""Values as strace(1) writes them."""

import struct

import pytest

from wardian.sentry.strace import structs, text


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"/etc/passwd", '"/etc/passwd"'),
        (b'a"b\\c\n\t\r', r'"a\"b\\c\n\t\r"'),
        (b"\x7fELF\2\1\1\0\0", r'"\177ELF\2\1\1\0\0"'),
        (b"\x001", r'"\0001"'),
        (b"x" * 32, '"' + "x" * 32 + '"'),
        (b"x" * 33, '"' + "x" * 32 + '"...'),
    ],
)
def test_quoted_bytes(data: bytes, expected: str) -> None:
    assert text.quoted(data) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "O_RDONLY"),
        (0o2000000, "O_RDONLY|O_CLOEXEC"),
        (0o1 | 0o100 | 0o1000 | 0o2000, "O_WRONLY|O_CREAT|O_TRUNC|O_APPEND"),
        (0o4000 | 0o2000000 | 0o200000, "O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY"),
        (2 | 0o4010000, "O_RDWR|O_SYNC"),
        (2 | 0o20200000, "O_RDWR|O_TMPFILE"),
        (0x80000000, "O_RDONLY|0x80000000"),
    ],
)
def test_open_flags(value: int, expected: str) -> None:
    assert text.open_flags(value) == expected


def test_modes_are_octal() -> None:
    assert [text.mode(m) for m in (0, 0o22, 0o644, 0o4755)] == ["000", "022", "0644", "04755"]
    assert text.file_mode(0o100644) == "S_IFREG|0644"
    assert text.file_mode(0o041777) == "S_IFDIR|S_ISVTX|0777"


def test_a_row_can_name_a_group_or_single_flags() -> None:
    assert text.row_flags("O_...", 0o2000000) == "O_CLOEXEC"
    assert text.row_flags("EFD_*", 0o2000001) == "EFD_SEMAPHORE|EFD_CLOEXEC"
    assert text.row_flags("O_CLOEXEC O_NONBLOCK", 0o4000) == "O_NONBLOCK"
    assert text.row_flags("", 0x10) == "0x10"
    assert text.row_flags("", 0) == "0"


def test_signal_sets() -> None:
    assert text.signal_set(0) == "[]"
    assert text.signal_set(1 << 1 | 1 << 16) == "[INT CHLD]"
    assert text.signal_set((1 << 64) - 1) == "~[]"
    assert text.signal_set(((1 << 64) - 1) & ~(1 << 8 | 1 << 18)) == "~[KILL STOP]"
    assert text.signal_set(1 << 31 | 1 << 32) == "[RTMIN RT_1]"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0, "{WIFEXITED(s) && WEXITSTATUS(s) == 0}"),
        (42 << 8, "{WIFEXITED(s) && WEXITSTATUS(s) == 42}"),
        (9, "{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}"),
        (11 | 0x80, "{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}"),
        (20 << 8 | 0x7F, "{WIFSTOPPED(s) && WSTOPSIG(s) == SIGTSTP}"),
        (0xFFFF, "{WIFCONTINUED(s)}"),
    ],
)
def test_wait_status(status: int, expected: str) -> None:
    assert text.wait_status(status) == expected


def test_socket_addresses() -> None:
    assert structs.address(b"\x01\0/run/x\0\0") == '{sa_family=AF_UNIX, sun_path="/run/x"}'
    assert structs.address(b"\x01\0\0abs") == '{sa_family=AF_UNIX, sun_path=@"abs"}'
    inet = struct.pack("<H", 2) + struct.pack(">H", 80) + bytes((127, 0, 0, 1)) + bytes(8)
    expected = '{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}'
    assert structs.address(inet) == expected
    inet6 = struct.pack("<H", 10) + struct.pack(">HI", 443, 0) + bytes(15) + b"\1" + bytes(4)
    assert structs.address(inet6) == (
        "{sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0),"
        ' inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}'
    )
    for length in range(32):
        structs.address(inet6[:length])
        structs.address(inet[:length])


def test_every_struct_takes_exactly_its_size_of_anything() -> None:
    for kind, size in structs.SIZES.items():
        if kind != "wstatus":
            assert structs.text_of(kind, bytes(size))
            assert structs.text_of(kind, b"\xff" * size)


def test_limits() -> None:
    data = struct.pack("<QQ", 8192 * 1024, (1 << 64) - 1)
    assert structs.text_of("rlimit", data) == "{rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}"
