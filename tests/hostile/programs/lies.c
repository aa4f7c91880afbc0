/* What a parent says of its clones that is not so: that the host refused a child that lives, has ended and was waited
 * for, or was killed before it came to be; that a stranger is its child; that a child is on its way for ever. */
#include "hostile.h"

/* Speak on a slot without the stub; the action that it would have to take, or -1 when there is no answer. */
static int say(struct slot *s, uint32_t kind)
{
    uint32_t seq = s->req_seq + 1;
    s->kind = kind;
    __atomic_exchange_n(&s->req_seq, seq, __ATOMIC_SEQ_CST);
    announce(((uint64_t)s - CHANNEL_BASE) / SLOT_SIZE);
    for (int i = 0; i < 2000000 && __atomic_load_n(&s->rep_seq, __ATOMIC_SEQ_CST) != seq; i++)
        CALL(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    return __atomic_load_n(&s->rep_seq, __ATOMIC_SEQ_CST) == seq ? s->action : -1;
}

/* Ask for a child and do nothing that the answer says; the child's number. */
static pid_t ask_for_child(struct slot *s, long nr)
{
    memset(s->args, 0, sizeof s->args);
    s->nr = nr;
    s->data_len = 0;
    CHECK(say(s, KIND_SYSCALL) == ACTION_CLONE);
    return (pid_t)s->result;
}

static int say_refused(struct slot *s)
{
    s->args[0] = -EAGAIN;
    return say(s, KIND_CLONED);
}

/* Slot 2 is the liar's, whose process has another thread on slot 1. */
static volatile pid_t child;
static volatile int go_on;

static void *liar(void *how)
{
    struct slot *s = slot_at(2);
    child = how ? raw(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0) : ask_for_child(s, SYS_fork);
    if (child == 0)
        CALL(SYS_exit_group, 3, 0, 0, 0, 0, 0);
    while (!go_on)
        CALL(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    go_on = 1 + say_refused(s);
    for (;;)
        CALL(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    return NULL;
}

/* The child is waited for before the liar says that there never was one. That is fatal if it has reported itself. */
static void refused_afterwards(int made)
{
    pthread_t thread;
    int status = -1;
    pthread_create(&thread, NULL, liar, made ? "made" : NULL);
    while (!child)
        nap(1);
    if (!made)
        CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(made ? WIFEXITED(status) && WEXITSTATUS(status) == 3 : died_of(status, SIGKILL));
    go_on = 1;
    while (go_on == 1)
        nap(1);
    CHECK(waitpid(-1, &status, WNOHANG) == -1);
}

/* The same while the child lives: its parent dies of the lie, the child goes on. */
static void refused_while_it_lives(int *pipes)
{
    volatile int *lives = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char byte;
    pid_t pid = raw(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);
    if (pid == 0) {
        *lives = 1;
        CALL(SYS_read, pipes[0], &byte, 1, 0, 0, 0);
        CALL(SYS_write, pipes[3], &byte, 1, 0, 0, 0);
        CALL(SYS_exit_group, 0, 0, 0, 0, 0, 0);
    }
    while (!*lives)
        CALL(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    say_refused(slot_at(1));
    wrong("a parent has lied and lives");
}

/* A vfork whose child is said to be a process that is known already: the parent's own. */
static void stranger(void)
{
    struct slot *s = slot_at(1);
    struct { uint64_t words[9]; uint32_t host_tid; } *block = (void *)(STACKS_BASE + 2 * STACK_SIZE - 128);
    int status = -1;
    pid_t pid = ask_for_child(s, SYS_vfork);
    s->args[0] = block->host_tid;
    CHECK(block->host_tid && say(s, KIND_CLONED) == ACTION_RETURN && s->result == pid);
    CHECK(waitpid(pid, &status, 0) == pid && died_of(status, SIGKILL));
}

/* Children that are said to be made, and are not; somebody else holds their sockets. */
static void never_made(void)
{
    struct slot *s = slot_at(1);
    int status;
    pid_t pids[10];
    for (int i = 0; i < 10; i++)
        pids[i] = ask_for_child(s, SYS_fork);
    for (int i = 0; i < 10; i++)
        CHECK(died_of(end_of(pids[i], PATIENCE_MS), SIGKILL));
    CHECK(waitpid(-1, &status, WNOHANG) == -1);
}

int main(void)
{
    int pipes[4], status;
    char byte = 'x';

    begin_witness();
    CHECK(IN_CHILD(PATIENCE_MS, refused_afterwards(0)) == 0);
    CHECK(died_of(IN_CHILD(PATIENCE_MS, refused_afterwards(1)), SIGSEGV));
    CHECK(pipe(pipes) == 0 && pipe(pipes + 2) == 0);
    status = IN_CHILD(PATIENCE_MS, refused_while_it_lives(pipes));
    CHECK(died_of(status, SIGSEGV));
    CHECK(write(pipes[1], &byte, 1) == 1 && read(pipes[2], &byte, 1) == 1);
    CHECK(IN_CHILD(PATIENCE_MS, stranger()) == 0);
    CHECK(IN_CHILD(PATIENCE_MS, never_made()) == 0);
    end_witness();
    return verdict("lies");
}
