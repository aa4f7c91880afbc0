"""proc, read through the path walk as a guest would."""

from __future__ import annotations

import os
import struct

import pytest

import support
from wardian.platform.interface import HostMapping
from wardian.sentry.errno import (
    EACCES,
    EINVAL,
    EIO,
    ELOOP,
    ENOENT,
    ENOTDIR,
    EPERM,
    ESRCH,
    LinuxError,
)
from wardian.sentry.fs.proc import ProcFS
from wardian.sentry.fs.tmpfs import TmpFS
from wardian.sentry.kernel.exit import exit_task, reap
from wardian.sentry.kernel.memory_count import STALE_NS
from wardian.sentry.kernel.task import Task
from wardian.sentry.mm.file_mappings import FileMapping
from wardian.sentry.vfs import dcache, namei
from wardian.sentry.vfs.buffers import BytesSink, BytesSource
from wardian.sentry.vfs.file import O_RDONLY, O_RDWR, O_WRONLY, File


@pytest.fixture
def t() -> Task:
    task = support.make_task()
    root = task.kernel.mounts.root_path()
    dcache.instantiate(root.dentry, b"proc", root.inode.mkdir(b"proc", 0o755, 0, 0))
    place = namei.resolve(task, -100, b"/proc")
    task.kernel.proc = ProcFS(task.kernel)
    task.kernel.mounts.mount(task.kernel.proc, place, 0, "proc")
    return task


def opened(t: Task, path: str, flags: int = O_RDONLY) -> File:
    t.kernel.current = t
    place = namei.resolve(t, -100, path.encode())
    file = place.inode.open(t, flags)
    file.path = place
    return file


def text(t: Task, path: str) -> str:
    sink = BytesSink(1 << 20)
    opened(t, path).read(sink, 0)
    return sink.data.decode()


def write(t: Task, path: str, data: bytes) -> int:
    return opened(t, path, O_WRONLY).write(BytesSource(data), 0)


def names(t: Task, path: str) -> list[str]:
    file = opened(t, path)
    found: list[str] = []
    position = 0
    while entries := file.readdir(position):
        found += [entry.name.decode() for entry in entries]
        position = entries[-1].position
    return found


def link(t: Task, path: str) -> bytes:
    t.kernel.current = t
    return namei.resolve(t, -100, path.encode(), False).inode.readlink()


def fields(status: str) -> dict[str, str]:
    return {line.partition(":")[0]: line.partition(":")[2].strip() for line in status.splitlines()}


# -- the root --------------------------------------------------------------------------------------
def test_self_is_whoever_asks(t: Task) -> None:
    child = support.fork(t)
    assert link(t, "/proc/self") == b"1" and link(child, "/proc/self") == b"2"
    thread = support.make_thread(child)
    assert link(thread, "/proc/thread-self") == b"2/task/3"
    assert fields(text(thread, "/proc/thread-self/status"))["Pid"] == "3"
    assert fields(text(thread, "/proc/self/status"))["Threads"] == "2"


def test_listing_shows_processes_not_threads(t: Task) -> None:
    child = support.fork(t)
    thread = support.make_thread(child)
    listed = names(t, "/proc")
    assert "1" in listed and "2" in listed and "3" not in listed
    assert thread.tid == 3 and fields(text(t, "/proc/3/status"))["Tgid"] == "2"
    assert len(listed) == len(set(listed))
    for wrong in ("01", "+1", "4", "1000000000000", "0", "-1"):
        with pytest.raises(ENOENT):
            namei.resolve(t, -100, b"/proc/" + wrong.encode())


def test_every_listed_name_can_be_looked_up_with_the_same_number(t: Task) -> None:
    todo = ["/proc"]
    count = 0
    while todo:
        directory = todo.pop()
        for entry in opened(t, directory).readdir(2):
            path = f"{directory}/{entry.name.decode()}"
            inode = namei.resolve(t, -100, path.encode(), False).inode
            assert (inode.ino, inode.kind) == (entry.ino, entry.kind), path
            assert inode.getattr().ino == entry.ino
            count += 1
            if inode.is_dir and count < 3000:
                todo.append(path)
    assert count > 200


def test_many_processes_are_listed_in_batches(t: Task) -> None:
    for _ in range(600):
        support.fork(t)
    assert [n for n in names(t, "/proc") if n.isdigit()] == [str(i) for i in range(1, 602)]


