"""What each option of ``wardian do`` does."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Wardian, as_nobody, descendants, finish, wait_until


@pytest.fixture
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system with nothing in it but busybox, and its libraries if it has any."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs busybox")
    root = tmp_path_factory.mktemp("rootfs")
    root.chmod(0o755)
    for name in ("bin", "etc", "lib", "lib64"):
        (root / name).mkdir()
    shutil.copy(busybox, root / "bin/busybox")
    for name in ("sh", "ls", "cat", "id", "mount", "touch", "mkdir"):
        (root / "bin" / name).symlink_to("busybox")
    for library in libraries(busybox):
        target = root / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nfern:x:7:8::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nfern:x:8:\nmoss:x:9:fern\n")
    return root


def libraries(program: str) -> list[str]:
    """What a dynamic program needs; nothing for a static one."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+) \(0x", listing)


# -- files ---------------------------------------------------------------------------------------
def test_the_host_sees_no_writes(wardian: Wardian) -> None:
    (wardian.directory / "old").write_text("old")
    outcome = wardian.do(
        "sh",
        "-c",
        "echo new > new; echo more >> old; mkdir d; rm old; ls; rm -rf /etc; ls /etc 2>&1 | wc -l",
    )
    assert outcome.out == "d\nnew\n1\n"
    assert os.listdir(wardian.directory) == ["old"]
    assert (wardian.directory / "old").read_text() == "old"


def test_volume_is_written_through(wardian: Wardian) -> None:
    source = wardian.directory / "v"
    source.mkdir()
    (source / "f").write_text("one\n")
    script = "cat /mnt/f; echo two >> /mnt/f; mkdir /mnt/d; mv /mnt/f /mnt/d/g; ln -s g /mnt/d/l; echo x > /mnt/d/x; rm /mnt/d/x"
    outcome = wardian.do("--volume", f"{source}:/mnt", "sh", "-c", script)
    assert (outcome.status, outcome.out, outcome.err) == (0, "one\n", "")
    assert (source / "d/g").read_text() == "one\ntwo\n"
    assert sorted(os.listdir(source / "d")) == ["g", "l"]


def test_read_only_volume_refuses(wardian: Wardian) -> None:
    source = wardian.directory / "v"
    source.mkdir()
    (source / "f").write_text("one\n")
    outcome = wardian.do(
        "-v",
        f"{source}:/mnt:ro",
        "sh",
        "-c",
        "cat /mnt/f; echo x > /mnt/f; touch /mnt/n; rm /mnt/f; chmod 777 /mnt/f; exit 0",
    )
    assert outcome.out == "one\n"
    assert outcome.err.lower().count("read-only file system") == 4
    assert (source / "f").read_text() == "one\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root inside may mount")
def test_sync_of_a_read_only_volume_has_nothing_to_do(wardian: Wardian) -> None:
    source = wardian.directory / "source"
    source.mkdir()
    (source / "a").write_text("one")
    outcome = wardian.do("--volume", f"{source}:/mnt:ro", "sync", "/mnt/a", "/mnt")
    assert (outcome.status, outcome.err) == (0, "")


def test_guest_root_keeps_a_volume_as_it_is(wardian: Wardian) -> None:
    source = wardian.directory / "kept"
    source.mkdir()
    (source / "file").write_text("x")
    script = (
        "import ctypes, os\nc = ctypes.CDLL(None, use_errno=True)\n"
        "def show(result):\n    print(result and os.strerror(ctypes.get_errno()))\n"
        "os.makedirs('/tmp/b')\n"
        "show(c.mount(b'x', b'/mnt', None, 32, None))\n"
        "show(c.mount(b'x', b'/mnt', None, 32 | 4096, None))\n"
        "show(c.umount2(b'/mnt', 0))\nshow(c.umount2(b'/mnt', 2))\n"
        "show(c.mount(b'/mnt', b'/tmp/b', None, 8192, None))\n"
        "show(c.mount(b'/mnt', b'/tmp/b', None, 4096, None))\n"
        "show(c.mount(b'x', b'/tmp/b', None, 32 | 4096, None))\n"
        "show(c.mount(b'x', b'/', None, 16384 | 1 << 18, None))\n"
        "print(os.listdir('/mnt'), os.listdir('/tmp/b'))\n"
    )
    outcome = wardian.do("--volume", f"{source}:/mnt:ro", "python3", "-c", script)
    forbidden, invalid = "Operation not permitted", "Invalid argument"
    expected = [forbidden, forbidden, invalid, invalid, invalid, "0", forbidden, "0"]
    assert outcome.out.splitlines() == [*expected, "['file'] ['file']"], outcome


