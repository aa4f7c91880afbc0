"""Control groups: finding ours, limits that bite, nothing left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from wardian.host import cgroups
from wardian.host.cgroups import Limits, places

V1 = """\
30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def found(tmp_path: Path, mountinfo: str, own: str) -> dict[str, tuple[str, int]]:
    (tmp_path / "mountinfo").write_text(mountinfo)
    (tmp_path / "cgroup").write_text(own)
    result = places(str(tmp_path / "mountinfo"), str(tmp_path / "cgroup"))
    return {name: (place.directory, place.version) for name, place in result.items()}


def test_version_one_controllers_are_found_where_they_are_mounted(tmp_path: Path) -> None:
    own = "5:memory:/user/a\n4:cpu,cpuacct:/\n0::/\n"
    result = found(tmp_path, V1, own)
    assert result["memory"] == ("/sys/fs/cgroup/memory/user/a", 1)
    assert result["cpu"] == result["cpuacct"] == ("/sys/fs/cgroup/cpu,cpuacct", 1)


def test_version_two_controllers_are_those_the_group_has(tmp_path: Path) -> None:
    tree = tmp_path / "tree" / "user.slice"
    tree.mkdir(parents=True)
    (tree / "cgroup.controllers").write_text("cpu memory pids\n")
    mountinfo = f"31 30 0:27 / {tmp_path}/tree rw - cgroup2 cgroup2 rw\n"
    result = found(tmp_path, mountinfo, "0::/user.slice\n")
    assert result["memory"] == result["pids"] == (str(tree), 2)


def test_a_container_sees_its_group_as_the_root_of_the_mount(tmp_path: Path) -> None:
    mountinfo = "31 30 0:27 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    result = found(tmp_path, mountinfo, "5:memory:/docker/x\n")
    assert result["memory"] == ("/sys/fs/cgroup/memory", 1)
    result = found(tmp_path, mountinfo, "5:memory:/docker/x/inner\n")
    assert result["memory"] == ("/sys/fs/cgroup/memory/inner", 1)


def test_a_group_outside_what_is_mounted_is_not_ours_to_use(tmp_path: Path) -> None:
    mountinfo = "31 30 0:27 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    assert "memory" not in found(tmp_path, mountinfo, "5:memory:/docker/other\n")


def test_no_limits_no_group() -> None:
    assert cgroups.create(Limits()).directories == {}


def limited(limits: Limits) -> cgroups.Group:
    group = cgroups.create(limits)
    if group.missing:
        group.remove()
        pytest.skip(f"no control groups here: {group.missing}")
    return group


def wait(child: int) -> int:
    return os.waitpid(child, 0)[1]


def test_a_process_that_takes_too_much_memory_is_killed() -> None:
    group = limited(Limits(memory=48 << 20))
    try:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.read(reader, 1)
            kept = [b"x" * (1 << 20) for _ in range(256)]
            os._exit(len(kept) & 1)
        group.add(child)
        os.write(writer, b"g")
        os.close(writer)
        os.close(reader)
        assert os.WTERMSIG(wait(child)) == signal.SIGKILL
        usage = group.usage()
        assert usage.oom_kills == 1
        assert usage.memory_peak is not None and usage.memory_peak <= 48 << 20
    finally:
        group.remove()


def test_a_group_counts_and_goes_away_with_what_is_in_it() -> None:
    group = limited(Limits(memory=64 << 20, cpus=0.5, pids=5))
    directories = group._unique()
    child = os.fork()
    if child == 0:
        while True:
            pass
    group.add(child)
    usage = group.usage()
    assert usage.pids == 1
    group.remove()
    assert os.WTERMSIG(wait(child)) == signal.SIGKILL
    assert not any(os.path.exists(directory) for directory in directories)


def test_whoever_writes_nought_into_a_door_moves_in() -> None:
    group = limited(Limits(pids=5))
    try:
        doors = group.doors()
        child = os.fork()
        if child == 0:
            for door in doors:
                os.write(door, b"0")
            os._exit(0 if group.usage().pids == 1 else 1)
        for door in doors:
            os.close(door)
        assert wait(child) == 0
    finally:
        group.remove()


def test_groups_of_launchers_that_are_gone_are_swept(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    wait(child)
    alive = f"wardian-{os.getpid()}-{cgroups._start_time(os.getpid())}"
    for name in (f"wardian-{child}-77", alive, "wardian-x-1", "other"):
        (tmp_path / name).mkdir()
    cgroups.sweep(str(tmp_path))
    assert {entry.name for entry in tmp_path.iterdir()} == {alive, "wardian-x-1", "other"}


def test_processors_for_a_share() -> None:
    assert len(cgroups.affinity_for(0.3)) == 1
    ours = len(os.sched_getaffinity(0))
    assert len(cgroups.affinity_for(1.5)) == min(2, ours)
    assert len(cgroups.affinity_for(1000)) == ours
