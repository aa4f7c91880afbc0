"""The assembler and the evaluator; and that the host kernel takes what they make."""

from __future__ import annotations

import itertools
import os
import signal

import pytest

from wardian.host import capabilities, guest_policy, seccomp_bpf, sentry_policy, syscalls
from wardian.host.seccomp_bpf import ALLOW, ERRNO, KILL_PROCESS, TRAP, USER_NOTIF, strictest


def test_jumps_longer_than_eight_bits_arrive() -> None:
    filler: seccomp_bpf.Code = [seccomp_bpf.Instruction(seccomp_bpf.LD_IMM, 7) for _ in range(300)]
    for wanted, answer in ((1, ALLOW), (2, TRAP)):
        program = seccomp_bpf.assemble(
            [
                seccomp_bpf.Instruction(seccomp_bpf.LD_IMM, wanted),
                seccomp_bpf.Instruction(seccomp_bpf.JMP_JEQ, 1, no="far"),
                seccomp_bpf.Instruction(seccomp_bpf.RET_K, ALLOW),
                *filler,
                seccomp_bpf.Label("far"),
                seccomp_bpf.Instruction(seccomp_bpf.RET_K, TRAP),
            ]
        )
        assert seccomp_bpf.evaluate(seccomp_bpf.decode(program), 0) == answer


def test_strictest_follows_the_order_of_the_man_page() -> None:
    order = [
        KILL_PROCESS,
        seccomp_bpf.KILL_THREAD,
        TRAP,
        ERRNO | 5,
        USER_NOTIF,
        seccomp_bpf.LOG,
        ALLOW,
    ]
    for stricter, weaker in itertools.pairwise(order):
        assert strictest([weaker, stricter]) == stricter
        assert strictest([stricter, weaker]) == stricter


def test_calls_treated_alike_share_code() -> None:
    def rules(count: int) -> list[seccomp_bpf.Rule]:
        when = seccomp_bpf.MadeFrom("here", 0x1000, 0x2000)
        return [seccomp_bpf.Rule("x", n, ALLOW, [when], "", "because") for n in range(count)]

    one = len(seccomp_bpf.compile_rules(rules(1), TRAP, TRAP))
    two = len(seccomp_bpf.compile_rules(rules(2), TRAP, TRAP))
    assert two - one <= 3 * 8


def test_the_same_condition_on_another_argument_is_another_condition() -> None:
    rules = [
        seccomp_bpf.Rule("x", n, ALLOW, [seccomp_bpf.IntIn("signal", index, [9])], "", "because")
        for n, index in ((1, 0), (2, 1))
    ]
    program = seccomp_bpf.decode(seccomp_bpf.compile_rules(rules, TRAP, TRAP))
    for number, args in ((1, (9, 0)), (2, (0, 9))):
        assert seccomp_bpf.evaluate(program, number, (*args, 0, 0, 0, 0)) == ALLOW
        assert seccomp_bpf.evaluate(program, number, (*args[::-1], 0, 0, 0, 0)) == TRAP


def end_of_child(programs: list[bytes]) -> int:
    """Wait status of a child that installs filters and then asks for its pid. 3: not accepted."""
    child = os.fork()
    if child == 0:
        try:
            syscalls.syscall(39)  # finds its function before the filter is there
            capabilities.no_new_privs()
            memory = [bytearray(program) for program in programs]
            for program in memory:
                syscalls.install_filter(bytes(program))
            os.getppid()
            os._exit(0)
        except BaseException:
            os._exit(3)
    return os.waitpid(child, 0)[1]


@pytest.mark.parametrize("validated", [False, True])
def test_the_host_takes_the_guest_filters_and_traps(validated: bool) -> None:
    status = end_of_child([guest_policy.first_filter(validated)])
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS
    assert end_of_child([guest_policy.second_filter()]) == 0


def test_the_host_takes_the_sentry_filter() -> None:
    program = sentry_policy.sentry_filter(sentry_policy.rows(True, True))
    status = end_of_child([program])
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS  # getppid is not listed
