/* What the hostile programs share: raw calls, jumps into the stub, children that may hang or die, and a witness:
 * another process of the same sandbox that must work on undisturbed. Each program prints one line at its end. */
#ifndef HOSTILE_H
#define HOSTILE_H
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "channel.h"

#define STATUS 7 /* of a program to which nothing bad has happened */
#define PATIENCE_MS 10000

static int failures;

static inline void wrong(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    putchar('\n');
    fflush(stdout);
    failures++;
}

#define CHECK(condition)                                            \
    do {                                                            \
        if (!(condition))                                           \
            wrong("line %d: not so: %s", __LINE__, #condition);     \
    } while (0)

/* A plain system call from our own text; -errno. */
static inline long raw(long nr, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#define CALL(nr, a, b, c, d, e, f) raw(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* The 32-bit way in: rax, rbx, rcx, rdx, rsi, rdi. */
static inline long int80(long nr, long a, long b, long c)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(0L), "D"(0L) : "r8", "r9", "r10", "r11", "memory");
    return result;
}

/* -- faults and jumps ---------------------------------------------------------------------------- */

static __thread sigjmp_buf escape;
static __thread volatile uint64_t jumped_to; /* 0: not in a jump */
static __thread volatile long jump_result;

static inline void on_fault(int signo, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    if (signo == SIGTRAP && jumped_to && (uint64_t)uc->uc_mcontext.gregs[REG_RIP] == jumped_to)
        return; /* stands at the instruction: one step more */
    jump_result = uc->uc_mcontext.gregs[REG_RAX];
    siglongjmp(escape, signo);
    (void)info;
}

static inline void catch_faults(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    static const int faults[] = {SIGSEGV, SIGBUS, SIGTRAP, SIGILL, SIGFPE};
    for (unsigned i = 0; i < sizeof faults / sizeof *faults; i++)
        sigaction(faults[i], &action, NULL);
}

/* The signal that running this statement raised, or 0. */
#define FAULT(statement)                             \
    ({                                               \
        int signo_ = sigsetjmp(escape, 0);           \
        if (!signo_) {                               \
            statement;                               \
        }                                            \
        signo_;                                      \
    })

/* A system call made at `site`, a syscall instruction of the stub: the trap flag brings us back after it. */
__attribute__((noinline)) static long call_at(uint64_t site, long nr, const long *a)
{
    jumped_to = site;
    if (!sigsetjmp(escape, 0)) {
        register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
        /* the rest zero, so that the stub's next instructions store nowhere */
        __asm__ volatile("sub $256, %%rsp\n pushfq\n orl $0x100, (%%rsp)\n xor %%r12d, %%r12d\n xor %%r13d, %%r13d\n"
                         "xor %%r14d, %%r14d\n xor %%r15d, %%r15d\n mov $0, %%ebp\n popfq\n jmp *%%rbx"
                         : : "a"(nr), "b"(site), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                         : "memory");
        __builtin_unreachable();
    }
    jumped_to = 0;
    /* The step over the next instruction may have taken the upper half away (mov %eax, ...). */
    return jump_result >> 32 ? jump_result : (int)jump_result;
}

/* Every syscall instruction of the loader and the stub. */
static uint64_t sites[512];
static int nsites;

static inline void find_sites(void)
{
    for (uint64_t page = TRUSTED_BASE; page < STUB_TEXT_END; page += 4096) {
        volatile unsigned char first;
        if (FAULT(first = *(volatile unsigned char *)page))
            continue;
        for (uint64_t at = page; at < page + 4095; at++) {
            const unsigned char *p = (const unsigned char *)at;
            if (p[0] == 0x0f && p[1] == 0x05 && nsites < 512)
                sites[nsites++] = at;
        }
        (void)first;
    }
    CHECK(nsites > 20);
}

static inline int in_stub(uint64_t site)
{
    return site >= STUB_TEXT && site < STUB_TEXT_END;
}

/* -- children ------------------------------------------------------------------------------------ */

