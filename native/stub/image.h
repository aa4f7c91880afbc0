/* Placing a program in an address space (struct image): the loader of a pool process does it before the second
 * filter, exec.c within what that filter leaves. Inlined, so that each makes its calls from its own text.
 */
#ifndef WARDIAN_STUB_IMAGE_H
#define WARDIAN_STUB_IMAGE_H

#include "stub.h"

enum { IMAGE_PRIVATE = 0x2, IMAGE_FIXED = 0x10, IMAGE_ANON = 0x20, IMAGE_NORESERVE = 0x4000 };

/* Map and fill what `data` says. 0, or a negative number. */
static inline __attribute__((always_inline)) long load_image(const struct image *image, const uint8_t *data,
                                                             uint64_t size, const int *fds, int nfds)
{
    uint64_t used = sizeof *image;
    struct image_map map;
    struct image_blob blob;

    for (uint64_t i = 0; i < image->nmaps; i++, used += sizeof map) {
        if (used + sizeof map > size)
            return -1;
        memcpy(&map, data + used, sizeof map);
        int fd = map.fd_index >= 0 && map.fd_index < nfds ? fds[map.fd_index] : -1;
        long flags = IMAGE_PRIVATE | IMAGE_FIXED | (fd < 0 ? IMAGE_ANON | IMAGE_NORESERVE : 0);
        long at = sys6(SYS_mmap, (long)map.address, (long)map.length, (long)map.prot, flags, fd, (long)map.offset);
        if (at != (long)map.address)
            return -1;
    }
    for (uint64_t i = 0; i < image->nblobs; i++) {
        if (used + sizeof blob > size)
            return -1;
        memcpy(&blob, data + used, sizeof blob);
        used += sizeof blob;
        if (blob.length > size - used || copy_bytes((void *)blob.address, data + used, blob.length))
            return -1;
        used += (blob.length + 7) & ~7UL;
    }
    return 0;
}

#endif
