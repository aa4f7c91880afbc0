/* Signals: siginfo, masks, flags, alternate stacks, jumps out of handlers, faults that are mended, restarts. */
#include "probe.h"
#include <ucontext.h>

static volatile sig_atomic_t seen, code, value, depth, deepest, on_stack;
static void *volatile address;
static sigjmp_buf jump;
static char alternate[65536];

static void note(int signo) { seen = seen * 100 + signo; }

static void info(int signo, siginfo_t *i, void *c)
{
    char here;
    (void)c;
    note(signo);
    code = i->si_code;
    value = i->si_value.sival_int;
    address = i->si_addr;
    on_stack = &here >= alternate && &here < alternate + sizeof alternate;
}

static void set(int signo, void *handler, int flags)
{
    struct sigaction a = {.sa_flags = flags};
    a.sa_handler = handler;
    sigaction(signo, &a, NULL);
    seen = 0;
}

static void leave(int signo) { note(signo); siglongjmp(jump, signo); }
static void leave_plain(int signo) { note(signo); longjmp(jump, signo); }

static void nest(int signo)
{
    if (++depth > deepest)
        deepest = depth;
    if (depth < 4)
        raise(signo);
    depth--;
}

static void mend(int signo, siginfo_t *i, void *c)
{
    (void)c;
    note(signo);
    mprotect((void *)((uintptr_t)i->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE);
}

static void skip(int signo, siginfo_t *i, void *c)
{
    ucontext_t *u = c;
    note(signo);
    code = i->si_code;
    u->uc_mcontext.gregs[REG_RIP] += 2;
    u->uc_mcontext.gregs[REG_RAX] = 4711;
}

static void change_mask(int signo, siginfo_t *i, void *c)
{
    (void)i;
    note(signo);
    sigaddset(&((ucontext_t *)c)->uc_sigmask, SIGUSR2);
}

static void later(int signo, long ms)
{
    pid_t parent = getpid();
    if (begin() == 0) {
        nap(ms);
        kill(parent, signo);
        _exit(0);
    }
}

static void basics(void)
{
    BLOCK("information");
    set(SIGUSR1, info, SA_SIGINFO);
    raise(SIGUSR1);
    printf("raise: %d code %d\n", seen, code);
    seen = 0;
    kill(getpid(), SIGUSR1);
    printf("kill: %d code %d\n", seen, code);
    seen = 0;
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 77});
    printf("sigqueue: %d code %d value %d\n", seen, code, value);
    set(SIGCHLD, info, SA_SIGINFO);
    pid_t pid = begin();
    if (pid == 0)
        _exit(3);
    reap("child", pid);
    printf("SIGCHLD: %d code %d\n", seen, code);
    set(SIGCHLD, SIG_DFL, 0);
    SAY("kill 0", kill(getpid(), 0));
    SAY("kill nobody", kill(999999, SIGUSR1));
    SAY("kill bad", kill(getpid(), 65));
    SAY("tgkill", syscall(SYS_tgkill, getpid(), getpid(), 0));
    SAY("tgkill other", syscall(SYS_tgkill, getpid(), 999999, 0));
    SAY("sigaction KILL", sigaction(SIGKILL, &(struct sigaction){.sa_handler = SIG_IGN}, NULL));
    SAY("sigaction 0", sigaction(0, NULL, NULL));
    struct sigaction old;
    sigaction(SIGUSR1, NULL, &old);
    printf("old action: %d flags %x\n", old.sa_sigaction == info, old.sa_flags & ~0x4000000);
}

static void masks(void)
{
    BLOCK("masks");
    sigset_t all, old, pending;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    sigprocmask(SIG_SETMASK, NULL, &all);
    printf("KILL %d STOP %d USR1 %d\n", sigismember(&all, SIGKILL), sigismember(&all, SIGSTOP), sigismember(&all, SIGUSR1));
    set(SIGUSR1, note, 0);
    set(SIGUSR2, note, 0);
    for (int n = 0; n < 3; n++)
        raise(SIGUSR1);
    raise(SIGUSR2);
    sigpending(&pending);
    printf("pending %d %d %d\n", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGUSR2), sigismember(&pending, SIGHUP));
    sigprocmask(SIG_SETMASK, &old, NULL);
    printf("delivered %d\n", seen);
    set(SIGRTMIN, info, SA_SIGINFO);
    sigemptyset(&all);
    sigaddset(&all, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (int n = 1; n <= 5; n++)
        sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = n});
    siginfo_t got;
    printf("sigwaitinfo %d ", sigwaitinfo(&all, &got) == SIGRTMIN);
    printf("value %d\n", got.si_value.sival_int);
    seen = 0;
    sigprocmask(SIG_UNBLOCK, &all, NULL);
    printf("queued: last value %d\n", value);
    SAY("sigtimedwait", sigtimedwait(&all, &got, &(struct timespec){0, 20000000}));
    SAY("sigtimedwait bad", sigtimedwait(&all, &got, &(struct timespec){0, 2000000000}));
    set(SIGUSR1, change_mask, SA_SIGINFO);
    raise(SIGUSR1);
    sigprocmask(SIG_SETMASK, NULL, &all);
    printf("mask from the frame: %d\n", sigismember(&all, SIGUSR2));
    sigprocmask(SIG_SETMASK, &old, NULL);
    SAY("sigprocmask bad how", sigprocmask(9, &old, NULL));
    SAY("rt_sigprocmask bad size", syscall(SYS_rt_sigprocmask, 0, &old, NULL, 4));
    sigemptyset(&all);
    set(SIGALRM, note, 0);
    ualarm(20000, 0);
    SAY("sigsuspend", sigsuspend(&all));
    printf("after sigsuspend %d\n", seen);
}

