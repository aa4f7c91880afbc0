"""How programs learn about the network: netlink, ioctls, /proc/net, the host name."""

from __future__ import annotations

import struct

from socket_support import Guest, c, in4, make_guest

from support import get, put, room
from wardian.sentry.errno import LinuxError
from wardian.sentry.net import host_interfaces as h
from wardian.sentry.net import interfaces as i
from wardian.sentry.net import netlink as n
from wardian.sentry.net import procnet


def request(kind: int, body: bytes, flags: int = 0x301) -> bytes:
    return n.NLMSGHDR.pack(16 + len(body), kind, flags, 7, 0) + body


def answers(g: Guest, fd: int) -> list[tuple[int, bytes]]:
    """(type, body) of every message up to the end of what is there."""
    found = []
    while True:
        data = g.recv(fd, 4096, c.MSG_DONTWAIT)
        if not isinstance(data, bytes):
            return found
        while data:
            length, kind, _, sequence, port = n.NLMSGHDR.unpack_from(data)
            assert sequence == 7 and port == g.task.group.pid
            found.append((kind, data[16:length]))
            data = data[(length + 3) & ~3 :]


def netlink(g: Guest) -> int:
    fd = g.socket(c.AF_NETLINK, c.SOCK_RAW | c.SOCK_CLOEXEC, 0)
    assert g.bind(fd, struct.pack("<HHII", 16, 0, 0, 0)) == 0
    return fd


def test_getifaddrs_sees_the_loopback() -> None:
    g = make_guest()
    fd = netlink(g)
    seen = h.HostNetwork()
    for kind, add in ((n.RTM_GETLINK, h.add_link), (n.RTM_GETADDR, h.add_address)):
        g.send(fd, request(kind, b"\0" * 4))
        found = answers(g, fd)
        assert found[-1][0] == n.NLMSG_DONE
        for _, body in found[:-1]:
            add(seen, body)
    lo = seen.interfaces[0]
    assert (lo.name, lo.index, lo.kind, lo.mtu) == (b"lo", 1, 772, 65536)
    assert lo.flags & i.IFF_UP
    assert [(a.ip.hex(), a.prefix) for a in lo.addresses] == [
        ("7f000001", 8),
        ("0" * 31 + "1", 128),
    ]


def test_asking_for_one_link() -> None:
    g = make_guest()
    fd = netlink(g)
    g.send(fd, request(n.RTM_GETLINK, n.IFINFOMSG.pack(0, 0, 1, 0, 0), 1))
    assert answers(g, fd)[0][0] == n.RTM_NEWLINK
    g.send(fd, request(n.RTM_GETLINK, n.IFINFOMSG.pack(0, 0, 9, 0, 0), 1))
    kind, body = answers(g, fd)[0]
    assert kind == n.NLMSG_ERROR and struct.unpack_from("<i", body) == (-19,)


def test_changes_are_refused() -> None:
    g = make_guest()
    fd = netlink(g)
    g.send(fd, request(16, n.IFINFOMSG.pack(0, 0, 1, 0, 0), 5))
    assert struct.unpack_from("<i", answers(g, fd)[0][1]) == (-1,)


def test_malformed_requests_are_ignored() -> None:
    g = make_guest()
    fd = netlink(g)
    for data in (
        b"",
        b"x",
        bytes(16),
        struct.pack("<IHHII", 0xFFFFFFFF, 18, 0x301, 0, 0),
        request(18, b"", 1),
        request(26, b"\2" + bytes(20), 1),
    ):
        assert g.send(fd, data) == len(data)
    assert all(kind == n.NLMSG_ERROR for kind, _ in answers(g, fd))


def ioctl(g: Guest, fd: int, command: int, place: int) -> int:
    file = g.task.files.get(fd)
    return g.call(lambda t: file.ioctl(t, command, place))


