"""Waiting for children, process groups, sessions, pidfds."""

import struct

import pytest

from fake_platform import RESTART
from support import (
    PARKED,
    call,
    clock,
    fork,
    get,
    host,
    make_kernel,
    make_task,
    make_thread,
    memory,
    room,
    run,
)
from wardian.sentry.errno import (
    EACCES,
    EAGAIN,
    EBADF,
    ECHILD,
    EINVAL,
    EPERM,
    ESRCH,
)
from wardian.sentry.kernel.exit import exit_group, exit_task
from wardian.sentry.kernel.siginfo import (
    CLD_CONTINUED,
    CLD_EXITED,
    CLD_KILLED,
    CLD_STOPPED,
    user_siginfo,
)
from wardian.sentry.kernel.signal_delivery import next_delivery
from wardian.sentry.kernel.signal_numbers import (
    SA_RESTART,
    SIGALRM,
    SIGCHLD,
    SIGCONT,
    SIGKILL,
    SIGSTOP,
    SIGUSR1,
)
from wardian.sentry.kernel.signal_sending import send_to_group
from wardian.sentry.kernel.signals import set_blocked
from wardian.sentry.kernel.task import Task
from wardian.sentry.kernel.wait import (
    P_ALL,
    P_PGID,
    P_PID,
    P_PIDFD,
    WALL,
    WCLONE,
    WCONTINUED,
    WEXITED,
    WNOHANG,
    WNOWAIT,
    WSTOPPED,
    WUNTRACED,
)
from wardian.sentry.syscalls import process
from wardian.sentry.vfs.file import O_NONBLOCK, POLLIN


def family() -> tuple[Task, Task]:
    parent = make_task(make_kernel())
    return parent, fork(parent)


def stop(task: Task) -> None:
    send_to_group(task.group, user_siginfo(SIGSTOP, 0, 1, 0))
    next_delivery(task)


def wait_status(task: Task, address: int) -> int:
    return int.from_bytes(get(task, address, 4), "little")


# -- wait4 -----------------------------------------------------------------------------------------
def test_wait_without_children_is_echild():
    with pytest.raises(ECHILD):
        process.wait4(make_task(), -1, 0, 0, 0)


def test_wait_collects_a_zombie():
    parent, child = family()
    exit_task(child, 42 << 8)
    address = room(parent, 4)
    assert process.wait4(parent, -1, address, 0, 0) == child.tid
    assert wait_status(parent, address) == 42 << 8
    assert parent.kernel.pids.group(child.tid) is None
    with pytest.raises(ECHILD):
        process.wait4(parent, -1, 0, 0, 0)


def test_wait_parks_until_a_child_exits():
    parent, child = family()
    address = room(parent, 4)
    assert call(parent, process.wait4, -1, address, 0, 0) == PARKED
    exit_group(child.group, SIGKILL)
    run(parent.kernel)
    assert host(parent).results == [child.tid]
    assert wait_status(parent, address) == SIGKILL


def test_wait_nohang_says_zero():
    parent, _ = family()
    assert process.wait4(parent, -1, 0, WNOHANG, 0) == 0


def test_wait_collects_the_child_before_the_sigchld_handler_runs():
    parent, child = family()
    parent.group.actions.get(SIGCHLD).handler = 0x1000
    assert call(parent, process.wait4, child.tid, 0, 0, 0) == PARKED
    exit_task(child, 0)
    run(parent.kernel)
    frame, result, _ = host(parent).frames[0]
    assert frame.signo == SIGCHLD and result == child.tid


def test_wait_for_another_child_is_interrupted_by_sigchld():
    parent, child = family()
    other = fork(parent)
    parent.group.actions.get(SIGCHLD).handler = 0x1000
    assert call(parent, process.wait4, other.tid, 0, 0, 0) == PARKED
    exit_task(child, 0)
    run(parent.kernel)
    assert host(parent).frames[0][1] == -4
    parent.group.actions.get(SIGCHLD).flags = SA_RESTART
    set_blocked(parent, 0)
    assert call(parent, process.wait4, other.tid, 0, 0, 0) == PARKED
    send_to_group(parent.group, user_siginfo(SIGCHLD, 0, 1, 0))
    assert host(parent).frames[1][1] == RESTART


