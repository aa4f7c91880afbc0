/* Threads and processes made behind the Sentry's back, or that stay when they have exited: nothing that it does not
   know outlives what it knows. */
#include "hostile.h"

#define FORK_FLAGS 0x1008000L /* CLONE_PARENT, CLONE_CHILD_SETTID: what the host's filter lets pass */
#define THREAD_FLAGS 0x1250f00L /* a thread's */

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

/* What a stub stack has for somebody new: he goes on with rt_sigreturn, whose frame is ours. */
struct frame { uint64_t flags, link; stack_t stack; mcontext_t mc; uint64_t mask; };

static struct frame *frame_at(int index, void (*entry)(void))
{
    uint64_t bottom = STACKS_BASE + index * STACK_SIZE;
    char *stack = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct frame *frame = (struct frame *)(bottom + STACK_SIZE / 2);
    frame->stack = (stack_t){(void *)bottom, 0, STACK_SIZE / 4};
    frame->mc.gregs[REG_RIP] = (long)entry;
    frame->mc.gregs[REG_RSP] = (long)stack + 16384 - 8;
    frame->mc.gregs[REG_CSGSFS] = 0x002b000000000033;
    frame->mc.gregs[REG_EFL] = 0x202;
    return frame;
}

/* Jump to the stub's clone. The child has `new_stack`, or if that is 0 a copy of `frame`, on which the maker stands. */
static long clone_in_secret(uint64_t flags, struct frame *frame, struct frame *new_stack)
{
    uint64_t site = clone_site();
    register long r10 __asm__("r10") = 0, r8 __asm__("r8") = 0, r9 __asm__("r9") = 0;
    register uint64_t r13 __asm__("r13") = site;
    long result = SYS_clone;

    CHECK(site);
    __asm__ volatile("lea 1f(%%rip), %%rcx\n mov %%rcx, (%%rbx)\n mov %%rsp, %%r12\n mov %%rbx, %%rsp\n jmp *%%r13\n"
                     ".balign 16\n1: mov %%r12, %%rsp"
                     : "+a"(result), "+r"(r10), "+r"(r8), "+r"(r9)
                     : "b"(frame), "D"(flags), "S"(new_stack), "d"(0L), "r"(r13)
                     : "rcx", "r11", "r12", "memory");
    return result;
}

/* A fork that the Sentry never hears of: the child does what `entry` says and reports nothing. */
static void fork_in_secret(void (*entry)(void))
{
    alive[1] = clone_in_secret(FORK_FLAGS, frame_at(3000, entry), NULL);
    while (alive[0] == 0)
        __builtin_ia32_pause();
}

/* Its first thread ends: to the host it looks like a zombie, whose other thread counts. */
static void leave_a_thread(void)
{
    uint64_t site = clone_site();
    clone_in_secret(THREAD_FLAGS, frame_at(3001, count_for_ever), frame_at(3002, count_for_ever));
    while (alive[0] == 0)
        __builtin_ia32_pause();
    __asm__ volatile("xor %%edi, %%edi\n jmp *%0" : : "r"(site), "a"(SYS_exit));
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

static void stays_secret(void (*entry)(void))
{
    alive[0] = alive[1] = 0;
    CHECK(IN_CHILD(2000, (silence(), fork_in_secret(entry))) == 0);
    CHECK(alive[1] > 0 && is_quiet());
}

/* Writes its exit_group onto the channel by hand, and does not do what it is then told to. */
static void exit_and_stay(void)
{
    struct slot *s = slot_at(1);
    s->kind = KIND_SYSCALL;
    s->nr = SYS_exit_group;
    memset(s->args, 0, sizeof s->args);
    s->data_len = 0;
    alive[1] = 1;
    __atomic_fetch_add(&s->req_seq, 1, __ATOMIC_SEQ_CST);
    announce(1);
    count_for_ever();
}

static void sleep_for_ever(void)
{
    static int word;
    for (;;)
        CALL(SYS_futex, &word, 0, 0, 0, 0, 0);
}

/* Forks that the Sentry grants and the host refuses, as there are as many threads as the control group lets. Nobody
   hears of the end of a child that was not made. */
static void fork_without_room(void)
{
    struct frame *here = frame_at(3000, sleep_for_ever);
    int refused = 0, threads = 0, status;
    while (threads < 1000 && clone_in_secret(THREAD_FLAGS, here, frame_at(2000 + threads, sleep_for_ever)) > 0)
        threads++;
    if (threads == 1000)
        return; /* this host does not count them */
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 40; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        refused += pid < 0;
    }
    CHECK(refused > 20);
    CHECK(waitpid(-1, &status, WNOHANG) == -1);
}

int main(void)
{
    catch_faults();
    find_sites();
    alive = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    begin_witness();
    stays_secret(count_for_ever);
    stays_secret(leave_a_thread);
    alive[0] = alive[1] = 0;
    CHECK(IN_CHILD(2000, (silence(), exit_and_stay())) == 0);
    CHECK(alive[0] > 0 && alive[1] == 1 && is_quiet());
    CHECK(IN_CHILD(PATIENCE_MS, fork_without_room()) == 0);
    end_witness();
    return verdict("clones");
}
