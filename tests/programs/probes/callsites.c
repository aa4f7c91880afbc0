/* Call sites of every shape that may be rewritten, used often enough that they are: whatever stands around the
 * system call instruction goes on meaning the same. With the argument `show`, the first bytes of each site. */
#include "probe.h"
#include <asm/prctl.h>
#include <setjmp.h>
#include <ucontext.h>

#define OFTEN 40

__asm__(".text\n"
        ".balign 4096\n"
        "plain:   mov $110, %eax\n  plain_call: syscall\n  ret\n"                 /* mov; syscall */
        "wide:    mov $110, %rax\n  syscall\n  ret\n"                             /* mov of seven bytes */
        "zero:    xor %eax, %eax\n  zero_call: syscall\n  cmp $-4095, %rax\n  jae 1f\n  ret\n1: ret\n"
        "any:     mov %rdi, %rax\n  mov %rsi, %rdi\n  mov %rdx, %rsi\n  mov %rcx, %rdx\n  xor %r10d, %r10d\n  any_call: syscall\n"
        "         mov %rax, %r11\n  mov %r11, %rax\n  ret\n"
        "shorter: mov $110, %eax\n  xor %edx, %edx\n  syscall\n  ret\n"            /* no known shape */
        "other:   mov $110, %eax\n  mov $39, %r8d\n  syscall\n  ret\n"
        /* registers, flags and the red zone across a patched call: 0, or which of them changed */
        "keeps:   push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "  mov $1, %ebx; mov $2, %ebp; mov $3, %r12d; mov $4, %r13d; mov $5, %r14d; mov $6, %r15d\n"
        "  mov $7, %edi; mov $8, %esi; mov $9, %edx; mov $10, %r10d; mov $11, %r8d; mov $12, %r9d\n"
        "  movq $77, -8(%rsp); movq $78, -128(%rsp); movq %rsp, %xmm5; stc; std\n"
        "  mov $110, %eax\n  syscall\n"
        "  pushfq; cld; pop %rax; and $0x401, %eax; cmp $0x401, %eax; mov $1, %eax; jne 9f\n"
        "  mov $2, %eax; cmp $1, %ebx; jne 9f; cmp $2, %ebp; jne 9f; cmp $3, %r12; jne 9f; cmp $4, %r13; jne 9f\n"
        "  cmp $5, %r14; jne 9f; cmp $6, %r15; jne 9f\n"
        "  mov $3, %eax; cmp $7, %rdi; jne 9f; cmp $8, %rsi; jne 9f; cmp $9, %rdx; jne 9f; cmp $10, %r10; jne 9f\n"
        "  cmp $11, %r8; jne 9f; cmp $12, %r9; jne 9f\n"
        "  mov $4, %eax; cmpq $78, -128(%rsp); jne 9f\n" /* -8 was overwritten by pushfq */
        "  mov $5, %eax; movq %xmm5, %rcx; cmp %rsp, %rcx; jne 9f\n"
        "  xor %eax, %eax\n"
        "9: pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n  ret\n"
        ".balign 4096\n");
long plain(void), wide(void), shorter(void), other(void), keeps(void);
long zero(int fd, void *to, long count);
long any(long nr, long a, long b, long c);
extern unsigned char plain_call[], zero_call[], any_call[];

static volatile int hits;
static volatile unsigned long where;
static sigjmp_buf jump;

static void on_alarm(int signo)
{
    (void)signo;
    hits++;
    if (plain() != getppid())
        hits += 1000000;
}

static void keep_ip(int signo, siginfo_t *info, void *context)
{
    (void)signo;
    (void)info;
    where = (unsigned long)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
}

static void away(int signo)
{
    siglongjmp(jump, signo);
}

static void *read_all(void *pipe)
{
    char c;
    long n = 0;
    while (zero(*(int *)pipe, &c, 1) == 1)
        n++;
    return (void *)n;
}

static void tick(long microseconds)
{
    struct itimerval interval = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &interval, NULL);
}

