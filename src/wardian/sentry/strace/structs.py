"""Structures of the amd64 ABI as strace(1) prints them; callers pass the bytes that SIZES names."""

from __future__ import annotations

import socket
import struct
from typing import Final

from wardian.sentry.strace.constants import GROUPS
from wardian.sentry.strace.text import (
    device,
    escaped,
    file_mode,
    flag_words,
    flags,
    limit,
    mode,
    one_of,
    open_flags,
    pointer,
    quoted,
    signal_name,
    signal_set,
)

PAIR: Final = struct.Struct("<qq")
LIMITS: Final = struct.Struct("<QQ")
STAT: Final = struct.Struct("<QQQIIIIQqqq")
FLOCK: Final = struct.Struct("<hhiqqi")
EPOLL: Final = struct.Struct("<IQ")
POLLFD: Final = struct.Struct("<ihh")
STACK: Final = struct.Struct("<QiiQ")
ACTION: Final = struct.Struct("<QQQQ")
SIGINFO: Final = struct.Struct("<iiiiiiiQ")
WINSIZE: Final = struct.Struct("<HHHH")

SIZES: Final[dict[str, int]] = {
    "timespec": 16, "timeval": 16, "timespec2": 32, "timeval2": 32, "itimerspec": 32,
    "itimerval": 32, "sigset": 8, "sigaction": 32, "stack": 24, "rlimit": 16, "stat": 144,
    "flock": 32, "epoll_event": 12, "siginfo": 128, "winsize": 8, "fdpair": 8, "int": 4,
    "uint": 4, "long": 8, "wstatus": 4, "statx": 256, "statfs": 120, "uname": 390, "rusage": 144,
    "sysinfo": 112, "tms": 32, "timezone": 8, "clone_args": 64, "open_how": 24,
    "termios": 36,
}  # fmt: skip

KIND_STRUCTS: Final[dict[str, str]] = {
    "InTimespec": "timespec", "InTimeval": "timeval", "InTimespec2": "timespec2",
    "InTimeval2": "timeval2", "InItimerspec": "itimerspec", "InItimerval": "itimerval",
    "InSigset": "sigset", "InSigaction": "sigaction", "InStack": "stack", "InSiginfo": "siginfo",
    "InRlimit": "rlimit", "InEpollEvent": "epoll_event", "InFlock": "flock",
}  # fmt: skip


def text_of(kind: str, data: bytes) -> str:
    """A structure of ``kind``; ``data`` has the size of :data:`SIZES`."""
    if kind in ("timespec", "timeval"):
        return time_pair(data, 0, kind)
    if kind in ("timespec2", "timeval2"):
        return time_list(data, kind[:-1])
    if kind in ("itimerspec", "itimerval"):
        return interval(data, "timespec" if kind == "itimerspec" else "timeval")
    if kind in ("int", "uint", "long"):
        return number(data, kind)
    return other(kind, data)


def other(kind: str, data: bytes) -> str:
    """The structures that are not times or numbers."""
    if kind == "stat":
        return stat(data)
    if kind == "sigset":
        return signal_set(int.from_bytes(data[:8], "little"))
    if kind == "sigaction":
        return action(data)
    if kind == "rlimit":
        soft, hard = LIMITS.unpack_from(data)
        return f"{{rlim_cur={limit(soft)}, rlim_max={limit(hard)}}}"
    if kind == "epoll_event":
        events, value = EPOLL.unpack_from(data)
        return f"{{events={flags('EPOLL', events)}, data={epoll_data(value)}}}"
    if kind == "stack":
        sp, bits, _, size = STACK.unpack_from(data)
        return f"{{ss_sp={pointer(sp)}, ss_flags={flags('SS', bits)}, ss_size={size}}}"
    if kind == "flock":
        return lock(data)
    if kind == "siginfo":
        return siginfo(data)
    if kind == "fdpair":
        return "[{}, {}]".format(*struct.unpack_from("<ii", data))
    if kind == "winsize":
        rows, columns, x, y = WINSIZE.unpack_from(data)
        return f"{{ws_row={rows}, ws_col={columns}, ws_xpixel={x}, ws_ypixel={y}}}"
    return rare(kind, data)


