"""A program as the stub reads it: struct image of native/include/channel.h."""

from __future__ import annotations

from wardian.platform.interface import ExecImage
from wardian.platform.stub.wire import DATA_SIZE, IMAGE, IMAGE_BLOB, IMAGE_MAP


class EncodedImage:
    """``image`` for the data area of a slot."""

    def __init__(self, image: ExecImage) -> None:
        self.fds: list[int] = []  # in the order in which the mappings name them
        self.rest: list[tuple[int, bytes]] = []  # contents that did not fit, with their addresses
        maps: list[bytes] = []
        for mapping in image.mappings:
            maps.append(
                IMAGE_MAP.pack(
                    mapping.address,
                    mapping.length,
                    mapping.prot,
                    mapping.offset,
                    self.index_of(mapping.fd),
                )
            )
        room = DATA_SIZE - IMAGE.size - len(maps) * IMAGE_MAP.size
        assert room >= 0, "more than MOST_MAPPINGS"
        blobs: list[bytes] = []
        for mapping in image.mappings:
            data = mapping.data
            if not data:
                continue
            piece = IMAGE_BLOB.pack(mapping.data_address, len(data)) + data + bytes(-len(data) % 8)
            if len(piece) <= room:
                blobs.append(piece)
                room -= len(piece)
            else:
                self.rest.append((mapping.data_address, data))
        low, high = image.patch_areas
        header = IMAGE.pack(
            len(maps), len(blobs), image.entry, image.stack_pointer, image.brk_start, low, high
        )
        self.data = header + b"".join(maps) + b"".join(blobs)

    def index_of(self, fd: int) -> int:
        """Which of the descriptors it is; -1 for memory without a file."""
        if fd < 0:
            return -1
        if fd not in self.fds:
            self.fds.append(fd)
        return self.fds.index(fd)
