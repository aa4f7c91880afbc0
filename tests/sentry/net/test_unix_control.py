"""Descriptor and credential passing over AF_UNIX (unix(7)), and who cleans up."""

from __future__ import annotations

import struct

from socket_support import Guest, c, cmsg, make_guest, un

from support import fork, make_task
from wardian.sentry.vfs.file import File

RIGHTS = c.SOL_SOCKET, c.SCM_RIGHTS


class Tracked(File):
    """A file that tells when it is released."""

    def __init__(self) -> None:
        super().__init__(None, 0)
        self.gone = False

    def release(self) -> None:
        self.gone = True


def rights(*fds: int) -> bytes:
    return cmsg(*RIGHTS, struct.pack(f"<{len(fds)}i", *fds))


def tracked(g: Guest) -> tuple[Tracked, int]:
    file = Tracked()
    return file, g.task.files.install(file, False)


def test_a_passed_descriptor_is_the_same_file() -> None:
    g = make_guest()
    a, b = g.pair()
    file, fd = tracked(g)
    assert g.sendmsg(a, b"x", rights(fd)) == 1
    g.close(fd)
    assert not file.gone
    data, control, flags = g.recvmsg(b)
    assert data == b"x" and flags == 0
    (new,) = struct.unpack("<i", control[0][2])
    assert g.task.files.get(new) is file
    assert new not in g.task.files.cloexec
    g.close(new)
    assert file.gone
    assert g.net.in_flight.total == 0 and not g.net.in_flight.by_uid


def test_cmsg_cloexec_sets_close_on_exec() -> None:
    g = make_guest()
    a, b = g.pair()
    _, fd = tracked(g)
    g.sendmsg(a, b"x", rights(fd))
    _, control, flags = g.recvmsg(b, flags=c.MSG_CMSG_CLOEXEC)
    assert struct.unpack("<i", control[0][2])[0] in g.task.files.cloexec
    assert flags & c.MSG_CMSG_CLOEXEC


def test_reading_without_room_for_control_closes_the_descriptor() -> None:
    g = make_guest()
    a, b = g.pair()
    file, fd = tracked(g)
    g.sendmsg(a, b"x", rights(fd))
    g.close(fd)
    assert g.recv(b) == b"x"
    assert file.gone


def test_control_truncation_is_reported() -> None:
    g = make_guest()
    a, b = g.pair()
    first, fd1 = tracked(g)
    second, fd2 = tracked(g)
    g.sendmsg(a, b"x", rights(fd1, fd2))
    g.close(fd1)
    g.close(fd2)
    _, control, flags = g.recvmsg(b, room_for=20)
    assert flags & c.MSG_CTRUNC
    assert len(control[0][2]) == 4
    assert second.gone and not first.gone


def test_a_stream_read_stops_after_descriptors() -> None:
    g = make_guest()
    a, b = g.pair()
    _, fd = tracked(g)
    g.send(a, b"before ")
    g.sendmsg(a, b"with", rights(fd))
    g.send(a, b"after")
    data, control, _ = g.recvmsg(b)
    assert data == b"before with" and len(control) == 1
    assert g.recvmsg(b)[:2] == (b"after", [])  # type: ignore[index]


def test_peek_duplicates_the_descriptor() -> None:
    g = make_guest()
    a, b = g.pair()
    file, fd = tracked(g)
    g.sendmsg(a, b"x", rights(fd))
    g.close(fd)
    peeked = g.recvmsg(b, flags=c.MSG_PEEK)
    taken = g.recvmsg(b)
    assert isinstance(peeked, tuple) and isinstance(taken, tuple)
    for _, control, _ in (peeked, taken):
        g.close(struct.unpack("<i", control[0][2])[0])
    assert file.gone


def test_closing_a_socket_releases_what_is_in_its_queue() -> None:
    g = make_guest()
    a, b = g.pair()
    file, fd = tracked(g)
    g.sendmsg(a, b"x", rights(fd))
    g.close(fd)
    g.close(b)
    assert file.gone


def test_a_socket_sent_over_itself_is_collected() -> None:
    g = make_guest()
    a, b = g.pair()
    file, fd = tracked(g)
    g.sendmsg(a, b"x", rights(b, fd))  # b's own queue holds b
    g.close(fd)
    g.close(b)
    assert file.gone
    assert g.recv(a) == -104
    g.close(a)
    assert g.net.in_flight.total == 0 and not g.net.sockets


def test_a_cycle_of_two_pairs_is_collected() -> None:
    g = make_guest()
    a, b = g.pair()
    x, y = g.pair()
    g.sendmsg(a, b"1", rights(y))  # in b's queue
    g.sendmsg(x, b"2", rights(b))  # in y's queue
    for fd in (a, b, x, y):
        g.close(fd)
    assert not g.net.sockets


def test_sockets_in_flight_to_a_listener_survive_until_it_goes() -> None:
    g = make_guest()
    listener = g.socket(c.AF_UNIX, c.SOCK_STREAM)
    g.bind(listener, un(b"\0l"))
    g.listen(listener)
    client = g.socket(c.AF_UNIX, c.SOCK_STREAM)
    assert g.connect(client, un(b"\0l")) == 0
    x, y = g.pair()
    g.sendmsg(client, b"x", rights(x))
    g.close(x)
    g.close(client)
    assert g.send(y, b"alive") == 5
    server = g.accept(listener)
    _, control, _ = g.recvmsg(server)
    assert g.recv(struct.unpack("<i", control[0][2])[0]) == b"alive"


