/* wardian._core: what the Sentry needs that Python has no call for, and the hand-off loop (design D6, D12).
 *
 * A Hub owns the Sentry's side of every channel: it finds threads that have something to say, copies their request
 * once into one bytes object, and writes answers. Guests can write every channel page at any time; nothing read
 * here is used as an index or length before it was copied and checked.
 */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "hostcalls.h"
#include "hostfiles.h"

#define WATCHES 4
#define MAX_EVENTS 64
#define GUEST_SPIN 4000U /* pauses, about 120 us */
#define MIN_SPIN_NS 3000UL
#define MAX_SPIN_NS 150000UL /* longer than the two wake-ups that a spin saves */
#define WAKE_NS 50000UL      /* about what a wake-up takes */
#define LOOK_AROUND_NS 20000UL /* between looks at host descriptors while spinning */
#define FIRST_ROOM 256 /* pending keys */
#define PREEMPTED_NS 300000UL /* a gap this long in a spin: somebody else ran on our core */
#define CALM_NS 20000000UL

struct slot_state {
    uint32_t last_seq;
    bool active;  /* belongs to a thread */
    bool busy;    /* its request is being answered */
    bool queued;  /* its key is pending */
    uint8_t watch; /* 1 + index in the watch list, or 0 */
    uint32_t outs_used;
    uint32_t nouts;
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
    uint32_t watch_space[WATCHES], watch_slot[WATCHES];
    int nwatch, next_watch;
    uint32_t *pending; /* keys found ready, to be looked at */
    uint32_t npending, pending_room, pending_at;
    int notify_fd;      /* polled while spinning when notifications are expected */
    int64_t expected;
    uint64_t spin_ns;  /* the longest spin; 0: never */
    uint64_t spin_now; /* the present one: grown when spinning paid, shrunk when it did not */
    uint64_t calm_at;  /* until then other work wants our core: spin no longer than MIN_SPIN_NS */
    int64_t running;   /* active slots that are not being answered: these may speak */
    uint32_t spin_hits, spin_misses;
    uint32_t since_poll;
    uint64_t last_poll_ns;
    uint32_t guest_spin;
    uint64_t waits, sleeps, requests;
} Hub;

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000UL + (uint64_t)ts.tv_nsec;
}

/* -- arguments: a number that does not fit is an OverflowError, never another number ------------------- */

static bool as_u32(PyObject *object, uint32_t *value)
{
    unsigned long wide = PyLong_AsUnsignedLong(object);
    if (wide == (unsigned long)-1 && PyErr_Occurred())
        return false;
    if (wide > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "more than 32 bits");
        return false;
    }
    *value = (uint32_t)wide;
    return true;
}

static bool as_int(PyObject *object, int *value)
{
    long wide = PyLong_AsLong(object);
    if (wide == -1 && PyErr_Occurred())
        return false;
    if (wide < INT_MIN || wide > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "does not fit an int");
        return false;
    }
    *value = (int)wide;
    return true;
}

static struct slot *slot_of(struct space *space, uint32_t index)
{
    return (struct slot *)(space->base + (size_t)index * SLOT_SIZE);
}

/* -- looking for requests ---------------------------------------------------------------------------- */

/* NULL when there is no such slot. Slot 0 is no thread's. */
static struct slot_state *state_of(Hub *hub, uint32_t key)
{
    uint32_t space_index = key >> 12, slot_index = key & (SLOTS - 1);
    if (space_index >= hub->top)
        return NULL;
    struct space *space = &hub->spaces[space_index];
    return space->base && slot_index && slot_index < space->capacity ? &space->slots[slot_index] : NULL;
}

static struct slot *slot_at(Hub *hub, uint32_t key)
{
    return slot_of(&hub->spaces[key >> 12], key & (SLOTS - 1));
}

/* True when the slot belongs to a thread, waits for nothing from us, and has a request we have not taken. */
static bool has_request(Hub *hub, uint32_t key)
{
    struct slot_state *state = state_of(hub, key);
    if (!state || !state->active || state->busy)
        return false;
    return __atomic_load_n(&slot_at(hub, key)->req_seq, __ATOMIC_ACQUIRE) != state->last_seq;
}

/* Copy the request of a slot that has one. */
static PyObject *take(Hub *hub, uint32_t key)
{
    struct slot_state *state = &hub->spaces[key >> 12].slots[key & (SLOTS - 1)];
    struct slot *slot = slot_at(hub, key);
    uint32_t length = __atomic_load_n(&slot->data_len, __ATOMIC_RELAXED);

    state->last_seq = __atomic_load_n(&slot->req_seq, __ATOMIC_ACQUIRE);
    state->busy = true;
    hub->running--;
    state->outs_used = 0;
    state->nouts = 0;
    if (length > DATA_SIZE)
        length = 0;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, 16 + 72 + (Py_ssize_t)length);
    if (!bytes)
        return NULL;
    uint8_t *to = (uint8_t *)PyBytes_AS_STRING(bytes);
    uint32_t head[4] = {key, slot->kind, length, 0};
    memcpy(to, head, 16);
    uint64_t nr = slot->nr, where[2] = {0, 0};
    memcpy(to + 16, &nr, 8);
    memcpy(to + 24, (void *)slot->args, 48);
    if (length)
        memcpy(where, (void *)&slot->ip, 16);
    memcpy(to + 72, where, 16);
    memcpy(to + 88, slot->data, length);
    hub->requests++;
    return bytes;
}

/* Room for another pending key: where those were that have been looked at, or else more memory. */
static bool make_room(Hub *hub)
{
    uint32_t left = hub->npending - hub->pending_at, room = hub->pending_room;
    if (left > room / 2) {
        uint32_t *grown = room < SLOTS * SLOTS ? realloc(hub->pending, room * 2UL * sizeof *grown) : NULL;
        if (!grown)
            return false;
        hub->pending = grown;
        hub->pending_room = room * 2;
    }
    memmove(hub->pending, hub->pending + hub->pending_at, left * sizeof *hub->pending);
    hub->npending = left;
    hub->pending_at = 0;
    return true;
}

