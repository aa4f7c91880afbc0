"""A platform without guests: memory is a dict of pages, threads write down what they are told."""

from __future__ import annotations

import os

from wardian.platform.interface import (
    RESTART,
    CloneRequest,
    ExecImage,
    HostMapping,
    HostProcess,
    HostThread,
    Request,
    SignalFrame,
)
from wardian.sentry.errno import EFAULT

PAGE = 4096
FIRST_FREE = 0x10_0000

__all__ = ["RESTART", "FakeProcess", "FakeThread", "Request"]


class FakeProcess(HostProcess):
    """An address space of pages made by :meth:`map`."""

    def __init__(self, pid: int = 1000) -> None:
        super().__init__()
        self.pid = pid
        self.pages: dict[int, bytearray] = {}
        self.read_only: set[int] = set()
        self.next_free = FIRST_FREE
        self.mappings: list[HostMapping] = []
        self.brk = (0x5000_0000, 0x5000_0000)
        self.cpu_ns = 0  # besides what its threads used
        self.system_ns = 0  # how much of all of it in the kernel
        self.threads: list[FakeThread] = []
        self.resident = 0
        self.limits: dict[int, int] = {}
        self.killed = False

    def map(self, length: int, address: int = 0, writable: bool = True) -> int:
        """Make ``length`` bytes (rounded up to pages) accessible, a guard page after them; the
        address."""
        size = (length + PAGE - 1) // PAGE * PAGE or PAGE
        if address == 0:
            address = self.next_free
            self.next_free += size + PAGE
        for page in range(address // PAGE, (address + size) // PAGE):
            self.pages[page] = bytearray(PAGE)
            if not writable:
                self.read_only.add(page)
        return address

    def unmap(self, address: int, length: int) -> None:
        """Take pages away again."""
        for page in range(address // PAGE, (address + length + PAGE - 1) // PAGE):
            self.pages.pop(page, None)

    def read_some(self, address: int, count: int) -> bytes:
        parts = bytearray()
        while count > 0:
            page = self.pages.get(address // PAGE)
            if page is None:
                break
            start = address % PAGE
            step = min(count, PAGE - start)
            parts += page[start : start + step]
            address += step
            count -= step
        return bytes(parts)

    def read(self, address: int, count: int) -> bytes:
        data = self.read_some(address, count)
        if len(data) != count:
            raise EFAULT(f"read of {count} bytes at {address:#x}")
        return data

    def write(self, address: int, data: bytes) -> None:
        if self.write_some(address, data) < len(data):
            raise EFAULT(f"write at {address:#x}")

    def write_some(self, address: int, data: bytes) -> int:
        """As much of ``data`` as there is memory for."""
        position = 0
        while position < len(data):
            number = address // PAGE
            page = self.pages.get(number)
            if page is None or number in self.read_only:
                break
            start = address % PAGE
            step = min(len(data) - position, PAGE - start)
            page[start : start + step] = data[position : position + step]
            address += step
            position += step
        return position

    def maps(self) -> list[HostMapping]:
        return self.mappings

    def brk_range(self) -> tuple[int, int]:
        return self.brk

    def cpu_time_ns(self) -> int:
        return self.cpu_ns + sum(thread.cpu_ns for thread in self.threads)

    def system_time_ns(self, total: int) -> int:
        return min(self.system_ns, total)

    def resident_bytes(self) -> int:
        return self.resident or len(self.pages) * PAGE

    def set_limit(self, resource: int, soft: int, besides: int) -> None:
        self.limits[resource] = soft

    def kill(self) -> None:
        self.killed = True


def some(count: int) -> int:
    """``count``, unless it is none: OSError EFAULT."""
    if count == 0:
        raise OSError(EFAULT.number, "bad address")
    return count


class FakeThread(HostThread):
    """Records what it was told; ``queue_out`` writes at once (``accept_outs = False`` refuses)."""

    def __init__(self, process: FakeProcess) -> None:
        super().__init__(process)
        self.fake = process
        process.threads.append(self)
        self.results: list[int] = []
        self.frames: list[tuple[SignalFrame, int, bool]] = []
        self.resumed = 0
        self.sigreturns = 0
        self.where = (0, 0)  # instruction and stack pointer
        self.mapped: list[tuple[int, int, int, int, int, int]] = []
        self.unmapped: list[tuple[int, int]] = []
        self.clones: list[CloneRequest] = []
        self.images: list[ExecImage] = []
        self.exits: list[int] = []
        self.interrupts = 0
        self.cpu_ns = 0
        self.accept_outs = True
        self.contents = b""  # the slot's data

    def complete(self, result: int) -> None:
        self.results.append(result)

    def queue_out(self, address: int, data: bytes) -> bool:
        if not self.accept_outs:
            return False
        self.fake.write(address, data)
        return True

    def give(self, address: int, data: bytes | bytearray, start: int, count: int, now: bool) -> int:
        return self.fake.write_some(address, bytes(data[start : start + count]))

    def give_zeros(self, address: int, count: int, now: bool) -> int:
        return self.fake.write_some(address, bytes(min(count, 1 << 20)))

    def give_file(self, address: int, fd: int, offset: int, count: int, now: bool) -> int:
        data = os.pread(fd, min(count, 1 << 24), offset)
        return some(self.fake.write_some(address, data)) if data else 0

    def take(self, address: int, sent: int, count: int) -> bytes:
        if sent >= 0:
            return self.contents[sent : sent + count]
        return self.fake.read_some(address, count)

    def take_into(self, address: int, sent: int, buffer: bytearray, start: int, count: int) -> int:
        data = self.take(address, sent, count)
        buffer[start : start + len(data)] = data
        return len(data)

    def take_file(
        self, address: int, sent: int, fd: int, offset: int, count: int, flags: int
    ) -> int:
        data = self.take(address, sent, count)
        some(len(data))
        return os.pwritev(fd, [data], offset, flags)

    def exit_process(self) -> bool:
        return False

    def pointers(self) -> tuple[int, int]:
        return self.where

    def resume(self) -> None:
        self.resumed += 1

    def deliver(
        self, frame: SignalFrame, result: int, in_syscall: bool, report: bool = False
    ) -> None:
        self.frames.append((frame, result, in_syscall))

    def sigreturn(self) -> None:
        self.sigreturns += 1

    def map_file(
        self,
        address: int,
        length: int,
        prot: int,
        flags: int,
        fd: int,
        offset: int,
        read_only: bool,
    ) -> None:
        self.mapped.append((address, length, prot, flags, fd, offset))

    def unmap(self, address: int, length: int) -> None:
        self.unmapped.append((address, length))

    def map_anonymous(self, address: int, length: int, prot: int, flags: int) -> None:
        self.mapped.append((address, length, prot, flags, -1, 0))

    def clone(self, request: CloneRequest) -> None:
        self.clones.append(request)

    def exec(self, image: ExecImage) -> None:
        self.images.append(image)

    def exit(self, clear_tid: int) -> None:
        self.exits.append(clear_tid)

    def interrupt(self) -> None:
        self.interrupts += 1

    def cpu_time_ns(self) -> int:
        return self.cpu_ns
