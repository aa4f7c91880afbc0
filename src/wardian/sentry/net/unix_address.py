"""AF_UNIX names (unix(7)): parsing sockaddr_un, and the abstract namespace of one sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EADDRINUSE, EINVAL
from wardian.sentry.net.constants import AF_UNIX

if TYPE_CHECKING:
    from wardian.sentry.net.unix import UnixSocket

SOCKADDR_UN: Final = 110
FAMILY: Final = b"\x01\x00"
UNNAMED: Final = FAMILY
AUTOBIND_LIMIT: Final = 1 << 20


def check_family(address: bytes) -> None:
    """EINVAL unless ``address`` is a sockaddr_un of a length Linux takes."""
    if not 2 <= len(address) <= SOCKADDR_UN or address[:2] != FAMILY:
        raise EINVAL("not a sockaddr_un")


def family_of(address: bytes) -> int:
    """sa_family, or -1 when the address is too short to have one."""
    return address[0] | address[1] << 8 if len(address) >= 2 else -1


def is_abstract(address: bytes) -> bool:
    """True when sun_path begins with NUL."""
    return len(address) > 2 and address[2] == 0


def path_of(address: bytes) -> bytes:
    """The path of a path-name address: up to the first NUL."""
    return address[2:].split(b"\0")[0]


def path_address(path: bytes) -> bytes:
    """The sockaddr getsockname(2) shows for a bound path."""
    return FAMILY + path + b"\0"


class AbstractNames:
    """Who is bound to which abstract name; each socket type has names of its own."""

    def __init__(self) -> None:
        self.names: dict[tuple[int, bytes], UnixSocket] = {}
        self.next_auto = 0

    def bind(self, address: bytes, socket: UnixSocket) -> None:
        """Take a name; EADDRINUSE."""
        if (socket.kind, address) in self.names:
            raise EADDRINUSE("abstract name taken")
        self.names[(socket.kind, address)] = socket

    def find(self, kind: int, address: bytes) -> UnixSocket | None:
        """The socket of type ``kind`` that has a name."""
        return self.names.get((kind, address))

    def autobind(self, socket: UnixSocket) -> bytes:
        """Take a free five-digit name (unix(7), "Autobind feature")."""
        for _ in range(AUTOBIND_LIMIT):
            address = FAMILY + b"\0%05x" % self.next_auto
            self.next_auto = (self.next_auto + 1) % AUTOBIND_LIMIT
            if (socket.kind, address) not in self.names:
                self.names[(socket.kind, address)] = socket
                return address
        raise EADDRINUSE("no free autobind name")

    def release(self, address: bytes, socket: UnixSocket) -> None:
        """Give a name back, if it is this socket's."""
        if self.names.get((socket.kind, address)) is socket:
            del self.names[(socket.kind, address)]


assert FAMILY[0] == AF_UNIX
