"""Numbers, process groups and sessions."""

import pytest

from support import fork, make_kernel, make_task
from wardian.sentry.errno import EAGAIN
from wardian.sentry.kernel.exit import exit_task, reap
from wardian.sentry.kernel.pids import PID_MAX, RESERVED_PIDS, PidTable


def test_numbers_go_up_and_wrap_round_past_the_reserved_ones():
    table = PidTable()
    assert [table.allocate() for _ in range(3)] == [1, 2, 3]
    table.last = PID_MAX - 1
    assert table.allocate() == RESERVED_PIDS


def test_number_of_a_process_group_is_not_given_to_a_task():
    kernel = make_kernel()
    init = make_task(kernel)
    leader = fork(init)
    kernel.pids.join(leader.group, kernel.pids.new_process_group(leader.tid, init.group.session))
    member = fork(leader)
    exit_task(leader, 0)
    reap(leader.group)
    assert kernel.pids.group(leader.tid) is None
    kernel.pids.last = leader.tid - 1
    assert kernel.pids.allocate() == member.tid + 1
    exit_task(member, 0)
    reap(member.group)
    assert kernel.pids.process_group(leader.tid) is None
    kernel.pids.last = leader.tid - 1
    assert kernel.pids.allocate() == leader.tid


def test_task_limit():
    kernel = make_kernel()
    kernel.pids.max_tasks = 2
    init = make_task(kernel)
    fork(init)
    with pytest.raises(EAGAIN):
        kernel.pids.allocate()


def test_session_goes_with_its_last_process_group():
    kernel = make_kernel()
    init = make_task(kernel)
    child = fork(init)
    session = kernel.pids.new_session(child.group)
    assert kernel.pids.session(child.tid) is session and session.leader is child.group
    assert child.group not in init.group.process_group.members
    exit_task(child, 0)
    assert kernel.pids.session(child.tid) is session
    reap(child.group)
    assert kernel.pids.session(child.tid) is None


def test_groups_come_in_order_of_their_numbers():
    kernel = make_kernel()
    init = make_task(kernel)
    children = [fork(init) for _ in range(3)]
    assert kernel.pids.groups() == [init.group] + [child.group for child in children]
