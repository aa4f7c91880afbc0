"""What a guest process may ask of the host (design D3), as data.

:func:`rows` is the policy; from it come the BPF program that the zygote installs
(:func:`first_filter`), its stricter twin for ``--memory-mode=validated``, and the table in
docs/confinement.md. The second filter, which the loader installs just before the first guest
instruction, takes the loader's own calls away for good.

Whatever is allowed here can be asked for by a hostile guest with any value in every register that
its row leaves open, also by jumping to a ``syscall`` instruction of the stub: each reason says why
that is harmless. Pointers are never followed by a filter, so no rule may depend on what one points
to. Arguments that the host takes as ``int`` are compared in their lower half, as the host does.
"""

from __future__ import annotations

from wardian.host import seccomp_bpf as bpf
from wardian.platform import layout

# Groups of rows, named as in the design.
OWN_MEMORY = "own memory"
OWN_TIME = "own time slice"
OWN_END = "own thread"
DECIDED = "decided by the Sentry"
GRANTED = "granted by the Sentry"
LOADER = "loader, before the first guest instruction"

PROT_RWX = 0x7
MAP_SHARED = 0x01
MAP_PRIVATE = 0x02
MAP_FIXED = 0x10
MAP_ANONYMOUS = 0x20
_MAP_OPTIONAL = (
    MAP_FIXED
    | 0x40  # MAP_32BIT
    | 0x800  # MAP_DENYWRITE, ignored by the host
    | 0x1000  # MAP_EXECUTABLE, ignored
    | 0x4000  # MAP_NORESERVE
    | 0x8000  # MAP_POPULATE
    | 0x10000  # MAP_NONBLOCK
    | 0x20000  # MAP_STACK, ignored
    | 0x100000  # MAP_FIXED_NOREPLACE
)
_ADVICE = (
    0,  # MADV_NORMAL
    1,  # MADV_RANDOM
    2,  # MADV_SEQUENTIAL
    3,  # MADV_WILLNEED
    4,  # MADV_DONTNEED
    8,  # MADV_FREE
    10,  # MADV_DONTFORK
    11,  # MADV_DOFORK
    14,  # MADV_HUGEPAGE
    15,  # MADV_NOHUGEPAGE
    16,  # MADV_DONTDUMP
    17,  # MADV_DODUMP
    18,  # MADV_WIPEONFORK
    19,  # MADV_KEEPONFORK
    22,  # MADV_POPULATE_READ
    23,  # MADV_POPULATE_WRITE
)
_FUTEX_FLAGS = 128 | 256  # FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME
_FUTEX_OPS = (0, 1, 9)  # FUTEX_WAIT, FUTEX_WAKE, FUTEX_WAIT_BITSET
_MREMAP_MAYMOVE = 1
_MREMAP_FIXED = 2
_MREMAP_DONTUNMAP = 4
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9
_SIGCHLD = 17
_SYNC_CORE = 1 << 5
_REGISTER_SYNC_CORE = 1 << 6

FENCE = layout.TRUSTED_BASE - layout.GUEST_TOP

_IN_STUB = bpf.MadeFrom("stub text", layout.STUB_TEXT, layout.STUB_TEXT_END)
_IN_LOADER = bpf.MadeFrom("loader text", layout.LOADER_TEXT, layout.LOADER_TEXT_END)
_ADDRESS = bpf.Below("addr", 0, layout.GUEST_TOP)
_LENGTH = bpf.Below("length", 1, FENCE)
_PROT = bpf.Bits("prot", 2, PROT_RWX)

# (name, amd64 number)
_Call = tuple[str, int]
READ: _Call = ("read", 0)
WRITE: _Call = ("write", 1)
CLOSE: _Call = ("close", 3)
MMAP: _Call = ("mmap", 9)
MPROTECT: _Call = ("mprotect", 10)
MUNMAP: _Call = ("munmap", 11)
RT_SIGACTION: _Call = ("rt_sigaction", 13)
RT_SIGPROCMASK: _Call = ("rt_sigprocmask", 14)
RT_SIGRETURN: _Call = ("rt_sigreturn", 15)
PREAD64: _Call = ("pread64", 17)
SCHED_YIELD: _Call = ("sched_yield", 24)
MREMAP: _Call = ("mremap", 25)
MADVISE: _Call = ("madvise", 28)
DUP2: _Call = ("dup2", 33)
SENDMSG: _Call = ("sendmsg", 46)
RECVMSG: _Call = ("recvmsg", 47)
CLONE: _Call = ("clone", 56)
EXIT: _Call = ("exit", 60)
KILL: _Call = ("kill", 62)
SIGALTSTACK: _Call = ("sigaltstack", 131)
GETRUSAGE: _Call = ("getrusage", 98)
PRCTL: _Call = ("prctl", 157)
ARCH_PRCTL: _Call = ("arch_prctl", 158)
FUTEX: _Call = ("futex", 202)
EXIT_GROUP: _Call = ("exit_group", 231)
SECCOMP: _Call = ("seccomp", 317)
MEMBARRIER: _Call = ("membarrier", 324)
CLOSE_RANGE: _Call = ("close_range", 436)