/* Remember a key, once, when it has a request: a ready bit may be anything. The full scan before sleeping finds
   what found no room here. */
static void push(Hub *hub, uint32_t key)
{
    struct slot_state *state = state_of(hub, key);
    if (!state || state->queued || !has_request(hub, key))
        return;
    if (hub->npending < hub->pending_room || make_room(hub)) {
        hub->pending[hub->npending++] = key;
        state->queued = true;
    }
}

static void collect_space(Hub *hub, uint32_t index)
{
    struct space *space = &hub->spaces[index];
    if (index >= hub->top || !space->base)
        return;
    struct space_header *header = (struct space_header *)space->base;
    uint64_t summary = __atomic_exchange_n(&header->summary, 0, __ATOMIC_SEQ_CST);
    while (summary) {
        uint32_t word = (uint32_t)__builtin_ctzl(summary);
        summary &= summary - 1;
        uint64_t bits = __atomic_exchange_n(&header->words[word], 0, __ATOMIC_SEQ_CST);
        while (bits) {
            push(hub, index << 12 | (word * 64 + (uint32_t)__builtin_ctzl(bits)));
            bits &= bits - 1;
        }
    }
}

/* Turn the ready maps into pending keys. */
static void collect(Hub *hub)
{
    uint64_t summary = __atomic_exchange_n(&hub->ready->summary, 0, __ATOMIC_SEQ_CST);
    while (summary) {
        uint32_t group = (uint32_t)__builtin_ctzl(summary);
        summary &= summary - 1;
        uint64_t bits = __atomic_exchange_n(&hub->ready->groups[group], 0, __ATOMIC_SEQ_CST);
        while (bits) {
            collect_space(hub, group * 64 + (uint32_t)__builtin_ctzl(bits));
            bits &= bits - 1;
        }
    }
}

/* Look at every active slot: what the maps say can be erased by a hostile guest, this cannot. */
static void collect_all(Hub *hub)
{
    for (uint32_t i = 0; i < hub->top; i++)
        if (hub->spaces[i].base)
            for (uint32_t j = 1; j < hub->spaces[i].capacity; j++)
                push(hub, i << 12 | j);
}

static PyObject *take_pending(Hub *hub)
{
    while (hub->pending_at < hub->npending) {
        uint32_t key = hub->pending[hub->pending_at++];
        struct slot_state *state = state_of(hub, key);
        if (state)
            state->queued = false;
        if (has_request(hub, key))
            return take(hub, key);
    }
    hub->npending = hub->pending_at = 0;
    return NULL;
}

static PyObject *take_watched(Hub *hub)
{
    for (int i = 0; i < hub->nwatch; i++) {
        int at = (hub->next_watch + i) % hub->nwatch;
        uint32_t key = hub->watch_space[at] << 12 | hub->watch_slot[at];
        if (has_request(hub, key)) {
            hub->next_watch = (at + 1) % hub->nwatch;
            return take(hub, key);
        }
    }
    return NULL;
}

static PyObject *take_announced(Hub *hub)
{
    if (!__atomic_load_n(&hub->ready->summary, __ATOMIC_ACQUIRE))
        return NULL;
    collect(hub);
    return take_pending(hub);
}

/* Each of the three places is looked at first in its turn: busy threads could keep any of them from ever being
   empty, and whoever is found in another one would starve. */
static PyObject *look(Hub *hub)
{
    for (uint64_t turn = hub->requests, end = turn + 3; turn < end; turn++) {
        PyObject *found = turn % 3 == 0 ? take_pending(hub) : turn % 3 == 1 ? take_watched(hub) : take_announced(hub);
        if (found || PyErr_Occurred())
            return found;
    }
    return NULL;
}

/* -- the watch list: slots whose req_seq the Sentry looks at by itself --------------------------------- */

static void unwatch_at(Hub *hub, int at)
{
    struct space *space = &hub->spaces[hub->watch_space[at]];
    uint32_t slot = hub->watch_slot[at];
    if (space->base && slot < space->capacity) {
        space->slots[slot].watch = 0;
        __atomic_store_n(&slot_of(space, slot)->watched, 0, __ATOMIC_SEQ_CST);
        push(hub, hub->watch_space[at] << 12 | slot);
    }
    hub->nwatch--;
    if (at != hub->nwatch) {
        hub->watch_space[at] = hub->watch_space[hub->nwatch];
        hub->watch_slot[at] = hub->watch_slot[hub->nwatch];
        struct space *moved = &hub->spaces[hub->watch_space[at]];
        moved->slots[hub->watch_slot[at]].watch = (uint8_t)(at + 1);
    }
}

static void watch(Hub *hub, uint32_t space_index, uint32_t slot_index)
{
    struct space *space = &hub->spaces[space_index];
    struct slot_state *state = &space->slots[slot_index];
    if (state->watch)
        return;
    if (hub->nwatch == WATCHES)
        unwatch_at(hub, hub->next_watch % WATCHES);
    hub->watch_space[hub->nwatch] = space_index;
    hub->watch_slot[hub->nwatch] = slot_index;
    state->watch = (uint8_t)++hub->nwatch;
    __atomic_store_n(&slot_of(space, slot_index)->watched, 1, __ATOMIC_SEQ_CST);
}

/* -- waiting ------------------------------------------------------------------------------------- */

static bool notification_waits(Hub *hub)
{
    if (hub->expected <= 0 || hub->notify_fd < 0)
        return false;
    struct pollfd p = {hub->notify_fd, POLLIN, 0};
    return poll(&p, 1, 0) > 0;
}

static PyObject *events_list(struct epoll_event *events, int count)
{
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < count; i++) {
        PyObject *pair = Py_BuildValue("(iI)", (int)events[i].data.fd, (unsigned)events[i].events);
        if (!pair || PyList_Append(list, pair) < 0)
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list;
}

