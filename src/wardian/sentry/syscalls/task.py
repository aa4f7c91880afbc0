"""System calls that make, change and end tasks: clone, exec, exit, and the signal return."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import E2BIG, EFAULT, EINVAL, ENOENT, ESRCH
from wardian.sentry.kernel import clone as cloning
from wardian.sentry.kernel.exec import replace_program
from wardian.sentry.kernel.exit import exit_group as end_group
from wardian.sentry.kernel.exit import exit_task
from wardian.sentry.kernel.robust import robust_list
from wardian.sentry.kernel.signal_delivery import frame_fault
from wardian.sentry.kernel.signal_numbers import SIGCHLD
from wardian.sentry.kernel.signals import set_blocked
from wardian.sentry.kernel.task import NO_REPLY
from wardian.sentry.mm.program_file import AT_FDCWD, open_exec, open_exec_again, read_at
from wardian.sentry.mm.usercopy import USER_END
from wardian.sentry.syscalls.kinds import FD, Addr, Flags, Int, Pid, Size, ULong, UserPath

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

CLONE_ARGS: Final = struct.Struct("<11Q")
CLONE_ARGS_MIN: Final = 64
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_EMPTY_PATH: Final = 0x1000
MAX_ARGUMENTS: Final = 0x20000
MAX_ARGUMENTS_LENGTH: Final = 6 << 20
STRINGS_AT_ONCE: Final = 64
MAX_ARGUMENT_LENGTH: Final = 131072  # MAX_ARG_STRLEN
ROBUST_LIST_SIZE: Final = 24
UCONTEXT_SIZE: Final = 304
EXEC_STRINGS: Final = struct.Struct("<q2I")
LAST_WORDS: Final = struct.Struct("<2Q")
PEAK_LIMIT: Final = 1 << 47  # of memory that a process can have


def clone(t: Task, flags: ULong, stack: Addr, parent_tid: Addr, child_tid: Addr, tls: Addr) -> int:
    """clone(2), the raw x86-64 call."""
    exit_signal = flags & cloning.CSIGNAL
    pidfd = parent_tid if flags & cloning.CLONE_PIDFD else 0
    wanted = flags & 0xFFFFFF00
    return cloning.start(
        t, cloning.CloneArguments(wanted, stack, parent_tid, child_tid, tls, exit_signal, pidfd)
    )


def clone3(t: Task, args: Addr, size: Size) -> int:
    """clone3(2); set_tid and cgroup are not supported."""
    if size < CLONE_ARGS_MIN:
        raise EINVAL("clone_args too small")
    if size > 4096:
        raise E2BIG("clone_args too large")
    raw = t.copy_in(args, size)
    if any(raw[CLONE_ARGS.size :]):
        raise E2BIG("unknown clone_args fields")
    fields = CLONE_ARGS.unpack(raw[: CLONE_ARGS.size].ljust(CLONE_ARGS.size, b"\0"))
    (
        flags,
        pidfd,
        child_tid,
        parent_tid,
        exit_signal,
        stack,
        stack_size,
        tls,
        set_tid,
        set_tid_size,
        _,
    ) = fields
    if flags & cloning.CLONE_INTO_CGROUP or set_tid or set_tid_size:
        raise EINVAL("set_tid and cgroup are not supported")
    if flags & cloning.CSIGNAL or flags >> 34 or exit_signal & ~cloning.CSIGNAL:
        raise EINVAL("the exit signal has a field of its own")
    if bool(stack) != bool(stack_size):
        raise EINVAL("stack and stack_size go together")
    if stack + stack_size > USER_END:
        raise EINVAL("the stack does not fit into the address space")
    if exit_signal and flags & (cloning.CLONE_THREAD | cloning.CLONE_PARENT):
        raise EINVAL("threads have no exit signal")
    return cloning.start(
        t,
        cloning.CloneArguments(
            flags, stack + stack_size, parent_tid, child_tid, tls, exit_signal, pidfd
        ),
    )


def fork(t: Task) -> int:
    """fork(2)."""
    return cloning.start(t, cloning.CloneArguments(0, 0, 0, 0, 0, SIGCHLD, 0))


def vfork(t: Task) -> int:
    """vfork(2)."""
    flags = cloning.CLONE_VM | cloning.CLONE_VFORK
    return cloning.start(t, cloning.CloneArguments(flags, 0, 0, 0, 0, SIGCHLD, 0))


# -- exec ------------------------------------------------------------------------------------------
def copy_strings(t: Task, address: int) -> list[bytes]:
    """A NULL-terminated array of string pointers; E2BIG, EFAULT."""
    strings: list[bytes] = []
    if address == 0:
        return strings
    total = 0
    while True:
        step = min(4096 - address % 4096, STRINGS_AT_ONCE * 8) // 8 * 8 or 8
        pointers: list[int] = []
        for (pointer,) in struct.iter_unpack("<Q", t.copy_in(address, step)):
            if pointer == 0:
                break
            pointers.append(pointer)
        strings += copy_arguments(t, pointers)
        total += sum([len(text) + 9 for text in strings[-len(pointers) :]]) if pointers else 0
        if len(pointers) * 8 < step:
            return strings
        if len(strings) > MAX_ARGUMENTS or total > MAX_ARGUMENTS_LENGTH:
            raise E2BIG("argument list too long")
        address += step


def copy_arguments(t: Task, pointers: list[int]) -> list[bytes]:
    """The strings at ``pointers``: the short ones all at once."""
    found = t.memory.process.strings(pointers)
    strings: list[bytes] = []
    for i in range(len(pointers)):
        text = found[i]
        strings.append(text if text is not None else copy_argument(t, pointers[i]))
    return strings


def sent_strings(t: Task, path: bytes) -> tuple[list[bytes], list[bytes]] | None:
    """argv and envp as the stub sent them along, behind the path; None when there is nothing that
    makes sense. What it says is the caller's memory, like all of them."""
    assert t.call is not None
    data = t.call.data
    at = 8 + (len(path) + 7 & ~7)
    if len(data) < at + EXEC_STRINGS.size:
        return None
    size, argc, envc = EXEC_STRINGS.unpack_from(data, at)
    at += EXEC_STRINGS.size
    if not 0 <= size <= len(data) - at:
        return None
    strings = data[at : at + size].split(b"\0")
    if len(strings) != argc + envc + 1 or strings.pop():
        return None
    return strings[:argc], strings[argc:]


