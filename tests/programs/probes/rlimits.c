/* What each resource limit does: memory, file size, processes, processor time, descriptors, stack, locks, signals. */
#include "probe.h"
#include <sys/epoll.h>
#include <sys/sendfile.h>

static char *self;
static volatile int signals;

static void count(int signo) { signals++; }

static void limit(int resource, rlim_t soft, rlim_t hard) { setrlimit(resource, &(struct rlimit){soft, hard}); }

/* Unlike fork: the child's errors are the child's, and it goes on with its own limits. */
#define CHILD(name, ...)                    \
    do {                                    \
        pid_t child_ = begin();             \
        if (child_ == 0) {                  \
            __VA_ARGS__;                    \
            done(0);                        \
        }                                   \
        reap(name, child_);                 \
    } while (0)

static void *map(long mib, int prot, int flags) { return mmap(NULL, mib << 20, prot, flags | MAP_ANONYMOUS, -1, 0); }

static long most(void)
{
    long mib = 0;
    while (mib < 1024 && map(1, 3, MAP_PRIVATE) != MAP_FAILED)
        mib++;
    return mib;
}

static int grow(int blocks)
{
    volatile char block[65536];
    block[0] = blocks;
    return blocks ? grow(blocks - 1) + block[0] : 0;
}

static void again(const char *what, const char *argument)
{
    fflush(stdout);
    execl(self, self, what, argument, NULL);
}

