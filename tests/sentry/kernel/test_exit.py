"""Zombies, orphans, sessions and what a parent is told (exit(2), _exit in POSIX)."""

import pytest

from support import PARKED, call, dispatcher, fork, make_kernel, make_task, make_thread, run
from wardian.sentry.kernel.exit import exit_group, exit_task
from wardian.sentry.kernel.process_group import ControllingTerminal
from wardian.sentry.kernel.siginfo import CLD_EXITED, CLD_KILLED, user_siginfo
from wardian.sentry.kernel.signal_delivery import next_delivery
from wardian.sentry.kernel.signal_numbers import (
    SA_NOCLDWAIT,
    SIG_IGN,
    SIGCHLD,
    SIGCONT,
    SIGHUP,
    SIGKILL,
    SIGSTOP,
    SIGUSR1,
    bit,
)
from wardian.sentry.kernel.signal_sending import send_to_group
from wardian.sentry.kernel.signals import pending_mask, set_blocked
from wardian.sentry.kernel.task import CallState, Task
from wardian.sentry.syscalls.signal import pause
from wardian.sentry.vfs.file import O_RDWR, File

HANDLER = 0x40_1000


def family() -> tuple[Task, Task]:
    """init and a child of it; init has SIGCHLD blocked so that it can be looked at."""
    init = make_task(make_kernel())
    set_blocked(init, bit(SIGCHLD))
    return init, fork(init)


def stop(task: Task) -> None:
    send_to_group(task.group, user_siginfo(SIGSTOP, 0, 1, 0))
    next_delivery(task)
    assert task.group.stopped


def own_process_group(task: Task) -> None:
    pids = task.kernel.pids
    pids.join(task.group, pids.new_process_group(task.group.pid, task.group.session))


class ClosedFile(File):
    """Notes its release."""

    def __init__(self) -> None:
        super().__init__(None, O_RDWR)
        self.released = False

    def release(self) -> None:
        self.released = True


# -- becoming a zombie -----------------------------------------------------------------------------
def test_last_thread_makes_a_zombie_and_sends_sigchld():
    init, child = family()
    child.credentials = child.credentials.copy()
    child.credentials.uid = 1000
    exit_task(child, 3 << 8)
    group = child.group
    assert group.zombie and group.exit_code == 3 << 8
    assert init.kernel.pids.task(group.pid) is None
    assert init.kernel.pids.group(group.pid) is group
    info = init.group.pending.take(bit(SIGCHLD))
    assert (info.code, info.pid, info.uid, info.status) == (CLD_EXITED, group.pid, 1000, 3)


def test_killed_child_is_reported_with_its_signal():
    init, child = family()
    exit_group(child.group, SIGKILL)
    info = init.group.pending.take(bit(SIGCHLD))
    assert (info.code, info.status) == (CLD_KILLED, SIGKILL)


def test_first_group_exit_decides_the_status():
    _, child = family()
    second = make_thread(child)
    exit_group(child.group, 7 << 8)
    exit_group(child.group, 9 << 8)
    assert second.exited and child.group.exit_code == 7 << 8


def test_leader_that_exits_first_gives_the_status_and_stays_visible():
    init, child = family()
    second = make_thread(child)
    exit_task(child, 5 << 8)
    assert not child.group.zombie and child.group.any_task() is second
    assert init.kernel.pids.group(child.group.pid) is child.group
    exit_task(second, 6 << 8)
    assert child.group.zombie and child.group.exit_code == 5 << 8


def test_exit_releases_descriptors_once_nobody_shares_them():
    _, child = family()
    second = make_thread(child)
    file = ClosedFile()
    child.files.install(file, False)
    exit_task(child, 0)
    assert not file.released
    exit_task(second, 0)
    assert file.released and child.memory.users == 0


def test_exit_gives_up_the_call_in_progress():
    class State(CallState):
        abandoned = False

        def abandon(self) -> None:
            self.abandoned = True

    _, child = family()
    state = State()
    assert call(child, pause) == PARKED
    child.call.state = state
    exit_group(child.group, SIGKILL)
    assert state.abandoned and not child.parked and not child.registrations
    run(child.kernel)


def test_exit_of_a_thread_passes_its_group_signals_on():
    _, child = family()
    second = make_thread(child)
    child.group.actions.get(SIGUSR1).handler = HANDLER
    send_to_group(child.group, user_siginfo(SIGUSR1, 0, 1, 0))
    assert child.signals.attention and not second.signals.attention
    exit_task(child, 0)
    assert second.signals.attention