def copy_argument(t: Task, pointer: int) -> bytes:
    """One argument; longer than MAX_ARG_STRLEN is E2BIG (execve(2))."""
    from wardian.sentry.errno import ENAMETOOLONG

    try:
        return t.copy_in_string(pointer, MAX_ARGUMENT_LENGTH)
    except ENAMETOOLONG:
        raise E2BIG("argument longer than 128 KiB") from None


def execve(t: Task, path: UserPath, argv: Addr, envp: Addr) -> int:
    """execve(2)."""
    file = open_exec(t, AT_FDCWD, path)  # first: a search along PATH mostly finds nothing
    file.hold()
    try:
        strings = sent_strings(t, path) or (copy_strings(t, argv), copy_strings(t, envp))
        return replace_program(t, file, strings[0], strings[1], path)
    finally:
        file.drop()


def execveat(t: Task, dirfd: FD, path: UserPath, argv: Addr, envp: Addr, flags: Int) -> int:
    """execveat(2)."""
    if flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW):
        raise EINVAL("flags must be AT_EMPTY_PATH or AT_SYMLINK_NOFOLLOW")
    name: bytes = path
    if path:
        file = open_exec(t, dirfd, path, not flags & AT_SYMLINK_NOFOLLOW)
        if dirfd != AT_FDCWD and not path.startswith(b"/"):
            name = b"/dev/fd/%d/%s" % (dirfd, path)
    elif flags & AT_EMPTY_PATH:
        file = open_exec_again(t, t.files.get(dirfd))
        name = b"/dev/fd/%d" % dirfd
    else:
        raise ENOENT("empty path")
    file.hold()
    try:
        if name is not path and dirfd in t.files.cloexec and read_at(file, 0, 2) == b"#!":
            raise ENOENT("its interpreter could not open the script (execveat(2), BUGS)")
        arguments, environment = copy_strings(t, argv), copy_strings(t, envp)
        return replace_program(t, file, arguments, environment, name)
    finally:
        file.drop()


