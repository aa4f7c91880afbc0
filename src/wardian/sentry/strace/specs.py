"""What argument kinds cannot say: one word per argument, for the calls whose kinds are not enough.

A word is ``.`` (by the kind in the signature) or the name of a decoder in ``arguments`` and the
modules it asks. A word with ``>`` in front is printed after the call from guest memory, and as an
address when the call failed. ``flags:GROUP``, ``one:GROUP`` and ``struct:NAME`` take a parameter.
``-`` is left out.
"""

from typing import Final

SPECS: Final[dict[str, str]] = {
    # files
    "read": "fd >buf .",
    "pread64": "fd >buf . .", "write": "fd buf:2 .", "pwrite64": "fd buf:2 . .",
    "readv": "fd >iov:in .", "writev": "fd iov:out .", "preadv": "fd >iov:in . . -",
    "pwritev": "fd iov:out . . -", "preadv2": "fd >iov:in . . - flags:RWF",
    "pwritev2": "fd iov:out . . - flags:RWF",
    "open": "path oflags cmode", "openat": "fd path oflags cmode", "creat": "path mode",
    "openat2": "fd path struct:open_how .", "lseek": "fd . one:SEEK", "close": "fd",
    "close_range": "fd fd flags:CLOSE_RANGE",
    "stat": "path >struct:stat", "lstat": "path >struct:stat", "fstat": "fd >struct:stat",
    "newfstatat": "fd path >struct:stat flags:AT",
    "statx": "fd path flags:AT flags:STATX >struct:statx",
    "statfs": "path >struct:statfs", "fstatfs": "fd >struct:statfs",
    "access": "path access",
    "faccessat": "fd path access", "faccessat2": "fd path access flags:AT_ACCESS",
    "readlink": "path >buf .", "readlinkat": "fd path >buf .", "getcwd": ">buf .",
    "fchmodat": "fd path mode", "fchmodat2": "fd path mode flags:AT",
    "fchownat": "fd path . . flags:AT", "unlinkat": "fd path flags:AT",
    "linkat": "fd path fd path flags:AT", "renameat2": "fd path fd path flags:RENAME",
    "utimensat": "fd path struct:timespec2 flags:AT", "futimesat": "fd path struct:timeval2",
    "getdents64": "fd >entries .", "getdents": "fd >entries .", "fcntl": "fd one:F fcntl",
    "flock": "fd flags:LOCK", "fallocate": "fd flags:FALLOC . .", "fadvise64": "fd . . one:FADV",
    "mount": "path path path flags:MOUNT str", "umount2": "path flags:UMOUNT",
    "umask": "mode", "mknod": "path filemode dev", "mknodat": "fd path filemode dev",
    "setxattr": "path path buf:3 . flags:XATTR", "lsetxattr": "path path buf:3 . flags:XATTR",
    "fsetxattr": "fd path buf:3 . flags:XATTR", "getxattr": "path path >buf .",
    "lgetxattr": "path path >buf .", "fgetxattr": "fd path >buf .", "listxattr": "path >buf .",
    "llistxattr": "path >buf .", "flistxattr": "fd >buf .",
    "copy_file_range": "fd struct:long fd struct:long . .", "sendfile": "fd fd struct:long .",
    "memfd_create": "path flags:MFD", "dup3": "fd fd oflags",
    # pipes, events, terminals
    "pipe": ">struct:fdpair", "pipe2": ">struct:fdpair flags:O", "ioctl": "fd one:IOCTL >ioctl",
    "splice": "fd struct:long fd struct:long . flags:SPLICE", "tee": "fd fd . flags:SPLICE",
    "vmsplice": "fd iov:out . flags:SPLICE", "poll": "poll . msec", "eventfd2": ". flags:EFD",
    "ppoll": "poll . struct:timespec struct:sigset .",
    "select": ". fdset fdset fdset struct:timeval",
    "pselect6": ". fdset fdset fdset struct:timespec sigpair",
    "epoll_create1": "flags:EPOLL_CREATE", "epoll_ctl": "fd one:EPOLL_CTL fd struct:epoll_event",
    "epoll_wait": "fd >epoll_events . msec",
    "epoll_pwait": "fd >epoll_events . msec struct:sigset .",
    "epoll_pwait2": "fd >epoll_events . struct:timespec struct:sigset .",
    "timerfd_create": "one:CLOCK flags:TFD",
    "timerfd_settime": "fd flags:TFD_TIMER struct:itimerspec >struct:itimerspec",
    "timerfd_gettime": "fd >struct:itimerspec", "signalfd": "fd struct:sigset .",
    "signalfd4": "fd struct:sigset . flags:SFD", "inotify_init1": "flags:IN_INIT",
    "inotify_add_watch": "fd path flags:IN",
    # sockets
    "socket": "one:AF socktype protocol", "socketpair": "one:AF socktype protocol >struct:fdpair",
    "bind": "fd sockaddr .", "connect": "fd sockaddr .", "listen": "fd .",
    "accept": "fd >sockaddr >len", "accept4": "fd >sockaddr >len flags:SOCK_F",
    "getsockname": "fd >sockaddr >len", "getpeername": "fd >sockaddr >len",
    "sendto": "fd buf:2 . flags:MSG sockaddr .",
    "recvfrom": "fd >buf . flags:MSG >sockaddr >len",
    "sendmsg": "fd msghdr flags:MSG", "recvmsg": "fd >msghdr flags:MSG",
    "recvmmsg": "fd addr . flags:MSG .", "sendmmsg": "fd addr . flags:MSG",
    "shutdown": "fd one:SHUT", "setsockopt": "fd one:SOL sockopt optval .",
    "getsockopt": "fd one:SOL sockopt >optval >len",
    # memory
    "mmap": "addr . flags:PROT mapflags fd hex",
    "mprotect": "addr . flags:PROT", "munmap": "addr .",
    "mremap": "addr . . flags:MREMAP addr", "madvise": "addr . one:MADV", "brk": "addr",
    "msync": "addr . flags:MS", "mincore": "addr . addr", "mlock": "addr .", "munlock": "addr .",
    # tasks
    "clone": "clone - - - -", "clone3": "struct:clone_args .",
    "execve": "path argv env", "execveat": "fd path argv env flags:AT",
    "exit": ".", "exit_group": ".", "wait4": "pid >struct:wstatus flags:W >struct:rusage",
    "waitid": "one:P pid >struct:siginfo flags:W >struct:rusage",
    "uname": ">struct:uname", "sysinfo": ">struct:sysinfo", "times": ">struct:tms",
    "getrusage": "one:RUSAGE >struct:rusage", "getrlimit": "one:RLIMIT >struct:rlimit",
    "setrlimit": "one:RLIMIT struct:rlimit",
    "prlimit64": "pid one:RLIMIT struct:rlimit >struct:rlimit",
    "prctl": "one:PR prctl hex hex hex", "arch_prctl": "one:ARCH addr",
    "sched_setparam": "pid struct:int", "sched_get_priority_max": "one:SCHED",
    "sched_get_priority_min": "one:SCHED", "sched_rr_get_interval": "pid >struct:timespec",
    "pidfd_getfd": "fd fd .", "seccomp": ". hex addr", "getpriority": "one:PRIO .",
    "setpriority": "one:PRIO . .",
    "sched_setscheduler": "pid one:SCHED struct:int", "sched_getparam": "pid >struct:int",
    "sched_getaffinity": "pid . >cpus", "sched_setaffinity": "pid . cpus",
    "getrandom": ">random . flags:GRND", "futex": "futex - - - - -",
    "rseq": "addr hex . hex",
    "set_tid_address": "addr", "set_robust_list": "addr .", "getgroups": ". >gids",
    "setgroups": ". gids", "getresuid": ">struct:uint >struct:uint >struct:uint",
    "getresgid": ">struct:uint >struct:uint >struct:uint", "sethostname": "buf:1 .",
    "getcpu": ">struct:uint >struct:uint addr",
    # signals
    "rt_sigaction": "signo struct:sigaction >struct:sigaction .",
    "rt_sigprocmask": "one:SIG_HOW struct:sigset >struct:sigset .",
    "rt_sigpending": ">struct:sigset .", "rt_sigsuspend": "struct:sigset .",
    "rt_sigtimedwait": "struct:sigset >struct:siginfo struct:timespec .",
    "rt_sigqueueinfo": "pid signo struct:siginfo",
    "rt_tgsigqueueinfo": "pid pid signo struct:siginfo",
    "sigaltstack": "struct:stack >struct:stack", "kill": "pid signo", "tkill": "pid signo",
    "tgkill": "pid pid signo", "pidfd_send_signal": "fd signo struct:siginfo .",
    # time
    "nanosleep": "struct:timespec >left:timespec",
    "clock_nanosleep": "one:CLOCK flags:TIMER struct:timespec >left:timespec",
    "clock_gettime": "one:CLOCK >struct:timespec", "clock_getres": "one:CLOCK >struct:timespec",
    "clock_settime": "one:CLOCK struct:timespec",
    "gettimeofday": ">struct:timeval >struct:timezone", "time": ">struct:long",
    "setitimer": "one:ITIMER struct:itimerval >struct:itimerval",
    "getitimer": "one:ITIMER >struct:itimerval", "timer_create": "one:CLOCK addr >struct:int",
    "timer_settime": ". flags:TIMER struct:itimerspec >struct:itimerspec",
    "timer_gettime": ". >struct:itimerspec",
}  # fmt: skip

