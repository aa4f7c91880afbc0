/* Functions of text.c for the _core extension's method table. */
#ifndef WARDIAN_TEXT_H
#define WARDIAN_TEXT_H

#include <Python.h>

PyObject *wardian_release_text(PyObject *self, PyObject *unused);  /* METH_NOARGS */

#define WARDIAN_TEXT_METHODS \
    {"release_text", wardian_release_text, METH_NOARGS, \
     "release_text(): unmap the pages of programs and libraries that nobody wrote to; the page cache has them."}

#endif