static PyObject *poll_events(Hub *hub, int timeout_ms)
{
    struct epoll_event events[MAX_EVENTS];
    int count;

    if (timeout_ms == 0) {
        count = epoll_wait(hub->epoll_fd, events, MAX_EVENTS, 0);
    } else {
        Py_BEGIN_ALLOW_THREADS
        count = epoll_wait(hub->epoll_fd, events, MAX_EVENTS, timeout_ms);
        Py_END_ALLOW_THREADS
        if (count < 0 && errno == EINTR && PyErr_CheckSignals() < 0)
            return NULL;
    }
    int kept = 0;
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == hub->doorbell) {
            uint64_t value;
            if (read(hub->doorbell, &value, 8) < 0) { /* already taken */ }
            collect_all(hub);
            continue;
        }
        events[kept++] = events[i];
    }
    hub->since_poll = 0;
    return events_list(events, kept);
}

/* How long to spin this time. Where no thread can speak there is nothing to wait for; on a core that others want,
   not for long. */
static uint64_t spin_budget(Hub *hub, uint64_t now)
{
    if (hub->running <= 0 && hub->expected <= 0)
        return 0;
    if (now < hub->calm_at)
        return hub->spin_now < MIN_SPIN_NS ? hub->spin_now : MIN_SPIN_NS;
    hub->shared->spin_guests = 1;
    return hub->spin_now;
}

/* A request came after ``gap``: spin longer where that saves a wake-up, less where it was in vain. This is learnt
   from the requests that we slept through too, or a few long gaps would end the spinning for good. */
static void learn(Hub *hub, uint64_t gap)
{
    bool pays = gap < hub->spin_ns;
    hub->spin_hits += pays;
    hub->spin_misses += !pays;
    hub->spin_now = pays ? hub->spin_now * 2 : hub->spin_now - hub->spin_now / 4;
    if (hub->spin_now < MIN_SPIN_NS)
        hub->spin_now = MIN_SPIN_NS;
    if (hub->spin_now > hub->spin_ns)
        hub->spin_now = hub->spin_ns;
}

/* Whether host descriptors want something; sets the time of the next look. */
static bool host_waits(Hub *hub, uint64_t now, uint64_t *next)
{
    if (now < *next)
        return false;
    *next = now + LOOK_AROUND_NS;
    hub->shared->sentry_cpu = this_cpu();
    struct pollfd p = {hub->epoll_fd, POLLIN, 0};
    return poll(&p, 1, 0) > 0;
}

/* Spin for a request; NULL without an exception when the budget is used up, or when the host has something. */
static PyObject *spin(Hub *hub, uint64_t start, uint64_t deadline)
{
    uint64_t last = start, end = start + spin_budget(hub, start), next_look = start + LOOK_AROUND_NS;
    hub->shared->sentry_cpu = this_cpu();
    if (deadline && deadline < end)
        end = deadline;
    while (last < end) {
        for (int i = 0; i < 32; i++) {
            PyObject *found = look(hub);
            if (found || PyErr_Occurred()) {
                learn(hub, 0);
                return found;
            }
            __builtin_ia32_pause();
        }
        uint64_t now = now_ns();
        if (now - last > PREEMPTED_NS) {
            hub->calm_at = now + CALM_NS;
            hub->shared->spin_guests = 0;
        }
        last = now;
        if (notification_waits(hub)) {
            learn(hub, 0);
            return NULL;
        }
        if (host_waits(hub, now, &next_look))
            return NULL;
    }
    return NULL;
}

static PyObject *sleep_for(Hub *hub, uint64_t start, int64_t timeout_ns)
{
    while (hub->nwatch)
        unwatch_at(hub, hub->nwatch - 1);
    __atomic_store_n(&hub->shared->sentry_sleeping, 1, __ATOMIC_SEQ_CST);
    collect(hub);
    collect_all(hub);
    PyObject *result = take_pending(hub);
    if (!result && !PyErr_Occurred()) {
        int64_t ms = timeout_ns < 0 ? -1 : timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
        hub->sleeps++;
        result = poll_events(hub, ms > 1000000 ? 1000000 : (int)ms);
    }
    __atomic_store_n(&hub->shared->sentry_sleeping, 0, __ATOMIC_SEQ_CST);
    hub->shared->sentry_cpu = this_cpu();
    if (result && PyList_Check(result) && PyList_GET_SIZE(result) == 0) { /* the doorbell alone */
        PyObject *request = look(hub);
        if (request || PyErr_Occurred()) {
            Py_DECREF(result);
            result = request;
        }
    }
    if (result && PyBytes_Check(result)) {
        uint64_t gap = now_ns() - start;
        learn(hub, gap > WAKE_NS ? gap - WAKE_NS : 0);
    }
    return result;
}

PyDoc_STRVAR(wait_doc, "wait(timeout_ns) -> bytes | list[tuple[int, int]]\n\n"
"The next request (u32 key, kind, length, 0; u64 nr, args[6], ip, sp; data), or the host descriptors that are\n"
"ready as (fd, epoll events), perhaps none. timeout_ns < 0: no limit.");
static PyObject *hub_wait(Hub *hub, PyObject *arg)
{
    int64_t timeout = PyLong_AsLongLong(arg);
    if (timeout == -1 && PyErr_Occurred())
        return NULL;
    hub->waits++;
    if (++hub->since_poll >= 64) {
        uint64_t now = now_ns();
        hub->since_poll = 0;
        if (now - hub->last_poll_ns > 200000) {
            hub->last_poll_ns = now;
            PyObject *events = poll_events(hub, 0);
            if (!events || PyList_GET_SIZE(events))
                return events;
            Py_DECREF(events);
        }
    }
    PyObject *found = look(hub);
    if (found || PyErr_Occurred())
        return found;
    if (timeout == 0)
        return poll_events(hub, 0);
    uint64_t start = now_ns(), deadline = timeout > 0 ? start + (uint64_t)timeout : 0;
    if (hub->spin_ns) {
        found = spin(hub, start, deadline);
        if (found || PyErr_Occurred())
            return found;
        if (notification_waits(hub))
            return poll_events(hub, 0);
    }
    if (deadline) {
        uint64_t now = now_ns();
        if (now >= deadline)
            return poll_events(hub, 0);
        timeout = (int64_t)(deadline - now);
    }
    return sleep_for(hub, start, timeout);
}

