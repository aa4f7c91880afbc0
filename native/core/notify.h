/* Functions of notify.c for the _core extension's method table. */
#ifndef WARDIAN_NOTIFY_H
#define WARDIAN_NOTIFY_H

#include <Python.h>

PyObject *wardian_notify_receive(PyObject *self, PyObject *fd); /* METH_O */
PyObject *wardian_notify_send(PyObject *self, PyObject *args);  /* METH_VARARGS */
PyObject *wardian_notify_add_fd(PyObject *self, PyObject *args);
extern const char notify_send_doc[], notify_add_fd_doc[];

#define WARDIAN_NOTIFY_METHODS \
    {"notify_receive", wardian_notify_receive, METH_O, "notify_receive(fd) -> (id, tid, nr, a0..a5) or None."}, \
    {"notify_send", wardian_notify_send, METH_VARARGS, notify_send_doc}, \
    {"notify_add_fd", wardian_notify_add_fd, METH_VARARGS, notify_add_fd_doc}

#endif
