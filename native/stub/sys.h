/* Raw system calls and the few kernel structures the stub needs; it is freestanding and uses no libc. */
#ifndef WARDIAN_STUB_SYS_H
#define WARDIAN_STUB_SYS_H

#include <stddef.h>
#include <stdint.h>

/* Always inlined, so that the syscall instruction stands in the text section of the caller: the filters
   tell the loader's calls from the stub's by address. */
static inline __attribute__((always_inline)) long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long ret;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}
#define sys3(nr, a, b, c) sys6(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define sys2(nr, a, b) sys6(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define sys1(nr, a) sys6(nr, (long)(a), 0, 0, 0, 0, 0)

enum {
    SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_mmap = 9, SYS_mprotect = 10, SYS_munmap = 11, SYS_brk = 12,
    SYS_rt_sigaction = 13, SYS_rt_sigprocmask = 14, SYS_rt_sigreturn = 15, SYS_sched_yield = 24, SYS_mremap = 25, SYS_madvise = 28, SYS_dup2 = 33, SYS_getpid = 39,
    SYS_sendmsg = 46, SYS_recvmsg = 47, SYS_clone = 56, SYS_fork = 57, SYS_vfork = 58, SYS_execve = 59, SYS_exit = 60, SYS_wait4 = 61,
    SYS_kill = 62, SYS_getrusage = 98, SYS_getuid = 102, SYS_getgid = 104, SYS_geteuid = 107, SYS_getegid = 108, SYS_setsid = 112, SYS_sigaltstack = 131, SYS_prctl = 157, SYS_arch_prctl = 158,
    SYS_setrlimit = 160, SYS_gettid = 186, SYS_futex = 202, SYS_exit_group = 231, SYS_openat = 257, SYS_set_robust_list = 273, SYS_seccomp = 317, SYS_execveat = 322, SYS_membarrier = 324, SYS_rseq = 334,
    SYS_clone3 = 435, SYS_close_range = 436, SYS_mseal = 462,
};

enum { EAGAIN_ = 11, ENOMEM_ = 12, EFAULT_ = 14, EINVAL_ = 22, ENOSYS_ = 38 };

struct kernel_sigaction {
    void (*handler)(int, void *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

struct sigcontext {
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, di, si, bp, bx, dx, ax, cx, sp, ip, flags;
    uint16_t cs, gs, fs, ss;
    uint64_t err, trapno, oldmask, cr2;
    uint64_t fpstate;
    uint64_t reserved[8];
};

struct stack {
    uint64_t sp;
    uint32_t flags, pad;
    uint64_t size;
};

struct ucontext {
    uint64_t flags, link;
    struct stack stack;
    struct sigcontext mc;
    uint64_t sigmask;
};

_Static_assert(sizeof(struct sigcontext) == 256, "sigcontext");
_Static_assert(sizeof(struct ucontext) == 304, "ucontext");

struct siginfo {
    int32_t signo, err, code, pad;
    union {
        struct { uint64_t addr; } fault;
        struct { uint64_t addr; int32_t syscall; uint32_t arch; } sys;
        uint8_t bytes[112];
    } u;
};

struct iovec {
    void *base;
    size_t len;
};
struct msghdr {
    void *name;
    uint32_t namelen, pad;
    struct iovec *iov;
    size_t iovlen;
    void *control;
    size_t controllen;
    int flags;
};
struct cmsghdr {
    size_t len;
    int level, type;
};
struct sock_fprog {
    unsigned short len;
    void *filter;
};

/* mem.c */
void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int byte, size_t count);

/* copy.S */
long copy_bytes(void *to, const void *from, size_t count);    /* 0, or -14 when a page is missing */
long clear_bytes(void *at, uint64_t count);
/* 0 when *at was *expected and is wanted now; 1 when it was not, *expected says what it was; -14 */
long exchange_word(uint32_t *at, uint32_t *expected, uint32_t wanted);
long copy_string(void *to, const void *from, size_t limit);   /* length, -14, or -36 when longer than limit */
extern const char copy_begin[], copy_end[], copy_fault[];

/* start.S */
void restore_rt(void);
long clone_thread(long flags, void *frame, int *ptid, int *ctid, long tls, long checks_in);
_Noreturn void enter_guest(uint64_t entry, uint64_t sp);

/* zygote.c: where start.S begins */
_Noreturn void zygote(uint64_t *stack);

/* trap.c */
void on_signal(int signo, void *info, void *context);
void check_in(struct ucontext *uc); /* called by start.S */
extern uint64_t brk_start, brk_now; /* answered.c */

#endif
