"""/dev, its devices, and sysfs."""

from __future__ import annotations

import pytest

import support
from wardian.sentry.errno import ENOSPC, ENXIO
from wardian.sentry.fs.devices import Driver, NullFile, dev_major, dev_minor, make_dev
from wardian.sentry.fs.devtmpfs import DevTmpFS
from wardian.sentry.fs.sysfs import CgroupFS, SysFS
from wardian.sentry.kernel.task import Task
from wardian.sentry.vfs import dcache, namei
from wardian.sentry.vfs.buffers import BytesSink, BytesSource
from wardian.sentry.vfs.file import O_RDWR, File
from wardian.sentry.vfs.inode import S_IFBLK, S_IFCHR, Inode, SuperBlock


@pytest.fixture
def t() -> Task:
    task = support.make_task()
    kernel = task.kernel
    mount(task, b"dev", DevTmpFS(kernel.anonymous_dev(), kernel.clock))
    return task


def mount(t: Task, name: bytes, sb: SuperBlock) -> None:
    root = t.kernel.mounts.root_path()
    dcache.instantiate(root.dentry, name, root.inode.mkdir(name, 0o755, 0, 0))
    t.kernel.mounts.mount(sb, namei.resolve(t, -100, b"/" + name), 0, sb.name)


def opened(t: Task, path: str) -> File:
    return namei.resolve(t, -100, path.encode()).inode.open(t, O_RDWR)


def read(file: File, count: int) -> bytes:
    sink = BytesSink(count)
    file.read(sink, 0)
    return sink.data


def test_device_numbers() -> None:
    for major, minor in ((1, 3), (136, 1000), (0xFFF, 0xFFFFF)):
        dev = make_dev(major, minor)
        assert (dev_major(dev), dev_minor(dev)) == (major, minor)


def test_memory_devices(t: Task) -> None:
    assert read(opened(t, "/dev/null"), 10) == b""
    assert opened(t, "/dev/null").write(BytesSource(b"abc"), 0) == 3
    assert read(opened(t, "/dev/zero"), 100_000) == bytes(100_000)
    assert len(read(opened(t, "/dev/urandom"), 100_000)) == 100_000
    assert read(opened(t, "/dev/full"), 5) == bytes(5)
    with pytest.raises(ENOSPC):
        opened(t, "/dev/full").write(BytesSource(b"x"), 0)
    assert opened(t, "/dev/zero").lseek(100, 0) == 0
    assert not opened(t, "/dev/null").pollable()


def test_nodes_and_links(t: Task) -> None:
    null = namei.resolve(t, -100, b"/dev/null").inode.getattr()
    assert (null.mode, null.rdev) == (S_IFCHR | 0o666, 0x103)
    links = {b"ptmx": b"pts/ptmx", b"fd": b"/proc/self/fd", b"stdin": b"/proc/self/fd/0"}
    for name, target in links.items():
        assert namei.resolve(t, -100, b"/dev/" + name, False).inode.readlink() == target
    assert namei.resolve(t, -100, b"/dev/shm").inode.mode & 0o7777 == 0o1777


def test_nodes_work_on_any_file_system_and_unknown_ones_are_enxio(t: Task) -> None:
    root = t.fs.root.inode
    node = root.mknod(b"mynull", S_IFCHR | 0o600, make_dev(1, 3), 0, 0)
    assert isinstance(node.open(t, O_RDWR), NullFile)
    for mode, rdev in ((S_IFCHR, make_dev(99, 1)), (S_IFBLK, make_dev(1, 3))):
        node = root.mknod(b"n%d" % rdev, mode | 0o600, rdev, 0, 0)
        with pytest.raises(ENXIO):
            node.open(t, O_RDWR)


def test_drivers_register_by_number(t: Task) -> None:
    class Tty(Driver):
        def open(self, task: Task, inode: Inode, flags: int) -> File:
            return File(inode, flags)

    with pytest.raises(ENXIO):
        opened(t, "/dev/tty")
    t.kernel.devices.register((5, 0), Tty())
    assert opened(t, "/dev/tty").inode is namei.resolve(t, -100, b"/dev/tty").inode


def test_sysfs_and_cgroup_tell_the_limits(t: Task) -> None:
    kernel = t.kernel
    kernel.host_cpu.cpus = [0, 1, 2, 3]
    mount(t, b"sys", SysFS(kernel))
    place = namei.resolve(t, -100, b"/sys/fs/cgroup")
    kernel.mounts.mount(CgroupFS(kernel), place, 0, "cgroup2")
    rows = {
        "devices/system/cpu/online": b"0-3\n",
        "devices/system/cpu/cpu3/topology/core_id": b"3\n",
        "devices/system/cpu/cpu3/topology/thread_siblings": b"8\n",
        "devices/system/node/node0/cpulist": b"0-3\n",
        "class/net/lo/mtu": b"65536\n",
        "fs/cgroup/memory.max": b"max\n",
        "fs/cgroup/cpu.max": b"max 100000\n",
        "fs/cgroup/cgroup.procs": b"1\n",
    }
    for path, expected in rows.items():
        assert read(opened(t, "/sys/" + path), 1000) == expected, path
    kernel.memory_limit, kernel.cpu_limit = 1 << 30, 1.5
    assert read(opened(t, "/sys/fs/cgroup/memory.max"), 100) == b"1073741824\n"
    assert read(opened(t, "/sys/fs/cgroup/cpu.max"), 100) == b"150000 100000\n"