def _rule(call: _Call, action: int, group: str, reason: str, *when: bpf.Condition) -> bpf.Rule:
    return bpf.Rule(call[0], call[1], action, when, group, reason)


def _memory_rows(validated: bool) -> list[bpf.Rule]:
    """The calls on the guest's own memory: run as they are, or told to the Sentry first."""
    action = bpf.USER_NOTIF if validated else bpf.ALLOW
    origin = (_IN_STUB,) if validated else ()

    def own(call: _Call, reason: str, *when: bpf.Condition) -> bpf.Rule:
        return _rule(call, action, OWN_MEMORY, reason, *origin, *when)

    old_size = bpf.Below("old_size", 1, FENCE)
    new_size = bpf.Below("new_size", 2, FENCE)
    return [
        own(
            MMAP,
            "private anonymous memory; it starts below GUEST_TOP and is shorter than the fence, "
            "so it cannot reach the stub. fd and offset mean nothing to the host without a file",
            _ADDRESS,
            _LENGTH,
            bpf.Bits("flags", 3, _MAP_OPTIONAL, MAP_PRIVATE | MAP_ANONYMOUS),
            _PROT,
        ),
        own(MUNMAP, "gives up memory of its own; cannot reach the stub", _ADDRESS, _LENGTH),
        own(
            MPROTECT,
            "protection of its own memory, execution included: the guest may run any instruction "
            "anyway. A descriptor granted for reading only stays so, the host checks the open "
            "mode",
            _ADDRESS,
            _LENGTH,
            _PROT,
        ),
        own(
            MADVISE,
            "advice on its own memory. Left out are those that reach beyond it: REMOVE (punches "
            "holes in files), MERGEABLE (shares pages with strangers), PAGEOUT and COLD (swap), "
            "HWPOISON",
            _ADDRESS,
            _LENGTH,
            bpf.IntIn("advice", 2, _ADVICE),
        ),
        own(
            MREMAP,
            "grows, shrinks or moves its own memory; the host picks the place",
            _ADDRESS,
            old_size,
            new_size,
            bpf.Bits("flags", 3, _MREMAP_MAYMOVE),
        ),
        own(
            MREMAP,
            "moves its own memory to a place that passes the same check; MREMAP_DONTUNMAP keeps "
            "the emptied range",
            _ADDRESS,
            old_size,
            new_size,
            bpf.Bits("flags", 3, _MREMAP_FIXED | _MREMAP_DONTUNMAP, _MREMAP_MAYMOVE),
            bpf.Below("new_addr", 4, layout.GUEST_TOP),
        ),
    ]


def _time_rows() -> list[bpf.Rule]:
    return [
        _rule(
            FUTEX,
            bpf.ALLOW,
            OWN_TIME,
            "sleeps on, or wakes sleepers of, a word it has mapped itself: its own memory, its "
            "sandbox's shared memory, its channel. No operation that moves waiters, owns locks or"
            " runs arithmetic",
            bpf.IntIn("op", 1, _FUTEX_OPS, _FUTEX_FLAGS),
        ),
        _rule(
            MEMBARRIER,
            bpf.ALLOW,
            OWN_TIME,
            "before and after a call site is rewritten: has the cores that run threads of the same "
            "process read their instructions again (PRIVATE_EXPEDITED_SYNC_CORE)",
            _IN_STUB,
            bpf.IntIn("command", 0, [_SYNC_CORE, _REGISTER_SYNC_CORE]),
            bpf.Equal("flags", 1, 0),
        ),
        _rule(SCHED_YIELD, bpf.ALLOW, OWN_TIME, "gives up its own time slice; takes no arguments"),
        _rule(
            WRITE,
            bpf.ALLOW,
            OWN_TIME,
            "rings the doorbell, an eventfd of this sandbox; a false ring makes the Sentry look "
            "once, and a counter filled up makes only writers of this sandbox wait until it has "
            "looked; from anywhere else it is the guest's own write to a descriptor that "
            "happens to have the same number",
            _IN_STUB,
            bpf.IntIn("fd", 0, [layout.DOORBELL_FD]),
            bpf.Equal("count", 2, 8),
        ),
    ]