@pytest.mark.parametrize(
    "pid,found",
    [("child", True), ("other", False), ("group", True), (0, True), (-1, True), (-4000, False)],
)
def test_wait_selects(pid, found):
    parent, child = family()
    names = {"child": child.tid, "other": 4000, "group": -child.group.process_group.pgid}
    exit_task(child, 0)
    number = names.get(pid, pid)
    if found:
        assert process.wait4(parent, number, 0, 0, 0) == child.tid
    else:
        with pytest.raises(ECHILD):
            process.wait4(parent, number, 0, 0, 0)


def test_wait_reports_stop_and_continue_once():
    parent, child = family()
    address = room(parent, 4)
    stop(child)
    assert process.wait4(parent, -1, address, WNOHANG, 0) == 0
    assert process.wait4(parent, -1, address, WUNTRACED, 0) == child.tid
    assert wait_status(parent, address) == SIGSTOP << 8 | 0x7F
    assert process.wait4(parent, -1, address, WUNTRACED | WNOHANG, 0) == 0
    send_to_group(child.group, user_siginfo(SIGCONT, 0, 1, 0))
    assert process.wait4(parent, -1, address, WCONTINUED, 0) == child.tid
    assert wait_status(parent, address) == 0xFFFF
    assert process.wait4(parent, -1, address, WCONTINUED | WNOHANG, 0) == 0


def test_wait_reports_usage():
    parent, child = family()
    host(child).cpu_ns = 1_500_000_000
    memory(child).system_ns = 300_000_000
    exit_task(child, 0)
    usage = room(parent, 144)
    process.wait4(parent, -1, 0, 0, usage)
    assert struct.unpack("<qqqq", get(parent, usage, 32)) == (1, 200_000, 0, 300_000)
    assert process.getrusage(parent, -1, usage) == 0
    assert struct.unpack("<qqqq", get(parent, usage, 32)) == (1, 200_000, 0, 300_000)
    process.times(parent, usage)
    assert struct.unpack("<qqqq", get(parent, usage, 32)) == (0, 0, 120, 30)


def test_clone_children_are_waited_for_apart():
    parent, child = family()
    child.group.exit_signal = 0
    exit_task(child, 0)
    with pytest.raises(ECHILD):
        process.wait4(parent, -1, 0, WNOHANG, 0)
    assert process.wait4(parent, -1, 0, WCLONE, 0) == child.tid


def test_wall_waits_for_every_kind():
    parent, child = family()
    child.group.exit_signal = SIGUSR1
    exit_task(child, 0)
    assert process.wait4(parent, -1, 0, WALL, 0) == child.tid


@pytest.mark.parametrize("options", [0x10, WEXITED, WNOWAIT])
def test_wait4_refuses_unknown_options(options):
    parent, _ = family()
    with pytest.raises(EINVAL):
        process.wait4(parent, -1, 0, options, 0)


def test_any_thread_may_wait():
    parent, child = family()
    second = make_thread(parent)
    exit_task(child, 0)
    assert process.wait4(second, -1, 0, 0, 0) == child.tid


# -- waitid ----------------------------------------------------------------------------------------
def siginfo(task: Task, address: int) -> tuple[int, ...]:
    return struct.unpack("<iii4xiIi", get(task, address, 28))


def test_waitid_fills_siginfo_and_can_leave_the_zombie():
    parent, child = family()
    exit_task(child, 9 << 8)
    info = room(parent, 128)
    assert process.waitid(parent, P_PID, child.tid, info, WEXITED | WNOWAIT, 0) == 0
    assert siginfo(parent, info) == (SIGCHLD, 0, CLD_EXITED, child.tid, 0, 9)
    assert parent.kernel.pids.group(child.tid) is child.group
    assert process.waitid(parent, P_ALL, 0, info, WEXITED, 0) == 0
    assert parent.kernel.pids.group(child.tid) is None


