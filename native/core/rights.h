/* The function of rights.c for the _core extension's method table. */
#ifndef WARDIAN_RIGHTS_H
#define WARDIAN_RIGHTS_H

#include <Python.h>

PyObject *wardian_send_fds(PyObject *self, PyObject *const *args, Py_ssize_t count);
extern const char send_fds_doc[];

#define WARDIAN_RIGHTS_METHODS \
    {"send_fds", (PyCFunction)(void (*)(void))wardian_send_fds, METH_FASTCALL, send_fds_doc}

#endif