static inline void nap(long ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

static int witness_stop[2]; /* a pipe: the witness ends when nobody can write to it any more */

/* fork(2) without glibc's handlers; the child is killed when we end. Its own children may outlive it: they must not keep
   the witness waiting. */
static inline pid_t begin(void)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0 && witness_stop[1])
        close(witness_stop[1]);
    return pid;
}

/* A child's own standard streams, so that what it does to them and says at its end disturbs nobody. */
static inline void silence(void)
{
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    close(null);
}

/* The wait status of a child that may hang: it is killed when it takes longer than `ms`. */
static inline int end_of(pid_t pid, long ms)
{
    int status = -1;
    for (long waited = 0; waited < ms; waited += 5) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        if (got)
            return got == pid ? status : -1;
        nap(5);
    }
    kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) != pid)
        wrong("child %d cannot be waited for", pid);
    return status;
}

/* Runs the statement in a child with faults as by default; the wait status. */
#define IN_CHILD(ms, statement)        \
    ({                                 \
        pid_t pid_ = begin();          \
        if (pid_ == 0) {               \
            failures = 0;              \
            statement;                 \
            CALL(SYS_exit_group, failures ? 1 : 0, 0, 0, 0, 0, 0); \
        }                              \
        end_of(pid_, ms);              \
    })

static inline int died_of(int status, int signo)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == signo;
}

/* -- the witness --------------------------------------------------------------------------------- */

static pid_t witness;

static inline int lines_are_right(void)
{
    char text[8192];
    int fd = open("lines", O_RDONLY), lines = 0;
    long n;
    while (fd >= 0 && (n = read(fd, text, sizeof text)) > 0)
        for (long i = 0; i < n; i++)
            lines += text[i] == '\n';
    close(fd);
    return lines == 1000;
}

/* Another process, which counts the lines of a file again and again until end_witness. */
static inline void begin_witness(void)
{
    (void)*(volatile uint64_t *)CHANNEL_BASE; /* SIGSEGV on the host, where what follows would do real harm */
    CHECK(pipe(witness_stop) == 0);
    witness = begin();
    if (witness)
        return;
    struct pollfd { int fd; short events, revents; } stop = {witness_stop[0], 1, 0};
    while (syscall(SYS_poll, &stop, 1, 0) == 0)
        if (!lines_are_right())
            _exit(1);
    _exit(42);
}

static inline void end_witness(void)
{
    int status;
    close(witness_stop[1]);
    status = end_of(witness, PATIENCE_MS);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 42)
        wrong("the witness ended with wait status %#x", status);
}

/* Says how it went; what main returns. */
static inline int verdict(const char *name)
{
    CHECK(lines_are_right());
    CHECK(getpid() > 0 && getppid() >= 0);
    printf("%s: %s\n", name, failures ? "WRONG" : "nothing gained");
    return failures ? 1 : STATUS;
}

/* xorshift64*: the same sequence for the same seed. */
static uint64_t random_state = 1;

static inline uint64_t random64(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545F4914F6CDD1DUL;
}

static inline uint64_t below(uint64_t limit)
{
    return random64() % limit;
}

/* -- the channel, which is the guest's to write --------------------------------------------------- */

static inline struct slot *slot_at(uint64_t index)
{
    return (struct slot *)(CHANNEL_BASE + index * SLOT_SIZE);
}

/* Tell the Sentry that the slot has something to say. */
static inline void announce(uint64_t index)
{
    struct space_header *header = (struct space_header *)CHANNEL_BASE;
    struct ready_page *ready = (struct ready_page *)(SHARED_BASE + 0x1000);
    uint64_t space = header->index & (SLOTS - 1);
    __atomic_fetch_or(&header->words[index / 64], 1UL << (index & 63), __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&header->summary, 1UL << (index / 64), __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&ready->groups[space / 64], 1UL << (space & 63), __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&ready->summary, 1UL << (space / 64), __ATOMIC_SEQ_CST);
}

#endif