def test_meminfo_tells_the_limit(t: Task) -> None:
    t.kernel.memory_limit = 64 << 20
    rows = fields(text(t, "/proc/meminfo"))
    assert rows["MemTotal"] == "65536 kB"
    support.memory(t).resident = 1 << 40
    assert fields(text(t, "/proc/meminfo"))["MemFree"] == rows["MemFree"]  # counted a moment ago
    support.advance(t.kernel, STALE_NS)
    assert fields(text(t, "/proc/meminfo"))["MemFree"] == "0 kB"


def test_uptime_and_stat_follow_the_clock(t: Task) -> None:
    support.advance(t.kernel, 12_340_000_000)
    assert text(t, "/proc/uptime").split()[0] == "12.34"
    assert "btime 1700000000" in text(t, "/proc/stat")


def test_contents_are_a_snapshot_until_read_from_the_start(t: Task) -> None:
    file = opened(t, "/proc/self/comm")
    first, rest, again = BytesSink(2), BytesSink(10), BytesSink(10)
    file.read(first, 0)
    t.name = b"other"
    file.read(rest, 2)
    file.read(again, 0)
    assert first.data + rest.data == b"test\n" and again.data == b"other\n"


# -- a process -------------------------------------------------------------------------------------
def test_stat_has_52_fields_and_odd_names_survive(t: Task) -> None:
    t.name = b"a) b\nc"
    line = text(t, "/proc/1/stat")
    rest = line.rpartition(")")[2].split()
    assert len(rest) == 50 and line.startswith("1 (a) b")
    assert fields(text(t, "/proc/1/status"))["Name"] == "a) b\\nc"


def test_cmdline_is_read_from_memory_so_titles_show(t: Task) -> None:
    address = support.put(t, b"prog\0arg\0A=1\0B=2\0")
    layout = t.memory.layout
    layout.arg_start, layout.arg_end = address, address + 9
    layout.env_start, layout.env_end = address + 9, address + 17
    assert text(t, "/proc/self/cmdline") == "prog\0arg\0"
    assert text(t, "/proc/self/environ") == "A=1\0B=2\0"
    support.memory(t).write(address, b"a longer title\0")
    assert text(t, "/proc/self/cmdline") == "a longer title\0"


def test_maps_show_guest_names_only(t: Task) -> None:
    inode = t.fs.root.inode.create(b"lib.so", 0o755, 0, 0)
    dentry = dcache.instantiate(t.fs.root.dentry, b"lib.so", inode)
    record = FileMapping(0, 4096, namei.Path(t.fs.root.mount, dentry), 0, False)
    record.dev, record.ino = 0x801, 77
    t.memory.file_mappings.add(record)
    t.memory.layout.guard_low = 0x8000
    t.memory.layout.stack_low, t.memory.layout.stack_high = 0x9000, 0xA000
    t.memory.layout.vdso = 0x7E00_3000_0000
    support.memory(t).brk = (0x5000, 0x7000)
    support.memory(t).mappings = [
        HostMapping(0x1000, 0x2000, "r-xp", 0x3000, "08:01", 77, "/host/secret/lib.so"),
        HostMapping(0x2000, 0x3000, "r--p", 0, "08:01", 78, "/host/secret/other"),
        HostMapping(0x5000, 0x6000, "rw-p", 0, "00:00", 0, ""),
        HostMapping(0x9000, 0xA000, "rw-p", 0, "00:00", 0, ""),
    ]
    lines = text(t, "/proc/self/maps").splitlines()
    assert lines[0].split()[:3] == ["00001000-00002000", "r-xp", "00003000"]
    assert lines[0].endswith(" /lib.so") and lines[0].index("/lib.so") == 73
    assert int(lines[0].split()[4]) == inode.ino
    assert "secret" not in "".join(lines) and lines[1].split()[3:] == ["00:00", "0"]
    assert [line.split()[-1] for line in lines[2:]] == ["[heap]", "[stack]", "[vdso]"]
    assert text(t, "/proc/self/smaps").count("VmFlags:") == 5
    assert fields(text(t, "/proc/self/status"))["VmStk"] == "4 kB"