def test_waitid_of_a_killed_child():
    parent, child = family()
    exit_group(child.group, SIGALRM)
    info = room(parent, 128)
    process.waitid(parent, P_PGID, 0, info, WEXITED, 0)
    assert siginfo(parent, info)[2:] == (CLD_KILLED, child.tid, 0, SIGALRM)


def test_waitid_nohang_clears_siginfo():
    parent, _ = family()
    info = room(parent, 128)
    parent.memory.process.write(info, b"\xff" * 128)
    assert process.waitid(parent, P_ALL, 0, info, WEXITED | WNOHANG, 0) == 0
    assert siginfo(parent, info) == (0, 0, 0, 0, 0, 0)


def test_waitid_stopped_and_continued():
    parent, child = family()
    stop(child)
    info = room(parent, 128)
    for _ in range(2):
        process.waitid(parent, P_ALL, 0, info, WSTOPPED | WNOWAIT, 0)
        assert siginfo(parent, info)[2:] == (CLD_STOPPED, child.tid, 0, SIGSTOP)
    process.waitid(parent, P_ALL, 0, info, WSTOPPED, 0)
    send_to_group(child.group, user_siginfo(SIGCONT, 0, 1, 0))
    process.waitid(parent, P_ALL, 0, info, WCONTINUED, 0)
    assert siginfo(parent, info)[2:] == (CLD_CONTINUED, child.tid, 0, SIGCONT)


def test_waitid_does_not_see_zombies_unless_asked():
    parent, child = family()
    exit_task(child, 0)
    assert process.waitid(parent, P_ALL, 0, 0, WSTOPPED | WNOHANG, 0) == 0
    assert parent.kernel.pids.group(child.tid) is child.group


@pytest.mark.parametrize(
    "which,number,options",
    [
        (P_ALL, 0, 0),
        (P_ALL, 0, WNOHANG),
        (9, 0, WEXITED),
        (P_PID, 0, WEXITED),
        (P_PGID, -1, WEXITED),
        (P_ALL, 0, WEXITED | 0x40),
        (P_PIDFD, -1, WEXITED),
    ],
)
def test_waitid_refuses_nonsense(which, number, options):
    parent, _ = family()
    with pytest.raises(EINVAL):
        process.waitid(parent, which, number, 0, options, 0)


def test_waitid_by_pidfd():
    parent, child = family()
    fd = process.pidfd_open(parent, child.tid, O_NONBLOCK)
    with pytest.raises(EAGAIN):
        process.waitid(parent, P_PIDFD, fd, 0, WEXITED, 0)
    assert parent.files.get(fd).poll() == 0
    exit_task(child, 0)
    assert parent.files.get(fd).poll() & POLLIN
    info = room(parent, 128)
    assert process.waitid(parent, P_PIDFD, fd, info, WEXITED, 0) == 0
    assert siginfo(parent, info)[3] == child.tid
    with pytest.raises(ECHILD):
        process.waitid(parent, P_PIDFD, fd, 0, WEXITED, 0)


def test_waitid_by_something_that_is_no_pidfd():
    parent, _ = family()
    with pytest.raises(EBADF):
        process.waitid(parent, P_PIDFD, 77, 0, WEXITED, 0)


# -- pidfds ----------------------------------------------------------------------------------------
def test_pidfd_open_refuses_threads_and_strangers():
    parent, _ = family()
    second = make_thread(parent)
    with pytest.raises(EINVAL):
        process.pidfd_open(parent, second.tid, 0)
    with pytest.raises(ESRCH):
        process.pidfd_open(parent, 12345, 0)
    with pytest.raises(EINVAL):
        process.pidfd_open(parent, parent.tid, 1)


