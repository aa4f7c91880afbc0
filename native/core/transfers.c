/* The bytes of reads and writes, between a guest's buffer and what a file keeps them in, with no Python object in
 * between. Few bytes travel with the reply or the request, in the slot; many by process_vm_writev(2) and
 * process_vm_readv(2), which cost a microsecond before the first byte moves.
 *
 * What travels in the slot is content alone: the guest may change it under our hands and harms nobody.
 */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "arguments.h"
#include "hub.h"

#define IN_SLOT 8192      /* the most bytes of one read that travel with the reply */
#define SCRATCH (1 << 17) /* the most that one host call moves; both cores have that much cache of their own */
static char scratch[SCRATCH]; /* used under the GIL, never across a call into Python */
static const char zeros[1 << 14];

struct guest {
    Hub *hub;
    struct slot *slot;
    struct slot_state *state;
    uint64_t address;
    int pid;
    bool now; /* not with the reply */
};

/* key, pid, address of a call from Python, and how many bytes it is about: no more than there are addresses. */
static bool parse_guest(Hub *hub, PyObject *const *args, struct guest *g, PyObject *count, size_t *size)
{
    uint32_t key;
    g->hub = hub;
    g->now = false;
    g->state = hub_answerable(hub, args[0], &key, &g->slot);
    if (!g->state || !as_int(args[1], &g->pid))
        return false;
    g->address = PyLong_AsUnsignedLong(args[2]);
    if (PyErr_Occurred())
        return false;
    Py_ssize_t wanted = PyLong_AsSsize_t(count);
    if (PyErr_Occurred())
        return false;
    *size = wanted < 0 ? 0 : (size_t)wanted;
    uint64_t most = g->address < GUEST_TOP ? GUEST_TOP - g->address : 0;
    if (most && *size > most)
        *size = most;
    return true;
}

static bool wrong_number(Py_ssize_t nargs, Py_ssize_t wanted)
{
    if (nargs != wanted)
        PyErr_Format(PyExc_TypeError, "%zd arguments, not %zd", wanted, nargs);
    return nargs != wanted;
}

/* Where the next bytes of the reply go when there is room for so many; NULL otherwise. */
static uint8_t *out_room(const struct guest *g, size_t size)
{
    if (g->now || g->address >= GUEST_TOP || size > IN_SLOT)
        return NULL;
    return hub_out_room(g->state, g->slot, size);
}

/* The bytes stand there: have the stub copy them. */
static void queue(const struct guest *g, const uint8_t *bytes, uint64_t length, uint64_t flags)
{
    struct out out = {g->address, length | flags | OUT_CONTENTS};
    hub_queue(g->state, g->slot, bytes, &out);
}

/* Write to the guest now: how many bytes it took. */
static size_t push(const struct guest *g, const struct iovec *local, unsigned long parts, size_t done, size_t size)
{
    struct iovec remote = {(void *)(g->address + done), size};
    ssize_t n = g->address < GUEST_TOP ? process_vm_writev(g->pid, local, parts, &remote, 1, 0) : 0;
    return n > 0 ? (size_t)n : 0;
}

