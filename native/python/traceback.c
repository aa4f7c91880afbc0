/* An errno on its way to the guest needs no traceback: compiled code would make a code object and a frame for each
 * function that it leaves, a microsecond each, and nobody reads them. All other exceptions keep theirs; the linker puts
 * this function before the compiled code's own (--wrap in setup.py). */
#include <Python.h>

#include <string.h>

void __real_CPy_AddTraceback(const char *filename, const char *function, int line, PyObject *globals);
void __wrap_CPy_AddTraceback(const char *filename, const char *function, int line, PyObject *globals);

/* Whether the exception is wardian.sentry.errno.LinuxError or one of its classes, one for each errno. */
static int is_errno(PyObject *exception)
{
    const PyTypeObject *type = (const PyTypeObject *)exception;
    return exception && PyExceptionClass_Check(exception) && type->tp_base && !strcmp(type->tp_base->tp_name, "LinuxError");
}

void __wrap_CPy_AddTraceback(const char *filename, const char *function, int line, PyObject *globals)
{
    if (!is_errno(PyErr_Occurred()))
        __real_CPy_AddTraceback(filename, function, line, globals);
}
