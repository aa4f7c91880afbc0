"""uname, sysinfo, getrandom and what is always refused."""

import struct

import pytest

from support import advance, get, make_kernel, make_task, memory, put, room
from wardian.sentry.errno import EFAULT, EINVAL, EPERM
from wardian.sentry.kernel.credentials import user_credentials
from wardian.sentry.syscalls import system


def test_uname():
    t = make_task()
    out = room(t, 390)
    system.uname(t, out)
    data = get(t, out, 390)
    fields = [data[i : i + 65].rstrip(b"\0") for i in range(0, 390, 65)]
    assert fields[0] == b"Linux" and fields[1] == b"wardian" and fields[4] == b"x86_64"
    assert int(fields[2].split(b".")[0]) >= 5


def test_sethostname():
    t = make_task()
    assert system.sethostname(t, put(t, b"case"), 4) == 0
    assert t.kernel.uts.nodename == b"case"
    for length in (-1, 65):
        with pytest.raises(EINVAL):
            system.sethostname(t, put(t, b"x" * 65), length)
    t.credentials = user_credentials(1000, 1000)
    with pytest.raises(EPERM):
        system.setdomainname(t, put(t, b"d"), 1)


def test_sysinfo():
    kernel = make_kernel()
    t = make_task(kernel)
    advance(kernel, 7 * 10**9)
    out = room(t, 112)
    system.sysinfo(t, out)
    data = get(t, out, 112)
    uptime, _, _, _, total, free = struct.unpack_from("<q3QQQ", data)
    assert uptime == 7 and total == 1 << 30 and 0 < free < total
    assert struct.unpack_from("<H", data, 80)[0] == 1
    assert struct.unpack_from("<I", data, 104)[0] == 1


def test_getrandom_gives_different_bytes():
    t = make_task()
    out = room(t, 64)
    assert system.getrandom(t, out, 32, 0) == 32
    first = get(t, out, 32)
    system.getrandom(t, out, 32, system.GRND_NONBLOCK)
    assert get(t, out, 32) != first
    assert get(t, out + 32, 32) == bytes(32)
    assert system.getrandom(t, out, 0, 0) == 0


def test_getrandom_of_a_huge_count_is_bounded():
    t = make_task()
    out = room(t, 1 << 16)
    assert system.getrandom(t, out, 1 << 62, 0) == 1 << 16  # up to the fault
    with pytest.raises(EFAULT):
        system.getrandom(t, 8, 1 << 62, 0)
    big = memory(t).map(system.RANDOM_MAX + 4096)
    assert system.getrandom(t, big, 1 << 40, 0) == system.RANDOM_MAX


def test_getrandom_flags():
    t = make_task()
    for flags in (8, system.GRND_RANDOM | system.GRND_INSECURE):
        with pytest.raises(EINVAL):
            system.getrandom(t, room(t, 8), 8, flags)


def test_personality_is_kept():
    t = make_task()
    assert system.personality(t, 0xFFFF_FFFF) == 0
    assert system.personality(t, 0x0040000) == 0
    assert system.personality(t, 0xFFFF_FFFF) == 0x0040000


def test_machine_owners_calls_are_refused_even_to_root():
    t = make_task()
    for attempt in (
        lambda: system.reboot(t, 0, 0, 0, 0),
        lambda: system.iopl(t, 3),
        lambda: system.init_module(t, 0, 0, 0),
        lambda: system.swapon(t, 0, 0),
        lambda: system.acct(t, 0),
    ):
        with pytest.raises(EPERM):
            attempt()
    with pytest.raises(EINVAL):
        system.seccomp(t, 1, 0, 0)
