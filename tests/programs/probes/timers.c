/* Clocks, sleeps, interval timers, POSIX timers, timerfd. */
#include "probe.h"
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/times.h>

static volatile sig_atomic_t ticks, value, overrun;
static void tick(int signo) { (void)signo; ticks++; }
static void tock(int signo, siginfo_t *i, void *c)
{
    (void)signo, (void)c;
    ticks++;
    value = i->si_value.sival_int;
    overrun = i->si_overrun;
}

static bool about(long ms, long wanted) { return ms >= wanted && ms < wanted + 400; }

static void clocks(void)
{
    BLOCK("clocks");
    for (int id = 0; id < 12; id++) {
        if (id == CLOCK_REALTIME_ALARM || id == CLOCK_BOOTTIME_ALARM)
            continue; /* depends on the machine's real-time clock */
        struct timespec a = {0}, b = {0}, r = {-1, -1};
        char name[32];
        sprintf(name, "clock %d", id);
        SAY(name, clock_gettime(id, &a));
        clock_gettime(id, &b);
        int known = clock_getres(id, &r);
        printf("monotonic %d resolution %d %ld\n", b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec),
               known, known ? 0 : r.tv_nsec);
    }
    struct timespec own;
    SAY("negative", clock_gettime(-1, &own));
    clockid_t other;
    SAY("getcpuclockid", clock_getcpuclockid(0, &other));
    SAY("cpu clock", clock_gettime(other, &own));
    SAY("thread clock", pthread_getcpuclockid(pthread_self(), &other));
    SAY("thread clock", clock_gettime(other, &own));
    SAY("settime", clock_settime(CLOCK_MONOTONIC, &own));
    struct timeval tv;
    SAY("gettimeofday", gettimeofday(&tv, NULL));
    printf("agree %d\n", labs(tv.tv_sec - time(NULL)) <= 1);
    struct tms t;
    printf("times %d\n", times(&t) > 0);
}

static void sleeps(void)
{
    BLOCK("sleeps");
    long start = now_ms();
    SAY("nanosleep", nanosleep(&(struct timespec){0, 30000000}, NULL));
    printf("%d\n", about(now_ms() - start, 30));
    SAY("zero", nanosleep(&(struct timespec){0, 0}, NULL));
    SAY("bad", nanosleep(&(struct timespec){0, 1000000000}, NULL));
    SAY("negative", nanosleep(&(struct timespec){-1, 0}, NULL));
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += 30000000;
    if (at.tv_nsec > 999999999)
        at.tv_sec++, at.tv_nsec -= 1000000000;
    start = now_ms();
    printf("absolute %d\n", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL));
    printf("%d\n", about(now_ms() - start, 28));
    printf("past %d\n", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &(struct timespec){1, 0}, NULL));
    printf("bad clock %s\n", strerrorname_np(clock_nanosleep(77, 0, &at, NULL)));
    printf("cpu clock of the thread %s\n", strerrorname_np(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &at, NULL)));
    start = now_ms();
    SAY("select", select(0, NULL, NULL, NULL, &(struct timeval){0, 30000}));
    SAY("poll", poll(NULL, 0, 30));
    printf("%d\n", about(now_ms() - start, 60));
    SAY("usleep", usleep(1000));
}

static void intervals(void)
{
    BLOCK("interval timers");
    signal(SIGALRM, tick);
    struct itimerval v = {{0, 10000}, {0, 10000}}, old;
    SAY("setitimer", setitimer(ITIMER_REAL, &v, NULL));
    for (int n = 0; n < 100 && ticks < 5; n++)
        pause();
    SAY("getitimer", getitimer(ITIMER_REAL, &old));
    printf("ticks %d interval %ld\n", ticks >= 5, old.it_interval.tv_usec);
    memset(&v, 0, sizeof v);
    SAY("stop", setitimer(ITIMER_REAL, &v, &old));
    printf("rest %d\n", old.it_value.tv_usec > 0 && old.it_value.tv_usec <= 10000);
    printf("alarm %u\n", alarm(100));
    printf("alarm %u\n", alarm(0));
    SAY("bad", setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 1000000}}, NULL));
    SAY("which", getitimer(9, &old));
    signal(SIGPROF, tick);
    signal(SIGVTALRM, tick);
    for (int which = ITIMER_VIRTUAL; which <= ITIMER_PROF; which++) {
        ticks = 0;
        setitimer(which, &(struct itimerval){{0, 0}, {0, 20000}}, NULL);
        long start = now_ms();
        while (!ticks && now_ms() - start < 3000)
            ;
        printf("cpu timer %d\n", ticks);
    }
    pid_t pid = begin();
    if (pid == 0) {
        getitimer(ITIMER_REAL, &old);
        printf("children have none %ld\n", old.it_value.tv_sec);
        signal(SIGALRM, SIG_DFL);
        alarm(1);
        fflush(stdout);
        execl("/bin/sh", "sh", "-c", "while :; do :; done", NULL);
    }
    reap("alarm goes through exec", pid);
}

