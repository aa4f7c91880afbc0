"""The system-call table: every call Wardian answers, numbered once (arch/x86/entry/syscalls/syscall_64.tbl).

``tools/gen_syscalls.py`` reads this file and the handlers' signatures and writes ``dispatch_gen.py`` (decoding),
``marshal_gen.py`` (what the stub sends along) and ``strace_gen.py``. ``restart`` says what a signal handler
does to a blocked call: "auto" restarts it under SA_RESTART, "never" always gives EINTR, "nohand" restarts
only when no handler ran (signal(7)).
"""

from collections.abc import Callable

from wardian.sentry.syscalls import (
    events,
    ids,
    ioctl,
    limits,
    memory,
    pipe,
    poll,
    prctl,
    process,
    process_vm,
    sched,
    signal,
    socket,
    socket_msg,
    system,
    task,
    time,
)


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
row("ioctl", ioctl.ioctl, 16)
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

# -- sockets (syscalls/socket.py, socket_msg.py) --
row("socket", socket.socket, 41)
row("connect", socket.connect, 42)
row("accept", socket.accept, 43)
row("sendto", socket.sendto, 44, flags="MSG_OOB MSG_DONTROUTE MSG_DONTWAIT MSG_EOR "
    "MSG_CONFIRM MSG_NOSIGNAL MSG_MORE MSG_ZEROCOPY MSG_FASTOPEN")
row("recvfrom", socket.recvfrom, 45, flags="MSG_OOB MSG_PEEK MSG_TRUNC MSG_DONTWAIT MSG_WAITALL "
    "MSG_ERRQUEUE MSG_WAITFORONE MSG_CMSG_CLOEXEC")
row("sendmsg", socket_msg.sendmsg, 46, flags="MSG_OOB MSG_DONTROUTE MSG_DONTWAIT MSG_EOR "
    "MSG_CONFIRM MSG_NOSIGNAL MSG_MORE MSG_ZEROCOPY MSG_FASTOPEN")
row("recvmsg", socket_msg.recvmsg, 47, flags="MSG_OOB MSG_PEEK MSG_TRUNC MSG_DONTWAIT MSG_WAITALL "
    "MSG_ERRQUEUE MSG_WAITFORONE MSG_CMSG_CLOEXEC")
row("shutdown", socket.shutdown, 48)
row("bind", socket.bind, 49)
row("listen", socket.listen, 50)
row("getsockname", socket.getsockname, 51)
row("getpeername", socket.getpeername, 52)
row("socketpair", socket.socketpair, 53)
row("setsockopt", socket.setsockopt, 54)
row("getsockopt", socket.getsockopt, 55)
row("accept4", socket.accept4, 288, flags="O_CLOEXEC O_NONBLOCK")
row("recvmmsg", socket_msg.recvmmsg, 299, flags="MSG_OOB MSG_PEEK MSG_TRUNC MSG_DONTWAIT MSG_WAITALL "
    "MSG_ERRQUEUE MSG_WAITFORONE MSG_CMSG_CLOEXEC")