def test_maps_show_a_file_whose_text_was_patched_in_one_piece(t: Task) -> None:
    inode = t.fs.root.inode.create(b"ld.so", 0o755, 0, 0)
    dentry = dcache.instantiate(t.fs.root.dentry, b"ld.so", inode)
    for ino in (77, 78):  # the file, and the memfd with some of its pages
        record = FileMapping(0, 4096, namei.Path(t.fs.root.mount, dentry), 0, False)
        record.dev, record.ino = 0x801, ino
        t.memory.file_mappings.add(record)
    support.memory(t).mappings = [
        HostMapping(0x1000, 0x2000, "r--p", 0, "08:01", 77, ""),
        HostMapping(0x2000, 0x5000, "r-xp", 0x1000, "08:01", 77, ""),
        HostMapping(0x5000, 0x6000, "r-xp", 0x4000, "08:01", 78, ""),
        HostMapping(0x6000, 0x7000, "r-xp", 0x5000, "08:01", 77, ""),
        HostMapping(0x7000, 0x8000, "r-xp", 0x7000, "08:01", 77, ""),
        HostMapping(0x9000, 0xA000, "r-xp", 0x8000, "08:01", 77, ""),
        HostMapping(0xB000, 0xC000, "rw-p", 0, "00:00", 0, ""),
        HostMapping(0xC000, 0xD000, "rw-p", 0, "00:00", 0, ""),
    ]
    lines = [line.split()[:3] for line in text(t, "/proc/self/maps").splitlines()]
    assert lines == [
        ["00001000-00002000", "r--p", "00000000"],
        ["00002000-00007000", "r-xp", "00001000"],
        ["00007000-00008000", "r-xp", "00007000"],
        ["00009000-0000a000", "r-xp", "00008000"],
        ["0000b000-0000c000", "rw-p", "00000000"],
        ["0000c000-0000d000", "rw-p", "00000000"],
    ]


def test_descriptors_are_links(t: Task) -> None:
    file = t.fs.root.inode.create(b"f", 0o644, 0, 0).open(t, O_RDWR)
    dentry = dcache.instantiate(t.fs.root.dentry, b"f", t.fs.root.inode.lookup(b"f"))
    file.path = namei.Path(t.fs.root.mount, dentry)
    fd = t.files.install(file, True)
    file.offset = 42
    assert link(t, f"/proc/self/fd/{fd}") == b"/f"
    assert namei.resolve(t, -100, b"/proc/self/fd/%d" % fd).dentry is dentry
    assert namei.resolve(t, -100, b"/proc/self/fd/%d" % fd, False).inode.mode & 0o777 == 0o700
    info = fields(text(t, f"/proc/self/fdinfo/{fd}"))
    assert info["pos"] == "42" and int(info["flags"], 8) == O_RDWR | 0o2000000
    assert names(t, "/proc/self/fd") == [".", "..", str(fd)]
    dcache.forget(dentry)
    assert link(t, f"/proc/self/fd/{fd}") == b"/f (deleted)"
    with pytest.raises(ENOENT):
        namei.resolve(t, -100, b"/proc/self/fd/77", False)


def test_descriptor_without_a_path_is_described(t: Task) -> None:
    fd = t.files.install(File(t.fs.root.inode, O_RDONLY), False)
    assert link(t, f"/proc/self/fd/{fd}") == b"anon_inode:[file]"
    place = namei.resolve(t, -100, b"/proc/self/fd/%d" % fd)
    assert place.inode is t.fs.root.inode
    assert namei.path_text(place, t.fs.root) == b"anon_inode:[file]"
    with pytest.raises(ELOOP):
        namei.resolve(t, -100, b"/proc/self/fd/%d" % fd, True, False, namei.RESOLVE_NO_MAGICLINKS)


def test_cwd_root_and_exe(t: Task) -> None:
    assert link(t, "/proc/self/cwd") == b"/" and link(t, "/proc/self/root") == b"/"
    with pytest.raises(ENOENT):
        link(t, "/proc/self/exe")
    t.memory.exe = namei.resolve(t, -100, b"/proc/version")
    assert link(t, "/proc/self/exe") == b"/proc/version"
    assert text(t, "/proc/self/root/proc/self/comm") == "test\n"


def test_memory_as_a_file(t: Task) -> None:
    address = support.put(t, b"secret")
    file = opened(t, "/proc/self/mem", O_RDWR)
    sink = BytesSink(6)
    assert file.read(sink, address) == 6 and sink.data == b"secret"
    assert file.write(BytesSource(b"SE"), address) == 2
    assert support.get(t, address, 6) == b"SEcret"
    with pytest.raises(EIO):
        file.read(BytesSink(1), 8)
    with pytest.raises(EIO):
        file.write(BytesSource(b"x"), (1 << 64) - 4)


