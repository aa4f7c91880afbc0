/* System calls made, and signals taken, with registers, stacks and masks as no compiler leaves them. What Linux allows
 * works, what it does not ends the caller. */
#include "hostile.h"

static long me;
static int patched; /* call sites may be patched, and reach the stub through gs: a base of our own ends us there */
static char page[8192] __attribute__((aligned(4096)));

/* getpid with another stack pointer; the way back is in registers alone. */
static long with_stack(uint64_t sp)
{
    long result;
    __asm__ volatile("mov %%rsp, %%rbx\n mov %2, %%rsp\n syscall\n mov %%rbx, %%rsp"
                     : "=a"(result) : "a"(SYS_getpid), "r"(sp) : "rbx", "rcx", "r11", "memory");
    return result;
}

static long with_flags(uint64_t set)
{
    long result;
    uint64_t kept;
    __asm__ volatile("pushfq\n or %3, (%%rsp)\n popfq\n syscall\n pushfq\n pop %1\n push $0x202\n popfq"
                     : "=a"(result), "=&r"(kept) : "a"(SYS_getpid), "r"(set) : "rcx", "r11", "memory", "cc");
    CHECK((kept & set) == set);
    return result;
}

static long with_fs(uint64_t base)
{
    long result;
    uint64_t own, kept;
    __asm__ volatile("rdfsbase %1\n wrfsbase %4\n syscall\n rdfsbase %2\n wrfsbase %1"
                     : "=a"(result), "=&r"(own), "=&r"(kept) : "a"(SYS_getpid), "r"(base) : "rcx", "r11", "memory");
    CHECK(kept == base);
    return result;
}

static long with_gs(uint64_t base)
{
    long result;
    uint64_t kept;
    __asm__ volatile("wrgsbase %3\n syscall\n rdgsbase %1"
                     : "=a"(result), "=&r"(kept) : "a"(SYS_getpid), "r"(base) : "rcx", "r11", "memory");
    CHECK(kept == base);
    return result;
}

static void stacks(void)
{
    static const uint64_t pointers[] = {0, 8, -8UL, 1UL << 63, GUEST_TOP, GUEST_TOP + 8, TRUSTED_BASE, STUB_TEXT + 64,
                                        CHANNEL_BASE + SLOT_SIZE, STACKS_BASE + 3000 * STACK_SIZE, 0x800000000000UL};
    for (unsigned i = 0; i < sizeof pointers / sizeof *pointers; i++)
        if (with_stack(pointers[i]) != me)
            wrong("getpid with rsp %lx", pointers[i]);
    CHECK(with_stack((uint64_t)page + 3) == me);
}

static void flags_and_segments(void)
{
    CHECK(with_flags(1 << 10) == me); /* DF */
    CHECK(with_flags(1 << 18) == me); /* AC */
    CHECK(with_flags(1 << 14) == me); /* NT */
    CHECK(with_flags(1 << 21) == me); /* ID */
    CHECK(with_flags(0xcd5 & ~0x300) == me);
    for (int shift = 0; shift < 47; shift += 2) {
        CHECK(with_fs(1UL << shift) == me);
        CHECK(patched || with_gs(1UL << shift) == me);
    }
    CHECK(with_fs(CHANNEL_BASE) == me && (patched || with_gs(0) == me));
    __asm__ volatile("mov %0, %%ds\n mov %0, %%es" : : "r"(0));
    if (!patched)
        __asm__ volatile("mov %0, %%gs" : : "r"(0));
    CHECK(CALL(SYS_getpid, 0, 0, 0, 0, 0, 0) == me);
    CHECK(CALL(SYS_arch_prctl, 0x1001, 1UL << 47, 0, 0, 0, 0) == -EPERM);
    CHECK(CALL(SYS_arch_prctl, 0x1001, -1UL, 0, 0, 0, 0) == -EPERM);
    CHECK(CALL(SYS_arch_prctl, 0x1003, STUB_TEXT, 0, 0, 0, 0) == -EFAULT);
    CHECK(CALL(SYS_arch_prctl, 0x1003, -8, 0, 0, 0, 0) == -EFAULT);
    uint32_t mxcsr = 0, usual = 0x1f80; /* every floating-point exception unmasked */
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    CHECK(CALL(SYS_getpid, 0, 0, 0, 0, 0, 0) == me);
    __asm__ volatile("ldmxcsr %0" : : "m"(usual));
}

/* The direction and alignment flags while the stub copies. */
static void copies_backwards(void)
{
    long result;
    int fd = open("lines", O_RDONLY);
    memset(page, 0, sizeof page);
    __asm__ volatile("pushfq\n orl $0x40400, (%%rsp)\n popfq\n syscall\n push $0x202\n popfq"
                     : "=a"(result) : "a"(SYS_read), "D"(fd), "S"(page + 1001), "d"(1001) : "rcx", "r11", "memory", "cc");
    CHECK(result == 1001 && page[1001] == 'l' && page[2001] == 'l' && page[1000] == 0 && page[2002] == 0);
    close(fd);
}

