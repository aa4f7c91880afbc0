"""Inherited descriptors: real pipes, sockets and files, shared with a host process."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from real_poller import RealPoller

from support import FakeClock
from wardian.sentry.errno import EACCES, ENOTTY, EPIPE, ESPIPE, WOULD_BLOCK
from wardian.sentry.fs.anon import AnonFS
from wardian.sentry.fs.hostcalls import HostFS
from wardian.sentry.fs.hoststream import HostFileStream, HostStream, inherited_file
from wardian.sentry.kernel.kernel import Kernel
from wardian.sentry.kernel.waitqueue import Waiter, WaitQueue
from wardian.sentry.vfs.buffers import BytesSink, BytesSource
from wardian.sentry.vfs.file import O_RDONLY, O_WRONLY, POLLHUP, POLLIN, POLLOUT, File

NO_TASK: Any = None


class Bell(Waiter):
    def __init__(self) -> None:
        self.rung = 0

    def woken(self, queue: WaitQueue, events: int) -> None:
        self.rung += 1


@pytest.fixture
def kernel() -> Kernel:
    return Kernel(FakeClock(), RealPoller())


def guest(kernel: Kernel, fd: int) -> File:
    return inherited_file(kernel, HostFS(), AnonFS("hostfd", 9, 0), fd).hold()


def read(file: File, count: int = 100) -> bytes | int:
    sink = BytesSink(count)
    got = file.read(sink, file.offset)
    if got > 0:
        file.offset += got if file.seekable else 0
        return sink.data
    return got


def test_pipe_reads_do_not_block_and_do_not_set_nonblock(kernel: Kernel) -> None:
    r, w = os.pipe()
    file = guest(kernel, r)
    assert isinstance(file, HostStream) and file.readable and not file.writable
    assert read(file) == WOULD_BLOCK
    assert not fcntl.fcntl(r, fcntl.F_GETFL) & os.O_NONBLOCK
    os.write(w, b"hello")
    assert file.poll() & POLLIN
    assert read(file, 3) == b"hel" and read(file) == b"lo"
    os.close(w)
    assert read(file) == 0
    assert file.poll() & POLLHUP
    file.drop()


def test_waiters_are_woken_when_the_host_writes(kernel: Kernel) -> None:
    r, w = os.pipe()
    file = guest(kernel, r)
    bell = Bell()
    assert read(file) == WOULD_BLOCK
    file.poll_queue().add(bell, POLLIN)
    os.write(w, b"x")
    poller = kernel.poller
    assert isinstance(poller, RealPoller)
    poller.run()
    assert bell.rung == 1 and read(file) == b"x"
    file.drop()
    assert not poller.queues
    os.close(w)


def test_pipe_writes_stop_when_full(kernel: Kernel) -> None:
    r, w = os.pipe()
    file = guest(kernel, w)
    source = BytesSource(b"x" * 1_000_000)
    total = 0
    while (n := file.write(source, 0)) != WOULD_BLOCK:
        total += n
    assert total == 1_000_000 - source.left == 65536
    assert not file.poll() & POLLOUT
    os.read(r, 65536)
    assert file.write(BytesSource(b"y" * 100), 0) == 100
    os.close(r)
    with pytest.raises(EPIPE):
        file.write(BytesSource(b"z"), 0)
    file.drop()


def test_without_rwf_nowait_poll_keeps_us_from_blocking(kernel: Kernel) -> None:
    r, w = os.pipe()
    reader, writer = guest(kernel, r), guest(kernel, w)
    assert isinstance(reader, HostStream) and isinstance(writer, HostStream)
    reader.descriptor.nowait = writer.descriptor.nowait = False
    assert read(reader) == WOULD_BLOCK
    while writer.write(BytesSource(b"x" * 10_000), 0) != WOULD_BLOCK:
        pass
    assert read(reader, 10) == b"x" * 10
    reader.drop()
    writer.drop()


def test_sockets_work_both_ways(kernel: Kernel) -> None:
    ours, theirs = socket.socketpair()
    file = guest(kernel, os.dup(ours.fileno()))
    ours.close()
    assert read(file) == WOULD_BLOCK
    theirs.send(b"in")
    assert read(file) == b"in"
    assert file.write(BytesSource(b"out"), 0) == 3
    assert theirs.recv(10) == b"out"
    file.drop()
    assert theirs.recv(10) == b""


def test_the_last_drop_closes_the_host_descriptor(kernel: Kernel) -> None:
    r, w = os.pipe()
    file = guest(kernel, w)
    inode = file.inode
    assert inode is not None
    second = inode.open(NO_TASK, O_WRONLY).hold()
    file.drop()
    second.write(BytesSource(b"still open"), 0)
    second.drop()
    assert os.read(r, 100) == b"still open"
    assert os.read(r, 100) == b""
    os.close(r)


def test_streams_neither_seek_nor_open_for_what_they_are_not(kernel: Kernel) -> None:
    r, w = os.pipe()
    file = guest(kernel, r)
    with pytest.raises(ESPIPE):
        file.lseek(0, 0)
    with pytest.raises(ENOTTY):
        file.ioctl(NO_TASK, 0x5401, 0)
    assert file.inode is not None
    with pytest.raises(EACCES):
        file.inode.open(NO_TASK, O_WRONLY)
    assert stat.S_ISFIFO(file.inode.getattr().mode)
    assert file.describe().startswith("pipe:[")
    file.drop()
    os.close(w)


def test_regular_files_use_and_move_the_hosts_offset(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"line1\nline2\nline3\n")
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    os.read(fd, 6)
    file = guest(kernel, os.dup(fd))
    assert isinstance(file, HostFileStream)
    assert read(file, 6) == b"line2\n"
    assert os.read(fd, 6) == b"line3\n"
    sink = BytesSink(5)
    assert file.read(sink, 0) == 5 and sink.data == b"line1"
    assert file.lseek(0, 1) == 18
    assert file.lseek(-6, 2) == 12
    assert read(file) == b"line3\n"
    file.drop()
    os.close(fd)


def test_writers_of_one_description_do_not_overwrite_each_other(
    kernel: Kernel, tmp_path: Path
) -> None:
    fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
    file = guest(kernel, os.dup(fd))
    for _ in range(3):
        file.offset += file.write(BytesSource(b"guest "), file.offset)
        os.write(fd, b"host ")
    assert (tmp_path / "f").read_bytes() == b"guest host " * 3
    file.drop()
    os.close(fd)


def test_append_descriptors_append(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old ")
    file = guest(kernel, os.open(tmp_path / "f", os.O_WRONLY | os.O_APPEND))
    file.write(BytesSource(b"new"), file.end())
    assert (tmp_path / "f").read_bytes() == b"old new"
    assert file.flags & os.O_APPEND and file.flags & 3 == O_WRONLY
    file.drop()


def test_attributes_come_from_the_host(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    file = guest(kernel, os.open(tmp_path / "f", os.O_RDONLY))
    assert file.inode is not None
    assert file.inode.getattr().size == 5
    assert file.flags & 3 == O_RDONLY
    assert file.describe() == str(tmp_path / "f")
    file.drop()