static void posix(void)
{
    BLOCK("POSIX timers");
    struct sigaction a = {.sa_sigaction = tock, .sa_flags = SA_SIGINFO};
    sigaction(SIGRTMIN, &a, NULL);
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 42};
    timer_t t;
    SAY("create", timer_create(CLOCK_MONOTONIC, &e, &t));
    ticks = 0;
    struct itimerspec v = {{0, 10000000}, {0, 10000000}}, now;
    SAY("settime", timer_settime(t, 0, &v, NULL));
    for (int n = 0; n < 100 && ticks < 3; n++)
        pause();
    printf("ticks %d value %d\n", ticks >= 3, value);
    SAY("gettime", timer_gettime(t, &now));
    printf("interval %ld\n", now.it_interval.tv_nsec);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    nap(80);
    sigprocmask(SIG_UNBLOCK, &mask, NULL);
    printf("overrun %d %d\n", overrun >= 3, timer_getoverrun(t) >= 0);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    int fd = signalfd(-1, &mask, 0);
    struct signalfd_siginfo record;
    for (int n = 0; n < 3; n++) /* a period that nobody takes does not come again: this would wait for ever */
        if (read(fd, &record, sizeof record) != sizeof record || record.ssi_int != 42)
            n = 10;
    nap(80);
    SAY("by signalfd", read(fd, &record, sizeof record));
    printf("overrun %d\n", record.ssi_overrun >= 3);
    close(fd);
    SAY("delete", timer_delete(t));
    SAY("again", timer_delete(t));
    e.sigev_notify = SIGEV_NONE;
    SAY("create", timer_create(CLOCK_REALTIME, &e, &t));
    SAY("absolute", timer_settime(t, TIMER_ABSTIME, &(struct itimerspec){{0, 0}, {1, 0}}, NULL));
    SAY("gettime", timer_gettime(t, &now));
    printf("expired %ld %ld\n", now.it_value.tv_sec, now.it_value.tv_nsec);
    SAY("bad clock", timer_create(99, &e, &t));
    e.sigev_notify = SIGEV_SIGNAL;
    e.sigev_signo = 99;
    SAY("bad signal", timer_create(CLOCK_REALTIME, &e, &t));
}

static void descriptors(void)
{
    BLOCK("timerfd");
    uint64_t n = 0;
    struct itimerspec v = {{0, 20000000}, {0, 20000000}}, now;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    SAY("not armed", read(fd, &n, 8));
    SAY("settime", timerfd_settime(fd, 0, &v, NULL));
    SAY("poll", poll(&(struct pollfd){fd, POLLIN, 0}, 1, 1000));
    nap(50);
    SAY("read", read(fd, &n, 8));
    printf("ticks %d\n", n >= 2 && n < 10);
    SAY("short read", read(fd, &n, 4));
    SAY("gettime", timerfd_gettime(fd, &now));
    printf("interval %ld\n", now.it_interval.tv_nsec);
    SAY("write", write(fd, &n, 8));
    SAY("lseek", lseek(fd, 0, SEEK_SET));
    SAY("stop", timerfd_settime(fd, 0, &(struct itimerspec){{0, 0}, {0, 0}}, NULL));
    SAY("poll", poll(&(struct pollfd){fd, POLLIN, 0}, 1, 30));
    fcntl(fd, F_SETFL, 0);
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &(struct itimerspec){{0, 0}, {1, 0}}, NULL);
    SAY("blocking read of the past", read(fd, &n, 8));
    printf("ticks %lu\n", n);
    SAY("bad clock", timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0));
    SAY("bad flags", timerfd_create(CLOCK_MONOTONIC, 12345));
    SAY("bad time", timerfd_settime(fd, 0, &(struct itimerspec){{0, 0}, {0, 1000000000}}, NULL));
    SAY("no timer", timerfd_settime(1, 0, &v, NULL));
}

int main(void)
{
    clocks();
    sleeps();
    intervals();
    posix();
    descriptors();
    return 0;
}
