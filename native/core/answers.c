/* Answering requests. */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arguments.h"
#include "hub.h"

/* The slot that a key from Python names; NULL with an exception for none. */
struct slot_state *hub_answerable(Hub *hub, PyObject *object, uint32_t *key, struct slot **slot)
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

#define PADDED(size) (((size) + 7) & ~7UL)

/* Where the next bytes of the reply go, when there is room for ``size``; NULL otherwise. A few are put beside the
   result: a cache line less for the guest to fetch. */
uint8_t *hub_out_room(const struct slot_state *state, struct slot *slot, size_t size)
{
    if (!state->busy || size > DATA_SIZE)
        return NULL;
    if (size <= SMALL_SIZE && !state->small && !state->nouts)
        return slot->small_out + sizeof(struct out);
    size_t at = state->outs_used + sizeof(struct out);
    return at + PADDED(size) <= DATA_SIZE ? slot->data + at : NULL;
}

/* What stands in that room, or as many zeros, is to be copied to the guest. */
void hub_queue(struct slot_state *state, struct slot *slot, const uint8_t *bytes, const struct out *out)
{
    memcpy((uint8_t *)bytes - sizeof *out, out, sizeof *out);
    if (bytes == slot->small_out + sizeof *out) {
        state->small = true;
        return;
    }
    state->outs_used += (uint32_t)(sizeof *out + (out->length & OUT_ZEROS ? 0 : PADDED(out->length & ~OUT_CONTENTS)));
    state->nouts++;
}

static void drop_outs(struct slot_state *state)
{
    state->small = false;
    state->outs_used = 0;
    state->nouts = 0;
}

static void post_reply(Hub *hub, uint32_t key, struct slot *slot, struct slot_state *state)
{
    slot->small = state->small;
    slot->nouts = state->nouts;
    hub->running += state->active && state->busy;
    state->busy = false;
    drop_outs(state);
    __atomic_store_n(&slot->parked, 0, __ATOMIC_RELAXED);
    hub_watch(hub, key >> 12, key & (SLOTS - 1));
    __atomic_store_n(&slot->rep_seq, state->last_seq, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&slot->sleeping, __ATOMIC_SEQ_CST)) {
        hub_keep_apart(hub, key, state, slot);
        syscall(SYS_futex, &slot->rep_seq, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
}

const char reply_doc[] = PyDoc_STR("reply(key, action, result, params=b'')\n\nAnswer a request; params are the words slot.p.");
PyObject *hub_reply(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    struct slot *slot;
    if (nargs < 3 || nargs > 4) {
        PyErr_SetString(PyExc_TypeError, "reply needs key, action, result, and maybe params");
        return NULL;
    }
    uint32_t key, action;
    struct slot_state *state = hub_answerable(hub, args[0], &key, &slot);
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
    hub->long_work |= action == ACTION_CLONE || action == ACTION_EXEC || action == ACTION_EXIT_GROUP;
    slot->action = (uint16_t)action;
    slot->result = result;
    post_reply(hub, key, slot, state);
    Py_RETURN_NONE;
}

const char queue_out_doc[] = PyDoc_STR("queue_out(key, address, data) -> bool\n\nPut data into the coming reply; False when full.");
PyObject *hub_queue_out(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    struct slot *slot;
    if (nargs != 3 || !PyBytes_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "queue_out needs key, address, bytes");
        return NULL;
    }
    uint32_t key;
    struct slot_state *state = hub_answerable(hub, args[0], &key, &slot);
    if (!state)
        return NULL;
    struct out out = {PyLong_AsUnsignedLongLong(args[1]), (uint64_t)PyBytes_GET_SIZE(args[2])};
    if (out.address == (uint64_t)-1 && PyErr_Occurred())
        return NULL;
    uint8_t *to = hub_out_room(state, slot, out.length);
    if (!to)
        Py_RETURN_FALSE;
    memcpy(to, PyBytes_AS_STRING(args[2]), out.length);
    hub_queue(state, slot, to, &out);
    Py_RETURN_TRUE;
}

const char drop_outs_doc[] = PyDoc_STR("drop_outs(key)\n\nForget what queue_out collected (the handler will run again).");
PyObject *hub_drop_outs(Hub *hub, PyObject *arg)
{
    struct slot *slot;
    uint32_t key;
    struct slot_state *state = hub_answerable(hub, arg, &key, &slot);
    if (!state)
        return NULL;
    drop_outs(state);
    Py_RETURN_NONE;
}

const char park_doc[] = PyDoc_STR("park(key)\n\nTell the guest thread that its answer will take long: it sleeps at once.");
PyObject *hub_park(Hub *hub, PyObject *arg)
{
    struct slot *slot;
    uint32_t key;
    struct slot_state *state = hub_answerable(hub, arg, &key, &slot);
    if (!state)
        return NULL;
    __atomic_store_n(&slot->parked, 1, __ATOMIC_RELEASE);
    if (state->watch)
        hub_unwatch_at(hub, state->watch - 1);
    Py_RETURN_NONE;
}

const char put_doc[] = PyDoc_STR("put(key, offset, data)\n\nWrite data at an offset of the slot: siginfo or a pool process's image.");
PyObject *hub_put(Hub *hub, PyObject *args)
{
    PyObject *object;
    uint32_t key;
    Py_ssize_t offset;
    Py_buffer data;
    struct slot *slot;
    if (!PyArg_ParseTuple(args, "Ony*", &object, &offset, &data))
        return NULL;
    struct slot_state *state = hub_answerable(hub, object, &key, &slot);
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
