/* Functions of guestmem.c for the _core extension's method table. */
#ifndef WARDIAN_GUESTMEM_H
#define WARDIAN_GUESTMEM_H

#include <Python.h>

PyObject *wardian_vm_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs);  /* METH_FASTCALL */
PyObject *wardian_vm_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs); /* METH_FASTCALL */
PyObject *wardian_vm_strings(PyObject *self, PyObject *args);                        /* METH_VARARGS */
PyObject *wardian_vm_word(PyObject *self, PyObject *args);                           /* METH_VARARGS */
extern const char vm_read_doc[], vm_write_doc[], vm_strings_doc[], vm_word_doc[];

#define WARDIAN_GUESTMEM_METHODS \
    {"vm_read", (PyCFunction)(void (*)(void))wardian_vm_read, METH_FASTCALL, vm_read_doc}, \
    {"vm_write", (PyCFunction)(void (*)(void))wardian_vm_write, METH_FASTCALL, vm_write_doc}, \
    {"vm_strings", wardian_vm_strings, METH_VARARGS, vm_strings_doc}, \
    {"vm_word", wardian_vm_word, METH_VARARGS, vm_word_doc}

#endif
