"""What carries a TCP connection's bytes: the boundary below ``tcp.TcpSocket``.

The socket owns the receive queue, errors, options and poll events; a transport owns delivery and
flow control. Two exist or are planned: ``loopback`` (both ends in this sandbox, bytes objects
passed by reference) and the full TCP/IP stack. A transport calls the socket back: ``established``,
``connect_failed``, ``arrived``, ``peer_finished``, ``peer_reset``, ``room_grew``. Neither side
blocks and neither reads a clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wardian.sentry.vfs.file_part import Piece


class StreamTransport:
    """One end of one connection."""

    def room(self) -> int:
        """How many bytes :meth:`push` would take now; 0 or less when the window is full."""
        raise NotImplementedError

    def window(self) -> int:
        """How many bytes may be under way at most; POLLOUT is true with a third of it free."""
        raise NotImplementedError

    def push(self, data: Piece) -> None:
        """Send ``data``, not more than :meth:`room`."""
        raise NotImplementedError

    def finish(self) -> None:
        """No more data will be pushed (FIN)."""
        raise NotImplementedError

    def reset(self) -> None:
        """Abort (RST); no call-back comes after this."""
        raise NotImplementedError

    def consumed(self) -> None:
        """The reader took bytes out of the receive queue: the window opens."""
        raise NotImplementedError

    def unsent(self) -> int:
        """Bytes pushed that the other host has not acknowledged."""
        return 0
