/* Jumps to every syscall instruction of the loader and the stub with registers of our own choice. Whatever the host
 * does not do for a guest is trapped there too and answered by the Sentry, as if we had called from our own text. */
#include "hostile.h"

#define ANY (-100000) /* no such error */

struct attempt {
    const char *name;
    long nr, a[6];
    long stub[3]; /* what the host may answer when called from the stub instead; ANY ends the list */
};

static char out[4096], seen[4096], word[8], path[] = "made-by-guest", none[] = "no-such-file";
static struct iovec vector = {out, 8};
static struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
static struct { unsigned short code; unsigned char t, f; unsigned k; } deny = {6, 0, 0, 0};
static struct { unsigned short count; void *filter; } program = {1, &deny};

#define P(x) (long)(x)
#define SAME {ANY}
static const struct attempt attempts[] = {
    {"getpid", SYS_getpid, {0}, SAME},
    {"gettid", SYS_gettid, {0}, SAME},
    {"getppid", SYS_getppid, {0}, SAME},
    {"getpgid", SYS_getpgid, {0}, SAME},
    {"uname", SYS_uname, {P(out)}, SAME},
    {"getcwd", SYS_getcwd, {P(out), 4096}, SAME},
    {"open", SYS_open, {P(path), O_CREAT | O_RDWR, 0777}, SAME},
    {"openat", SYS_openat, {AT_FDCWD, P(path), O_CREAT | O_RDWR, 0777}, SAME},
    {"openat of the root", SYS_openat, {AT_FDCWD, P("/"), O_DIRECTORY}, SAME},
    {"openat of /proc/self/mem", SYS_openat, {AT_FDCWD, P("/proc/self/mem"), O_RDWR}, SAME},
    {"readlink of /proc/self", SYS_readlink, {P("/proc/self"), P(out), 4096}, SAME},
    {"execve", SYS_execve, {P(none), 0, 0}, SAME},
    {"execveat", SYS_execveat, {AT_FDCWD, P(none), 0, 0, 0}, SAME},
    {"ptrace", SYS_ptrace, {16, 2}, SAME},
    {"process_vm_readv", SYS_process_vm_readv, {2, P(&vector), 1, P(&vector), 1}, SAME},
    {"process_vm_writev", SYS_process_vm_writev, {2, P(&vector), 1, P(&vector), 1}, SAME},
    {"kill 3", SYS_kill, {3, 0}, SAME},
    {"kill 9999", SYS_kill, {9999, 9}, SAME},
    {"kill 0", SYS_kill, {0, 0}, SAME},
    {"tgkill", SYS_tgkill, {9999, 9999, 9}, SAME},
    {"pidfd_open", SYS_pidfd_open, {9999, 0}, SAME},
    {"pidfd_getfd", SYS_pidfd_getfd, {1, 3, 0}, SAME},
    {"socket", SYS_socket, {AF_INET, SOCK_STREAM, 0}, SAME},
    {"netlink", SYS_socket, {AF_NETLINK, SOCK_RAW, 0}, SAME},
    {"packet", SYS_socket, {AF_PACKET, SOCK_RAW, 0}, SAME},
    {"memfd_create", SYS_memfd_create, {P(path), 0}, SAME},
    {"seccomp", SYS_seccomp, {1, 0, P(&program)}, SAME},
    {"seccomp listener", SYS_seccomp, {1, 8, P(&program)}, SAME},
    {"prctl death signal", SYS_prctl, {1, 0}, SAME},
    {"prctl name", SYS_prctl, {16, P(out)}, SAME},
    {"prctl no_new_privs", SYS_prctl, {39}, SAME},
    {"prctl dumpable", SYS_prctl, {3}, SAME},
    {"prctl seccomp", SYS_prctl, {22, 1}, SAME},
    {"prctl mm", SYS_prctl, {35, 1, P(out)}, SAME},
    {"prctl death by SIGKILL", SYS_prctl, {1, 9}, {0, ANY}},
    {"arch_prctl cpuid", SYS_arch_prctl, {0x1012, 0}, SAME},
    {"mmap of the channel", SYS_mmap, {0, 4096, 3, 1, CHANNEL_FD, 0}, SAME},
    {"mmap of the doorbell", SYS_mmap, {0, 4096, 3, 1, DOORBELL_FD, 0}, SAME},
    {"mmap of the control socket", SYS_mmap, {0, 4096, 3, 1, CONTROL_FD, 0}, SAME},
    {"mmap of a descriptor for reading", SYS_mmap, {0, 4096, 1, 2, 6, 0}, {-EBADF, ANY}},
    {"mmap of a granted one", SYS_mmap, {0, 4096, 3, 1, GRANT_FD_FIRST + 1, 0}, {-EPERM, ANY}},
    {"mmap over the stub", SYS_mmap, {P(STUB_TEXT), 4096, 7, 0x32, -1, 0}, SAME},
    {"mmap over the shared page", SYS_mmap, {P(SHARED_BASE), 4096, 7, 0x32, -1, 0}, SAME},
    {"mmap over the channel", SYS_mmap, {P(CHANNEL_BASE), P(CHANNEL_SIZE), 7, 0x32, -1, 0}, SAME},
    {"mmap of the channel elsewhere", SYS_mmap, {P(STACKS_BASE), P(CHANNEL_SIZE), 3, 0x11, CHANNEL_FD, 0}, SAME},
    {"munmap of the stub", SYS_munmap, {P(STUB_TEXT), 4096}, SAME},
    {"munmap of all", SYS_munmap, {P(TRUSTED_BASE), P(TRUSTED_END - TRUSTED_BASE)}, SAME},
    {"mprotect of the stub", SYS_mprotect, {P(STUB_TEXT), 4096, 7}, SAME},
    {"mprotect of the shared page", SYS_mprotect, {P(SHARED_BASE), 4096, 3}, SAME},
    {"mremap of the stub", SYS_mremap, {P(STUB_TEXT), 4096, 8192, 1}, SAME},
    {"madvise of the stub", SYS_madvise, {P(STUB_TEXT), 4096, 4}, SAME},
    {"madvise removing", SYS_madvise, {P(CHANNEL_BASE), P(CHANNEL_SIZE), 9}, SAME},
    {"pkey_mprotect", SYS_pkey_mprotect, {P(STUB_TEXT), 4096, 7, -1}, SAME},
    {"remap_file_pages", SYS_remap_file_pages, {P(CHANNEL_BASE), 4096, 0, 1, 0}, SAME},
    {"doorbell", SYS_write, {DOORBELL_FD, P(word), 8}, {8, -EAGAIN, ANY}},
    {"doorbell, one byte", SYS_write, {DOORBELL_FD, P(word), 1}, SAME},
    {"write to the channel", SYS_write, {CHANNEL_FD, P(out), 8}, SAME},
    {"write to the control socket", SYS_write, {CONTROL_FD, P(out), 8}, SAME},
    {"pwrite to the channel", SYS_pwrite64, {CHANNEL_FD, P(out), 8, 0}, SAME},
    {"ftruncate of the channel", SYS_ftruncate, {CHANNEL_FD, 0}, SAME},
    {"fallocate of the channel", SYS_fallocate, {CHANNEL_FD, 0, 0, 1L << 30}, SAME},
    {"sendmsg on the control socket", SYS_sendmsg, {CONTROL_FD, P(&message), 0}, SAME},
    {"recvmsg from the control socket", SYS_recvmsg, {CONTROL_FD, P(&message), MSG_DONTWAIT}, {-EAGAIN, -ENOTSOCK, ANY}},
    {"recvmsg from another", SYS_recvmsg, {CHANNEL_FD, P(&message), MSG_DONTWAIT}, SAME},
    {"read of the control socket", SYS_read, {CONTROL_FD, P(out), 8}, SAME},
    {"dup2", SYS_dup2, {CHANNEL_FD, 60}, SAME},
    {"dup", SYS_dup, {CONTROL_FD}, SAME},
    {"fcntl", SYS_fcntl, {CONTROL_FD, F_DUPFD, 0}, SAME},
    {"ioctl", SYS_ioctl, {CONTROL_FD, 0x541b, P(out)}, SAME},
    {"close", SYS_close, {77}, SAME},
    {"close_range", SYS_close_range, {1000, 2000, 0}, SAME},
    {"clone3", SYS_clone3, {P(out), 1}, SAME},
    {"unshare", SYS_unshare, {0x10000000}, SAME},
    {"setns", SYS_setns, {CONTROL_FD, 0}, SAME},
    {"mount", SYS_mount, {P("x"), P("/"), P("tmpfs"), 0, 0}, SAME},
    {"bpf", SYS_bpf, {0, P(out), 120}, SAME},
    {"perf_event_open", SYS_perf_event_open, {P(out), 0, -1, -1, 0}, SAME},
    {"io_uring_setup", SYS_io_uring_setup, {8, P(out)}, SAME},
    {"userfaultfd", SYS_userfaultfd, {0}, SAME},
    {"keyctl", SYS_keyctl, {0, -3, 0}, SAME},
    {"open_by_handle_at", SYS_open_by_handle_at, {AT_FDCWD, P(out), 0}, SAME},
    {"init_module", SYS_init_module, {P(out), 8, P(none)}, SAME},
    {"iopl", SYS_iopl, {3}, SAME},
    {"prlimit", SYS_prlimit64, {1, 7, 0, P(out)}, SAME},
    {"rt_sigaction of SIGSYS", SYS_rt_sigaction, {SIGSYS, 0, P(out), 8}, SAME},
    {"sigaltstack", SYS_sigaltstack, {0, P(out)}, SAME},
    {"rt_sigprocmask", SYS_rt_sigprocmask, {0, 0, P(out), 8}, SAME},
    {"futex lock_pi", SYS_futex, {P(out), 6, 0, 0, 0, 0}, SAME},
    {"set_robust_list", SYS_set_robust_list, {0, 24}, SAME},
    {"getrandom", SYS_getrandom, {P(out), 0, 0}, SAME},
    {"x32 open", 0x40000000L | SYS_open, {P(path), O_CREAT | O_RDWR, 0777}, SAME},
    {"no such call", 599, {0}, SAME},
};

