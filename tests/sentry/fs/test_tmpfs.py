"""tmpfs below the system calls: contents, accounting, directory cookies."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_host import FakeClock
from wardian.sentry.errno import EIO, ENOSPC
from wardian.sentry.fs.contents import Contents, Quota
from wardian.sentry.fs.tmpfs import TmpDir, TmpDirFile, TmpFS
from wardian.sentry.vfs.buffers import BytesSink, BytesSource, Source


def read(contents: Contents, offset: int, count: int) -> bytes:
    sink = BytesSink(count)
    contents.read(sink, offset)
    return sink.data


offsets = st.integers(0, 300_000)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("write"), offsets, st.integers(0, 150_000)),
        st.tuples(st.just("truncate"), offsets, st.just(0)),
        st.tuples(st.just("punch"), offsets, st.integers(1, 200_000)),
        st.tuples(st.just("memory"), st.just(0), st.just(0)),
        st.tuples(st.just("allocate"), offsets, st.integers(1, 100_000)),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(operations)
def test_contents_behave_like_a_byte_array(steps: list[tuple[str, int, int]]) -> None:
    quota = Quota()
    contents = Contents(quota)
    model = bytearray()
    for number, (kind, offset, length) in enumerate(steps):
        if kind == "write":
            data = bytes([number + 1]) * length
            assert contents.write(BytesSource(data), offset) == length
            if length:
                model.extend(bytes(max(0, offset - len(model))))
                model[offset : offset + length] = data
        elif kind == "truncate":
            contents.truncate(offset)
            del model[offset:]
            model.extend(bytes(offset - len(model)))
        elif kind == "punch":
            contents.allocate(3, offset, length)
            end = min(offset + length, len(model))
            model[offset:end] = bytes(max(0, end - offset))
        elif kind == "allocate":
            contents.allocate(0, offset, length)
            model.extend(bytes(max(0, offset + length - len(model))))
        else:
            contents.memory()
        assert contents.size == len(model)
        assert read(contents, 0, len(model) + 1) == bytes(model)
        if contents.fd >= 0:
            used = os.fstat(contents.fd).st_blocks * 512
            assert contents.charged == quota.bytes_used == used
    del contents
    assert quota.bytes_used == 0


def test_many_small_files_cost_no_descriptors() -> None:
    fs = TmpFS(1, FakeClock())
    before = len(os.listdir("/proc/self/fd"))
    for n in range(200):
        inode = fs.top.create(b"%d" % n, 0o644, 0, 0)
        inode.contents.write(BytesSource(b"x" * 1000), 0)  # type: ignore[attr-defined]
    assert len(os.listdir("/proc/self/fd")) == before


def test_sparse_files_charge_only_what_is_used() -> None:
    quota = Quota(1 << 20)
    contents = Contents(quota)
    contents.truncate(1 << 40)
    contents.write(BytesSource(b"end"), (1 << 40) - 3)
    assert quota.bytes_used == 4096
    with pytest.raises(ENOSPC):
        contents.allocate(0, 0, 2 << 20)


def names(directory: TmpDir, stop: int, position: int = 0) -> tuple[list[bytes], int]:
    """Up to ``stop`` entries and where to go on."""
    entries = TmpDirFile(directory, 0).readdir(position)[:stop]
    return [e.name for e in entries], entries[-1].position if entries else position


def test_readdir_goes_on_rightly_while_names_come_and_go() -> None:
    top = TmpFS(1, FakeClock()).top
    for n in range(10):
        top.create(b"%d" % n, 0o644, 0, 0)
    first, position = names(top, 6)
    assert first == [b".", b"..", b"0", b"1", b"2", b"3"]
    for gone in (b"1", b"4"):
        child = top.lookup(gone)
        assert child is not None
        top.unlink(gone, child)
    top.create(b"new", 0o644, 0, 0)
    rest, _ = names(top, 100, position)
    assert rest == [b"5", b"6", b"7", b"8", b"9", b"new"]


class Unreadable(Source):
    """A file that gives a few bytes and then EIO, as what splice(2) writes may be one."""

    def take(self, count: int) -> bytes:
        if self.left < 1 << 20:
            raise EIO("broken")
        self.left -= 100
        return b"x" * 100


@pytest.mark.parametrize("before", [0, 1 << 17])
def test_what_was_written_before_an_error_counts(before: int) -> None:
    contents = Contents(Quota())
    contents.truncate(before)
    assert contents.write(Unreadable(1 << 20), before) == 100
    assert contents.size == before + 100 and read(contents, before, 1000) == b"x" * 100
    with pytest.raises(EIO):
        contents.write(Unreadable(1000), 0)
    assert contents.size == before + 100
