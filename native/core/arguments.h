/* Numbers from Python: one that does not fit is an OverflowError, never another number. */
#ifndef WARDIAN_ARGUMENTS_H
#define WARDIAN_ARGUMENTS_H

#include <Python.h>

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

static inline bool as_u32(PyObject *object, uint32_t *value)
{
    unsigned long wide = PyLong_AsUnsignedLong(object);
    if (wide == (unsigned long)-1 && PyErr_Occurred())
        return false;
    if (wide > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "more than 32 bits");
        return false;
    }
    *value = (uint32_t)wide;
    return true;
}

static inline bool as_int(PyObject *object, int *value)
{
    long wide = PyLong_AsLong(object);
    if (wide == -1 && PyErr_Occurred())
        return false;
    if (wide < INT_MIN || wide > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "does not fit an int");
        return false;
    }
    *value = (int)wide;
    return true;
}

#endif