static void flags(void)
{
    BLOCK("flags");
    set(SIGUSR1, nest, SA_NODEFER);
    raise(SIGUSR1);
    printf("NODEFER depth %d\n", deepest);
    deepest = depth = 0;
    set(SIGUSR1, note, SA_RESETHAND);
    raise(SIGUSR1);
    struct sigaction a;
    sigaction(SIGUSR1, NULL, &a);
    printf("RESETHAND %d default %d\n", seen, a.sa_handler == SIG_DFL);
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate}, was;
    SAY("sigaltstack", sigaltstack(&stack, &was));
    printf("was disabled %d\n", was.ss_flags == SS_DISABLE);
    set(SIGUSR1, info, SA_SIGINFO | SA_ONSTACK);
    raise(SIGUSR1);
    printf("ONSTACK %d\n", on_stack);
    set(SIGUSR1, info, SA_SIGINFO);
    raise(SIGUSR1);
    printf("not ONSTACK %d\n", on_stack);
    SAY("small stack", sigaltstack(&(stack_t){.ss_sp = alternate, .ss_size = 100}, NULL));
    SAY("bad flags", sigaltstack(&(stack_t){.ss_sp = alternate, .ss_size = 65536, .ss_flags = 99}, NULL));
    set(SIGCHLD, SIG_DFL, SA_NOCLDWAIT);
    pid_t pid = begin();
    if (pid == 0)
        _exit(0);
    nap(50);
    SAY("NOCLDWAIT wait", waitpid(pid, NULL, 0));
    set(SIGCHLD, SIG_IGN, 0);
    pid = begin();
    if (pid == 0)
        _exit(0);
    SAY("ignored SIGCHLD wait", waitpid(-1, NULL, 0));
    set(SIGCHLD, note, SA_NOCLDSTOP);
    pid = begin();
    if (pid == 0) {
        raise(SIGSTOP);
        nap(100); /* the parent shall see it continued, not ended */
        _exit(0);
    }
    int status;
    waitpid(pid, &status, WUNTRACED);
    say_status("stopped", status);
    printf("NOCLDSTOP %d\n", seen);
    kill(pid, SIGCONT);
    waitpid(pid, &status, WCONTINUED);
    say_status("resumed", status);
    reap("end", pid);
    set(SIGCHLD, SIG_DFL, 0);
}

static void jumps(void)
{
    BLOCK("jumps");
    set(SIGUSR1, leave, 0);
    for (int n = 0; n < 3; n++)
        if (sigsetjmp(jump, 1) == 0)
            raise(SIGUSR1);
    printf("siglongjmp %d\n", seen);
    sigset_t mask;
    set(SIGUSR1, leave_plain, 0);
    if (setjmp(jump) == 0)
        raise(SIGUSR1);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    printf("longjmp keeps it blocked %d\n", sigismember(&mask, SIGUSR1));
    sigemptyset(&mask);
    sigprocmask(SIG_SETMASK, &mask, NULL);
}

static void faults(void)
{
    BLOCK("faults");
    char *page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    set(SIGSEGV, mend, SA_SIGINFO);
    page[5] = 'x';
    printf("mended: %d %c\n", seen, page[5]);
    set(SIGSEGV, info, SA_SIGINFO);
    set(SIGSEGV, leave, 0);
    if (sigsetjmp(jump, 1) == 0)
        *(volatile char *)8 = 1;
    printf("null write: %d\n", seen);
    struct sigaction a = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &a, NULL);
    seen = 0;
    long result;
    __asm__ volatile("ud2" : "=a"(result) : "a"(0));
    printf("ud2 skipped: %d code %d rax %ld\n", seen, code, result);
    set(SIGFPE, leave, 0);
    if (sigsetjmp(jump, 1) == 0)
        __asm__ volatile("cltd; idivl %1" : : "a"(1), "r"(0) : "edx");
    printf("division: %d\n", seen);
    set(SIGTRAP, info, SA_SIGINFO);
    __asm__ volatile("int3");
    printf("int3: %d code %d\n", seen, code);
    int fd = open("mapped", O_RDWR | O_CREAT, 0600);
    SAY("truncate", ftruncate(fd, 100));
    char *file = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    set(SIGBUS, leave, 0);
    if (sigsetjmp(jump, 1) == 0)
        printf("%d", ((volatile char *)file)[4096]);
    printf("beyond the file: %d\n", seen);
    volatile double d = 1.5;
    uint64_t before, after;
    __asm__ volatile("movq %1, %%xmm9; movq %%xmm9, %0" : "=r"(before) : "r"(0x1122334455667788) : "xmm9");
    set(SIGUSR1, note, 0);
    __asm__ volatile("movq %0, %%xmm9" : : "r"(before) : "xmm9");
    kill(getpid(), SIGUSR1);
    __asm__ volatile("movq %%xmm9, %0" : "=r"(after));
    printf("vector register kept %d %.1f\n", before == after, d * 2);
    pid_t pid = begin();
    if (pid == 0) {
        set(SIGSEGV, SIG_DFL, 0);
        *(volatile char *)0 = 1;
    }
    reap("unhandled", pid);
    pid = begin();
    if (pid == 0) {
        set(SIGSEGV, SIG_IGN, 0);
        *(volatile char *)0 = 1;
    }
    reap("ignored fault", pid);
    pid = begin();
    if (pid == 0) {
        sigset_t m;
        sigfillset(&m);
        set(SIGSEGV, note, 0);
        sigprocmask(SIG_SETMASK, &m, NULL);
        *(volatile char *)0 = 1;
    }
    reap("blocked fault", pid);
    pid = begin();
    if (pid == 0)
        abort();
    reap("abort", pid);
}

