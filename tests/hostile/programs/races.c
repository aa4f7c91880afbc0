/* Everything a system call points to changes while the call is made: another thread writes paths, structs, vectors and
 * lengths over each other without end. `races SEED`. */
#include "hostile.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <sys/time.h>

#define CHILDREN 6
#define ROUNDS 12

static uint64_t words[512];
static char buffer[65536];

/* What makes calls fail, wait, copy much or copy nothing. */
static uint64_t some_word(void)
{
    switch (below(14)) {
    case 0: return 0;
    case 1: return below(8);
    case 2: return -1UL;
    case 3: return -below(4096);
    case 4: return (uint64_t)buffer + below(sizeof buffer);
    case 5: return (uint64_t)&words[below(400)];
    case 6: return GUEST_TOP - below(64);
    case 7: return STUB_TEXT;
    case 8: return 1UL << below(63);
    case 9: return below(1 << 17);
    case 10: memcpy(buffer, "scratch\0\0", 8); return *(uint64_t *)"../tmp\0";
    case 11: return *(uint64_t *)"/tmp/../";
    case 12: return AF_UNIX | (uint64_t)'x' << 16 | below(2) << 24;
    default: return random64();
    }
}

static void *flip(void *unused)
{
    for (;;)
        for (int i = 0; i < 64; i++)
            words[below(512)] = some_word();
    return unused;
}

static void awake(int signo)
{
    (void)signo;
}

static uint64_t *p(void)
{
    return &words[below(400)];
}

