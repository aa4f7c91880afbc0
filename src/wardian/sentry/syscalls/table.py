"""The system-call table: every call Wardian answers, numbered once
(arch/x86/entry/syscalls/syscall_64.tbl).

``tools/gen_syscalls.py`` reads this file and the handlers' signatures and writes
``dispatch_gen.py`` (decoding), ``marshal_gen.py`` (what the stub sends along) and
``strace_gen.py``. ``restart`` says what a signal handler does to a blocked call: "auto" restarts it
under SA_RESTART, "never" always gives EINTR, "nohand" restarts only when no handler ran
(signal(7)).
"""

from collections.abc import Callable

from wardian.sentry.syscalls import (
    attr,
    descriptors,
    dir,
    events,
    file,
    ids,
    ioctl,
    iov,
    limits,
    locks,
    memory,
    mount,
    msg,
    pipe,
    poll,
    prctl,
    process,
    process_vm,
    sched,
    sem,
    shm,
    signal,
    socket,
    socket_msg,
    stat,
    system,
    task,
    time,
    xattr,
)


class Row:
    """One system call: name, handler, amd64 number, and how strace prints it."""

    def __init__(
        self, name: str, handler: Callable[..., int], amd64: int, flags: str, restart: str
    ) -> None:
        self.name = name
        self.handler = handler
        self.amd64 = amd64
        self.flags = flags
        self.restart = restart


ROWS: list[Row] = []


def row(
    name: str, handler: Callable[..., int], amd64: int, flags: str = "", restart: str = "auto"
) -> None:
    """Declare one system call; ``flags`` names the constants of its
    ``Flags`` arguments, space-separated."""
    ROWS.append(Row(name, handler, amd64, flags, restart))


