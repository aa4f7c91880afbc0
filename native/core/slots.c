/* Address spaces (one channel memfd each) and the slots of their threads. */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "arguments.h"
#include "hub.h"

/* Map shared memory. A file shorter than its mapping would be SIGBUS one day. */
void *hub_map_shared(int fd, size_t size)
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

/* The host makes a page when it is first written to. Those that the first thread and a program's image need are made
 * now, while nobody waits. */
static void touch(uint8_t *base)
{
    for (size_t at = SLOT_SIZE; at < SLOT_SIZE + 3 * 4096; at += 4096)
        *(volatile uint8_t *)(base + at) = 0;
}

const char add_space_doc[] = PyDoc_STR("add_space(memfd) -> index\n\nMap a channel memfd; OSError EMFILE when all are taken.");
PyObject *hub_add_space(Hub *hub, PyObject *arg)
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
    void *base = hub_map_shared(fd, CHANNEL_SIZE);
    if (!base)
        return NULL;
    struct space *space = &hub->spaces[index];
    space->base = base;
    space->slots = NULL;
    space->capacity = 0;
    if (index >= hub->top)
        hub->top = index + 1;
    ((struct space_header *)base)->index = index;
    touch(base);
    return PyLong_FromUnsignedLong(index);
}

/* The slot is to speak no more. */
static void silence(Hub *hub, struct slot_state *state)
{
    hub->running -= state->active && !state->busy;
    state->active = false;
}

const char remove_space_doc[] = PyDoc_STR("remove_space(index)\n\nForget a space and all its slots.");
PyObject *hub_remove_space(Hub *hub, PyObject *arg)
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
            hub_unwatch_at(hub, i);
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

const char activate_doc[] = PyDoc_STR("activate(key)\n\nGive a slot to a thread; requests from it are taken from now on.");
PyObject *hub_activate(Hub *hub, PyObject *arg)
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
        hub_unwatch_at(hub, state->watch - 1);
    silence(hub, state);
    memset(state, 0, sizeof *state);
    memset(slot, 0, 384);
    slot->spin_max = hub->guest_spin;
    slot->spin = hub->guest_spin;
    state->active = true;
    hub->running++;
    Py_RETURN_NONE;
}

const char deactivate_doc[] = PyDoc_STR("deactivate(key)\n\nTake a slot away: nothing more is taken from it.");
PyObject *hub_deactivate(Hub *hub, PyObject *arg)
{
    struct slot *slot;
    uint32_t key;
    struct slot_state *state = hub_answerable(hub, arg, &key, &slot);
    if (!state)
        return NULL;
    if (state->watch)
        hub_unwatch_at(hub, state->watch - 1);
    silence(hub, state);
    Py_RETURN_NONE;
}

/* The slot that a key from Python names; NULL with an exception for none. */
static struct slot *slot_named(Hub *hub, PyObject *object)
{
    struct slot *slot;
    uint32_t key;
    return hub_answerable(hub, object, &key, &slot) ? slot : NULL;
}

const char host_tid_doc[] = PyDoc_STR("host_tid(key) -> int\n\nThe tid the host kernel wrote into the slot (0: gone); a claim, not a fact.");
PyObject *hub_host_tid(Hub *hub, PyObject *arg)
{
    struct slot *slot = slot_named(hub, arg);
    if (!slot)
        return NULL;
    return PyLong_FromUnsignedLong(__atomic_load_n(&slot->host_tid, __ATOMIC_ACQUIRE));
}

const char lease_mask_doc[] = PyDoc_STR("lease_mask(key, mask)\n\nThe thread may change its signal mask by itself from now on.");
PyObject *hub_lease_mask(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "lease_mask needs key, mask");
        return NULL;
    }
    unsigned long long mask = PyLong_AsUnsignedLongLong(args[1]);
    struct slot *slot = PyErr_Occurred() ? NULL : slot_named(hub, args[0]);
    if (!slot)
        return NULL;
    __atomic_store_n(&slot->mask, mask | MASK_LEASE, __ATOMIC_SEQ_CST);
    Py_RETURN_NONE;
}

const char recall_mask_doc[] = PyDoc_STR("recall_mask(key) -> mask\n\nNo longer; what the mask is now, says the thread.");
PyObject *hub_recall_mask(Hub *hub, PyObject *arg)
{
    struct slot *slot = slot_named(hub, arg);
    if (!slot)
        return NULL;
    return PyLong_FromUnsignedLongLong(__atomic_fetch_and(&slot->mask, ~MASK_LEASE, __ATOMIC_SEQ_CST) & ~MASK_LEASE);
}

const char robust_list_doc[] = PyDoc_STR("robust_list(key) -> address\n\nWhat the thread has set by itself, any 64 bits; 0 for nothing.");
PyObject *hub_robust_list(Hub *hub, PyObject *arg)
{
    struct slot *slot = slot_named(hub, arg);
    if (!slot)
        return NULL;
    return PyLong_FromUnsignedLongLong(__atomic_load_n(&slot->robust_list, __ATOMIC_RELAXED));
}

const char pointers_doc[] = PyDoc_STR("pointers(key) -> (ip, sp)\n\nWhere the thread stood when it last spoke: a claim, not a fact.");
PyObject *hub_pointers(Hub *hub, PyObject *arg)
{
    struct slot *slot = slot_named(hub, arg);
    if (!slot)
        return NULL;
    return Py_BuildValue("(KK)", (unsigned long long)slot->ip, (unsigned long long)slot->sp);
}