def test_pidfd_is_close_on_exec():
    parent, child = family()
    fd = process.pidfd_open(parent, child.tid, 0)
    assert fd in parent.files.cloexec


def test_pidfd_getfd_takes_a_descriptor():
    parent, child = family()
    fd = process.pidfd_open(parent, child.tid, 0)
    theirs = process.pidfd_open(child, child.tid, 0)
    mine = process.pidfd_getfd(parent, fd, theirs, 0)
    assert parent.files.get(mine) is child.files.get(theirs)
    parent.credentials = parent.credentials.copy()
    parent.credentials.uid = 5
    parent.credentials.cap_effective = 0
    with pytest.raises(EPERM):
        process.pidfd_getfd(parent, fd, theirs, 0)


# -- ids, groups, sessions -------------------------------------------------------------------------
def test_ids():
    parent, child = family()
    second = make_thread(child)
    assert process.getpid(second) == child.tid and process.gettid(second) == second.tid
    assert process.getppid(second) == parent.tid and process.getppid(parent) == 0
    assert process.getpgid(child, 0) == process.getpgrp(child) == parent.tid
    assert process.getsid(child, parent.tid) == parent.tid
    with pytest.raises(ESRCH):
        process.getsid(child, 999)


def test_shell_puts_a_child_in_its_own_group():
    parent, child = family()
    assert process.setpgid(parent, child.tid, child.tid) == 0
    assert process.setpgid(child, 0, 0) == 0  # the child does the same, as shells do
    assert process.getpgid(parent, child.tid) == child.tid
    third = fork(parent)
    assert process.setpgid(parent, third.tid, child.tid) == 0
    assert third.group.process_group is child.group.process_group


def test_setpgid_after_exec_is_eacces():
    parent, child = family()
    child.group.has_execed = True
    with pytest.raises(EACCES):
        process.setpgid(parent, child.tid, 0)
    assert process.setpgid(child, 0, 0) == 0


def test_setpgid_rules():
    parent, child = family()
    grandchild = fork(child)
    with pytest.raises(ESRCH):
        process.setpgid(parent, grandchild.tid, 0)  # not a child
    with pytest.raises(ESRCH):
        process.setpgid(parent, 999, 0)
    with pytest.raises(EINVAL):
        process.setpgid(parent, child.tid, -1)
    with pytest.raises(EPERM):
        process.setpgid(parent, child.tid, 999)  # no such group
    with pytest.raises(EPERM):
        process.setpgid(parent, 0, 0)  # a session leader
    process.setsid(child)
    with pytest.raises(EPERM):
        process.setpgid(parent, child.tid, 0)  # another session


def test_setsid():
    parent, child = family()
    assert process.setsid(child) == child.tid
    assert process.getsid(child, 0) == process.getpgrp(child) == child.tid
    with pytest.raises(EPERM):
        process.setsid(child)
    other = fork(parent)
    process.setpgid(other, 0, 0)
    with pytest.raises(EPERM):
        process.setsid(other)  # leads a process group


# -- accounting ------------------------------------------------------------------------------------
def test_times_and_getrusage():
    parent, child = family()
    host(parent).cpu_ns = 250_000_000
    host(child).cpu_ns = 1_000_000_000
    exit_task(child, 0)
    process.wait4(parent, -1, 0, 0, 0)
    tms = room(parent, 32)
    assert process.times(parent, tms) == clock(parent.kernel).monotonic // 10_000_000
    assert struct.unpack("<4q", get(parent, tms, 32)) == (25, 0, 100, 0)
    usage = room(parent, 144)
    process.getrusage(parent, 0, usage)
    assert struct.unpack("<qq", get(parent, usage, 16)) == (0, 250_000)
    process.getrusage(parent, -1, usage)
    assert struct.unpack("<qq", get(parent, usage, 16)) == (1, 0)
    with pytest.raises(EINVAL):
        process.getrusage(parent, 2, usage)
