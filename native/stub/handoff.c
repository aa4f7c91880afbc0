/* The guest's side of the hand-off (design D6): say that there is a request, and wait for its answer. */
#include "stub.h"

enum { FUTEX_WAIT_ = 0 };

static void set_bit(uint64_t *word, uint64_t bit)
{
    __atomic_fetch_or(word, 1UL << (bit & 63), __ATOMIC_SEQ_CST);
}

/* Say on the ready maps that this slot has a request, and ring when the Sentry sleeps. */
static void announce(uint64_t index)
{
    struct space_header *header = (struct space_header *)CHANNEL_BASE;
    struct shared_page *shared = (struct shared_page *)SHARED_BASE;
    struct ready_page *ready = (struct ready_page *)(SHARED_BASE + 0x1000);
    uint64_t space = header->index & (SLOTS - 1);

    set_bit(&header->words[index / 64], index);
    set_bit(&header->summary, index / 64);
    set_bit(&ready->groups[space / 64], space);
    set_bit(&ready->summary, space / 64);
    if (__atomic_load_n(&shared->sentry_sleeping, __ATOMIC_SEQ_CST)) {
        uint64_t one = 1;
        sys3(SYS_write, DOORBELL_FD, &one, 8);
    }
}

#define QUICK_LOOKS 200U /* some 300 ns: a simple call is answered by then, and a pause is a tenth of that */
#define SPIN_FLOOR 333U /* pauses, about 10 us */

/* No sched_yield here or in the Sentry: two spinners that yield to each other stay on one core for good
   (25 us a call), two that do not are soon moved apart (5).
   Spin as long as it has paid lately, but never less than a floor: a thread that stopped spinning would pay
   a wake-up for every call and could not find out that spinning pays again. */
static void wait_reply(struct slot *s, uint32_t seq)
{
    const struct shared_page *shared = (const struct shared_page *)SHARED_BASE;
    uint32_t most = shared->spin_guests ? s->spin_max : 0, least = most < SPIN_FLOOR ? most : SPIN_FLOOR;
    uint32_t limit = s->spin < least ? least : s->spin > most ? most : s->spin;

    /* On one core with the Sentry we only keep it from running; asleep, it may wake on another. */
    int together = this_cpu() == __atomic_load_n(&shared->sentry_cpu, __ATOMIC_RELAXED);
    if (together)
        limit = shared->sentry_sleeping ? least : 0;

    for (uint32_t i = 0; i < limit; i++) {
        if (__atomic_load_n(&s->rep_seq, __ATOMIC_ACQUIRE) == seq) {
            if (!together)
                s->spin = limit * 2;
            return;
        }
        if (__atomic_load_n(&s->parked, __ATOMIC_RELAXED))
            break;
        if (i >= QUICK_LOOKS)
            __builtin_ia32_pause();
    }
    if (!s->parked && !together)
        s->spin = limit - limit / 4;
    for (;;) {
        __atomic_store_n(&s->sleeping, 1, __ATOMIC_SEQ_CST);
        uint32_t seen = __atomic_load_n(&s->rep_seq, __ATOMIC_SEQ_CST);
        if (seen == seq)
            break;
        sys6(SYS_futex, (long)&s->rep_seq, FUTEX_WAIT_, seen, 0, 0, 0);
    }
    __atomic_store_n(&s->sleeping, 0, __ATOMIC_RELAXED);
}

void ask(struct slot *s, uint64_t index, uint32_t kind)
{
    uint32_t seq = s->req_seq + 1;

    s->kind = (uint16_t)kind;
    __atomic_exchange_n(&s->req_seq, seq, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&s->watched, __ATOMIC_SEQ_CST))
        announce(index);
    wait_reply(s, seq);
}
