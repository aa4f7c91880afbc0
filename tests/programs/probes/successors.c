/* Programs that follow each other in one process, and processes made while others are busy: a new program finds
 * nothing of the old one but what execve(2) says that it keeps. */
#include "probe.h"
#include <dlfcn.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/times.h>

#define OLD_PLACE ((void *)0x123456780000)

static char self[4096];

static int readable(const void *at)
{
    int fds[2];
    pipe(fds);
    long n = write(fds[1], at, 1);
    close(fds[0]);
    close(fds[1]);
    return n == 1;
}

/* What the second program sees. */
static int second(char **argv)
{
    unsigned short control;
    unsigned mxcsr;
    stack_t stack;
    sigset_t mask, pending;
    struct sigaction action;
    struct rlimit limit;

    __asm__ volatile("fnstcw %0\n stmxcsr %1" : "=m"(control), "=m"(mxcsr));
    printf("fpu %x %x\n", control, mxcsr);
    sigaltstack(NULL, &stack);
    printf("stack %d\n", stack.ss_flags == SS_DISABLE);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    sigpending(&pending);
    printf("mask %d %d pending %d\n", sigismember(&mask, SIGUSR1), sigismember(&mask, SIGUSR2), sigismember(&pending, SIGUSR1));
    sigaction(SIGUSR1, NULL, &action);
    printf("handler %d", action.sa_handler == SIG_DFL);
    sigaction(SIGUSR2, NULL, &action);
    printf(" ignored %d\n", action.sa_handler == SIG_IGN);
    printf("old memory %d\n", readable(OLD_PLACE));
    char *heap = sbrk(0);
    int grown = sbrk(1 << 20) == heap;
    memset(heap, 1, 1 << 20);
    printf("heap %d\n", grown);
    printf("arguments %s %s %s\n", argv[1], argv[2], getenv("SUCCESSOR"));
    printf("cpu %d\n", clock() >= atol(argv[3]));
    printf("auxv %d %d\n", getauxval(AT_ENTRY) != 0, getauxval(AT_SECURE) == 0);
    getrlimit(RLIMIT_DATA, &limit);
    printf("pid %d\n", getpid() == atoi(argv[4]) && getpid() == gettid());
    printf("open %d closed %d\n", fcntl(20, F_GETFD), fcntl(21, F_GETFD));
    return 9;
}

static void become(const char *what)
{
    char cpu[32], pid[32];
    sigset_t set;
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
    unsigned short control = 0x27f;
    unsigned mxcsr = 0x9fc0;

    memset(mmap(OLD_PLACE, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), 'x', 1 << 20);
    sbrk(3 << 20);
    sigaltstack(&stack, NULL);
    signal(SIGUSR1, (void (*)(int))become);
    signal(SIGUSR2, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGUSR1);
    dup2(1, 20);
    dup2(1, 21);
    fcntl(21, F_SETFD, FD_CLOEXEC);
    for (clock_t end = clock() + CLOCKS_PER_SEC / 50; clock() < end;)
        ;
    snprintf(cpu, sizeof cpu, "%ld", (long)clock());
    snprintf(pid, sizeof pid, "%d", getpid());
    setenv("SUCCESSOR", what, 1);
    fflush(stdout);
    __asm__ volatile("fldcw %0\n ldmxcsr %1" : : "m"(control), "m"(mxcsr));
    execl(self, "successors", "second", what, cpu, pid, NULL);
    _exit(1);
}

static void *idle(void *unused) { pause(); return unused; }

static void report(pid_t child)
{
    int status;
    waitpid(child, &status, 0);
    printf("status %x\n", status);
    fflush(stdout);
}

/* A program that starts itself again, a number of times. */
static int countdown(const char *left)
{
    char next[16];
    int n = atoi(left);
    if (n == 0) {
        int maps = open("/proc/self/maps", O_RDONLY);
        static char text[65536];
        long length = 0, lines = 0, got;
        while ((got = read(maps, text + length, sizeof text - length)) > 0)
            length += got;
        for (long i = 0; i < length; i++)
            lines += text[i] == '\n';
        printf("after many: %d mappings\n", lines > 5 && lines < 60);
        return 0;
    }
    snprintf(next, sizeof next, "%d", n - 1);
    execl(self, "successors", "countdown", next, NULL);
    return 1;
}

