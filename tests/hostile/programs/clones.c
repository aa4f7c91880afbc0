/* Threads and processes made behind the Sentry's back: nothing that it does not know outlives what it knows. */
#include "hostile.h"

#define FORK_FLAGS 0x1008000L /* CLONE_PARENT, CLONE_CHILD_SETTID: what the host's filter lets pass */

static volatile uint64_t *alive; /* shared with whoever lives on, who counts there */

static void count_for_ever(void)
{
    for (;;) {
        alive[0]++;
        __builtin_ia32_pause();
    }
}

/* `mov $SYS_clone, %eax; syscall` of the stub, or 0. */
static uint64_t clone_site(void)
{
    static const unsigned char code[] = {0xb8, SYS_clone, 0, 0, 0, 0x0f, 0x05};
    for (int i = 0; i < nsites; i++)
        if (in_stub(sites[i]) && !memcmp((void *)(sites[i] - 5), code, sizeof code))
            return sites[i];
    return 0;
}

/* A fork that the Sentry never hears of: the child counts and reports nothing. */
static void fork_in_secret(void)
{
    /* on a stub stack, as the stub expects it */
    struct frame { uint64_t flags, link; stack_t stack; mcontext_t mc; uint64_t mask; } *frame;
    static char stack[4096] __attribute__((aligned(16)));
    uint64_t site = clone_site();

    CHECK(site);
    /* In the child the stub goes on with rt_sigreturn, whose frame is ours. */
    frame = (struct frame *)(STACKS_BASE + 3000 * STACK_SIZE + STACK_SIZE / 2);
    frame->stack = (stack_t){(void *)(STACKS_BASE + 3000 * STACK_SIZE), 0, STACK_SIZE / 4};
    frame->mc.gregs[REG_RIP] = (long)count_for_ever;
    frame->mc.gregs[REG_RSP] = (long)stack + sizeof stack - 8;
    frame->mc.gregs[REG_CSGSFS] = 0x002b000000000033;
    frame->mc.gregs[REG_EFL] = 0x202;
    register long r10 __asm__("r10") = 0, r8 __asm__("r8") = 0, r9 __asm__("r9") = 0;
    register uint64_t r13 __asm__("r13") = site;
    long result = SYS_clone;
    __asm__ volatile("lea 1f(%%rip), %%rcx\n mov %%rcx, (%%rbx)\n mov %%rsp, %%r12\n mov %%rbx, %%rsp\n jmp *%%r13\n"
                     ".balign 16\n1: mov %%r12, %%rsp"
                     : "+a"(result), "+r"(r10), "+r"(r8), "+r"(r9)
                     : "b"(frame), "D"(FORK_FLAGS), "S"(0L), "d"(0L), "r"(r13)
                     : "rcx", "r11", "r12", "memory");
    while (alive[0] == 0)
        __builtin_ia32_pause();
    alive[1] = result;
}

/* How much is counted in a while by somebody who should be gone. */
static uint64_t counted(void)
{
    uint64_t before = alive[0];
    nap(100);
    return alive[0] - before;
}

static int is_quiet(void)
{
    for (int i = 0; i < 50; i++)
        if (counted() == 0)
            return 1;
    return 0;
}

int main(void)
{
    catch_faults();
    find_sites();
    alive = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    begin_witness();
    CHECK(IN_CHILD(2000, (silence(), fork_in_secret())) == 0);
    CHECK(alive[1] > 0 && is_quiet());
    end_witness();
    return verdict("clones");
}