def rare(kind: str, data: bytes) -> str:
    """The structures printed in part."""
    if kind == "statx":
        mask, _, _, links = struct.unpack_from("<IIQI", data)
        uid, gid, kinds, _, _, size = struct.unpack_from("<IIHHQQ", data, 20)
        return (
            f"{{stx_mask={flags('STATX', mask)}, stx_nlink={links}, stx_uid={uid}, stx_gid={gid},"
            f" stx_mode={file_mode(kinds)}, stx_size={size}, ...}}"
        )
    if kind == "statfs":
        return statfs(data)
    if kind == "uname":
        sysname = data[:65].split(b"\0")[0]
        node = data[65:130].split(b"\0")[0]
        return f"{{sysname={quoted(sysname)}, nodename={quoted(node)}, ...}}"
    if kind == "rusage":
        user, system = time_pair(data, 0, "timeval"), time_pair(data, 16, "timeval")
        return f"{{ru_utime={user}, ru_stime={system}, ...}}"
    if kind == "sysinfo":
        uptime = struct.unpack_from("<q", data)[0]
        total, free = struct.unpack_from("<QQ", data, 32)
        return f"{{uptime={uptime}, totalram={total}, freeram={free}, ...}}"
    if kind == "tms":
        names = ("tms_utime", "tms_stime", "tms_cutime", "tms_cstime")
        values = struct.unpack_from("<4q", data)
        pairs = zip(names, values, strict=True)
        return "{" + ", ".join(f"{n}={v} /* {v / 100:.2f} s */" for n, v in pairs) + "}"
    if kind == "timezone":
        west, dst = struct.unpack_from("<ii", data)
        return f"{{tz_minuteswest={west}, tz_dsttime={dst}}}"
    if kind == "clone_args":
        return clone_args(data)
    if kind == "open_how":
        return open_how(data)
    if kind == "termios":
        return termios(data)
    return quoted(data)


def statfs(data: bytes) -> str:
    """struct statfs, whole."""
    magic, size, blocks, free, available, files, unused = struct.unpack_from("<qqQQQQQ", data)
    first, second, length, fragment, bits = struct.unpack_from("<IIqqq", data, 56)
    kind = one_of("MAGIC", magic)
    return (
        f"{{f_type={kind}, f_bsize={size}, f_blocks={blocks}, f_bfree={free}, f_bavail={available},"
        f" f_files={files}, f_ffree={unused}, f_fsid={{val=[{pointer(first) if first else '0'},"
        f" {pointer(second) if second else '0'}]}}, f_namelen={length}, f_frsize={fragment},"
        f" f_flags={flags('ST', bits)}}}"
    )


def termios(data: bytes) -> str:
    """struct termios, as briefly as strace does it."""
    _, output, control, local = struct.unpack_from("<IIII", data)
    speed = {0: "B0", 0xD: "B9600", 0xF: "B38400", 0x1002: "B115200"}.get(control & 0x100F, "B?")
    marks = ((output & 1, "opost"), (local & 1, "isig"), (local & 2, "icanon"), (local & 8, "echo"))
    words = " ".join(name if on else "-" + name for on, name in marks)
    return f"{{{speed} {words} ...}}"


def number(data: bytes, kind: str) -> str:
    """A number behind a pointer: ``[5]``."""
    size = 8 if kind == "long" else 4
    return f"[{int.from_bytes(data[:size], 'little', signed=kind != 'uint')}]"


