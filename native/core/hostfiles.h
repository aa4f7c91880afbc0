/* Functions of hostfiles.c for the _core extension's method table. */
#ifndef WARDIAN_HOSTFILES_H
#define WARDIAN_HOSTFILES_H

#include <Python.h>

PyObject *wardian_host_stat(PyObject *self, PyObject *const *args, Py_ssize_t count);  /* METH_FASTCALL */
PyObject *wardian_host_getdents(PyObject *self, PyObject *fd);                         /* METH_O */
PyObject *wardian_host_dirents(PyObject *self, PyObject *const *args, Py_ssize_t count); /* METH_FASTCALL */

#define WARDIAN_HOSTFILES_METHODS \
    {"host_stat", (PyCFunction)(void (*)(void))wardian_host_stat, METH_FASTCALL, \
     "host_stat(dirfd, name) -> 14 packed numbers, or None when there is no such name"}, \
    {"host_getdents", wardian_host_getdents, METH_O, "host_getdents(fd) -> [(name, ino, d_type, position)]"}, \
    {"host_dirents", (PyCFunction)(void (*)(void))wardian_host_dirents, METH_FASTCALL, \
     "host_dirents(fd, count) -> (records, position)"}

#endif