static volatile int stop;

/* Maps and unmaps a file all the time: descriptors are on their way to this process. */
static void *mapper(void *unused)
{
    while (!stop) {
        int fd = open(self, O_RDONLY);
        void *at = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
        if (at == MAP_FAILED || memcmp(at, "\177ELF", 4))
            return (void *)1;
        munmap(at, 4096);
        close(fd);
    }
    return unused;
}

static void *forker(void *unused)
{
    for (int i = 0; i < 60; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            int fd = open(self, O_RDONLY); /* the child gets descriptors by itself */
            char *at = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
            if (i % 3 == 0)
                execl(self, "successors", "nothing", NULL);
            _exit(at == MAP_FAILED || memcmp(at, "\177ELF", 4) ? 1 : 7);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 7 << 8)
            return (void *)1;
    }
    return unused;
}

/* Forks while other threads of the same process map files. */
static void crowd(void)
{
    pthread_t mappers[2], forkers[3];
    void *result;
    long bad = 0;
    for (int i = 0; i < 2; i++)
        pthread_create(&mappers[i], NULL, mapper, NULL);
    for (int i = 0; i < 3; i++)
        pthread_create(&forkers[i], NULL, forker, NULL);
    for (int i = 0; i < 3; i++) {
        pthread_join(forkers[i], &result);
        bad += (long)result;
    }
    stop = 1;
    for (int i = 0; i < 2; i++) {
        pthread_join(mappers[i], &result);
        bad += (long)result;
    }
    printf("crowd: %ld wrong\n", bad);
}

/* A child is signalled, stopped and killed before it has run a single instruction, perhaps. */
static void early_signals(void)
{
    static const int signals[] = {SIGTERM, SIGKILL, SIGUSR1};
    int status, stopped = 0;
    for (int i = 0; i < 30; i++) {
        pid_t child = fork();
        if (child == 0)
            for (;;)
                pause();
        kill(child, signals[i % 3]);
        waitpid(child, &status, 0);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != signals[i % 3])
            printf("early signal: %x\n", status);
    }
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(3);
        kill(child, SIGSTOP);
        waitpid(child, &status, WUNTRACED);
        if (WIFSTOPPED(status)) {
            stopped++;
            kill(child, SIGCONT);
            waitpid(child, &status, 0);
        }
        if (status != 3 << 8)
            printf("early stop: %x\n", status);
    }
    printf("early signals seen\n");
}

/* The child of a vfork makes a child. */
static void vfork_that_forks(void)
{
    int status;
    pid_t child = vfork();
    if (child == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0)
            _exit(5);
        _exit(waitpid(grandchild, &status, 0) == grandchild && status == 5 << 8 ? 6 : 1);
    }
    report(child);
}

int main(int argc, char **argv)
{
    pid_t child;

    realpath("/proc/self/exe", self);
    if (argc > 1 && !strcmp(argv[1], "second"))
        return second(argv);
    if (argc > 1 && !strcmp(argv[1], "countdown"))
        return countdown(argv[2]);
    if (argc > 1 && !strcmp(argv[1], "nothing"))
        return 7;
    printf("begin\n");
    fflush(stdout);
    if ((child = fork()) == 0)
        become("alone");
    report(child);
    if ((child = fork()) == 0) {
        pthread_t thread;
        sigset_t set; /* blocked for the other thread, too: it must not take the signal */
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        sigprocmask(SIG_BLOCK, &set, NULL);
        pthread_create(&thread, NULL, idle, NULL);
        become("with-threads");
    }
    report(child);
    if ((child = fork()) == 0)
        countdown("200");
    report(child);
    vfork_that_forks();
    early_signals();
    crowd();
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    printf("peak %d\n", usage.ru_maxrss > 500);
    return 0;
}
