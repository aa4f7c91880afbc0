"""Pools: sandboxes that wait to be taken, forks of one server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from host_processes import children, descendants, gone, launcher, script, sentry, state, zygote

import wardian
from descriptors import own_descriptors
from wardian import aio


@pytest.fixture(scope="module")
def pool() -> Iterator[wardian.Pool]:
    """One that all tests take sandboxes from."""
    with wardian.Pool(2, env={"COLOUR": "blue"}, tmpfs=["/mnt"]) as shared:
        yield shared


def eventually(true: Callable[[], bool]) -> bool:
    """Whether it comes true in good time."""
    for _ in range(200):
        if true():
            return True
        time.sleep(0.05)
    return False


# -- taking ----------------------------------------------------------------------------------------
def test_a_sandbox_of_a_pool_is_like_any_other(pool: wardian.Pool) -> None:
    with pool.sandbox() as box, wardian.Sandbox() as other:
        assert box.layers == other.layers
        assert box.run(["sh", "-c", "echo $COLOUR; pwd"], text=True).stdout.split() == [
            "blue",
            os.getcwd(),
        ]
        process = box.spawn(["cat"])
        assert process.communicate(b"hello")[0] == b"hello"
        box.write_file("/tmp/x", b"1")
        assert box.read_file("/tmp/x") == b"1"
        with pytest.raises(wardian.CommandNotFound):
            box.run(["nonesuch"])


def test_what_waits_is_taken_and_replaced(pool: wardian.Pool) -> None:
    assert eventually(lambda: len(children(launcher(pool))) == 2)
    waiting = set(children(launcher(pool)))
    with pool.sandbox() as box:
        assert launcher(box) in waiting
        assert eventually(lambda: len(children(launcher(pool))) == 3)
    assert eventually(lambda: len(children(launcher(pool))) == 2)


def test_each_is_its_own(pool: wardian.Pool) -> None:
    with pool.sandbox() as one, pool.sandbox() as two:
        one.write_file("/tmp/secret", b"x")
        one.write_file("/mnt/secret", b"x")
        assert not two.exists("/tmp/secret")
        assert not two.exists("/mnt/secret")
    with pool.sandbox() as three:
        assert not three.exists("/tmp/secret")


def test_options_that_a_waiting_one_can_take(pool: wardian.Pool) -> None:
    assert eventually(lambda: len(children(launcher(pool))) == 2)
    waiting = set(children(launcher(pool)))
    with pool.sandbox(env={"SIZE": "large"}, cwd="/usr", user="1234:567", timeout=1.5) as box:
        assert launcher(box) in waiting
        words = box.run(["sh", "-c", "echo $COLOUR $SIZE; pwd; id -u; id -g"], text=True)
        assert words.stdout.split() == ["large", "/usr", "1234", "567"]
        with pytest.raises(wardian.SandboxTimeout, match=r"the sandbox was ended after its 1\.5 s"):
            box.run(["sleep", "1000"])


def test_other_options_make_another_sandbox(pool: wardian.Pool) -> None:
    with pool.sandbox(hostname="elsewhere", read_only=True) as box:
        assert box.run(["uname", "-n"]).stdout == b"elsewhere\n"
        assert box.run(["sh", "-c", "echo x > /tmp/x"]).returncode != 0
        assert box.run(["sh", "-c", "echo x > /mnt/x"]).returncode == 0  # the pool's own option


def test_wrong_late_options_are_refused_and_leave_nothing(pool: wardian.Pool) -> None:
    with pytest.raises(wardian.ConfigError, match="bad user 'nobody at all'"):
        pool.sandbox(user="nobody at all")
    with pytest.raises(wardian.ConfigError, match="cannot use /nowhere"):
        pool.sandbox(rootfs="/nowhere")
    box = pool.sandbox(cwd="/nowhere")
    with box, pytest.raises(wardian.ConfigError, match="cannot start in /nowhere"):
        box.run(["true"])
    assert eventually(lambda: len(children(launcher(pool))) == 2)


def test_wrong_options_of_the_pool_itself() -> None:
    with pytest.raises(wardian.ConfigError, match="bad number of ready sandboxes"):
        wardian.Pool(-1)
    with pytest.raises(wardian.ConfigError, match="bad host name"):
        wardian.Pool(hostname="")
    with pytest.raises(wardian.ConfigError, match="cannot use /nowhere"):
        wardian.Pool(2, rootfs="/nowhere")


def test_none_ready() -> None:
    with wardian.Pool(0) as pool:
        assert children(launcher(pool)) == []
        with pool.sandbox() as box:
            assert box.run(["echo", "x"]).stdout == b"x\n"


def test_many_threads_take_from_it(pool: wardian.Pool) -> None:
    said: list[bytes] = []

    def work(number: int) -> None:
        with pool.sandbox() as box:
            said.append(box.run(["echo", str(number)]).stdout)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(said) == [b"%d\n" % i for i in range(8)]


# -- what forks must not share ---------------------------------------------------------------------
def sockets(pid: int) -> set[str]:
    """Sockets, pipes and files in memory that a host process holds, but for its own epoll sets and
    the like, which have no numbers of their own."""
    found = set()
    with contextlib.suppress(FileNotFoundError):  # it ended while we looked
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed, likewise
                found.add(os.readlink(path))
    return {name for name in found if name.startswith(("socket:", "pipe:"))}


def test_no_process_holds_a_descriptor_of_another_sandbox(pool: wardian.Pool) -> None:
    with pool.sandbox() as one, pool.sandbox() as two:

        def apart() -> bool:
            families = [descendants(launcher(box)) for box in (one, two)]
            families.append([launcher(pool)])
            held = [set().union(*(sockets(pid) for pid in family)) for family in families]
            assert all(held)
            # The server keeps the pipe on which it tells how a launcher ended; launchers do not.
            return not (held[0] & held[1] or held[0] & held[2] or held[1] & held[2])

        assert eventually(apart)  # the server is just making those that will wait next


def test_random_numbers_and_addresses_differ(pool: wardian.Pool) -> None:
    command = ["sh", "-c", "head -c 16 /dev/urandom | od -x; cat /proc/self/maps"]
    with pool.sandbox() as one, pool.sandbox() as two:
        first, second = (box.run(command, text=True).stdout.splitlines() for box in (one, two))
    assert first[0] != second[0]
    for name in ("[stack]", "[heap]", "libc"):
        [a, *_], [b, *_] = ([x for x in lines if name in x] for lines in (first, second))
        assert a.split()[0] != b.split()[0], name


# -- ends ------------------------------------------------------------------------------------------
def groups() -> set[Path]:
    """Control groups of sandboxes."""
    return set(Path("/sys/fs/cgroup").rglob("wardian-*"))


def test_closing_it_ends_all_its_sandboxes() -> None:
    groups_before, fds = groups(), len(own_descriptors())
    pool = wardian.Pool(2, memory="256m", pids=50)
    boxes = [pool.sandbox() for _ in range(3)]
    processes = [box.spawn(["sleep", "1000"]) for box in boxes]
    assert eventually(lambda: len(descendants(launcher(pool))) > 20)
    family = descendants(launcher(pool))
    pool.close()
    assert [pid for pid in family if state(pid) not in ("", "Z")] == []  # at once
    with pytest.raises(wardian.SandboxError, match=r"^the sandbox (is|was) closed$"):
        boxes[0].run(["true"])
    with pytest.raises(wardian.SandboxError, match=r"^the sandbox was closed$"):
        processes[0].wait(10)
    with pytest.raises(wardian.SandboxError, match=r"^the pool is closed$"):
        pool.sandbox()
    for box in boxes:
        box.close()
    pool.close()
    assert groups() == groups_before
    del boxes, processes, box
    assert len(own_descriptors()) == fds


@pytest.mark.parametrize(
    ("victim", "words"),
    [
        (launcher, "^the sandbox's launcher was killed by SIGKILL$"),
        (sentry, "^the sandbox was killed by SIGKILL$"),
        (zygote, "^the sandbox's processes were killed from outside$"),
    ],
)
def test_one_dies_and_no_other(
    pool: wardian.Pool, victim: Callable[[wardian.Sandbox], int], words: str
) -> None:
    with pool.sandbox() as one, pool.sandbox() as two:
        family = descendants(launcher(one))
        os.kill(victim(one), signal.SIGKILL)
        assert gone(family)  # until then it may answer
        with pytest.raises(wardian.SandboxDied, match=words):
            one.run(["true"])
        assert two.run(["echo", "alive"]).stdout == b"alive\n"
        with pool.sandbox() as three:
            assert three.run(["echo", "alive"]).stdout == b"alive\n"


def test_a_waiting_one_dies() -> None:
    with wardian.Pool(1) as pool:
        [waiting] = children(launcher(pool))
        os.kill(waiting, signal.SIGKILL)
        assert eventually(lambda: not children(launcher(pool)))
        with pool.sandbox() as box:
            assert box.run(["echo", "alive"]).stdout == b"alive\n"
            assert eventually(lambda: len(children(launcher(pool))) == 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_its_server_dies(number: int) -> None:
    groups_before = groups()
    pool = wardian.Pool(1, memory="256m")
    box = pool.sandbox()
    process = box.spawn(["sleep", "1000"])
    family = descendants(launcher(pool))
    os.kill(launcher(pool), number)
    assert gone(family)
    with pytest.raises(wardian.SandboxDied, match="ended from outside"):
        process.wait(30)
    with pytest.raises(wardian.SandboxDied, match=r"^the pool's server was killed by SIG"):
        pool.sandbox()
    assert groups() == groups_before
    pool.close()


def test_it_ends_with_the_users_process() -> None:
    groups_before = groups()
    user = subprocess.Popen(
        script("""
            import time, wardian
            pool = wardian.Pool(2, memory="256m")
            box = pool.sandbox()
            box.spawn(["sleep", "1000"])
            print(pool._connection.process.pid, flush=True)
            time.sleep(1000)
            """),
        stdout=subprocess.PIPE,
    )
    assert user.stdout is not None
    family = descendants(int(user.stdout.readline()))
    assert len(family) > 10
    user.kill()
    user.wait(30)
    assert gone(family)
    assert groups() == groups_before


def test_a_forgotten_pool_ends_after_its_last_sandbox() -> None:
    pool = wardian.Pool(1)
    family = descendants(launcher(pool))
    box = pool.sandbox()
    del pool
    gc.collect()
    assert box.run(["echo", "alive"]).stdout == b"alive\n"
    del box
    gc.collect()
    assert gone(family)


def test_a_forked_child_neither_uses_nor_keeps_it() -> None:
    result = subprocess.run(
        script("""
            import os, wardian
            pool = wardian.Pool(1)
            child = os.fork()
            if child == 0:
                try:
                    pool.sandbox()
                except wardian.SandboxError as e:
                    print(e, flush=True)
                pool.close()
                os._exit(0)
            os.waitpid(child, 0)
            print(pool.sandbox().run(["echo", "still there"], text=True).stdout, end="")
            """),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "the pool belongs to the process that made it, not to a fork",
        "still there",
    ]


def test_limits_are_each_sandboxs_own() -> None:
    with wardian.Pool(2, memory="128m") as pool, pool.sandbox() as one, pool.sandbox() as two:
        if "limits" in one.layers:
            pytest.skip(f"no memory control group here: {one.layers}")
        with pytest.raises(wardian.OutOfMemory):
            one.run(["python3", "-c", "x = bytearray(b'x' * (500 << 20))"], timeout=120)
        assert one.run(["echo", "alive"]).stdout == b"alive\n"
        assert two.run(["true"], check=True).usage.oom_kills == 0


# -- asyncio ---------------------------------------------------------------------------------------
def test_asyncio() -> None:
    async def work(pool: aio.Pool, number: int) -> bytes:
        async with await pool.sandbox(env={"N": str(number)}) as box:
            return (await box.run(["sh", "-c", "echo $N"])).stdout

    async def main() -> None:
        async with aio.Pool(2) as pool:
            said = await asyncio.gather(*(work(pool, i) for i in range(6)))
            assert said == [b"%d\n" % i for i in range(6)]
            box = await pool.sandbox()
            family = descendants(launcher(pool))
        assert gone(family)
        with pytest.raises(wardian.SandboxError, match="closed"):
            await box.run(["true"])
        with pytest.raises(wardian.ConfigError, match="cannot use /nowhere"):
            await aio.Pool(rootfs="/nowhere").start()

    asyncio.run(asyncio.wait_for(main(), 120))