static void address_space(void)
{
    BLOCK("address space");
    for (int n = 0; n < 8; n++) {
        CHILD("RLIMIT_AS over exec", limit(RLIMIT_AS, 200 << 20, 200 << 20); again("most", "60"));
        CHILD("RLIMIT_DATA over exec", limit(RLIMIT_DATA, 100 << 20, 100 << 20); again("most", "60"));
    }
    CHILD("raised, inherited", {
        limit(RLIMIT_AS, 100 << 20, 300 << 20);
        printf("%ld\n", most() / 20);
        limit(RLIMIT_AS, 300 << 20, 300 << 20);
        printf("%ld\n", most() / 20);
        CHILD("child", printf("%ld\n", most()));
        limit(RLIMIT_AS, 10 << 20, 300 << 20);
        SAY("below what there is", most());
        SAY("brk", sbrk(1 << 20) == (void *)-1 ? -1 : 0);
    });
    int go[2];
    pipe(go);
    pid_t pid = begin();
    if (pid == 0) {
        char byte;
        read(go[0], &byte, 1);
        printf("%ld\n", most() / 20);
        done(0);
    }
    SAY("of another process", prlimit(pid, RLIMIT_AS, &(struct rlimit){120 << 20, 300 << 20}, NULL));
    write(go[1], "x", 1);
    reap("it", pid);
    CHILD("what counts for RLIMIT_AS", {
        limit(RLIMIT_AS, 100 << 20, 100 << 20);
        char *at = map(50, 0, MAP_PRIVATE);
        SAY("mprotect", mprotect(at, 50 << 20, 3));
        SAY("mremap", mremap(at, 4096, 200 << 20, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
        SAY("file", mmap(NULL, 200 << 20, 1, MAP_PRIVATE, open(self, O_RDONLY), 0) == MAP_FAILED ? -1 : 0);
        SAY("shared", map(200, 3, MAP_SHARED) == MAP_FAILED ? -1 : 0);
    });
    CHILD("what counts for RLIMIT_DATA", {
        limit(RLIMIT_DATA, 40 << 20, 100 << 20);
        char *at = map(50, 0, MAP_PRIVATE);
        SAY("no access", at == MAP_FAILED ? -1 : 0);
        SAY("mprotect", mprotect(at, 50 << 20, 3));
        SAY("shared", map(200, 3, MAP_SHARED) == MAP_FAILED ? -1 : 0);
    });
}

static void processes(void)
{
    BLOCK("processes");
    if (geteuid() != 0)
        return; /* an ordinary user's processes are counted on the whole machine */
    CHILD("RLIMIT_NPROC", {
        setgid(54321);
        setuid(54321);
        limit(RLIMIT_NPROC, 3, 3);
        pid_t pids[4];
        pthread_t thread;
        for (int n = 0; n < 4; n++) {
            fflush(stdout);
            if ((pids[n] = TRY("fork", fork())) == 0)
                pause();
        }
        printf("thread %d\n", pthread_create(&thread, NULL, (void *)pause, NULL));
        for (int n = 0; n < 2; n++) {
            kill(pids[n], SIGKILL);
            waitpid(pids[n], NULL, 0);
        }
        CHILD("again", ;);
    });
    CHILD("RLIMIT_NPROC of 0", {
        limit(RLIMIT_NPROC, 0, 0);
        CHILD("root", ;);
        setgid(54322);
        SAY("setuid", setuid(54322));
        SAY("fork", fork());
        again("id", "");
    });
}

static void file_size(void)
{
    BLOCK("file size");
    static char b[8192];
    int ends[2], fd = open("big", O_RDWR | O_CREAT | O_TRUNC, 0600), program = open(self, O_RDONLY);
    int more = open("big", O_WRONLY | O_APPEND);
    signal(SIGXFSZ, count);
    pipe(ends);
    limit(RLIMIT_FSIZE, 5000, RLIM_INFINITY);
#define SIGNALS(what, call)              \
    do {                                 \
        SAY(what, call);                 \
        printf("signals %d\n", signals); \
    } while (0)
    SIGNALS("below", write(fd, b, 4000));
    SIGNALS("partly", write(fd, b, 4000));
    SIGNALS("beyond", write(fd, b, 1));
    SIGNALS("nothing", write(fd, b, 0));
    SIGNALS("pwrite", pwrite(fd, b, 10, 4995));
    SIGNALS("pwrite", pwrite(fd, b, 10, 9999));
    SIGNALS("ftruncate", ftruncate(fd, 5000));
    SIGNALS("ftruncate", ftruncate(fd, 5001));
    SIGNALS("truncate", truncate("big", 6000));
    SIGNALS("fallocate", fallocate(fd, 0, 0, 6000));
    SIGNALS("fallocate keeps size", fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 6000));
    SIGNALS("append", (ftruncate(fd, 4990), write(more, b, 100)));
    SIGNALS("append", write(more, b, 100));
    SIGNALS("pipe", write(ends[1], b, 8000));
    SIGNALS("splice", (lseek(fd, 4000, SEEK_SET), splice(ends[0], NULL, fd, NULL, 8000, 0)));
    SIGNALS("sendfile", (lseek(fd, 0, SEEK_SET), sendfile(fd, program, NULL, 8000)));
    SIGNALS("writev", (lseek(fd, 0, SEEK_SET), writev(fd, (struct iovec[]){{b, 4000}, {b, 4000}}, 2)));
    SIGNALS("copy_file_range", (lseek(fd, 3000, SEEK_SET), copy_file_range(program, NULL, fd, NULL, 8000, 0)));
    SIGNALS("copy_file_range", (lseek(fd, 6000, SEEK_SET), copy_file_range(program, NULL, fd, NULL, 8000, 0)));
    SIGNALS("memfd", write(memfd_create("x", 0), b, 8000));
    limit(RLIMIT_FSIZE, 10, RLIM_INFINITY);
    SIGNALS("smaller", ftruncate(fd, 100));
    SIGNALS("memfd", ftruncate(memfd_create("y", 0), 4096));
    SIGNALS("shared memory", map(1, 3, MAP_SHARED) == MAP_FAILED ? -1 : 0);
    limit(RLIMIT_FSIZE, RLIM_INFINITY, RLIM_INFINITY);
}

static void processor_time(void)
{
    BLOCK("processor time");
    CHILD("caught SIGXCPU", {
        signal(SIGXCPU, count);
        limit(RLIMIT_CPU, 1, 2);
        while (!signals)
            ;
        printf("first\n");
        fflush(stdout);
        for (;;)
            ;
    });
    CHILD("soft limit, over exec", limit(RLIMIT_CPU, 1, 3); again("spin", ""));
    CHILD("hard limit", limit(RLIMIT_CPU, 1, 1); again("spin", ""));
    CHILD("no time at all", limit(RLIMIT_CPU, 0, 3); for (;;));
}

static void descriptors(void)
{
    BLOCK("descriptors");
    struct pollfd many[4] = {{-1, 1, 0}, {-1, 1, 0}, {-1, 1, 0}, {-1, 1, 0}};
    CHILD("RLIMIT_NOFILE", {
        int pair[2];
        limit(RLIMIT_NOFILE, 3, 1000);
        SAY("poll", poll(many, 4, 0));
        SAY("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
        SAY("epoll", epoll_create1(0));
        SAY("memfd", memfd_create("a", 0));
        SAY("F_DUPFD", fcntl(0, F_DUPFD, 3));
        SAY("F_DUPFD", fcntl(0, F_DUPFD, 2));
        SAY("dup2", dup2(0, 3));
        SAY("dup2 of itself", dup2(0, 0));
        SAY("dup3 of itself", dup3(0, 0, 0));
    });
}

static void stack(void)
{
    BLOCK("stack");
    CHILD("1 MiB, enough", limit(RLIMIT_STACK, 1 << 20, 64 << 20); again("grow", "10"));
    CHILD("1 MiB, too little", limit(RLIMIT_STACK, 1 << 20, 64 << 20); again("grow", "40"));
    CHILD("32 MiB", limit(RLIMIT_STACK, 32 << 20, 64 << 20); again("grow", "400"));
    CHILD("no limit", limit(RLIMIT_STACK, RLIM_INFINITY, RLIM_INFINITY); again("grow", "600"));
}

static void locked_memory(void)
{
    BLOCK("locked memory");
    if (geteuid() == 0 && (setgid(54323) || setuid(54323)))
        return;
    limit(RLIMIT_MEMLOCK, 65536, 65536);
    char *at = map(1, 3, MAP_PRIVATE);
    SAY("lock", mlock(at, 32768));
    SAY("the same", mlock(at, 32768));
    SAY("more", mlock(at + 32768, 32768));
    SAY("beyond", mlock(at + 65536, 4096));
    SAY("unlock", munlock(at, 4096));
    SAY("fits", mlock(at + 65536, 4096));
    SAY("unlocked already", munlock(at, 4096));
    SAY("beyond", mlock(at + 131072, 4096));
    SAY("MAP_LOCKED", map(1, 3, MAP_PRIVATE | MAP_LOCKED) == MAP_FAILED ? -1 : 0);
    SAY("everything", mlockall(MCL_CURRENT));
    SAY("unmap", munmap(at, 65536));
    SAY("now it fits", mlock(at + 131072, 4096));
    SAY("nothing locked", munlockall());
    limit(RLIMIT_MEMLOCK, 0, 0);
    SAY("none allowed", mlock(at + 131072, 1));
    SAY("unlock", munlock(at + 131072, 4096));
    SAY("everything", mlockall(MCL_CURRENT));
    SAY("wraps", mlock((void *)-4096, 8192));
}

static void pending_signals(void)
{
    BLOCK("pending signals");
    sigset_t all;
    siginfo_t info;
    timer_t timer;
    if (geteuid() != 0 || setgid(54324) || setuid(54324))
        return; /* an ordinary user's signals and timers are counted on the whole machine */
    limit(RLIMIT_SIGPENDING, 4, 4);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (int n = 0; n < 6; n++)
        SAY("sigqueue", sigqueue(getpid(), SIGRTMIN, (union sigval){n}));
    SAY("kill, real-time", kill(getpid(), SIGRTMIN));
    SAY("kill, real-time, first", kill(getpid(), SIGRTMIN + 2));
    SAY("kill", kill(getpid(), SIGUSR1));
    SAY("sigqueue of a standard signal", sigqueue(getpid(), SIGUSR2, (union sigval){7}));
    SAY("tgkill, real-time", syscall(SYS_tgkill, getpid(), getpid(), SIGRTMIN + 1));
    while (sigtimedwait(&all, &info, &(struct timespec){0}) > 0)
        printf("got %d code %d value %d\n", info.si_signo, info.si_code, info.si_value.sival_int);
    for (int n = 0; n < 6; n++)
        SAY("timer", timer_create(CLOCK_MONOTONIC, NULL, &timer));
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc == 3) {
        if (strcmp(argv[1], "most") == 0)
            printf("%d\n", most() >= atoi(argv[2]));
        if (strcmp(argv[1], "grow") == 0)
            printf("grew %d\n", grow(atoi(argv[2])) != 0);
        while (strcmp(argv[1], "spin") == 0)
            ;
        printf("ran\n");
        return 0;
    }
    address_space();
    processes();
    file_size();
    processor_time();
    descriptors();
    stack();
    CHILD("locks", locked_memory());
    CHILD("signals", pending_signals());
    return 0;
}