def _end_rows() -> list[bpf.Rule]:
    return [
        _rule(
            RT_SIGRETURN,
            bpf.ALLOW,
            OWN_END,
            "loads registers and the signal mask from the caller's stack; jumped to, it changes "
            "nothing but the guest's own registers, and a blocked SIGSYS makes the next trap "
            "fatal to itself",
            _IN_STUB,
        ),
        _rule(EXIT, bpf.ALLOW, OWN_END, "ends the calling thread only", _IN_STUB),
        _rule(
            EXIT_GROUP,
            bpf.ALLOW,
            OWN_END,
            "ends the calling process; the Sentry hears of it and reports a death by SIGKILL",
            _IN_STUB,
        ),
        _rule(
            GETRUSAGE,
            bpf.ALLOW,
            OWN_END,
            "what the calling process has used, told with its exit: numbers about itself, written "
            "to its own memory",
            _IN_STUB,
            bpf.IntIn("who", 0, [0]),
        ),
        _rule(
            PRCTL,
            bpf.ALLOW,
            OWN_END,
            "asks to be killed when its parent dies: the one value it can set is the one it has",
            _IN_STUB,
            bpf.IntIn("option", 0, [_PR_SET_PDEATHSIG]),
            bpf.Equal("signal", 1, _SIGKILL),
        ),
        _rule(
            MMAP,
            bpf.ALLOW,
            OWN_END,
            "the channel, at its one place with its one size, over itself (the child of a fork "
            "does it); jumped to, it puts in place what is there already, or with dup2 a file "
            "that it was sent, with no more rights than that was opened with",
            _IN_STUB,
            bpf.Equal("addr", 0, layout.CHANNEL_BASE),
            bpf.Equal("length", 1, layout.CHANNEL_SIZE),
            bpf.Equal("prot", 2, 3),
            bpf.Equal("flags", 3, MAP_SHARED | MAP_FIXED),
            bpf.IntIn("fd", 4, [layout.CHANNEL_FD]),
            bpf.Equal("offset", 5, 0),
        ),
    ]


def _decided_rows() -> list[bpf.Rule]:
    first = layout.GRANT_FD_FIRST
    return [
        _rule(
            CLONE,
            bpf.ALLOW,
            OWN_TIME,
            "a thread of the same process, as the Sentry told the stub; one made by jumping here "
            "shares everything with its maker, has no channel slot and can ask for nothing (a "
            "notification would cost every pthread_create 46 us)",
            _IN_STUB,
            bpf.IntIn("flags", 0, [layout.THREAD_FLAGS, layout.THREAD_FLAGS_TLS]),
        ),
        _rule(
            CLONE,
            bpf.ALLOW,
            OWN_TIME,
            "a process with a copy of the memory, or with the same memory (vfork), as the Sentry "
            "told the stub; one made by jumping here has no channel of its own, can ask for nothing"
            " and is killed soon after any guest process has ended (asking the Sentry first put "
            "guest threads to sleep four times in each fork)",
            _IN_STUB,
            bpf.IntIn(
                "flags",
                0,
                [layout.FORK_FLAGS, layout.VFORK_FLAGS, layout.VFORK_FLAGS_TLS],
            ),
        ),
        _rule(
            DUP2,
            bpf.ALLOW,
            OWN_END,
            "a forked child puts the channel and the socket that were made for it in the place of "
            "its parent's; jumped to, it replaces the guest's own by something it was sent",
            _IN_STUB,
            bpf.IntIn("newfd", 1, [layout.CHANNEL_FD, layout.CONTROL_FD]),
        ),
        _rule(
            CLOSE_RANGE,
            bpf.ALLOW,
            OWN_END,
            "and closes whatever else its parent had been sent",
            _IN_STUB,
            bpf.Equal("first", 0, layout.CONTROL_FD + 1),
        ),
        _rule(
            MMAP,
            bpf.USER_NOTIF,
            DECIDED,
            "maps a descriptor that the Sentry granted: the Sentry installs it, compares every "
            "argument with what it granted, and takes it back afterwards",
            _IN_STUB,
            _ADDRESS,
            _LENGTH,
            bpf.IntClear("flags", 3, MAP_ANONYMOUS),
            _PROT,
            bpf.IntRange("fd", 4, first, first + layout.SLOTS),
        ),
        _rule(
            MMAP,
            bpf.ALLOW,
            GRANTED,
            "maps a descriptor that the Sentry sent over the control socket: only host files that "
            "are open for reading, which this process may read; the host refuses to map them "
            "writable and shared (a notification would cost every library 46 us a segment). "
            "Jumped to, it also maps what a fork is sent, the channel of its own child",
            _IN_STUB,
            _ADDRESS,
            _LENGTH,
            bpf.IntClear("flags", 3, MAP_ANONYMOUS),
            _PROT,
            bpf.IntRange("fd", 4, layout.RECEIVED_FD_FIRST, first),
        ),
        _rule(
            RECVMSG,
            bpf.ALLOW,
            GRANTED,
            "takes such a descriptor from the control socket, where only the Sentry writes; jumped "
            "to, it takes what was meant for the same process",
            _IN_STUB,
            bpf.IntIn("fd", 0, [layout.CONTROL_FD]),
        ),
        _rule(
            CLOSE,
            bpf.ALLOW,
            GRANTED,
            "closes it again; the guest has no descriptor that others need",
            _IN_STUB,
        ),
    ]


