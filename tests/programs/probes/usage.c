/* Which part of the processor time is the kernel's, and how much memory there was at most: getrusage, times, /proc. */
#include "probe.h"
#include <sys/times.h>

static void compute(int ms)
{
    for (clock_t end = clock() + ms * 1000; clock() < end;)
        for (volatile int n = 0; n < 3000000; n++)
            ;
}

static void fault(int ms)
{
    for (clock_t end = clock() + ms * 1000; clock() < end;) {
        char *at = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (int page = 0; page < 256; page++)
            at[page * 4096] = 1;
        munmap(at, 1 << 20);
    }
}

static void use_memory(long mib)
{
    char *at = malloc(mib << 20);
    memset(at, 1, mib << 20);
    __asm__ volatile("" ::: "memory");
    free(at);
}

static long ms(struct timeval t) { return t.tv_sec * 1000 + t.tv_usec / 1000; }

static void self(void)
{
    struct rusage a, b;
    struct tms ticks;
    BLOCK("self");
    compute(300);
    getrusage(RUSAGE_SELF, &a);
    printf("computing is user time %d\n", ms(a.ru_utime) > 2 * ms(a.ru_stime));
    fault(300);
    getrusage(RUSAGE_SELF, &b);
    printf("page faults are system time %d\n", ms(b.ru_stime) - ms(a.ru_stime) > ms(b.ru_utime) - ms(a.ru_utime));
    times(&ticks);
    printf("times %d %d\n", ticks.tms_utime >= 20, ticks.tms_stime >= 15);
    use_memory(60);
    getrusage(RUSAGE_SELF, &b);
    printf("peak %d\n", b.ru_maxrss >= 60 << 10 && b.ru_maxrss < 90 << 10);
}

static void children(void)
{
    struct rusage one, all, more;
    long user, system, children_user, children_system;
    char text[1000];
    int status;
    BLOCK("children");
    getrusage(RUSAGE_CHILDREN, &all);
    printf("none yet %ld %ld %ld\n", ms(all.ru_utime), ms(all.ru_stime), all.ru_maxrss);
    pid_t pid = begin();
    if (pid == 0) {
        fault(200);
        use_memory(100);
        done(0);
    }
    wait4(pid, &status, 0, &one);
    getrusage(RUSAGE_CHILDREN, &all);
    printf("system %d peak %d\n", ms(one.ru_stime) > ms(one.ru_utime), one.ru_maxrss >= 100 << 10);
    printf("the same %d %d\n", ms(all.ru_stime) == ms(one.ru_stime), all.ru_maxrss == one.ru_maxrss);
    int fd = open("/proc/self/stat", O_RDONLY);
    text[read(fd, text, sizeof text - 1)] = 0;
    sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld %ld %ld", &user, &system,
           &children_user, &children_system);
    printf("stat %d %d %d\n", user >= 20, system >= 15, children_system > children_user);
    for (int waits = 0; waits < 2; waits++) {
        pid = begin();
        if (pid == 0) {
            signal(SIGCHLD, waits ? SIG_DFL : SIG_IGN);
            if ((pid = begin()) == 0) {
                compute(200);
                done(0);
            }
            waitpid(pid, NULL, 0);
            done(0);
        }
        reap("child", pid);
        getrusage(RUSAGE_CHILDREN, &more);
        printf("grandchild counts %d\n", ms(more.ru_utime) - ms(all.ru_utime) >= 100);
    }
}

int main(void)
{
    self();
    children();
    return 0;
}
