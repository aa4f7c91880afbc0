/* Nonsense on the channel: random bytes, forged requests, forged reports, other threads' words, while a thread of the
 * same process makes system calls. `channel SEED`: the same seed writes the same nonsense. */
#include "hostile.h"

#define CHILDREN 12 /* at a time: one for each way to be hostile */
#define ROUNDS 2
#define WRITES 1000
#define SLOTS_USED 8

static char scratch[64], text[8192];
static struct iovec vectors[3] = {{text, 100}, {(void *)8, 8}, {text, -1}};
static char *arguments[] = {"x", NULL};
static struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; } clone3_args = {0, 0, 0, 0, SIGCHLD};

/* Numbers whose right use would end or change our neighbours are left to their own tests. */
static uint64_t some_number(void)
{
    static const short never[] = {15, 34, 35, 60, 62, 72, 101, 129, 155, 161, 165, 166, 169, 200, 231, 234, 297, 302, 310, 311, 424, 428,
                                  429, 430, 431, 432, 433, 438, 440, 442};
    uint64_t nr;
again:
    nr = below(475);
    for (unsigned i = 0; i < sizeof never / sizeof *never; i++)
        if (nr == (uint64_t)never[i])
            goto again;
    return nr;
}

static uint64_t some_value(void)
{
    switch (below(14)) {
    case 0: return 0;
    case 1: return below(10);
    case 2: return 1UL << below(64);
    case 3: return -below(4200);
    case 4: return (uint64_t)text + below(sizeof text);
    case 5: return (uint64_t)scratch;
    case 6: return (uint64_t)vectors;
    case 7: return (uint64_t)arguments;
    case 8: return CHANNEL_BASE + below(CHANNEL_SIZE);
    case 9: return GUEST_TOP - below(4096);
    case 10: return below(1 << 20);
    case 11: return (uint64_t)&clone3_args;
    case 12: return 8;
    default: return random64();
    }
}

/* What marshalled arguments look like, or do not: lengths that are too long, negative, or none. */
static void some_data(struct slot *s)
{
    uint64_t at = 0;
    for (int i = 0; i < 6; i++) {
        int64_t n = below(3) ? (int64_t)below(64) : (int64_t)some_value();
        memcpy(s->data + at, &n, 8);
        at += 8;
        for (int j = 0; j < 8; j++)
            s->data[at + j] = below(2) ? random64() : 0;
        at += n > 0 && n < 64 ? (n + 7) & ~7UL : 0;
    }
    s->data_len = below(3) ? at : below(2) ? below(DATA_SIZE * 2) : some_value();
}

/* Say it, and give the Sentry some time to answer. */
static void say(uint64_t index, uint32_t kind)
{
    struct slot *s = slot_at(index);
    s->kind = kind;
    uint32_t seq = __atomic_add_fetch(&s->req_seq, 1, __ATOMIC_SEQ_CST);
    announce(index);
    for (int i = 0; i < 20000 && __atomic_load_n(&s->rep_seq, __ATOMIC_SEQ_CST) != seq; i++)
        __builtin_ia32_pause();
}

static void some_request(struct slot *s)
{
    s->nr = some_number();
    for (int i = 0; i < 6; i++)
        s->args[i] = some_value();
    s->ip = some_value();
    s->sp = some_value();
    some_data(s);
}

/* Asks for what must be reported, and reports it without having done it. */
static void told_and_lied(uint64_t index)
{
    static const short asks[] = {SYS_fork, SYS_vfork, SYS_clone, SYS_clone3, SYS_mmap, SYS_execve, SYS_rt_sigreturn};
    struct slot *s = slot_at(index);
    some_request(s);
    s->nr = asks[below(7)];
    if (s->nr == SYS_clone)
        s->args[0] = below(2) ? SIGCHLD : 0x3d0f00;
    if (s->nr == SYS_mmap) {
        uint64_t a[6] = {0, 4096 * (1 + below(4)), 1 + below(7), 1 + below(3), 3 + below(4), 0};
        memcpy(s->args, a, sizeof a);
    }
    say(index, KIND_SYSCALL);
    for (int i = below(4); i > 0; i--) {
        s->args[0] = below(2) ? below(70000) : some_value();
        say(index, 3 + below(6));
    }
}