def test_hook_hears_of_each_task_once():
    _, child = family()
    second = make_thread(child)
    exit_group(child.group, 0)
    exit_task(second, 0)
    assert dispatcher(child.kernel).exited.count(second) == 1
    assert len(dispatcher(child.kernel).exited) == 2


# -- nobody waits ----------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["ignored", "nocldwait"])
def test_child_of_a_careless_parent_disappears(how):
    init, child = family()
    action = init.group.actions.get(SIGCHLD)
    if how == "ignored":
        action.handler = SIG_IGN
    else:
        action.flags = SA_NOCLDWAIT
    exit_task(child, 0)
    assert init.kernel.pids.group(child.group.pid) is None
    assert init.group.children == []
    assert bool(pending_mask(init) & bit(SIGCHLD)) == (how == "nocldwait")


def test_exit_signal_of_a_clone_is_sent_instead_of_sigchld():
    init, child = family()
    set_blocked(init, bit(SIGUSR1) | bit(SIGCHLD))
    child.group.exit_signal = SIGUSR1
    exit_task(child, 0)
    assert pending_mask(init) == bit(SIGUSR1)


# -- orphans ---------------------------------------------------------------------------------------
def test_orphans_go_to_init_and_zombies_are_announced_there():
    init, parent = family()
    living, dead = fork(parent), fork(parent)
    exit_task(dead, 1 << 8)
    init.group.pending.discard(bit(SIGCHLD))
    exit_task(parent, 0)
    assert living.group.parent is init.group and dead.group.parent is init.group
    assert set(init.group.children) == {parent.group, living.group, dead.group}
    assert pending_mask(init) & bit(SIGCHLD)
    assert parent.group.children == []


def test_orphans_go_to_the_nearest_subreaper():
    init, reaper = family()
    reaper.group.child_subreaper = True
    middle = fork(reaper)
    orphan = fork(middle)
    exit_task(middle, 0)
    assert orphan.group.parent is reaper.group
    exit_task(reaper, 0)
    assert orphan.group.parent is init.group


def test_parent_death_signal():
    _, parent = family()
    child = fork(parent)
    set_blocked(child, bit(SIGUSR1))
    child.death_signal = SIGUSR1
    exit_task(parent, 0)
    assert pending_mask(child) & bit(SIGUSR1)


def test_stopped_orphaned_process_group_is_hung_up():
    _, parent = family()
    child = fork(parent)
    own_process_group(child)
    child.group.actions.get(SIGHUP).handler = HANDLER
    stop(child)
    # pid 1 is in the same session: as its child the group would not be orphaned
    child.kernel.pids.new_session(parent.group)
    session = parent.group.session
    process_group = child.kernel.pids.new_process_group(child.tid + 1000, session)
    child.kernel.pids.join(child.group, process_group)
    exit_task(parent, 0)
    assert not child.group.stopped
    assert pending_mask(child) & bit(SIGHUP)


def test_running_orphaned_process_group_is_left_alone():
    _, parent = family()
    child = fork(parent)
    child.kernel.pids.new_session(parent.group)
    process_group = child.kernel.pids.new_process_group(5000, parent.group.session)
    child.kernel.pids.join(child.group, process_group)
    exit_task(parent, 0)
    assert pending_mask(child) == 0 and not child.exited


# -- sessions --------------------------------------------------------------------------------------
def test_session_leader_frees_the_terminal_and_hangs_up_the_foreground():
    _, shell = family()
    pids = shell.kernel.pids
    session = pids.new_session(shell.group)
    job = fork(shell)
    own_process_group(job)
    tty = ControllingTerminal()
    tty.session, session.tty = session, tty
    tty.foreground = job.group.process_group
    set_blocked(job, bit(SIGHUP) | bit(SIGCONT))
    exit_task(shell, 0)
    assert session.tty is None and session.leader is None
    assert tty.session is None and tty.foreground is None
    assert pending_mask(job) == bit(SIGHUP) | bit(SIGCONT)


# -- init ------------------------------------------------------------------------------------------
def test_end_of_init_ends_everybody():
    init, child = family()
    grandchild = fork(child)
    exit_task(init, 4 << 8)
    assert init.group.zombie and init.group.exit_code == 4 << 8
    assert child.exited and grandchild.exited


def test_signal_to_a_zombie_does_nothing():
    _, child = family()
    exit_task(child, 0)
    send_to_group(child.group, user_siginfo(SIGKILL, 0, 1, 0))
    assert child.group.exit_code == 0
