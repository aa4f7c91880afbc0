/* Processes, signals and timers as a program sees them. Prints one line per observation; the output must
 * not depend on pids or timing, so that a run inside can be compared with a run on the host. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static volatile sig_atomic_t seen, last_code, last_value, on_stack;
static void *volatile last_address;
static sigjmp_buf jump;
static char alternate[65536];

/* Prints what a call gave and errno; arguments of one printf have no order. */
#define SAY(what, call)                                   \
    do {                                                  \
        errno = 0;                                        \
        long result_ = (long)(call);                      \
        printf("%s: %ld errno %d\n", what, result_, errno); \
    } while (0)

static void note(int signo) { seen = seen * 100 + signo; }

static void info_handler(int signo, siginfo_t *info, void *context)
{
    char here;
    (void)context;
    note(signo);
    last_code = info->si_code;
    last_value = info->si_value.sival_int;
    last_address = info->si_addr;
    on_stack = &here >= alternate && &here < alternate + sizeof alternate;
}

static void jump_handler(int signo, siginfo_t *info, void *context)
{
    info_handler(signo, info, context);
    siglongjmp(jump, 1);
}

static void handle(int signo, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | flags;
    sigaction(signo, &action, NULL);
    seen = 0;
}

static void nap(long ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

static pid_t child_sends(int signo, long ms)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        nap(ms);
        kill(parent, signo);
        _exit(0);
    }
    return pid;
}

static sigset_t set_of(int a, int b)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, a);
    if (b)
        sigaddset(&set, b);
    return set;
}

static void status_line(const char *what, int status)
{
    if (WIFEXITED(status))
        printf("%s: exited %d\n", what, WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        printf("%s: killed by %d\n", what, WTERMSIG(status));
    else if (WIFSTOPPED(status))
        printf("%s: stopped by %d\n", what, WSTOPSIG(status));
    else if (WIFCONTINUED(status))
        printf("%s: continued\n", what);
}

static void waiting(void)
{
    int status;
    siginfo_t info;
    pid_t pid;

    handle(SIGCHLD, info_handler, 0);
    if ((pid = fork()) == 0) {
        nap(30);
        _exit(3);
    }
    SAY("wait with SIGCHLD handler", waitpid(pid, &status, 0) == pid);
    printf("seen %d code %d\n", (int)seen, (int)last_code);
    status_line("child", status);
    signal(SIGCHLD, SIG_DFL);

    handle(SIGUSR1, info_handler, 0);
    pid_t sleeper = fork();
    if (sleeper == 0) {
        pause();
        _exit(0);
    }
    pid = child_sends(SIGUSR1, 30);
    SAY("wait interrupted", waitpid(sleeper, &status, 0));
    printf("seen %d\n", (int)seen);
    waitpid(pid, NULL, 0);
    kill(sleeper, SIGTERM);
    waitpid(sleeper, &status, 0);
    status_line("sleeper", status);

    handle(SIGUSR1, info_handler, SA_RESTART);
    pid = fork();
    if (pid == 0) {
        nap(80);
        _exit(4);
    }
    sleeper = child_sends(SIGUSR1, 20);
    SAY("wait restarted", waitpid(pid, &status, 0) == pid);
    printf("seen %d\n", (int)seen);
    status_line("child", status);
    waitpid(sleeper, NULL, 0);
    SAY("no children", waitpid(-1, NULL, 0));

    if ((pid = fork()) == 0) {
        raise(SIGSTOP);
        nap(50);
        _exit(7);
    }
    waitpid(pid, &status, WUNTRACED);
    status_line("job", status);
    printf("again: %d\n", waitpid(pid, &status, WUNTRACED | WNOHANG));
    memset(&info, 0, sizeof info);
    kill(pid, SIGCONT);
    waitid(P_PID, pid, &info, WCONTINUED | WNOWAIT);
    printf("waitid: signo %d code %d status %d\n", info.si_signo, info.si_code, info.si_status);
    waitid(P_PID, pid, &info, WEXITED | WNOWAIT);
    printf("waitid: code %d status %d\n", info.si_code, info.si_status);
    waitpid(pid, &status, 0);
    status_line("job", status);
    SAY("waitid nobody", waitid(P_ALL, 0, &info, WEXITED | WNOHANG));

    signal(SIGCHLD, SIG_IGN);
    if ((pid = fork()) == 0)
        _exit(1);
    SAY("wait with SIGCHLD ignored", waitpid(pid, &status, 0));
    signal(SIGCHLD, SIG_DFL);
}

static int death(void (*how)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        how();
        _exit(99);
    }
    waitpid(pid, &status, 0);
    return status;
}

