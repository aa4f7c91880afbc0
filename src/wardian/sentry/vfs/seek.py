"""lseek(2) arithmetic that file systems share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EINVAL, ENXIO, EOVERFLOW

if TYPE_CHECKING:
    from wardian.sentry.vfs.file import File

SEEK_SET: Final = 0
SEEK_CUR: Final = 1
SEEK_END: Final = 2
SEEK_DATA: Final = 3
SEEK_HOLE: Final = 4


def seek_regular(file: File, offset: int, whence: int, size: int) -> int:
    """Set and return the offset of a file of ``size`` bytes that has no holes."""
    if whence == SEEK_CUR:
        offset += file.offset
    elif whence == SEEK_END:
        offset += size
    elif whence in (SEEK_DATA, SEEK_HOLE):
        if not 0 <= offset < size:
            raise ENXIO("no data there")
        if whence == SEEK_HOLE:
            offset = size
    elif whence != SEEK_SET:
        raise EINVAL("whence")
    if offset >> 63:  # a comparison with so large a number would make an object of it
        raise EINVAL("negative offset") if offset < 0 else EOVERFLOW("offset beyond 63 bits")
    file.offset = offset
    return offset