def test_others_secrets_stay_closed(t: Task) -> None:
    user = support.make_task(parent=t, uid=1000, gid=1000)
    for name in ("environ", "maps", "mem", "auxv", "io", "fd", "fdinfo/0"):
        with pytest.raises((EACCES, ENOENT)):
            opened(user, f"/proc/1/{name}")
    for name in ("exe", "cwd", "root"):
        with pytest.raises(EACCES):
            link(user, f"/proc/1/{name}")
        with pytest.raises(EACCES):
            namei.resolve(user, -100, f"/proc/1/{name}/x".encode())
    assert fields(text(user, "/proc/1/status"))["Uid"] == "0\t0\t0\t0"
    assert namei.resolve(user, -100, b"/proc/2/environ").inode.uid == 1000


def test_comm_is_written_by_siblings_only(t: Task) -> None:
    assert write(t, "/proc/self/comm", b"a name that is too long\n") == 24
    assert t.name == b"a name that is "
    child = support.fork(t)
    with pytest.raises(EINVAL):
        write(t, f"/proc/{child.tid}/comm", b"x")


def test_oom_score_adj(t: Task) -> None:
    user = support.make_task(parent=t, uid=1000)
    write(user, "/proc/self/oom_score_adj", b"500\n")
    assert text(user, "/proc/self/oom_score_adj") == "500\n"
    for bad, error in ((b"100", EACCES), (b"1001", EINVAL), (b"x", EINVAL), (b"", EINVAL)):
        with pytest.raises(error):
            write(user, "/proc/self/oom_score_adj", bad)


def test_zombie_keeps_status_and_loses_the_rest(t: Task) -> None:
    child = support.fork(t)
    status = opened(t, "/proc/2/status")
    exit_task(child, 3 << 8)
    assert fields(text(t, "/proc/2/status"))["State"] == "Z (zombie)"
    assert text(t, "/proc/2/maps") == "" and text(t, "/proc/2/cmdline") == ""
    assert text(t, "/proc/2/stat").split()[-1] == str(3 << 8)
    assert names(t, "/proc/2/fd") == [".", ".."] and names(t, "/proc/2/task")[2:] == ["2"]
    with pytest.raises(ENOENT):
        link(t, "/proc/2/cwd")
    child.group.reaped = True
    t.kernel.pids.remove_group(child.group)
    with pytest.raises(ENOENT):
        namei.resolve(t, -100, b"/proc/2")
    with pytest.raises(ESRCH):
        status.read(BytesSink(10), 0)


def test_dead_leader_of_living_threads_is_still_there(t: Task) -> None:
    child = support.fork(t)
    thread = support.make_thread(child)
    exit_task(child, 0)
    assert fields(text(t, f"/proc/{child.group.pid}/status"))["Threads"] == "1"
    assert text(t, f"/proc/{child.group.pid}/cmdline") == ""
    assert fields(text(thread, "/proc/thread-self/status"))["State"] == "R (running)"


def cached_names(t: Task, path: bytes) -> set[bytes]:
    return set(namei.resolve(t, -100, path).dentry.children or ())


def test_names_of_a_process_are_forgotten_with_it(t: Task) -> None:
    """They hold its inodes, and those its task: a leak of some KiB for each process looked at."""
    child = support.fork(t)
    pid = child.group.pid
    held = namei.resolve(t, -100, b"/proc/%d" % pid).dentry
    namei.resolve(t, -100, b"/proc/%d/task/%d/status" % (pid, pid))
    exit_task(child, 0)
    assert b"State:\tZ" in text(t, f"/proc/{pid}/status").encode()
    reap(child.group)
    assert b"%d" % pid not in cached_names(t, b"/proc")
    assert not held.children
    with pytest.raises(ESRCH):
        dcache.child_of(held, b"limits")


def test_names_of_a_thread_are_forgotten_with_it(t: Task) -> None:
    thread = support.make_thread(t)
    tid = thread.tid
    text(t, f"/proc/self/task/{tid}/comm")
    text(t, f"/proc/{tid}/comm")
    exit_task(thread, 0)
    assert cached_names(t, b"/proc/self/task") == set()
    assert b"%d" % tid not in cached_names(t, b"/proc")
    assert text(t, "/proc/self/comm")


