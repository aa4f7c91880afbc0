"""Files of a sandbox from outside."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest

import wardian


def test_written_and_read_back(box: wardian.Sandbox) -> None:
    data = os.urandom(3_000_000)
    assert box.write_file("/tmp/data", data) == len(data)
    assert box.read_file("/tmp/data") == data


def test_commands_see_what_was_written_and_the_other_way_round(box: wardian.Sandbox) -> None:
    box.write_file("/tmp/in", "text")
    box.run(["sh", "-c", "tr a-z A-Z < /tmp/in > /tmp/out"], check=True)
    assert box.read_file("/tmp/out") == b"TEXT"


def test_an_older_file_is_replaced(box: wardian.Sandbox) -> None:
    box.write_file("/tmp/replaced", b"long contents")
    box.write_file("/tmp/replaced", b"short")
    assert box.read_file("/tmp/replaced") == b"short"


def test_an_empty_file(box: wardian.Sandbox) -> None:
    assert box.write_file("/tmp/empty", b"") == 0
    assert box.read_file("/tmp/empty") == b""


def test_missing_directories_are_made(box: wardian.Sandbox) -> None:
    box.write_file("/tmp/some/where/deep", b"x")
    assert box.listdir("/tmp/some/where") == ["deep"]


def test_modes(box: wardian.Sandbox) -> None:
    box.write_file("/tmp/script", "#!/bin/sh\necho ran\n", mode=0o755)
    assert box.run(["/tmp/script"]).stdout == b"ran\n"
    box.write_file("/tmp/plain", b"")
    assert box.run(["stat", "-c", "%a", "/tmp/plain"]).stdout == b"644\n"
    box.write_file("/tmp/plain", b"", mode=0o600)
    assert box.run(["stat", "-c", "%a", "/tmp/plain"]).stdout == b"600\n"


def test_files_belong_to_the_sandboxs_user(box: wardian.Sandbox) -> None:
    box.write_file("/tmp/owned/file", b"")
    expected = f"{os.getuid()} {os.getgid()}\n"
    assert box.run(["stat", "-c", "%u %g", "/tmp/owned/file"], text=True).stdout == expected
    assert box.run(["stat", "-c", "%u %g", "/tmp/owned"], text=True).stdout == expected


@pytest.mark.parametrize(
    "data",
    [bytearray(b"some bytes"), memoryview(b"some bytes"), "some bytes", [b"some ", b"bytes"]],
)
def test_kinds_of_data(box: wardian.Sandbox, data: object) -> None:
    assert box.write_file("/tmp/kind", data) == 10  # type: ignore[arg-type]
    assert box.read_file("/tmp/kind") == b"some bytes"


def test_streaming_both_ways(box: wardian.Sandbox) -> None:
    data = os.urandom(2_500_000)
    box.write_file("/tmp/stream", io.BytesIO(data))
    pieces = list(box.iter_file("/tmp/stream"))
    assert len(pieces) > 1 and b"".join(pieces) == data


def test_a_stream_given_up_half_way(box: wardian.Sandbox) -> None:
    box.write_file("/tmp/half", bytes(2_000_000))
    for _ in range(300):  # more than there are handles
        next(box.iter_file("/tmp/half"))
    assert box.exists("/tmp/half")


def test_text_files_are_refused(box: wardian.Sandbox) -> None:
    with pytest.raises(TypeError, match="must be bytes, not str"):
        box.write_file("/tmp/text", io.StringIO("text"))  # type: ignore[arg-type]


def test_a_large_file_is_not_taken_by_accident(box: wardian.Sandbox) -> None:
    box.run(["truncate", "-s", "1T", "/tmp/sparse"], check=True)
    with pytest.raises(OSError) as caught:
        box.read_file("/tmp/sparse", limit=1 << 20)
    assert caught.value.errno == errno.EFBIG


def test_relative_paths_start_at_the_root(box: wardian.Sandbox) -> None:
    box.write_file("tmp/relative", b"x")
    assert box.exists("/tmp/relative") and box.exists("tmp/relative")


def test_listing(box: wardian.Sandbox) -> None:
    box.run(["sh", "-c", "mkdir /tmp/many; cd /tmp/many; seq 1 6000 | xargs touch"], check=True)
    assert box.listdir("/tmp/many") == sorted(str(n) for n in range(1, 6001))
    assert {"bin", "etc", "proc", "tmp", "usr"} <= set(box.listdir())


def test_names_that_are_not_utf8(box: wardian.Sandbox) -> None:
    box.run(["bash", "-c", "mkdir /tmp/odd; touch /tmp/odd/$'\\xff'"], check=True)
    assert box.listdir("/tmp/odd") == ["\udcff"]
    assert box.read_file("/tmp/odd/\udcff") == b""


def test_exists(box: wardian.Sandbox) -> None:
    box.run(["ln", "-s", "/nowhere", "/tmp/dangling"])
    assert box.exists("/etc/passwd") and box.exists("/tmp")
    assert not box.exists("/tmp/missing") and not box.exists("/etc/passwd/below")
    assert not box.exists("/tmp/dangling")


def test_remove(box: wardian.Sandbox) -> None:
    box.run(["sh", "-c", "mkdir -p /tmp/tree/a/b; touch /tmp/tree/a/f; ln -s /etc /tmp/tree/l"])
    with pytest.raises(OSError) as caught:
        box.remove("/tmp/tree")
    assert caught.value.errno == errno.ENOTEMPTY
    box.remove("/tmp/tree/a/f")
    box.remove("/tmp/tree/a/b")
    box.remove("/tmp/tree", recursive=True)
    assert not box.exists("/tmp/tree") and box.exists("/etc/passwd")


def test_errors_are_those_of_open(box: wardian.Sandbox) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        box.read_file("/tmp/not there")
    assert caught.value.filename == "/tmp/not there"
    with pytest.raises(IsADirectoryError):
        box.read_file("/tmp")
    with pytest.raises(NotADirectoryError):
        box.listdir("/etc/passwd")
    with pytest.raises(FileNotFoundError):
        box.remove("/tmp/not there")
    with pytest.raises(OSError, match="Invalid argument"):
        box.read_file("/dev/zero")
    with pytest.raises(OSError):
        box.write_file("/proc/version", b"x")
    with pytest.raises(ValueError, match="NUL"):
        box.read_file("/tmp/\0")


def test_a_fifo_does_not_hang_the_sandbox(box: wardian.Sandbox) -> None:
    name = f"/tmp/fifo-{os.getpid()}"  # the host's /tmp shows below
    box.run(["mkfifo", name], check=True)
    with pytest.raises(OSError, match="Invalid argument"):
        box.read_file(name)
    with pytest.raises(OSError, match="Invalid argument"):
        box.write_file(name, b"x")


def test_a_link_stays_inside(box: wardian.Sandbox, tmp_path: Path) -> None:
    with wardian.Sandbox(tmpfs=["/work"]) as own:
        own.run(["ln", "-s", "../../../../../../etc/hostname", "/work/link"], check=True)
        own.write_file("/work/link", b"inside\n")
        assert own.read_file("/etc/hostname") == b"inside\n"
    assert Path("/etc/hostname").read_bytes() != b"inside\n"


def test_proc_files_have_no_size_but_contents(box: wardian.Sandbox) -> None:
    assert box.read_file("/proc/version").startswith(b"Linux version")


def test_mounts(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "fixed").mkdir()
    (tmp_path / "fixed" / "file").write_text("fixed")
    (tmp_path / "single").write_text("single")
    mounts = [
        wardian.Mount(str(tmp_path / "shared"), "/mnt/shared"),
        wardian.Mount(str(tmp_path / "fixed"), "/mnt/fixed", read_only=True),
        wardian.Mount(str(tmp_path / "single"), "/mnt/single", read_only=True),
    ]
    with wardian.Sandbox(mounts=mounts, tmpfs=["/mnt/scratch"]) as box:
        box.run(["sh", "-c", "echo out > /mnt/shared/made"], check=True)
        assert box.read_file("/mnt/fixed/file") == b"fixed"
        assert box.read_file("/mnt/single") == b"single"
        assert box.run(["sh", "-c", "echo x > /mnt/fixed/file"]).returncode != 0
        box.write_file("/mnt/scratch/file", b"x")
    assert (tmp_path / "shared" / "made").read_text() == "out\n"
    assert (tmp_path / "fixed" / "file").read_text() == "fixed"


def test_read_only_root() -> None:
    with wardian.Sandbox(read_only=True) as box:
        with pytest.raises(OSError) as caught:
            box.write_file("/etc/new", b"x")
        assert caught.value.errno == errno.EROFS