static void stack_is_gone(void)
{
    uint64_t sp = (uint64_t)__builtin_frame_address(0) & ~0xfffUL;
    /* no stack from here on: unmap all of it, ask who we are, and end with 42 when it is us */
    __asm__ volatile("mov %0, %%rdi\n mov $0x800000, %%rsi\n mov $11, %%eax\n syscall\n"
                     "mov $39, %%eax\n syscall\n mov $42, %%edi\n mov $231, %%eax\n syscall"
                     : : "r"(sp - 0x400000) : "rdi", "rsi", "rax", "rcx", "r11", "memory");
}

/* -- signals ------------------------------------------------------------------------------------- */

static volatile int taken;

static void take(int signo)
{
    taken += signo;
}

static void handle(int signo, void *handler, int flags)
{
    struct { void *handler; long flags; void *restorer; long mask; } action = {handler, flags, NULL, 0}, old;
    CALL(SYS_rt_sigaction, signo, NULL, &old, 8, 0, 0);
    struct sigaction usual = {.sa_handler = take}; /* glibc's restorer */
    sigaction(signo, &usual, NULL);
    CALL(SYS_rt_sigaction, signo, NULL, &old, 8, 0, 0);
    action.restorer = old.restorer;
    action.flags |= 0x04000000;
    CALL(SYS_rt_sigaction, signo, &action, NULL, 8, 0, 0);
}

/* The stub's own signals belong to us as all the others do. */
static void own_the_signals(void)
{
    uint64_t all = -1UL, none = 0;
    taken = 0;
    signal(SIGSYS, take);
    signal(SIGURG, take);
    CHECK(getpid() == me && taken == 0);
    raise(SIGSYS);
    raise(SIGURG);
    CHECK(taken == SIGSYS + SIGURG);
    CALL(SYS_rt_sigprocmask, SIG_SETMASK, &all, 0, 8, 0, 0);
    raise(SIGSYS);
    raise(SIGURG);
    CHECK(getpid() == me && lines_are_right() && taken == SIGSYS + SIGURG);
    CALL(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, 8, 0, 0);
    CHECK(taken == 2 * (SIGSYS + SIGURG));
    signal(SIGSYS, SIG_DFL);
    CHECK(died_of(IN_CHILD(PATIENCE_MS, (signal(SIGSYS, SIG_DFL), raise(SIGSYS))), SIGSYS));
    signal(SIGSYS, SIG_IGN);
    CHECK(CALL(SYS_getpid, 0, 0, 0, 0, 0, 0) == me);
    signal(SIGURG, SIG_DFL);
}

static void signal_with_stack(uint64_t sp)
{
    handle(SIGUSR1, take, 0);
    __asm__ volatile("mov %0, %%rsp\n mov $10, %%esi\n mov $62, %%eax\n syscall\n mov $231, %%eax\n xor %%edi, %%edi\n syscall"
                     : : "r"(sp), "D"(getpid()) : "rax", "rsi", "rcx", "r11", "memory");
}

static void signal_on(uint64_t stack, uint64_t size)
{
    stack_t alternate = {.ss_sp = (void *)stack, .ss_size = size};
    long result = CALL(SYS_sigaltstack, &alternate, 0, 0, 0, 0, 0);
    handle(SIGUSR1, take, SA_ONSTACK);
    if (result == 0)
        raise(SIGUSR1);
    else
        raise(SIGSEGV);
}

static void signal_at(uint64_t handler)
{
    handle(SIGUSR1, (void *)handler, 0);
    raise(SIGUSR1);
    raise(SIGSEGV); /* it came back */
}

static void bad_frames(void)
{
    static const uint64_t nowhere[] = {0, 8, -4096UL, 1UL << 63, GUEST_TOP, TRUSTED_BASE, STUB_TEXT + 4096};
    unsigned count = sizeof nowhere / sizeof *nowhere;
    for (unsigned i = 0; i < count; i++) {
        int status = IN_CHILD(PATIENCE_MS, (signal(SIGSEGV, SIG_DFL), signal_with_stack(nowhere[i])));
        if (!died_of(status, SIGSEGV))
            wrong("a signal with rsp %lx: wait status %#x", nowhere[i], status);
        status = IN_CHILD(PATIENCE_MS, (signal(SIGSEGV, SIG_DFL), signal_on(nowhere[i] + 8, 8192)));
        if (!died_of(status, SIGSEGV))
            wrong("a signal stack at %lx: wait status %#x", nowhere[i], status);
        status = IN_CHILD(PATIENCE_MS, (signal(SIGSEGV, SIG_DFL), signal_at(nowhere[i])));
        if (!died_of(status, SIGSEGV) && nowhere[i] > 8 && nowhere[i] != STUB_TEXT + 4096)
            wrong("a handler at %lx: wait status %#x", nowhere[i], status);
    }
}