static long closed(const struct attempt *t, long result)
{
    static const long makers[] = {SYS_open, SYS_openat, SYS_socket, SYS_memfd_create, SYS_pidfd_open, SYS_pidfd_getfd,
                                  SYS_dup, SYS_fcntl, SYS_perf_event_open, SYS_io_uring_setup, SYS_userfaultfd,
                                  SYS_open_by_handle_at, SYS_bpf, SYS_seccomp};
    for (unsigned i = 0; i < sizeof makers / sizeof *makers; i++)
        if (t->nr == makers[i] && result > 2)
            close((int)result);
    return result;
}

static int mute; /* the step over the site's next instruction loses the result */

/* From our own text, then from the site: the same answer and the same bytes, or one the stub's own rules allow. */
static void attempt(const struct attempt *t, uint64_t site)
{
    memset(out, 0, sizeof out);
    long expected = closed(t, raw(t->nr, t->a[0], t->a[1], t->a[2], t->a[3], t->a[4], t->a[5]));
    memcpy(seen, out, sizeof out);
    memset(out, 0, sizeof out);
    long result = closed(t, call_at(site, t->nr, t->a));
    for (int i = 0; i < 3 && t->stub[i] != ANY && in_stub(site); i++)
        if (result == t->stub[i])
            return;
    if (result == -UNFIT_ERRNO && in_stub(site))
        return; /* --memory-mode=validated: a memory call that is not even notified */
    if ((result != expected && !mute) || memcmp(seen, out, sizeof out))
        wrong("%s at %lx: %ld, but %ld from here", t->name, site, result, expected);
}

