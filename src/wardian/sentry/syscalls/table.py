"""The system-call table: every call Wardian answers, numbered once (arch/x86/entry/syscalls/syscall_64.tbl).

``tools/gen_syscalls.py`` reads this file and the handlers' signatures and writes ``dispatch_gen.py`` (decoding),
``marshal_gen.py`` (what the stub sends along) and ``strace_gen.py``. ``restart`` says what a signal handler
does to a blocked call: "auto" restarts it under SA_RESTART, "never" always gives EINTR, "nohand" restarts
only when no handler ran (signal(7)).
"""

from collections.abc import Callable

from wardian.sentry.syscalls import events, memory, pipe, poll, process_vm, task


class Row:
    """One system call: name, handler, amd64 number, and how strace prints it."""

    def __init__(self, name: str, handler: Callable[..., int], amd64: int, flags: str, restart: str) -> None:
        self.name = name
        self.handler = handler
        self.amd64 = amd64
        self.flags = flags
        self.restart = restart


ROWS: list[Row] = []


def row(name: str, handler: Callable[..., int], amd64: int, flags: str = "", restart: str = "auto") -> None:
    """Declare one system call; ``flags`` names the constants of its ``Flags`` arguments, space-separated."""
    ROWS.append(Row(name, handler, amd64, flags, restart))


# -- files, directories, descriptors (syscalls/file.py, dir.py, stat.py, descriptors.py, xattr.py, mount.py) --

# -- pipes, eventfd, epoll, poll, timerfd, signalfd, splice, inotify (syscalls/poll.py, events.py, pipe.py) --
row("pipe", pipe.pipe, 22)
row("pipe2", pipe.pipe2, 293, flags="O_CLOEXEC O_NONBLOCK O_DIRECT")
row("splice", pipe.splice, 275)
row("tee", pipe.tee, 276)
row("vmsplice", pipe.vmsplice, 278)
row("memfd_create", pipe.memfd_create, 319)
row("poll", poll.poll, 7, restart="nohand")
row("ppoll", poll.ppoll, 271, restart="nohand")
row("select", poll.select, 23, restart="nohand")
row("pselect6", poll.pselect6, 270, restart="nohand")
row("eventfd", events.eventfd, 284)
row("eventfd2", events.eventfd2, 290, flags="EFD_SEMAPHORE O_CLOEXEC O_NONBLOCK")
row("epoll_create", events.epoll_create, 213)
row("epoll_create1", events.epoll_create1, 291, flags="O_CLOEXEC")
row("epoll_ctl", events.epoll_ctl, 233)
row("epoll_wait", events.epoll_wait, 232, restart="nohand")
row("epoll_pwait", events.epoll_pwait, 281, restart="nohand")
row("epoll_pwait2", events.epoll_pwait2, 441, restart="nohand")
row("timerfd_create", events.timerfd_create, 283, flags="O_CLOEXEC O_NONBLOCK")
row("timerfd_settime", events.timerfd_settime, 286)
row("timerfd_gettime", events.timerfd_gettime, 287)
row("signalfd", events.signalfd, 282)
row("signalfd4", events.signalfd4, 289, flags="O_CLOEXEC O_NONBLOCK")
row("inotify_init", events.inotify_init, 253)
row("inotify_init1", events.inotify_init1, 294, flags="O_CLOEXEC O_NONBLOCK")
row("inotify_add_watch", events.inotify_add_watch, 254)
row("inotify_rm_watch", events.inotify_rm_watch, 255)

# -- sockets (syscalls/socket.py) --

# -- memory (syscalls/memory.py) --
row("mmap", memory.mmap, 9, flags="MAP_SHARED MAP_PRIVATE MAP_FIXED MAP_ANONYMOUS MAP_32BIT "
    "MAP_GROWSDOWN MAP_DENYWRITE MAP_LOCKED MAP_NORESERVE MAP_POPULATE MAP_NONBLOCK MAP_STACK "
    "MAP_HUGETLB MAP_SYNC MAP_FIXED_NOREPLACE")
row("mprotect", memory.mprotect, 10)
row("munmap", memory.munmap, 11)
row("brk", memory.brk, 12)
row("mremap", memory.mremap, 25, flags="MREMAP_MAYMOVE MREMAP_FIXED MREMAP_DONTUNMAP")
row("msync", memory.msync, 26)
row("mincore", memory.mincore, 27)
row("madvise", memory.madvise, 28)
row("mlock", memory.mlock, 149)
row("munlock", memory.munlock, 150)
row("mlockall", memory.mlockall, 151)
row("munlockall", memory.munlockall, 152)
row("remap_file_pages", memory.remap_file_pages, 216)
row("mbind", memory.mbind, 237)
row("set_mempolicy", memory.set_mempolicy, 238)
row("get_mempolicy", memory.get_mempolicy, 239)
row("migrate_pages", memory.migrate_pages, 256)
row("move_pages", memory.move_pages, 279)
row("process_vm_readv", process_vm.process_vm_readv, 310)
row("process_vm_writev", process_vm.process_vm_writev, 311)
row("userfaultfd", memory.userfaultfd, 323)
row("membarrier", memory.membarrier, 324)
row("mlock2", memory.mlock2, 325)
row("pkey_mprotect", memory.pkey_mprotect, 329)
row("pkey_alloc", memory.pkey_alloc, 330)
row("pkey_free", memory.pkey_free, 331)
row("process_madvise", memory.process_madvise, 440)

# -- tasks, ids, wait, prctl, rlimits, system (syscalls/process.py, ids.py, system.py) --

# -- signals (syscalls/signal.py) --

# -- time (syscalls/time.py) --

# -- clone, exec, exit, futex helpers (syscalls/task.py) --
row("clone", task.clone, 56, flags="CLONE_")
row("fork", task.fork, 57)
row("vfork", task.vfork, 58)
row("execve", task.execve, 59)
row("exit", task.exit, 60)
row("rt_sigreturn", task.rt_sigreturn, 15)
row("set_tid_address", task.set_tid_address, 218)
row("exit_group", task.exit_group, 231)
row("set_robust_list", task.set_robust_list, 273)
row("get_robust_list", task.get_robust_list, 274)
row("execveat", task.execveat, 322)
row("rseq", task.rseq, 334)
row("clone3", task.clone3, 435)
