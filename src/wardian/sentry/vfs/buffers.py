"""Where the bytes of a read go and where those of a write come from.

Files never see guest addresses: ``read`` fills a :class:`Sink`, ``write`` drains a
:class:`Source`. The variants for guest memory (one buffer or an iovec) live in
``sentry.mm.usercopy``; the ones here are for the kernel's own use and for tests.
"""


class Sink:
    """Takes up to ``left`` more bytes."""

    def __init__(self, left: int) -> None:
        self.left = left

    def put(self, data: bytes) -> int:
        """Take as much of ``data`` as there is room for; the number of bytes taken. Raises
        EFAULT."""
        raise NotImplementedError


class Source:
    """Gives up to ``left`` more bytes."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int) -> bytes:
        """The next ``min(count, left)`` bytes, consumed. Raises EFAULT."""
        raise NotImplementedError

    def give_back(self, count: int) -> None:
        """Un-consume the last ``count`` bytes taken (a short write downstream)."""
        raise NotImplementedError

    def skip(self, count: int) -> None:
        """Consume ``count`` bytes that an earlier run of the call has moved already."""
        while count > 0 and self.left > 0:
            count -= len(self.take(min(count, 1 << 16)))


class BytesSink(Sink):
    """Collects into memory; ``data`` is what arrived."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.parts: list[bytes] = []

    def put(self, data: bytes) -> int:
        taken = data if len(data) <= self.left else data[: self.left]
        self.parts.append(taken)
        self.left -= len(taken)
        return len(taken)

    @property
    def data(self) -> bytes:
        """Everything put so far."""
        return b"".join(self.parts)


class BytesSource(Source):
    """Reads from a ``bytes`` object."""

    def __init__(self, data: bytes) -> None:
        super().__init__(len(data))
        self.data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        n = min(count, self.left)
        piece = self.data[self.position : self.position + n]
        self.position += n
        self.left -= n
        return piece

    def give_back(self, count: int) -> None:
        self.position -= count
        self.left += count
