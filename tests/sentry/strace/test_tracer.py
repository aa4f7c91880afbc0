"""Whole lines: a call goes in, strace's line comes out."""

import struct
from types import SimpleNamespace
from typing import cast

import pytest

from fake_platform import FakeProcess, FakeThread
from wardian.platform.interface import message
from wardian.sentry.abi.numbers import NUMBERS
from wardian.sentry.errno import EFAULT
from wardian.sentry.kernel.task import Call, Task
from wardian.sentry.strace.specs import CLASSES, SPECS
from wardian.sentry.strace.tracer import Tracer, UnknownCall, selection
from wardian.sentry.syscalls.strace_gen import CALLS

FORMS = {
    "openat": "dirfd:FD path:UserPath flags:Flags mode:Mode",
    "read": "fd:FD buf:OutBuf count:Size",
    "write": "fd:FD buf:Addr count:Size",
    "fstat": "fd:FD statbuf:OutBuf",
    "execve": "path:UserPath argv:Addr envp:Addr",
    "exit_group": "status:Int",
    "wait4": "pid:Pid status:Addr options:Flags rusage:Addr",
    "connect": "fd:FD addr:InBuf addrlen:Int",
    "accept4": "fd:FD addr:Addr addrlen:Addr flags:Flags",
    "nanosleep": "req:InTimespec rem:Addr",
    "poll": "fds:Addr nfds:UInt timeout:Int",
    "rt_sigprocmask": "how:Int set:InSigset? oldset:Addr size:Size",
    "mmap": "addr:Addr length:Size prot:Int flags:Int fd:FD offset:Offset",
    "writev": "fd:FD iov:Addr iovcnt:Int",
    "pipe2": "fds:OutBuf flags:Flags",
    "fcntl": "fd:FD cmd:Int arg:ULong",
    "getcwd": "buf:OutBuf size:Size",
    "recvmsg": "fd:FD msg:Addr flags:Flags",
    "futex": "addr:Addr op:Int value:UInt timeout:Addr addr2:Addr value3:UInt",
    "getrandom": "buf:OutBuf size:Size flags:Flags",
    "rt_sigreturn": "",
    "ioctl": "fd:FD request:UInt arg:Addr",
    "sendto": "fd:FD buf:Addr count:Size flags:Flags addr:InBuf? addrlen:Int",
    "clone": "flags:LongFlags stack:Addr parent:Addr child:Addr tls:ULong",
}