static void attempts_at(uint64_t site)
{
    static const long nothing[6];
    mute = call_at(site, SYS_getpid, nothing) == call_at(site, SYS_getuid, nothing) && getpid() != getuid();
    for (unsigned i = 0; i < sizeof attempts / sizeof *attempts; i++)
        attempt(&attempts[i], site);
    CHECK(access(path, F_OK) == 0);
    CHECK(lines_are_right());
}

/* Those after which the caller may be gone, each in a child of its own. */
static const struct attempt last[] = {
    {"exit", SYS_exit, {0}, SAME},
    {"exit_group", SYS_exit_group, {0}, SAME},
    {"rt_sigreturn", SYS_rt_sigreturn, {0}, SAME},
    {"execve", SYS_execve, {P("/bin/true"), 0, 0}, SAME},
    {"fork", SYS_clone, {SIGCHLD}, SAME},
    {"old fork", SYS_fork, {0}, SAME},
    {"a thread that nobody knows", SYS_clone, {0x1250F00, 0, P(out), P(out), 0}, SAME},
    {"a fork that nobody knows", SYS_clone, {0x1008000, 0, 0, P(out)}, SAME},
    {"a vfork that nobody knows", SYS_clone, {0x1208100, 0, 0, P(out)}, SAME},
    {"the channel for the control socket", SYS_dup2, {CHANNEL_FD, CONTROL_FD}, SAME},
    {"the doorbell for the channel", SYS_dup2, {DOORBELL_FD, CHANNEL_FD}, SAME},
    {"closing what was sent", SYS_close_range, {CONTROL_FD + 1, -1, 0}, SAME},
    {"a thread without a stack", SYS_clone, {0x1250F00 | 0x80000, 8, 0, 0, 0}, SAME},
    {"closing the doorbell", SYS_close, {DOORBELL_FD}, SAME},
    {"closing the channel", SYS_close, {CHANNEL_FD}, SAME},
    {"closing the control socket", SYS_close, {CONTROL_FD}, SAME},
    {"the channel over itself", SYS_mmap, {P(CHANNEL_BASE), P(CHANNEL_SIZE), 3, 0x11, CHANNEL_FD, 0}, SAME},
    {"an invisible wait", SYS_recvmsg, {CONTROL_FD, P(&message), 0}, SAME},
    {"a full doorbell", SYS_write, {DOORBELL_FD, P("\xfe\xff\xff\xff\xff\xff\xff\xff"), 8}, SAME},
    {"killing the group", SYS_kill, {0, SIGCONT}, SAME},
};