# -- exit ------------------------------------------------------------------------------------------
def exit(t: Task, code: Int) -> int:
    """exit(2): this thread alone."""
    hear_last_words(t)
    exit_task(t, (code & 0xFF) << 8)
    return NO_REPLY


def exit_group(t: Task, code: Int) -> int:
    """exit_group(2)."""
    hear_last_words(t)
    end_group(t.group, (code & 0xFF) << 8)
    return NO_REPLY


def hear_last_words(t: Task) -> None:
    """What the engine tells with an exit: believed as far as it concerns the task alone."""
    assert t.call is not None
    data = t.call.data
    if len(data) < LAST_WORDS.size:
        return
    peak_kib, holds_no_lock = LAST_WORDS.unpack_from(data)
    t.holds_no_lock = bool(holds_no_lock)
    t.group.told_peak = min(peak_kib << 10, PEAK_LIMIT)


# -- threads' own business -------------------------------------------------------------------------
def set_tid_address(t: Task, address: Addr) -> int:
    """set_tid_address(2)."""
    t.clear_child_tid = address
    return t.tid


def set_robust_list(t: Task, head: Addr, length: Size) -> int:
    """set_robust_list(2)."""
    if length != ROBUST_LIST_SIZE:
        raise EINVAL("length must be 24")
    t.robust_list = head
    if t.host is not None:
        t.host.forget_robust_list()
    return 0


def get_robust_list(t: Task, pid: Pid, head: Addr, length: Addr) -> int:
    """get_robust_list(2)."""
    other = t if pid == 0 else t.kernel.pids.task(pid)
    if other is None:
        raise ESRCH("no such task")
    t.copy_out(head, struct.pack("<Q", robust_list(other)))
    t.copy_out(length, struct.pack("<Q", ROBUST_LIST_SIZE))
    return 0


def rseq(t: Task, address: Addr, length: Size, flags: Flags, signature: Flags) -> int:
    """rseq(2): not offered; libraries go on without (the host kernel would
    have to know the guest's address)."""
    from wardian.sentry.errno import ENOSYS

    raise ENOSYS("restartable sequences are not offered")


def rt_sigreturn(t: Task) -> int:
    """rt_sigreturn(2): the stub sends the frame's ucontext along; mask
    and alternate stack come from it."""
    host = t.host
    call = t.call
    assert host is not None and call is not None
    data = call.data
    if (
        len(data) < 8 + UCONTEXT_SIZE
        or int.from_bytes(data[:8], "little", signed=True) != UCONTEXT_SIZE
    ):
        frame_fault(t)
        return NO_REPLY
    context = data[8:]
    sp, flags, _, size = struct.unpack_from("<QIIQ", context, 16)
    t.signals.stack_sp, t.signals.stack_size, t.signals.stack_flags = sp, size, flags & ~1
    set_blocked(t, int.from_bytes(context[296:304], "little"))
    t.call = None
    t.host_state = 0
    if t.signals.attention:
        host.sigreturn_and_report()
    else:
        host.sigreturn()
    return NO_REPLY


__all__ = ["EFAULT", "clone", "clone3", "execve", "execveat", "exit", "exit_group", "fork", "vfork"]