static void be_hostile(int how)
{
    /* slots 1 and 2 make calls; of the rest either all do, or none */
    uint64_t index = how % 2 && below(50) ? 3 + below(SLOTS_USED - 3) : 1 + below(SLOTS_USED);
    struct slot *s = slot_at(index);
    uint64_t *words = (uint64_t *)s;

    switch (how) {
    case 0: /* anything anywhere in a slot */
        words[below(SLOT_SIZE / 8)] = random64();
        break;
    case 1: /* the first lines of a slot, where everything has a meaning */
        words[below(48)] = some_value();
        break;
    case 2: /* the maps of who has something to say */
        ((uint64_t *)CHANNEL_BASE)[below(67)] = random64();
        ((uint64_t *)(SHARED_BASE + 0x1000))[below(65)] = random64();
        break;
    case 3: /* requests that nobody made */
        some_request(s);
        say(index, KIND_SYSCALL);
        break;
    case 4: /* messages of every kind */
        some_request(s);
        say(index, below(3) ? below(12) : some_value());
        break;
    case 5: /* faults and their siginfo */
        some_request(s);
        s->nr = below(70);
        say(index, KIND_FAULT);
        break;
    case 6: /* who we are on the host */
        s->host_tid = below(2) ? below(40000) : some_value();
        say(index, KIND_INTERRUPTED);
        break;
    case 7: /* the Sentry's own words */
        s->rep_seq = s->req_seq + below(3) - 1;
        s->watched = below(2);
        s->parked = below(2);
        s->sleeping = below(2);
        s->spin_max = some_value();
        s->action = below(2) ? below(12) : some_value();
        s->nouts = some_value();
        break;
    case 8: /* the request changes while it is taken */
        s->nr = some_number();
        s->args[below(6)] = some_value();
        s->data_len = below(DATA_SIZE * 2);
        s->kind = below(9);
        s->req_seq += below(2);
        break;
    case 9: /* reports */
        told_and_lied(index);
        break;
    case 10: /* a whole slot */
        for (unsigned i = 0; i < SLOT_SIZE / 8; i += 1 + below(64))
            words[i] = random64();
        break;
    default: /* all slots, the unused ones too */
        for (uint64_t i = 0; i < SLOTS; i += 1 + below(256))
            slot_at(i)->req_seq += 1 + below(2);
        announce(below(SLOTS));
        break;
    }
}

static void *use_the_kernel(void *unused)
{
    for (;;) {
        int fd = open(scratch, O_CREAT | O_RDWR, 0600);
        write(fd, text, 5000);
        pread(fd, text, 4000, 0);
        void *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
        struct stat st;
        fstat(fd, &st);
        munmap(map, 4096);
        close(fd);
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        waitpid(pid, NULL, 0);
    }
    return unused;
}

/* A futex wait is the host's: the slot of such a thread has nothing to say, and waits for what we put into it. */
static void *wait_for_ever(void *unused)
{
    static int word;
    for (;;)
        CALL(SYS_futex, &word, 0, 0, 0, 0, 0);
    return unused;
}

static void hostile_child(uint64_t seed, int how)
{
    pthread_t thread;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    random_state = seed * 1000003 + how + 1;
    silence();
    snprintf(scratch, sizeof scratch, "scratch-%lu-%d", seed, how);
    sigaction(SIGCHLD, &ignore, NULL);
    for (int i = 0; i < SLOTS_USED - 2; i++)
        pthread_create(&thread, NULL, how % 2 && i ? wait_for_ever : use_the_kernel, NULL);
    for (int i = 0; i < WRITES; i++) {
        be_hostile(how);
        if (how < 2 || how == 7 || how == 8)
            for (int j = below(3000); j > 0; j--)
                __builtin_ia32_pause();
    }
    CALL(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    pid_t pids[CHILDREN];

    begin_witness();
    for (int round = 0; round < ROUNDS; round++) {
        for (int how = 0; how < CHILDREN; how++) {
            pids[how] = begin();
            if (pids[how] == 0)
                hostile_child(seed * ROUNDS + round, how);
        }
        nap(300);
        for (int how = 0; how < CHILDREN; how++)
            end_of(pids[how], 1500);
    }
    end_witness();
    return verdict("channel");
}
