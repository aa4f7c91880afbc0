/* The two host file calls that a walk over a tree repeats, without ctypes or os.stat_result in between.
 * Part of the _core extension; sentry/fs/hostcalls.py is the only user. */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "hostfiles.h"

enum { FIELDS = 14, DIRENT_BYTES = 32768, NAME_OFFSET = 19 };

/* Since 1970; times after 2262 or before 1677 are the last or first that fit. */
static long long nanoseconds(const struct statx_timestamp *t)
{
    long long ns;
    if (__builtin_mul_overflow(t->tv_sec, 1000000000LL, &ns) || __builtin_add_overflow(ns, (long long)t->tv_nsec, &ns))
        return t->tv_sec < 0 ? LLONG_MIN : LLONG_MAX;
    return ns;
}

/* host_stat(dirfd, name): statx(2) of name itself, of dirfd when the name is empty. The order of the fields is that
 * of HostFS.stat. None for ENOENT and ENOTDIR, which a path search meets all the time; OSError for the rest. */
PyObject *wardian_host_stat(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (count != 2 || !PyBytes_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "host_stat takes a descriptor and bytes");
        return NULL;
    }
    long dirfd = PyLong_AsLong(args[0]);
    if (dirfd == -1 && PyErr_Occurred())
        return NULL;
    const char *name = PyBytes_AS_STRING(args[1]);
    if (strlen(name) != (size_t)PyBytes_GET_SIZE(args[1])) {
        PyErr_SetString(PyExc_ValueError, "embedded null byte");
        return NULL;
    }
    struct statx s;
    int flags = AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH);
    if (statx((int)dirfd, name, flags, STATX_BASIC_STATS | STATX_BTIME, &s) < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            Py_RETURN_NONE;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    unsigned long long plain[] = {
        s.stx_ino, s.stx_mode, s.stx_nlink, s.stx_uid, s.stx_gid,
        makedev(s.stx_dev_major, s.stx_dev_minor), makedev(s.stx_rdev_major, s.stx_rdev_minor),
        s.stx_size, s.stx_blksize, s.stx_blocks,
    };
    long long times[] = {
        nanoseconds(&s.stx_atime), nanoseconds(&s.stx_mtime), nanoseconds(&s.stx_ctime), nanoseconds(&s.stx_btime),
    };
    PyObject *fields = PyTuple_New(FIELDS);
    if (!fields)
        return NULL;
    for (Py_ssize_t i = 0; i < FIELDS; i++) {
        PyObject *value = i < 10 ? PyLong_FromUnsignedLongLong(plain[i]) : PyLong_FromLongLong(times[i - 10]);
        if (!value) {
            Py_DECREF(fields);
            return NULL;
        }
        PyTuple_SET_ITEM(fields, i, value);
    }
    return fields;
}

/* One linux_dirent64 at p with at most left bytes, as a tuple; its length in *length, 0 when it makes no sense. */
static PyObject *entry(const char *p, long left, uint16_t *length)
{
    uint64_t ino;
    int64_t position;
    memcpy(&ino, p, 8);
    memcpy(&position, p + 8, 8);
    memcpy(length, p + 16, 2);
    if (*length <= NAME_OFFSET || *length > left) {
        *length = 0;
        PyErr_SetString(PyExc_RuntimeError, "malformed directory entry");
        return NULL;
    }
    size_t size = strnlen(p + NAME_OFFSET, *length - NAME_OFFSET);
    return Py_BuildValue("(y#KiL)", p + NAME_OFFSET, (Py_ssize_t)size, (unsigned long long)ino,
                         (int)(unsigned char)p[18], (long long)position);
}

/* host_getdents(fd): the next piece of an open directory; empty at its end. */
PyObject *wardian_host_getdents(PyObject *self, PyObject *fd_object)
{
    (void)self;
    long fd = PyLong_AsLong(fd_object);
    if (fd == -1 && PyErr_Occurred())
        return NULL;
    char buffer[DIRENT_BYTES] __attribute__((aligned(8)));
    long count = syscall(SYS_getdents64, (int)fd, buffer, sizeof buffer);
    if (count < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    PyObject *found = PyList_New(0);
    long at = 0;
    while (found && at + NAME_OFFSET < count) {
        uint16_t length = 0;
        PyObject *one = entry(buffer + at, count - at, &length);
        if (!one || PyList_Append(found, one) < 0)
            Py_CLEAR(found);
        Py_XDECREF(one);
        at += length;
    }
    return found;
}
