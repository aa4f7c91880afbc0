/* The Hub: the Sentry's side of every channel (design D6). Guests can write every channel page at any time;
 * nothing read there is used as an index or length before it was copied and checked.
 *
 * requests.c finds and takes requests, wait.c waits for them, answers.c answers, slots.c keeps the account of
 * address spaces and their threads, placement.c says where these run, transfers.c moves the bytes of reads and
 * writes, hub.c makes the Python type of it.
 */
#ifndef WARDIAN_HUB_H
#define WARDIAN_HUB_H

#include <Python.h>

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "channel.h"

#define WATCHES 4
#define APART 64
#define HEAD 72 /* of a request before its data: u32 key, kind, length, 0, nr, 0; u64 args[6] */

struct slot_state {
    uint32_t last_seq;
    bool active;  /* belongs to a thread */
    bool busy;    /* its request is being answered */
    bool queued;  /* its key is pending */
    uint8_t watch; /* 1 + index in the watch list, or 0 */
    bool small;    /* the slot's small_out is taken */
    uint32_t outs_used;
    uint32_t nouts;
    uint32_t apart; /* 1 + the processor it is kept off, or 0 */
    pid_t pid, tid; /* the host's numbers, as far as they are facts */
};

struct space {
    uint8_t *base; /* NULL: free */
    struct slot_state *slots;
    uint32_t capacity;
};

typedef struct {
    PyObject_HEAD
    struct shared_page *shared;
    struct ready_page *ready;
    uint8_t *shared_base;
    struct space *spaces; /* SLOTS of them */
    uint32_t top;         /* highest space index in use + 1 */
    int epoll_fd, doorbell;
    bool waits_in_ms;     /* the host has no epoll_pwait2(2) */
    uint32_t watch_space[WATCHES], watch_slot[WATCHES];
    int nwatch, next_watch;
    uint32_t *pending; /* keys found ready, to be looked at */
    uint32_t npending, pending_room, pending_at;
    int notify_fd;      /* polled while spinning when notifications are expected */
    int64_t expected;
    uint64_t spin_ns;  /* the longest spin; 0: never */
    uint64_t spin_now; /* the present one: grown when spinning paid, shrunk when it did not */
    uint64_t calm_at;  /* until then other work wants our core: spin no longer than MIN_SPIN_NS */
    bool long_work;    /* a guest was told to fork, load a program or exit: the host has to work for it */
    uint64_t patient_until; /* and we do not sleep, unless our core is wanted */
    int64_t running;   /* active slots that are not being answered: these may speak */
    uint32_t spin_hits, spin_misses;
    uint32_t since_poll;
    uint64_t last_poll_ns;
    uint32_t guest_spin;
    uint64_t waits, sleeps, requests;
    PyObject *spare; /* for the next request without data */
    bool failed;     /* no memory for a request: an exception is set */
    uint64_t slept_ns;
    bool placing;   /* threads are kept off our processor */
    cpu_set_t cpus; /* all that this sandbox may use */
    bool maker_moved;     /* what it made meanwhile may have been born anywhere */
    uint32_t maker_apart; /* the same as slot_state.apart, of the process that makes others for us */
    uint32_t apart[APART], napart; /* keys of threads that are, or of nobody any more */
} Hub;

static inline struct slot *slot_of(struct space *space, uint32_t index)
{
    return (struct slot *)(space->base + (size_t)index * SLOT_SIZE);
}

/* NULL when there is no such slot. Slot 0 is no thread's. */
static inline struct slot_state *state_of(Hub *hub, uint32_t key)
{
    uint32_t space_index = key >> 12, slot_index = key & (SLOTS - 1);
    if (space_index >= hub->top)
        return NULL;
    struct space *space = &hub->spaces[space_index];
    return space->base && slot_index && slot_index < space->capacity ? &space->slots[slot_index] : NULL;
}

static inline struct slot *slot_at(Hub *hub, uint32_t key)
{
    return slot_of(&hub->spaces[key >> 12], key & (SLOTS - 1));
}