/* -- answering ----------------------------------------------------------------------------------- */

/* The slot that a key from Python names; NULL with an exception for none. */
static struct slot_state *answerable(Hub *hub, PyObject *object, uint32_t *key, struct slot **slot)
{
    if (!as_u32(object, key))
        return NULL;
    struct slot_state *state = state_of(hub, *key);
    if (state)
        *slot = slot_at(hub, *key);
    else
        PyErr_SetString(PyExc_ValueError, "no such channel");
    return state;
}

static void post_reply(Hub *hub, uint32_t key, struct slot *slot, struct slot_state *state)
{
    slot->nouts = state->nouts;
    hub->running += state->active && state->busy;
    state->busy = false;
    state->nouts = 0;
    state->outs_used = 0;
    __atomic_store_n(&slot->parked, 0, __ATOMIC_RELAXED);
    watch(hub, key >> 12, key & (SLOTS - 1));
    __atomic_store_n(&slot->rep_seq, state->last_seq, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&slot->sleeping, __ATOMIC_SEQ_CST))
        syscall(SYS_futex, &slot->rep_seq, FUTEX_WAKE, 1, NULL, NULL, 0);
}

PyDoc_STRVAR(reply_doc, "reply(key, action, result, params=b'')\n\nAnswer a request; params are the words slot.p.");
static PyObject *hub_reply(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    struct slot *slot;
    if (nargs < 3 || nargs > 4) {
        PyErr_SetString(PyExc_TypeError, "reply needs key, action, result, and maybe params");
        return NULL;
    }
    uint32_t key, action;
    struct slot_state *state = answerable(hub, args[0], &key, &slot);
    if (!state || !as_u32(args[1], &action))
        return NULL;
    long long result = PyLong_AsLongLong(args[2]);
    if (result == -1 && PyErr_Occurred())
        return NULL;
    if (nargs > 3) {
        if (!PyBytes_Check(args[3])) {
            PyErr_SetString(PyExc_TypeError, "params must be bytes");
            return NULL;
        }
        if (PyBytes_GET_SIZE(args[3]) > (Py_ssize_t)sizeof slot->p) {
            PyErr_SetString(PyExc_ValueError, "params must be at most 96 bytes");
            return NULL;
        }
        memcpy(slot->p, PyBytes_AS_STRING(args[3]), (size_t)PyBytes_GET_SIZE(args[3]));
    }
    slot->action = action;
    slot->result = result;
    post_reply(hub, key, slot, state);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(queue_out_doc, "queue_out(key, address, data) -> bool\n\nPut data into the coming reply; False when full.");
static PyObject *hub_queue_out(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    struct slot *slot;
    if (nargs != 3 || !PyBytes_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "queue_out needs key, address, bytes");
        return NULL;
    }
    uint32_t key;
    struct slot_state *state = answerable(hub, args[0], &key, &slot);
    if (!state)
        return NULL;
    struct out out = {PyLong_AsUnsignedLongLong(args[1]), (uint64_t)PyBytes_GET_SIZE(args[2])};
    if (out.address == (uint64_t)-1 && PyErr_Occurred())
        return NULL;
    uint64_t padded = (out.length + 7) & ~7UL;
    if (!state->busy || padded > DATA_SIZE || state->outs_used + 16 + padded > DATA_SIZE)
        Py_RETURN_FALSE;
    memcpy(slot->data + state->outs_used, &out, 16);
    memcpy(slot->data + state->outs_used + 16, PyBytes_AS_STRING(args[2]), out.length);
    state->outs_used += 16 + (uint32_t)padded;
    state->nouts++;
    Py_RETURN_TRUE;
}