def time_pair(data: bytes, at: int, kind: str) -> str:
    """timespec or timeval, with the special nanoseconds of utimensat(2)."""
    seconds, fraction = PAIR.unpack_from(data, at)
    if kind == "timeval":
        return f"{{tv_sec={seconds}, tv_usec={fraction}}}"
    if fraction == 0x3FFFFFFF:
        return "UTIME_NOW"
    if fraction == 0x3FFFFFFE:
        return "UTIME_OMIT"
    return f"{{tv_sec={seconds}, tv_nsec={fraction}}}"


def time_list(data: bytes, kind: str) -> str:
    """Two times."""
    return f"[{time_pair(data, 0, kind)}, {time_pair(data, 16, kind)}]"


def interval(data: bytes, kind: str) -> str:
    """itimerspec or itimerval."""
    return f"{{it_interval={time_pair(data, 0, kind)}, it_value={time_pair(data, 16, kind)}}}"


def stat(data: bytes) -> str:
    """struct stat as strace prints it unless -v: mode, and size or device."""
    fields = STAT.unpack_from(data)
    kind, rdev, size = fields[3], fields[7], fields[8]
    if kind & 0o170000 in (0o020000, 0o060000):
        return f"{{st_mode={file_mode(kind)}, st_rdev={device(rdev)}, ...}}"
    return f"{{st_mode={file_mode(kind)}, st_size={size}, ...}}"


def action(data: bytes) -> str:
    """struct kernel_sigaction."""
    handler, bits, restorer, mask = ACTION.unpack_from(data)
    who = {0: "SIG_DFL", 1: "SIG_IGN"}.get(handler) or hex(handler)
    end = f", sa_restorer={hex(restorer)}" if bits & 0x04000000 else ""
    return f"{{sa_handler={who}, sa_mask={signal_set(mask)}, sa_flags={flags('SA', bits)}{end}}}"


def lock(data: bytes) -> str:
    """struct flock."""
    kind, whence, _, start, length, _ = FLOCK.unpack_from(data)
    return (
        f"{{l_type={one_of('F_LCK', kind)}, l_whence={one_of('SEEK', whence)},"
        f" l_start={start}, l_len={length}}}"
    )


def siginfo(data: bytes) -> str:
    """siginfo_t: what belongs to its code."""
    signo, _, code, _, pid, uid, status, _ = SIGINFO.unpack_from(data)
    start = f"{{si_signo={signal_name(signo)}, si_code={signal_code(signo, code)}"
    if signo == 17 and code > 0:
        ended = str(status) if code == 1 else signal_name(status)
        times = "si_utime=0, si_stime=0"
        return f"{start}, si_pid={pid}, si_uid={uid}, si_status={ended}, {times}}}"
    if signo in (4, 5, 7, 8, 11) and 0 < code < 0x80:
        address = int.from_bytes(data[16:24], "little")
        return f"{start}, si_addr={pointer(address)}}}"
    if code in (0, -6):
        return f"{start}, si_pid={pid}, si_uid={uid}}}"
    if code == -1:
        value = int.from_bytes(data[24:32], "little")
        words = f"si_int={value & 0xFFFFFFFF}, si_ptr={pointer(value)}"
        return f"{start}, si_pid={pid}, si_uid={uid}, {words}}}"
    return f"{start}}}"


def signal_code(signo: int, code: int) -> str:
    """The name of si_code."""
    group = "CLD" if signo == 17 else "SEGV" if signo == 11 else "SI"
    for name, number in GROUPS[group if code > 0 and code < 0x80 else "SI"].items():
        if (number - (1 << 32) if number > 0x7FFFFFFF else number) == code:
            return name
    return str(code)


def epoll_data(value: int) -> str:
    """epoll_data_t: the number twice, as nobody knows which member was meant."""
    return f"{{u32={value & 0xFFFFFFFF}, u64={value}}}"


def poll_entry(data: bytes, at: int, returned: bool) -> str:
    """One struct pollfd; empty when only returned events are asked for and there are none."""
    fd, events, revents = POLLFD.unpack_from(data, at)
    if returned:
        return f"{{fd={fd}, revents={flags('POLL', revents & 0xFFFF)}}}" if revents else ""
    return f"{{fd={fd}, events={flags('POLL', events & 0xFFFF)}}}" if fd >= 0 else f"{{fd={fd}}}"


