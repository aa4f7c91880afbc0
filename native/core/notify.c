/* Seccomp notifications (seccomp_unotify(2)). */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arguments.h"
#include "notify.h"

PyObject *wardian_notify_receive(PyObject *self, PyObject *arg)
{
    struct seccomp_notif notification;
    (void)self;
    int fd;
    if (!as_int(arg, &fd))
        return NULL;
    memset(&notification, 0, sizeof notification);
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &notification) < 0) {
        if (errno == ENOENT || errno == EINTR || errno == EAGAIN)
            Py_RETURN_NONE;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    const __u64 *a = notification.data.args;
    return Py_BuildValue("(KIiKKKKKK)", (unsigned long long)notification.id, notification.pid, notification.data.nr,
                         (unsigned long long)a[0], (unsigned long long)a[1], (unsigned long long)a[2],
                         (unsigned long long)a[3], (unsigned long long)a[4], (unsigned long long)a[5]);
}

const char notify_send_doc[] = PyDoc_STR("notify_send(fd, id, value, error, go_on) -> bool\n\nFalse when the notifying thread is gone.");
PyObject *wardian_notify_send(PyObject *self, PyObject *args)
{
    int fd, error, go_on;
    unsigned long long id;
    long long value;
    (void)self;
    if (!PyArg_ParseTuple(args, "iKLip", &fd, &id, &value, &error, &go_on))
        return NULL;
    struct seccomp_notif_resp response = {id, value, error, go_on ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0};
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &response) == 0)
        Py_RETURN_TRUE;
    if (errno == ENOENT)
        Py_RETURN_FALSE;
    return PyErr_SetFromErrno(PyExc_OSError);
}

const char notify_add_fd_doc[] = PyDoc_STR("notify_add_fd(fd, id, source, number) -> bool\n\nInstall source as number in the notifying process.");
PyObject *wardian_notify_add_fd(PyObject *self, PyObject *args)
{
    int fd, source, number;
    unsigned long long id;
    (void)self;
    if (!PyArg_ParseTuple(args, "iKii", &fd, &id, &source, &number))
        return NULL;
    struct seccomp_notif_addfd request = {id, SECCOMP_ADDFD_FLAG_SETFD, (__u32)source, (__u32)number, 0};
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &request) >= 0)
        Py_RETURN_TRUE;
    if (errno == ENOENT)
        Py_RETURN_FALSE;
    return PyErr_SetFromErrno(PyExc_OSError);
}