PyDoc_STRVAR(drop_outs_doc, "drop_outs(key)\n\nForget what queue_out collected (the handler will run again).");
static PyObject *hub_drop_outs(Hub *hub, PyObject *arg)
{
    struct slot *slot;
    uint32_t key;
    struct slot_state *state = answerable(hub, arg, &key, &slot);
    if (!state)
        return NULL;
    state->outs_used = 0;
    state->nouts = 0;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(park_doc, "park(key)\n\nTell the guest thread that its answer will take long: it sleeps at once.");
static PyObject *hub_park(Hub *hub, PyObject *arg)
{
    struct slot *slot;
    uint32_t key;
    struct slot_state *state = answerable(hub, arg, &key, &slot);
    if (!state)
        return NULL;
    __atomic_store_n(&slot->parked, 1, __ATOMIC_RELEASE);
    if (state->watch)
        unwatch_at(hub, state->watch - 1);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(put_doc, "put(key, offset, data)\n\nWrite data at an offset of the slot: siginfo or a pool process's image.");
static PyObject *hub_put(Hub *hub, PyObject *args)
{
    PyObject *object;
    uint32_t key;
    Py_ssize_t offset;
    Py_buffer data;
    struct slot *slot;
    if (!PyArg_ParseTuple(args, "Ony*", &object, &offset, &data))
        return NULL;
    struct slot_state *state = answerable(hub, object, &key, &slot);
    if (state && (offset < 128 || offset > (Py_ssize_t)SLOT_SIZE || data.len > (Py_ssize_t)SLOT_SIZE - offset)) {
        PyErr_SetString(PyExc_ValueError, "outside the slot");
        state = NULL;
    }
    if (state)
        memcpy((uint8_t *)slot + offset, data.buf, (size_t)data.len);
    PyBuffer_Release(&data);
    if (!state)
        return NULL;
    Py_RETURN_NONE;
}

/* -- spaces and slots ------------------------------------------------------------------------------ */

/* Map shared memory. A file shorter than its mapping would be SIGBUS one day. */
static void *map_shared(int fd, size_t size)
{
    struct stat status;
    void *base = MAP_FAILED;
    if (fstat(fd, &status) == 0) {
        if (status.st_size < (off_t)size) {
            PyErr_SetString(PyExc_ValueError, "the shared memory is too short");
            return NULL;
        }
        base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (base != MAP_FAILED)
        return base;
    PyErr_SetFromErrno(PyExc_OSError);
    return NULL;
}

PyDoc_STRVAR(add_space_doc, "add_space(memfd) -> index\n\nMap a channel memfd; OSError EMFILE when all are taken.");
static PyObject *hub_add_space(Hub *hub, PyObject *arg)
{
    int fd;
    uint32_t index = 0;
    if (!as_int(arg, &fd))
        return NULL;
    while (index < SLOTS && hub->spaces[index].base)
        index++;
    if (index == SLOTS) {
        errno = EMFILE;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    void *base = map_shared(fd, CHANNEL_SIZE);
    if (!base)
        return NULL;
    struct space *space = &hub->spaces[index];
    space->base = base;
    space->slots = NULL;
    space->capacity = 0;
    if (index >= hub->top)
        hub->top = index + 1;
    ((struct space_header *)base)->index = index;
    return PyLong_FromUnsignedLong(index);
}

/* The slot is to speak no more. */
static void silence(Hub *hub, struct slot_state *state)
{
    hub->running -= state->active && !state->busy;
    state->active = false;
}

PyDoc_STRVAR(remove_space_doc, "remove_space(index)\n\nForget a space and all its slots.");
static PyObject *hub_remove_space(Hub *hub, PyObject *arg)
{
    uint32_t index;
    if (!as_u32(arg, &index))
        return NULL;
    if (index >= hub->top || !hub->spaces[index].base) {
        PyErr_SetString(PyExc_ValueError, "no such space");
        return NULL;
    }
    for (int i = hub->nwatch - 1; i >= 0; i--)
        if (hub->watch_space[i] == index)
            unwatch_at(hub, i);
    for (uint32_t i = 0; i < hub->spaces[index].capacity; i++)
        silence(hub, &hub->spaces[index].slots[i]);
    munmap(hub->spaces[index].base, CHANNEL_SIZE);
    free(hub->spaces[index].slots);
    memset(&hub->spaces[index], 0, sizeof hub->spaces[index]);
    while (hub->top && !hub->spaces[hub->top - 1].base)
        hub->top--;
    Py_RETURN_NONE;
}

static bool grow(struct space *space, uint32_t index)
{
    if (index < space->capacity)
        return true;
    uint32_t capacity = space->capacity ? space->capacity : 8;
    while (capacity <= index)
        capacity *= 2;
    struct slot_state *slots = realloc(space->slots, capacity * sizeof *slots);
    if (!slots)
        return false;
    memset(slots + space->capacity, 0, (capacity - space->capacity) * sizeof *slots);
    space->slots = slots;
    space->capacity = capacity;
    return true;
}

PyDoc_STRVAR(activate_doc, "activate(key)\n\nGive a slot to a thread; requests from it are taken from now on.");
static PyObject *hub_activate(Hub *hub, PyObject *arg)
{
    uint32_t key;
    if (!as_u32(arg, &key))
        return NULL;
    uint32_t space_index = key >> 12, slot_index = key & (SLOTS - 1);
    if (space_index >= hub->top || !hub->spaces[space_index].base || slot_index == 0) {
        PyErr_SetString(PyExc_ValueError, "no such space");
        return NULL;
    }
    struct space *space = &hub->spaces[space_index];
    if (!grow(space, slot_index))
        return PyErr_NoMemory();
    struct slot_state *state = &space->slots[slot_index];
    struct slot *slot = slot_of(space, slot_index);
    if (state->watch) /* answered after it was taken away */
        unwatch_at(hub, state->watch - 1);
    silence(hub, state);
    memset(state, 0, sizeof *state);
    memset(slot, 0, 384);
    slot->spin_max = hub->guest_spin;
    slot->spin = hub->guest_spin / 2;
    state->active = true;
    hub->running++;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(deactivate_doc, "deactivate(key)\n\nTake a slot away: nothing more is taken from it.");
static PyObject *hub_deactivate(Hub *hub, PyObject *arg)
{
    struct slot *slot;
    uint32_t key;
    struct slot_state *state = answerable(hub, arg, &key, &slot);
    if (!state)
        return NULL;
    if (state->watch)
        unwatch_at(hub, state->watch - 1);
    silence(hub, state);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(host_tid_doc, "host_tid(key) -> int\n\nThe tid the host kernel wrote into the slot (0: gone); a claim, not a fact.");
static PyObject *hub_host_tid(Hub *hub, PyObject *arg)
{
    struct slot *slot;
    uint32_t key;
    if (!answerable(hub, arg, &key, &slot))
        return NULL;
    return PyLong_FromUnsignedLong(__atomic_load_n(&slot->host_tid, __ATOMIC_ACQUIRE));
}

PyDoc_STRVAR(lease_mask_doc, "lease_mask(key, mask)\n\nThe thread may change its signal mask by itself from now on.");
static PyObject *hub_lease_mask(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    struct slot *slot;
    uint32_t key;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "lease_mask needs key, mask");
        return NULL;
    }
    unsigned long long mask = PyLong_AsUnsignedLongLong(args[1]);
    if (PyErr_Occurred() || !answerable(hub, args[0], &key, &slot))
        return NULL;
    __atomic_store_n(&slot->mask, mask | MASK_LEASE, __ATOMIC_SEQ_CST);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(recall_mask_doc, "recall_mask(key) -> mask\n\nNo longer; what the mask is now, says the thread.");
static PyObject *hub_recall_mask(Hub *hub, PyObject *arg)
{
    struct slot *slot;
    uint32_t key;
    if (!answerable(hub, arg, &key, &slot))
        return NULL;
    return PyLong_FromUnsignedLongLong(__atomic_fetch_and(&slot->mask, ~MASK_LEASE, __ATOMIC_SEQ_CST) & ~MASK_LEASE);
}

PyDoc_STRVAR(robust_list_doc, "robust_list(key) -> address\n\nWhat the thread has set by itself, any 64 bits; 0 for nothing.");
static PyObject *hub_robust_list(Hub *hub, PyObject *arg)
{
    struct slot *slot;
    uint32_t key;
    if (!answerable(hub, arg, &key, &slot))
        return NULL;
    return PyLong_FromUnsignedLongLong(__atomic_load_n(&slot->robust_list, __ATOMIC_RELAXED));
}

PyDoc_STRVAR(pointers_doc, "pointers(key) -> (ip, sp)\n\nWhere the thread stood when it last spoke: a claim, not a fact.");
static PyObject *hub_pointers(Hub *hub, PyObject *arg)
{
    struct slot *slot;
    uint32_t key;
    if (!answerable(hub, arg, &key, &slot))
        return NULL;
    return Py_BuildValue("(KK)", (unsigned long long)slot->ip, (unsigned long long)slot->sp);
}

/* -- host descriptors ------------------------------------------------------------------------------ */

static PyObject *hub_epoll(Hub *hub, PyObject *args)
{
    int operation, fd;
    unsigned events = 0;
    if (!PyArg_ParseTuple(args, "ii|I", &operation, &fd, &events))
        return NULL;
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(hub->epoll_fd, operation, fd, &event) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *hub_set_notify(Hub *hub, PyObject *arg)
{
    if (!as_int(arg, &hub->notify_fd))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *hub_expect(Hub *hub, PyObject *arg)
{
    int more;
    if (!as_int(arg, &more))
        return NULL;
    hub->expected += more;
    if (hub->expected < 0)
        hub->expected = 0;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(spin_doc, "set_spin(sentry_ns, guest_pauses)\n\nHow long each side spins before it sleeps.");
static PyObject *hub_set_spin(Hub *hub, PyObject *args)
{
    unsigned long long ns;
    unsigned pauses;
    if (!PyArg_ParseTuple(args, "KI", &ns, &pauses))
        return NULL;
    hub->spin_ns = ns;
    hub->spin_now = ns;
    hub->guest_spin = pauses;
    Py_RETURN_NONE;
}

static PyObject *hub_statistics(Hub *hub, PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue("{s:K,s:K,s:K,s:I,s:I,s:I}", "requests", (unsigned long long)hub->requests, "waits",
                         (unsigned long long)hub->waits, "sleeps", (unsigned long long)hub->sleeps, "spin_hits",
                         hub->spin_hits, "spin_misses", hub->spin_misses, "pending_room", hub->pending_room);
}

/* The descriptors, memory and numbers of a new hub, which is all zero; false with an exception. */
static bool set_up(Hub *hub, int shared_fd, int doorbell)
{
    hub->doorbell = doorbell;
    hub->notify_fd = -1;
    hub->guest_spin = GUEST_SPIN;
    hub->spin_ns = MAX_SPIN_NS;
    hub->spin_now = MAX_SPIN_NS;
    hub->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = doorbell};
    if (hub->epoll_fd < 0 || epoll_ctl(hub->epoll_fd, EPOLL_CTL_ADD, doorbell, &event) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return false;
    }
    hub->spaces = calloc(SLOTS, sizeof *hub->spaces);
    hub->pending = malloc(FIRST_ROOM * sizeof *hub->pending);
    hub->pending_room = FIRST_ROOM;
    if (!hub->spaces || !hub->pending) {
        PyErr_NoMemory();
        return false;
    }
    hub->shared_base = map_shared(shared_fd, SHARED_SIZE);
    if (!hub->shared_base)
        return false;
    hub->shared = (struct shared_page *)hub->shared_base;
    hub->ready = (struct ready_page *)(hub->shared_base + 0x1000);
    hub->shared->spin_guests = 1;
    return true;
}

/* All in tp_new: there is no Hub that was not set up, and none that is set up twice. */
static PyObject *hub_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    int shared_fd, doorbell;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "ii", &shared_fd, &doorbell))
        return NULL;
    Hub *hub = (Hub *)type->tp_alloc(type, 0);
    if (hub && !set_up(hub, shared_fd, doorbell))
        Py_CLEAR(hub);
    return (PyObject *)hub;
}

static void hub_dealloc(Hub *hub)
{
    for (uint32_t i = 0; hub->spaces && i < SLOTS; i++)
        if (hub->spaces[i].base) {
            munmap(hub->spaces[i].base, CHANNEL_SIZE);
            free(hub->spaces[i].slots);
        }
    free(hub->spaces);
    free(hub->pending);
    if (hub->shared_base)
        munmap(hub->shared_base, SHARED_SIZE);
    if (hub->epoll_fd >= 0)
        close(hub->epoll_fd);
    Py_TYPE(hub)->tp_free((PyObject *)hub);
}

static PyMethodDef hub_methods[] = {
    {"wait", (PyCFunction)hub_wait, METH_O, wait_doc},
    {"reply", (PyCFunction)(void (*)(void))hub_reply, METH_FASTCALL, reply_doc},
    {"queue_out", (PyCFunction)(void (*)(void))hub_queue_out, METH_FASTCALL, queue_out_doc},
    {"drop_outs", (PyCFunction)hub_drop_outs, METH_O, drop_outs_doc},
    {"park", (PyCFunction)hub_park, METH_O, park_doc},
    {"put", (PyCFunction)hub_put, METH_VARARGS, put_doc},
    {"add_space", (PyCFunction)hub_add_space, METH_O, add_space_doc},
    {"remove_space", (PyCFunction)hub_remove_space, METH_O, remove_space_doc},
    {"activate", (PyCFunction)hub_activate, METH_O, activate_doc},
    {"deactivate", (PyCFunction)hub_deactivate, METH_O, deactivate_doc},
    {"host_tid", (PyCFunction)hub_host_tid, METH_O, host_tid_doc},
    {"lease_mask", (PyCFunction)(void (*)(void))hub_lease_mask, METH_FASTCALL, lease_mask_doc},
    {"recall_mask", (PyCFunction)hub_recall_mask, METH_O, recall_mask_doc},
    {"robust_list", (PyCFunction)hub_robust_list, METH_O, robust_list_doc},
    {"pointers", (PyCFunction)hub_pointers, METH_O, pointers_doc},
    {"epoll", (PyCFunction)hub_epoll, METH_VARARGS, "epoll(operation, fd, events=0): epoll_ctl(2) on the hub's set."},
    {"set_notify", (PyCFunction)hub_set_notify, METH_O, "set_notify(fd): the seccomp listener to poll while spinning."},
    {"expect", (PyCFunction)hub_expect, METH_O, "expect(n): n more (or fewer) notifications are on their way."},
    {"set_spin", (PyCFunction)hub_set_spin, METH_VARARGS, spin_doc},
    {"statistics", (PyCFunction)hub_statistics, METH_NOARGS, "Counters of the hand-off."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject HubType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "wardian._core.Hub",
    .tp_basicsize = sizeof(Hub),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Hub(shared_memfd, doorbell_eventfd): the Sentry's side of all channels.",
    .tp_new = hub_new,
    .tp_dealloc = (destructor)hub_dealloc,
    .tp_methods = hub_methods,
};

/* -- guest memory --------------------------------------------------------------------------------- */

PyDoc_STRVAR(vm_read_doc, "vm_read(pid, address, count) -> bytes\n\nprocess_vm_readv(2); shorter where memory ends. OSError ESRCH, EPERM.");
static PyObject *core_vm_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)self;
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError, "vm_read needs pid, address, count");
        return NULL;
    }
    int pid;
    if (!as_int(args[0], &pid))
        return NULL;
    unsigned long address = PyLong_AsUnsignedLong(args[1]);
    if (address == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    Py_ssize_t count = PyLong_AsSsize_t(args[2]);
    if (count == -1 && PyErr_Occurred())
        return NULL;
    if (address >= GUEST_TOP || count <= 0)
        return PyBytes_FromStringAndSize(NULL, 0);
    if ((unsigned long)count > GUEST_TOP - address)
        count = (Py_ssize_t)(GUEST_TOP - address);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, count);
    if (!bytes)
        return NULL;
    struct iovec local = {PyBytes_AS_STRING(bytes), (size_t)count}, remote = {(void *)address, (size_t)count};
    ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);
    if (n < 0) {
        if (errno != EFAULT) {
            Py_DECREF(bytes);
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        n = 0;
    }
    if (n != count)
        _PyBytes_Resize(&bytes, n);
    return bytes;
}

PyDoc_STRVAR(vm_write_doc, "vm_write(pid, address, data) -> int\n\nprocess_vm_writev(2): bytes written, maybe fewer. OSError ESRCH, EPERM.");
static PyObject *core_vm_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer data;
    int pid;
    (void)self;
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError, "vm_write needs pid, address, data");
        return NULL;
    }
    if (!as_int(args[0], &pid))
        return NULL;
    unsigned long address = PyLong_AsUnsignedLong(args[1]);
    if ((address == (unsigned long)-1 && PyErr_Occurred()) || PyObject_GetBuffer(args[2], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    ssize_t n = 0;
    if (address < GUEST_TOP && (unsigned long)data.len <= GUEST_TOP - address) {
        struct iovec local = {data.buf, (size_t)data.len}, remote = {(void *)address, (size_t)data.len};
        n = data.len ? process_vm_writev(pid, &local, 1, &remote, 1, 0) : 0;
        if (n < 0 && errno == EFAULT)
            n = 0;
        if (n < 0)
            PyErr_SetFromErrno(PyExc_OSError);
    }
    PyBuffer_Release(&data);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(n);
}

PyDoc_STRVAR(vm_strings_doc, "vm_strings(pid, addresses) -> list[bytes | None]\n\n"
"The NUL-terminated strings at up to 64 addresses in one process_vm_readv(2); None for those that are longer than\n"
"STRING_PIECE, cross into another page, or could not be read: the caller reads them one by one.");
#define STRINGS_AT_ONCE 64
#define STRING_PIECE 256
static PyObject *core_vm_strings(PyObject *self, PyObject *args)
{
    static char pieces[STRINGS_AT_ONCE * STRING_PIECE]; /* used under the GIL and copied before it is let go */
    struct iovec local = {pieces, 0}, remote[STRINGS_AT_ONCE];
    PyObject *addresses;
    int pid;
    (void)self;
    if (!PyArg_ParseTuple(args, "iO!", &pid, &PyList_Type, &addresses))
        return NULL;
    Py_ssize_t count = PyList_GET_SIZE(addresses);
    if (count > STRINGS_AT_ONCE) {
        PyErr_SetString(PyExc_ValueError, "at most 64 strings at once");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        unsigned long address = PyLong_AsUnsignedLong(PyList_GET_ITEM(addresses, i));
        if (PyErr_Occurred())
            return NULL;
        unsigned long room = 4096 - (address & 4095);
        remote[i].iov_base = (void *)address;
        remote[i].iov_len = address >= GUEST_TOP ? 0 : room < STRING_PIECE ? room : STRING_PIECE;
        local.iov_len += remote[i].iov_len;
    }
    ssize_t got = count ? process_vm_readv(pid, &local, 1, remote, (unsigned long)count, 0) : 0;
    PyObject *list = PyList_New(count);
    size_t at = 0;
    for (Py_ssize_t i = 0; list && i < count; i++) {
        size_t have = got > 0 && (size_t)got > at ? (size_t)got - at : 0;
        if (have > remote[i].iov_len)
            have = remote[i].iov_len;
        const char *end = have ? memchr(pieces + at, 0, have) : NULL;
        PyObject *item = end ? PyBytes_FromStringAndSize(pieces + at, end - (pieces + at)) : Py_NewRef(Py_None);
        if (!item)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, item);
        at += remote[i].iov_len;
    }
    return list;
}

