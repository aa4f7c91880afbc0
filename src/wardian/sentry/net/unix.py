"""AF_UNIX sockets, what all types share (unix(7)): names, credentials, shutdown, options.

Stream and seqpacket connections are in ``unix_stream``, datagrams in ``unix_dgram``, addresses in
``unix_address``, descriptors in flight in ``scm``. A path name is an inode whose ``socket`` is the
bound socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EADDRINUSE,
    ECONNREFUSED,
    EEXIST,
    EINVAL,
    ENOENT,
    EPROTOTYPE,
)
from wardian.sentry.net.constants import (
    MSG_PEEK,
    SOCK_DGRAM,
    TCP_CLOSE,
)
from wardian.sentry.net.scm import Packet, UnixEnd
from wardian.sentry.net.socket import (
    WRITE_EVENTS,
    Incoming,
    Outgoing,
    Ucred,
    effective_ucred,
)
from wardian.sentry.net.unix_address import (
    UNNAMED,
    check_family,
    is_abstract,
    path_address,
    path_of,
)
from wardian.sentry.vfs.inode import S_IFSOCK, Inode
from wardian.sentry.vfs.namei import make_node, resolve
from wardian.sentry.vfs.permissions import MAY_WRITE, check

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.net.stack import NetworkStack

AT_FDCWD: Final = -100
PACKET_OVERHEAD: Final = 576
"""What a packet costs its sender's buffer besides its bytes; it bounds tiny messages."""


def path_exists(task: Task, path: bytes) -> bool:
    """Whether something has the name: bind(2) complains of that first."""
    try:
        resolve(task, AT_FDCWD, path, False)
    except ENOENT:
        return False
    return True


class UnixSocket(UnixEnd):
    """State common to the three types."""

    def __init__(self, stack: NetworkStack, kind: int, uid: int, gid: int) -> None:
        super().__init__(stack, kind, uid, gid)
        self.peer: UnixSocket | None = None
        self.state = TCP_CLOSE
        self.address = UNNAMED
        self.bound_inode: Inode | None = None
        self.owner = Ucred(0, uid, gid)  # for writes that come without a task
        self.peer_credentials: Ucred | None = None
        self.peer_group_list: list[int] = []

    # -- names ------------------------------------------------------------------------------------
    def bind(self, task: Task, address: bytes) -> None:
        check_family(address)
        if len(address) == 2:
            self.autobind()
            return
        bound = self.address is not UNNAMED
        if bound and (is_abstract(address) or not path_exists(task, path_of(address))):
            raise EINVAL("already bound")
        if is_abstract(address):
            self.stack.abstract.bind(address, self)
            self.address = address
            return
        path = path_of(address)
        inode = self.inode
        mode = inode.mode & 0o777 if inode is not None else 0o777
        try:
            node = make_node(task, AT_FDCWD, path, S_IFSOCK | mode, 0).inode
        except EEXIST:
            raise EADDRINUSE("path exists") from None
        node.socket = self
        self.bound_inode = node
        self.address = path_address(path)

    def autobind(self) -> None:
        """Take a name of the kernel's choosing, if there is none yet."""
        if self.address is UNNAMED:
            self.address = self.stack.abstract.autobind(self)

    def local_name(self) -> bytes:
        return self.address

    def find(self, task: Task, address: bytes) -> UnixSocket:
        """The socket of our type bound to ``address``; ECONNREFUSED, ENOENT, EACCES, EPROTOTYPE."""
        check_family(address)
        if len(address) == 2:
            raise EINVAL("empty address")
        if is_abstract(address):
            found = self.stack.abstract.find(self.kind, address)
            if found is None:
                raise ECONNREFUSED("nobody has that abstract name")
        else:
            found = self.find_path(task, path_of(address))
        if found.kind != self.kind:
            raise EPROTOTYPE("socket types differ")
        return found

    def find_path(self, task: Task, path: bytes) -> UnixSocket:
        """The socket bound to ``path``."""
        if not path:
            raise ENOENT("empty path")
        place = resolve(task, AT_FDCWD, path)
        check(task.credentials, place.inode, MAY_WRITE)
        bound = place.inode.socket
        if isinstance(bound, UnixSocket) and not bound.released:
            return bound
        raise ECONNREFUSED("no socket is bound to that path")

    def peer_ucred(self) -> Ucred:
        peer = self.peer_credentials
        return peer if peer is not None else Ucred(0, 0xFFFFFFFF, 0xFFFFFFFF)

    def peer_groups(self) -> list[int]:
        return self.peer_group_list

    def remember_owner(self, task: Task) -> None:
        """Note who made or listens on this socket."""
        self.owner = effective_ucred(task)

    # -- sending ----------------------------------------------------------------------------------
    def credentials_for(
        self, task: Task | None, out: Outgoing | None, to: UnixSocket
    ) -> Ucred | None:
        """The credentials a packet carries: explicit ones, or the sender's when anybody asked."""
        if out is not None and out.credentials is not None:
            return out.credentials
        if not (self.options.passcred or to.options.passcred):
            return None
        if task is None:
            return self.owner
        c = task.credentials
        return Ucred(task.group.pid, c.uid, c.gid)

    def consumed(self, packet: Packet) -> None:
        """``packet`` left the receive queue: its sender has room again."""
        sender = packet.sender
        sender.sent_charge -= packet.charge
        packet.charge = 0
        if sender.queue.registrations and sender.sent_charge * 4 <= sender.options.sndbuf:
            sender.queue.wake(WRITE_EVENTS)

    def writable_now(self) -> bool:
        """unix_writable(): at most a quarter of the buffer is in use."""
        return self.sent_charge * 4 <= self.options.sndbuf

    # -- receiving --------------------------------------------------------------------------------
    def give_control(self, packet: Packet, flags: int, into: Incoming | None) -> None:
        """Hand a packet's credentials and files to the reader, or let go of them."""
        if into is not None and self.options.passcred:
            into.credentials = packet.credentials or Ucred(0, 0xFFFE, 0xFFFE)
        if not packet.files:
            return
        if flags & MSG_PEEK:
            if into is not None:
                for file in packet.files:
                    into.files.append(file.hold())
            return
        files = self.stack.in_flight.remove(packet, self)
        if into is not None:
            into.files.extend(files)
            return
        for file in files:
            file.drop()

    def discard_packets(self) -> None:
        """Empty the receive queue."""
        packets = self.packets
        self.packets = []
        for packet in packets:
            if packet.files:
                for file in self.stack.in_flight.remove(packet, self):
                    file.drop()
            self.consumed(packet)

    def unread_bytes(self) -> int:
        if self.listening:
            raise EINVAL("listening")
        if self.kind == SOCK_DGRAM:
            return len(self.packets[0].data) if self.packets else 0
        return sum(len(p.data) - p.start for p in self.packets)

    def unsent_bytes(self) -> int:
        return self.sent_charge

    # -- end --------------------------------------------------------------------------------------
    def release_name(self) -> None:
        """Give the abstract name or the inode back; a path stays, and refuses connections."""
        if self.bound_inode is not None:
            if self.bound_inode.socket is self:
                self.bound_inode.socket = None
            self.bound_inode = None
        elif self.address is not UNNAMED:
            self.stack.abstract.release(self.address, self)

    def release(self) -> None:
        super().release()
        self.release_name()
        self.discard_packets()
        self.stack.collect_garbage()
