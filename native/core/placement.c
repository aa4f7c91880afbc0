/* Where guest threads run (design D6). The Sentry spins on its processor between requests; the host's scheduler sees
 * a busy processor like any other, and on a machine of few it puts every other new or woken thread there, to wait
 * until the spinning ends. So a thread that the Sentry wakes or has made is kept off the Sentry's processor, and
 * before the Sentry sleeps all that run may go anywhere again: then its processor is theirs, too. */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <sys/syscall.h>
#include <unistd.h>

#include "arguments.h"
#include "hub.h"

#define LONG_NS 15000 /* a spin that is shorter ends before the thread has been woken */
#define MOST_CPUS 4 /* with more of them, a free one is found without our help */

/* Ask once, while we still may: which processors are ours. */
void hub_count_cpus(Hub *hub)
{
    hub->placing = sched_getaffinity(0, sizeof hub->cpus, &hub->cpus) == 0 && CPU_COUNT(&hub->cpus) > 1 &&
                   CPU_COUNT(&hub->cpus) <= MOST_CPUS;
}

/* The host's number of a thread; 0 while unknown. What its slot says is held against its process. */
static pid_t tid_of(const struct slot_state *state, const struct slot *slot)
{
    if (!state->pid || state->tid)
        return state->tid;
    uint32_t claim = __atomic_load_n(&slot->host_tid, __ATOMIC_ACQUIRE);
    return syscall(SYS_tgkill, state->pid, claim, 0) == 0 ? (pid_t)claim : 0;
}

/* That it is kept off a processor, until hub_let_go; false when as many are as can be remembered. */
static bool remember(Hub *hub, uint32_t key, struct slot_state *state, uint32_t apart)
{
    if (!state->apart) {
        if (hub->napart == APART)
            return false;
        hub->apart[hub->napart++] = key;
    }
    state->apart = apart;
    return true;
}

/* Whether this is where we spin, for long enough to be in somebody's way. */
static bool spins_on(const Hub *hub, uint32_t cpu)
{
    return hub->placing && hub->spin_ns && hub->spin_now >= LONG_NS && hub->shared->spin_guests && CPU_ISSET(cpu, &hub->cpus);
}

static bool keep_off(const Hub *hub, pid_t tid, uint32_t cpu)
{
    cpu_set_t others = hub->cpus;
    CPU_CLR(cpu, &others);
    return sched_setaffinity(tid, sizeof others, &others) == 0;
}

void hub_keep_apart(Hub *hub, uint32_t key, struct slot_state *state, const struct slot *slot)
{
    uint32_t cpu = this_cpu();
    if (state->apart == cpu + 1 || !spins_on(hub, cpu) || hub->napart == APART)
        return;
    pid_t tid = tid_of(state, slot);
    if (tid && keep_off(hub, tid, cpu))
        remember(hub, key, state, cpu + 1);
}

static void let_go(const Hub *hub, struct slot_state *state, pid_t tid)
{
    sched_setaffinity(tid, sizeof hub->cpus, &hub->cpus);
    state->apart = 0;
}

/* Before a sleep: whoever runs may run anywhere. Those that wait for us are woken by us. */
void hub_let_go(Hub *hub)
{
    for (uint32_t i = hub->napart; i-- > 0;) {
        uint32_t key = hub->apart[i];
        struct slot_state *state = state_of(hub, key);
        if (state && state->apart && state->active) {
            pid_t tid = state->busy ? 0 : tid_of(state, slot_at(hub, key));
            if (!tid)
                continue;
            let_go(hub, state, tid);
        } else if (state) {
            state->apart = 0;
        }
        hub->apart[i] = hub->apart[--hub->napart];
    }
}

const char host_thread_doc[] = PyDoc_STR("host_thread(key, pid, tid)\n\nWhich host thread speaks on the slot; tid 0: as the slot says.");
PyObject *hub_host_thread(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    struct slot *slot;
    uint32_t key;
    int pid, tid;
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError, "host_thread needs key, pid, tid");
        return NULL;
    }
    struct slot_state *state = hub_answerable(hub, args[0], &key, &slot);
    if (!state || !as_int(args[1], &pid) || !as_int(args[2], &tid))
        return NULL;
    state->pid = pid;
    state->tid = tid;
    Py_RETURN_NONE;
}

const char place_doc[] = PyDoc_STR("place(key, child=key)\n\nKeep a thread off our processor, and the child that it is about to make.");
PyObject *hub_place(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    struct slot *slot;
    uint32_t key;
    if (nargs < 1 || nargs > 2) {
        PyErr_SetString(PyExc_TypeError, "place needs key, and maybe child");
        return NULL;
    }
    struct slot_state *state = hub_answerable(hub, args[0], &key, &slot);
    if (!state)
        return NULL;
    hub->long_work = true; /* who is placed is about to load a program, or to be made */
    hub_keep_apart(hub, key, state, slot);
    if (nargs > 1 && state->apart) {
        pid_t tid = tid_of(state, slot);
        struct slot_state *child = hub_answerable(hub, args[1], &key, &slot);
        if (!child)
            return NULL;
        if (!remember(hub, key, child, state->apart) && tid)
            let_go(hub, state, tid); /* or the child would inherit what nobody ends */
    }
    Py_RETURN_NONE;
}

const char place_maker_doc[] = PyDoc_STR("place_maker(pid) -> apart\n\nKeep a process of ours off our processor, and what it forks: for placed().");
PyObject *hub_place_maker(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    uint32_t cpu = this_cpu(), apart = spins_on(hub, cpu) ? cpu + 1 : 0;
    int pid;
    if (nargs != 1) {
        PyErr_SetString(PyExc_TypeError, "place_maker needs pid");
        return NULL;
    }
    if (!as_int(args[0], &pid))
        return NULL;
    if (pid > 0 && apart != hub->maker_apart) { /* 0 would be ourselves */
        if (apart ? keep_off(hub, pid, cpu) : sched_setaffinity(pid, sizeof hub->cpus, &hub->cpus) == 0) {
            hub->maker_apart = apart;
            hub->maker_moved = true;
        }
    }
    return PyLong_FromUnsignedLong(hub->maker_apart);
}

const char placed_doc[] = PyDoc_STR("placed(key, apart)\n\nA thread is where place_maker() had it made, until we sleep.");
PyObject *hub_placed(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    struct slot *slot;
    uint32_t key, apart;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "placed needs key, apart");
        return NULL;
    }
    struct slot_state *state = hub_answerable(hub, args[0], &key, &slot);
    if (!state || !as_u32(args[1], &apart))
        return NULL;
    pid_t tid = tid_of(state, slot);
    if (tid && (apart ? !remember(hub, key, state, apart) : hub->maker_moved))
        let_go(hub, state, tid);
    Py_RETURN_NONE;
}
