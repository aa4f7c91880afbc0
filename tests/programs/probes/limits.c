/* Resource limits and use, priorities, scheduling, prctl, uname, sysinfo and other questions to the kernel. */
#include "probe.h"
#include <sched.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <linux/capability.h>
#include <sys/personality.h>

static void limits(void)
{
    BLOCK("limits");
    struct rlimit l, old;
    for (int n = 0; n < 16; n++) {
        char name[20];
        sprintf(name, "limit %d", n);
        SAY(name, getrlimit(n, &l));
        printf("order %d\n", l.rlim_cur <= l.rlim_max);
    }
    SAY("no such limit", getrlimit(16, &l));
    l = (struct rlimit){20, 10};
    SAY("soft above hard", setrlimit(RLIMIT_NOFILE, &l));
    l = (struct rlimit){10, 500};
    SAY("set", prlimit(0, RLIMIT_NOFILE, &l, &old));
    SAY("too many", ({ int n, last = 0; while ((n = open("/dev/null", O_RDONLY)) >= 0) last = n; last; }));
    SAY("EMFILE", open("/dev/null", O_RDONLY));
    SAY("pipe", pipe((int[2]){0}));
    SAY("dup", dup(0));
    SAY("dup2 beyond", dup2(0, 10));
    SAY("F_DUPFD beyond", fcntl(0, F_DUPFD, 10));
    SAY("socket", socket(AF_UNIX, SOCK_STREAM, 0));
    l.rlim_cur = 400;
    SAY("raise", setrlimit(RLIMIT_NOFILE, &l));
    TRY("now", open("/dev/null", O_RDONLY));
    pid_t pid = begin();
    if (pid == 0) {
        getrlimit(RLIMIT_NOFILE, &l);
        printf("inherited %ld %ld\n", (long)l.rlim_cur, (long)l.rlim_max);
        done(0);
    }
    SAY("of a child", prlimit(pid, RLIMIT_CORE, NULL, &l));
    siginfo_t ended;
    waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT);
    SAY("of a zombie", prlimit(pid, RLIMIT_CORE, NULL, &l));
    SAY("for a zombie", prlimit(pid, RLIMIT_CORE, &l, NULL));
    SAY("its time", prlimit(pid, RLIMIT_CPU, &(struct rlimit){100, 1000}, NULL));
    SAY("its memory", prlimit(pid, RLIMIT_AS, &(struct rlimit){1 << 30, 1 << 30}, NULL));
    reap("child", pid);
    SAY("of nobody", prlimit(999999, RLIMIT_CORE, NULL, &l));
    pid = begin();
    if (pid == 0) {
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, 1000});
        int fd = open("big", O_WRONLY | O_CREAT, 0600);
        char b[600] = "";
        signal(SIGXFSZ, SIG_IGN);
        SAY("write", write(fd, b, 600));
        SAY("write", write(fd, b, 600));
        SAY("write", write(fd, b, 600));
        SAY("ftruncate", ftruncate(fd, 2000));
        fflush(stdout);
        signal(SIGXFSZ, SIG_DFL);
        write(fd, b, 1);
        done(0);
    }
    reap("SIGXFSZ", pid);
    pid = begin();
    if (pid == 0) {
        setrlimit(RLIMIT_CPU, &(struct rlimit){1, 2});
        for (;;)
            ;
    }
    reap("SIGXCPU", pid);
    pid = begin();
    if (pid == 0) {
        setrlimit(RLIMIT_AS, &(struct rlimit){300 << 20, 300 << 20});
        SAY("mmap within", mmap(NULL, 50 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
        SAY("mmap beyond", mmap(NULL, 400 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
        printf("malloc %d\n", malloc(400 << 20) == NULL);
        done(0);
    }
    reap("RLIMIT_AS", pid);
    pid = begin();
    if (pid == 0) {
        setrlimit(RLIMIT_DATA, &(struct rlimit){1 << 20, 1 << 20});
        SAY("sbrk beyond", sbrk(16 << 20) == (void *)-1 ? -1 : 0);
        done(0);
    }
    reap("RLIMIT_DATA", pid);
}

static void usage(void)
{
    BLOCK("use");
    struct rusage u;
    SAY("self", getrusage(RUSAGE_SELF, &u));
    printf("time %d memory %d\n", u.ru_utime.tv_sec < 100, u.ru_maxrss > 500);
    SAY("children", getrusage(RUSAGE_CHILDREN, &u));
    printf("time of the child that spun %d\n", u.ru_utime.tv_sec * 10 + u.ru_utime.tv_usec / 100000 >= 5);
    SAY("thread", getrusage(RUSAGE_THREAD, &u));
    SAY("who", getrusage(9, &u));
    struct timespec a, b;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    for (volatile long n = 0; n < 30000000; n++)
        ;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    printf("cpu time grows %d\n", (b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec > 5000000);
    BLOCK("priorities");
    SAY("get", getpriority(PRIO_PROCESS, 0));
    SAY("set", setpriority(PRIO_PROCESS, 0, 5));
    SAY("get", (errno = 0, getpriority(PRIO_PROCESS, 0)));
    SAY("nice", nice(3));
    SAY("most", (setpriority(PRIO_PROCESS, 0, 100), getpriority(PRIO_PROCESS, 0)));
    SAY("which", getpriority(9, 0));
    SAY("nobody", getpriority(PRIO_PROCESS, 999999));
    SAY("policy", sched_getscheduler(0));
    SAY("range", sched_get_priority_max(SCHED_FIFO));
    SAY("bad policy", sched_get_priority_max(99));
    struct sched_param p = {0};
    SAY("batch", sched_setscheduler(0, SCHED_BATCH, &p));
    SAY("policy", sched_getscheduler(0));
    SAY("param", sched_getparam(0, &p));
    p.sched_priority = 200;
    SAY("bad priority", sched_setscheduler(0, SCHED_FIFO, &p));
    SAY("interval", sched_rr_get_interval(0, &a));
    cpu_set_t set;
    CPU_ZERO(&set);
    SAY("empty affinity", sched_setaffinity(0, sizeof set, &set));
    CPU_SET(0, &set);
    SAY("affinity", sched_setaffinity(0, sizeof set, &set));
    sched_getaffinity(0, sizeof set, &set);
    printf("processors %d\n", CPU_COUNT(&set));
    SAY("small set", syscall(SYS_sched_getaffinity, 0, 4, &set));
    SAY("ioprio", syscall(SYS_ioprio_get, 1, 0) >= 0 ? 0 : -1);
}

static void questions(void)
{
    BLOCK("prctl");
    char name[20] = "";
    SAY("name", prctl(PR_SET_NAME, "a name longer than fifteen"));
    SAY("name", prctl(PR_GET_NAME, name));
    printf("%s\n", name);
    SAY("dumpable", prctl(PR_GET_DUMPABLE));
    SAY("dumpable", prctl(PR_SET_DUMPABLE, 0));
    SAY("dumpable", prctl(PR_SET_DUMPABLE, 9));
    SAY("keepcaps", prctl(PR_GET_KEEPCAPS));
    SAY("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SAY("no_new_privs", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SAY("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SAY("no_new_privs back", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SAY("pdeathsig", prctl(PR_SET_PDEATHSIG, 99));
    SAY("timerslack", prctl(PR_GET_TIMERSLACK));
    SAY("seccomp", prctl(PR_GET_SECCOMP));
    SAY("bounding", prctl(PR_CAPBSET_READ, 0) >= 0 ? 0 : -1);
    SAY("bounding", prctl(PR_CAPBSET_READ, 99));
    SAY("subreaper", ({ int v = 9; prctl(PR_GET_CHILD_SUBREAPER, &v) ? -1 : v; }));
    SAY("tid address", ({ int *at; prctl(PR_GET_TID_ADDRESS, &at) == 0 || errno == EINVAL ? 0 : -1; }));
    SAY("unknown", prctl(99999));
    BLOCK("the system");
    struct utsname u;
    SAY("uname", uname(&u));
    printf("%s %s\n", u.sysname, u.machine);
    struct sysinfo s;
    SAY("sysinfo", sysinfo(&s));
    printf("memory %d unit %u processes %d\n", s.totalram > 0, s.mem_unit, s.procs > 0);
    char r[300];
    SAY("getrandom", getrandom(r, 256, 0));
    SAY("getrandom", getrandom(r, 16, GRND_NONBLOCK));
    SAY("getrandom flags", getrandom(r, 16, 0x10));
    SAY("getrandom address", getrandom((void *)8, 16, 0));
    printf("page %lu clock ticks %lu entry %d random %d secure %lu platform %s\n", getauxval(AT_PAGESZ), getauxval(AT_CLKTCK),
           getauxval(AT_ENTRY) != 0, getauxval(AT_RANDOM) != 0, getauxval(AT_SECURE), (char *)getauxval(AT_PLATFORM));
    printf("uid %d execfn %s vdso %d\n", getauxval(AT_UID) == getuid(), strrchr((char *)getauxval(AT_EXECFN), '/'), getauxval(AT_SYSINFO_EHDR) != 0);
    SAY("personality", personality(0xffffffff));
    SAY("processors", sysconf(_SC_NPROCESSORS_ONLN));
    SAY("open files", sysconf(_SC_OPEN_MAX));
    SAY("arguments", sysconf(_SC_ARG_MAX) > 100000);
    SAY("syslog", syscall(SYS_syslog, 99, 0, 0));
    struct __user_cap_header_struct h = {0x20080522, 0};
    struct __user_cap_data_struct d[2];
    SAY("capget", syscall(SYS_capget, &h, d));
    h.version = 1;
    SAY("capget version", syscall(SYS_capget, &h, d));
    printf("version %x\n", h.version);
    SAY("no such call", syscall(9999));
    SAY("no such call", syscall(-1));
    SAY("obsolete", syscall(SYS_uselib, "x"));
    SAY("obsolete", syscall(SYS_create_module, "x"));
    SAY("obsolete", syscall(SYS_nfsservctl, 1, 2, 3));
    SAY("groups", getgroups(0, NULL) >= 0 ? 0 : -1);
    SAY("groups negative", getgroups(-1, NULL));
    SAY("getcpu", ({ unsigned cpu = 99, node = 99; syscall(SYS_getcpu, &cpu, &node, NULL) || cpu > 1000 || node > 100 ? -1 : 0; }));
}

int main(void)
{
    limits();
    usage();
    questions();
    return 0;
}
