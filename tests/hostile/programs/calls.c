/* Calls whose arguments mean something, in an order and with values that no program would choose: descriptors of every
 * kind, processes that have ended, structures that are half right. What is called follows from the seed. */
#include "hostile.h"
#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#define CHILDREN 8
#define CALLS 1500
#define FDS 64
#define PAGES 16
#define ONE_OF(list) (list)[below(sizeof(list) / sizeof *(list))]

/* Of each call its arguments, a letter for each: `value` has what they stand for. Nothing is among them by which one
 * process of the sandbox ends another by right, as with kill or F_SETOWN and F_SETSIG. */
static const struct {
    int nr;
    const char *arguments;
} calls[] = {
#define CALL_ROW(name, arguments) {SYS_##name, arguments},
#include "calls_table.h"
};

static const char *const paths[] = {
    "/play/file", "/play/directory", "/play/directory/a", "/play/directory/../file", "/play/fifo", "/play/link", "/play/socket",
    "/play", ".", "..", "", "/", "/etc", "/etc/passwd", "/dev/tty", "/dev/ptmx", "/dev/pts/0", "/dev/full", "/dev/stdin",
    "/dev/shm/x", "/proc/self/status", "/proc/self/fd/3", "/proc/self/fd", "/proc/self/fdinfo/4", "/proc/self/exe",
    "/proc/self/cwd", "/proc/self/root", "/proc/self/maps", "/proc/self/smaps", "/proc/self/comm", "/proc/self/environ",
    "/proc/self/ns/net", "/proc/self/task", "/proc/self/limits", "/proc/self/oom_score_adj", "/proc/self/timerslack_ns",
    "/proc/thread-self", "/proc/1/stat", "/proc/mounts", "/proc/net/tcp", "/proc/sys/kernel/hostname", "/proc/sysvipc/shm",
    "/sys/devices/system/cpu/online", "user.name", "tmpfs", "proc", "\xff\xfe",
};
static const long numbers[] = {0, 1, -1, 2, 3, 10, 100, -20, 19, 1 << 16, 0x7fffffff, 0x80000000, 0xffffffff};
static const long sizes[] = {0, 1, 4, 8, 12, 16, 24, 28, 64, 100, 128, 256, 4096, 65536, 1 << 20, -1, 1L << 31, 1L << 40};
static const long offsets[] = {0, 1, 10, 100, 4096, -1, 1L << 31, 1L << 40, 0x7fffffffffffffff, 1L << 63};
static const int commands[] = {0x1260, 0x5401, 0x5402, 0x5403, 0x5404, 0x5405, 0x5409, 0x540a, 0x540b, 0x540c, 0x540d, 0x540e,
                               0x540f, 0x5410, 0x5411, 0x5412, 0x5413, 0x5414, 0x541b, 0x5421, 0x5422, 0x5423, 0x5424, 0x5425,
                               0x5429, 0x5441, 0x5450, 0x5451, 0x5452, 0x8904, 0x8905, 0x8910, 0x8912, 0x8913, 0x8927,
                               0x8933, 0x40045431, 0x40085400, 0x80045430};
static const int fcntls[] = {0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 16, 36, 37, 1024, 1025, 1026, 1027, 1030, 1031, 1032, 1033, 1034};
static const int levels[] = {0, 1, 6, 17, 41, 255, 263, 270};

static int fds[FDS], nfds;
static pid_t self, zombie, stopped;
static char *buffer; /* PAGES of them, and nothing behind */

static void keep(int fd)
{
    if (fd >= 0 && nfds < FDS)
        fds[nfds++] = fd;
}

static int some_fd(void)
{
    return below(30) ? fds[below(nfds)] : (int)below(70) - 3;
}

static long some_flags(void)
{
    return below(3) ? 1L << below(32) | (below(3) ? 0 : 1L << below(24)) : 0;
}

/* A structure: of zeros, small numbers, times, addresses, descriptors, or of anything. */
static char *structure(void)
{
    char *at = buffer + below(PAGES - 1) * 4096;
    int how = (int)below(7);
    for (int i = 0; i < 96; i++) {
        uint64_t word = how == 0 ? 0 : how == 1 ? below(16) : how == 2 ? random64() : how == 3 ? ~0UL : 0;
        if (how == 4)
            word = i & 1 ? below(1000000000) : below(3);
        if (how == 5)
            word = (uint64_t)buffer + below(PAGES) * 4096;
        if (how == 6)
            word = (uint32_t)some_fd() | below(64) << 32;
        memcpy(at + 8 * i, &word, 8);
    }
    return at;
}