static void calls(int null, int file, int epoll)
{
    int pair[2], stream[2], listener = socket(AF_UNIX, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
    pipe2(pair, O_NONBLOCK);
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, stream);
    CALL(SYS_openat, AT_FDCWD, p(), O_RDONLY | O_NONBLOCK, 0, 0, 0);
    CALL(SYS_openat2, AT_FDCWD, p(), p(), 24, 0, 0);
    CALL(SYS_newfstatat, AT_FDCWD, p(), p(), 0, 0, 0);
    CALL(SYS_statx, AT_FDCWD, p(), 0, 0xfff, p(), 0);
    CALL(SYS_readlinkat, AT_FDCWD, p(), p(), below(5000), 0, 0);
    CALL(SYS_symlinkat, p(), AT_FDCWD, p(), 0, 0, 0);
    CALL(SYS_mkdirat, AT_FDCWD, p(), 0700, 0, 0, 0);
    CALL(SYS_faccessat2, AT_FDCWD, p(), 0, 0, 0, 0);
    CALL(SYS_utimensat, AT_FDCWD, p(), p(), 0, 0, 0);
    CALL(SYS_setxattr, p(), p(), p(), below(300), 0, 0);
    CALL(SYS_listxattr, p(), p(), below(300), 0, 0, 0);
    CALL(SYS_getdents64, file, p(), 2000, 0, 0, 0);
    CALL(SYS_readv, file, p(), below(40), 0, 0, 0);
    CALL(SYS_writev, pair[1], p(), below(40), 0, 0, 0);
    CALL(SYS_writev, null, p(), below(1100), 0, 0, 0);
    CALL(SYS_preadv2, file, p(), below(40), 0, 0, 0);
    CALL(SYS_pwritev, file, p(), below(40), 0, 0, 0);
    CALL(SYS_vmsplice, pair[1], p(), below(20), 0, 0, 0);
    CALL(SYS_sendmsg, stream[0], p(), MSG_DONTWAIT, 0, 0, 0);
    CALL(SYS_sendmmsg, stream[0], p(), below(8), MSG_DONTWAIT, 0, 0);
    CALL(SYS_recvmsg, stream[1], p(), MSG_DONTWAIT, 0, 0, 0);
    CALL(SYS_recvmmsg, stream[1], p(), below(8), MSG_DONTWAIT, p(), 0);
    CALL(SYS_sendto, udp, p(), below(2000), MSG_DONTWAIT, p(), below(130));
    CALL(SYS_bind, listener, p(), below(130), 0, 0, 0);
    CALL(SYS_connect, stream[0], p(), below(130), 0, 0, 0);
    CALL(SYS_getsockname, listener, p(), p(), 0, 0, 0);
    CALL(SYS_getsockopt, listener, SOL_SOCKET, below(60), p(), p(), 0);
    CALL(SYS_setsockopt, listener, SOL_SOCKET, below(60), p(), below(20), 0);
    CALL(SYS_poll, p(), below(20), 1, 0, 0, 0);
    CALL(SYS_ppoll, p(), below(20), p(), p(), 8, 0);
    CALL(SYS_select, below(70), p(), p(), p(), p(), 0);
    CALL(SYS_pselect6, below(70), p(), p(), p(), p(), p());
    CALL(SYS_epoll_ctl, epoll, 1 + below(3), pair[0], p(), 0, 0);
    CALL(SYS_epoll_wait, epoll, p(), below(20), 1, 0, 0);
    CALL(SYS_nanosleep, p(), p(), 0, 0, 0, 0);
    CALL(SYS_timer_create, below(10), p(), p(), 0, 0, 0);
    CALL(SYS_futex, p(), below(14) | 128, below(4), p(), p(), below(4));
    CALL(SYS_rt_sigaction, 40 + below(20), p(), p(), 8, 0, 0);
    CALL(SYS_rt_sigtimedwait, p(), p(), p(), 8, 0, 0);
    CALL(SYS_rt_sigqueueinfo, getpid(), 0, p(), 0, 0, 0);
    CALL(SYS_getrandom, p(), below(3000), 0, 0, 0, 0);
    CALL(SYS_getgroups, below(70000), p(), 0, 0, 0, 0);
    CALL(SYS_setgroups, below(20), p(), 0, 0, 0, 0);
    CALL(SYS_capget, p(), p(), 0, 0, 0, 0);
    CALL(SYS_prlimit64, 0, 4, p(), p(), 0, 0);
    CALL(SYS_fcntl, file, F_SETLK, p(), 0, 0, 0);
    CALL(SYS_ioctl, file, 0x5401 + below(60), p(), 0, 0, 0);
    CALL(SYS_clone3, p(), below(100), 0, 0, 0, 0);
    if (below(8) == 0)
        CALL(SYS_execve, p(), p(), p(), 0, 0, 0);
    CALL(SYS_wait4, -1, p(), 1, p(), 0, 0);
    CALL(SYS_process_vm_readv, getpid(), p(), below(20), p(), below(20), 0);
    CALL(SYS_copy_file_range, file, p(), null, p(), below(9000), 0);
    CALL(SYS_sendfile, null, file, p(), below(9000), 0, 0);
    CALL(SYS_splice, pair[0], 0, null, 0, below(9000), 2);
    for (int fd = pair[0]; fd < 40; fd++)
        close(fd);
}

static void race(uint64_t seed)
{
    struct sigaction action = {.sa_handler = awake};
    struct itimerval timer = {{0, 20000}, {0, 20000}};
    pthread_t thread;
    random_state = seed + 1;
    silence();
    CALL(SYS_prlimit64, 0, 7, (&(uint64_t[2]){200, 200}), 0, 0, 0);
    int null = open("/dev/null", O_RDWR), file = open("/tmp", O_RDONLY), epoll = epoll_create1(0);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    pthread_create(&thread, NULL, flip, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        calls(null, i % 2 ? file : null, epoll);
        setitimer(ITIMER_REAL, &timer, NULL);
    }
    CALL(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    pid_t pids[CHILDREN];
    begin_witness();
    for (int i = 0; i < CHILDREN; i++) {
        pids[i] = begin();
        if (pids[i] == 0)
            race(seed * CHILDREN + i);
    }
    for (int i = 0; i < CHILDREN; i++)
        end_of(pids[i], i ? 200 : 3000);
    end_witness();
    return verdict("races");
}