/* -- seccomp notifications (seccomp_unotify(2)) ------------------------------------------------------- */

static PyObject *core_notify_receive(PyObject *self, PyObject *arg)
{
    struct seccomp_notif notification;
    (void)self;
    int fd;
    if (!as_int(arg, &fd))
        return NULL;
    memset(&notification, 0, sizeof notification);
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &notification) < 0) {
        if (errno == ENOENT || errno == EINTR || errno == EAGAIN)
            Py_RETURN_NONE;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    const __u64 *a = notification.data.args;
    return Py_BuildValue("(KIiKKKKKK)", (unsigned long long)notification.id, notification.pid, notification.data.nr,
                         (unsigned long long)a[0], (unsigned long long)a[1], (unsigned long long)a[2],
                         (unsigned long long)a[3], (unsigned long long)a[4], (unsigned long long)a[5]);
}

PyDoc_STRVAR(notify_send_doc, "notify_send(fd, id, value, error, go_on) -> bool\n\nFalse when the notifying thread is gone.");
static PyObject *core_notify_send(PyObject *self, PyObject *args)
{
    int fd, error, go_on;
    unsigned long long id;
    long long value;
    (void)self;
    if (!PyArg_ParseTuple(args, "iKLip", &fd, &id, &value, &error, &go_on))
        return NULL;
    struct seccomp_notif_resp response = {id, value, error, go_on ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0};
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &response) == 0)
        Py_RETURN_TRUE;
    if (errno == ENOENT)
        Py_RETURN_FALSE;
    return PyErr_SetFromErrno(PyExc_OSError);
}