def _unfit_rows() -> list[bpf.Rule]:
    """``--memory-mode=validated``: what is left of the memory calls that the stub repeats."""
    action = bpf.ERRNO | layout.UNFIT_ERRNO
    reason = "not notified either: tells the stub to send the call to the Sentry as a message"
    return [
        _rule(call, action, OWN_MEMORY, reason, _IN_STUB)
        for call in (MMAP, MUNMAP, MPROTECT, MADVISE, MREMAP)
    ]


def _loader_rows() -> list[bpf.Rule]:
    """Trusted code, in a process in which no guest instruction has run yet."""

    def loader(call: _Call, reason: str, *when: bpf.Condition) -> bpf.Rule:
        return _rule(call, bpf.ALLOW, LOADER, reason, _IN_LOADER, *when)

    return [
        loader(RECVMSG, "takes orders and program files from the Sentry"),
        loader(SENDMSG, "answers the Sentry, hands it the filter's listener"),
        loader(CLOSE, "closes program files and the control socket"),
        loader(CLOSE_RANGE, "leaves a pool process just the descriptors it needs"),
        loader(DUP2, "puts descriptors at their numbers"),
        loader(CLONE, "the zygote forks a pool process", bpf.Equal("flags", 0, _SIGCHLD)),
        loader(
            KILL,
            "the zygote ends every guest process when the Sentry has gone",
            bpf.IntIn("pid", 0, [0]),
            bpf.IntIn("signal", 1, [_SIGKILL]),
        ),
        loader(MMAP, "maps the program, its interpreter, its stack, the channel and the fence"),
        loader(MUNMAP, "clears what the program will replace"),
        loader(MPROTECT, "protects program segments and relocated data"),
        loader(MREMAP, "moves the vDSO to its place"),
        loader(READ, "reads from the control socket"),
        loader(PREAD64, "fills the end of a segment that shares a page with the next"),
        loader(SECCOMP, "installs the second filter"),
        loader(RT_SIGACTION, "installs the stub's signal handlers"),
        loader(SIGALTSTACK, "gives each of them a stack"),
        loader(RT_SIGPROCMASK, "opens the mask before the guest starts"),
        loader(PRCTL, "no_new_privs, parent-death signal, process name, dumpable"),
        loader(FUTEX, "sleeps until it gets an order"),
        loader(ARCH_PRCTL, "thread pointer; trapping of cpuid where asked"),
        loader(EXIT_GROUP, "a pool process that is not needed any more"),
    ]


def rows(validated: bool = False) -> list[bpf.Rule]:
    """The whole table. ``validated``: memory calls are trapped, and repeated by the stub as
    notifications; every mapping of a file is notified."""
    decided = _decided_rows()
    if validated:
        decided = [row for row in decided if row.number != MMAP[1] or row.action != bpf.ALLOW]
    return [
        *_memory_rows(validated),
        *_time_rows(),
        *_end_rows(),
        *decided,
        *_loader_rows(),
        *(_unfit_rows() if validated else []),
    ]


def first_filter(validated: bool = False) -> bytes:
    """Installed once, by the zygote, with SECCOMP_FILTER_FLAG_NEW_LISTENER; inherited by every
    guest."""
    return bpf.compile_rules(rows(validated), default=bpf.TRAP, foreign=bpf.TRAP)


def second_filter() -> bytes:
    """Installed by the loader just before the first guest instruction: nothing from loader text
    any more."""
    code: bpf.Code = [
        *_IN_LOADER.code("allow"),
        bpf.Instruction(bpf.RET_K, bpf.TRAP),
        bpf.Label("allow"),
        bpf.Instruction(bpf.RET_K, bpf.ALLOW),
    ]
    return bpf.assemble(code)