def test_interface_ioctls() -> None:
    g = make_guest()
    fd = g.socket(c.AF_INET, c.SOCK_DGRAM)
    place = put(g.task, b"lo".ljust(40, b"\0"))
    assert ioctl(g, fd, i.SIOCGIFFLAGS, place) == 0
    assert struct.unpack("<H", get(g.task, place + 16, 2))[0] & i.IFF_LOOPBACK
    assert ioctl(g, fd, i.SIOCGIFADDR, place) == 0
    assert get(g.task, place + 16, 16) == in4("127.0.0.1", 0)
    assert ioctl(g, fd, i.SIOCGIFINDEX, place) == 0
    assert get(g.task, place + 16, 4) == b"\1\0\0\0"
    assert ioctl(g, fd, i.SIOCGIFMTU, put(g.task, b"eth9".ljust(40, b"\0"))) == -19
    assert ioctl(g, fd, i.SIOCSIFFLAGS, place) in (0, -1)
    buffer = room(g.task, 200)
    conf = put(g.task, struct.pack("<i4xQ", 200, buffer))
    assert ioctl(g, fd, i.SIOCGIFCONF, conf) == 0
    assert get(g.task, conf, 4) == struct.pack("<i", 40)
    assert get(g.task, buffer, 3) == b"lo\0"


def test_proc_net_shows_listeners_and_names() -> None:
    g = make_guest()
    g.tcp_listener(8080)
    g.pair()
    for name, function in procnet.FILES:
        assert function(g.task.kernel) is not None, name
    line = procnet.tcp(g.task.kernel).splitlines()[1]
    assert line.split()[1:4] == [b"0100007F:1F90", b"00000000:0000", b"0A"]
    assert len(procnet.unix(g.task.kernel).splitlines()) == 3


def test_the_address_of_the_host_name_is_ours() -> None:
    g = make_guest()
    s = g.socket(c.AF_INET, c.SOCK_STREAM)
    assert g.bind(s, in4("10.1.2.3", 0)) == -99
    g.net.adopt_host_name(b"127.0.0.1 localhost\n10.1.2.3\tbox.example box # us\nbad box\n", b"box")
    assert g.bind(s, in4("10.1.2.3", 0)) == 0
    g.listen(s)
    name = g.name(s)
    client = g.socket(c.AF_INET, c.SOCK_STREAM)
    assert isinstance(name, bytes) and g.connect(client, name) == 0


def test_other_networks_are_unreachable() -> None:
    g = make_guest()
    s = g.socket(c.AF_INET, c.SOCK_STREAM)
    assert g.connect(s, in4("8.8.8.8", 53)) == -101
    assert g.socket(c.AF_INET, c.SOCK_RAW, 1) == -1
    assert g.socket(c.AF_PACKET, c.SOCK_RAW) == -1
    assert g.socket(40, c.SOCK_STREAM) == -97
    assert g.socket(c.AF_NETLINK, c.SOCK_RAW, 9) == -93


def test_privileged_ports_need_the_capability() -> None:
    g = make_guest(uid=1000)
    s = g.socket(c.AF_INET, c.SOCK_STREAM)
    assert g.bind(s, in4("127.0.0.1", 80)) == -13
    assert issubclass(LinuxError, Exception)


def test_udp_pktinfo_tells_the_destination() -> None:
    g = make_guest()
    a = g.socket(c.AF_INET, c.SOCK_DGRAM)
    g.bind(a, in4("0.0.0.0", 53))
    g.set(a, c.IPPROTO_IP, c.IP_PKTINFO, 1)
    b = g.socket(c.AF_INET, c.SOCK_DGRAM)
    g.send(b, b"x", 0, in4("127.0.0.5", 53))
    _, control, _ = g.recvmsg(a)
    address = bytes([127, 0, 0, 5])
    assert control == [(0, c.IP_PKTINFO, struct.pack("<i", 1) + address + address)]


def test_offline_there_is_only_a_loopback_that_is_down() -> None:
    g = make_guest()
    g.task.kernel.network.go_offline()
    fd = netlink(g)
    g.send(fd, request(n.RTM_GETLINK, b"\0" * 4))
    (_, link), (kind, _) = answers(g, fd)
    assert kind == n.NLMSG_DONE
    assert n.IFINFOMSG.unpack_from(link)[3] == i.IFF_LOOPBACK
    assert b"noop" in link
    g.send(fd, request(n.RTM_GETADDR, b"\0" * 4))
    assert [kind for kind, _ in answers(g, fd)] == [n.NLMSG_DONE]
    tcp = g.socket(c.AF_INET, c.SOCK_STREAM)
    assert g.connect(tcp, in4("127.0.0.1", 80)) == -101
    up = put(g.task, b"lo".ljust(16, b"\0") + struct.pack("<H22x", i.IFF_UP))
    assert ioctl(g, tcp, i.SIOCSIFFLAGS, up) == -1