static void shapes(void)
{
    long parent = getppid(), wrong = 0, kept = 0;
    char c;
    int p[2];
    pipe(p);
    for (int i = 0; i < OFTEN; i++) {
        wrong += plain() != parent;
        wrong += wide() != parent;
        wrong += shorter() != parent;
        wrong += other() != parent;
        wrong += any(SYS_getppid, 0, 0, 0) != parent;
        wrong += any(SYS_write, p[1], (long)"x", 1) != 1;
        wrong += zero(p[0], &c, 1) != 1 || c != 'x';
        wrong += zero(-1, &c, 1) != -EBADF;
        wrong += zero(p[0], NULL, 0) != 0;
        wrong += any(SYS_read, p[0], 1, -1) != -EFAULT;
        wrong += any(5000, 0, 0, 0) != -ENOSYS;
        kept |= keeps();
    }
    printf("wrong %ld, changed %ld\n", wrong, kept);
    /* calls that the host answers, or whose answer is more than a number, by a site that is patched */
    int word = 1;
    printf("futex %ld\n", any(SYS_futex, (long)&word, 128, 2));
    long page = any(SYS_mmap, 0, 4096, 3); /* the other registers are whatever they are */
    printf("mmap %d\n", page == -EBADF || page == -EINVAL || page > 0 || page < 0);
    printf("brk %d\n", any(SYS_brk, 0, 0, 0) == (long)sbrk(0));
    pid_t pid = (pid_t)any(SYS_fork, 0, 0, 0);
    if (pid == 0)
        any(SYS_exit_group, plain() == getppid() ? 7 : 8, 0, 0);
    int status;
    waitpid(pid, &status, 0);
    printf("forked %d\n", WEXITSTATUS(status));
    close(p[0]);
    close(p[1]);
}

static void interruptions(void)
{
    int p[2], q[2];
    char c;
    long parent = getppid(), wrong = 0, interrupted = 0;
    void *read;
    pthread_t thread;
    sigset_t alarm_only;
    struct sigaction a = {.sa_handler = on_alarm};

    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    pipe(p);
    pipe(q);
    sigprocmask(SIG_BLOCK, &alarm_only, NULL);
    pthread_create(&thread, NULL, read_all, p); /* stands inside its site while others are patched */
    sigprocmask(SIG_UNBLOCK, &alarm_only, NULL);
    sigaction(SIGALRM, &a, NULL);
    tick(2000);
    for (int i = 0; i < 3000 || hits < 20; i++)
        wrong += plain() != parent;
    for (int i = 0; i < 20; i++)
        interrupted += zero(q[0], &c, 1) == -EINTR;
    a.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &a, NULL);
    pid_t pid = fork();
    if (pid == 0) {
        usleep(30000);
        write(q[1], "y", 1);
        _exit(0);
    }
    long restarted = zero(q[0], &c, 1);
    tick(0);
    waitpid(pid, NULL, 0);
    for (int i = 0; i < 20; i++)
        write(p[1], "z", 1);
    close(p[1]);
    pthread_join(thread, &read);
    printf("wrong %ld, interrupted %ld, restarted %ld %c, thread read %ld, handler wrong %d\n", wrong, interrupted,
           restarted, c, (long)read, hits >= 1000000);

    a.sa_handler = away;
    a.sa_flags = 0;
    sigaction(SIGALRM, &a, NULL);
    int jumps = 0;
    while (jumps < 10)
        if (sigsetjmp(jump, 1) == 0) {
            ualarm(1000, 0);
            zero(q[0], &c, 1);
        } else {
            jumps++;
        }
    printf("jumped out %d\n", jumps);

    struct sigaction look = {.sa_sigaction = keep_ip, .sa_flags = SA_SIGINFO};
    sigaction(SIGALRM, &look, NULL);
    ualarm(1000, 0);
    zero(q[0], &c, 1);
    printf("rip behind the instruction %d\n", where == (unsigned long)zero_call + 2);
    kill(getpid(), SIGALRM);
    signal(SIGALRM, SIG_DFL);
    close(p[0]);
    close(q[0]);
    close(q[1]);
}

/* The program's own broken instructions still break. */
static void on_fault(int signo)
{
    siglongjmp(jump, signo);
}

