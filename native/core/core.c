/* wardian._core: what the Sentry needs that Python has no call for, and the hand-off loop (hub.h; design D6, D12). */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <cpuid.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guestmem.h"
#include "hostcalls.h"
#include "hostfiles.h"
#include "hub.h"
#include "notify.h"
#include "rights.h"
#include "text.h"

static PyObject *core_openat2(PyObject *self, PyObject *args)
{
    int dirfd;
    PyObject *path;
    unsigned long long flags, mode, resolve;
    (void)self;
    if (!PyArg_ParseTuple(args, "iO&KKK", &dirfd, PyUnicode_FSConverter, &path, &flags, &mode, &resolve))
        return NULL;
    struct open_how how = {flags, mode, resolve};
    long fd = syscall(SYS_openat2, dirfd, PyBytes_AS_STRING(path), &how, sizeof how);
    Py_DECREF(path);
    return fd < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(fd);
}

static PyObject *core_tgkill(PyObject *self, PyObject *args)
{
    int pid, tid, signo;
    (void)self;
    if (!PyArg_ParseTuple(args, "iii", &pid, &tid, &signo))
        return NULL;
    if (syscall(SYS_tgkill, pid, tid, signo) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *core_cpu_time(PyObject *self, PyObject *args)
{
    int id, thread;
    struct timespec ts;
    (void)self;
    if (!PyArg_ParseTuple(args, "ip", &id, &thread))
        return NULL;
    /* CPUCLOCK_SCHED of the process, or of one thread of it (clock_getcpuclockid(3)) */
    clockid_t clock = (clockid_t)((~(unsigned)id << 3) | 2 | (thread ? 4 : 0));
    if (clock_gettime(clock, &ts) < 0)
        return PyLong_FromLong(-1);
    return PyLong_FromLongLong((long long)ts.tv_sec * 1000000000LL + ts.tv_nsec);
}

static PyObject *core_cpuid(PyObject *self, PyObject *args)
{
    unsigned int leaf, subleaf, eax, ebx, ecx, edx;
    (void)self;
    if (!PyArg_ParseTuple(args, "II", &leaf, &subleaf))
        return NULL;
    __cpuid_count(leaf, subleaf, eax, ebx, ecx, edx);
    return Py_BuildValue("IIII", eax, ebx, ecx, edx);
}

static PyMethodDef core_methods[] = {
    {"openat2", core_openat2, METH_VARARGS, "openat2(dirfd, path, flags, mode, resolve) -> fd"},
    {"tgkill", core_tgkill, METH_VARARGS, "tgkill(pid, tid, signo)"},
    {"cpuid", core_cpuid, METH_VARARGS, "cpuid(leaf, subleaf) -> (eax, ebx, ecx, edx)"},
    {"cpu_time", core_cpu_time, METH_VARARGS, "cpu_time(id, thread) -> ns of a process or thread, -1 when gone."},
    WARDIAN_GUESTMEM_METHODS,
    WARDIAN_NOTIFY_METHODS,
    WARDIAN_RIGHTS_METHODS,
    WARDIAN_HOSTCALLS_METHODS,
    WARDIAN_HOSTFILES_METHODS,
    WARDIAN_TEXT_METHODS,
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef core_module = {PyModuleDef_HEAD_INIT, "wardian._core", "The C primitives of the Sentry.", -1,
                                         core_methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__core(void)
{
    if (PyType_Ready(&HubType) < 0)
        return NULL;
    PyObject *module = PyModule_Create(&core_module);
    if (module && PyModule_AddObjectRef(module, "Hub", (PyObject *)&HubType) < 0)
        Py_CLEAR(module);
    return module;
}
