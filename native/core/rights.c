/* Descriptors for a guest process (SCM_RIGHTS, unix(7)): one for each file that it maps. */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <sys/socket.h>

#include "arguments.h"
#include "rights.h"

#define MOST 64

const char send_fds_doc[] = PyDoc_STR("send_fds(socket, message, fds)\n\nOne message with up to 64 descriptors, now or never; OSError.");
PyObject *wardian_send_fds(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(MOST * sizeof(int))];
    } control;
    int to;
    (void)self;
    if (count != 3 || !PyBytes_Check(args[1]) || !PyList_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "send_fds takes a descriptor, bytes and a list");
        return NULL;
    }
    Py_ssize_t fds = PyList_GET_SIZE(args[2]);
    if (!as_int(args[0], &to))
        return NULL;
    if (fds > MOST) {
        PyErr_SetString(PyExc_ValueError, "at most 64 descriptors at once");
        return NULL;
    }
    memset(&control, 0, sizeof control);
    struct iovec message = {PyBytes_AS_STRING(args[1]), (size_t)PyBytes_GET_SIZE(args[1])};
    struct msghdr header = {.msg_iov = &message, .msg_iovlen = 1};
    if (fds) {
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE((size_t)fds * sizeof(int));
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN((size_t)fds * sizeof(int));
    }
    for (Py_ssize_t i = 0; i < fds; i++) {
        int fd;
        if (!as_int(PyList_GET_ITEM(args[2], i), &fd))
            return NULL;
        memcpy(CMSG_DATA(&control.head) + (size_t)i * sizeof fd, &fd, sizeof fd);
    }
    if (sendmsg(to, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}
