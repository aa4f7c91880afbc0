/* Looking for requests, and taking them: each is copied once into one bytes object. */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include "hub.h"

/* True when the slot belongs to a thread, waits for nothing from us, and has a request we have not taken. */
static inline bool has_request(Hub *hub, uint32_t key)
{
    struct slot_state *state = state_of(hub, key);
    if (!state || !state->active || state->busy)
        return false;
    return __atomic_load_n(&slot_at(hub, key)->req_seq, __ATOMIC_ACQUIRE) != state->last_seq;
}

/* Make the object of the next request while nobody waits for it; false with an exception. */
bool hub_prepare(Hub *hub)
{
    if (!hub->spare)
        hub->spare = PyBytes_FromStringAndSize(NULL, HEAD);
    return hub->spare != NULL;
}

/* Copy the request of a slot that has one; NULL with an exception and hub->failed set when there is no memory. */
static PyObject *take(Hub *hub, uint32_t key)
{
    struct slot_state *state = &hub->spaces[key >> 12].slots[key & (SLOTS - 1)];
    struct slot *slot = slot_at(hub, key);
    uint32_t length = __atomic_load_n(&slot->data_len, __ATOMIC_RELAXED);

    state->last_seq = __atomic_load_n(&slot->req_seq, __ATOMIC_ACQUIRE);
    state->busy = true;
    hub->running--;
    state->small = false;
    state->outs_used = 0;
    state->nouts = 0;
    bool small = length & DATA_IN_ARGS;
    const void *data = small ? (const void *)(slot->args + 3) : slot->data;
    length &= ~DATA_IN_ARGS;
    if (length > (small ? 8 + SMALL_SIZE : DATA_SIZE))
        length = 0;
    PyObject *bytes = hub->spare;
    if (length || !bytes)
        bytes = PyBytes_FromStringAndSize(NULL, HEAD + (Py_ssize_t)length);
    else
        hub->spare = NULL;
    hub->failed = !bytes;
    if (!bytes)
        return NULL;
    uint8_t *to = (uint8_t *)PyBytes_AS_STRING(bytes);
    uint32_t head[6] = {key, slot->kind, length, 0, slot->nr, 0};
    memcpy(to, head, sizeof head);
    memset(to + sizeof head, 0, sizeof slot->args);
    memcpy(to + sizeof head, (void *)slot->args, small ? 3 * sizeof *slot->args : sizeof slot->args);
    memcpy(to + HEAD, data, length);
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
void hub_push(Hub *hub, uint32_t key)
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
            hub_push(hub, index << 12 | (word * 64 + (uint32_t)__builtin_ctzl(bits)));
            bits &= bits - 1;
        }
    }
}

/* Turn the ready maps into pending keys. */
void hub_collect(Hub *hub)
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
void hub_collect_all(Hub *hub)
{
    for (uint32_t i = 0; i < hub->top; i++)
        if (hub->spaces[i].base)
            for (uint32_t j = 1; j < hub->spaces[i].capacity; j++)
                hub_push(hub, i << 12 | j);
}

PyObject *hub_take_pending(Hub *hub)
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
    hub_collect(hub);
    return hub_take_pending(hub);
}

/* Each of the three places is looked at first in its turn: busy threads could keep any of them from ever being
   empty, and whoever is found in another one would starve. */
PyObject *hub_look(Hub *hub)
{
    for (uint64_t turn = hub->requests, end = turn + 3; turn < end; turn++) {
        PyObject *found = turn % 3 == 0 ? hub_take_pending(hub) : turn % 3 == 1 ? take_watched(hub) : take_announced(hub);
        if (found || hub->failed)
            return found;
    }
    return NULL;
}

/* -- the watch list: slots whose req_seq the Sentry looks at by itself --------------------------------- */

void hub_unwatch_at(Hub *hub, int at)
{
    struct space *space = &hub->spaces[hub->watch_space[at]];
    uint32_t slot = hub->watch_slot[at];
    if (space->base && slot < space->capacity) {
        space->slots[slot].watch = 0;
        __atomic_store_n(&slot_of(space, slot)->watched, 0, __ATOMIC_SEQ_CST);
        hub_push(hub, hub->watch_space[at] << 12 | slot);
    }
    hub->nwatch--;
    if (at != hub->nwatch) {
        hub->watch_space[at] = hub->watch_space[hub->nwatch];
        hub->watch_slot[at] = hub->watch_slot[hub->nwatch];
        struct space *moved = &hub->spaces[hub->watch_space[at]];
        moved->slots[hub->watch_slot[at]].watch = (uint8_t)(at + 1);
    }
}

void hub_watch(Hub *hub, uint32_t space_index, uint32_t slot_index)
{
    struct space *space = &hub->spaces[space_index];
    struct slot_state *state = &space->slots[slot_index];
    if (state->watch)
        return;
    if (hub->nwatch == WATCHES)
        hub_unwatch_at(hub, hub->next_watch % WATCHES);
    hub->watch_space[hub->nwatch] = space_index;
    hub->watch_slot[hub->nwatch] = slot_index;
    state->watch = (uint8_t)++hub->nwatch;
    __atomic_store_n(&slot_of(space, slot_index)->watched, 1, __ATOMIC_SEQ_CST);
}
