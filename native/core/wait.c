/* Waiting for the next request: spin, then sleep (design D6). */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "hub.h"

#define MAX_EVENTS 64
#define MIN_SPIN_NS 3000UL
#define WAKE_NS 50000UL      /* about what a wake-up takes */
#define PATIENCE_NS 1000000UL /* longer than the host needs for a fork, a program to load, a process to end */
#define LOOK_AROUND_NS 20000UL /* between looks at host descriptors while spinning */
#define PREEMPTED_NS 300000UL /* a gap this long in a spin: somebody else ran on our core */
#define CALM_NS 20000000UL
#define FIRST_LOOKS 64 /* about a microsecond */
#define QUICK_LOOKS 32 /* of these, without a pause: some 300 ns */

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000UL + (uint64_t)ts.tv_nsec;
}

/* Tell the guests where we run. Their line is written to only when it changes: each of their waits reads it. */
static void show_cpu(Hub *hub)
{
    uint32_t cpu = this_cpu();
    if (hub->shared->sentry_cpu != cpu)
        hub->shared->sentry_cpu = cpu;
}

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

/* epoll_wait(2), to the nanosecond where the host can (Linux 5.11), or else to the next millisecond. */
static int wait_for_events(Hub *hub, struct epoll_event *events, int64_t timeout_ns)
{
    if (timeout_ns > 0 && !hub->waits_in_ms) {
        struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
        int count = (int)syscall(SYS_epoll_pwait2, hub->epoll_fd, events, MAX_EVENTS, &timeout, NULL, 0);
        if (count >= 0 || errno != ENOSYS)
            return count;
        hub->waits_in_ms = true;
    }
    int64_t ms = timeout_ns < 0 ? -1 : timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
    return epoll_wait(hub->epoll_fd, events, MAX_EVENTS, ms > 1000000 ? 1000000 : (int)ms);
}

static PyObject *poll_events(Hub *hub, int64_t timeout_ns)
{
    struct epoll_event events[MAX_EVENTS];
    int count;

    if (timeout_ns == 0) {
        count = wait_for_events(hub, events, 0);
    } else {
        Py_BEGIN_ALLOW_THREADS
        count = wait_for_events(hub, events, timeout_ns);
        Py_END_ALLOW_THREADS
        if (count < 0 && errno == EINTR && PyErr_CheckSignals() < 0)
            return NULL;
    }
    int kept = 0;
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == hub->doorbell) {
            uint64_t value;
            if (read(hub->doorbell, &value, 8) < 0) { /* already taken */ }
            hub_collect_all(hub);
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
    if (!hub->shared->spin_guests)
        hub->shared->spin_guests = 1;
    return hub->spin_now;
}

/* When a spin that begins now ends. The host works for longer than a spin when a process comes or goes, and does so
   twice per command of a shell: a wake-up each is a tenth of what one takes. */
static uint64_t spin_end(Hub *hub, uint64_t now)
{
    uint64_t budget = spin_budget(hub, now);
    if (hub->long_work) {
        hub->long_work = false;
        hub->patient_until = now + PATIENCE_NS;
    }
    return budget > MIN_SPIN_NS && now + budget < hub->patient_until ? hub->patient_until : now + budget;
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
    show_cpu(hub);
    struct pollfd p = {hub->epoll_fd, POLLIN, 0};
    return poll(&p, 1, 0) > 0;
}

/* The first moment of a spin: the next request of a busy thread comes about now, before a clock is read. */
static PyObject *first_looks(Hub *hub)
{
    for (int i = 0; i < FIRST_LOOKS; i++) {
        PyObject *found = hub_look(hub);
        if (found || hub->failed) {
            learn(hub, 0);
            return found;
        }
        if (i >= QUICK_LOOKS)
            __builtin_ia32_pause();
    }
    return NULL;
}

/* Spin for a request; NULL without an exception when the budget is used up, or when the host has something. */
static PyObject *spin(Hub *hub, uint64_t start, uint64_t deadline)
{
    uint64_t last = start, end = spin_end(hub, start), next_look = start + LOOK_AROUND_NS;
    show_cpu(hub);
    if (deadline && deadline < end)
        end = deadline;
    while (last < end) {
        for (int i = 0; i < 32; i++) {
            PyObject *found = hub_look(hub);
            if (found || hub->failed) {
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
        hub_unwatch_at(hub, hub->nwatch - 1);
    hub_let_go(hub);
    __atomic_store_n(&hub->shared->sentry_sleeping, 1, __ATOMIC_SEQ_CST);
    hub_collect(hub);
    hub_collect_all(hub);
    PyObject *result = hub_take_pending(hub);
    if (!result && !hub->failed) {
        uint64_t asleep = now_ns();
        result = poll_events(hub, timeout_ns);
        hub->sleeps++;
        hub->slept_ns += now_ns() - asleep;
    }
    __atomic_store_n(&hub->shared->sentry_sleeping, 0, __ATOMIC_SEQ_CST);
    show_cpu(hub);
    if (result && PyList_Check(result) && PyList_GET_SIZE(result) == 0) { /* the doorbell alone */
        PyObject *request = hub_look(hub);
        if (request || hub->failed) {
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

const char wait_doc[] = PyDoc_STR("wait(timeout_ns) -> bytes | list[tuple[int, int]]\n\n"
"The next request (u32 key, kind, length, 0, nr, 0; u64 args[6]; data), or the host descriptors that are\n"
"ready as (fd, epoll events), perhaps none. timeout_ns < 0: no limit.");
PyObject *hub_wait(Hub *hub, PyObject *arg)
{
    int64_t timeout = PyLong_AsLongLong(arg);
    if (timeout == -1 && PyErr_Occurred())
        return NULL;
    hub->waits++;
    hub->failed = false;
    if (!hub_prepare(hub))
        return NULL;
    if (++hub->since_poll >= 64) {
        uint64_t now = now_ns();
        hub->since_poll = 0;
        if (now - hub->last_poll_ns > 200000) {
            hub->last_poll_ns = now;
            show_cpu(hub);
            PyObject *events = poll_events(hub, 0);
            if (!events || PyList_GET_SIZE(events))
                return events;
            Py_DECREF(events);
        }
    }
    PyObject *found = hub_look(hub);
    if (found || hub->failed)
        return found;
    if (timeout == 0)
        return poll_events(hub, 0);
    if (hub->spin_ns && hub->running > 0) {
        found = first_looks(hub);
        if (found || hub->failed)
            return found;
    }
    uint64_t start = now_ns(), deadline = timeout > 0 ? start + (uint64_t)timeout : 0;
    if (hub->spin_ns) {
        found = spin(hub, start, deadline);
        if (found || hub->failed)
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

const char glance_doc[] = PyDoc_STR("glance(spin_ns) -> bytes | None\n\n"
"A request that is there or comes while we spin for so long; there is no spinning while no thread can speak.");
PyObject *hub_glance(Hub *hub, PyObject *arg)
{
    int64_t most = PyLong_AsLongLong(arg);
    if (PyErr_Occurred())
        return NULL;
    PyObject *found = hub_look(hub);
    if (found || PyErr_Occurred())
        return found;
    uint64_t end = hub->running > 0 && hub->spin_ns && most > 0 ? now_ns() + (uint64_t)most : 0;
    while (end) {
        for (int i = 0; i < 8; i++) {
            found = hub_look(hub);
            if (found || PyErr_Occurred())
                return found;
            __builtin_ia32_pause();
        }
        if (now_ns() >= end)
            break;
    }
    Py_RETURN_NONE;
}