class Rig:
    """A task with some memory and a tracer that collects lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tracer = Tracer("all", self.lines.append)
        self.process = FakeProcess()
        self.base = self.process.map(65536)
        self.used = self.base
        memory = SimpleNamespace(process=self.process)
        group = SimpleNamespace(exit_code=0, exiting=True)
        fake = SimpleNamespace(tid=7, group=group, memory=memory, copy_in=self.process.read)
        fake.host = self.host = FakeThread(self.process)
        fake.copy_in_string = self.string
        self.task = cast(Task, fake)

    def string(self, address: int, limit: int = 4096) -> bytes:
        data = self.process.read_some(address, limit)
        if b"\0" not in data:
            raise EFAULT("string")
        return data.split(b"\0")[0]

    def end(self, status: int) -> None:
        self.task.group.exit_code = status
        self.tracer.ended(self.task)

    def put(self, data: bytes) -> int:
        address = self.used
        self.process.write(address, data)
        self.used += (len(data) + 16) & ~15
        return address

    def line(
        self, name: str, *args: int, result: int = 0, out: tuple[int, bytes] = (0, b"")
    ) -> str:
        six = tuple(a & (1 << 64) - 1 for a in args) + (0,) * (6 - len(args))
        call = Call(message(NUMBERS[name], six))  # type: ignore[arg-type]
        self.tracer.arrived(self.task, call)
        if out[1]:
            self.process.write(*out)
        self.tracer.finished(self.task, call, result)
        return self.lines[-1]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    for name, arguments in FORMS.items():
        monkeypatch.setitem(CALLS, NUMBERS[name], (name, arguments, ""))
    return Rig()


def test_openat_prints_as_strace_does(rig: Rig) -> None:
    path = rig.put(b"/etc/passwd\0")
    line = rig.line("openat", -100, path, 0o2000000, 0, result=3)
    assert line == '[pid     7] openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3\n'


def test_mode_is_printed_only_when_a_file_may_be_made(rig: Rig) -> None:
    path = rig.put(b"x\0")
    line = rig.line("openat", 5, path, 0o101, 0o644, result=-2)
    assert line.endswith(
        'openat(5, "x", O_WRONLY|O_CREAT, 0644) = -1 ENOENT (No such file or directory)\n'
    )


def test_a_short_call_has_its_result_in_column_forty(rig: Rig) -> None:
    line = rig.line("exit_group", 3)
    assert line == "[pid     7] exit_group(3)               = ?\n"
    assert line.index("= ?") == 40


def test_a_bad_path_is_printed_as_its_address(rig: Rig) -> None:
    assert "openat(AT_FDCWD, 0x10, O_RDONLY) = -1 EFAULT" in rig.line(
        "openat", -100, 16, 0, 0, result=-14
    )
    assert "openat(AT_FDCWD, NULL, O_RDONLY) = -1 EFAULT" in rig.line(
        "openat", -100, 0, 0, result=-14
    )


def test_what_a_read_wrote_is_shown_afterwards(rig: Rig) -> None:
    buffer = rig.put(bytes(64))
    out = (buffer, b"root:x:0:0\n")
    assert r'read(3, "root:x:0:0\n", 64)' in rig.line("read", 3, buffer, 64, result=11, out=out)
    assert f"read(3, {buffer:#x}, 64)" in rig.line("read", 3, buffer, 64, result=-9)
    assert 'read(3, "", 64)' in rig.line("read", 3, buffer, 64, result=0)


def test_long_writes_are_cut(rig: Rig) -> None:
    buffer = rig.put(b"y" * 100)
    expected = 'write(1, "' + "y" * 32 + '"..., 100)'
    assert expected in rig.line("write", 1, buffer, 100, result=100)


def test_stat_shows_mode_and_size(rig: Rig) -> None:
    data = bytearray(144)
    struct.pack_into("<I", data, 24, 0o100644)
    struct.pack_into("<q", data, 48, 1234)
    address = rig.put(bytes(144))
    line = rig.line("fstat", 3, address, out=(address, bytes(data)))
    assert "fstat(3, {st_mode=S_IFREG|0644, st_size=1234, ...}) = 0" in line


def test_execve_shows_words_and_counts_the_environment(rig: Rig) -> None:
    path = rig.put(b"/bin/ls\0")
    words = struct.pack("<QQQ", rig.put(b"ls\0"), rig.put(b"-l\0"), 0)
    env = rig.put(struct.pack("<QQ", rig.put(b"A=1\0"), 0))
    argv = rig.put(words)
    line = rig.line("execve", path, argv, env)
    assert f'execve("/bin/ls", ["ls", "-l"], {env:#x} /* 1 var */) = 0' in line


def test_wait_decodes_the_status(rig: Rig) -> None:
    status = rig.put(bytes(4))
    line = rig.line("wait4", -1, status, 1, 0, result=12, out=(status, struct.pack("<i", 256)))
    assert "wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 1}], WNOHANG, NULL) = 12" in line


def test_addresses_of_sockets(rig: Rig) -> None:
    address = struct.pack("<H", 2) + struct.pack(">H", 80) + bytes((10, 0, 0, 1)) + bytes(8)
    at = rig.put(address)
    shown = '{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("10.0.0.1")}'
    assert f"connect(4, {shown}, 16)" in rig.line("connect", 4, at, 16)
    length = rig.put(struct.pack("<I", 128))
    back = (length, struct.pack("<I", 16))
    assert f"accept4(4, {shown}, [128 => 16], SOCK_CLOEXEC)" in rig.line(
        "accept4", 4, at, length, 0o2000000, result=5, out=back
    )
    assert f"accept4(4, {at:#x}, [16], 0) = -1 EAGAIN" in rig.line(
        "accept4", 4, at, length, 0, result=-11
    )


def test_messages_show_their_control_data(rig: Rig) -> None:
    control = rig.put(struct.pack("<QiiiiQiiiII", 24, 1, 1, 5, 6, 28, 1, 2, 7, 0, 0))
    iov = rig.put(struct.pack("<QQ", rig.put(b"ab"), 2))
    message = rig.put(struct.pack("<QI4xQQQQI4x", 0, 0, iov, 1, control, 52, 0))
    line = rig.line("recvmsg", 3, message, 0, result=2)
    assert (
        'recvmsg(3, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="ab", iov_len=2}],'
        " msg_iovlen=1, msg_control=[{cmsg_len=24, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS,"
        " cmsg_data=[5, 6]}, {cmsg_len=28, cmsg_level=SOL_SOCKET, cmsg_type=SCM_CREDENTIALS,"
        " cmsg_data={pid=7, uid=0, gid=0}}], msg_controllen=52, msg_flags=0}, 0) = 2\n"
    ) in line


def test_futex_shows_what_its_operation_uses(rig: Rig) -> None:
    assert "futex(0x1000, FUTEX_WAKE_PRIVATE, 1) = 1" in rig.line("futex", 0x1000, 129, 1, result=1)
    line = rig.line("futex", 0x1000, 0x189, 0, 0, 0, 0xFFFFFFFF)
    assert (
        "futex(0x1000, FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME, 0, NULL,"
        " FUTEX_BITSET_MATCH_ANY) = 0"
    ) in line


def test_ioctl_shows_what_it_read_and_what_it_was_given(rig: Rig) -> None:
    size = rig.put(struct.pack("<HHHH", 24, 80, 0, 0))
    shown = "{ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0}"
    assert f"ioctl(1, TIOCGWINSZ, {shown}) = 0" in rig.line("ioctl", 1, 0x5413, size)
    assert f"TIOCGWINSZ, {size:#x}) = -1 ENOTTY" in rig.line("ioctl", 1, 0x5413, size, result=-25)
    assert f"TIOCSWINSZ, {shown}) = -1 ENOTTY" in rig.line("ioctl", 1, 0x5414, size, result=-25)
    modes = rig.put(struct.pack("<IIII", 0x500, 5, 0xBF, 0x8A3B) + bytes(20))
    line = rig.line("ioctl", 0, 0x5401, modes)
    assert "ioctl(0, TCGETS, {B38400 opost isig icanon echo ...}) = 0" in line


def test_a_send_without_address_has_a_null_one(rig: Rig) -> None:
    line = rig.line("sendto", 4, rig.put(b"x"), 1, 0x4000, 0, 0, result=1)
    assert 'sendto(4, "x", 1, MSG_NOSIGNAL, NULL, 0) = 1' in line


def test_random_bytes_are_hexadecimal(rig: Rig) -> None:
    at = rig.put(bytes(40))
    assert rig.line("getrandom", at, 2, 1, result=2, out=(at, b"A\xff")).count(
        r'getrandom("\x41\xff", 2, GRND_NONBLOCK)'
    )


def test_sigreturn_shows_what_it_restores(rig: Rig) -> None:
    context = bytearray(304)
    struct.pack_into("<q", context, 144, -4)
    struct.pack_into("<Q", context, 296, 1 << 14)
    rig.host.where = (0, rig.put(bytes(context)))
    rig.tracer.arrived(rig.task, Call(message(NUMBERS["rt_sigreturn"], (0, 0, 0, 0, 0, 0))))
    assert "rt_sigreturn({mask=[TERM]})" in rig.lines[-1]
    assert rig.lines[-1].endswith("= -1 EINTR (Interrupted system call)\n")


def test_nanosleep_shows_the_time_left_only_when_interrupted(rig: Rig) -> None:
    want, left = rig.put(struct.pack("<qq", 1, 5)), rig.put(struct.pack("<qq", 0, 9))
    assert "nanosleep({tv_sec=1, tv_nsec=5}, " + hex(left) in rig.line("nanosleep", want, left)
    line = rig.line("nanosleep", want, left, result=-4)
    assert "{tv_sec=0, tv_nsec=9}) = -1 EINTR (Interrupted system call)" in line


def test_poll_shows_what_came_back(rig: Rig) -> None:
    fds = rig.put(struct.pack("<ihhihh", 0, 1, 0, 4, 4, 0))
    back = (fds, struct.pack("<ihhihh", 0, 1, 0, 4, 4, 4))
    line = rig.line("poll", fds, 2, -1, result=1, out=back)
    assert line.endswith(
        "poll([{fd=0, events=POLLIN}, {fd=4, events=POLLOUT}], 2, -1)"
        " = 1 ([{fd=4, revents=POLLOUT}])\n"
    )
    assert rig.line("poll", fds, 2, 5, result=0).endswith("= 0 (Timeout)\n")


def test_other_shapes(rig: Rig) -> None:
    one = rig.put(struct.pack("<Q", 1 << 1))
    assert "rt_sigprocmask(SIG_BLOCK, [INT], NULL, 8)" in rig.line("rt_sigprocmask", 0, one, 0, 8)
    assert "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f00" in (
        rig.line("mmap", 0, 4096, 3, 0x22, -1, 0, result=0x7F00)
    )
    iov = rig.put(struct.pack("<QQQQ", rig.put(b"ab"), 2, rig.put(b"c"), 1))
    assert 'writev(1, [{iov_base="ab", iov_len=2}, {iov_base="c", iov_len=1}], 2)' in (
        rig.line("writev", 1, iov, 2, result=3)
    )
    pair = rig.put(bytes(8))
    assert "pipe2([3, 4], O_CLOEXEC)" in rig.line(
        "pipe2", pair, 0o2000000, out=(pair, struct.pack("<ii", 3, 4))
    )
    assert "fcntl(1, F_GETFL) " in rig.line("fcntl", 1, 3, 99, result=2)
    assert rig.lines[-1].endswith("= 0x2 (flags O_RDWR)\n")
    assert 'getcwd("/tmp", 4096)' in rig.line("getcwd", rig.put(b"/tmp\0"), 4096, result=5)
    line = rig.line("clone", 0x1200011, 0, 0, 0x1000, 0, result=9)
    assert line.endswith(
        "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD,"
        " child_tidptr=0x1000) = 9\n"
    )


def test_an_interrupted_call_says_that_it_will_be_restarted(rig: Rig) -> None:
    call = Call(message(0, (0, rig.base, 1, 0, 0, 0)))
    rig.tracer.arrived(rig.task, call)
    rig.tracer.interrupted(rig.task, call)
    line = rig.lines[-1]
    assert line.endswith("= ? ERESTARTSYS (To be restarted if SA_RESTART is set)\n")


def test_garbage_arguments_are_printed_not_raised(rig: Rig) -> None:
    for nr, (name, _, _) in list(CALLS.items()):
        assert NUMBERS[name] == nr
        for value in (0, 1, rig.base, (1 << 64) - 1, 1 << 63, 0xFFFFFFFF):
            for result in (0, 5, -14, 1 << 40):
                rig.line(name, *([value] * 6), result=result)


def test_unknown_calls_have_numbers_for_arguments(rig: Rig) -> None:
    call = Call(message(511, (1, 0, 0, 0, 0, 0)))
    rig.tracer.arrived(rig.task, call)
    rig.tracer.finished(rig.task, call, -38)
    assert (
        "syscall_0x1ff(0x1, 0, 0, 0, 0, 0) = -1 ENOSYS (Function not implemented)" in rig.lines[-1]
    )


def test_signals_and_ends(rig: Rig) -> None:
    info = struct.pack("<iiiiii", 2, 0, 0, 0, 99, 1000).ljust(128, b"\0")
    rig.tracer.signal(rig.task, 2, info)
    assert rig.lines[-1] == (
        "[pid     7] --- SIGINT {si_signo=SIGINT, si_code=SI_USER, si_pid=99, si_uid=1000} ---\n"
    )
    rig.end(0x100)
    assert rig.lines[-1] == "[pid     7] +++ exited with 1 +++\n"
    rig.end(9)
    assert rig.lines[-1] == "[pid     7] +++ killed by SIGKILL +++\n"
    rig.end(0x8B)
    assert rig.lines[-1] == "[pid     7] +++ killed by SIGSEGV (core dumped) +++\n"


def test_a_call_cut_short_by_the_end_of_its_task_has_no_result(rig: Rig) -> None:
    call = Call(message(0, (0, rig.base, 5, 0, 0, 0)))
    rig.tracer.arrived(rig.task, call)
    rig.tracer.finished(rig.task, call, None)
    rig.end(9)
    assert rig.lines[-2] == f"[pid     7] read(0, {rig.base:#x}, 5)        = ?\n"


def test_only_selected_calls_are_looked_at(rig: Rig) -> None:
    rig.tracer = Tracer("%network", rig.lines.append)
    call = Call(message(0, (0, rig.base, 5, 0, 0, 0)))
    rig.tracer.arrived(rig.task, call)
    rig.tracer.finished(rig.task, call, 5)
    assert call.trace is None and rig.lines == []


def test_selections() -> None:
    assert selection("openat,read") == {257, 0}
    assert NUMBERS["connect"] in selection("%network") and 0 not in selection("%network")
    assert 0 not in selection("!read") and 1 in selection("!read")
    assert selection("") == selection("all") == set(NUMBERS.values())
    with pytest.raises(UnknownCall):
        selection("nonsense")


def test_specs_and_classes_name_real_calls_and_groups() -> None:
    from wardian.sentry.strace.constants import GROUPS
    from wardian.sentry.strace.structs import SIZES

    for name, words in SPECS.items():
        assert name in NUMBERS
        for word in words.split():
            decoder, _, parameter = word.lstrip(">").partition(":")
            if decoder in ("flags", "one"):
                assert parameter in GROUPS, (name, word)
            if decoder in ("struct", "left"):
                assert parameter in SIZES, (name, word)
    for calls in CLASSES.values():
        assert [c for c in calls.split() if c not in NUMBERS] == []