static void faults(void)
{
    signal(SIGILL, on_fault);
    signal(SIGTRAP, on_fault);
    int signo = sigsetjmp(jump, 1);
    if (!signo)
        __asm__ volatile(".byte 0x06");
    printf("push %%es: %d\n", signo);
    signo = sigsetjmp(jump, 1);
    if (!signo)
        __asm__ volatile("int3");
    printf("int3: %d\n", signo);
    signal(SIGILL, SIG_DFL);
    signal(SIGTRAP, SIG_DFL);
}

/* Code made at run time, and made again: mov $NR, %eax; syscall; ret */
static void made(unsigned char *at, unsigned char nr)
{
    unsigned char code[] = {0xb8, nr, 0, 0, 0, 0x0f, 0x05, 0xc3};
    memcpy(at, code, sizeof code);
}

static void jit(void)
{
    long wrong = 0;
    unsigned char *both = mmap(NULL, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int round = 0; round < 4; round++) {
        made(both, round % 2 ? SYS_getppid : SYS_getpid);
        for (int i = 0; i < OFTEN; i++)
            wrong += ((long (*)(void))both)() != (round % 2 ? getppid() : getpid());
        wrong += both[0] != 0xb8;
    }
    int fd = memfd_create("code", 0);
    ftruncate(fd, 4096);
    unsigned char *writer = mmap(NULL, 4096, 3, MAP_SHARED, fd, 0), *runner = mmap(NULL, 4096, 5, MAP_SHARED, fd, 0);
    for (int round = 0; round < 4; round++) {
        made(writer, round % 2 ? SYS_getppid : SYS_getpid);
        for (int i = 0; i < OFTEN; i++)
            wrong += ((long (*)(void))runner)() != (round % 2 ? getppid() : getpid());
        wrong += writer[0] != 0xb8;
    }
    /* a text page of our own, made writable, changed and protected again */
    unsigned char *page = (unsigned char *)((unsigned long)plain & ~4095UL);
    for (int i = 0; i < OFTEN; i++)
        wrong += plain() != getppid();
    mprotect(page, 4096, 7);
    made((unsigned char *)plain, SYS_getpid);
    mprotect(page, 4096, 5);
    for (int i = 0; i < OFTEN; i++)
        wrong += plain() != getpid();
    printf("made at run time: wrong %ld\n", wrong);
}

/* gs belongs to the program as soon as it asks. */
static void *in_thread(void *wanted)
{
    unsigned long gs = 1;
    syscall(SYS_arch_prctl, ARCH_GET_GS, &gs);
    return (void *)(long)(gs == (unsigned long)wanted);
}

static void segment(void)
{
    static unsigned long words[8] = {11, 22, 33};
    unsigned long gs = 1, value, wrong = 0;
    pthread_t thread;
    void *same;
    syscall(SYS_arch_prctl, ARCH_GET_GS, &gs);
    printf("gs %lu, ", gs);
    syscall(SYS_arch_prctl, ARCH_SET_GS, words);
    for (int i = 0; i < OFTEN; i++) {
        wrong += wide() != getppid();
        __asm__ volatile("mov %%gs:8, %0" : "=r"(value));
        wrong += value != 22;
    }
    syscall(SYS_arch_prctl, ARCH_GET_GS, &gs);
    pthread_create(&thread, NULL, in_thread, words);
    pthread_join(thread, &same);
    printf("then ours %d, wrong %lu, thread's %ld\n", gs == (unsigned long)words, wrong, (long)same);
}

static void show(const char *name, const unsigned char *at)
{
    printf("%s %s\n", name, *at == 0xe9 ? "jumps" : "traps");
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        shapes();
        show("plain", (unsigned char *)plain);
        show("wide", (unsigned char *)wide);
        show("zero", zero_call);
        show("any", any_call);
        show("shorter", (unsigned char *)shorter);
        show("other", (unsigned char *)other);
        return 0;
    }
    shapes();
    interruptions();
    faults();
    jit();
    segment();
    pid_t pid = fork();
    if (pid == 0) {
        shapes();
        return 0;
    }
    waitpid(pid, NULL, 0);
    return 0;
}