const char give_doc[] = PyDoc_STR("give(key, pid, address, data, start, count, now) -> int\n\n"
"Bytes of an object to the guest: how many it took, 0 for a bad address. With the reply, unless they are many or\n"
"``now``: then a bad address is EFAULT there.");
PyObject *hub_give(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    struct guest g;
    size_t size;
    Py_buffer data;
    if (wrong_number(nargs, 7) || !parse_guest(hub, args, &g, args[5], &size))
        return NULL;
    Py_ssize_t start = PyLong_AsSsize_t(args[4]);
    g.now = PyObject_IsTrue(args[6]);
    if (PyErr_Occurred() || PyObject_GetBuffer(args[3], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    if (start < 0 || start > data.len)
        start = data.len;
    if (size > (size_t)(data.len - start))
        size = (size_t)(data.len - start);
    char *from = (char *)data.buf + start;
    uint8_t *to = out_room(&g, size);
    if (to && size) {
        memcpy(to, from, size);
        queue(&g, to, size, 0);
    } else if (size) {
        struct iovec local = {from, size};
        size = push(&g, &local, 1, 0, size);
    }
    PyBuffer_Release(&data);
    return PyLong_FromSize_t(size);
}

const char give_zeros_doc[] = PyDoc_STR("give_zeros(key, pid, address, count, now) -> int\n\nThe same with as many zeros.");
PyObject *hub_give_zeros(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    struct guest g;
    size_t size, done = 0;
    if (wrong_number(nargs, 5) || !parse_guest(hub, args, &g, args[3], &size))
        return NULL;
    g.now = PyObject_IsTrue(args[4]);
    if (PyErr_Occurred())
        return NULL;
    uint8_t *place = out_room(&g, 0);
    if (size && place) {
        queue(&g, place, size, OUT_ZEROS);
        return PyLong_FromSize_t(size);
    }
    while (done < size) {
        size_t piece = size - done < sizeof zeros ? size - done : sizeof zeros;
        struct iovec local = {(void *)zeros, piece};
        size_t n = push(&g, &local, 1, done, piece);
        done += n;
        if (n < piece)
            break;
    }
    return PyLong_FromSize_t(done);
}

/* pread(2) the beginning into the slot, the rest of a piece beside it: one host call, however much there is. */
static ssize_t read_piece(int fd, off_t offset, struct iovec *local, uint8_t *in_slot, size_t piece)
{
    size_t first = !in_slot ? 0 : piece < IN_SLOT ? piece : IN_SLOT;
    local[0] = (struct iovec){in_slot, first};
    local[1] = (struct iovec){scratch, piece - first};
    if (first == piece)
        return pread(fd, in_slot, first, offset);
    return preadv2(fd, local + !first, first ? 2 : 1, offset, 0);
}

/* Answers how many bytes the guest has or will have; -1 when errno says why none. */
static ssize_t give_file(const struct guest *g, int fd, off_t offset, size_t size)
{
    size_t done = 0;
    while (done < size) {
        struct iovec local[2];
        size_t piece = size - done < SCRATCH ? size - done : SCRATCH;
        uint8_t *in_slot = done ? NULL : out_room(g, piece < IN_SLOT ? piece : IN_SLOT);
        ssize_t n = read_piece(fd, offset + (off_t)done, local, in_slot, piece);
        if (n <= 0)
            return done ? (ssize_t)done : n;
        if (in_slot && (size_t)n <= local[0].iov_len) {
            queue(g, in_slot, (uint64_t)n, 0);
            return n;
        }
        local[1].iov_len = (size_t)n - local[0].iov_len;
        size_t taken = push(g, in_slot ? local : local + 1, in_slot ? 2 : 1, done, (size_t)n);
        done += taken;
        if (taken < (size_t)n || (size_t)n < piece)
            break;
    }
    errno = EFAULT;
    return done || !size ? (ssize_t)done : -1;
}

const char give_file_doc[] = PyDoc_STR("give_file(key, pid, address, fd, offset, count, now) -> int\n\n"
"pread(2) for the guest; fewer bytes at the end of the file, or of the guest's memory. OSError, EFAULT too.");
PyObject *hub_give_file(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    struct guest g;
    size_t size;
    int fd;
    if (wrong_number(nargs, 7) || !parse_guest(hub, args, &g, args[5], &size) || !as_int(args[3], &fd))
        return NULL;
    long offset = PyLong_AsLong(args[4]);
    g.now = PyObject_IsTrue(args[6]);
    if (PyErr_Occurred())
        return NULL;
    ssize_t n = give_file(&g, fd, offset, size);
    return n < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromSsize_t(n);
}

/* -- the other way --------------------------------------------------------------------------------------- */

/* The bytes that came in the slot, ``at`` an offset of its data; NULL when they did not. Outs would have written
   over them: who takes them has queued none. */
static const uint8_t *in_slot(const struct guest *g, long at, size_t size)
{
    if (at < 0 || at > (long)DATA_SIZE || size > DATA_SIZE - (size_t)at || !g->state->busy || g->state->nouts || g->state->small)
        return NULL;
    return g->slot->data + at;
}

/* Read from the guest: how many bytes it has there. */
static size_t pull(const struct guest *g, void *to, size_t done, size_t size)
{
    struct iovec local = {to, size}, remote = {(void *)(g->address + done), size};
    ssize_t n = g->address < GUEST_TOP ? process_vm_readv(g->pid, &local, 1, &remote, 1, 0) : 0;
    return n > 0 ? (size_t)n : 0;
}

const char take_doc[] = PyDoc_STR("take(key, pid, address, at, count) -> bytes\n\n"
"Bytes of the guest: those of its request's data from offset ``at`` on, or from ``address`` when that is -1; fewer\n"
"where its memory ends.");
PyObject *hub_take(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    struct guest g;
    size_t size;
    if (wrong_number(nargs, 5) || !parse_guest(hub, args, &g, args[4], &size))
        return NULL;
    long at = PyLong_AsLong(args[3]);
    if (PyErr_Occurred())
        return NULL;
    const uint8_t *sent = in_slot(&g, at, size);
    if (sent)
        return PyBytes_FromStringAndSize((const char *)sent, (Py_ssize_t)size);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    size_t n = bytes && size ? pull(&g, PyBytes_AS_STRING(bytes), 0, size) : 0;
    if (bytes && n < size)
        _PyBytes_Resize(&bytes, (Py_ssize_t)n);
    return bytes;
}

const char take_into_doc[] = PyDoc_STR("take_into(key, pid, address, at, buffer, start, count) -> int\n\n"
"The same into a part of a bytearray: how many bytes came.");
PyObject *hub_take_into(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    struct guest g;
    size_t size;
    if (wrong_number(nargs, 7) || !parse_guest(hub, args, &g, args[6], &size))
        return NULL;
    long at = PyLong_AsLong(args[3]);
    Py_ssize_t start = PyLong_AsSsize_t(args[5]);
    if (PyErr_Occurred())
        return NULL;
    if (!PyByteArray_Check(args[4]) || start < 0 || start > PyByteArray_GET_SIZE(args[4])
        || size > (size_t)(PyByteArray_GET_SIZE(args[4]) - start)) {
        PyErr_SetString(PyExc_ValueError, "not that many bytes in the bytearray");
        return NULL;
    }
    char *to = PyByteArray_AS_STRING(args[4]) + start;
    const uint8_t *sent = in_slot(&g, at, size);
    if (sent)
        memcpy(to, sent, size);
    else
        size = size ? pull(&g, to, 0, size) : 0;
    return PyLong_FromSize_t(size);
}

/* One pwrite(2), or with RWF_APPEND one that finds the end by itself. */
static ssize_t write_piece(int fd, off_t offset, const void *from, size_t size, int flags)
{
    struct iovec local = {(void *)from, size};
    return flags ? pwritev2(fd, &local, 1, offset, flags) : pwrite(fd, from, size, offset);
}

/* Answers how many bytes the file took; -1 when errno says why none. */
static ssize_t take_file(const struct guest *g, const uint8_t *sent, int fd, off_t offset, size_t size, int flags)
{
    size_t done = 0;
    while (done < size) {
        size_t piece = sent || size - done < SCRATCH ? size - done : SCRATCH;
        size_t have = sent ? piece : pull(g, scratch, done, piece);
        errno = EFAULT;
        ssize_t n = have ? write_piece(fd, offset + (off_t)done, sent ? (const void *)(sent + done) : scratch, have, flags) : -1;
        if (n <= 0)
            return done ? (ssize_t)done : n;
        done += (size_t)n;
        if ((size_t)n < piece)
            break;
    }
    return (ssize_t)done;
}

const char take_file_doc[] = PyDoc_STR("take_file(key, pid, address, at, fd, offset, count, flags) -> int\n\n"
"pwrite(2) of the guest's bytes, or pwritev2(2) with RWF_* ``flags``; fewer where its memory ends or the file took no\n"
"more. OSError, EFAULT too.");
PyObject *hub_take_file(Hub *hub, PyObject *const *args, Py_ssize_t nargs)
{
    struct guest g;
    size_t size;
    int fd, flags;
    if (wrong_number(nargs, 8) || !parse_guest(hub, args, &g, args[6], &size) || !as_int(args[4], &fd)
        || !as_int(args[7], &flags))
        return NULL;
    long at = PyLong_AsLong(args[3]), offset = PyLong_AsLong(args[5]);
    if (PyErr_Occurred())
        return NULL;
    ssize_t n = take_file(&g, in_slot(&g, at, size), fd, offset, size, flags);
    return n < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromSsize_t(n);
}