static void last_attempts(void)
{
    pid_t pids[sizeof last / sizeof *last][2];
    unsigned count = sizeof last / sizeof *last;
    /* the first site of the loader and of the stub whose next instruction is as good as any */
    uint64_t chosen[2] = {sites[0], sites[nsites - 1]};

    for (int i = 0; i < nsites; i++)
        if (in_stub(sites[i])) {
            chosen[1] = sites[i];
            break;
        }
    for (unsigned i = 0; i < count; i++)
        for (int where = 0; where < 2; where++) {
            pids[i][where] = begin();
            if (pids[i][where])
                continue;
            silence();
            long result = call_at(chosen[where], last[i].nr, last[i].a);
            if (result == 0 && last[i].nr != SYS_close)
                CALL(SYS_exit_group, 0, 0, 0, 0, 0, 0);
            lines_are_right();
            CALL(SYS_exit_group, 0, 0, 0, 0, 0, 0);
        }
    nap(200);
    for (unsigned i = 0; i < count; i++)
        for (int where = 0; where < 2; where++)
            end_of(pids[i][where], 100);
}

int main(int argc, char **argv)
{
    int step = argc > 1 ? atoi(argv[1]) : 1;
    catch_faults();
    find_sites();
    begin_witness();
    for (int i = 0; i < nsites; i += step) {
        int status = IN_CHILD(PATIENCE_MS, attempts_at(sites[i]));
        if (status)
            wrong("the child of site %lx ended with wait status %#x", sites[i], status);
    }
    last_attempts();
    end_witness();
    return verdict("jumps");
}
