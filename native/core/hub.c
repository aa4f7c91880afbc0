/* The Python type of the Hub. */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arguments.h"
#include "hub.h"

#define GUEST_SPIN 8000U /* pauses, about 240 us: an execve takes 200 */
#define MAX_SPIN_NS 150000UL /* longer than the two wake-ups that a spin saves */
#define FIRST_ROOM 256 /* pending keys */

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

static const char spin_doc[] = PyDoc_STR("set_spin(sentry_ns, guest_pauses)\n\nHow long each side spins before it sleeps.");
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
    return Py_BuildValue("{s:K,s:K,s:K,s:K,s:I,s:I,s:I}", "requests", (unsigned long long)hub->requests, "waits",
                         (unsigned long long)hub->waits, "sleeps", (unsigned long long)hub->sleeps, "slept_ns",
                         (unsigned long long)hub->slept_ns, "spin_hits", hub->spin_hits, "spin_misses",
                         hub->spin_misses, "pending_room", hub->pending_room);
}

/* The descriptors, memory and numbers of a new hub, which is all zero; false with an exception. */
static bool set_up(Hub *hub, int shared_fd, int doorbell)
{
    hub->doorbell = doorbell;
    hub->notify_fd = -1;
    hub->guest_spin = GUEST_SPIN;
    hub->spin_ns = MAX_SPIN_NS;
    hub->spin_now = MAX_SPIN_NS;
    hub_count_cpus(hub);
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
    hub->shared_base = hub_map_shared(shared_fd, SHARED_SIZE);
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
    Py_XDECREF(hub->spare);
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
    {"glance", (PyCFunction)hub_glance, METH_O, glance_doc},
    {"reply", (PyCFunction)(void (*)(void))hub_reply, METH_FASTCALL, reply_doc},
    {"queue_out", (PyCFunction)(void (*)(void))hub_queue_out, METH_FASTCALL, queue_out_doc},
    {"give", (PyCFunction)(void (*)(void))hub_give, METH_FASTCALL, give_doc},
    {"give_zeros", (PyCFunction)(void (*)(void))hub_give_zeros, METH_FASTCALL, give_zeros_doc},
    {"give_file", (PyCFunction)(void (*)(void))hub_give_file, METH_FASTCALL, give_file_doc},
    {"take", (PyCFunction)(void (*)(void))hub_take, METH_FASTCALL, take_doc},
    {"take_into", (PyCFunction)(void (*)(void))hub_take_into, METH_FASTCALL, take_into_doc},
    {"take_file", (PyCFunction)(void (*)(void))hub_take_file, METH_FASTCALL, take_file_doc},
    {"drop_outs", (PyCFunction)hub_drop_outs, METH_O, drop_outs_doc},
    {"park", (PyCFunction)hub_park, METH_O, park_doc},
    {"put", (PyCFunction)hub_put, METH_VARARGS, put_doc},
    {"add_space", (PyCFunction)hub_add_space, METH_O, add_space_doc},
    {"remove_space", (PyCFunction)hub_remove_space, METH_O, remove_space_doc},
    {"activate", (PyCFunction)hub_activate, METH_O, activate_doc},
    {"deactivate", (PyCFunction)hub_deactivate, METH_O, deactivate_doc},
    {"host_tid", (PyCFunction)hub_host_tid, METH_O, host_tid_doc},
    {"host_thread", (PyCFunction)(void (*)(void))hub_host_thread, METH_FASTCALL, host_thread_doc},
    {"place", (PyCFunction)(void (*)(void))hub_place, METH_FASTCALL, place_doc},
    {"place_maker", (PyCFunction)(void (*)(void))hub_place_maker, METH_FASTCALL, place_maker_doc},
    {"placed", (PyCFunction)(void (*)(void))hub_placed, METH_FASTCALL, placed_doc},
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

PyTypeObject HubType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "wardian._core.Hub",
    .tp_basicsize = sizeof(Hub),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Hub(shared_memfd, doorbell_eventfd): the Sentry's side of all channels.",
    .tp_new = hub_new,
    .tp_dealloc = (destructor)hub_dealloc,
    .tp_methods = hub_methods,
};