def test_volume_of_a_single_file(wardian: Wardian) -> None:
    one, two = wardian.directory / "one", wardian.directory / "two"
    one.write_text("1\n")
    two.write_text("2\n")
    outcome = wardian.do(
        "-v",
        f"{one}:/mnt/new/one",
        "-v",
        f"{two}:/etc/hostname:ro",
        "sh",
        "-c",
        "cat /mnt/new/one /etc/hostname; echo changed > /mnt/new/one; echo x > /etc/hostname; ls /mnt/new",
    )
    assert outcome.out == "1\n2\none\n"
    assert "Read-only" in outcome.err
    assert one.read_text() == "changed\n"
    assert two.read_text() == "2\n"


def test_volume_source_may_be_relative_and_a_symbolic_link(wardian: Wardian) -> None:
    (wardian.directory / "real").mkdir()
    (wardian.directory / "real/f").write_text("x\n")
    (wardian.directory / "link").symlink_to("real")
    assert wardian.do("-v", "link:/mnt", "cat", "/mnt/f").out == "x\n"


def test_volume_does_not_lead_out(wardian: Wardian) -> None:
    source = wardian.directory / "v"
    source.mkdir()
    secret = wardian.directory / "secret"
    secret.write_text("secret\n")
    (source / "up").symlink_to("../secret")
    (source / "absolute").symlink_to(secret)
    outcome = wardian.do(
        "--rootfs",
        str(source),
        "-v",
        "/bin/busybox:/busybox",
        "/busybox",
        "sh",
        "-c",
        "/busybox cat up; /busybox cat absolute; /busybox ls -a ..",
    )
    assert "secret\n" not in outcome.out, outcome


def test_volumes_one_inside_the_other(wardian: Wardian) -> None:
    for name in ("a", "b"):
        (wardian.directory / name).mkdir()
        (wardian.directory / name / "f").write_text(name)
    outcome = wardian.do("-v", "a:/mnt", "-v", "b:/mnt/in", "sh", "-c", "cat /mnt/f /mnt/in/f")
    assert outcome.out == "ab", outcome


def test_tmpfs_is_empty_and_writable_also_when_the_root_is_not(wardian: Wardian) -> None:
    outcome = wardian.do(
        "--read-only",
        "--tmpfs",
        "/etc",
        "sh",
        "-c",
        "ls /etc; echo x > /etc/x; cat /etc/x; touch /usr/x; touch /tmp/x; mkdir /x; exit 0",
    )
    assert outcome.out == "x\n"
    assert outcome.err.lower().count("read-only file system") == 3


def test_disk_full_is_enospc(wardian: Wardian) -> None:
    script = "dd if=/dev/zero of=/big bs=1M count=200; echo $?; echo x > /small; echo $?; rm /big; echo y > /small; cat /small"
    outcome = wardian.do("--memory", "128m", "sh", "-c", script)
    assert outcome.out.splitlines()[0] == "1"
    assert outcome.out.splitlines()[-1] == "y"
    assert "No space left on device" in outcome.err


def test_file_space_is_shared_by_all_file_systems_in_memory(wardian: Wardian) -> None:
    script = "for f in /big /dev/shm/big /run/big; do dd if=/dev/zero of=$f bs=1M count=30 2>/dev/null; echo $?; done"
    outcome = wardian.do("--memory", "128m", "--tmpfs", "/run", "sh", "-c", script)
    assert outcome.out == "0\n0\n1\n", outcome


def test_too_many_files_are_enospc(wardian: Wardian) -> None:
    script = "cd /dev/shm && seq 6000 | xargs touch 2>&1 | grep -c 'No space left' | sed 's/^[1-9].*/full/'; ls | wc -l"
    outcome = wardian.do("--memory", "32m", "sh", "-c", script)
    assert outcome.out.startswith("full\n"), outcome
    assert int(outcome.out.split()[1]) < 4096


def test_rootfs(wardian: Wardian, rootfs: Path) -> None:
    outcome = wardian.do(
        "--rootfs",
        str(rootfs),
        "sh",
        "-c",
        "ls /; pwd; touch /x; ls -d /proc/self /dev/null; echo $0",
    )
    assert outcome.out == "bin\ndev\netc\nlib\nlib64\nproc\nsys\n/\n/dev/null\n/proc/self\nsh\n"
    assert sorted(os.listdir(rootfs)) == ["bin", "etc", "lib", "lib64"]
    wardian.fails(127, "no such program", "do", "--rootfs", str(rootfs), "python3")