# -- files, directories, descriptors (file.py, dir, stat, attr, descriptors, locks, xattr, mount)
row("read", file.read, 0)
row("write", file.write, 1)
row(
    "open",
    file.open,
    2,
    flags="O_RDONLY O_WRONLY O_RDWR O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK "
    "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_PATH O_TMPFILE",
)
row("close", file.close, 3)
row("stat", stat.stat, 4)
row("fstat", stat.fstat, 5)
row("lstat", stat.lstat, 6)
row("lseek", file.lseek, 8)
row("pread64", file.pread64, 17)
row("pwrite64", file.pwrite64, 18)
row("readv", iov.readv, 19)
row("writev", iov.writev, 20)
row("access", stat.access, 21)
row("dup", descriptors.dup, 32)
row("dup2", descriptors.dup2, 33)
row("sendfile", iov.sendfile, 40)
row("fcntl", descriptors.fcntl, 72)
row("flock", locks.flock, 73)
row("fsync", file.fsync, 74)
row("fdatasync", file.fdatasync, 75)
row("truncate", file.truncate, 76)
row("ftruncate", file.ftruncate, 77)
row("getdents", dir.getdents, 78)
row("getcwd", dir.getcwd, 79)
row("chdir", dir.chdir, 80)
row("fchdir", dir.fchdir, 81)
row("rename", dir.rename, 82)
row("mkdir", dir.mkdir, 83)
row("rmdir", dir.rmdir, 84)
row("creat", file.creat, 85)
row("link", dir.link, 86)
row("unlink", dir.unlink, 87)
row("symlink", dir.symlink, 88)
row("readlink", dir.readlink, 89)
row("chmod", attr.chmod, 90)
row("fchmod", attr.fchmod, 91)
row("chown", attr.chown, 92)
row("fchown", attr.fchown, 93)
row("lchown", attr.lchown, 94)
row("umask", dir.umask, 95)
row("utime", attr.utime, 132)
row("mknod", dir.mknod, 133)
row("statfs", stat.statfs, 137)
row("fstatfs", stat.fstatfs, 138)
row("pivot_root", mount.pivot_root, 155)
row("chroot", mount.chroot, 161)
row("sync", file.sync, 162)
row(
    "mount",
    mount.mount,
    165,
    flags="MS_RDONLY MS_NOSUID MS_NODEV MS_NOEXEC MS_REMOUNT MS_BIND MS_MOVE MS_REC",
)
row("umount2", mount.umount2, 166, flags="MNT_FORCE MNT_DETACH MNT_EXPIRE UMOUNT_NOFOLLOW")
row("readahead", file.readahead, 187)
row("setxattr", xattr.setxattr, 188, flags="XATTR_CREATE XATTR_REPLACE")
row("lsetxattr", xattr.lsetxattr, 189, flags="XATTR_CREATE XATTR_REPLACE")
row("fsetxattr", xattr.fsetxattr, 190, flags="XATTR_CREATE XATTR_REPLACE")
row("getxattr", xattr.getxattr, 191)
row("lgetxattr", xattr.lgetxattr, 192)
row("fgetxattr", xattr.fgetxattr, 193)
row("listxattr", xattr.listxattr, 194)
row("llistxattr", xattr.llistxattr, 195)
row("flistxattr", xattr.flistxattr, 196)
row("removexattr", xattr.removexattr, 197)
row("lremovexattr", xattr.lremovexattr, 198)
row("fremovexattr", xattr.fremovexattr, 199)
row("getdents64", dir.getdents64, 217)
row("fadvise64", file.fadvise64, 221)
row("utimes", attr.utimes, 235)
row(
    "openat",
    file.openat,
    257,
    flags="O_RDONLY O_WRONLY O_RDWR O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK "
    "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_PATH O_TMPFILE",
)
row("mkdirat", dir.mkdirat, 258)
row("mknodat", dir.mknodat, 259)
row("fchownat", attr.fchownat, 260, flags="AT_SYMLINK_NOFOLLOW AT_EMPTY_PATH")
row("futimesat", attr.futimesat, 261)
row("newfstatat", stat.newfstatat, 262, flags="AT_SYMLINK_NOFOLLOW AT_EMPTY_PATH AT_NO_AUTOMOUNT")
row("unlinkat", dir.unlinkat, 263, flags="AT_REMOVEDIR")
row("renameat", dir.renameat, 264)
row("linkat", dir.linkat, 265, flags="AT_SYMLINK_FOLLOW AT_EMPTY_PATH")
row("symlinkat", dir.symlinkat, 266)
row("readlinkat", dir.readlinkat, 267)
row("fchmodat", attr.fchmodat, 268)
row("faccessat", stat.faccessat, 269)
row("sync_file_range", file.sync_file_range, 277)
row("utimensat", attr.utimensat, 280, flags="AT_SYMLINK_NOFOLLOW AT_EMPTY_PATH")
row("fallocate", file.fallocate, 285)
row("dup3", descriptors.dup3, 292, flags="O_CLOEXEC")
row("preadv", iov.preadv, 295)
row("pwritev", iov.pwritev, 296)
row("name_to_handle_at", mount.name_to_handle_at, 303, flags="AT_SYMLINK_FOLLOW AT_EMPTY_PATH")
row("syncfs", file.syncfs, 306)
row("renameat2", dir.renameat2, 316, flags="RENAME_NOREPLACE RENAME_EXCHANGE RENAME_WHITEOUT")
row("copy_file_range", iov.copy_file_range, 326)
row("preadv2", iov.preadv2, 327, flags="RWF_HIPRI RWF_DSYNC RWF_SYNC RWF_NOWAIT RWF_APPEND")
row("pwritev2", iov.pwritev2, 328, flags="RWF_HIPRI RWF_DSYNC RWF_SYNC RWF_NOWAIT RWF_APPEND")
row(
    "statx",
    stat.statx,
    332,
    flags="AT_SYMLINK_NOFOLLOW AT_EMPTY_PATH AT_NO_AUTOMOUNT AT_STATX_FORCE_SYNC "
    "AT_STATX_DONT_SYNC",
)
row("close_range", descriptors.close_range, 436, flags="CLOSE_RANGE_UNSHARE CLOSE_RANGE_CLOEXEC")
row("openat2", file.openat2, 437)
row("faccessat2", stat.faccessat2, 439, flags="AT_EACCESS AT_SYMLINK_NOFOLLOW AT_EMPTY_PATH")
row("fchmodat2", attr.fchmodat2, 452, flags="AT_SYMLINK_NOFOLLOW AT_EMPTY_PATH")

