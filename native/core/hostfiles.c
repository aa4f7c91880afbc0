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

enum { DIRENT_BYTES = 32768, NAME_OFFSET = 19 };

/* Since 1970; times after 2262 or before 1677 are the last or first that fit. */
static long long nanoseconds(const struct statx_timestamp *t)
{
    long long ns;
    if (__builtin_mul_overflow(t->tv_sec, 1000000000LL, &ns) || __builtin_add_overflow(ns, (long long)t->tv_nsec, &ns))
        return t->tv_sec < 0 ? LLONG_MIN : LLONG_MAX;
    return ns;
}

/* host_stat(dirfd, name): statx(2) of name itself, of dirfd when the name is empty. Numbers of 64 bits in one bytes
 * object, in the order of hostcalls.unpack_attributes: Python integers for all of them would take as long as the call.
 * None for ENOENT and ENOTDIR, which a path search meets all the time; OSError for the rest. */
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
    int64_t fields[] = {
        (int64_t)(s.stx_ino & INT64_MAX), s.stx_mode, s.stx_nlink, s.stx_uid, s.stx_gid,
        (int64_t)makedev(s.stx_dev_major, s.stx_dev_minor), (int64_t)makedev(s.stx_rdev_major, s.stx_rdev_minor),
        (int64_t)s.stx_size, s.stx_blksize, (int64_t)s.stx_blocks,
        nanoseconds(&s.stx_atime), nanoseconds(&s.stx_mtime), nanoseconds(&s.stx_ctime), nanoseconds(&s.stx_btime),
    };
    return PyBytes_FromStringAndSize((const char *)fields, sizeof fields);
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
    return Py_BuildValue("(y#LiL)", p + NAME_OFFSET, (Py_ssize_t)size, (long long)(ino & INT64_MAX),
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

/* host_dirents(fd, count): the next records of an open directory as they are, at most count bytes, and the position
 * after the last. Only the inode numbers are cut to 63 bits, as host_stat does, and nothing of
 * our memory is left between the records: guests get them. */
PyObject *wardian_host_dirents(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "host_dirents takes a descriptor and a size");
        return NULL;
    }
    long fd = PyLong_AsLong(args[0]);
    long room = PyLong_AsLong(args[1]);
    if ((fd == -1 || room == -1) && PyErr_Occurred())
        return NULL;
    char buffer[DIRENT_BYTES] __attribute__((aligned(8)));
    if (room < 0 || room > DIRENT_BYTES)
        room = DIRENT_BYTES;
    long filled = syscall(SYS_getdents64, (int)fd, buffer, room);
    if (filled < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    int64_t position = 0;
    uint16_t length;
    for (long at = 0; at + NAME_OFFSET < filled; at += length) {
        char *record = buffer + at;
        memcpy(&position, record + 8, 8);
        memcpy(&length, record + 16, 2);
        if (length <= NAME_OFFSET || length > filled - at) {
            PyErr_SetString(PyExc_RuntimeError, "malformed directory entry");
            return NULL;
        }
        record[7] &= 0x7f; /* the highest byte of d_ino */
        size_t end = NAME_OFFSET + strnlen(record + NAME_OFFSET, length - NAME_OFFSET);
        memset(record + end, 0, length - end); /* Linux does not write the padding: it is our stack's */
    }
    return Py_BuildValue("(y#L)", buffer, (Py_ssize_t)filled, (long long)position);
}