def test_read_only_rootfs_without_mount_points(wardian: Wardian, rootfs: Path) -> None:
    outcome = wardian.do(
        "--rootfs", str(rootfs), "--read-only", "sh", "-c", "ls /; touch /x; echo $?"
    )
    assert outcome.out == "bin\netc\nlib\nlib64\n1\n"


def test_rootfs_of_an_unreadable_directory(wardian: Wardian) -> None:
    as_nobody(wardian)
    closed = wardian.directory / "closed"
    closed.mkdir(mode=0)
    wardian.fails(125, "permission denied", "do", "--rootfs", str(closed), "sh")
    wardian.fails(125, "permission denied", "do", "--volume", f"{closed}:/mnt", "sh")
    closed.chmod(0o755)


# -- who and where -------------------------------------------------------------------------------
def test_environment(wardian: Wardian) -> None:
    wardian.env |= {"KEPT": "kept", "CHANGED": "old"}
    outcome = wardian.do(
        "--env", "CHANGED=new", "-e", "EMPTY=", "-e", "KEPT", "-e", "ABSENT", "env"
    )
    lines = outcome.out.splitlines()
    assert {"KEPT=kept", "CHANGED=new", "EMPTY="} <= set(lines)
    assert not any(line.startswith("ABSENT") for line in lines)


def test_workdir(wardian: Wardian) -> None:
    assert wardian.do("pwd").out == f"{wardian.directory}\n"
    assert wardian.do("--workdir", "/usr/lib", "pwd").out == "/usr/lib\n"
    assert wardian.do("--tmpfs", "/run/new", "-w", "/run/new", "pwd").out == "/run/new\n"


def test_user_by_number_and_by_name(wardian: Wardian, rootfs: Path) -> None:
    at = ["do", "--rootfs", str(rootfs), "--user"]
    assert wardian(*at, "12:34", "id").out == "uid=12 gid=34\n"
    assert wardian(*at, "12", "sh", "-c", "id -u; id -g").out == "12\n0\n"
    assert wardian(*at, "fern", "sh", "-c", "id -u; id -g; id -G").out == "7\n8\n8 9\n"
    assert wardian(*at, "12", "sh", "-c", "touch /x || echo refused").out == "refused\n"


def test_hostname(wardian: Wardian) -> None:
    assert (
        wardian.do(
            "--hostname", "fern", "sh", "-c", "hostname; uname -n; cat /proc/sys/kernel/hostname"
        ).out
        == "fern\n" * 3
    )
    assert wardian.do("uname", "-n").out == "wardian\n"


def test_umask_is_kept(wardian: Wardian) -> None:
    assert wardian.do("sh", "-c", "umask", umask=0o027).out == "0027\n"


# -- limits --------------------------------------------------------------------------------------
EAT = "import sys\nx = []\nwhile True:\n    x.append(b'x' * (1 << 20))"


def test_memory_limit_kills_the_program_that_reaches_it_and_nothing_else(wardian: Wardian) -> None:
    script = f'sleep 30 & python3 -c "{EAT}"; echo $?; kill -0 $! && echo alive; kill $!; echo done'
    outcome = wardian.do("--memory", "128m", "bash", "-c", script)
    assert outcome.status == 0, outcome
    assert outcome.out == "137\nalive\ndone\n"


def test_memory_limit_of_the_first_program(wardian: Wardian) -> None:
    outcome = wardian.do("--memory", "96m", "python3", "-c", EAT)
    assert outcome.status == 137, outcome
    assert "Traceback" not in outcome.err


def test_programs_see_the_memory_limit(wardian: Wardian) -> None:
    outcome = wardian.do(
        "--memory",
        "512m",
        "sh",
        "-c",
        "grep MemTotal /proc/meminfo; free -b | sed -n 2p; cat /sys/fs/cgroup/memory.max",
    )
    words = outcome.out.split()
    assert words[1] == str(512 << 10)
    assert words[4] == words[-1] == str(512 << 20)


@pytest.mark.parametrize(
    "program, words",
    [
        ("node", ["-e", "console.log(Math.round(os.totalmem() / 1048576))"]),
        ("java", ["-XX:+PrintFlagsFinal", "-version"]),
    ],
)
def test_runtimes_see_the_memory_limit(wardian: Wardian, program: str, words: list[str]) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    outcome = wardian.do("--memory", "768m", program, *words)
    if program == "node":
        assert outcome.out == "768\n"
    else:
        line = next(line for line in outcome.out.splitlines() if " MaxHeapSize " in line)
        assert int(line.split()[3]) == 192 << 20, line  # a quarter