row("sendmmsg", socket_msg.sendmmsg, 307, flags="MSG_OOB MSG_DONTROUTE MSG_DONTWAIT MSG_EOR "
    "MSG_CONFIRM MSG_NOSIGNAL MSG_MORE MSG_ZEROCOPY MSG_FASTOPEN")

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
row("sched_yield", sched.sched_yield, 24)
row("getpid", process.getpid, 39)
row("wait4", process.wait4, 61, flags="WNOHANG WUNTRACED WCONTINUED __WNOTHREAD __WALL __WCLONE")
row("uname", system.uname, 63)
row("getrlimit", limits.getrlimit, 97)
row("getrusage", process.getrusage, 98)
row("sysinfo", system.sysinfo, 99)
row("times", process.times, 100)
row("getuid", ids.getuid, 102)
row("syslog", system.syslog, 103)
row("getgid", ids.getgid, 104)
row("setuid", ids.setuid, 105)
row("setgid", ids.setgid, 106)
row("geteuid", ids.geteuid, 107)
row("getegid", ids.getegid, 108)
row("setpgid", process.setpgid, 109)
row("getppid", process.getppid, 110)
row("getpgrp", process.getpgrp, 111)
row("setsid", process.setsid, 112)
row("setreuid", ids.setreuid, 113)
row("setregid", ids.setregid, 114)
row("getgroups", ids.getgroups, 115)
row("setgroups", ids.setgroups, 116)
row("setresuid", ids.setresuid, 117)
row("getresuid", ids.getresuid, 118)
row("setresgid", ids.setresgid, 119)
row("getresgid", ids.getresgid, 120)
row("getpgid", process.getpgid, 121)
row("setfsuid", ids.setfsuid, 122)
row("setfsgid", ids.setfsgid, 123)
row("getsid", process.getsid, 124)
row("capget", ids.capget, 125)
row("capset", ids.capset, 126)
row("personality", system.personality, 135)
row("getpriority", limits.getpriority, 140)
row("setpriority", limits.setpriority, 141)
row("sched_setparam", sched.sched_setparam, 142)
row("sched_getparam", sched.sched_getparam, 143)
row("sched_setscheduler", sched.sched_setscheduler, 144)
row("sched_getscheduler", sched.sched_getscheduler, 145)
row("sched_get_priority_max", sched.sched_get_priority_max, 146)
row("sched_get_priority_min", sched.sched_get_priority_min, 147)
row("sched_rr_get_interval", sched.sched_rr_get_interval, 148)
row("vhangup", system.vhangup, 153)
row("prctl", prctl.prctl, 157)
row("setrlimit", limits.setrlimit, 160)
row("acct", system.acct, 163)
row("swapon", system.swapon, 167)
row("swapoff", system.swapoff, 168)
row("reboot", system.reboot, 169)
row("sethostname", system.sethostname, 170)
row("setdomainname", system.setdomainname, 171)
row("iopl", system.iopl, 172)
row("ioperm", system.ioperm, 173)
row("init_module", system.init_module, 175)
row("delete_module", system.delete_module, 176)
row("gettid", process.gettid, 186)
row("sched_setaffinity", sched.sched_setaffinity, 203)
row("sched_getaffinity", sched.sched_getaffinity, 204)
row("waitid", process.waitid, 247,
    flags="WNOHANG WEXITED WSTOPPED WCONTINUED WNOWAIT __WNOTHREAD __WALL __WCLONE")
row("ioprio_set", sched.ioprio_set, 251)
row("ioprio_get", sched.ioprio_get, 252)
row("prlimit64", limits.prlimit64, 302)
row("getcpu", sched.getcpu, 309)
row("finit_module", system.finit_module, 313)
row("sched_setattr", sched.sched_setattr, 314)
row("sched_getattr", sched.sched_getattr, 315)
row("seccomp", system.seccomp, 317)
row("getrandom", system.getrandom, 318, flags="GRND_NONBLOCK GRND_RANDOM GRND_INSECURE")
row("pidfd_open", process.pidfd_open, 434, flags="O_NONBLOCK")
row("pidfd_getfd", process.pidfd_getfd, 438)

# -- signals (syscalls/signal.py) --
row("rt_sigaction", signal.rt_sigaction, 13)
row("rt_sigprocmask", signal.rt_sigprocmask, 14)
row("pause", signal.pause, 34, restart="nohand")
row("kill", signal.kill, 62)
row("rt_sigpending", signal.rt_sigpending, 127)
row("rt_sigtimedwait", signal.rt_sigtimedwait, 128, restart="never")
row("rt_sigqueueinfo", signal.rt_sigqueueinfo, 129)
row("rt_sigsuspend", signal.rt_sigsuspend, 130, restart="nohand")
row("sigaltstack", signal.sigaltstack, 131)
row("tkill", signal.tkill, 200)
row("tgkill", signal.tgkill, 234)
row("rt_tgsigqueueinfo", signal.rt_tgsigqueueinfo, 297)
row("pidfd_send_signal", signal.pidfd_send_signal, 424)

# -- time (syscalls/time.py) --
row("nanosleep", time.nanosleep, 35, restart="nohand")
row("getitimer", time.getitimer, 36)
row("alarm", time.alarm, 37)
row("setitimer", time.setitimer, 38)
row("gettimeofday", time.gettimeofday, 96)
row("adjtimex", time.adjtimex, 159)
row("settimeofday", time.settimeofday, 164)
row("time", time.time, 201)
row("timer_create", time.timer_create, 222)
row("timer_settime", time.timer_settime, 223)
row("timer_gettime", time.timer_gettime, 224)
row("timer_getoverrun", time.timer_getoverrun, 225)
row("timer_delete", time.timer_delete, 226)
row("clock_settime", time.clock_settime, 227)
row("clock_gettime", time.clock_gettime, 228)
row("clock_getres", time.clock_getres, 229)
row("clock_nanosleep", time.clock_nanosleep, 230, restart="nohand")
row("clock_adjtime", time.clock_adjtime, 305)

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