PyDoc_STRVAR(notify_add_fd_doc, "notify_add_fd(fd, id, source, number) -> bool\n\nInstall source as number in the notifying process.");
static PyObject *core_notify_add_fd(PyObject *self, PyObject *args)
{
    int fd, source, number;
    unsigned long long id;
    (void)self;
    if (!PyArg_ParseTuple(args, "iKii", &fd, &id, &source, &number))
        return NULL;
    struct seccomp_notif_addfd request = {id, SECCOMP_ADDFD_FLAG_SETFD, (__u32)source, (__u32)number, 0};
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &request) >= 0)
        Py_RETURN_TRUE;
    if (errno == ENOENT)
        Py_RETURN_FALSE;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* -- other host calls without a Python wrapper ----------------------------------------------------------- */

static PyObject *core_openat2(PyObject *self, PyObject *args)
{
    int dirfd;
    PyObject *path;
    unsigned long long flags, mode, resolve;
    (void)self;
    if (!PyArg_ParseTuple(args, "iO&KKK", &dirfd, PyUnicode_FSConverter, &path, &flags, &mode, &resolve))
        return NULL;
    struct open_how how = {flags, mode, resolve};
    long fd = syscall(SYS_openat2, dirfd, PyBytes_AS_STRING(path), &how, sizeof how);
    Py_DECREF(path);
    return fd < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(fd);
}