def test_smallest_memory_limit_runs_something(wardian: Wardian) -> None:
    assert wardian.do("--memory", "32m", "sh", "-c", "echo hi").out == "hi\n"


BOMB = "b() { b | b & }; b; sleep 1; echo over"


def test_fork_bomb_is_contained(wardian: Wardian) -> None:
    outcome = wardian.do("--pids", "40", "bash", "-c", BOMB)
    assert outcome.status in (0, 1, 254), outcome
    assert "Resource temporarily unavailable" in outcome.err


def test_pids_limit_is_exact(wardian: Wardian) -> None:
    script = "import os, time\nn = 1\ntry:\n  while True:\n    if os.fork() == 0: time.sleep(9)\n    n += 1\nexcept BlockingIOError: print(n)"
    assert wardian.do("--pids", "25", "python3", "-c", script).out == "25\n"


def test_limits_are_control_groups_of_the_host(wardian: Wardian) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root")
    process = wardian.start(
        "do", "--cpus", "0.5", "--memory", "200m", "--pids", "30", "sh", "-c", "echo up; cat"
    )
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    groups = {
        path: Path(f"/proc/{pid}/cgroup").read_text()
        for pid in list(descendants(process.pid))[-1:]
        for path in [pid]
    }
    text = next(iter(groups.values()))
    name = next(
        word
        for word in text.replace("\n", "/").split("/")
        if word.startswith(f"wardian-{process.pid}-")
    )
    found = {
        path.name: path.read_text().strip()
        for root in Path("/sys/fs/cgroup").glob(f"**/{name}")
        for path in root.iterdir()
        if path.name
        in ("cpu.max", "cpu.cfs_quota_us", "memory.max", "memory.limit_in_bytes", "pids.max")
    }
    finish(process)
    assert "50000" in (found.get("cpu.max") or found["cpu.cfs_quota_us"])
    assert str(200 << 20) == (found.get("memory.max") or found["memory.limit_in_bytes"])
    assert int(found["pids.max"]) < 200


def test_groups_of_killed_launchers_are_swept_by_the_next(wardian: Wardian) -> None:
    process = wardian.start("do", "--memory", "200m", "sh", "-c", "echo up; sleep 60")
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    process.kill()
    finish(process)
    assert wait_until(lambda: wardian.do("--memory", "200m", "true").status == 0)