static void by_term(void) { kill(getpid(), SIGTERM); }
static void by_kill(void) { raise(SIGKILL); }
static void by_null(void) { *(volatile int *)8 = 1; }
static void by_abort(void) { abort(); }
static void by_blocked_fault(void)
{
    sigset_t set = set_of(SIGSEGV, 0);
    signal(SIGSEGV, note);
    sigprocmask(SIG_BLOCK, &set, NULL);
    *(volatile int *)8 = 1;
}
static void by_ignored_fault(void)
{
    signal(SIGSEGV, SIG_IGN);
    *(volatile int *)8 = 1;
}
static void by_sigpipe(void)
{
    int fds[2];
    if (pipe(fds))
        _exit(98);
    close(fds[0]);
    if (write(fds[1], "x", 1) < 0)
        _exit(97);
}
static void by_real_time(void) { raise(SIGRTMIN); }
static void *thread_kills(void *argument)
{
    (void)argument;
    raise(SIGINT);
    return NULL;
}
static void by_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, thread_kills, NULL);
    pause();
}
static void *thread_exits(void *argument)
{
    (void)argument;
    nap(20);
    exit(5);
}
static void by_other_exit(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, thread_exits, NULL);
    pthread_exit(NULL);
}

static void dying(void)
{
    status_line("term", death(by_term));
    status_line("kill", death(by_kill));
    status_line("null", death(by_null));
    status_line("abort", death(by_abort));
    status_line("blocked fault", death(by_blocked_fault));
    status_line("ignored fault", death(by_ignored_fault));
    status_line("pipe", death(by_sigpipe));
    status_line("real-time", death(by_real_time));
    status_line("thread", death(by_thread));
    status_line("other thread's exit", death(by_other_exit));
}

static void masks(void)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR2), old, pending, empty;
    struct timespec soon = {0, 20000000};
    siginfo_t info;
    union sigval value;
    sigemptyset(&empty);
    handle(SIGUSR1, info_handler, 0);
    handle(SIGUSR2, info_handler, 0);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR2);
    kill(getpid(), SIGUSR1);
    sigpending(&pending);
    printf("pending %d %d\n", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGUSR2));
    SAY("sigsuspend", sigsuspend(&empty));
    printf("seen %d\n", (int)seen);
    sigprocmask(SIG_BLOCK, NULL, &old);
    printf("mask after %d\n", sigismember(&old, SIGUSR1));
    SAY("sigtimedwait", sigtimedwait(&set, &info, &soon));
    raise(SIGUSR1);
    SAY("sigwaitinfo", sigwaitinfo(&set, &info));
    printf("code %d mine %d\n", info.si_code, info.si_pid == getpid());
    set = set_of(SIGRTMIN + 1, SIGRTMIN + 2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (value.sival_int = 1; value.sival_int < 4; value.sival_int++) {
        sigqueue(getpid(), SIGRTMIN + 2, value);
        sigqueue(getpid(), SIGRTMIN + 1, value);
    }
    while (sigtimedwait(&set, &info, &soon) > 0)
        printf("queued %d value %d code %d\n", info.si_signo - SIGRTMIN, info.si_value.sival_int,
               info.si_code);
    int fd = signalfd(-1, &set, SFD_NONBLOCK);
    struct signalfd_siginfo fdinfo;
    value.sival_int = 77;
    sigqueue(getpid(), SIGRTMIN + 1, value);
    struct pollfd item = {fd, POLLIN, 0};
    SAY("signalfd poll", poll(&item, 1, 100));
    SAY("signalfd read", read(fd, &fdinfo, sizeof fdinfo));
    printf("signo %d value %d\n", (int)fdinfo.ssi_signo - SIGRTMIN, fdinfo.ssi_int);
    SAY("signalfd empty", read(fd, &fdinfo, sizeof fdinfo));
    close(fd);
    sigprocmask(SIG_SETMASK, &empty, NULL);

    handle(SIGUSR1, info_handler, SA_RESETHAND | SA_NODEFER);
    raise(SIGUSR1);
    struct sigaction action;
    sigaction(SIGUSR1, NULL, &action);
    printf("reset to default %d\n", action.sa_handler == SIG_DFL);
    SAY("sigaction SIGKILL", sigaction(SIGKILL, &action, NULL));
}