static long address(void)
{
    char *at = structure();
    switch (below(40)) {
    case 0: return 0;
    case 1: return 8;
    case 2: return (long)buffer + PAGES * 4096 - (long)below(100);
    case 3: return (long)at + (long)below(4096);
    default: return (long)at;
    }
}

static long some_time(void)
{
    long *at = (long *)structure();
    at[0] = (long)below(2);
    at[1] = (long)below(below(2) ? 2000000 : 1000000000);
    at[2] = 0;
    at[3] = (long)below(2000000);
    if (below(9) == 0)
        at[below(4)] = (long)random64();
    return below(5) ? (long)at : 0;
}

static long some_iovec(void)
{
    long *at = (long *)structure();
    for (int i = 0; i < 16; i += 2) {
        at[i] = address();
        at[i + 1] = below(8) ? (long)below(200) : ONE_OF(sizes);
    }
    return (long)at;
}

static long some_sockaddr(void)
{
    static const uint16_t families[] = {AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    char *at = structure();
    uint16_t family = ONE_OF(families), port = htons((uint16_t)(5000 + below(3)));
    memset(at, 0, 128);
    memcpy(at, &family, 2);
    memcpy(at + 2, &port, 2);
    if (family == AF_UNIX)
        strcpy(at + 2 + below(2), "/play/socket");
    if (family == AF_INET)
        memcpy(at + 4, &(uint32_t){htonl(below(3) ? INADDR_LOOPBACK : (uint32_t)random64())}, 4);
    if (family == AF_INET6)
        at[23] = (char)below(2);
    return (long)at;
}

/* struct msghdr, perhaps with descriptors. */
static long some_message(void)
{
    long *at = (long *)structure(), *control = (long *)structure();
    long length = 16 + 4 * (1 + (long)below(3));
    int words[] = {SOL_SOCKET, 1 + (int)below(3), some_fd(), some_fd(), some_fd()};
    control[0] = length;
    memcpy(control + 1, words, sizeof words);
    at[0] = below(2) ? 0 : some_sockaddr();
    at[1] = (long)below(130);
    at[2] = some_iovec();
    at[3] = (long)below(5);
    at[4] = below(2) ? (long)control : 0;
    at[5] = at[4] ? (below(8) ? (length + 7) & ~7L : (long)below(200)) : 0;
    at[6] = 0;
    return (long)at;
}

static long some_pollfds(void)
{
    char *at = structure();
    for (int i = 0; i < 8; i++)
        memcpy(at + 8 * i, &(int[]){some_fd(), (int)below(0x800)}, 8);
    return (long)at;
}

static long value(char letter)
{
    const pid_t processes[] = {self, zombie, stopped};
    switch (letter) {
    case 'f': return some_fd();
    case 'd': return below(2) ? AT_FDCWD : some_fd();
    case 'h': return below(2) ? 200 + (long)below(20) : 900; /* where a descriptor may go */
    case 'p': return below(10) ? ONE_OF(processes) : -ONE_OF(processes);
    case 'q': return below(2) ? zombie : stopped; /* to be signalled */
    case 'b': return address();
    case 'B': return (long)buffer + (long)below(PAGES) * 4096;
    case 'n': return ONE_OF(sizes);
    case 'o': return ONE_OF(offsets);
    case 'O': return below(2) ? 0 : (long)memcpy(structure(), &ONE_OF(offsets), 8);
    case 'i': return ONE_OF(numbers);
    case 'k': return (long)below(below(8) ? 9 : 70);
    case 'F': return some_flags();
    case 'm': return (long)below(01000) | (below(4) ? 0 : 1L << below(16));
    case 's': return below(30) ? (long)ONE_OF(paths) : address();
    case 'x': return below(2) ? (long)"user.name" : (long)below(66); /* an attribute, or a signal */
    case 'c': return below(4) ? (long)below(12) : ~(long)ONE_OF(processes) << 3 | 2; /* a clock */
    case 'T': return some_time();
    case 'I': return ONE_OF(commands);
    case 'C': return ONE_OF(fcntls);
    case 'L': return ONE_OF(levels);
    case 'W': return 1 | some_flags(); /* WNOHANG, or W_EXITED's like */
    case 'l': return (long)memcpy(structure(), &(int){(int)below(200)}, 4);
    case 'a': return some_sockaddr();
    case 'V': return some_iovec();
    case 'G': return some_message();
    case 'P': return some_pollfds();
    default: return 0;
    }
}

static void awake(int signo)
{
    (void)signo; /* a call that waits ends with EINTR */
}

static void open_everything(void)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6};
    char name[] = "/play/fileXXXXXX";
    int both[2];
    sigset_t all;

    mkdir("/play/directory", 0777);
    mkfifo("/play/fifo", 0666);
    symlink("/play/file", "/play/link");
    chdir("/play/directory"); /* the witness keeps its own */
    keep(mkstemp(name));
    for (int flags = 0; flags < 2; flags++) {
        pipe2(both, O_NONBLOCK | (flags ? O_DIRECT : 0));
        keep(both[0]), keep(both[1]);
        socketpair(AF_UNIX, (flags ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_NONBLOCK, 0, both);
        keep(both[0]), keep(both[1]);
        for (int i = 0; i < 3; i++)
            keep(socket(families[i], (flags ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0));
        keep(timerfd_create(flags ? CLOCK_REALTIME : CLOCK_MONOTONIC, TFD_NONBLOCK));
    }
    sigfillset(&all);
    keep(signalfd(-1, &all, SFD_NONBLOCK));
    keep(eventfd(0, EFD_NONBLOCK));
    keep(epoll_create1(0));
    keep(inotify_init1(IN_NONBLOCK));
    keep(memfd_create("\xff", 2 /* MFD_ALLOW_SEALING */));
    keep(socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, 0));
    for (unsigned i = 0; i < sizeof paths / sizeof *paths && nfds < FDS - 20; i++)
        keep(open(paths[i], O_RDONLY | O_NONBLOCK | O_NOCTTY | (i % 5 ? 0 : O_PATH)));
    keep(syscall(SYS_pidfd_open, zombie, 0));
    keep(syscall(SYS_pidfd_open, stopped, 0));
}