/* requests.c */
bool hub_prepare(Hub *hub);
PyObject *hub_look(Hub *hub);
PyObject *hub_take_pending(Hub *hub);
void hub_push(Hub *hub, uint32_t key);
void hub_collect(Hub *hub);
void hub_collect_all(Hub *hub);
void hub_watch(Hub *hub, uint32_t space_index, uint32_t slot_index);
void hub_unwatch_at(Hub *hub, int at);

/* answers.c: the slot that a key from Python names; NULL with an exception for none */
struct slot_state *hub_answerable(Hub *hub, PyObject *object, uint32_t *key, struct slot **slot);
uint8_t *hub_out_room(const struct slot_state *state, struct slot *slot, size_t size);
void hub_queue(struct slot_state *state, struct slot *slot, const uint8_t *bytes, const struct out *out);

/* placement.c */
void hub_count_cpus(Hub *hub);
void hub_keep_apart(Hub *hub, uint32_t key, struct slot_state *state, const struct slot *slot);
void hub_let_go(Hub *hub);

/* slots.c: map shared memory; NULL with an exception */
void *hub_map_shared(int fd, size_t size);

extern PyTypeObject HubType; /* hub.c */

/* Methods of the Python type, with their documentation where it takes more than a line (hub.c) */
PyObject *hub_wait(Hub *hub, PyObject *timeout_ns);
PyObject *hub_glance(Hub *hub, PyObject *spin_ns);
PyObject *hub_drop_outs(Hub *hub, PyObject *key);
PyObject *hub_park(Hub *hub, PyObject *key);
PyObject *hub_put(Hub *hub, PyObject *args);
PyObject *hub_add_space(Hub *hub, PyObject *memfd);
PyObject *hub_remove_space(Hub *hub, PyObject *index);
PyObject *hub_activate(Hub *hub, PyObject *key);
PyObject *hub_deactivate(Hub *hub, PyObject *key);
PyObject *hub_host_tid(Hub *hub, PyObject *key);
PyObject *hub_recall_mask(Hub *hub, PyObject *key);
PyObject *hub_robust_list(Hub *hub, PyObject *key);
PyObject *hub_pointers(Hub *hub, PyObject *key);
PyObject *hub_reply(Hub *hub, PyObject *const *args, Py_ssize_t nargs);
PyObject *hub_queue_out(Hub *hub, PyObject *const *args, Py_ssize_t nargs);
PyObject *hub_host_thread(Hub *hub, PyObject *const *args, Py_ssize_t nargs);
PyObject *hub_place(Hub *hub, PyObject *const *args, Py_ssize_t nargs);
PyObject *hub_place_maker(Hub *hub, PyObject *const *args, Py_ssize_t nargs);
PyObject *hub_placed(Hub *hub, PyObject *const *args, Py_ssize_t nargs);
PyObject *hub_lease_mask(Hub *hub, PyObject *const *args, Py_ssize_t nargs);
PyObject *hub_give(Hub *hub, PyObject *const *args, Py_ssize_t nargs);
PyObject *hub_give_zeros(Hub *hub, PyObject *const *args, Py_ssize_t nargs);
PyObject *hub_give_file(Hub *hub, PyObject *const *args, Py_ssize_t nargs);
PyObject *hub_take(Hub *hub, PyObject *const *args, Py_ssize_t nargs);
PyObject *hub_take_into(Hub *hub, PyObject *const *args, Py_ssize_t nargs);
PyObject *hub_take_file(Hub *hub, PyObject *const *args, Py_ssize_t nargs);
extern const char wait_doc[], glance_doc[], reply_doc[], queue_out_doc[], drop_outs_doc[], park_doc[], put_doc[];
extern const char add_space_doc[], remove_space_doc[], activate_doc[], deactivate_doc[], host_tid_doc[];
extern const char give_doc[], give_zeros_doc[], give_file_doc[], take_doc[], take_into_doc[], take_file_doc[];
extern const char host_thread_doc[], place_doc[], place_maker_doc[], placed_doc[], lease_mask_doc[], recall_mask_doc[], robust_list_doc[], pointers_doc[];

#endif