static void blocked_calls(void)
{
    int fds[2];
    char c;
    struct timespec span = {1, 0}, left = {0, 0};
    sigset_t empty;
    pid_t pid;
    sigemptyset(&empty);
    if (pipe(fds))
        exit(1);
    handle(SIGUSR1, info_handler, 0);
    pid = child_sends(SIGUSR1, 20);
    SAY("read", read(fds[0], &c, 1));
    waitpid(pid, NULL, 0);

    handle(SIGUSR1, info_handler, SA_RESTART);
    if ((pid = fork()) == 0) {
        nap(20);
        kill(getppid(), SIGUSR1);
        nap(40);
        _exit(write(fds[1], "y", 1) == 1 ? 0 : 1);
    }
    SAY("read restarted", read(fds[0], &c, 1));
    printf("%c seen %d\n", c, (int)seen);
    waitpid(pid, NULL, 0);

    pid = child_sends(SIGUSR1, 20);
    SAY("nanosleep", nanosleep(&span, &left));
    printf("left %d\n",
           left.tv_sec == 0 && left.tv_nsec > 500000000 && left.tv_nsec < 990000000);
    waitpid(pid, NULL, 0);

    pid = child_sends(SIGUSR1, 20);
    struct pollfd item = {fds[0], POLLIN, 0};
    SAY("poll", poll(&item, 1, 2000));
    waitpid(pid, NULL, 0);

    sigset_t block = set_of(SIGUSR1, 0);
    sigprocmask(SIG_BLOCK, &block, NULL);
    seen = 0;
    raise(SIGUSR1);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fds[0], &set);
    struct timespec two = {2, 0};
    SAY("pselect", pselect(fds[0] + 1, &set, NULL, NULL, &two, &empty));
    printf("seen %d\n", (int)seen);
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    printf("mask kept %d\n", sigismember(&now, SIGUSR1));
    sigprocmask(SIG_SETMASK, &empty, NULL);
    close(fds[0]);
    close(fds[1]);
}

static void fault_line(const char *what)
{
    printf("%s: signal %d code %d address %p on alternate %d\n", what, (int)seen, (int)last_code,
           last_address, (int)on_stack);
}

static int deep(int n)
{
    volatile char block[4096];
    block[0] = (char)n;
    return deep(n + 1) + block[0];
}

static void faults(void)
{
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate}, old;
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigaltstack(&stack, NULL);
    handle(SIGSEGV, jump_handler, SA_ONSTACK);
    if (!sigsetjmp(jump, 1))
        *(volatile int *)16 = 1;
    fault_line("unmapped");
    seen = 0;
    if (!sigsetjmp(jump, 1))
        *page = 1;
    printf("read-only: signal %d code %d there %d\n", (int)seen, (int)last_code, last_address == page);
    seen = 0;
    if (!sigsetjmp(jump, 1))
        deep(0);
    printf("overflow: signal %d on alternate %d\n", (int)seen, (int)on_stack);
    handle(SIGFPE, jump_handler, 0);
    if (!sigsetjmp(jump, 1)) {
        volatile int zero = 0, one = 1;
        one = one / zero;
    }
    printf("division: signal %d code %d on alternate %d\n", (int)seen, (int)last_code, (int)on_stack);
    handle(SIGILL, jump_handler, 0);
    if (!sigsetjmp(jump, 1))
        __asm__ volatile("ud2");
    printf("ud2: signal %d code %d\n", (int)seen, (int)last_code);
    handle(SIGTRAP, jump_handler, 0);
    if (!sigsetjmp(jump, 1))
        __asm__ volatile("int3");
    printf("int3: signal %d code %d\n", (int)seen, (int)last_code);
    handle(SIGUSR1, info_handler, 0);
    raise(SIGUSR1);
    sigaltstack(NULL, &old);
    printf("alternate stack still there %d flags %d\n", old.ss_size == sizeof alternate, old.ss_flags);
    handle(SIGUSR1, info_handler, SA_ONSTACK);
    raise(SIGUSR1);
    printf("handler on alternate %d\n", (int)on_stack);
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
    raise(SIGUSR1);
    printf("handler on alternate %d\n", (int)on_stack);
    stack.ss_flags = 0;
    stack.ss_size = 100;
    SAY("tiny stack", sigaltstack(&stack, NULL));
    signal(SIGSEGV, SIG_DFL);
    signal(SIGFPE, SIG_DFL);
}

static void changes_mask(int signo, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)info;
    note(signo);
    sigaddset(&uc->uc_sigmask, SIGUSR2);
}

static void changes_register(int signo, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)info;
    note(signo);
    uc->uc_mcontext.gregs[REG_RIP] += 2; /* over the ud2 */
}

static void contexts(void)
{
    sigset_t now, empty;
    sigemptyset(&empty);
    handle(SIGUSR1, changes_mask, 0);
    raise(SIGUSR1);
    sigprocmask(SIG_SETMASK, &empty, &now);
    printf("mask from the frame %d\n", sigismember(&now, SIGUSR2));
    handle(SIGILL, changes_register, 0);
    __asm__ volatile("ud2");
    printf("stepped over ud2, seen %d\n", (int)seen);
    signal(SIGILL, SIG_DFL);
}