static void make_processes(void)
{
    siginfo_t info;
    self = getpid();
    zombie = begin();
    if (zombie == 0)
        _exit(1);
    stopped = begin();
    if (stopped == 0)
        for (;;)
            raise(SIGSTOP);
    waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT);
    waitid(P_PID, (id_t)stopped, &info, WSTOPPED | WNOWAIT);
}

static void one_call(void)
{
    const char *arguments;
    long a[6] = {0};
    int row = (int)below(sizeof calls / sizeof *calls), i = 0;
    for (arguments = calls[row].arguments; *arguments; arguments++)
        a[i++] = value(*arguments);
    raw(calls[row].nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void hostile_child(uint64_t seed)
{
    struct itimerval soon = {{0, 1000}, {0, 1000}};
    sigset_t none;

    random_state = seed * 0x9e3779b97f4a7c15 | 1;
    sigemptyset(&none);
    close(witness_stop[1]); /* what we leave behind shall not hold it */
    make_processes();
    buffer = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    open_everything();
    silence();
    for (int signo = 1; signo < 32; signo++)
        if (signo != SIGSEGV && signo != SIGBUS)
            sigaction(signo, &(struct sigaction){.sa_handler = awake}, NULL);
    for (int i = 0; i < CALLS; i++) {
        sigprocmask(SIG_SETMASK, &none, NULL);
        setitimer(ITIMER_REAL, &soon, NULL);
        one_call();
    }
    kill(stopped, SIGKILL);
    CALL(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;

    /* By right, too: a child has left our process group, ends, and its own stopped child stays behind in ours. */
    signal(SIGHUP, SIG_IGN);
    begin_witness();
    for (int i = 0; i < CHILDREN; i++) {
        pid_t child = begin();
        if (child == 0)
            hostile_child(seed * CHILDREN + (uint64_t)i);
        end_of(child, 2000);
    }
    end_witness();
    return verdict("calls");
}
