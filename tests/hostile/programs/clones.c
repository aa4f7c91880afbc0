/* Threads and processes made behind the Sentry's back: nothing that it does not know outlives what it knows. */
#include "hostile.h"

static volatile uint64_t *alive; /* shared with whoever lives on, who counts there */

static void count_for_ever(void)
{
    for (;;) {
        alive[0]++;
        __builtin_ia32_pause();
    }
}

/* The slot of the calling thread: where a call with arguments of our own shows. */
static uint64_t own_slot(void)
{
    const uint64_t mark = 0x5ca1ab1e00c0ffee;
    CALL(SYS_getppid, 0, 0, 0, 0, 0, mark);
    for (uint64_t i = 1; i < 64; i++) {
        struct slot *s = (struct slot *)(CHANNEL_BASE + i * SLOT_SIZE);
        if (s->nr == SYS_getppid && s->args[5] == mark)
            return i;
    }
    return 0;
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

/* A fork that the Sentry allows, made without the stub: the child counts and never checks in. */
static void fork_in_secret(void)
{
    /* on a stub stack, as the stub expects it */
    struct frame { uint64_t flags, link; stack_t stack; mcontext_t mc; uint64_t mask; } *frame;
    static char stack[4096] __attribute__((aligned(16)));
    uint64_t index = own_slot(), site = clone_site(), at = index / 64;
    struct slot *s = (struct slot *)(CHANNEL_BASE + index * SLOT_SIZE);
    struct space_header *header = (struct space_header *)CHANNEL_BASE;
    struct ready_page *ready = (struct ready_page *)(SHARED_BASE + 0x1000);
    uint64_t space = header->index & (SLOTS - 1);

    CHECK(index && site);
    s->kind = KIND_SYSCALL;
    s->nr = SYS_fork;
    s->data_len = 0;
    uint32_t seq = __atomic_add_fetch(&s->req_seq, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&header->words[at], 1UL << (index & 63), __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&header->summary, 1UL << at, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&ready->groups[space / 64], 1UL << (space & 63), __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&ready->summary, 1UL << (space / 64), __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&s->rep_seq, __ATOMIC_SEQ_CST) != seq)
        __builtin_ia32_pause(); /* the witness keeps the Sentry awake */
    CHECK(s->action == ACTION_CLONE);
    /* In the child the stub goes on with rt_sigreturn, whose frame is ours. */
    frame = (struct frame *)(STACKS_BASE + 3000 * STACK_SIZE + STACK_SIZE / 2);
    frame->stack = (stack_t){(void *)(STACKS_BASE + index * STACK_SIZE), 0, STACK_SIZE};
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
                     : "b"(frame), "D"(s->p[0]), "S"(0L), "d"(0L), "r"(r13)
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
    CHECK(WIFSIGNALED(IN_CHILD(2000, (silence(), fork_in_secret()))));
    CHECK(alive[1] > 0 && is_quiet());
    end_witness();
    return verdict("clones");
}