def test_bad_descriptors_and_too_many() -> None:
    g = make_guest()
    a, _ = g.pair()
    assert g.sendmsg(a, b"x", rights(99)) == -9
    assert g.sendmsg(a, b"x", rights(*[a] * 254)) == -22
    assert g.sendmsg(a, b"x", rights(*[a] * 253)) == 1
    assert g.sendmsg(a, b"x", cmsg(c.SOL_SOCKET, 77, b"")) == -22
    assert g.sendmsg(a, b"x", struct.pack("<Qii", 4, 1, 1)) == -22
    assert g.sendmsg(a, b"x", struct.pack("<Qii", 1 << 40, 1, 1)) == -22


def test_an_ordinary_user_cannot_fill_the_kernel_with_descriptors() -> None:
    g = make_guest(uid=1000)
    a, _ = g.pair(c.SOCK_DGRAM | c.SOCK_NONBLOCK)
    results = [g.sendmsg(a, b"x", rights(*[a] * 253)) for _ in range(10)]
    assert results[-1] == -109  # ETOOMANYREFS


def test_credentials_are_filled_in_when_the_receiver_asks() -> None:
    g = make_guest(uid=1000)
    a, b = g.pair()
    g.set(b, c.SOL_SOCKET, c.SO_PASSCRED, 1)
    g.send(a, b"x")
    _, control, _ = g.recvmsg(b)
    assert control == [(1, c.SCM_CREDENTIALS, struct.pack("<iII", g.task.group.pid, 1000, 1000))]


def test_false_credentials_need_privilege() -> None:
    g = make_guest(uid=1000)
    a, b = g.pair()
    g.set(b, c.SOL_SOCKET, c.SO_PASSCRED, 1)
    false = cmsg(1, c.SCM_CREDENTIALS, struct.pack("<iII", g.task.group.pid, 0, 1000))
    assert g.sendmsg(a, b"x", false) == -1
    root = make_guest()
    a, b = root.pair()
    root.set(b, c.SOL_SOCKET, c.SO_PASSCRED, 1)
    assert (
        root.sendmsg(a, b"x", cmsg(1, c.SCM_CREDENTIALS, struct.pack("<iII", 7, 8, 9))) == -3
    )  # ESRCH
    child = fork(root.task).group.pid
    assert root.sendmsg(a, b"x", cmsg(1, c.SCM_CREDENTIALS, struct.pack("<iII", child, 8, 9))) == 1
    assert root.recvmsg(b)[1][0][2] == struct.pack("<iII", child, 8, 9)  # type: ignore[index]


def test_a_read_does_not_mix_two_senders() -> None:
    g = make_guest()
    a, b = g.pair()
    g.set(b, c.SOL_SOCKET, c.SO_PASSCRED, 1)
    child = Guest(fork(g.task))
    g.send(a, b"parent")
    child.send(a, b"child")
    assert g.recvmsg(b)[0] == b"parent"  # type: ignore[index]
    assert g.recvmsg(b)[0] == b"child"  # type: ignore[index]


def test_peercred_of_pair_and_connection() -> None:
    g = make_guest()
    a, _ = g.pair()
    assert g.get(a, 1, c.SO_PEERCRED, 12) == struct.pack("<iII", g.task.group.pid, 0, 0)
    user = Guest(make_task(parent=g.task, uid=1000, gid=1000))
    listener = g.socket(c.AF_UNIX, c.SOCK_STREAM)
    g.bind(listener, un(b"\0cred"))
    g.listen(listener)
    client = user.socket(c.AF_UNIX, c.SOCK_STREAM)
    assert user.connect(client, un(b"\0cred")) == 0
    server = g.accept(listener)
    mine = struct.pack("<iII", g.task.group.pid, 0, 0)
    theirs = struct.pack("<iII", user.task.group.pid, 1000, 1000)
    assert user.get(client, 1, c.SO_PEERCRED, 12) == mine
    assert g.get(server, 1, c.SO_PEERCRED, 12) == theirs


def test_path_names() -> None:
    g = make_guest()
    listener = g.socket(c.AF_UNIX, c.SOCK_STREAM)
    assert g.bind(listener, un(b"/sock\0junk")) == 0
    assert g.name(listener) == un(b"/sock\0")
    again = g.socket(c.AF_UNIX, c.SOCK_STREAM)
    assert g.bind(again, un(b"/sock")) == -98
    assert g.connect(again, un(b"/sock")) == -111
    g.listen(listener)
    assert g.connect(again, un(b"/sock")) == 0
    server, name = g.accept_name(listener)
    assert name == un(b"")
    assert g.name(server) == un(b"/sock\0")
    assert g.name(again, True) == un(b"/sock\0")
    user = Guest(make_task(parent=g.task, uid=1000, gid=1000))
    other = user.socket(c.AF_UNIX, c.SOCK_STREAM)
    assert user.connect(other, un(b"/sock")) == -13
    g.close(listener)
    user.close(listener)
    third = g.socket(c.AF_UNIX, c.SOCK_STREAM)
    assert g.connect(third, un(b"/sock")) == -111


def test_autobind_gives_an_abstract_name() -> None:
    g = make_guest()
    s = g.socket(c.AF_UNIX, c.SOCK_DGRAM)
    assert g.bind(s, un(b"")) == 0
    name = g.name(s)
    assert isinstance(name, bytes) and len(name) == 8 and name[2] == 0
