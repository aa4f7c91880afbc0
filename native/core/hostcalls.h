/* Functions of hostcalls.c for the _core extension's method table. */
#ifndef WARDIAN_HOSTCALLS_H
#define WARDIAN_HOSTCALLS_H

#include <Python.h>

PyObject *wardian_host_syscall(PyObject *self, PyObject *args);  /* METH_VARARGS */
PyObject *wardian_address_of(PyObject *self, PyObject *buffer);  /* METH_O */

#define WARDIAN_HOSTCALLS_METHODS \
    {"host_syscall", wardian_host_syscall, METH_VARARGS, "host_syscall(number, *args) -> int"}, \
    {"address_of", wardian_address_of, METH_O, "address_of(bytearray) -> int"}

#endif
