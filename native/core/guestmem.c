/* Guest memory, by process_vm_readv(2) and process_vm_writev(2). */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <errno.h>
#include <sys/uio.h>

#include "arguments.h"
#include "channel.h"
#include "guestmem.h"

const char vm_read_doc[] = PyDoc_STR("vm_read(pid, address, count) -> bytes\n\nprocess_vm_readv(2); shorter where memory ends. OSError ESRCH, EPERM.");
PyObject *wardian_vm_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
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

const char vm_write_doc[] = PyDoc_STR("vm_write(pid, address, data) -> int\n\nprocess_vm_writev(2): bytes written, maybe fewer. OSError ESRCH, EPERM.");
PyObject *wardian_vm_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
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

const char vm_word_doc[] = PyDoc_STR("vm_word(pid, address) -> int\n\nEight bytes anywhere in a host process, the stub's part included; -1 when they cannot be read.");
PyObject *wardian_vm_word(PyObject *self, PyObject *args)
{
    unsigned long long address;
    uint64_t word;
    int pid;
    (void)self;
    if (!PyArg_ParseTuple(args, "iK", &pid, &address))
        return NULL;
    struct iovec local = {&word, sizeof word}, remote = {(void *)address, sizeof word};
    if (process_vm_readv(pid, &local, 1, &remote, 1, 0) != sizeof word)
        return PyLong_FromLong(-1);
    return PyLong_FromUnsignedLongLong(word);
}

const char vm_strings_doc[] = PyDoc_STR("vm_strings(pid, addresses) -> list[bytes | None]\n\n"
"The NUL-terminated strings at up to 64 addresses in one process_vm_readv(2); None for those that cross into another\n"
"page, could not be read, or stand on more pages than are read at once: the caller reads them one by one.");
#define STRINGS_AT_ONCE 64
#define PAGES_AT_ONCE 32
#define PAGE 4096UL

/* The pages that strings stand on, each once: most are side by side, and a page costs more than its bytes. */
struct pages {
    struct iovec at[PAGES_AT_ONCE];
    unsigned long count;
};

/* Where the bytes at ``address`` will be among those of all the pages, -1 for nowhere. */
static ssize_t place_of(struct pages *pages, unsigned long address)
{
    if (address >= GUEST_TOP)
        return -1;
    unsigned long i = 0, page = address & ~(PAGE - 1);
    while (i < pages->count && pages->at[i].iov_base != (void *)page)
        i++;
    if (i == PAGES_AT_ONCE)
        return -1;
    if (i == pages->count)
        pages->at[pages->count++] = (struct iovec){(void *)page, PAGE};
    return (ssize_t)(i * PAGE + address % PAGE);
}

/* The string at an offset of ``got`` bytes, which may end on the same page; None otherwise. */
static PyObject *string_at(const char *bytes, ssize_t offset, ssize_t got)
{
    size_t room = offset >= 0 && offset < got ? PAGE - (size_t)offset % PAGE : 0;
    const char *end = room ? memchr(bytes + offset, 0, room) : NULL;
    return end ? PyBytes_FromStringAndSize(bytes + offset, end - (bytes + offset)) : Py_NewRef(Py_None);
}

PyObject *wardian_vm_strings(PyObject *self, PyObject *args)
{
    static char bytes[PAGES_AT_ONCE * PAGE]; /* used under the GIL and copied before it is let go */
    struct pages pages = {.count = 0};
    ssize_t places[STRINGS_AT_ONCE], got = 0;
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
        places[i] = place_of(&pages, address);
    }
    struct iovec local = {bytes, pages.count * PAGE};
    if (pages.count)
        got = process_vm_readv(pid, &local, 1, pages.at, pages.count, 0);
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *item = string_at(bytes, places[i], got);
        if (!item)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, item);
    }
    return list;
}