# -- pipes, eventfd, epoll, poll, timerfd, signalfd, splice, inotify (poll.py, events.py, pipe.py)
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
row(
    "sendto",
    socket.sendto,
    44,
    flags="MSG_OOB MSG_DONTROUTE MSG_DONTWAIT MSG_EOR "
    "MSG_CONFIRM MSG_NOSIGNAL MSG_MORE MSG_ZEROCOPY MSG_FASTOPEN",
)
row(
    "recvfrom",
    socket.recvfrom,
    45,
    flags="MSG_OOB MSG_PEEK MSG_TRUNC MSG_DONTWAIT MSG_WAITALL "
    "MSG_ERRQUEUE MSG_WAITFORONE MSG_CMSG_CLOEXEC",
)
row(
    "sendmsg",
    socket_msg.sendmsg,
    46,
    flags="MSG_OOB MSG_DONTROUTE MSG_DONTWAIT MSG_EOR "
    "MSG_CONFIRM MSG_NOSIGNAL MSG_MORE MSG_ZEROCOPY MSG_FASTOPEN",
)
row(
    "recvmsg",
    socket_msg.recvmsg,
    47,
    flags="MSG_OOB MSG_PEEK MSG_TRUNC MSG_DONTWAIT MSG_WAITALL "
    "MSG_ERRQUEUE MSG_WAITFORONE MSG_CMSG_CLOEXEC",
)
row("shutdown", socket.shutdown, 48)
row("bind", socket.bind, 49)
row("listen", socket.listen, 50)
row("getsockname", socket.getsockname, 51)
row("getpeername", socket.getpeername, 52)
row("socketpair", socket.socketpair, 53)
row("setsockopt", socket.setsockopt, 54)
row("getsockopt", socket.getsockopt, 55)
row("accept4", socket.accept4, 288, flags="O_CLOEXEC O_NONBLOCK")
row(
    "recvmmsg",
    socket_msg.recvmmsg,
    299,
    flags="MSG_OOB MSG_PEEK MSG_TRUNC MSG_DONTWAIT MSG_WAITALL "
    "MSG_ERRQUEUE MSG_WAITFORONE MSG_CMSG_CLOEXEC",
)
row(
    "sendmmsg",
    socket_msg.sendmmsg,
    307,
    flags="MSG_OOB MSG_DONTROUTE MSG_DONTWAIT MSG_EOR "
    "MSG_CONFIRM MSG_NOSIGNAL MSG_MORE MSG_ZEROCOPY MSG_FASTOPEN",
)

# -- memory (syscalls/memory.py) --
row(
    "mmap",
    memory.mmap,
    9,
    flags="MAP_SHARED MAP_PRIVATE MAP_FIXED MAP_ANONYMOUS MAP_32BIT "
    "MAP_GROWSDOWN MAP_DENYWRITE MAP_LOCKED MAP_NORESERVE MAP_POPULATE MAP_NONBLOCK MAP_STACK "
    "MAP_HUGETLB MAP_SYNC MAP_FIXED_NOREPLACE",
)
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
row(
    "waitid",
    process.waitid,
    247,
    flags="WNOHANG WEXITED WSTOPPED WCONTINUED WNOWAIT __WNOTHREAD __WALL __WCLONE",
)
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

# -- System V shared memory (syscalls/shm.py) --
row("shmget", shm.shmget, 29)
row("shmat", shm.shmat, 30)
row("shmctl", shm.shmctl, 31)
row("shmdt", shm.shmdt, 67)

# -- System V semaphores (syscalls/sem.py) --
row("semget", sem.semget, 64)
row("semop", sem.semop, 65, restart="nohand")
row("semctl", sem.semctl, 66)
row("semtimedop", sem.semtimedop, 220, restart="nohand")

# -- System V message queues (syscalls/msg.py) --
row("msgget", msg.msgget, 68)
row("msgsnd", msg.msgsnd, 69, restart="nohand")
row("msgrcv", msg.msgrcv, 70, restart="nohand")
row("msgctl", msg.msgctl, 71)

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