static void *waits_for_signal(void *argument)
{
    sigset_t set = set_of(SIGUSR2, 0);
    int signo = 0;
    (void)argument;
    sigwait(&set, &signo);
    return (void *)(long)signo;
}

static volatile pid_t handler_thread;
static void notes_thread(int signo, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    note(signo);
    handler_thread = (pid_t)syscall(SYS_gettid);
}

static void *takes_signals(void *argument)
{
    sigset_t set = set_of(SIGUSR1, 0);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    *(volatile pid_t *)argument = (pid_t)syscall(SYS_gettid);
    while (!seen)
        nap(1);
    return NULL;
}

static void threads(void)
{
    pthread_t thread;
    void *result;
    volatile pid_t tid = 0;
    sigset_t set = set_of(SIGUSR1, SIGUSR2), empty;
    sigemptyset(&empty);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_create(&thread, NULL, waits_for_signal, NULL);
    nap(10);
    kill(getpid(), SIGUSR2);
    pthread_join(thread, &result);
    printf("sigwait thread got %ld\n", (long)result);
    handle(SIGUSR1, notes_thread, 0);
    pthread_create(&thread, NULL, takes_signals, (void *)&tid);
    while (!tid)
        nap(1);
    kill(getpid(), SIGUSR1);
    pthread_join(thread, NULL);
    printf("process signal ran in the willing thread %d\n", handler_thread == tid);
    SAY("tgkill gone", syscall(SYS_tgkill, getpid(), tid, 0));
    pthread_sigmask(SIG_SETMASK, &empty, NULL);
}

static void timers(void)
{
    struct itimerval every = {{0, 10000}, {0, 10000}}, none = {{0, 0}, {0, 0}}, now;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3};
    struct itimerspec spec = {{0, 0}, {0, 20000000}};
    sigset_t set = set_of(SIGRTMIN + 3, 0);
    siginfo_t info;
    timer_t timer;
    int i;
    handle(SIGALRM, info_handler, 0);
    setitimer(ITIMER_REAL, &every, NULL);
    for (i = 0; i < 3; i++)
        pause();
    getitimer(ITIMER_REAL, &now);
    setitimer(ITIMER_REAL, &none, NULL);
    printf("three alarms %d interval %ld\n", (int)seen, (long)now.it_interval.tv_usec);
    sigprocmask(SIG_BLOCK, &set, NULL);
    event.sigev_value.sival_int = 1234;
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_settime(timer, 0, &spec, NULL);
    sigwaitinfo(&set, &info);
    printf("timer code %d value %d overrun %d\n", info.si_code, info.si_value.sival_int,
           timer_getoverrun(timer));
    spec.it_interval.tv_nsec = spec.it_value.tv_nsec = 1000000;
    timer_settime(timer, 0, &spec, NULL);
    nap(30);
    sigwaitinfo(&set, &info);
    printf("overrun %d\n", info.si_overrun > 10);
    timer_delete(timer);
    SAY("deleted", timer_gettime(timer, &spec));
    alarm(100);
    printf("alarm left %u\n", alarm(0));
    struct rlimit limit = {1, 2};
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CPU, &limit);
        for (;;)
            ;
    }
    waitpid(pid, &status, 0);
    status_line("cpu limit", status);
}

static void jobs(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        SAY("setsid", setsid() == getpid());
        SAY("setsid again", setsid());
        SAY("setpgid of leader", setpgid(0, 0));
        fflush(stdout);
        pid_t job = fork();
        if (job == 0) {
            setpgid(0, 0);
            printf("own group %d\n", getpgrp() == getpid());
            fflush(stdout);
            raise(SIGTSTP);
            _exit(6);
        }
        waitpid(job, &status, WUNTRACED);
        status_line("job", status);
        killpg(job, SIGCONT);
        waitpid(job, &status, 0);
        status_line("job", status);
        SAY("killpg of nobody", killpg(job, SIGTERM));
        raise(SIGTSTP); /* orphaned process group: no effect */
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, &status, WUNTRACED);
    status_line("session", status);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            nap(30);
            _exit(getppid() == getpgrp() ? 11 : 12);
        }
        _exit(0);
    }
    waitpid(pid, &status, 0);
    pid = wait(&status);
    printf("orphan reaped %d exit %d\n", pid > 0, WEXITSTATUS(status) == 11 || WEXITSTATUS(status) == 12);
    handle(SIGUSR1, info_handler, 0);
    pid = fork();
    if (pid == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            nap(2000);
            _exit(1);
        }
        nap(20);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    wait(&status);
    status_line("death signal", status);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    setpgid(0, 0);
    waiting();
    dying();
    masks();
    blocked_calls();
    faults();
    contexts();
    threads();
    timers();
    jobs();
    return 0;
}
