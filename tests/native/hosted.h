/* The stub as a part of an ordinary program, so that the sanitizers and guard pages see what it does: included in
 * front of one of its sources. Its memory lies at the addresses it has in a guest; its system calls are answered
 * by the case. start.S is left out: this program is entered and left as any other.
 */
#ifndef WARDIAN_TESTS_HOSTED_H
#define WARDIAN_TESTS_HOSTED_H

#define WARDIAN_HOSTED
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "channel.h"
#include "sys.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

/* -- system calls: each takes the next answer, and is remembered ---------------------------------------- */

#define MAX_CALLS 64
struct host_call {
    long nr, args[6];
};
static struct host_call calls[MAX_CALLS];
static long answers[MAX_CALLS];
static int ncalls;
static void (*on_call)(const struct host_call *call); /* what the rest of the world does meanwhile */

static long really(long nr, long a, long b, long c, long d, long e, long f)
{
    return sys6(nr, a, b, c, d, e, f);
}

static long host_call(long nr, long a, long b, long c, long d, long e, long f)
{
    CHECK(ncalls < MAX_CALLS);
    struct host_call *call = &calls[ncalls];
    *call = (struct host_call){nr, {a, b, c, d, e, f}};
    if (on_call)
        on_call(call);
    return answers[ncalls++];
}
#define sys6 host_call

uint64_t fs_base; /* of the guest, which has none of its own here */

/* -- start.S ------------------------------------------------------------------------------------------- */

void restore_rt(void)
{
    abort();
}

void enter_guest(uint64_t entry, uint64_t sp)
{
    printf("%lx %lx\n", entry, sp);
    exit(0);
}

long clone_thread(long flags, void *frame, int *ptid, int *ctid, long tls, long nonce)
{
    CHECK(ptid == ctid && nonce >= 0);
    return host_call(SYS_clone, flags, (long)frame, (long)ptid, (long)ctid, tls, 0);
}

/* -- memory -------------------------------------------------------------------------------------------- */

#define GUEST 0x5e0000000000UL /* two pages of the guest's, and nothing around them */
#define GUEST_END (GUEST + 0x2000)

static void *place(uint64_t address, size_t size)
{
    /* MAP_FIXED_NOREPLACE */
    void *at = mmap((void *)address, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | 0x100000, -1, 0);
    CHECK(at == (void *)address);
    return at;
}

static struct slot *slot_one(void)
{
    return (struct slot *)(CHANNEL_BASE + SLOT_SIZE);
}

/* A copy's fault goes to the stub's handler; any other one is a bug and goes back to the sanitizer's. */
static struct kernel_sigaction before;
static void fault(int signo, void *info, void *context)
{
    const struct ucontext *uc = context;
    if (uc->mc.ip >= (uint64_t)copy_begin && uc->mc.ip < (uint64_t)copy_end)
        on_signal(signo, info, context);
    else
        really(SYS_rt_sigaction, signo, (long)&before, 0, 8, 0, 0);
}

static __attribute__((naked)) void signal_return(void)
{
    __asm__("mov $15, %eax\n syscall");
}

/* Slot 1 alone, so that one byte before or behind it is a fault; shared pages; stub stacks 1 and 2; guest memory. */
static void lay_out(void)
{
    struct kernel_sigaction action = {fault, 0x4 | 0x04000000 | 0x40000000, signal_return, 0};

    place(CHANNEL_BASE, 4096);
    place(CHANNEL_BASE + SLOT_SIZE, SLOT_SIZE);
    place(SHARED_BASE, 0x3000);
    place(STACKS_BASE + STACK_SIZE, 2 * STACK_SIZE);
    place(GUEST, GUEST_END - GUEST);
    CHECK(really(SYS_rt_sigaction, 11, (long)&action, (long)&before, 8, 0, 0) == 0);
}

/* -- cases --------------------------------------------------------------------------------------------- */

struct hosted_case {
    const char *name;
    void (*run)(void);
};

static int run_case(const struct hosted_case *cases, size_t count, const char *name)
{
    lay_out();
    for (size_t i = 0; i < count; i++)
        if (!strcmp(cases[i].name, name)) {
            cases[i].run();
            return 0;
        }
    fprintf(stderr, "no case %s\n", name);
    return 2;
}

#endif