def address(data: bytes) -> str:
    """A socket address."""
    if len(data) < 2:
        return quoted(data)
    family = int.from_bytes(data[:2], "little")
    start = f"{{sa_family={one_of('AF', family)}"
    if family == 1:
        path = data[2:]
        if path[:1] == b"\0":
            return f'{start}, sun_path=@"{escaped(path[1:])}"}}'
        text = path.split(b"\0")[0]
        return f"{start}, sun_path={quoted(text, -1)}}}" if text else f"{start}}}"
    if family == 2 and len(data) >= 8:
        port = int.from_bytes(data[2:4], "big")
        host = socket.inet_ntop(socket.AF_INET, data[4:8])
        return f'{start}, sin_port=htons({port}), sin_addr=inet_addr("{host}")}}'
    if family == 10 and len(data) >= 24:
        return inet6(data, start)
    if family == 16 and len(data) >= 12:
        pid, groups = struct.unpack_from("<II", data, 4)
        return f"{start}, nl_pid={pid}, nl_groups={groups:08x}}}"
    return f"{start}, sa_data={quoted(data[2:])}}}"


def inet6(data: bytes, start: str) -> str:
    """sockaddr_in6, in strace's order."""
    port = int.from_bytes(data[2:4], "big")
    flow = int.from_bytes(data[4:8], "big")
    host = socket.inet_ntop(socket.AF_INET6, data[8:24])
    scope = int.from_bytes(data[24:28], "little")
    return (
        f"{start}, sin6_port=htons({port}), sin6_flowinfo=htonl({flow}),"
        f' inet_pton(AF_INET6, "{host}", &sin6_addr), sin6_scope_id={scope}}}'
    )


def control_message(data: bytes) -> str:
    """One struct cmsghdr with its data."""
    size, level, kind = struct.unpack_from("<Qii", data)
    start = f"{{cmsg_len={size}, cmsg_level={one_of('SOL', level)}"
    body = data[16:]
    if level == 1 and kind == 1:
        fds = [str(fd[0]) for fd in struct.iter_unpack("<i", body[: len(body) & ~3])]
        return f"{start}, cmsg_type=SCM_RIGHTS, cmsg_data=[{', '.join(fds)}]}}"
    if level == 1 and kind == 2 and len(body) >= 12:
        pid, uid, gid = struct.unpack_from("<iII", body)
        words = f"{{pid={pid}, uid={uid}, gid={gid}}}"
        return f"{start}, cmsg_type=SCM_CREDENTIALS, cmsg_data={words}}}"
    return f"{start}, cmsg_type={kind:#x}, cmsg_data={quoted(body)}}}"


def clone_args(data: bytes) -> str:
    """struct clone_args of clone3(2)."""
    bits, _, child_tid, parent_tid, signo, stack, size, tls = struct.unpack_from("<8Q", data)
    words = [f"flags={flag_words(GROUPS['CLONE'], bits)}"]
    if child_tid:
        words.append(f"child_tid={pointer(child_tid)}")
    if parent_tid:
        words.append(f"parent_tid={pointer(parent_tid)}")
    words.append(f"exit_signal={signal_name(signo)}")
    words.append(f"stack={pointer(stack)}, stack_size={size:#x}" if size else "stack=NULL")
    if bits & 0x00080000:
        words.append(f"tls={pointer(tls)}")
    return "{" + ", ".join(words) + "}"


def open_how(data: bytes) -> str:
    """struct open_how of openat2(2)."""
    bits, permissions, resolve = struct.unpack_from("<QQQ", data)
    return (
        f"{{flags={open_flags(bits)}, mode={mode(permissions) if permissions else '0'},"
        f" resolve={flags('RESOLVE', resolve)}}}"
    )
