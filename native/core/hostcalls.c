/* Host system calls for the launcher (wardian.host.syscalls): one function that makes any call, so that the
 * list of names lives in Python. Part of the _core extension; not for hot paths. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <unistd.h>

#include "hostcalls.h"

enum { MAX_ARGS = 6 };

/* An int (taken modulo 2^64), None (a null pointer), or a buffer: bytes, or a bytearray the host fills. */
static int convert(PyObject *object, Py_buffer *view, int *held, long *out)
{
    if (object == Py_None) {
        *out = 0;
        return 0;
    }
    if (PyLong_Check(object)) {
        unsigned long value = PyLong_AsUnsignedLongMask(object);
        if (value == (unsigned long)-1 && PyErr_Occurred())
            return -1;
        *out = (long)value;
        return 0;
    }
    int flags = PyByteArray_Check(object) ? PyBUF_WRITABLE : PyBUF_SIMPLE;
    if (PyObject_GetBuffer(object, view, flags) < 0)
        return -1;
    *held = 1;
    *out = (long)view->buf;
    return 0;
}

/* host_syscall(number, *args) -> int: syscall(2); OSError for failures. The GIL is held: none of the calls
 * made through here blocks. */
PyObject *wardian_host_syscall(PyObject *self, PyObject *args)
{
    (void)self;
    Py_ssize_t count = PyTuple_GET_SIZE(args) - 1;
    if (count < 0 || count > MAX_ARGS) {
        PyErr_SetString(PyExc_TypeError, "host_syscall takes a number and up to six arguments");
        return NULL;
    }
    long number = PyLong_AsLong(PyTuple_GET_ITEM(args, 0));
    if (number == -1 && PyErr_Occurred())
        return NULL;

    Py_buffer views[MAX_ARGS];
    int held[MAX_ARGS] = {0};
    long values[MAX_ARGS] = {0};
    PyObject *result = NULL;
    for (Py_ssize_t i = 0; i < count; i++)
        if (convert(PyTuple_GET_ITEM(args, i + 1), &views[i], &held[i], &values[i]) < 0)
            goto out;
    long answer = syscall(number, values[0], values[1], values[2], values[3], values[4], values[5]);
    result = answer == -1 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(answer);
out:
    for (Py_ssize_t i = 0; i < count; i++)
        if (held[i])
            PyBuffer_Release(&views[i]);
    return result;
}

/* address_of(bytearray) -> int: where it lies. The caller keeps it alive and does not resize it. */
PyObject *wardian_address_of(PyObject *self, PyObject *buffer)
{
    (void)self;
    if (!PyByteArray_Check(buffer)) {
        PyErr_SetString(PyExc_TypeError, "address_of takes a bytearray");
        return NULL;
    }
    return PyLong_FromVoidPtr(PyByteArray_AS_STRING(buffer));
}