static void deep(int n) { volatile char a[4096]; a[0] = n; if (n >= 0) deep(n + 1); a[1] = a[0]; }

static void overflow(void)
{
    BLOCK("stack overflow");
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    sigaltstack(&stack, NULL);
    set(SIGSEGV, leave, SA_ONSTACK);
    if (sigsetjmp(jump, 1) == 0)
        deep(0);
    printf("caught on the alternate stack %d\n", seen);
    pid_t pid = begin();
    if (pid == 0) {
        stack.ss_flags = SS_DISABLE;
        sigaltstack(&stack, NULL);
        deep(0);
    }
    reap("no stack for the frame", pid);
}

static void restarts(void)
{
    BLOCK("restarts");
    int p[2];
    char b[8];
    TRY("pipe", pipe(p));
    for (int restart = 0; restart < 2; restart++) {
        set(SIGALRM, note, restart ? SA_RESTART : 0);
        if (restart && begin() == 0) {
            nap(120);
            write(p[1], "x", 1);
            _exit(0);
        }
        ualarm(30000, 0);
        SAY("read", read(p[0], b, 8));
        printf("seen %d\n", seen);
    }
    wait(NULL);
    set(SIGALRM, note, SA_RESTART);
    ualarm(20000, 0);
    SAY("poll never restarts", poll(&(struct pollfd){p[0], POLLIN, 0}, 1, 500));
    ualarm(20000, 0);
    struct timespec left = {0, 0};
    SAY("nanosleep", nanosleep(&(struct timespec){1, 0}, &left));
    printf("left %d\n", left.tv_nsec > 500000000 || left.tv_sec == 1);
    ualarm(20000, 0);
    SAY("pause", pause());
    pid_t pid = begin();
    if (pid == 0) {
        nap(80);
        _exit(9);
    }
    ualarm(20000, 0);
    reap("waitpid restarts", pid);
    later(SIGALRM, 30);
    int s[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){1, 0}, sizeof(struct timeval));
    SAY("recv with a time-out never restarts", recv(s[0], b, 8, 0));
    wait(NULL);
    set(SIGALRM, SIG_IGN, 0);
    ualarm(20000, 0);
    SAY("ignored signals interrupt nothing", poll(&(struct pollfd){p[0], POLLIN, 0}, 1, 60));
    char big[200000];
    memset(big, 1, sizeof big);
    set(SIGALRM, note, 0);
    ualarm(50000, 0);
    SAY("interrupted write is short", write(p[1], big, sizeof big));
}

static void stops(void)
{
    BLOCK("stop and continue");
    int p[2], status;
    pipe(p);
    pid_t pid = begin();
    if (pid == 0) {
        char c;
        setpgid(0, 0);
        set(SIGCONT, note, 0);
        raise(SIGTSTP);
        printf("continued %d\n", seen);
        read(p[0], &c, 1);
        done(4);
    }
    waitpid(pid, &status, WUNTRACED);
    say_status("first", status);
    SAY("nothing more", waitpid(pid, &status, WUNTRACED | WNOHANG));
    kill(pid, SIGTERM);
    SAY("a stopped process does not act", waitpid(pid, &status, WNOHANG));
    kill(pid, SIGCONT);
    waitpid(pid, &status, 0);
    say_status("second", status);
    pid = begin();
    if (pid == 0)
        for (;;)
            pause();
    kill(pid, SIGSTOP);
    waitpid(pid, &status, WUNTRACED);
    say_status("third", status);
    kill(pid, SIGKILL);
    reap("killed while stopped", pid);
}

int main(void)
{
    basics();
    masks();
    flags();
    jumps();
    faults();
    overflow();
    restarts();
    stops();
    return 0;
}