static PyObject *core_tgkill(PyObject *self, PyObject *args)
{
    int pid, tid, signo;
    (void)self;
    if (!PyArg_ParseTuple(args, "iii", &pid, &tid, &signo))
        return NULL;
    if (syscall(SYS_tgkill, pid, tid, signo) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *core_cpu_time(PyObject *self, PyObject *args)
{
    int id, thread;
    struct timespec ts;
    (void)self;
    if (!PyArg_ParseTuple(args, "ip", &id, &thread))
        return NULL;
    /* CPUCLOCK_SCHED of the process, or of one thread of it (clock_getcpuclockid(3)) */
    clockid_t clock = (clockid_t)((~(unsigned)id << 3) | 2 | (thread ? 4 : 0));
    if (clock_gettime(clock, &ts) < 0)
        return PyLong_FromLong(-1);
    return PyLong_FromLongLong((long long)ts.tv_sec * 1000000000LL + ts.tv_nsec);
}

static PyMethodDef core_methods[] = {
    {"vm_read", (PyCFunction)(void (*)(void))core_vm_read, METH_FASTCALL, vm_read_doc},
    {"vm_write", (PyCFunction)(void (*)(void))core_vm_write, METH_FASTCALL, vm_write_doc},
    {"vm_strings", core_vm_strings, METH_VARARGS, vm_strings_doc},
    {"notify_receive", core_notify_receive, METH_O, "notify_receive(fd) -> (id, tid, nr, a0..a5) or None."},
    {"notify_send", core_notify_send, METH_VARARGS, notify_send_doc},
    {"notify_add_fd", core_notify_add_fd, METH_VARARGS, notify_add_fd_doc},
    {"openat2", core_openat2, METH_VARARGS, "openat2(dirfd, path, flags, mode, resolve) -> fd"},
    {"tgkill", core_tgkill, METH_VARARGS, "tgkill(pid, tid, signo)"},
    {"cpu_time", core_cpu_time, METH_VARARGS, "cpu_time(id, thread) -> ns of a process or thread, -1 when gone."},
    WARDIAN_HOSTCALLS_METHODS,
    WARDIAN_HOSTFILES_METHODS,
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef core_module = {PyModuleDef_HEAD_INIT, "wardian._core", "The C primitives of the Sentry.", -1,
                                         core_methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__core(void)
{
    if (PyType_Ready(&HubType) < 0)
        return NULL;
    PyObject *module = PyModule_Create(&core_module);
    if (module && PyModule_AddObjectRef(module, "Hub", (PyObject *)&HubType) < 0)
        Py_CLEAR(module);
    return module;
}
