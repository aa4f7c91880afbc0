/* Giving back the pages of text that start-up alone needed. */
#define _GNU_SOURCE
#include "text.h"

#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Whether the loader wrote into segments that are read-only afterwards (never, on x86-64, if nobody asks for it). */
static int has_text_relocations(const struct dl_phdr_info *info)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_DYNAMIC)
            continue;
        for (const ElfW(Dyn) *d = (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr); d->d_tag != DT_NULL; d++)
            if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && d->d_un.d_val & DF_TEXTREL))
                return 1;
    }
    return 0;
}

static int release(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (strncmp(info->dlpi_name, "linux-", 6) == 0 || has_text_relocations(info)) /* the vDSO is no file */
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        /* What is relocated and then read-only (RELRO) is part of a segment that is not. */
        if (segment->p_type != PT_LOAD || segment->p_flags & PF_W)
            continue;
        uintptr_t first = (info->dlpi_addr + segment->p_vaddr) & ~(page - 1);
        uintptr_t end = (info->dlpi_addr + segment->p_vaddr + segment->p_filesz + page - 1) & ~(page - 1);
        madvise((void *)first, end - first, MADV_DONTNEED);
    }
    return 0;
}

PyObject *wardian_release_text(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    dl_iterate_phdr(release, NULL);
    Py_RETURN_NONE;
}
