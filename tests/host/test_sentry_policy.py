"""The Sentry's filter: short, every call with a reason, and nothing that gives a way out."""

from __future__ import annotations

import itertools

import pytest

from wardian.host import sentry_policy
from wardian.host.seccomp_bpf import (
    ALLOW,
    AUDIT_ARCH_I386,
    ERRNO,
    KILL_PROCESS,
    X32_BIT,
    decode,
    evaluate,
)
from wardian.sentry.abi.numbers import NUMBERS

ORDINARY = decode(sentry_policy.sentry_filter(sentry_policy.rows()))
EVERYTHING = decode(sentry_policy.sentry_filter(sentry_policy.rows(True, True)))


def ask(name: str, *args: int, program: list[tuple[int, int, int, int]] = ORDINARY) -> int:
    return evaluate(program, NUMBERS[name], (*args, *[0] * (6 - len(args))))


def test_an_ordinary_sandbox_needs_at_most_sixty_calls() -> None:
    assert len({row.number for row in sentry_policy.rows()}) <= sentry_policy.MOST_CALLS


def test_every_call_has_a_reason() -> None:
    for row in sentry_policy.rows(True, True):
        assert row.reason and row.number == NUMBERS[row.call]


def test_only_listed_numbers_pass() -> None:
    listed = {row.number for row in sentry_policy.rows()}
    refused = {NUMBERS[name] for name in sentry_policy.REFUSED}
    for number in range(1024):
        answers = {
            evaluate(ORDINARY, number, args)
            for args in itertools.product((0, 1, 2, 8, 9, 0x5401, 1 << 32), repeat=3)
            for args in [(*args, 0, 0, 0)]
        }
        if number in refused:
            assert all(a & 0xFFFF0000 == ERRNO for a in answers)
        elif number not in listed:
            assert answers == {KILL_PROCESS}, number


@pytest.mark.parametrize(
    "name",
    [
        *("execve", "execveat", "fork", "vfork", "clone", "clone3", "ptrace", "mount", "umount2"),
        *("pivot_root", "chroot", "setns", "unshare", "open_tree", "move_mount", "fsopen", "bpf"),
        *("io_uring_setup", "perf_event_open", "init_module", "kexec_load", "keyctl", "add_key"),
        *("open_by_handle_at", "userfaultfd", "setuid", "setresuid", "capset", "prctl", "seccomp"),
        *("pidfd_getfd", "process_madvise", "kcmp", "reboot", "swapon", "quotactl", "socket"),
        *("connect", "bind", "mknodat", "unlinkat", "renameat2", "linkat", "personality"),
    ],
)
def test_dangerous_calls_are_not_there(name: str) -> None:
    assert ask(name) == KILL_PROCESS


def test_no_memory_becomes_executable() -> None:
    for name in ("mmap", "mprotect"):
        assert ask(name, 0, 4096, 3) == ALLOW
        for prot in (4, 5, 7, 1 << 32 | 1, 0x1000003):
            assert ask(name, 0, 4096, prot) == KILL_PROCESS


def test_terminal_may_be_set_but_not_typed_into() -> None:
    for request in (0x5401, 0x5402, 0x5413):
        assert ask("ioctl", 0, request) == ALLOW
    for request in (0x5412, 0x540E, 0x541C, 0x5421 + 1):  # TIOCSTI, TIOCSCTTY, TIOCLINUX
        assert ask("ioctl", 0, request) == KILL_PROCESS


def test_the_sentry_places_others_only() -> None:
    assert ask("sched_setaffinity", 5, 128) == ALLOW
    for pid in (0, 1, -1 & 0xFFFFFFFF, 0x80000000):
        assert ask("sched_setaffinity", pid, 128) == KILL_PROCESS


def test_signals_name_one_process() -> None:
    for pid in (5, 0, -1 & 0xFFFFFFFF, -5 & (1 << 64) - 1):
        assert ask("kill", pid, 9) == KILL_PROCESS
    assert ask("tgkill", 5, 6, 23) == ask("pidfd_send_signal", 5, 9) == ALLOW
    assert ask("tgkill", 5, 9, 11) == ask("pidfd_send_signal", 5, 11, 9) == KILL_PROCESS


def test_network_is_tcp_and_udp_where_asked_for() -> None:
    for family, kind in itertools.product((2, 10), (1, 2, 1 | 0o2000000, 2 | 0o4000)):
        assert ask("socket", family, kind, program=EVERYTHING) == ALLOW
    for family, kind in ((1, 1), (16, 3), (17, 3), (2, 3), (2, 5), (40, 1)):
        assert ask("socket", family, kind, program=EVERYTHING) == KILL_PROCESS
    assert ask("sendto", 5, 0, 1, 0, 0x1000, 16) == KILL_PROCESS
    assert ask("sendto", 5, 0, 1, 0, 0x1000, 16, program=EVERYTHING) == ALLOW


def test_other_architectures_end_the_sentry() -> None:
    for number in range(512):
        assert evaluate(EVERYTHING, number, arch=AUDIT_ARCH_I386) == KILL_PROCESS
        assert evaluate(EVERYTHING, number | X32_BIT) == KILL_PROCESS