def test_what_is_mounted_below_a_process_goes_with_it(t: Task) -> None:
    """No path leads to it any more: it could not be unmounted, and would keep the task."""
    child = support.fork(t)
    pid = child.group.pid
    mounts = t.kernel.mounts
    before = mounts.mounts()
    place = namei.resolve(t, -100, b"/proc/%d/task/%d/fdinfo" % (pid, pid))
    upper = mounts.mount(TmpFS(t.kernel.anonymous_dev(), t.kernel.clock), place, 0, "tmpfs")
    inside = upper.root.inode
    assert inside is not None
    dcache.instantiate(upper.root, b"d", inside.mkdir(b"d", 0o755, 0, 0))
    below = namei.resolve(t, -100, b"/proc/%d/task/%d/fdinfo/d" % (pid, pid))
    mounts.mount(TmpFS(t.kernel.anonymous_dev(), t.kernel.clock), below, 0, "tmpfs")
    assert len(mounts.mounts()) == len(before) + 2
    exit_task(child, 0)
    assert len(mounts.mounts()) == len(before) + 2
    reap(child.group)
    assert mounts.mounts() == before and place.dentry.mounts == 0


def test_auxv_and_limits(t: Task) -> None:
    t.memory.auxv = struct.pack("<4Q", 6, 4096, 0, 0)
    sink = BytesSink(100)
    opened(t, "/proc/self/auxv").read(sink, 0)
    assert sink.data == t.memory.auxv
    rows = [line.split() for line in text(t, "/proc/self/limits").splitlines()]
    assert ["Max", "open", "files", "1024", "1048576", "files"] in rows


def test_mounts_are_those_below_the_root(t: Task) -> None:
    assert text(t, "/proc/mounts").splitlines()[1] == "proc /proc proc rw 0 0"
    line = text(t, "/proc/self/mountinfo").splitlines()[1].split()
    assert (
        line[1] == "1" and line[3:6] == ["/", "/proc", "rw"] and line[7:] == ["proc", "proc", "rw"]
    )
    t.fs.root = namei.resolve(t, -100, b"/proc")
    t.kernel.current = t
    inode = namei.resolve(t, -100, b"/self/mounts").inode
    sink = BytesSink(1000)
    inode.open(t, 0).read(sink, 0)
    assert sink.data == b"proc / proc rw 0 0\n"


def test_mounts_show_a_source_that_is_no_utf8(t: Task) -> None:
    mounts = t.kernel.mounts
    source = os.fsdecode(b"odd \xff")
    mounts.mount(ProcFS(t.kernel), namei.resolve(t, -100, b"/proc"), 0, source)
    sink = BytesSink(1 << 20)
    opened(t, "/proc/mounts").read(sink, 0)
    assert b"odd\\040\xff /proc proc rw 0 0\n" in sink.data


# -- sys -------------------------------------------------------------------------------------------
def test_names_of_the_kernel(t: Task) -> None:
    uts = t.kernel.uts
    assert text(t, "/proc/sys/kernel/osrelease").encode() == uts.release + b"\n"
    write(t, "/proc/sys/kernel/hostname", b"garden\n")
    assert uts.nodename == b"garden"
    write(t, "/proc/sys/kernel/hostname", b"x" * 100)
    assert len(uts.nodename) == 64


def test_parameters_keep_numbers_and_need_root(t: Task) -> None:
    write(t, "/proc/sys/net/core/somaxconn", b"511\n")
    assert text(t, "/proc/sys/net/core/somaxconn") == "511\n"
    assert t.kernel.sysctls.number("net/core/somaxconn") == 511
    write(t, "/proc/sys/net/ipv4/ip_local_port_range", b"2000 3000")
    assert text(t, "/proc/sys/net/ipv4/ip_local_port_range") == "2000\t3000\n"
    for bad in (b"", b"many", b"1 2", b"9" * 30, b"\xff"):
        with pytest.raises(EINVAL):
            write(t, "/proc/sys/net/core/somaxconn", bad)
    user = support.make_task(parent=t, uid=1000)
    with pytest.raises(EPERM):
        write(user, "/proc/sys/net/core/somaxconn", b"1")


def test_uuids(t: Task) -> None:
    one, two = (text(t, "/proc/sys/kernel/random/uuid") for _ in range(2))
    assert one != two and one[14] == "4" and len(one) == 37
    boot = [text(t, "/proc/sys/kernel/random/boot_id") for _ in range(2)]
    assert boot[0] == boot[1]


def test_nothing_can_be_made_in_proc(t: Task) -> None:
    inode = namei.resolve(t, -100, b"/proc/1").inode
    for attempt in (
        lambda: inode.create(b"x", 0o644, 0, 0),
        lambda: inode.mkdir(b"x", 0, 0, 0),
        lambda: inode.unlink(b"stat", inode),
    ):
        with pytest.raises(LinuxError):
            attempt()
    with pytest.raises(ENOTDIR):
        namei.resolve(t, -100, b"/proc/version/x")