CLASSES: Final[dict[str, str]] = {
    "network": "socket socketpair bind listen accept accept4 connect getsockname getpeername"
    " sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown setsockopt getsockopt sendfile",
    "process": "clone clone3 fork vfork execve execveat exit exit_group wait4 waitid kill tkill"
    " tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_open pidfd_send_signal unshare arch_prctl",
    "signal": "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait"
    " rt_sigqueueinfo rt_tgsigqueueinfo sigaltstack kill tkill tgkill pause signalfd signalfd4"
    " pidfd_send_signal",
    "memory": "mmap munmap mprotect mremap madvise brk msync mincore mlock mlock2 munlock mlockall"
    " munlockall mbind get_mempolicy set_mempolicy migrate_pages move_pages remap_file_pages mseal"
    " pkey_mprotect shmat shmdt process_madvise",
    "clock": "clock_gettime clock_settime clock_getres clock_adjtime gettimeofday settimeofday time"
    " adjtimex",
    "ipc": "shmget shmat shmdt shmctl semget semop semctl semtimedop msgget msgsnd msgrcv msgctl",
    "creds": "getuid getgid geteuid getegid setuid setgid setreuid setregid setresuid setresgid"
    " getresuid getresgid setfsuid setfsgid getgroups setgroups capget capset prctl",
}
"""strace(1) -e classes; ``file``, ``desc``, ``stat``-like ones follow from the argument kinds."""
