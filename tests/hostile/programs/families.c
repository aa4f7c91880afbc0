/* Processes that are made, lied about, killed, waited for and replaced at random, all at the same time. `families SEED`. */
#include "hostile.h"
#include <sched.h>

#define CHILDREN 4
#define THREADS 3
#define STEPS 100

static struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; } with_pidfd = {0x1000, 0, 0, 0, SIGCHLD};
static volatile pid_t last[8]; /* children, perhaps */
static char self[4096], number[24];
static int pidfd;

/* One word on our own slot; what comes back does not matter, if anything does. */
static void blurt(uint64_t index, uint32_t kind, uint64_t value)
{
    struct slot *s = slot_at(index);
    uint32_t seq = s->req_seq + 1;
    s->args[0] = value;
    s->kind = kind;
    __atomic_exchange_n(&s->req_seq, seq, __ATOMIC_SEQ_CST);
    announce(index);
    for (int i = 0; i < 300 && __atomic_load_n(&s->rep_seq, __ATOMIC_SEQ_CST) != seq; i++)
        CALL(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

static uint64_t some_result(void)
{
    switch (below(5)) {
    case 0: return -EAGAIN;
    case 1: return -below(5000);
    case 2: return below(60);
    case 3: return below(40000);
    default: return random64();
    }
}

static void go_away(void)
{
    char *argv[] = {self, "nothing", NULL}, *none[] = {NULL};
    switch (below(5)) {
    case 0: CALL(SYS_execve, self, argv, none, 0, 0, 0); break;
    case 1: nap(below(20)); break;
    case 2: blurt(1 + below(3), KIND_CLONED, some_result()); break;
    case 3: CALL(SYS_exit, 0, 0, 0, 0, 0, 0);
    }
    CALL(SYS_exit_group, below(3), 0, 0, 0, 0, 0);
}

static int vforked(void *unused)
{
    char *argv[] = {self, "nothing", NULL}, *none[] = {NULL};
    if (below(2))
        CALL(SYS_execve, self, argv, none, 0, 0, 0);
    CALL(SYS_exit_group, 0, 0, 0, 0, 0, 0);
    return unused != NULL;
}

static void *idle(void *unused)
{
    nap(below(10));
    return unused;
}

static void make_one(uint64_t index)
{
    static char stacks[THREADS + 2][32768];
    pthread_t thread;
    long pid = 0;
    switch (below(6)) {
    case 0: pid = raw(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0); break;
    case 1:
        with_pidfd.pidfd = below(3) ? (uint64_t)&pidfd : below(2) ? 8 : GUEST_TOP;
        pid = raw(SYS_clone3, (long)&with_pidfd, sizeof with_pidfd, 0, 0, 0, 0);
        break;
    case 2: pid = raw(SYS_clone, 0, 0, 0, 0, 0, 0); break;
    case 3: pid = clone(vforked, stacks[index % (THREADS + 2)] + 32768, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL); break;
    case 4: pid = pthread_create(&thread, NULL, idle, NULL) ? -1 : -2; break;
    default: /* asked for, and not made */
        slot_at(index)->nr = below(2) ? SYS_fork : SYS_vfork;
        slot_at(index)->data_len = 0;
        blurt(index, KIND_SYSCALL, 0);
        pid = last[below(8)] = slot_at(index)->result;
        for (int i = below(100); i > 0; i--)
            CALL(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
        blurt(index, KIND_CLONED, below(20) ? -EAGAIN : some_result());
    }
    if (pid == 0)
        go_away();
    if (pid > 0)
        last[below(8)] = pid;
}

static void *one_of_many(void *which)
{
    static const int signals[] = {SIGKILL, SIGSTOP, SIGCONT, SIGTERM, SIGCHLD};
    uint64_t index = (uint64_t)which;
    int status;
    for (int i = 0; i < STEPS; i++)
        switch (below(9)) {
        case 0 ... 3: make_one(index); break;
        case 4: /* as a rule fatal, unless a clone was the last that was heard of us */
            if (below(STEPS) == 0)
                blurt(below(8) ? index : 1 + below(6), 3 + below(6), some_result());
            break;
        case 5:
            for (int j = 0; j < 8; j++)
                if (last[j] > 1)
                    CALL(SYS_kill, last[j], signals[below(5)], 0, 0, 0, 0);
            break;
        case 6: CALL(SYS_wait4, -1, &status, WNOHANG, 0, 0, 0); break;
        case 7: signal(SIGCHLD, below(2) ? SIG_IGN : SIG_DFL); break;
        default:
            if (raw(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0) == 0)
                go_away();
            for (int j = below(200); j > 0; j--)
                CALL(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
            if (below(60) == 0)
                blurt(index, KIND_CLONED, -EAGAIN);
        }
    return NULL;
}

static void family(uint64_t seed)
{
    char *argv[] = {self, number, "again", NULL};
    pthread_t threads[THREADS];
    random_state = seed * 7919 + 1;
    silence();
    CALL(SYS_prlimit64, 0, 7, (&(uint64_t[2]){30, 30}), 0, 0, 0);
    for (uint64_t i = 1; i < THREADS; i++)
        pthread_create(&threads[i], NULL, one_of_many, (void *)(i + 1));
    one_of_many((void *)1);
    if (below(2))
        execv(self, argv);
    CALL(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    pid_t pids[CHILDREN];
    realpath("/proc/self/exe", self);
    snprintf(number, sizeof number, "%lu", seed + 1000003);
    if (argc > 1 && !strcmp(argv[1], "nothing"))
        return 0;
    if (argc > 2)
        family(seed);
    begin_witness();
    for (int i = 0; i < CHILDREN; i++) {
        pids[i] = begin();
        if (pids[i] == 0)
            family(seed * CHILDREN + i);
    }
    for (int i = 0; i < CHILDREN; i++)
        end_of(pids[i], i ? 200 : 2000);
    end_witness();
    return verdict("families");
}