/* -- rt_sigreturn -------------------------------------------------------------------------------- */

/* rt_sigreturn with this memory as the frame: from our own text, or at a syscall instruction of the stub. */
static void return_from(void *frame, uint64_t site)
{
    __asm__ volatile("mov %0, %%rsp\n mov $15, %%eax\n jmp *%1" : : "r"(frame), "r"(site));
    __builtin_unreachable();
}

__asm__(".text\nour_syscall: syscall\n hlt\n");
extern char our_syscall[];

static void forge(uint64_t seed, uint64_t site)
{
    uint64_t *words = (uint64_t *)(page + 4096);
    ucontext_t *uc = (ucontext_t *)words;
    signal(SIGSEGV, SIG_DFL);
    signal(SIGILL, SIG_DFL);
    signal(SIGTRAP, SIG_DFL);
    silence();
    alarm(1);
    random_state = seed + 1;
    static uint64_t values[] = {0, 8, -8UL, 1UL << 63, CHANNEL_BASE + SLOT_SIZE, STUB_TEXT, STACKS_BASE + 60000, GUEST_TOP};
    for (int i = 0; i < 120; i++)
        words[i] = below(2) ? random64() : below(3) ? (uint64_t)page + below(8000) : values[below(8)];
    if (seed % 4) { /* otherwise it would mostly end at the first look */
        uc->uc_mcontext.gregs[REG_RIP] = seed % 4 == 1 ? (uint64_t)our_syscall : STUB_TEXT + below(0x1800);
        uc->uc_mcontext.gregs[REG_RAX] = SYS_exit_group;
        uc->uc_mcontext.gregs[REG_CSGSFS] = below(2) ? 0x002b000000000033 : random64();
        uc->uc_mcontext.fpregs = below(2) ? NULL : (void *)(page + 64 * below(40));
    }
    return_from(words, site);
}

static void bad_returns(void)
{
    pid_t pids[16];
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 16; i++) {
            pids[i] = begin();
            if (pids[i] == 0)
                forge(round * 16 + i, i % 2 ? (uint64_t)our_syscall : sites[below(nsites)]);
        }
        for (int i = 0; i < 16; i++)
            end_of(pids[i], 1000);
    }
}

/* -- threads ------------------------------------------------------------------------------------- */

static void *sleep_long(void *unused)
{
    for (;;)
        nap(10000);
    return unused;
}

/* Host numbers, which stand on the channel, are nobody's here. */
static void host_threads(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, sleep_long, NULL);
    for (uint64_t i = 1; i < 8; i++) {
        uint32_t tid = ((volatile struct slot *)(CHANNEL_BASE + i * SLOT_SIZE))->host_tid;
        if (tid < 1000) /* in a pid namespace they are small, and may be somebody's */
            continue;
        CHECK(CALL(SYS_tgkill, getpid(), tid, 0, 0, 0, 0) == -ESRCH);
        CHECK(CALL(SYS_tkill, tid, SIGKILL, 0, 0, 0, 0) == -ESRCH);
        CHECK(CALL(SYS_kill, tid, SIGKILL, 0, 0, 0, 0) == -ESRCH);
    }
}

/* Lists and addresses that the kernel follows at our end. */
static void end_with_lists(int which)
{
    static struct { void *next; long offset; void *pending; } head, ring[3];
    ring[0].next = &ring[1];
    ring[1].next = &ring[2];
    ring[2].next = &ring[0];
    head.next = which == 0 ? (void *)&ring[0] : which == 1 ? (void *)STUB_TEXT : which == 2 ? (void *)-8 : &head.offset;
    head.offset = which == 3 ? 1L << 62 : 8;
    head.pending = (void *)(CHANNEL_BASE + 8);
    CALL(SYS_set_robust_list, &head, 24, 0, 0, 0, 0);
    CALL(SYS_set_tid_address, which % 2 ? CHANNEL_BASE : -8, 0, 0, 0, 0, 0);
    CALL(SYS_exit, 0, 0, 0, 0, 0, 0);
}

int main(int argc, char **argv)
{
    patched = argc > 1 && !strcmp(argv[1], "patched");
    catch_faults();
    find_sites();
    me = getpid();
    begin_witness();
    stacks();
    flags_and_segments();
    copies_backwards();
    int status = IN_CHILD(PATIENCE_MS, stack_is_gone());
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    own_the_signals();
    catch_faults();
    bad_frames();
    bad_returns();
    CHECK(IN_CHILD(PATIENCE_MS, host_threads()) == 0);
    for (int which = 0; which < 4; which++)
        CHECK(WIFEXITED(IN_CHILD(PATIENCE_MS, end_with_lists(which))));
    end_witness();
    return verdict("registers");
}