# -- network -------------------------------------------------------------------------------------
@pytest.fixture
def server() -> Iterator[int]:
    """A TCP server on the host's loopback that says hello."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"hello from the host\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


CONNECT = "import socket, sys\ns = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)\nprint(s.makefile().read(), end='')"


def test_network_host_reaches_the_hosts_servers(wardian: Wardian, server: int) -> None:
    outcome = wardian.do("--network", "host", "python3", "-c", CONNECT, str(server))
    assert outcome.out == "hello from the host\n", outcome


@pytest.mark.parametrize("network", ["none", "loopback"])
def test_other_networks_do_not_reach_the_host(wardian: Wardian, server: int, network: str) -> None:
    outcome = wardian.do("--network", network, "python3", "-c", CONNECT, str(server))
    assert outcome.status == 1
    assert "refused" in outcome.err or "unreachable" in outcome.err, outcome


def test_loopback_is_the_sandboxs_own(wardian: Wardian) -> None:
    script = (
        "import socket, threading\nl = socket.create_server(('127.0.0.1', 80))\nc = socket.create_connection(('127.0.0.1', 80))\n"
        "s, _ = l.accept()\ns.sendall(b'x')\nprint(c.recv(9))"
    )
    assert wardian.do("--network", "loopback", "python3", "-c", script).out == "b'x'\n"


def test_no_network_has_no_interface_but_a_loopback_that_is_down(wardian: Wardian) -> None:
    assert wardian.do("--network", "none", "sh", "-c", "ls /sys/class/net").out in ("", "lo\n")
    script = (
        "import socket, fcntl\ns = socket.socket()\n"
        "print(fcntl.ioctl(s, 0x8913, b'lo'.ljust(40, b'\\0'))[16])\n"
        "print(s.connect_ex(('127.0.0.1', 80)), socket.socket(socket.AF_INET6).connect_ex(('::1', 80)))\n"
        "a, b = socket.socketpair()\na.send(b'x')\nprint(b.recv(9))"
    )
    outcome = wardian.do("--network", "none", "python3", "-c", script)
    assert outcome.out == "8\n101 99\nb'x'\n", outcome


# -- looking inside ------------------------------------------------------------------------------
def test_strace_prints_the_calls(wardian: Wardian) -> None:
    outcome = wardian.do("--strace=openat,write", "cat", "/etc/hostname")
    assert any(
        line.endswith(" = 3") and '"/etc/hostname"' in line for line in outcome.err.splitlines()
    )
    assert all(
        "openat(" in line or "write(" in line or "+++" in line for line in outcome.err.splitlines()
    ), outcome.err


def test_log_goes_to_its_file(wardian: Wardian) -> None:
    outcome = wardian.do("--log", "log", "true")
    assert outcome.err == ""
    assert "confinement" in (wardian.directory / "log").read_text()
    outcome = wardian.do("--debug", "--log", "log2", "true")
    assert outcome.err == ""


def test_debug_goes_to_standard_error(wardian: Wardian) -> None:
    outcome = wardian.do("--debug", "true")
    assert outcome.status == 0
    assert "confinement" in outcome.err


@pytest.mark.parametrize(
    "program, words, said",
    [
        (
            "bash",
            ["-c", "echo $((6*7)); ls / | wc -l >/dev/null; (exit 3) || echo three"],
            "42\nthree\n",
        ),
        (
            "python3",
            [
                "-c",
                "import threading, subprocess, mmap\nm = mmap.mmap(-1, 1 << 20); m[5] = 1; m.close()\n"
                "t = threading.Thread(target=print, args=(len(b'x' * 50_000_000),)); t.start(); t.join()\n"
                "print(subprocess.check_output(['echo', 'child']))",
            ],
            "50000000\nb'child\\n'\n",
        ),
    ],
)
def test_validated_memory_mode(wardian: Wardian, program: str, words: list[str], said: str) -> None:
    outcome = wardian.do("--memory-mode", "validated", program, *words)
    assert (outcome.status, outcome.out, outcome.err) == (0, said, "")


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_volume_of_neither_file_nor_directory_is_refused(wardian: Wardian, kind: str) -> None:
    path = str(wardian.directory / kind)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(path)
    else:
        path = "/dev/null"
    wardian.fails(125, "only files and directories", "do", "-v", f"{path}:/mnt", "true")


def test_the_same_directory_for_reading_and_for_writing(wardian: Wardian) -> None:
    script = "echo x > /writable/f; cat /readable/f; echo y > /readable/g"
    outcome = wardian.do(
        "-v",
        f"{wardian.directory}:/writable",
        "-v",
        f"{wardian.directory}:/readable:ro",
        "sh",
        "-c",
        script,
    )
    assert outcome.out == "x\n"
    assert "Read-only" in outcome.err
    assert os.listdir(wardian.directory) == ["f"]


def test_the_log_says_what_was_patched(wardian: Wardian) -> None:
    words = ("--log", "log", "dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=100")
    assert wardian.do(*words).status == 0
    assert patched_sites(wardian.directory / "log") >= 2, "read and write"
    assert wardian.do("--no-patching", *words).status == 0
    assert patched_sites(wardian.directory / "log") == 0


def patched_sites(log: Path) -> int:
    """What the last sandbox said."""
    found = re.findall(r"call sites: (\d+) patched, \d+ left to trap", log.read_text())
    return int(found[-1])


def test_nothing_runs_in_an_idle_sandbox(wardian: Wardian) -> None:
    """No thread of it is switched to: nobody looks, polls or ticks."""
    process = wardian.start("do", "sh", "-c", "echo ready; exec sleep 60")
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        assert wait_until(lambda: switches_in(0.5, process.pid) == 0)
    finally:
        process.kill()
        finish(process)


def switches_in(seconds: float, pid: int) -> int:
    """Context switches of all threads of a process and of those below it, meanwhile."""
    before = switches(pid)
    time.sleep(seconds)
    return switches(pid) - before


def switches(pid: int) -> int:
    """So far (proc_pid_status(5))."""
    texts = [
        path.read_text()
        for one in [pid, *descendants(pid)]
        for path in Path(f"/proc/{one}/task").glob("*/status")
    ]
    counts = [re.findall(r"ctxt_switches:\s+(\d+)", text) for text in texts]
    assert len(counts) >= 4, "launcher, Sentry, zygote, the program"
    return sum(int(number) for found in counts for number in found)
